"""Repair in conversation: the failed answer and what was wrong with it become turns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..content import Message
from ..requirement import Requirement
from ..samples import Sample
from ..template import render_file
from . import Attempt, Plan, SamplingStrategy, usable


class MultiTurnStrategy(SamplingStrategy):
    """Show the model its failed answers and what was wrong with each, as a conversation, and let it answer again.

    The turns are seen by the model only: the session's context gets the question and the answer that was accepted.
    Where no answer passes, the last is kept.

    Args:
        loop_budget: How many attempts there may be.
        requirements: Requirements of the strategy's own; they are judged after those of the call.

    Raises:
        InvalidArgument: the budget is not a positive whole number.

    Example:
        ```python
        from mellea_like import MultiTurnStrategy, start_session

        with start_session("fake", answers=["NO", "yes"]) as m:
            print(m.instruct("Yes?", requirements=[str.islower], strategy=MultiTurnStrategy(loop_budget=3)))
            print([message.role for message in m.backend.calls[1].messages])
        ```

    Source: Mellea's strategy of this name, https://mellea.ai; Madaan et al. 2023, arXiv:2303.17651
    """

    steps_in_place = True

    def __init__(self, *, loop_budget: int = 2, requirements: Sequence[Requirement | str] = ()) -> None:
        super().__init__(loop_budget=loop_budget, requirements=requirements)

    def plan(self, first: Attempt) -> Plan:
        """Make the attempt, and longer conversations until one passes."""
        tried = [(yield [first])]
        attempt = first
        while not tried[-1].success and len(tried) < self.loop_budget:
            attempt = replace(attempt, follow_up=(*attempt.follow_up, *_turns(tried[-1])))
            tried.append((yield [attempt]))
        return tried[-1] if tried[-1].success else usable(tried)[-1]


def _turns(failed: Sample) -> tuple[Message, ...]:
    """Return a failed answer and what was wrong with it; nothing where the model said nothing that could be mended."""
    if failed.error is not None or not failed.text.strip():
        return ()
    wrong = "\n".join(f"- {complaint}" for complaint in failed.complaints)
    said = render_file("mend.jinja2", {"wrong": wrong}).rstrip("\n")
    return Message("assistant", failed.text), Message("user", said)
