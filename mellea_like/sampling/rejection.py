"""Rejection sampling: the same again, until an answer passes."""

from __future__ import annotations

from ..requirement import Requirements
from ..samples import Sample
from . import Attempt
from .chained import Chained


class RejectionSamplingStrategy(Chained):
    """Ask the same again until an answer passes, `loop_budget` times at most; then the first answer is kept.

    An attempt whose connection drops did not pass; an answer that broke off is kept only where none is whole.

    A call's seed, where it has one, is counted up from attempt to attempt, or every answer would be the same.

    Args:
        loop_budget: How many attempts there may be.
        concurrency_budget: How many are made side by side, `loop_budget` times; the first that passes is the answer.
        requirements: Requirements of the strategy's own; they are judged after those of the call.

    Raises:
        InvalidArgument: a budget is not a positive whole number.

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

    def __init__(self, *, loop_budget: int = 2, concurrency_budget: int = 1, requirements: Requirements = ()) -> None:
        super().__init__(loop_budget=loop_budget, concurrency_budget=concurrency_budget, requirements=requirements)

    def mended(self, attempt: Attempt, failed: Sample) -> Attempt:
        """Return the same attempt."""
        return attempt
