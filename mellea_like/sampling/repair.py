"""Repair by template: again, with what was wrong."""

from __future__ import annotations

from dataclasses import replace

from ..requirement import Requirements
from ..samples import Sample
from . import Attempt
from .chained import Chained


class RepairTemplateStrategy(Chained):
    """Ask again and tell the model why its answer was not accepted, `loop_budget` times at most.

    The reasons of the newest attempt go into the prompt: into an instruction through its template, elsewhere at the end
    of the last turn. Of requirements that are `check`ed and not told, only the reason is. Where no answer passes, the
    first is kept.

    Args:
        loop_budget: How many attempts there may be.
        concurrency_budget: How many chains of so many attempts go on side by side; the first attempt that passes is the
            answer.
        requirements: Requirements of the strategy's own; they are judged after those of the call.

    Raises:
        InvalidArgument: a budget is not a positive whole number.

    Example:
        ```python
        from mellea_like import RepairTemplateStrategy, check, simple_validate, start_session

        short = check("short", simple_validate(lambda text: len(text) < 6, reason="It is too long."))
        with start_session("fake", answers=["much too long", "short"]) as m:
            answer = m.instruct("Say something.", requirements=[short], strategy=RepairTemplateStrategy(loop_budget=3))
            print(answer.value)
            print(m.backend.calls[1].messages[0].content)
        ```

    Source: instruct, validate, repair: Mellea's strategy of this name, https://mellea.ai; feedback from checks,
    Madaan et al. 2023, arXiv:2303.17651
    """

    def __init__(self, *, loop_budget: int = 2, concurrency_budget: int = 1, requirements: Requirements = ()) -> None:
        super().__init__(loop_budget=loop_budget, concurrency_budget=concurrency_budget, requirements=requirements)

    def mended(self, attempt: Attempt, failed: Sample) -> Attempt:
        """Return the attempt that tells what was wrong with the one before."""
        return repaired(attempt, failed)


def repaired(first: Attempt, failed: Sample) -> Attempt:
    """Return the attempt that also tells the model what was wrong with a failed one."""
    return replace(first, repair="\n".join(f"- {complaint}" for complaint in failed.complaints) or None)
