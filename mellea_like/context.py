"""What a session remembers: immutable linked turns. A context says what of them is sent; it sends nothing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar, Self, TypeAlias

from .arguments import whole
from .content import Message
from .errors import UnreadableContext
from .parts import Sayable, Saying, said_messages
from .thunk import ModelOutputThunk

Exchange: TypeAlias = "tuple[Sayable, ModelOutputThunk[Any] | None]"
"""What was said, and the thunk of the answer."""


class Turn:
    """One exchange: what was said, and the thunk of the answer; None where a turn was added without one.

    The rendered messages of a finished exchange are kept, so that turn 200 of a chat costs what turn 2 does.
    """

    __slots__ = ("_messages", "_saying", "answer", "before")

    def __init__(self, said: Sayable, answer: ModelOutputThunk[Any] | None, before: Turn | None) -> None:
        self._saying = said
        self.answer = answer
        self.before = before
        self._messages: Sequence[Message] | None = None

    @property
    def said(self) -> Sayable:
        """What was said, as it was given."""
        return self._saying.said if isinstance(self._saying, Saying) else self._saying

    @property
    def is_system(self) -> bool:
        """Whether it was a message of the system's."""
        return isinstance(self._saying, Message) and self._saying.role == "system"

    def alone(self) -> Turn:
        """Return what was said, without the answer and without what came before."""
        return Turn(self._saying, None, None)

    def exchange(self) -> Exchange:
        """Give what was said, with what it rendered to where that is known, and the answer."""
        return self._saying, self.answer

    def messages(self) -> Sequence[Message]:
        """Render the exchange: nothing where the answer failed, the text that came where it was cancelled.

        Nothing yet where it still runs: then it waits for whoever asks, who would wait for it (see `Call.pending`).
        """
        if self._messages is None:
            if self.answer is not None and not self.answer.done():
                return ()
            self._messages = self._rendered()
        return self._messages

    def _rendered(self) -> Sequence[Message]:
        answer = self.answer
        if answer is None:
            return tuple(said_messages(self._saying))
        if answer.error is not None or (answer.state == "cancelled" and not answer.partial_text):
            return ()
        reply = Message("assistant", answer.partial_text, tool_calls=answer.tool_calls)
        return (*said_messages(self._saying), reply)

    def __deepcopy__(self, memo: dict[int, Any]) -> Turn:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        # Its context links it to those before: turn by turn, a long chat would be deeper than Python's stack.
        return (Turn, (self._saying, self.answer, None))


class Context(ABC):
    """What a session remembers; adding to it makes a new context and leaves the old one as it was."""

    name: ClassVar[str]

    @abstractmethod
    def add(self, said: Sayable, answer: ModelOutputThunk[Any] | None = None) -> Self:
        """Return a context that also holds this exchange; the answer may still be running."""

    @abstractmethod
    def view(self) -> list[Turn]:
        """List the turns that are sent with the next call, oldest first."""

    def emptied(self) -> Self:
        """Return an empty context of this kind, with the same settings."""
        return type(self)(**self._settings())

    def newest_first(self) -> Iterator[Turn]:
        """Give the turns of the view, newest first."""
        return reversed(self.view())

    def all_turns(self) -> list[Turn]:
        """List every turn that is kept, oldest first, whether it is sent or not: what is saved."""
        return self.view()

    def last_output(self, check_last_n_components: int | None = None) -> ModelOutputThunk[Any] | None:
        """Return the newest answer, None where there is none.

        Args:
            check_last_n_components: How far to look back, counting what was said and answered; None looks everywhere.
        """
        newest = islice(self._newest_components(), check_last_n_components)
        return next((found for found in newest if isinstance(found, ModelOutputThunk)), None)

    def last_turn(self) -> Turn | None:
        """Return the newest exchange, None where there is none."""
        return next(self.newest_first(), None)

    def as_list(self, last_n_components: int | None = None) -> list[Any]:
        """List what was said and answered, oldest first.

        Args:
            last_n_components: How many of the newest to list; None lists all.
        """
        return list(islice(self._newest_components(), last_n_components))[::-1]

    def _newest_components(self) -> Iterator[Any]:
        for turn in self.newest_first():
            if turn.answer is not None:
                yield turn.answer
            yield turn.said

    # --- as a file --------------------------------------------------------------------------------------------------

    def to_json(self) -> str:
        """Write the context as JSON, all turns of it; see `save`.

        Raises:
            NotComputed: an answer is still running.
        """
        from .saving import encoded  # msgspec, which a context that is not saved does not need

        return encoded(self.name, (turn.exchange() for turn in self.all_turns()), **self._settings())

    def save(self, path: str | PathLike[str]) -> None:
        """Save the context, so that the conversation can be resumed; `load` reads it.

        Text, messages, tool calls, images, reasoning, usage and finish reasons are kept; components as the messages
        that they rendered to. Of an answer's `parsed` only a chat's `Message` is kept, and deltas come back as one. The
        file is written whole or not at all.

        Args:
            path: The file; an existing one is replaced.

        Raises:
            NotComputed: an answer is still running; await it first.
            OSError: the file cannot be written.

        Example:
            ```python
            import tempfile
            from pathlib import Path
            from mellea_like import ChatContext, start_session

            path = Path(tempfile.mkdtemp(), "chat.json")
            with start_session("fake", ctx=ChatContext(), answers="Hello, Ana!") as m:
                m.chat("I am Ana.")
                m.ctx.save(path)

            with start_session("fake", ctx=ChatContext.load(path), answers="You are Ana.") as m:
                print(m.chat("Who am I?").content, len(m.backend.calls[0].messages))
            ```
        """
        from .saving import write

        write(Path(path), self.to_json())

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Build a context from its JSON; see `load`.

        Raises:
            UnreadableContext: as for `load`.
        """
        return cls._read(text, source="this text")

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Self:
        """Build the context that `save` wrote; its answers are computed thunks.

        Args:
            path: The file.

        Returns:
            A context of the type that was saved: with `Context.load` of whichever, with `ChatContext.load` of that one.

        Raises:
            UnreadableContext: the file is damaged, foreign, of a later version, or holds another type of context.
            OSError: the file cannot be read.
        """
        return cls._read(Path(path).read_bytes(), source=repr(str(path)))

    @classmethod
    def _read(cls, text: str | bytes, *, source: str) -> Self:
        from .saving import decoded

        saved = decoded(text, source=source)
        kinds = {kind.name: kind for kind in CONTEXTS.values() if issubclass(kind, cls)}
        kind = kinds.get(saved.context, cls)
        if getattr(kind, "name", None) != saved.context:
            wanted = ", ".join(sorted(map(repr, kinds or [cls.name])))
            raise UnreadableContext(f"The context saved in {source} is a {saved.context!r} one; wanted: {wanted}.")
        return kind._of(saved.exchanges(), window_size=saved.window_size)

    def _settings(self) -> dict[str, Any]:
        return {}

    @classmethod
    def _of(cls, exchanges: Iterable[Exchange], *, window_size: int | None) -> Self:
        ctx = cls()
        for said, answer in exchanges:
            ctx = ctx.add(said, answer)
        return ctx

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self.view())} turns>"


class SimpleContext(Context):
    """No history: every call stands alone, and nothing is kept."""

    __slots__ = ()
    name = "simple"

    def add(self, said: Sayable, answer: ModelOutputThunk[Any] | None = None) -> Self:
        """Return this context: it remembers nothing."""
        return self

    def view(self) -> list[Turn]:
        """List nothing."""
        return []


class ChatContext(Context):
    """The whole conversation, or its newest `window_size` exchanges.

    A call adds its thunk at once; a later call that needs that text waits for it. An exchange that failed is not sent
    again; one that was cancelled is sent with the text that came. A system message, `ctx.add(Message("system", …))`, is
    sent however long ago it was said.

    Args:
        window_size: How many exchanges are sent, beside system messages; None sends all.

    Raises:
        InvalidArgument: the window is not a positive whole number.

    Example:
        ```python
        from mellea_like import ChatContext, start_session

        with start_session("fake", ctx=ChatContext(window_size=2), answers=["Hello, Ana!", "Ana."]) as m:
            m.chat("My name is Ana.")
            print(m.chat("What is my name?"))
        ```
    """

    __slots__ = ("_last", "_system", "window_size")
    name = "chat"

    def __init__(self, *, window_size: int | None = None) -> None:
        if window_size is not None:
            whole("window_size", window_size, otherwise=", or None for no limit")
        self.window_size = window_size
        self._last: Turn | None = None
        self._system: tuple[Turn, ...] = ()

    def add(self, said: Sayable, answer: ModelOutputThunk[Any] | None = None) -> Self:
        """Return a context with one more exchange; see `Context.add`."""
        longer = type(self)(window_size=self.window_size)
        longer._last = turn = Turn(said, answer, self._last)
        longer._system = (*self._system, turn) if turn.is_system else self._system
        return longer

    def newest_first(self) -> Iterator[Turn]:
        """Give the newest `window_size` exchanges, newest first, and all system messages."""
        turn, left, older = self._last, self.window_size, list(self._system)
        while turn is not None and left != 0:
            yield turn
            if turn.is_system:
                older.pop()
            if left is not None and not (turn.is_system and turn.answer is None):
                left -= 1
            turn = turn.before
        yield from (kept.alone() for kept in reversed(older) if kept.answer is None or kept.answer.error is None)

    def view(self) -> list[Turn]:
        """List the newest `window_size` exchanges and all system messages, oldest first."""
        return list(self.newest_first())[::-1]

    def all_turns(self) -> list[Turn]:
        """List every exchange, also those that are no longer sent."""
        turns, turn = [], self._last
        while turn is not None:
            turns.append(turn)
            turn = turn.before
        return turns[::-1]

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "window_size": self.window_size, "turns": self.all_turns()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        own = dict(state)
        self.window_size, turns, self._last = own.pop("window_size"), own.pop("turns"), None
        vars(self).update(own)
        for turn in turns:
            turn.before, self._last = self._last, turn
        self._system = tuple(turn for turn in turns if turn.is_system)

    def _settings(self) -> dict[str, Any]:
        return {"window_size": self.window_size}

    @classmethod
    def _of(cls, exchanges: Iterable[Exchange], *, window_size: int | None) -> Self:
        ctx = cls(window_size=window_size)
        for said, answer in exchanges:
            ctx = ctx.add(said, answer)
        return ctx


CONTEXTS: dict[str, type[Context]] = {kind.name: kind for kind in (SimpleContext, ChatContext)}
"""The contexts that can be asked for by name."""
