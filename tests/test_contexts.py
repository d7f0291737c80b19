"""Contexts as files: what is kept, what comes back, and what a file that is no context says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mellea_like import (
    Answer,
    BackendUnavailable,
    CBlock,
    ChatContext,
    ComputedModelOutputThunk,
    Context,
    Finished,
    Gate,
    GenerationCancelled,
    ImageBlock,
    InvalidArgument,
    Message,
    ModelOutputThunk,
    NotComputed,
    SimpleContext,
    Thinking,
    ToolCall,
    ToolCallEvent,
    Usage,
    start_session,
)
from mellea_like.component import Document
from mellea_like.errors import MelleaError, UnreadableContext
from mellea_like.parts import once

PATIENCE = 10.0


def computed(text: str, *events: Any, end: Any = None) -> ModelOutputThunk[Any]:
    """Build the thunk of an answer with these events in it."""
    m = start_session("fake", answers=Answer([text, *events, end or Finished(usage=Usage(output_tokens=3))]))
    with m:
        thunk = m.act("x", await_result=False)
        list(thunk.events())
        return thunk


def told(ctx: Context) -> list[Message]:
    return [message for turn in ctx.view() for message in turn.messages()]


def facts(thunk: ModelOutputThunk[Any] | None) -> Any:
    if thunk is None:
        return None
    about = thunk.generation
    return (
        *(thunk.state, thunk.value, thunk.partial_text, thunk.thinking, thunk.tool_calls, thunk.usage),
        *(thunk.finish_reason, about.model, about.provider, type(thunk.error), str(thunk.error)),
    )


# --- resuming -------------------------------------------------------------------------------------------------------


def test_a_chat_is_resumed_from_its_file(fake: Any, tmp_path: Path) -> None:
    first = fake(["Hello, Ana!", "Ana."], ctx=ChatContext(window_size=2))
    first.chat("I am Ana.")
    first.chat("Who am I?", images=[ImageBlock(url="http://x/me.png")])
    first.ctx.save(tmp_path / "chat.json")

    second = fake("Still Ana.", ctx=ChatContext.load(tmp_path / "chat.json"))
    assert second.ctx.window_size == 2
    assert second.chat("And now?") == Message("assistant", "Still Ana.")
    first.chat  # noqa: B018  # the first session goes on as it was
    sent = second.backend.calls[0].messages
    assert [message.content for message in sent] == ["I am Ana.", "Hello, Ana!", "Who am I?", "Ana.", "And now?"]
    assert sent[2].images == (ImageBlock(url="http://x/me.png"),)


def test_a_loaded_answer_can_be_read_in_every_way(fake: Any) -> None:
    m = fake("one two", context_type="chat")
    m.chat("count")
    answer = Context.from_json(m.ctx.to_json()).last_output()
    assert isinstance(answer, ComputedModelOutputThunk)
    assert (answer.value, list(answer), answer.result().value) == ("one two", ["one two"], "one two")
    assert answer.parsed == Message("assistant", "one two")
    assert answer.usage == Usage(input_tokens=1, output_tokens=2)
    assert (answer.generation.model, answer.generation.provider) == ("script", "fake")


def test_turns_outside_the_window_are_saved_too() -> None:
    ctx = ChatContext(window_size=1).add("one").add("two").add("three")
    assert [turn.said for turn in ChatContext.from_json(ctx.to_json()).all_turns()] == ["one", "two", "three"]
    assert len(ChatContext.from_json(ctx.to_json()).view()) == 1


def test_a_simple_context_saves_as_the_nothing_that_it_remembers(tmp_path: Path) -> None:
    SimpleContext().add("x").save(tmp_path / "simple.json")
    assert isinstance(Context.load(tmp_path / "simple.json"), SimpleContext)


@pytest.mark.parametrize("answer", [None, ComputedModelOutputThunk.of("yes")], ids=["alone", "answered"])
def test_a_component_is_saved_as_what_it_was_when_it_was_said(answer: ModelOutputThunk[Any] | None) -> None:
    box = ["before"]

    class Changing:
        def parts(self) -> tuple[()]:
            return ()

        def messages(self) -> tuple[Message, ...]:
            return (Message("user", box[0]),)

    saying = once(Changing())
    saying.messages()  # type: ignore[union-attr]  # a Saying
    ctx = ChatContext().add(saying, answer)
    box[0] = "after"
    assert told(ChatContext.from_json(ctx.to_json())) == told(ctx)
    assert told(ctx)[0].content == "before"
    assert ctx.view()[0].said is saying.said  # type: ignore[union-attr]  # a Saying


def test_an_existing_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "chat.json"
    ChatContext().add("a " * 1000).save(path)
    older = path.stat().st_ino
    ChatContext().add("b").save(str(path))
    assert path.stat().st_ino != older  # a new file took its place, so no reader ever sees half of one
    assert ChatContext.load(str(path)).as_list() == ["b"]
    assert [file.name for file in tmp_path.iterdir()] == ["chat.json"]


# --- how answers ended ----------------------------------------------------------------------------------------------


def test_a_running_answer_is_refused_by_its_turn(fake: Any, tmp_path: Path) -> None:
    gate = Gate()
    m = fake(["done", Answer(["half", gate, "!"])], context_type="chat")
    m.chat("one")
    running = m.chat("two", await_result=False)
    assert gate.reached(PATIENCE)
    with pytest.raises(NotComputed, match=r"Turn 2 is still being computed .*half.*`await thunk` first"):
        m.ctx.save(tmp_path / "chat.json")
    assert list(tmp_path.iterdir()) == []
    gate.open()
    running.result(PATIENCE)
    m.ctx.save(tmp_path / "chat.json")
    assert ChatContext.load(tmp_path / "chat.json").last_output().value == "half!"  # type: ignore[union-attr]


def test_a_failed_answer_stays_failed_with_its_error(fake: Any) -> None:
    m = fake([Answer(["half", BackendUnavailable("It went away.")]), "again"], context_type="chat")
    with pytest.raises(BackendUnavailable):
        m.chat("one")
    loaded = Context.from_json(m.ctx.to_json())
    answer = loaded.last_output()
    assert answer is not None
    assert (answer.state, answer.partial_text, told(loaded)) == ("failed", "half", [])
    with pytest.raises(BackendUnavailable, match=r"It went away\."):
        answer.result()


def test_a_turn_that_failed_with_what_it_needed_does_not_keep_the_chat_from_being_saved(fake: Any) -> None:
    gate = Gate()
    m = fake([Answer([gate, BackendUnavailable("It went away.")]), "fine"], context_type="chat")
    broken = m.act("one", await_result=False)
    needing = m.act(Document(broken), await_result=False)
    gate.open()
    for thunk in (broken, needing):
        with pytest.raises(MelleaError):
            thunk.result(PATIENCE)
    m.act("three")
    loaded = Context.from_json(m.ctx.to_json())
    assert [message.content for message in told(loaded)] == ["three", "fine"]


def test_an_error_of_another_kind_comes_back_as_ours() -> None:
    ctx = ChatContext().add("x", computed("half", ZeroDivisionError("by zero")))
    error = Context.from_json(ctx.to_json()).last_output().error  # type: ignore[union-attr]
    assert (type(error), str(error)) == (MelleaError, "ZeroDivisionError: by zero")


def test_a_cancelled_answer_keeps_the_text_that_came(talker: Any) -> None:
    thunk = talker.start(ChatContext())
    thunk.close()
    loaded = Context.from_json(talker.session.ctx.to_json())
    assert [message.content for message in told(loaded)] == ["Talk.", "word "]
    with pytest.raises(GenerationCancelled):
        loaded.last_output().result()  # type: ignore[union-attr]


# --- the round trip -------------------------------------------------------------------------------------------------

TEXTS = st.text('aé"\\\n{}🙂', max_size=6)
IMAGES = st.sampled_from([ImageBlock(url="http://x/y"), ImageBlock(value="AAAA", media_type="image/gif")])
CALLS = st.builds(ToolCall, name=TEXTS, arguments=TEXTS, id=st.none() | TEXTS)
MESSAGES = st.builds(
    Message,
    st.sampled_from(["system", "user", "assistant", "tool"]),
    TEXTS,
    images=st.lists(IMAGES, max_size=2),
    tool_calls=st.lists(CALLS, max_size=2),
    tool_call_id=st.none() | TEXTS,
)
DOCUMENTS = TEXTS.map(Document)
THUNKS = TEXTS.map(ComputedModelOutputThunk.of)
SAID = st.one_of(TEXTS, TEXTS.map(CBlock), MESSAGES, DOCUMENTS, DOCUMENTS.map(once), THUNKS)
EVENTS = st.lists(
    st.one_of(
        TEXTS,
        st.builds(Thinking, text=TEXTS),
        st.builds(ToolCallEvent, name=TEXTS, arguments=TEXTS, id=st.none() | TEXTS, complete=st.just(True)),
    ),
    max_size=4,
)
ENDS = st.one_of(
    st.builds(
        Finished,
        usage=st.none() | st.builds(Usage, input_tokens=st.integers(0, 9), cached_tokens=st.none() | st.integers(0, 9)),
        finish_reason=st.sampled_from(["stop", "length", "tool_calls"]),
        model=st.none() | st.just("m"),
    ),
    st.builds(BackendUnavailable, TEXTS),
)


ANSWERS = st.builds(lambda events, end: computed("", *events, end=end), EVENTS, ENDS)


@given(st.lists(st.tuples(SAID, st.none() | ANSWERS), max_size=3), st.none() | st.integers(1, 3))
def test_what_is_saved_comes_back(exchanges: list[tuple[Any, Any]], window: int | None) -> None:
    ctx = ChatContext(window_size=window)
    for said, answer in exchanges:
        ctx = ctx.add(said, answer)
    loaded = Context.from_json(ctx.to_json())
    assert isinstance(loaded, ChatContext)
    assert loaded.window_size == window
    assert told(loaded) == told(ctx)
    assert [facts(turn.answer) for turn in loaded.all_turns()] == [facts(answer) for _, answer in exchanges]
    assert loaded.to_json() == ctx.to_json()


# --- files that are no context --------------------------------------------------------------------------------------

GOOD = ChatContext().add("hi", ComputedModelOutputThunk.of("ho")).to_json()


def damaged(**changes: Any) -> str:
    return json.dumps(json.loads(GOOD) | changes)


def turn(said: Any, **answer: Any) -> str:
    return damaged(turns=[{"said": said, "answer": {"text": "b", **answer}}])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it is not JSON"),
        (GOOD[:-5], "it is not JSON"),
        (b"\xff\xfe", "it is not JSON"),
        ("[]", "its \"kind\" is not 'mellea_like context'"),
        ('{"messages": []}', '"kind" is not'),
        (damaged(version=2), r"is of version 2; this version of the library reads 1"),
        (turn({"text": 3}), r"is damaged: Expected `str \| null`, got `int` - at `\$.turns\[0\].said.text`"),
        (turn({}), "says neither text, block, message nor messages"),
        (turn({"text": "a"}, state="running"), "Invalid enum value 'running'"),
        (turn({"message": {"role": "robot", "content": ""}}), "Invalid enum value 'robot'"),
        (turn({"message": {"role": "user", "content": "", "images": [{}]}}), "either a value or a url"),
        (damaged(window_size=0), r"`int` >= 1 - at `\$.window_size`"),
        (damaged(extra=1), "unknown field `extra`"),
        (damaged(context="tree"), "is a 'tree' one; wanted: 'chat', 'simple'"),
    ],
)
def test_what_is_no_context_is_refused_with_its_place(text: str | bytes, said: str) -> None:
    with pytest.raises(UnreadableContext, match=said):
        Context.from_json(text)


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("hello")
    with pytest.raises(UnreadableContext, match=f"no saved context in '{path}': it is not JSON"):
        ChatContext.load(path)
    with pytest.raises(FileNotFoundError):
        ChatContext.load(tmp_path / "none.json")


@pytest.mark.parametrize(("place", "kind"), [("none/chat.json", FileNotFoundError), ("", IsADirectoryError)])
def test_a_place_that_cannot_be_written_is_the_one_that_is_named(
    place: str, kind: type[OSError], tmp_path: Path
) -> None:
    with pytest.raises(kind) as caught:
        ChatContext().save(tmp_path / place)
    assert (caught.value.filename, caught.value.filename2) == (str(tmp_path / place), None)
    assert list(tmp_path.iterdir()) == list(tmp_path.parent.glob("*.part")) == []


def test_a_type_that_was_asked_for_is_the_only_one_that_is_taken() -> None:
    with pytest.raises(UnreadableContext, match="is a 'chat' one; wanted: 'simple'"):
        SimpleContext.from_json(GOOD)


def test_a_context_of_the_users_own_saves_and_loads(tmp_path: Path) -> None:
    class Diary(ChatContext):
        name = "diary"

    Diary().add("dear").save(tmp_path / "diary.json")
    assert type(Diary.load(tmp_path / "diary.json")) is Diary
    with pytest.raises(UnreadableContext, match="is a 'diary' one"):
        ChatContext.load(tmp_path / "diary.json")


# --- looking into a context -----------------------------------------------------------------------------------------


def test_the_newest_of_a_context_is_at_hand() -> None:
    answers = [ComputedModelOutputThunk.of(str(number)) for number in range(2)]
    ctx = ChatContext().add("a", answers[0]).add("b", answers[1]).add("c")
    assert ctx.as_list() == ["a", answers[0], "b", answers[1], "c"]
    assert ctx.as_list(last_n_components=2) == [answers[1], "c"]
    assert ctx.last_output() is answers[1]
    assert ctx.last_output(check_last_n_components=1) is None
    last = ctx.last_turn()
    assert last is not None
    assert (last.said, last.answer) == ("c", None)


def test_an_empty_context_has_no_newest() -> None:
    for ctx in (ChatContext(), SimpleContext()):
        assert (ctx.last_turn(), ctx.last_output(), ctx.as_list()) == (None, None, [])


def test_a_window_is_a_positive_number() -> None:
    with pytest.raises(InvalidArgument, match="window_size is 0"):
        ChatContext(window_size=0)
