"""The file form of a context: JSON, with a version. Knows turns as what was said and what was answered, no contexts.

What was said is kept as text, as a message, or, for any other component, as the messages that it rendered to. An answer
keeps its text, reasoning, tool calls, usage and how it ended; what it was parsed to is kept for a chat's messages only.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from . import errors
from .component import CBlock
from .content import ImageBlock, Message, Role, ToolCall
from .errors import MelleaError, NotComputed, UnreadableContext
from .events import Cancelled, Failed, Finished, FinishReason, Said, Started, Terminal, Thinking, ToolCallEvent, Usage
from .log import Log
from .parts import Sayable, said_messages, thunks_in
from .samples import UNPARSED
from .thunk import ComputedModelOutputThunk, ModelOutputThunk

KIND = "mellea_like context"
VERSION = 1


class Spoken:
    """What was said, as the messages that it was; what a component becomes in a context that was saved."""

    __slots__ = ("_messages",)

    def __init__(self, messages: Sequence[Message]) -> None:
        self._messages = tuple(messages)

    def parts(self) -> Iterable[object]:
        """Give nothing: everything is text by now."""
        return ()

    def messages(self) -> Sequence[Message]:
        """Give the messages."""
        return self._messages

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Spoken) and self._messages == other._messages

    def __hash__(self) -> int:
        return hash(self._messages)

    def __repr__(self) -> str:
        return f"Spoken({list(self._messages)!r})"


class _Form(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """A piece of the file: defaults are left out, and what is not known is refused."""


class _Image(_Form):
    value: str = ""
    media_type: str = "image/png"
    url: str | None = None


class _Message(_Form):
    role: Role
    content: str
    images: list[_Image] = []
    tool_calls: list[ToolCall] = []
    tool_call_id: str | None = None


class _Saying(_Form):
    """What was said: exactly one of these."""

    text: str | None = None
    block: str | None = None
    message: _Message | None = None
    messages: list[_Message] | None = None


class _Error(_Form):
    type: str
    message: str


class _Answer(_Form):
    text: str
    state: Literal["finished", "failed", "cancelled"] = "finished"
    thinking: str = ""
    tool_calls: list[ToolCall] = []
    finish_reason: FinishReason = "stop"
    usage: Usage | None = None
    model: str = ""
    provider: str = ""
    reply: bool = False
    error: _Error | None = None


class _Turn(_Form):
    said: _Saying
    answer: _Answer | None = None


class Saved(_Form):
    """A context as a file holds it; `context` is its type's name."""

    kind: str
    version: int
    context: str
    turns: list[_Turn]
    window_size: Annotated[int, msgspec.Meta(ge=1)] | None = None

    def exchanges(self) -> list[tuple[Sayable, ModelOutputThunk[Any] | None]]:
        """Build what was said and answered, oldest first; the answers are computed thunks.

        Raises:
            UnreadableContext: a turn says nothing, or is not what a message may be.
        """
        try:
            return [(_said(turn.said), None if turn.answer is None else _thunk(turn.answer)) for turn in self.turns]
        except (MelleaError, AttributeError) as error:
            raise UnreadableContext(f"The saved context holds a turn that cannot be: {error}") from error


def encoded(
    context: str, exchanges: Iterable[tuple[Sayable, ModelOutputThunk[Any] | None]], *, window_size: int | None = None
) -> str:
    """Write a context as JSON.

    Args:
        context: The name of its type.
        exchanges: What was said and answered, oldest first.
        window_size: How many exchanges are sent; None for all.

    Raises:
        NotComputed: an answer is still running; the message says which.
    """
    turns = [_turn(number, said, answer) for number, (said, answer) in enumerate(exchanges, 1)]
    saved = Saved(kind=KIND, version=VERSION, context=context, turns=turns, window_size=window_size)
    return msgspec.json.format(msgspec.json.encode(saved), indent=1).decode()


def decoded(text: str | bytes, *, source: str = "this text") -> Saved:
    """Read a context's JSON; `source` is its name, for the message.

    Raises:
        UnreadableContext: it is not JSON, no saved context, damaged, or of a later version of the library.
    """
    try:
        head = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise UnreadableContext(f"There is no saved context in {source}: it is not JSON ({error}).") from error
    if not isinstance(head, dict) or head.get("kind") != KIND:
        raise UnreadableContext(f'There is no saved context in {source}: its "kind" is not {KIND!r}.')
    version = head.get("version")
    if version != VERSION:
        raise UnreadableContext(
            f"The context saved in {source} is of version {version!r}; this version of the library reads {VERSION}."
        )
    try:
        return msgspec.convert(head, Saved)
    except msgspec.ValidationError as error:
        raise UnreadableContext(f"The context saved in {source} is damaged: {error}.") from error


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all: an interrupted save leaves the older one."""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            os.replace(name, path)
        finally:
            with suppress(FileNotFoundError):  # it has its own name by now
                os.unlink(name)
    except OSError as error:
        named = OSError(error.errno, error.strerror, str(path))  # the caller has never heard of the other file
        raise named from error


def _turn(number: int, said: Sayable, answer: ModelOutputThunk[Any] | None) -> _Turn:
    for thunk in [*thunks_in(said), *filter(None, [answer])]:
        if not thunk.done():
            raise NotComputed(
                f"Turn {number} is still being computed ({thunk!r}), so the context cannot be saved yet. Write "
                "`await thunk` first, or `thunk.cancel()` to save what has come."
            )
    if answer is None:
        return _Turn(said=_saying(said))
    try:
        return _Turn(said=_saying(said), answer=_answer(answer))
    except MelleaError:
        if answer.state != "failed":
            raise
        # What failed may be what was said: it needed a thunk that failed. Such a turn is not sent again either.
        return _Turn(said=_Saying(messages=[]), answer=_answer(answer))


def _saying(said: Sayable) -> _Saying:
    if isinstance(said, str):
        return _Saying(text=said)
    if isinstance(said, CBlock):
        return _Saying(block=said.value)
    if isinstance(said, Message):
        return _Saying(message=_message(said))
    return _Saying(messages=[_message(message) for message in said_messages(said)])


def _message(message: Message) -> _Message:
    return _Message(
        role=message.role,
        content=message.content,
        images=[_Image(value=i.value, media_type=i.media_type, url=i.url) for i in message.images],
        tool_calls=list(message.tool_calls),
        tool_call_id=message.tool_call_id,
    )


def message_to_plain(message: Message) -> dict[str, Any]:
    """Write a message as JSON's types."""
    plain: dict[str, Any] = msgspec.to_builtins(_message(message))
    return plain


def message_from_plain(plain: Mapping[str, Any]) -> Message:
    """Build the message that `message_to_plain` wrote."""
    return _read(msgspec.convert(plain, _Message))


def _answer(thunk: ModelOutputThunk[Any]) -> _Answer:
    about = thunk.generation
    assert thunk.state != "running"  # refused before
    return _Answer(
        text=thunk.partial_text,
        state=thunk.state,
        thinking=thunk.thinking,
        tool_calls=list(thunk.tool_calls),
        finish_reason=thunk.finish_reason or "stop",
        usage=thunk.usage,
        model=about.model,
        provider=about.provider,
        reply=isinstance(thunk.parsed, Message),
        error=None if thunk.error is None else _Error(type=type(thunk.error).__name__, message=str(thunk.error)),
    )


def _said(saying: _Saying) -> Sayable:
    if saying.text is not None:
        return saying.text
    if saying.block is not None:
        return CBlock(saying.block)
    if saying.message is not None:
        return _read(saying.message)
    if saying.messages is not None:
        return Spoken([_read(message) for message in saying.messages])
    raise UnreadableContext("it says neither text, block, message nor messages.")


def _read(message: _Message) -> Message:
    return Message(
        message.role,
        message.content,
        images=[ImageBlock(value=i.value, media_type=i.media_type, url=i.url) for i in message.images],
        tool_calls=message.tool_calls,
        tool_call_id=message.tool_call_id,
    )


def _thunk(answer: _Answer) -> ModelOutputThunk[Any]:
    calls = [
        ToolCallEvent(index=index, id=call.id, name=call.name, arguments=call.arguments, complete=True)
        for index, call in enumerate(answer.tool_calls)
    ]
    thought = [Thinking(text=answer.thinking)] if answer.thinking else []
    said: list[Said] = [Started(model=answer.model, provider=answer.provider), *thought, answer.text, *calls]
    log = Log()
    for item in (*said, _end(answer)):
        log.append(item)
    return ComputedModelOutputThunk(log) if answer.state == "finished" else ModelOutputThunk(log)


def _end(answer: _Answer) -> Terminal:
    if answer.state == "cancelled":
        return Cancelled(usage=answer.usage, finish_reason=answer.finish_reason)
    if answer.state == "failed":
        return Failed(error=_raised(answer.error), usage=answer.usage, finish_reason=answer.finish_reason)
    calls = tuple(answer.tool_calls)
    return Finished(
        finish_reason=answer.finish_reason,
        usage=answer.usage,
        model=answer.model or None,
        parsed=Message("assistant", answer.text, tool_calls=calls) if answer.reply else UNPARSED,
    )


def _raised(error: _Error | None) -> MelleaError:
    if error is None:
        return MelleaError("The generation failed; why was not saved.")
    kind = vars(errors).get(error.type)
    if isinstance(kind, type) and issubclass(kind, MelleaError):
        return kind(error.message)
    return MelleaError(f"{error.type}: {error.message}")
