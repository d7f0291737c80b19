"""The session's verbs, on the scripted backend."""

import asyncio
import inspect
from typing import Any

import pytest
from pydantic import BaseModel

from mellea_like import (
    Answer,
    BackendUnavailable,
    CBlock,
    ChatContext,
    ComputedModelOutputThunk,
    DependencyFailed,
    FakeBackend,
    Finished,
    Gate,
    GenerationCancelled,
    ImageBlock,
    Instruction,
    InvalidArgument,
    MelleaSession,
    Message,
    ModelOption,
    ModelOutputThunk,
    OutputParseError,
    SessionClosed,
    ToolCallEvent,
    UnknownName,
    Usage,
    start_session,
)


class Person(BaseModel):
    name: str
    age: int


def prompt(m: MelleaSession, call: int = -1) -> list[tuple[str, str]]:
    assert isinstance(m.backend, FakeBackend)
    return [(message.role, message.content) for message in m.backend.calls[call].messages]


# --- what verbs give ------------------------------------------------------------------------------------------------


async def test_an_awaited_verb_gives_a_computed_thunk() -> None:
    m = start_session("fake", answers="Hello")
    answer = await m.ainstruct("Hi")
    assert isinstance(answer, ComputedModelOutputThunk)
    assert (answer.value, str(answer), answer.is_computed()) == ("Hello", "Hello", True)


async def test_await_result_false_gives_a_running_thunk_at_once() -> None:
    gate = Gate()
    m = start_session("fake", answers=Answer([gate, "Hello"]))
    thunk = await m.ainstruct("Hi", await_result=False)
    assert type(thunk) is ModelOutputThunk
    assert not thunk.done()
    gate.open()
    assert await thunk.avalue() == "Hello"


def test_synchronous_verbs_give_the_same() -> None:
    m = start_session("fake", answers="Hello you")
    assert m.instruct("Hi").value == "Hello you"
    assert list(m.instruct("Hi", await_result=False)) == ["Hello", " you"]
    assert m.act(CBlock("Hi")).value == "Hello you"
    assert m.chat("Hi") == Message("assistant", "Hello you")


async def test_chat_gives_a_message_and_its_thunk_parses_as_one() -> None:
    call = ToolCallEvent(name="look", arguments='{"at": "sky"}', id="1", complete=True)
    m = start_session("fake", answers=Answer(["Let me see.", call]))
    reply = await m.achat("What is up?")
    assert reply.content == "Let me see."
    assert [(c.name, c.arguments) for c in reply.tool_calls] == [("look", '{"at": "sky"}')]
    thunk = await m.achat("And now?", await_result=False)
    assert (await thunk).parsed == reply
    assert "Let me see." in repr(reply)


@pytest.mark.parametrize("verb", ["instruct", "act", "chat"])
def test_a_synchronous_verb_is_its_asynchronous_twin(verb: str) -> None:
    sync, twin = getattr(MelleaSession, verb), getattr(MelleaSession, f"a{verb}")
    assert sync.__wrapped__ is twin
    assert sync.__name__ == verb
    assert inspect.signature(sync) == inspect.signature(twin)


# --- what is sent ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "sent"),
    [
        ("text", ("user", "text")),
        (CBlock("block"), ("user", "block")),
        (Message("system", "be brief"), ("system", "be brief")),
        (Instruction(description="do {{ x }}", user_variables={"x": 1}), ("user", "do 1")),
        (ComputedModelOutputThunk.of("earlier"), ("user", "earlier")),
    ],
)
def test_anything_sayable_is_sent_as_what_it_is(said: Any, sent: tuple[str, str]) -> None:
    m = start_session("fake", answers="ok")
    m.act(said)
    assert prompt(m) == [sent]


def test_braces_without_variables_stay_braces() -> None:
    m = start_session("fake", answers="ok")
    m.instruct("Explain {{ this }} and {% that %}.")
    assert prompt(m) == [("user", "Explain {{ this }} and {% that %}.")]


def test_the_system_prompt_comes_first_and_replaces_an_older_one() -> None:
    m = start_session("fake", answers="ok", model_options={"system": "Be kind."}, context_type="chat")
    m.act(Message("system", "Be rude."))
    m.chat("Hi")
    assert prompt(m)[0] == ("system", "Be kind.")
    assert [role for role, _ in prompt(m)].count("system") == 1


def test_images_travel_with_the_instruction() -> None:
    image = ImageBlock.from_bytes(b"\x89PNG\r\n\x1a\n rest")
    m = start_session("fake", answers="a cat")
    m.instruct("What is this?", images=[image])
    assert m.backend.calls[0].messages[0].images == (image,)  # type: ignore[attr-defined]


def test_options_of_the_call_win_over_the_sessions() -> None:
    m = start_session("fake", answers="ok", model_options={"temperature": 0.5, "seed": 1})
    m.instruct("x", model_options={ModelOption.TEMPERATURE: 0.9, "seed": None})
    assert m.backend.calls[0].options == {"temperature": 0.9}  # type: ignore[attr-defined]


def test_the_callers_own_lists_and_dicts_are_left_alone() -> None:
    earlier = ComputedModelOutputThunk.of("text")
    variables: dict[str, Any] = {"items": [earlier, {"deep": earlier}]}
    m = start_session("fake", answers="ok")
    m.instruct("{{ items[0] }} {{ items[1].deep }}", user_variables=variables)
    assert prompt(m) == [("user", "text text")]
    assert variables == {"items": [earlier, {"deep": earlier}]}


# --- thunks in calls ------------------------------------------------------------------------------------------------


async def test_a_call_waits_for_the_thunks_it_depends_on() -> None:
    gate = Gate()
    answers = {"first": Answer(["one", gate, " two"]), "got one two": "done"}
    m = start_session("fake", answers=lambda request: answers[request.messages[-1].content])
    first = await m.ainstruct("first", await_result=False)
    second = await m.ainstruct("got {{ x }}", user_variables={"x": first}, await_result=False)
    await first.astream()
    assert not second.done()
    gate.open()
    assert (await second).value == "done"


async def test_a_diamond_of_calls_computes_each_node_once() -> None:
    m = start_session("fake", answers=lambda request: f"<{request.messages[-1].content}>")
    top = await m.ainstruct("top", await_result=False)
    left, right = [
        await m.ainstruct("{{ t }} " + side, user_variables={"t": top}, await_result=False) for side in ("l", "r")
    ]
    end = await m.ainstruct("{{ l }}{{ r }}{{ r }}", user_variables={"l": left, "r": right})
    assert end.value == "<<<top> l><<top> r><<top> r>>"
    assert len(m.backend.calls) == 4  # type: ignore[attr-defined]


async def test_reading_by_the_library_does_not_count_as_reading() -> None:
    m = start_session("fake", answers="x")
    first = await m.ainstruct("a", await_result=False)
    await m.ainstruct("{{ x }}", user_variables={"x": first})
    assert first.done()
    assert not first.is_computed()


@pytest.mark.parametrize("already", [True, False], ids=["ended", "still running"])
async def test_a_call_on_a_failed_thunk_names_it(already: bool) -> None:
    gate = Gate()
    broken = Answer(["half", gate, BackendUnavailable("gone")])
    m = start_session("fake", answers=lambda r: broken if r.messages[-1].content == "a" else "never")
    first = await m.ainstruct("a", await_result=False)
    if already:
        gate.open()
        await first.ended()
        with pytest.raises(DependencyFailed, match=r"failed: gone") as caught:
            await m.ainstruct("{{ x }}", user_variables={"x": first})
    else:
        second = await m.ainstruct("{{ x }}", user_variables={"x": first}, await_result=False)
        gate.open()
        with pytest.raises(DependencyFailed, match=r"failed: gone") as caught:
            await second
    assert "half" in caught.value.thunk


async def test_a_slow_rendering_of_the_users_does_not_hold_up_other_streams() -> None:
    gate, rendering = Gate(), Gate()

    class Slow:
        def __str__(self) -> str:
            rendering.open()
            assert released.wait(60)
            return "slow"

    import threading

    released = threading.Event()
    m = start_session("fake", answers=lambda r: Answer(["a", gate]) if r.messages[-1].content == "a" else "b")
    first = await m.ainstruct("a", await_result=False)
    second = await m.ainstruct("{{ x }}{{ y }}", user_variables={"x": first, "y": Slow()}, await_result=False)
    gate.open()
    await rendering.passed()
    assert (await m.ainstruct("another")).value == "b"
    released.set()
    assert (await second).value == "b"


# --- contexts -------------------------------------------------------------------------------------------------------


def test_a_chat_sees_the_conversation_and_a_simple_context_does_not() -> None:
    for kind, seen in (("chat", ["One", "1", "Two"]), ("simple", ["Two"])):
        m = start_session("fake", answers=["1", "2"], context_type=kind)  # type: ignore[arg-type]
        m.chat("One")
        m.chat("Two")
        assert [content for _, content in prompt(m)] == seen


async def test_a_later_turn_waits_for_an_answer_that_is_still_running() -> None:
    gate = Gate()
    m = start_session("fake", answers=[Answer(["1", gate, "!"]), "2"], context_type="chat")
    first = await m.achat("One", await_result=False)
    second = await m.achat("Two", await_result=False)
    gate.open()
    assert (await second).value == "2"
    assert prompt(m) == [("user", "One"), ("assistant", "1!"), ("user", "Two")]
    assert (await first).value == "1!"


def test_a_failed_turn_leaves_the_conversation() -> None:
    m = start_session("fake", answers=[BackendUnavailable("gone"), "2"], context_type="chat")  # type: ignore[list-item]
    with pytest.raises(BackendUnavailable):
        m.chat("One")
    m.chat("Two")
    assert prompt(m) == [("user", "Two")]


async def test_a_cancelled_turn_keeps_the_text_that_came() -> None:
    m = start_session("fake", answers=[Answer(["half", Gate()]), "2"], context_type="chat")
    thunk = await m.achat("One", await_result=False)
    await thunk.astream()
    await thunk.cancel()
    await m.achat("Two")
    assert prompt(m) == [("user", "One"), ("assistant", "half"), ("user", "Two")]


def test_a_window_sends_the_newest_exchanges_only() -> None:
    m = start_session("fake", answers="a", ctx=ChatContext(window_size=1))
    for said in ("One", "Two", "Three"):
        m.chat(said)
    assert [content for _, content in prompt(m)] == ["Two", "a", "Three"]


def test_contexts_are_immutable_and_reset_starts_over() -> None:
    m = start_session("fake", answers="a", context_type="chat")
    before = m.ctx
    m.chat("One")
    assert before.view() == []
    assert str(m.ctx.last_output()) == "a"
    assert m.ctx.as_list() == [Message("user", "One"), m.ctx.last_output()]
    m.reset()
    assert isinstance(m.ctx, ChatContext)
    assert m.ctx.last_turn() is None


# --- typed answers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "text", "parsed"),
    [
        (Person, '{"name": "Ana", "age": 30}', Person(name="Ana", age=30)),
        (list[int], "[1, 2]", [1, 2]),
        (int, "7", 7),
        (dict[str, bool], '{"a": true}', {"a": True}),
    ],
)
def test_format_gives_the_answer_a_type_and_the_backend_a_schema(kind: type, text: str, parsed: object) -> None:
    m = start_session("fake", answers=text)
    answer = m.instruct("x", format=kind)
    assert (answer.value, answer.parsed) == (text, parsed)
    assert m.backend.calls[0].schema["type"] in {"object", "array", "integer"}  # type: ignore[attr-defined]


async def test_an_answer_that_does_not_validate_is_an_error_with_the_reason_and_the_text() -> None:
    usage = Usage(input_tokens=3, output_tokens=4)
    m = start_session("fake", answers=Answer(['{"name": ', '"Ana"}'], usage=usage))
    thunk = await m.ainstruct("x", format=Person, await_result=False)
    with pytest.raises(OutputParseError, match="age") as caught:
        await thunk
    assert caught.value.text == thunk.partial_text == '{"name": "Ana"}'
    assert thunk.usage == usage


def test_an_answer_cut_off_by_its_token_limit_is_not_an_object() -> None:
    m = start_session("fake", answers=Answer(['{"name": "Ana",', ' "age": 30}']))
    with pytest.raises(OutputParseError, match="cut off by its token limit"):
        m.instruct("x", format=Person, model_options={"max_new_tokens": 1})
    assert m.instruct("x", model_options={"max_new_tokens": 1}).finish_reason == "length"


# --- metadata -------------------------------------------------------------------------------------------------------


def test_a_finished_thunk_knows_what_happened() -> None:
    m = start_session("fake:tiny", answers="one two", model_options={"keep_raw": True})
    known = m.instruct("say it").generation
    assert (known.model, known.provider, known.finish_reason) == ("tiny", "fake", "stop")
    assert known.usage == Usage(input_tokens=2, output_tokens=2)
    assert known.ttft is not None
    assert known.seconds is not None
    assert 0 <= known.ttft <= known.seconds
    assert known.raw == ["one", " two"]
    assert m.instruct("x", model_options={"keep_raw": False}).generation.raw is None


# --- mistakes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"backend_name": "olama"}, r"no backend 'olama'.*'fake'"),
        ({"backend_name": "fake", "context_type": "chatty"}, r"no context type 'chatty'.*'chat', 'simple'"),
        ({"backend_name": "fake", "answer": "x"}, r"called 'answer'. Did you mean 'answers'"),
        ({"backend_name": "fake", "model_options": {"temprature": 1}}, r"Did you mean 'temperature'.*'top_p'"),
        ({"backend_name": "fake:a", "model_id": "b"}, r"Two models"),
        ({"backend_name": "fake", "ctx": ChatContext(), "context_type": "chat"}, r"not both"),
    ],
)
def test_a_mistaken_start_lists_what_is_valid(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises((UnknownName, InvalidArgument), match=said):
        start_session(**arguments)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("temperature", -1),
        ("temperature", True),
        ("top_p", 2),
        ("max_new_tokens", 0),
        ("max_tokens", "many"),
        ("stop", [1]),
        ("stop", [""]),
        ("seed", 1.5),
        ("extra", "x"),
    ],
)
def test_an_option_out_of_range_is_refused_by_name(option: str, value: object) -> None:
    with pytest.raises(InvalidArgument, match=option):
        start_session("fake").instruct("x", model_options={option: value})


@pytest.mark.parametrize("said", [7, None, ["a"], object])
def test_what_cannot_be_said_is_refused(said: Any) -> None:
    with pytest.raises(InvalidArgument, match="cannot be said"):
        start_session("fake").act(said)


def test_a_refused_call_leaves_the_context_as_it_was() -> None:
    m = start_session("fake", answers="ok", context_type="chat")
    with pytest.raises(UnknownName):
        m.chat("x", model_options={"nope": 1})
    assert m.ctx.view() == []


# --- lifetime -------------------------------------------------------------------------------------------------------


async def test_leaving_a_session_stops_what_runs_and_refuses_calls() -> None:
    async with start_session("fake", answers=Answer(["a", Gate()])) as m:
        thunk = await m.ainstruct("x", await_result=False)
        await thunk.astream()
    assert thunk.state == "cancelled"
    for call in (m.ainstruct("x"), m.achat("x"), m.aact("x", await_result=False)):
        with pytest.raises(SessionClosed, match=r"start_session"):
            await call
    await m.aclose()


def test_a_session_closes_the_backend_that_it_opened_and_no_other() -> None:
    class Closing(FakeBackend):
        closed = 0

        async def aclose(self) -> None:
            self.closed += 1

    mine = Closing(answers="x")
    with MelleaSession(mine) as m:
        m.instruct("x")
    assert mine.closed == 0
    with start_session("fake", answers="x") as owned:
        owned.backend.__class__ = Closing
    assert owned.backend.closed == 1  # type: ignore[attr-defined]


async def test_session_cancel_stops_everything_and_the_session_goes_on() -> None:
    m = start_session("fake", answers=[Answer(["a", Gate()]), Answer(["b", Gate()]), "c"])
    thunks = [await m.ainstruct("x", await_result=False) for _ in range(2)]
    assert [await thunk.astream() for thunk in thunks] == ["a", "b"]
    await m.cancel()
    assert [thunk.state for thunk in thunks] == ["cancelled", "cancelled"]
    with pytest.raises(GenerationCancelled):
        await thunks[0]
    assert (await m.ainstruct("x")).value == "c"


async def test_concurrent_calls_do_not_mix() -> None:
    m = start_session("fake", answers=lambda r: Answer([f"{r.messages[-1].content}:{i} " for i in range(50)]))
    answers = await asyncio.gather(*(m.ainstruct(str(n)) for n in range(50)))
    assert [a.value for a in answers] == ["".join(f"{n}:{i} " for i in range(50)) for n in range(50)]


async def test_a_backend_that_says_only_how_it_ended_gives_an_empty_answer() -> None:
    m = start_session("fake", answers=Answer([Finished(finish_reason="content_filter")]))
    answer = await m.ainstruct("x")
    assert (answer.value, answer.finish_reason, list(answer)) == ("", "content_filter", [])


def test_the_default_model_is_named_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MELLEA_LIKE_MODEL", "fake:from-environment")
    assert repr(start_session()) == "MelleaSession(FakeBackend('from-environment'), <SimpleContext of 0 turns>)"
