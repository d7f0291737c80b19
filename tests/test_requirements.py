"""Requirements: what may stand for one, who judges, and what a verdict says."""

from __future__ import annotations

import asyncio
import threading

import pytest

from mellea_like import (
    Answer,
    BackendUnavailable,
    ChatContext,
    Gate,
    InvalidArgument,
    ToolCallEvent,
    UnknownName,
    Usage,
    ValidationResult,
)
from mellea_like.requirement import Requirement, check, req, reqify, simple_validate

PATIENCE = 10.0


def verdicts(fake, *requirements, said="yes", **options):
    return fake(said).instruct("?", requirements=requirements, strategy=None, **options).validations


# --- what may stand for one -------------------------------------------------------------------------------------------


def test_a_sentence_is_told_to_the_model_and_judged_by_it(fake):
    m = fake(lambda request: "yes" if "Does the text meet" in request.messages[0].content else "Dear Ana")
    answer = m.instruct("Write.", requirements=["Be kind."])
    assert answer.success
    assert "- Be kind." in m.backend.calls[0].messages[0].content
    judged = m.backend.calls[1]
    assert "Requirement: Be kind." in judged.messages[0].content
    assert "Dear Ana" in judged.messages[0].content
    assert (judged.schema["enum"], judged.options["temperature"]) == (["yes", "no"], 0.0)


def test_a_check_is_judged_and_never_told(fake):
    m = fake("yes")
    m.instruct("Write.", requirements=[check("no elephants", simple_validate(lambda text: True))])
    assert m.backend.calls[0].messages[0].content == "Write."


def test_a_function_is_given_the_text_and_names_the_verdict(fake):
    def ends_well(text):
        return text == "yes"

    assert verdicts(fake, ends_well) == (ValidationResult(True, requirement="ends well", check_only=True),)


def test_a_validation_function_of_a_requirement_is_given_the_context(fake):
    seen = []

    def judged(ctx):
        seen.append((ctx.last_output().value, [m.content for t in ctx.view() for m in t.messages()]))
        return True

    m = fake(["one", "two"], ctx=ChatContext())
    m.instruct("First.")
    assert m.instruct("Second.", requirements=[check("it", judged)]).success
    assert seen == [("two", ["First.", "one", "Second.", "two"])]


def test_the_answer_in_the_context_of_a_validation_function_is_as_the_caller_will_get_it(fake):
    seen = []
    first = check("the first is 1", lambda ctx: seen.append(ctx.last_output()) or ctx.last_output().parsed[0] == 1)
    end = Usage(input_tokens=3, output_tokens=2)
    answer = fake(Answer("[1, 2]", usage=end)).instruct("?", format=list[int], requirements=[first])
    assert (answer.success, answer.parsed) == (True, [1, 2])
    assert (seen[0].parsed, seen[0].usage, seen[0].finish_reason) == ([1, 2], end, "stop")


def test_the_context_of_a_validation_function_has_the_tool_calls(fake):
    call = ToolCallEvent(name="f", arguments="{}", complete=True)
    (verdict,) = verdicts(fake, check("it", lambda ctx: ctx.last_output().tool_calls[0].name == "f"), said=[[call]])
    assert verdict


def test_requirements_keep_their_order_whoever_judges(fake):
    async def slow(text):
        await asyncio.sleep(0.01)
        return True

    wanted = ["a sentence", check("slow", simple_validate(slow)), check("quick", simple_validate(bool))]
    assert [v.requirement for v in verdicts(fake, *wanted)] == ["a sentence", "slow", "quick"]


def test_independent_judges_work_at_the_same_time(fake):
    gates = [Gate(), Gate()]
    judges = [fake(Answer([gate, "yes"])).backend for gate in gates]
    thunk = fake("yes").instruct(
        "?", requirements=[Requirement(str(i), judge=judge) for i, judge in enumerate(judges)], await_result=False
    )
    assert all(gate.reached(PATIENCE) for gate in gates)
    for gate in gates:
        gate.open()
    assert thunk.result().success


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (lambda: Requirement(), InvalidArgument, "a description, a validation function, or both"),
        (lambda: Requirement("x", "y"), InvalidArgument, "must be a function, not 'y'"),
        (lambda: req("x", chunking="char"), UnknownName, "no chunking 'char'"),
        (lambda: req("x", bool, chunking="word", growing=lambda: bool), InvalidArgument, "either chunking or growing"),
        (lambda: reqify(3), InvalidArgument, "3 is not a requirement"),
    ],
)
def test_a_wrong_requirement_is_told_where_it_is_made(wrong, error, message):
    with pytest.raises(error, match=message):
        wrong()


def test_a_wrong_requirement_in_a_call_sends_nothing(fake):
    m = fake("yes")
    with pytest.raises(InvalidArgument, match="None is not a requirement"):
        m.instruct("?", requirements=[None])
    assert m.backend.calls == []


# --- what a function may say ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "result", "reason"),
    [
        (True, True, None),
        (False, False, "because"),
        (None, None, "because"),
        ((False, "so"), False, "so"),
        ((None, "so"), None, "so"),
        ((True, "so"), True, None),
        (ValidationResult(False, reason="so"), False, "so"),
    ],
)
def test_a_verdict_is_what_a_function_says(fake, said, result, reason):
    (verdict,) = verdicts(fake, check("it", simple_validate(lambda text: said, reason="because")))
    assert (verdict.result, verdict.reason, verdict.requirement) == (result, reason, "it")


@pytest.mark.parametrize("said", [1, "yes", (True,), object])
def test_anything_else_is_a_failed_verdict_that_says_what_is_allowed(fake, said):
    (verdict,) = verdicts(fake, check("it", simple_validate(lambda text: said)))
    assert verdict.result is False
    assert "must return a bool, (bool, reason) or a ValidationResult" in verdict.reason


def test_only_true_is_true():
    assert [bool(ValidationResult(r)) for r in (True, False, None)] == [True, False, False]


def test_a_score_is_kept_and_summed(fake):
    scored = check("it", lambda ctx: ValidationResult(True, score=0.25))
    result = fake("yes").instruct("?", requirements=[scored, str.islower], return_sampling_results=True)
    assert result.samples[0].score == 1.25


@pytest.mark.parametrize("kind", ["sync", "async", "lambda"])
def test_a_function_that_raises_has_not_passed_and_the_others_are_judged(fake, kind):
    def broken(text):
        raise ZeroDivisionError("oh")

    async def abroken(text):
        raise ZeroDivisionError("oh")

    wrong = {"sync": broken, "async": abroken, "lambda": lambda text: abroken(text)}[kind]
    first, second = verdicts(fake, check("broken", simple_validate(wrong)), check("fine", simple_validate(bool)))
    assert (first.result, first.reason) == (False, "The validation function raised ZeroDivisionError: oh")
    assert isinstance(first.error, ZeroDivisionError)
    assert second


@pytest.mark.parametrize("kind", ["sync", "async", "lambda", "chunk", "growing"])
@pytest.mark.parametrize("odd", [SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError, StopIteration])
def test_even_what_means_something_to_an_event_loop_is_a_verdict_and_the_loop_goes_on(fake, kind, odd):
    """A function of the user's often runs code that a model wrote, and that may leave by `sys.exit()`."""

    def leaves(text):
        raise odd("2")

    async def aleaves(text):
        raise odd("2")

    asked = {
        "sync": check("leaves", leaves),
        "async": check("leaves", aleaves),
        "lambda": check("leaves", lambda ctx: aleaves(ctx)),
        "chunk": check("leaves", leaves, chunking="word"),
        "growing": check("leaves", lambda ctx: True, growing=lambda: leaves),
    }
    # A function that watches is what ends its attempt, which would wait for ever.
    m = fake([Answer(["yes", Gate()]) if kind == "growing" else "yes", "again"])
    thunk = m.instruct("?", requirements=[asked[kind], str.islower], strategy=None, await_result=False)
    verdict = thunk.result(PATIENCE).validations[0]
    # Python itself makes a RuntimeError of a StopIteration that leaves a coroutine.
    coroutine = odd is StopIteration and kind in {"async", "lambda"}
    assert (verdict.result, verdict.requirement) == (False, "leaves")
    assert type(verdict.error) is (RuntimeError if coroutine else odd)
    assert verdict.reason.startswith(f"The validation function raised {type(verdict.error).__name__}: ")
    assert m.instruct("?", await_result=False).result(PATIENCE).value == "again"


def test_a_chunk_function_that_raises_has_not_passed(fake):
    (verdict,) = verdicts(fake, check("broken", lambda chunk: 1 / 0, chunking="word"), said="a b c")
    assert isinstance(verdict.error, ZeroDivisionError)


def test_a_growing_function_that_raises_has_not_passed(fake):
    wanted = check("broken", simple_validate(bool), growing=lambda: lambda text: 1 / 0)
    (verdict,) = verdicts(fake, wanted, said=Answer(["a ", Gate(), "b"]))
    assert isinstance(verdict.error, ZeroDivisionError)


def test_a_growing_function_is_made_for_each_attempt_and_given_new_text_only(fake):
    made = []

    def begin():
        made.append([])
        return lambda text: made[-1].append(text)

    gate = Gate()
    m = fake([Answer(["a", "b", gate, "C"]), "d"])
    wanted = check("lower", simple_validate(str.islower), growing=begin)
    thunk = m.instruct("?", requirements=[wanted], await_result=False)
    assert gate.reached(PATIENCE)
    gate.open()
    assert thunk.result().value == "d"
    assert "abC".startswith("".join(made[0]))
    assert len(made) <= 2


# --- models that judge ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "result", "reason"),
    [
        ("yes", True, None),
        ('"yes"', True, None),
        ("Yes, it does.", True, None),
        ("no", False, "The judging model says no."),
        ("No: it is rude.", False, "The judging model says no."),
        ("maybe", None, "The judging model says neither yes nor no, but 'maybe'."),
        (Answer([]), None, "The judging model says neither yes nor no, but ''."),
    ],
)
def test_a_model_judges_yes_or_no(fake, said, result, reason):
    (verdict,) = verdicts(fake, Requirement("wise", judge=fake(said).backend))
    assert (verdict.result, verdict.reason) == (result, reason)


def test_a_judging_model_that_fails_leaves_the_verdict_open_and_its_error_in_it(fake):
    judge = fake([Answer([BackendUnavailable("gone", backend="fake")])]).backend
    (verdict,) = verdicts(fake, Requirement("wise", judge=judge))
    assert verdict.result is None
    assert isinstance(verdict.error, BackendUnavailable)
    assert not verdict


def test_the_judge_of_a_requirement_is_asked_instead_of_the_calls_model(fake):
    judge, m = fake("yes"), fake("answer")
    assert m.instruct("?", requirements=[Requirement("wise", judge=judge.backend)]).success
    assert (len(judge.backend.calls), len(m.backend.calls)) == (1, 1)


def test_a_model_judges_chunks_too(fake):
    judge = fake(lambda request: "no" if "bad" in request.messages[0].content else "yes").backend
    (verdict,) = verdicts(fake, Requirement("wise", judge=judge, chunking="sentence"), said="good. bad. ugly.")
    assert verdict.result is False


# --- validate ---------------------------------------------------------------------------------------------------------


def test_validate_judges_a_text_by_requirements_of_every_kind(fake):
    calm = check("calm", lambda chunk: not chunk.isupper(), chunking="sentence")
    found = fake("no").validate([str.islower, calm, "Be kind."], output="Well. STOP. ok")
    assert [v.result for v in found] == [False, False, False]
    assert [v.requirement for v in found] == ["islower", "calm", "Be kind."]


def test_validate_waits_for_a_running_thunk(fake):
    gate = Gate()
    m = fake(Answer(["yes", gate]))
    thunk = m.instruct("?", await_result=False)
    threading.Timer(0, gate.open).start()
    assert all(m.validate([str.islower], output=thunk))


def test_validate_wants_something_to_judge(fake):
    with pytest.raises(InvalidArgument, match="no answer to judge"):
        fake("yes").validate([str.islower])
