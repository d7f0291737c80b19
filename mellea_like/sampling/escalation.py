"""Escalation: a small model first, a larger one where it fails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..backends import Backend
from ..errors import InvalidArgument
from ..requirement import Requirements
from ..samples import Sample
from . import Attempt, Plan, SamplingStrategy, usable
from .repair import repaired


class EscalationStrategy(SamplingStrategy):
    """Ask one model after the other until an answer passes: the cheapest first.

    Each is asked `loop_budget` times, and told what was wrong with the answer before. The model options of the call go
    with it as far as a backend honours them. Sentences without a function are judged by the model that answered, unless
    a requirement names its `judge`. Where no answer passes, the last is kept: that of the largest model.

    Args:
        solvers: The backends, in the order in which they are asked; they stay the caller's to close.
        loop_budget: How many times each is asked.
        fresh_start: Whether a larger model is asked as if nobody had been before, and not told what was wrong.
        requirements: Requirements of the strategy's own; they are judged after those of the call.

    Raises:
        InvalidArgument: the budget is not a positive whole number, or a solver is no backend.

    Example:
        ```python
        from mellea_like import EscalationStrategy, FakeBackend, start_session

        small, large = FakeBackend("small", answers="DUNNO"), FakeBackend("large", answers="no")
        with start_session("fake") as m:
            strategy = EscalationStrategy(solvers=[small, large])
            answer = m.instruct("Is 9 prime?", requirements=[str.islower], strategy=strategy)
            print(answer.value, answer.generation.model)
        ```

    Source: SOFAI, Ganapini et al. 2021, arXiv:2110.01834; FrugalGPT, Chen et al. 2023, arXiv:2305.05176; Mellea's
    `SOFAISamplingStrategy`, https://mellea.ai
    """

    steps_in_place = True

    def __init__(
        self,
        *,
        solvers: Sequence[Backend],
        loop_budget: int = 1,
        fresh_start: bool = False,
        requirements: Requirements = (),
    ) -> None:
        super().__init__(loop_budget=loop_budget, requirements=requirements)
        if not solvers or not all(isinstance(solver, Backend) for solver in solvers):
            raise InvalidArgument(f"solvers must be backends, at least one, not {solvers!r}.")
        self.solvers = tuple(solvers)
        self.fresh_start = fresh_start

    def plan(self, first: Attempt) -> Plan:
        """Ask the solvers in turn."""
        tried: list[Sample] = []
        for solver in self.solvers:
            attempt = replace(first, backend=solver)
            for number in range(self.loop_budget):
                told = tried and not (self.fresh_start and number == 0)
                sample = yield [repaired(attempt, tried[-1]) if told else attempt]
                tried.append(sample)
                if sample.success:
                    return sample
        return usable(tried)[-1]

    def __repr__(self) -> str:
        return f"{type(self).__name__}(solvers={list(self.solvers)!r}, loop_budget={self.loop_budget})"
