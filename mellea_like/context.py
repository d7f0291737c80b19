"""What a session remembers: immutable linked turns. A context says what of them is sent; it sends nothing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Self

from .component import Sayable, said_messages
from .content import Message
from .errors import InvalidArgument
from .thunk import ModelOutputThunk


class Turn:
    """One exchange: what was said, and the thunk of the answer; None where a turn was added without one.

    The rendered messages of a finished exchange are kept, so that turn 200 of a chat costs what turn 2 does.
    """

    __slots__ = ("_messages", "answer", "before", "said")

    def __init__(self, said: Sayable, answer: ModelOutputThunk[Any] | None, before: Turn | None) -> None:
        self.said = said
        self.answer = answer
        self.before = before
        self._messages: Sequence[Message] | None = None

    def messages(self) -> Sequence[Message]:
        """Render the exchange: nothing where the answer failed, the text that came where it was cancelled."""
        if self._messages is None:
            self._messages = self._rendered()
        return self._messages

    def _rendered(self) -> Sequence[Message]:
        answer = self.answer
        if answer is None:
            return tuple(said_messages(self.said))
        if answer.error is not None or (answer.state == "cancelled" and not answer.partial_text):
            return ()
        reply = Message("assistant", answer.partial_text, tool_calls=answer.tool_calls)
        return (*said_messages(self.said), reply)


class Context(ABC):
    """What a session remembers; adding to it makes a new context and leaves the old one as it was."""

    name: ClassVar[str]

    @abstractmethod
    def add(self, said: Sayable, answer: ModelOutputThunk[Any] | None = None) -> Self:
        """Return a context that also holds this exchange; the answer may still be running."""

    @abstractmethod
    def view(self) -> list[Turn]:
        """List the turns that are sent with the next call, oldest first."""

    def last_output(self) -> ModelOutputThunk[Any] | None:
        """Return the newest answer, None where there is none."""
        return next((turn.answer for turn in reversed(self.view()) if turn.answer is not None), None)

    def last_turn(self) -> Turn | None:
        """Return the newest exchange, None where there is none."""
        return next(reversed(self.view()), None)

    def as_list(self) -> list[Any]:
        """List what was said and answered, oldest first."""
        return [said for turn in self.view() for said in (turn.said, turn.answer) if said is not None]

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
    again; one that was cancelled is sent with the text that came.

    Args:
        window_size: How many exchanges are sent; None sends all.

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

    __slots__ = ("_last", "window_size")
    name = "chat"

    def __init__(self, *, window_size: int | None = None) -> None:
        if window_size is not None and window_size < 1:
            raise InvalidArgument(f"window_size is {window_size!r}; it must be at least 1, or None for no limit.")
        self.window_size = window_size
        self._last: Turn | None = None

    def add(self, said: Sayable, answer: ModelOutputThunk[Any] | None = None) -> Self:
        """Return a context with one more exchange; see `Context.add`."""
        longer = type(self)(window_size=self.window_size)
        longer._last = Turn(said, answer, self._last)
        return longer

    def _newest_first(self) -> Iterator[Turn]:
        turn, left = self._last, self.window_size
        while turn is not None and left != 0:
            yield turn
            turn, left = turn.before, None if left is None else left - 1

    def view(self) -> list[Turn]:
        """List the newest `window_size` exchanges, oldest first."""
        return list(self._newest_first())[::-1]


CONTEXTS: dict[str, type[Context]] = {kind.name: kind for kind in (SimpleContext, ChatContext)}
"""The contexts that can be asked for by name."""
