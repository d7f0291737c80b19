"""Chains of attempts: several side by side, each mended where it failed, until one passes."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from mellea_like import (
    Answer,
    FakeBackend,
    Gate,
    MelleaSession,
    MultiTurnStrategy,
    RejectionSamplingStrategy,
    RepairTemplateStrategy,
    Request,
    check,
    simple_validate,
)
from mellea_like.samples import Sample, ValidationResult
from mellea_like.sampling import Attempt

Fake = Callable[..., MelleaSession]

CHAINED = [RejectionSamplingStrategy, RepairTemplateStrategy, MultiTurnStrategy]
NEVER = check("never", simple_validate(lambda text: (False, f"{text} is wrong")))


def calls(m: MelleaSession) -> list[Request]:
    assert isinstance(m.backend, FakeBackend)
    return m.backend.calls


@pytest.mark.parametrize("strategy", CHAINED)
def test_as_many_attempts_begin_as_there_are_chains(fake: Fake, strategy: Callable[..., Any]) -> None:
    gate = Gate()
    m = fake([Answer([gate, "NO"]), Answer([gate, "NO"]), "yes"])
    wanted = strategy(loop_budget=1, concurrency_budget=3)
    answer = m.instruct("Yes?", requirements=[str.islower], strategy=wanted)
    assert (answer.value, answer.attempt, len(calls(m))) == ("yes", 3, 3)
    assert [(sample.attempt, sample.stopped) for sample in answer.samples] == [(1, True), (2, True), (3, False)]


@pytest.mark.parametrize("strategy", CHAINED)
def test_each_chain_has_its_own_budget(fake: Fake, strategy: Callable[..., Any]) -> None:
    m = fake(lambda request: f"{len(calls(m))}")
    answer = m.instruct("Yes?", requirements=[NEVER], strategy=strategy(loop_budget=3, concurrency_budget=2))
    assert len(calls(m)) == len(answer.samples) == 6
    assert answer.attempt == (6 if strategy is MultiTurnStrategy else 1)


def test_a_chain_goes_on_from_its_own_attempts() -> None:
    plan = MultiTurnStrategy(loop_budget=2, concurrency_budget=2).plan(Attempt(said="go"))
    assert len(next(plan)) == 2
    wrong = (ValidationResult(False, requirement="never", reason="why"),)
    later = plan.send(Sample(attempt=2, text="two", validations=wrong))
    assert later[0].follow_up[0].content == "two"
    later = plan.send(Sample(attempt=1, text="one", validations=wrong))
    assert later[0].follow_up[0].content == "one"
    assert plan.send(Sample(attempt=4, text="four", validations=wrong)) == []
    with pytest.raises(StopIteration) as ended:
        plan.send(Sample(attempt=3, text="three", validations=wrong))
    assert ended.value.value.text == "four"


def test_a_repair_tells_each_chain_what_was_wrong_in_it(fake: Fake) -> None:
    m = fake(lambda request: f"answer {len(calls(m))}")
    m.instruct("Go.", requirements=[NEVER], strategy=RepairTemplateStrategy(loop_budget=2, concurrency_budget=2))
    told = [request.messages[-1].content for request in calls(m)[2:]]
    assert sorted(re.findall(r"- answer (\d) is wrong", "".join(told))) == ["1", "2"]
