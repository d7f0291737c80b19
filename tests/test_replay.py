"""Recording and replaying: what is played is what was said, and nothing else is ever played."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from mellea_like import (
    Answer,
    BackendError,
    BackendUnavailable,
    ContextOverflow,
    Custom,
    Failed,
    FakeBackend,
    Finished,
    Gate,
    InvalidArgument,
    MalformedReply,
    MelleaSession,
    Message,
    ModelNotFound,
    ModelOption,
    ModelOutputThunk,
    RateLimited,
    RecordingBackend,
    ReplayBackend,
    ReplayMismatch,
    Request,
    RequestRefused,
    Started,
    Thinking,
    ToolCallEvent,
    Truncated,
    UnknownName,
    Usage,
    start_session,
)

HEADER = '{"recording": "mellea_like", "version": 1}\n'


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    return tmp_path / "calls.jsonl"


def said(thunk: ModelOutputThunk[Any]) -> list[object]:
    """Everything that a thunk said, without when and by whom."""
    told: list[object] = []
    for event in thunk.events():
        if not isinstance(event, Started):
            facts = {name: value for name, value in event.as_dict().items() if name not in {"seq", "seconds"}}
            if isinstance(event, Failed):
                facts["error"] = (type(event.error), event.error.args, vars(event.error))
            told.append(facts)
    return told


def record(calls: Path, answers: Any, *questions: str, **options: Any) -> list[list[object]]:
    with MelleaSession(RecordingBackend(FakeBackend(answers=answers), calls), model_options=options) as m:
        return [said(m.instruct(question, await_result=False)) for question in questions]


def play(calls: Path, *questions: str, **options: Any) -> list[list[object]]:
    with start_session(f"replay:{calls}", model_options=options) as m:
        return [said(m.instruct(question, await_result=False)) for question in questions]


def line(**changes: Any) -> str:
    call = {
        "backend": "fake",
        "model": "script",
        "own": {},
        "request": {"messages": [{"role": "user", "content": "Hello"}], "options": {}},
        "events": [[0.0, "Hi"], [0.0, {"type": "finished"}]],
    }
    return json.dumps(call | changes) + "\n"


ENDS = {
    "text": Answer(["cut ", "exactly", " ", "here\n", "\u2028", "grüß 你好 🎉"]),
    "half a character pair": Answer(["\ud83d", "\ude00"]),
    "nothing": Answer([]),
    "thinking": Answer([Thinking(text="hm, "), Thinking(text="yes"), "yes"]),
    "tool calls": Answer([ToolCallEvent(index=1, id="a", name="f", arguments='{"x": 1}', complete=True)]),
    "a custom event": Answer([Custom(name="progress", payload={"done": 0.5})]),
    "a second attempt": Answer([Thinking(text="again", attempt=2), "yes"]),
    "length": Answer("one two", finish_reason="length"),
    "usage": Answer("one", usage=Usage(input_tokens=7, output_tokens=1, cached_tokens=3)),
    "a broken connection": Answer(["half"], truncated=True),
    "no slots": Answer(["a", RateLimited("slow down", backend="fake", retry_after=2.5)]),
    "too long": Answer([ContextOverflow("long", backend="fake", status=400, input_tokens=9000, context_window=4096)]),
    "no model": Answer([ModelNotFound("gone", backend="fake", model="m")]),
    "bytes": Answer(["x", MalformedReply("bad", backend="fake", head=b"\xff\x00{")]),
    "wrong use": Answer([InvalidArgument("no")]),
}


@pytest.mark.parametrize("answer", ENDS.values(), ids=ENDS)
def test_what_is_played_is_what_was_said(calls: Path, answer: Answer) -> None:
    assert record(calls, answer, "Hello") == play(calls, "Hello")


@pytest.mark.parametrize("kind", [BackendError, *BackendError.__subclasses__(), ContextOverflow])
def test_every_backend_error_is_played_as_what_it_was(calls: Path, kind: type[BackendError]) -> None:
    live = record(calls, Answer(["so far", kind("why", backend="fake", status=5)]), "Hello")
    assert live == play(calls, "Hello")
    assert isinstance(live[0][-1], dict)
    assert live[0][-1]["error"][0] is kind


@settings(max_examples=30)
@given(st.lists(st.text(min_size=1)))
def test_any_text_is_played_as_it_was_cut(tmp_path_factory: pytest.TempPathFactory, pieces: list[str]) -> None:
    calls = tmp_path_factory.mktemp("any") / "calls.jsonl"
    assert record(calls, Answer(pieces), "Hello") == play(calls, "Hello")


class Refused(RequestRefused):
    """Raised when a backend from outside says no."""


def test_an_error_class_from_outside_is_played_as_the_nearest_of_ours(calls: Path) -> None:
    record(calls, Answer([Refused("no", status=403)]), "Hello")
    with start_session(f"replay:{calls}") as m, pytest.raises(RequestRefused, match="no") as caught:
        m.instruct("Hello")
    assert type(caught.value) is RequestRefused
    assert caught.value.status == 403


def test_a_cancelled_call_is_played_as_cancelled(calls: Path) -> None:
    gate = Gate()
    with MelleaSession(RecordingBackend(FakeBackend(answers=Answer(["one ", gate, "two"])), calls)) as m:
        thunk = m.instruct("count", await_result=False)
        assert next(iter(thunk)) == "one "
        gate.reached()
        thunk.close()
    with start_session(f"replay:{calls}") as m:
        played = m.instruct("count", await_result=False)
        assert said(played) == said(thunk)
        assert played.state == "cancelled"


def test_a_mistake_of_the_program_is_passed_on_and_not_recorded(calls: Path) -> None:
    inner = FakeBackend(answers=Answer(["a", ZeroDivisionError("oh")]))
    with pytest.raises(ZeroDivisionError):
        MelleaSession(RecordingBackend(inner, calls)).instruct("Hello")
    assert calls.read_text() == HEADER


def test_a_recorder_stands_for_what_it_wraps(calls: Path) -> None:
    inner = FakeBackend("tiny", model_options={"temperature": 0.5})
    m = MelleaSession(RecordingBackend(inner, calls))
    thunk = m.instruct("Hello", model_options={"seed": 1})
    assert (thunk.generation.provider, thunk.generation.model) == ("fake", "tiny")
    assert inner.calls[0].options == {ModelOption.TEMPERATURE: 0.5, ModelOption.SEED: 1}
    with pytest.raises(UnknownName, match="temprature"):
        m.instruct("Hello", model_options={"temprature": 1})


def test_a_structured_answer_is_played_with_its_object(calls: Path) -> None:
    class Person(BaseModel):
        name: str

    with start_session(f"replay:{calls}", record=FakeBackend(answers='{"name": "Ana"}')) as m:
        assert m.instruct("Who?", format=Person).parsed == Person(name="Ana")
    with start_session(f"replay:{calls}") as m:
        assert m.instruct("Who?", format=Person).parsed == Person(name="Ana")
        with pytest.raises(ReplayMismatch, match="schema"):
            m.instruct("Who?")


@pytest.mark.parametrize(("raw", "played"), [([{"id": 1}, "b"], [{"id": 1}, "b"]), ([object()], None)])
def test_a_raw_reply_is_recorded_where_it_is_json(calls: Path, raw: object, played: object) -> None:
    record(calls, Answer([Finished(raw=raw)]), "Hello", keep_raw=True)
    [[finished]] = play(calls, "Hello", keep_raw=True)
    assert isinstance(finished, dict)
    assert finished["raw"] == played


# --- which call is played -------------------------------------------------------------------------------------------


def test_one_request_gets_its_recordings_in_order_and_then_an_error(calls: Path) -> None:
    assert record(calls, ["first", "other", "second"], "a", "b", "a") == play(calls, "a", "b", "a")
    with start_session(f"replay:{calls}") as m:
        assert [m.instruct("a").value, m.instruct("a").value] == ["first", "second"]
        with pytest.raises(ReplayMismatch, match=r"played as often as it was recorded \(line 2, 4\)"):
            m.instruct("a")


def test_options_of_the_recorded_backend_need_not_be_asked_for(calls: Path) -> None:
    inner = FakeBackend(answers="Hi", model_options={"temperature": 0.2})
    with start_session(f"replay:{calls}", record=inner) as m:
        live = [said(m.instruct("Hello", model_options={"seed": 1}))]
    assert play(calls, "Hello", seed=1) == live
    assert play(calls, "Hello", seed=1, temperature=0.2) == live
    m = start_session(f"replay:{calls}", model_options={"temperature": 0.3, "seed": 1})
    with pytest.raises(ReplayMismatch, match=r"has 0.2 as options.temperature; now it is 0.3"):
        m.instruct("Hello")


def test_a_system_prompt_of_the_recorded_backend_is_part_of_the_request(calls: Path) -> None:
    ruled = {"system_prompt": "Obey."}
    with start_session(f"replay:{calls}", record=FakeBackend(model_options=ruled)) as m:
        live = [said(m.instruct("Hello"))]
    assert play(calls, "Hello", **ruled) == live
    with start_session(f"replay:{calls}") as m, pytest.raises(ReplayMismatch, match="has 'system'"):
        m.instruct("Hello")


def test_a_mismatch_names_the_nearest_request_and_the_first_difference(calls: Path) -> None:
    long = "word " * 50
    record(calls, "ok", "What is the capital of France?", "Tell a joke.", long + "end")
    with start_session(f"replay:{calls}") as m:
        with pytest.raises(ReplayMismatch, match=r"line 3, has 'Tell a joke.' as messages\[0\].content; now .*poem"):
            m.instruct("Tell a poem.")
        with pytest.raises(ReplayMismatch, match=r"line 4, has '(word ){4}end' .* now it is '(word ){4}more'"):
            m.instruct(long + "more")
        with pytest.raises(ReplayMismatch, match=r"line 3, has nothing as options.top_k; now it is 5"):
            m.instruct("Tell a joke.", model_options={"top_k": 5})
        with pytest.raises(ReplayMismatch, match=r"line 3, has 'user' as messages\[0\].role; now it is 'assistant'"):
            m.act(Message("assistant", "Tell a joke."))


def test_an_empty_recording_says_so(calls: Path) -> None:
    calls.write_text(HEADER)
    with start_session(f"replay:{calls}") as m, pytest.raises(ReplayMismatch, match="nothing was"):
        m.instruct("Hello")


def test_with_record_only_what_the_file_does_not_hold_is_asked(calls: Path) -> None:
    for questions, asked in [("aab", 3), ("aab", 0), ("aaabc", 2), ("caaab", 0)]:
        inner = FakeBackend()
        with start_session(f"replay:{calls}", record=inner) as m:
            assert [m.instruct(q).value for q in questions] == [f"You said: {q}" for q in questions]
        assert len(inner.calls) == asked


def test_with_record_another_model_is_asked_itself(calls: Path) -> None:
    with start_session(f"replay:{calls}", record="fake:small") as m:
        m.instruct("Hello")
    with start_session(f"replay:{calls}", record=FakeBackend("large", answers="other")) as m:
        assert m.instruct("Hello").value == "other"
    assert calls.read_text().count("\n") == 3


# --- the file -------------------------------------------------------------------------------------------------------


def test_nothing_is_opened_before_the_first_call(calls: Path) -> None:
    start_session(f"replay:{calls}", record="fake").close()
    start_session(f"replay:{calls}").close()
    MelleaSession(RecordingBackend(FakeBackend(), calls)).close()
    assert not calls.exists()


def test_a_call_is_in_the_file_when_its_end_is_seen(calls: Path) -> None:
    m = MelleaSession(RecordingBackend(FakeBackend(), calls))
    for question in "abc":
        assert [said(m.instruct(question))] == play(calls, question)


def test_several_calls_at_once_are_recorded_whole(calls: Path) -> None:
    gates = {str(n): Gate() for n in range(8)}

    def answer(request: Request) -> Answer:
        n = request.messages[0].content
        return Answer([f"{n}a", gates[n], f"{n}b"])

    m = MelleaSession(RecordingBackend(FakeBackend(answers=answer), calls))
    thunks = {n: m.instruct(n, await_result=False) for n in gates}
    for n in reversed(gates):
        gates[n].open()
    live = {n: said(thunk) for n, thunk in thunks.items()}
    assert play(calls, *gates) == list(live.values())


def test_several_first_calls_at_once_share_one_recording(calls: Path) -> None:
    record(calls, ["first", "second"], "a", "a")
    with start_session(f"replay:{calls}") as m:
        thunks = [m.instruct("a", await_result=False) for _ in range(2)]
        assert sorted(thunk.result().value for thunk in thunks) == ["first", "second"]


def test_several_calls_at_once_are_played_whole(calls: Path) -> None:
    record(calls, lambda request: f"{request.messages[0].content} a b c", *map(str, range(20)))
    with start_session(f"replay:{calls}") as m:
        thunks = [m.instruct(str(n), await_result=False) for n in reversed(range(20))]
        assert [thunk.result().value for thunk in thunks] == [f"{n} a b c" for n in reversed(range(20))]


def test_a_file_that_was_torn_anywhere_plays_its_whole_lines_and_can_be_added_to(calls: Path) -> None:
    live = record(calls, None, "a", "b")
    content = calls.read_bytes()
    for cut in range(len(content)):
        calls.write_bytes(content[:cut])
        inner = FakeBackend()
        with start_session(f"replay:{calls}", record=inner) as m:
            assert [said(m.instruct(question, await_result=False)) for question in "ab"] == live
        assert len(inner.calls) == 2 - (content[:cut] + b"\n").count(b"}]]}\n")
        assert play(calls, "a", "b") == live


def test_an_editor_may_leave_empty_lines_and_take_the_last_newline_away(calls: Path) -> None:
    calls.write_text(HEADER + "\n\n" + line().rstrip("\n"))
    first = play(calls, "Hello")
    second = record(calls, "more", "b")
    assert first + second == play(calls, "Hello", "b")


BROKEN = {
    "not JSON": "{oops\n",
    "not an object": "[1]\n",
    "no events": '{"request": {}}\n',
    "an unknown field": line(mood="good"),
    "an unknown event": line(events=[[0.0, {"type": "sneezed"}]]),
    "an unknown fact": line(events=[[0.0, {"type": "finished", "mood": "good"}]]),
    "an unknown error": line(events=[[0.0, {"type": "failed", "error": {"type": "Oh", "message": "", "facts": {}}}]]),
    "no time": line(events=["text"]),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_a_broken_line_is_named_with_its_file_and_number(calls: Path, broken: str) -> None:
    calls.write_text(HEADER + line() + broken + line())
    with (
        start_session(f"replay:{calls}") as m,
        pytest.raises(MalformedReply, match=r"Line 3 of .*calls\.jsonl") as caught,
    ):
        m.instruct("Hello")
    assert caught.value.head == broken.encode().rstrip(b"\n")[:200]


@pytest.mark.parametrize("content", ["my notes", "my notes\n", HEADER.replace("1", "2") + line()])
def test_a_file_that_is_no_recording_is_refused_and_left_as_it_is(calls: Path, content: str) -> None:
    calls.write_text(content)
    inner = FakeBackend()
    for backend in (ReplayBackend(calls), RecordingBackend(inner, calls)):
        with pytest.raises(MalformedReply, match=r"calls.jsonl' is not a recording of version 1"):
            MelleaSession(backend).instruct("Hello")
    assert calls.read_text() == content
    assert inner.calls == []


def test_a_missing_file_is_named(calls: Path) -> None:
    with start_session(f"replay:{calls}") as m, pytest.raises(ModelNotFound, match=r"no recording '.*calls.jsonl'"):
        m.instruct("Hello")


def test_a_file_that_cannot_be_read_or_written_is_an_error_before_anybody_is_asked(tmp_path: Path) -> None:
    inner = FakeBackend()
    for backend in (ReplayBackend(tmp_path), RecordingBackend(inner, tmp_path / "no" / "calls.jsonl")):
        with pytest.raises(BackendUnavailable, match=r"(no|pytest)"):
            MelleaSession(backend).instruct("Hello")
    assert inner.calls == []


def test_a_request_that_is_not_json_is_refused_before_anybody_is_asked(calls: Path) -> None:
    inner = FakeBackend()
    with pytest.raises(InvalidArgument, match="not JSON serializable"):
        MelleaSession(RecordingBackend(inner, calls)).instruct("Hello", model_options={"extra": {"x": object()}})
    assert inner.calls == []


# --- options and lifetime -------------------------------------------------------------------------------------------


def test_speed_says_how_long_the_pauses_are(calls: Path) -> None:
    calls.write_text(HEADER + line(events=[[0.0, "Hi"], [3600.0, "!"], [7200.0, {"type": "finished"}]]))
    for speed in (0, 1e9):
        with start_session(f"replay:{calls}", speed=speed) as m:
            assert m.instruct("Hello").value == "Hi!"
    with start_session(f"replay:{calls}", speed=1.0) as m:
        thunk = m.instruct("Hello", await_result=False)
        assert next(iter(thunk)) == "Hi"
        assert not thunk.done()


@pytest.mark.parametrize("speed", [-1.0, float("nan")])
def test_a_speed_below_zero_is_refused(speed: float) -> None:
    with pytest.raises(InvalidArgument, match="speed"):
        start_session("replay:calls.jsonl", speed=speed)


def test_a_replay_needs_a_path_and_a_backend_that_exists() -> None:
    with pytest.raises(InvalidArgument, match=r"replay:calls\.jsonl"):
        start_session("replay")
    with pytest.raises(UnknownName, match="'fake'"):
        start_session("replay:calls.jsonl", record="fak")


def test_options_that_the_recorded_backend_cannot_honour_are_refused_by_its_name(calls: Path) -> None:
    class Plain(FakeBackend):
        name = "plain"
        options = frozenset()

    with pytest.raises(UnknownName, match="'plain' cannot honour the model option 'seed'"):
        start_session(f"replay:{calls}", record=Plain(), model_options={"seed": 1})


def test_closing_a_replay_closes_what_it_records(calls: Path) -> None:
    closed = []

    class Closing(FakeBackend):
        async def aclose(self) -> None:
            closed.append(self.name)

    start_session(f"replay:{calls}", record=Closing()).close()
    assert closed == ["fake"]


def test_a_truncated_recording_raises_what_the_cut_connection_raised(calls: Path) -> None:
    record(calls, Answer(["half"], truncated=True), "Hello")
    with start_session(f"replay:{calls}") as m, pytest.raises(Truncated):
        m.instruct("Hello")
