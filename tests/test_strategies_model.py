"""Requirements and strategies on the model in the process."""

from __future__ import annotations

import pytest

from mellea_like import start_session
from mellea_like.ready_made import requires
from mellea_like.requirement import Requirement, check, simple_validate
from mellea_like.sampling.best_of_n import BestofNSamplingStrategy
from mellea_like.sampling.budget_forcing import BudgetForcingSamplingStrategy
from mellea_like.sampling.repair import RepairTemplateStrategy

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def m():
    with start_session("llamacpp", model_options={"max_new_tokens": 30, "seed": 3}) as session:
        yield session


def test_the_judge_is_held_to_yes_or_no(m):
    found = m.validate(["The text is about the weather."] * 2, output="It will rain in Oslo tomorrow.")
    assert [verdict.result for verdict in found] != [None, None]
    assert all(verdict.reason in {None, "The judging model says no."} for verdict in found)


def test_repair_reaches_the_second_attempt_and_says_why(m):
    rejected = []

    def second_time(text):
        rejected.append(text)
        return len(rejected) > 1, "Name a colour."

    answer = m.instruct(
        "Name something.",
        requirements=[check("colour", simple_validate(second_time))],
        strategy=RepairTemplateStrategy(loop_budget=2),
    )
    assert (answer.success, answer.attempt, len(answer.samples)) == (True, 2, 2)
    assert answer.samples[0].text
    assert answer.samples[0].text != answer.value


def test_best_of_n_has_different_samples_and_keeps_the_best(m):
    strategy = BestofNSamplingStrategy(loop_budget=3, key=len)
    result = m.instruct("Tell me of a lighthouse.", strategy=strategy, return_sampling_results=True)
    texts = [sample.text for sample in result.samples]
    assert len(set(texts)) > 1
    assert result.value == max(texts, key=len)


def test_a_hopeless_answer_is_stopped_early(m):
    answer = m.instruct("Tell me a long story.", requirements=[requires.length(max=5)], strategy=None)
    assert answer.samples[0].stopped
    assert answer.usage.output_tokens < 30


def test_it_thinks_before_it_answers(m):
    strategy = BudgetForcingSamplingStrategy(think_max_tokens=20, answer_max_tokens=10)
    answer = m.instruct("What is 2 + 2?", strategy=strategy)
    assert answer.thinking.strip()
    assert answer.value


def test_a_model_as_the_judge_judges_a_call(m):
    answer = m.instruct("Say hello.", requirements=[Requirement("It is a greeting.")], strategy=None)
    assert answer.validations[0].result in {True, False}
