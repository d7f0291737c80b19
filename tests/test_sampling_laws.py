"""Laws of every plan, driven with `send()` as the driver does, on samples of every kind and in any order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mellea_like import BackendUnavailable, FakeBackend, Message, OutputParseError, Usage, ValidationResult
from mellea_like.samples import Sample
from mellea_like.sampling import Attempt, usable
from mellea_like.sampling.best_of_n import BestofNSamplingStrategy
from mellea_like.sampling.budget_forcing import BudgetForcingSamplingStrategy
from mellea_like.sampling.escalation import EscalationStrategy
from mellea_like.sampling.majority import MajorityVotingStrategy, MajorityVotingStrategyForMath, normalised
from mellea_like.sampling.multi_turn import MultiTurnStrategy
from mellea_like.sampling.once import Once
from mellea_like.sampling.rejection import RejectionSamplingStrategy
from mellea_like.sampling.repair import RepairTemplateStrategy

BUDGET = st.integers(1, 4)


def plans():
    """Give each strategy with the number of answers that it may ask for."""
    pair = [FakeBackend("a"), FakeBackend("b")]
    return st.one_of(
        st.just((Once(), 1)),
        BUDGET.map(lambda n: (RejectionSamplingStrategy(loop_budget=n), n)),
        BUDGET.map(lambda n: (RepairTemplateStrategy(loop_budget=n), n)),
        BUDGET.map(lambda n: (MultiTurnStrategy(loop_budget=n), n)),
        BUDGET.map(lambda n: (BestofNSamplingStrategy(loop_budget=n), n)),
        BUDGET.map(lambda n: (BestofNSamplingStrategy(loop_budget=n, key=len), n)),
        st.tuples(BUDGET, BUDGET).map(
            lambda b: (MajorityVotingStrategy(number_of_samples=b[0], loop_budget=b[1]), b[0] * b[1])
        ),
        BUDGET.map(lambda n: (MajorityVotingStrategyForMath(number_of_samples=n), n)),
        BUDGET.map(lambda n: (EscalationStrategy(solvers=pair, loop_budget=n), 2 * n)),
        st.tuples(BUDGET, BUDGET).map(
            lambda b: (BudgetForcingSamplingStrategy(loop_budget=b[0], waits=b[1], think_max_tokens=5), b[0])
        ),
    )


VERDICTS = st.lists(
    st.builds(
        ValidationResult,
        st.sampled_from([True, False, None]),
        reason=st.none() | st.just("why"),
        score=st.none() | st.floats(0, 5),
        check_only=st.booleans(),
        error=st.none() | st.builds(OutputParseError),
        requirement=st.just("it"),
    ),
    max_size=2,
)


@st.composite
def samples(draw, attempt):
    error = draw(st.none() | st.just(BackendUnavailable("gone")))
    return Sample(
        attempt=attempt,
        text=draw(st.sampled_from(["", "a", "A.", "4", "4.0", "no 5"])),
        thinking=draw(st.sampled_from(["", "hm"])),
        validations=tuple(draw(VERDICTS)),
        error=error,
        stopped=draw(st.booleans()),
        finish_reason=draw(st.sampled_from(["stop", "length"])),
        usage=draw(st.none() | st.builds(Usage, output_tokens=st.integers(0, 6))),
    )


def carried_out(plan, draw):
    """Carry a plan out as the driver does; return what was sent, what was asked for, and the answer."""
    sent, asked, at_work, started = [], [], [], 0
    wanted = next(plan)
    while True:
        for attempt in wanted:
            asked.append(attempt)
            at_work.append((attempt, started + 1))
            started += not attempt.thinking
        assert at_work, "the plan waits for nothing"
        attempt, number = at_work.pop(draw(st.integers(0, len(at_work) - 1)))
        sample = draw(samples(number))
        if not attempt.thinking:
            sent.append(sample)
        try:
            wanted = plan.send(sample)
        except StopIteration as done:
            return sent, asked, done.value


@given(strategy=plans(), draw=st.data())
def test_a_plan_keeps_its_budget_and_returns_a_sample_that_it_was_sent(strategy, draw):
    strategy, budget = strategy
    sent, asked, answer = carried_out(strategy.plan(Attempt(said="?")), draw.draw)
    assert sum(not attempt.thinking for attempt in asked) <= budget
    assert any(answer is sample for sample in sent)


@given(strategy=plans(), draw=st.data())
def test_a_plan_returns_a_good_sample_where_there_is_one(strategy, draw):
    sent, _, answer = carried_out(strategy[0].plan(Attempt(said="?")), draw.draw)
    assert answer.success or not any(sample.success for sample in sent)


@given(strategy=plans(), draw=st.data())
def test_a_plan_without_a_good_sample_prefers_one_with_which_something_can_be_done(strategy, draw):
    sent, _, answer = carried_out(strategy[0].plan(Attempt(said="?")), draw.draw)
    if not answer.success:
        assert answer in usable(sent)


@given(strategy=plans(), draw=st.data())
def test_every_attempt_says_what_the_call_says(strategy, draw):
    _, asked, _ = carried_out(strategy[0].plan(Attempt(said="?")), draw.draw)
    assert {attempt.said for attempt in asked} == {"?"}
    for attempt in asked:
        roles = [message.role for message in attempt.follow_up]
        assert roles == ["assistant", "user"] * (len(roles) // 2)
        assert all(isinstance(message, Message) and message.content for message in attempt.follow_up)


@given(draw=st.data(), waits=st.integers(0, 5), most=st.integers(1, 20))
def test_budget_forcing_never_asks_for_more_thoughts_than_there_are_tokens_left(draw, waits, most):
    strategy = BudgetForcingSamplingStrategy(think_max_tokens=most, waits=waits)
    _, asked, _ = carried_out(strategy.plan(Attempt(said="?")), draw.draw)
    budgets = [attempt.options["max_new_tokens"] for attempt in asked if attempt.thinking]
    assert budgets[0] == most
    assert budgets == sorted(set(budgets), reverse=True)
    assert len(budgets) <= waits + 1


@given(votes=st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=9), draw=st.data())
def test_a_vote_that_is_stopped_early_has_the_winner_of_the_whole_vote(votes, draw):
    plan = MajorityVotingStrategy(number_of_samples=len(votes)).plan(Attempt(said="?"))
    next(plan)
    order = iter(draw.draw(st.permutations(range(len(votes)))))
    chosen = None
    while chosen is None:
        number = next(order)
        try:
            plan.send(Sample(attempt=number + 1, text=votes[number]))
        except StopIteration as done:
            chosen = done.value
    assert votes.count(chosen.text) == max(map(votes.count, votes))


@pytest.mark.parametrize("text", ["1,000", " $1000 ", "1000.", "1000.0", "1e3", "2000/2"])
def test_one_number_is_one_vote_however_it_is_written(text):
    assert normalised(text) == 1000


@given(st.text(max_size=30))
def test_any_text_has_a_vote_and_space_and_case_do_not_count(text):
    assert normalised(text) == normalised(f"  {text} ")
    if text.isascii():
        assert normalised(text) == normalised(text.upper())
