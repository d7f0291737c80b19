"""Rejection sampling: the same again, until an answer passes."""

from __future__ import annotations

from collections.abc import Sequence

from ..requirement import Requirement
from . import Attempt, Plan, SamplingStrategy, usable


class RejectionSamplingStrategy(SamplingStrategy):
    """Ask the same again until an answer passes, `loop_budget` times at most; then the first answer is kept.

    An attempt whose connection drops did not pass; an answer that broke off is kept only where none is whole.

    A call's seed, where it has one, is counted up from attempt to attempt, or every answer would be the same.

    Args:
        loop_budget: How many attempts there may be.
        requirements: Requirements of the strategy's own; they are judged after those of the call.

    Raises:
        InvalidArgument: the budget is not a positive whole number.

    Example:
        ```python
        from mellea_like import RejectionSamplingStrategy, start_session

        with start_session("fake", answers=["NO", "yes"]) as m:
            strategy = RejectionSamplingStrategy(loop_budget=3)
            answer = m.instruct("Yes?", requirements=[str.islower], strategy=strategy)
            print(answer.value, len(answer.samples))
        ```

    Source: rejection sampling (von Neumann 1951); Mellea's strategy of this name, https://mellea.ai
    """

    steps_in_place = True

    def __init__(self, *, loop_budget: int = 2, requirements: Sequence[Requirement | str] = ()) -> None:
        super().__init__(loop_budget=loop_budget, requirements=requirements)

    def plan(self, first: Attempt) -> Plan:
        """Make the same attempt until it passes."""
        tried = [(yield [first])]
        while not tried[-1].success and len(tried) < self.loop_budget:
            tried.append((yield [first]))
        return tried[-1] if tried[-1].success else usable(tried)[0]
