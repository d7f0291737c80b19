"""Best of n: several answers side by side, of which the best is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import InvalidArgument
from ..requirement import Requirements
from ..samples import Sample
from . import Attempt, Plan, SamplingStrategy, answer_of, usable


class BestofNSamplingStrategy(SamplingStrategy):
    """Let the model answer `loop_budget` times at once, and keep the best answer.

    An answer that passes beats one that does not. Among those that pass, `key` decides where there is one, else the
    sum of the scores that the requirements gave. Where nothing measures, the first that passes cannot be beaten: the
    others are stopped, at the server too. A call's seed, where it has one, is counted up from attempt to attempt.

    Args:
        loop_budget: How many answers there are: the n.
        requirements: Requirements of the strategy's own; they are judged after those of the call.
        key: Says how good an answer is; higher is better. It is given the answer's text, with `format=` the object.

    Raises:
        InvalidArgument: the budget is not a positive whole number, or `key` is no function.

    Example:
        ```python
        from mellea_like import BestofNSamplingStrategy, start_session

        with start_session("fake", answers=["long", "longer", "the longest"]) as m:
            print(m.instruct("Say something.", strategy=BestofNSamplingStrategy(loop_budget=3, key=len)))
        ```

    Source: Stiennon et al. 2020, arXiv:2009.01325; Mellea's strategy of this name, https://mellea.ai
    """

    def __init__(
        self,
        *,
        loop_budget: int = 4,
        requirements: Requirements = (),
        key: Callable[[Any], float] | None = None,
    ) -> None:
        super().__init__(loop_budget=loop_budget, requirements=requirements)
        if key is not None and not callable(key):
            raise InvalidArgument(f"key is {key!r}; it must be a function of an answer, or None.")
        self.key = key
        self.steps_in_place = key is None

    def plan(self, first: Attempt) -> Plan:
        """Make all attempts at once, and choose."""
        samples = [(yield [first] * self.loop_budget)]
        while len(samples) < self.loop_budget and not self._unbeatable(samples[-1]):
            samples.append((yield ()))
        passed = [sample for sample in samples if sample.success]
        return max(sorted(passed or usable(samples), key=lambda sample: sample.attempt), key=self._worth)

    def _unbeatable(self, sample: Sample) -> bool:
        return self.key is None and sample.success and all(verdict.score is None for verdict in sample.validations)

    def _worth(self, sample: Sample) -> tuple[float, float]:
        if self.key is None or sample.error is not None:
            return sample.score, 0.0
        worth = self.key(answer_of(sample))
        return (worth, 0.0) if sample.success else (sample.score, worth)
