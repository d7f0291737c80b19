"""What each strategy asks the model for, and which answer it keeps."""

from __future__ import annotations

import threading

import pytest
from pydantic import BaseModel

from mellea_like import (
    Answer,
    BackendUnavailable,
    CBlock,
    ChatContext,
    FakeBackend,
    Gate,
    InvalidArgument,
    Message,
    SamplingStrategy,
    Thinking,
    ValidationResult,
)
from mellea_like.requirement import check, req, simple_validate
from mellea_like.sampling.best_of_n import BestofNSamplingStrategy
from mellea_like.sampling.budget_forcing import ANSWER, THINK, WAIT, BudgetForcingSamplingStrategy
from mellea_like.sampling.escalation import EscalationStrategy
from mellea_like.sampling.majority import MajorityVotingStrategy, MajorityVotingStrategyForMath
from mellea_like.sampling.multi_turn import MultiTurnStrategy
from mellea_like.sampling.rejection import RejectionSamplingStrategy
from mellea_like.sampling.repair import RepairTemplateStrategy

PATIENCE = 10.0
SHORT = req("Be short.", simple_validate(lambda text: (len(text) < 6, f"It has {len(text)} characters.")))
LOWER = check("secret rule", simple_validate(str.islower, reason="Do not shout."))
NEVER = check("secret rule", simple_validate(lambda text: False))


def prompts(m):
    return [[(message.role, message.content) for message in call.messages] for call in m.backend.calls]


# --- repair -----------------------------------------------------------------------------------------------------------


def test_repair_tells_the_reasons_of_the_newest_attempt_through_the_instructions_template(fake):
    m = fake(["much too long", "SHOUT", "ok"])
    answer = m.instruct("Speak.", requirements=[SHORT, LOWER], strategy=RepairTemplateStrategy(loop_budget=3))
    assert answer.value == "ok"
    first, second, third = (call[0][1] for call in prompts(m))
    assert "not accepted" not in first
    assert "not accepted:\n- Be short: It has 13 characters.\nWrite" in second
    assert "not accepted:\n- Do not shout.\nWrite" in third
    assert "secret rule" not in first + second + third
    assert "13 characters" not in third


@pytest.mark.parametrize(
    "said", ["Speak.", CBlock("Speak."), Message("user", "Speak.")], ids=["text", "block", "message"]
)
def test_repair_tells_them_with_whatever_is_said(fake, said):
    m = fake(["SHOUT", "ok"])
    assert m.act(said, requirements=[LOWER], strategy=RepairTemplateStrategy()).success
    wrong = "Your answer before this one was not accepted:\n- Do not shout.\nWrite a new answer that mends this."
    assert prompts(m)[1] == [("user", f"Speak.\n\n{wrong}")]


def test_repair_reads_a_component_once(fake):
    class Counting:
        reads = 0

        def parts(self):
            return ()

        def messages(self):
            Counting.reads += 1
            return (Message("user", "Speak."),)

    assert fake(["SHOUT", "ok"]).act(Counting(), requirements=[LOWER], strategy=RepairTemplateStrategy()).success
    assert Counting.reads == 1


def test_repair_takes_a_thunk(fake):
    m = fake(["Speak.", "SHOUT", "ok"])
    assert m.act(m.instruct("?"), requirements=[LOWER], strategy=RepairTemplateStrategy()).success
    assert prompts(m)[2][0][1].startswith("Speak.\n\nYour answer before")


def test_repair_without_anything_to_tell_asks_the_same_again(fake):
    m = fake(["a", "b"])
    m.instruct("Speak.", requirements=[NEVER], strategy=RepairTemplateStrategy())
    assert prompts(m)[0] == prompts(m)[1]


def test_repair_tells_pydantics_words_where_the_format_is_wrong(fake):
    m = fake(['{"age": "old"}', '{"age": 3}'])
    answer = m.instruct("Who?", format=Person, strategy=RepairTemplateStrategy())
    assert answer.parsed == Person(age=3)
    assert "age: Input should be a valid integer" in prompts(m)[1][0][1]


def test_repair_that_never_succeeds_keeps_the_first(fake):
    answer = fake(["A", "B", "C"]).instruct("?", requirements=[LOWER], strategy=RepairTemplateStrategy(loop_budget=3))
    assert (answer.value, answer.success, len(answer.samples)) == ("A", False, 3)


class Person(BaseModel):
    age: int


# --- conversation -----------------------------------------------------------------------------------------------------


def test_multi_turn_shows_failed_answers_as_turns(fake):
    m = fake(["FIRST", "SECOND", "ok"], ctx=ChatContext())
    answer = m.instruct("Speak.", requirements=[LOWER], strategy=MultiTurnStrategy(loop_budget=3))
    assert answer.value == "ok"
    wrong = "That answer was not accepted:\n- Do not shout.\nWrite a new answer that mends this."
    assert prompts(m)[2] == [
        ("user", "Speak."),
        ("assistant", "FIRST"),
        ("user", wrong),
        ("assistant", "SECOND"),
        ("user", wrong),
    ]
    assert [turn.answer.value for turn in m.ctx.view()] == ["ok"]


def test_multi_turn_that_never_succeeds_keeps_the_last(fake):
    answer = fake(["A", "B"]).instruct("?", requirements=[LOWER], strategy=MultiTurnStrategy())
    assert (answer.value, answer.success) == ("B", False)


@pytest.mark.parametrize("nothing", [Answer(["half", BackendUnavailable("gone")]), " "], ids=["dropped", "blank"])
def test_multi_turn_shows_no_turn_for_what_was_no_answer(fake, nothing):
    m = fake([nothing, "ok"])
    assert m.instruct("Speak.", requirements=[LOWER], strategy=MultiTurnStrategy()).value == "ok"
    assert prompts(m)[0] == prompts(m)[1]


def test_multi_turn_says_so_where_there_is_no_reason_to_tell(fake):
    m = fake(["a", "b"])
    m.instruct("Speak.", requirements=[NEVER], strategy=MultiTurnStrategy())
    assert prompts(m)[1][-1] == ("user", "That answer was not accepted.\nWrite a new answer that mends this.")


# --- best of n --------------------------------------------------------------------------------------------------------


def held(count, text=None):
    """Make answers that all wait at gates of their own, and say their number, or `text`."""
    gates = [Gate() for _ in range(count)]
    return gates, [Answer([gate, text or str(i)]) for i, gate in enumerate(gates)]


def test_best_of_n_runs_its_samples_side_by_side(fake):
    gates, answers = held(4)
    thunk = fake(answers).instruct("?", strategy=BestofNSamplingStrategy(loop_budget=4, key=len), await_result=False)
    assert all(gate.reached(PATIENCE) for gate in gates)
    for gate in gates:
        gate.open()
    assert len(thunk.result().samples) == 4


def test_best_of_n_stops_the_others_once_one_cannot_be_beaten(fake):
    gates, answers = held(3, "fine")
    thunk = fake(answers).instruct(
        "?", requirements=[LOWER], strategy=BestofNSamplingStrategy(loop_budget=3), await_result=False
    )
    assert all(gate.reached(PATIENCE) for gate in gates)
    gates[1].open()
    assert (thunk.result().attempt, thunk.success) == (2, True)
    assert [(s.attempt, s.stopped, s.finish_reason) for s in thunk.samples] == [
        (1, True, "cancelled"),
        (2, False, "stop"),
        (3, True, "cancelled"),
    ]


def test_best_of_n_waits_for_all_where_a_requirement_measures(fake):
    measured = check("long", lambda ctx: ValidationResult(True, score=len(ctx.last_output().value)))
    answer = fake(["aa", "aaaa", "a"]).instruct(
        "?", requirements=[measured], strategy=BestofNSamplingStrategy(loop_budget=3)
    )
    assert answer.value == "aaaa"
    assert not any(sample.stopped for sample in answer.samples)


def test_best_of_n_prefers_an_answer_that_passes_to_one_that_key_likes(fake):
    strategy = BestofNSamplingStrategy(loop_budget=3, key=len)
    assert fake(["LONGEST", "ab", "a"]).instruct("?", requirements=[LOWER], strategy=strategy).value == "ab"


def test_best_of_n_without_a_good_answer_keeps_the_one_with_most_passes(fake):
    wanted = [NEVER, LOWER, SHORT]
    answer = fake(["LOUD", "quiet", "LOUD AND LONG"]).instruct(
        "?", requirements=wanted, strategy=BestofNSamplingStrategy(loop_budget=3)
    )
    assert (answer.value, answer.success) == ("quiet", False)


def test_best_of_n_of_equals_is_the_first(fake):
    strategy = BestofNSamplingStrategy(loop_budget=3, key=lambda text: 0)
    assert fake(["a", "b", "c"]).instruct("?", strategy=strategy).value == "a"


def test_best_of_n_gives_key_the_object_of_a_typed_answer(fake):
    strategy = BestofNSamplingStrategy(loop_budget=2, key=lambda person: person.age)
    assert fake(['{"age": 3}', '{"age": 5}']).instruct("?", format=Person, strategy=strategy).parsed.age == 5


def test_best_of_n_survives_a_dropped_connection(fake):
    drop = Answer(["half", BackendUnavailable("gone")])
    strategy = BestofNSamplingStrategy(loop_budget=2, key=len)
    assert fake([drop, "a"]).instruct("?", strategy=strategy).value == "a"


def test_key_runs_in_a_worker_thread(fake):
    names = []
    strategy = BestofNSamplingStrategy(
        loop_budget=2, key=lambda text: names.append(threading.current_thread().name) or 0
    )
    fake("a").instruct("?", strategy=strategy)
    assert set(names) == {"mellea-like worker"}


# --- majority ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answers", "kept"),
    [
        (["Rome", "Paris.", " paris"], "Paris."),
        (["7", "1,000", "1000.0"], "1,000"),
        (["1/2", "0.5", "half"], "1/2"),
        (["a b", "c", "A  B!"], "a b"),
        (["a", "b", "c"], "a"),
    ],
)
def test_votes_agree_as_words_and_as_numbers(fake, answers, kept):
    assert fake(answers).instruct("?", strategy=MajorityVotingStrategy(number_of_samples=3)).value == kept


def test_votes_of_objects_agree_where_they_are_equal(fake):
    answers = ['{"age": 3}', '{"age": 5}', '{ "age":5 }']
    answer = fake(answers).instruct("?", format=Person, strategy=MajorityVotingStrategy(number_of_samples=3))
    assert answer.parsed.age == 5


@pytest.mark.parametrize("typed", [True, False])
def test_votes_by_a_field(fake, typed):
    class Place(BaseModel):
        city: str
        why: str

    answers = [f'{{"city": "{city}", "why": "{i}"}}' for i, city in enumerate(["Oslo", "Rome", "rome."])]
    kind = {"format": Place} if typed else {}
    answer = fake(answers).instruct("?", strategy=MajorityVotingStrategy(number_of_samples=3, by="city"), **kind)
    assert '"1"' in answer.value


def test_votes_by_a_function(fake):
    strategy = MajorityVotingStrategy(number_of_samples=3, by=len)
    assert fake(["aaa", "b", "c"]).instruct("?", strategy=strategy).value == "b"


def test_an_answer_without_the_field_has_no_vote(fake):
    strategy = MajorityVotingStrategy(number_of_samples=3, by="city")
    assert fake(["no JSON", '{"town": 1}', '{"city": 1}']).instruct("?", strategy=strategy).value == '{"city": 1}'


def test_where_no_answer_has_the_field_a_good_one_is_kept(fake):
    strategy = MajorityVotingStrategy(number_of_samples=2, by="city")
    answer = fake(["NO JSON", "none either"]).instruct("?", requirements=[LOWER], strategy=strategy)
    assert (answer.value, answer.success) == ("none either", True)


def test_a_field_that_the_type_does_not_have_is_named(fake):
    with pytest.raises(InvalidArgument, match=r"by='citty' names a field, and .*has none"):
        fake('{"age": 1}').instruct("?", format=Person, strategy=MajorityVotingStrategy(by="citty"))


def test_answers_that_do_not_pass_have_no_vote(fake):
    strategy = MajorityVotingStrategy(number_of_samples=3)
    assert fake(["NO", "NO", "yes"]).instruct("?", requirements=[LOWER], strategy=strategy).value == "yes"


def test_a_decided_vote_stops_the_rest(fake):
    _, held_back = held(2)
    thunk = fake(["yes", "yes", "yes", *held_back]).instruct("?", strategy=MajorityVotingStrategy(number_of_samples=5))
    assert thunk.value == "yes"
    assert [sample.stopped for sample in thunk.samples] == [False, False, False, True, True]


def test_an_undecided_vote_waits(fake):
    gates, held_back = held(1, "no")
    strategy = MajorityVotingStrategy(number_of_samples=3)
    thunk = fake(["yes", "no", *held_back]).instruct("?", strategy=strategy, await_result=False)
    assert gates[0].reached(PATIENCE)
    assert not thunk.done()
    gates[0].open()
    assert thunk.result().value == "no"


def test_a_tie_waits_for_the_earlier_attempt_and_keeps_it(fake):
    gates, held_back = held(1, "first")
    strategy = MajorityVotingStrategy(number_of_samples=2)
    thunk = fake([*held_back, "second"]).instruct("?", strategy=strategy, await_result=False)
    next(event for event in thunk.events() if event.type == "delta" and event.text == "second")
    assert gates[0].reached(PATIENCE)
    gates[0].open()
    assert thunk.result().value == "first"


def test_a_round_without_a_vote_is_followed_by_another(fake):
    strategy = MajorityVotingStrategy(number_of_samples=2, loop_budget=2)
    answer = fake(["NO", "NO", "yes", "yes"]).instruct("?", requirements=[LOWER], strategy=strategy)
    assert (answer.value, len(answer.samples)) == ("yes", 4)


@pytest.mark.parametrize(
    ("answers", "kept"),
    [
        (["It is 5.", "2 + 2 = 4", r"so \boxed{4}, not 7"], "2 + 2 = 4"),
        (["1.5", "3/2", "2"], "1.5"),
        (["about 0.33333334", "0.33333333", "1"], "about 0.33333334"),
        (["it is -4", "4", "4.0 exactly"], "4"),
        (["1e3", "1,000.", "2"], "1e3"),
        (["no number", "No number.", "5"], "no number"),
    ],
)
def test_math_votes_for_the_number_that_an_answer_ends_with(fake, answers, kept):
    assert fake(answers).instruct("?", strategy=MajorityVotingStrategyForMath(number_of_samples=3)).value == kept


# --- budget forcing ---------------------------------------------------------------------------------------------------


def test_thoughts_are_forced_on_and_then_to_an_end(fake):
    m = fake(["first thought", "second thought", "42"])
    thunk = m.instruct("Why?", strategy=BudgetForcingSamplingStrategy(think_max_tokens=100), await_result=False)
    assert list(thunk) == ["42"]
    assert thunk.thinking == "first thought\nsecond thought\n"
    assert len(thunk.samples) == 1
    asked = ("user", f"Why?\n\n{THINK}")
    assert prompts(m) == [
        [asked],
        [asked, ("assistant", "first thought"), ("user", WAIT)],
        [asked, ("assistant", "first thought\nsecond thought"), ("user", ANSWER)],
    ]


def test_thoughts_are_live_as_thinking_and_belong_to_the_attempt_of_their_answer(fake):
    thunk = fake(["hm", "ah", "42"]).instruct("?", strategy=BudgetForcingSamplingStrategy(), await_result=False)
    said = [(e.type, e.attempt, e.text) for e in thunk.events() if e.type in {"thinking", "delta"}]
    assert [s for s in said if s[2].strip()] == [("thinking", 1, "hm"), ("thinking", 1, "ah"), ("delta", 1, "42")]


def test_the_budget_of_thoughts_is_kept(fake):
    m = fake(["one two three", "four five six seven eight", "42"])
    m.instruct("?", strategy=BudgetForcingSamplingStrategy(think_max_tokens=5, answer_max_tokens=7, waits=5))
    assert [call.options.get("max_new_tokens") for call in m.backend.calls] == [5, 2, 7]
    assert m.backend.calls[2].messages[1].content == "one two three\nfour five"


def test_thoughts_that_are_cut_off_are_not_continued(fake):
    m = fake(["a b c d e f", "42"])
    m.instruct("?", strategy=BudgetForcingSamplingStrategy(think_max_tokens=3, waits=3))
    assert len(m.backend.calls) == 2


def test_a_model_that_thinks_by_itself_is_told_not_to_while_it_answers(fake):
    m = fake([[Thinking(text="hm"), "so"], "42"])
    answer = m.instruct("?", strategy=BudgetForcingSamplingStrategy(waits=0))
    assert m.backend.calls[1].options["thinking"] is False
    assert answer.thinking == "hmso\n"


def test_an_answer_that_does_not_pass_is_thought_about_again(fake):
    m = fake(["hm", "LOUD", "ah", "fine"])
    strategy = BudgetForcingSamplingStrategy(waits=0, loop_budget=2)
    answer = m.instruct("?", requirements=[LOWER], strategy=strategy)
    assert (answer.value, answer.attempt, answer.thinking) == ("fine", 2, "ah\n")
    assert [sample.thinking for sample in answer.samples] == ["hm\n", "ah\n"]


def test_the_schema_holds_the_answer_and_not_the_thoughts(fake):
    m = fake(["hm", "42"])
    assert m.instruct("?", format=int, strategy=BudgetForcingSamplingStrategy(waits=0)).parsed == 42
    assert [call.schema is None for call in m.backend.calls] == [True, False]


def test_a_drop_while_it_thinks_goes_on_to_the_answer(fake):
    m = fake([Answer(["hm", BackendUnavailable("gone")]), "42"])
    assert m.instruct("?", strategy=BudgetForcingSamplingStrategy()).value == "42"
    assert m.backend.calls[1].messages[1].content == "hm"


# --- escalation -------------------------------------------------------------------------------------------------------


def solvers(*answers):
    return [FakeBackend(f"model{i}", answers=list(each)) for i, each in enumerate(answers)]


def test_a_larger_model_is_asked_only_where_a_smaller_fails(fake):
    small, large = solvers(["NO", "fine"], ["good"])
    strategy = EscalationStrategy(solvers=[small, large])
    m = fake("unused")
    first = m.instruct("?", requirements=[LOWER], strategy=strategy)
    assert (first.value, first.generation.model, first.attempt) == ("good", "model1", 2)
    second = m.instruct("?", requirements=[LOWER], strategy=strategy)
    assert (second.value, second.generation.model) == ("fine", "model0")
    assert m.backend.calls == []


@pytest.mark.parametrize(("fresh", "told"), [(False, True), (True, False)])
def test_a_larger_model_is_told_what_was_wrong_unless_it_is_to_start_afresh(fake, fresh, told):
    small, large = solvers(["NO"], ["good"])
    fake().instruct("?", requirements=[LOWER], strategy=EscalationStrategy(solvers=[small, large], fresh_start=fresh))
    assert ("Do not shout." in large.calls[0].messages[0].content) is told


def test_each_solver_has_its_budget_and_the_last_answer_is_kept(fake):
    small, large = solvers(["A", "B"], ["C", "D"])
    strategy = EscalationStrategy(solvers=[small, large], loop_budget=2)
    answer = fake().instruct("?", requirements=[LOWER], strategy=strategy)
    assert (answer.value, answer.success, len(answer.samples)) == ("D", False, 4)


def test_options_go_along_as_far_as_a_solver_honours_them(fake):
    class Plain(FakeBackend):
        options = frozenset({"temperature"})

    small = Plain("small", answers="fine")
    options = {"temperature": 0.5, "top_k": 3}
    fake().instruct("?", strategy=EscalationStrategy(solvers=[small]), model_options=options)
    assert dict(small.calls[0].options) == {"temperature": 0.5}


# --- wrong use --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (RejectionSamplingStrategy, {"loop_budget": 0}),
        (RepairTemplateStrategy, {"loop_budget": True}),
        (MultiTurnStrategy, {"loop_budget": 1.5}),
        (BestofNSamplingStrategy, {"key": "len"}),
        (MajorityVotingStrategy, {"number_of_samples": 0}),
        (MajorityVotingStrategy, {"by": 3}),
        (BudgetForcingSamplingStrategy, {"think_max_tokens": 0}),
        (BudgetForcingSamplingStrategy, {"waits": -1}),
        (EscalationStrategy, {"solvers": []}),
        (EscalationStrategy, {"solvers": ["ollama"]}),
    ],
)
def test_a_wrong_argument_is_told_at_once(kind, wrong):
    name = next(iter(wrong))
    with pytest.raises(InvalidArgument, match=name):
        kind(**wrong)


@pytest.mark.parametrize(("begins", "says"), [(True, "began with no attempt"), (False, "must return a sample")])
def test_a_plan_that_begins_with_no_attempt_says_so(fake, begins, says):
    class Idle(SamplingStrategy):
        def plan(self, first):
            if begins:
                yield []

    with pytest.raises(InvalidArgument, match=says):
        fake("x").instruct("go", strategy=Idle())
