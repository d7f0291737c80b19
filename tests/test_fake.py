"""The `fake` backend says what its script says, and nothing else."""

from collections.abc import Callable
from typing import Any

import pytest

from mellea_like import (
    Answer,
    BackendUnavailable,
    ChatContext,
    Custom,
    Delta,
    FakeBackend,
    Finished,
    Gate,
    InvalidArgument,
    MelleaSession,
    Message,
    ModelOption,
    RateLimited,
    Request,
    ScriptExhausted,
    Thinking,
    Truncated,
    Usage,
)
from mellea_like.events import FinishReason

Start = Callable[..., MelleaSession]


def deltas(m: MelleaSession, **options: Any) -> list[str]:
    return list(m.instruct("go", await_result=False, model_options=options))


def last_call(m: MelleaSession) -> Request:
    assert isinstance(m.backend, FakeBackend)
    return m.backend.calls[-1]


# --- what an answer can be ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ("one two  three\n", ["one", " two", "  three", "\n"]),
        ("  lead", ["  lead"]),
        ("", []),
        (["all at once"], ["all", " at", " once"]),
        ([["a b", "c"]], ["a b", "c"]),
        (("a b", "c"), ["a b", "c"]),
        (Answer("a b"), ["a", " b"]),
        (Answer(["a b", "c"]), ["a b", "c"]),
        ([Answer(["a b"])], ["a b"]),
        (lambda request: "a b", ["a", " b"]),
        (lambda request: ["a b"], ["a b"]),
        (lambda request: Answer(["a b"]), ["a b"]),
        (None, ["You", " said:", " go"]),
    ],
)
def test_an_answer_is_text_steps_an_answer_or_a_function(fake: Start, answers: Any, expected: list[str]) -> None:
    assert deltas(fake(answers)) == expected


def test_one_answer_answers_every_call(fake: Start) -> None:
    m = fake("again")
    assert [m.instruct("a").value, m.instruct("b").value] == ["again", "again"]


def test_a_list_answers_one_call_after_the_other_and_is_left_as_it_is(fake: Start) -> None:
    answers = ["first", Answer("second"), ["th", "ird"]]
    m = fake(answers)
    assert [m.instruct("a").value for _ in range(3)] == ["first", "second", "third"]
    assert len(answers) == 3


def test_a_function_is_asked_with_the_request(fake: Start) -> None:
    m = fake(lambda request: request.messages[-1].content.upper())
    assert m.instruct("loud").value == "LOUD"


def test_a_script_with_no_answer_left_says_which_call_wanted_one(fake: Start) -> None:
    m = fake(["only"])
    m.instruct("a")
    with pytest.raises(ScriptExhausted, match=r"no answer for call 2: .*'more\?'") as caught:
        m.instruct("more?")
    assert caught.value.backend == "fake"


@pytest.mark.parametrize("answers", [7, [7], lambda request: 7])
def test_what_is_no_answer_is_refused(fake: Start, answers: Any) -> None:
    with pytest.raises(InvalidArgument, match="not 7"):
        fake(answers).instruct("a")


@pytest.mark.parametrize("step", [None, b"bytes", {"a": 1}])
def test_what_is_no_step_is_refused_when_it_is_reached(fake: Start, step: Any) -> None:
    thunk = fake(Answer(["a", step])).instruct("a", await_result=False)
    with pytest.raises(InvalidArgument, match="script's step"):
        thunk.result()
    assert thunk.partial_text == "a"


# --- steps ----------------------------------------------------------------------------------------------------------


def test_events_are_passed_on(fake: Start) -> None:
    script: list[Any] = [Thinking(text="hm"), Delta(text="a"), Custom(name="x", payload=1), "b"]
    thunk = fake(Answer(script)).instruct("go")
    assert [event.type for event in thunk.events()] == ["started", "thinking", "delta", "custom", "delta", "finished"]
    assert (thunk.value, thunk.thinking) == ("ab", "hm")


def test_a_finished_step_is_the_end(fake: Start) -> None:
    thunk = fake(Answer(["a", Finished(finish_reason="content_filter", model="x"), "never"])).instruct("go")
    assert (thunk.value, thunk.finish_reason, thunk.generation.model) == ("a", "content_filter", "x")


@pytest.mark.parametrize("before", [[], ["so ", "far"]])
def test_an_error_comes_at_its_place_and_as_a_copy(fake: Start, before: list[str]) -> None:
    error = RateLimited("slow", retry_after=2)
    thunk = fake([Answer([*before, error])]).instruct("go", await_result=False)
    with pytest.raises(RateLimited, match="slow"):
        thunk.result()
    assert thunk.partial_text == "".join(before)
    assert thunk.error is not error
    assert error.__traceback__ is None


def test_an_answer_can_be_an_error(fake: Start) -> None:
    with pytest.raises(RateLimited, match="slow"):
        fake([RateLimited("slow")]).instruct("go")


def test_an_error_in_a_script_that_is_played_twice_is_raised_twice(fake: Start) -> None:
    m = fake(Answer([BackendUnavailable("down")]))
    for _ in range(2):
        with pytest.raises(BackendUnavailable, match="down"):
            m.instruct("go")


def test_a_gate_holds_the_model_until_it_is_opened(fake: Start) -> None:
    gate = Gate()
    thunk = fake(Answer(["a", gate, "b"])).instruct("go", await_result=False)
    assert gate.reached(10)
    assert (thunk.partial_text, thunk.done()) == ("a", False)
    gate.open()
    assert thunk.result().value == "ab"


def test_an_open_gate_holds_nobody(fake: Start) -> None:
    gate = Gate()
    gate.open()
    assert not gate.reached(0)
    assert fake(Answer(["a", gate, "b"])).instruct("go").value == "ab"
    assert gate.reached(0)


def test_one_gate_holds_several_calls(fake: Start) -> None:
    gate = Gate()
    m = fake(Answer([gate, "b"]))
    thunks = [m.instruct("go", await_result=False) for _ in range(3)]
    gate.reached()
    gate.open()
    assert [thunk.result().value for thunk in thunks] == ["b", "b", "b"]


def test_a_number_pauses(fake: Start) -> None:
    thunk = fake(Answer(["a", 3600, "b"])).instruct("go", await_result=False)
    assert next(iter(thunk)) == "a"
    assert not thunk.done()


@pytest.mark.parametrize(("answers", "delay"), [("a b", 0.01), (Answer("a b", delay=0.01), 0.0)])
def test_a_delay_comes_before_each_delta(fake: Start, answers: Any, delay: float) -> None:
    thunk = fake(answers, delay=delay).instruct("go")
    first, second = (event.seconds for event in thunk.events() if isinstance(event, Delta))
    assert first > 0.009
    assert second - first > 0.009


# --- how it ends ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", ["stop", "length", "tool_calls", "content_filter"])
def test_a_finish_reason_is_told(fake: Start, reason: FinishReason) -> None:
    assert fake(Answer("a", finish_reason=reason)).instruct("go").finish_reason == reason


def test_a_truncated_answer_ends_without_an_end(fake: Start) -> None:
    thunk = fake(Answer("half of it", truncated=True)).instruct("go", await_result=False)
    with pytest.raises(Truncated):
        thunk.result()
    assert thunk.partial_text == "half of it"


def test_usage_counts_words_and_deltas(fake: Start) -> None:
    thunk = fake("one two three").instruct("two words", model_options={"system_prompt": "Be kind."})
    assert thunk.usage == Usage(input_tokens=4, output_tokens=3)


def test_a_scripted_usage_is_told(fake: Start) -> None:
    usage = Usage(input_tokens=5, output_tokens=6, cached_tokens=4)
    assert fake(Answer("one", usage=usage)).instruct("go").usage == usage


@pytest.mark.parametrize(
    ("limit", "text", "reason"), [(1, "one", "length"), (2, "one two", "length"), (3, "one two 3", "stop")]
)
def test_max_new_tokens_limits_the_deltas(fake: Start, limit: int, text: str, reason: str) -> None:
    thunk = fake("one two 3").instruct("go", model_options={"max_new_tokens": limit})
    assert (thunk.value, thunk.finish_reason) == (text, reason)
    assert thunk.usage is not None
    assert thunk.usage.output_tokens == limit


@pytest.mark.parametrize(
    ("stop", "text"),
    [
        ("two", "one "),
        (" two", "one"),
        ("one", ""),
        ("absent", "one two three"),
        (["three", "two"], "one "),
        ("o t", "one tw"),  # across two deltas
    ],
)
def test_a_stop_sequence_ends_the_answer_before_it(fake: Start, stop: Any, text: str) -> None:
    thunk = fake(Answer(["one", " two", " three"])).instruct("go", model_options={"stop": stop})
    assert (thunk.value, thunk.finish_reason) == (text, "stop")


@pytest.mark.parametrize("keep", [True, False])
def test_the_raw_reply_is_the_script_where_it_is_asked_for(fake: Start, *, keep: bool) -> None:
    thunk = fake("a b").instruct("go", model_options={ModelOption.KEEP_RAW: keep})
    assert thunk.generation.raw == (["a", " b"] if keep else None)


# --- what was asked -------------------------------------------------------------------------------------------------


def test_calls_are_kept_in_order_with_their_messages_and_options(fake: Start) -> None:
    m = fake(ctx=ChatContext(), model_options={"temperature": 0.5})
    m.chat("Hi")
    m.chat("Bye", model_options={"max_tokens": 50})
    assert isinstance(m.backend, FakeBackend)
    assert [len(call.messages) for call in m.backend.calls] == [1, 3]
    assert last_call(m).messages[1:] == (Message("assistant", "You said: Hi"), Message("user", "Bye"))
    assert last_call(m).options == {ModelOption.TEMPERATURE: 0.5, ModelOption.MAX_NEW_TOKENS: 50}


def test_a_call_that_was_refused_was_not_made(fake: Start) -> None:
    m = fake()
    with pytest.raises(ValueError, match="temprature"):
        m.instruct("go", model_options={"temprature": 1})
    assert isinstance(m.backend, FakeBackend)
    assert m.backend.calls == []
