"""Repair by template: again, with what was wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..requirement import Requirement
from ..samples import Sample
from . import Attempt, Plan, SamplingStrategy, usable


class RepairTemplateStrategy(SamplingStrategy):
    """Ask again and tell the model why its answer was not accepted, `loop_budget` times at most.

    The reasons of the newest attempt go into the prompt: into an instruction through its template, elsewhere at the end
    of the last turn. Of requirements that are `check`ed and not told, only the reason is. Where no answer passes, the
    first is kept.

    Args:
        loop_budget: How many attempts there may be.
        requirements: Requirements of the strategy's own; they are judged after those of the call.

    Raises:
        InvalidArgument: the budget is not a positive whole number.

    Example:
        ```python
        from mellea_like import RepairTemplateStrategy, check, simple_validate, start_session

        short = check("short", simple_validate(lambda text: len(text) < 6, reason="It is too long."))
        with start_session("fake", answers=["much too long", "short"]) as m:
            answer = m.instruct("Say something.", requirements=[short], strategy=RepairTemplateStrategy(loop_budget=3))
            print(answer.value)
            print(m.backend.calls[1].messages[0].content)
        ```

    Source: instruct, validate, repair: Mellea's strategy of this name, https://mellea.ai; feedback from checks:
        Madaan et al. 2023, arXiv:2303.17651
    """

    steps_in_place = True

    def __init__(self, *, loop_budget: int = 2, requirements: Sequence[Requirement | str] = ()) -> None:
        super().__init__(loop_budget=loop_budget, requirements=requirements)

    def plan(self, first: Attempt) -> Plan:
        """Make the attempt, and repaired ones until one passes."""
        tried = [(yield [first])]
        while not tried[-1].success and len(tried) < self.loop_budget:
            tried.append((yield [repaired(first, tried[-1])]))
        return tried[-1] if tried[-1].success else usable(tried)[0]


def repaired(first: Attempt, failed: Sample) -> Attempt:
    """Return the attempt that also tells the model what was wrong with a failed one."""
    return replace(first, repair="\n".join(f"- {complaint}" for complaint in failed.complaints) or None)
