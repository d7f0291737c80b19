"""Repair in conversation: the failed answer and what was wrong with it become turns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..content import Message
from ..requirement import Requirements
from ..samples import Sample
from ..template import render_file
from . import Attempt
from .chained import Chained


class MultiTurnStrategy(Chained):
    """Show the model its failed answers and what was wrong with each, as a conversation, and let it answer again.

    The turns are seen by the model only: the session's context gets the question and the answer that was accepted.
    Where no answer passes, the last is kept.

    Args:
        loop_budget: How many attempts there may be.
        concurrency_budget: How many such conversations go on side by side; the first attempt that passes is the answer.
        requirements: Requirements of the strategy's own; they are judged after those of the call.

    Raises:
        InvalidArgument: a budget is not a positive whole number.

    Example:
        ```python
        from mellea_like import MultiTurnStrategy, start_session

        with start_session("fake", answers=["NO", "yes"]) as m:
            print(m.instruct("Yes?", requirements=[str.islower], strategy=MultiTurnStrategy(loop_budget=3)))
            print([message.role for message in m.backend.calls[1].messages])
        ```

    Source: Mellea's strategy of this name, https://mellea.ai; Madaan et al. 2023, arXiv:2303.17651
    """

    def __init__(self, *, loop_budget: int = 2, concurrency_budget: int = 1, requirements: Requirements = ()) -> None:
        super().__init__(loop_budget=loop_budget, concurrency_budget=concurrency_budget, requirements=requirements)

    def mended(self, attempt: Attempt, failed: Sample) -> Attempt:
        """Return the attempt whose conversation is longer by the failed answer."""
        return replace(attempt, follow_up=(*attempt.follow_up, *_turns(failed)))

    def kept(self, tried: Sequence[Sample]) -> Sample:
        """Return the last."""
        return tried[-1]


def _turns(failed: Sample) -> tuple[Message, ...]:
    """Return a failed answer and what was wrong with it; nothing where the model said nothing that could be mended."""
    if failed.error is not None or not failed.text.strip():
        return ()
    wrong = "\n".join(f"- {complaint}" for complaint in failed.complaints)
    said = render_file("mend.jinja2", {"wrong": wrong}).rstrip("\n")
    return Message("assistant", failed.text), Message("user", said)
