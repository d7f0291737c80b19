"""Chains: each attempt that fails is followed by one that is made from it, and several chains go on side by side."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from ..arguments import whole
from ..requirement import Requirements
from ..samples import Sample
from . import Attempt, Plan, SamplingStrategy, usable


class Chained(SamplingStrategy):
    """A strategy that mends each attempt that fails; several chains of attempts may go on side by side.

    Subclasses write `mended`. Where no attempt passes, the first is kept.

    Args:
        loop_budget: How many attempts there may be in a chain.
        concurrency_budget: How many chains there are; the first attempt that passes, in any of them, is the answer.
        requirements: Requirements of the strategy's own; they are judged after those of the call.
    """

    steps_in_place = True

    def __init__(self, *, loop_budget: int = 2, concurrency_budget: int = 1, requirements: Requirements = ()) -> None:
        super().__init__(loop_budget=loop_budget, requirements=requirements)
        self.concurrency_budget = whole("concurrency_budget", concurrency_budget)

    @abstractmethod
    def mended(self, attempt: Attempt, failed: Sample) -> Attempt:
        """Return the attempt that follows one that failed."""

    def kept(self, tried: Sequence[Sample]) -> Sample:
        """Return the answer where none passes; `tried` are those with which a caller can do most, in their order."""
        return tried[0]

    def plan(self, first: Attempt) -> Plan:
        """Make attempts in chains until one passes."""
        begun = [(first, 1)] * self.concurrency_budget  # each with its place in its chain
        tried = [(yield [attempt for attempt, _ in begun])]
        while not tried[-1].success:
            attempt, place = begun[tried[-1].attempt - 1]
            more = [self.mended(attempt, tried[-1])] if place < self.loop_budget else []
            begun += [(one, place + 1) for one in more]
            if len(tried) == len(begun):
                return self.kept(usable(sorted(tried, key=lambda sample: sample.attempt)))
            tried.append((yield more))
        return tried[-1]
