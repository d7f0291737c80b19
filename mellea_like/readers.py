"""Readers of a log: plain iterator classes that hold a position, so that dropping one takes effect at once.

Each works with `for` and with `async for`, live or replaying, on any loop and any thread.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import Enum
from typing import Final, Generic, Self, TypeAlias, TypeVar

from .errors import fresh_copy
from .events import Event
from .log import Log
from .waiting import EAGER, give_turn

Item = TypeVar("Item")


class _Nothing(Enum):
    NOTHING = "nothing"


Nothing: TypeAlias = _Nothing
NOTHING: Final = _Nothing.NOTHING
"""What is taken where there is nothing yet; None may be an item of a list."""


class Reader(ABC, Generic[Item]):
    """An iterator over a log from its start; `delivered` is called when it reaches the end.

    `delivered` is a method of the thunk, and through it a reader keeps its thunk: a generation runs as long as
    somebody can still read it.
    """

    __slots__ = ("_delivered", "_eager", "_log", "_position")

    def __init__(self, log: Log, delivered: Callable[[], None]) -> None:
        self._log = log
        self._delivered = delivered
        self._position = 0
        self._eager = 0

    @abstractmethod
    def _take(self) -> Item | Nothing:
        """Take the next item, `NOTHING` where there is none yet."""

    def _error(self) -> BaseException | None:
        """Return what this reader raises at the end, None to stop quietly."""
        return self._log.reader_error()

    def __aiter__(self) -> Self:
        return self

    def __iter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        log = self._log
        try:
            self._eager += 1
            if self._eager > EAGER:
                await give_turn()
                self._eager = 0
            while True:
                # In this order: whoever sees the end sees everything that was said before it.
                end, seen = log.end, len(log)
                if (item := self._take()) is not NOTHING:
                    return item
                if end is not None:
                    break
                await log.grown(seen)
                self._eager = 0
            self._delivered()
            error = self._error()
        finally:
            del self  # a kept traceback keeps this frame, and the frame would keep the thunk
        if error is not None:
            raise fresh_copy(error)
        raise StopAsyncIteration

    def __next__(self) -> Item:
        log = self._log
        try:
            while True:
                end, seen = log.end, len(log)
                if (item := self._take()) is not NOTHING:
                    return item
                if end is not None:
                    break
                log.wait_grown(seen)
            self._delivered()
            error = self._error()
        finally:
            del self
        if error is not None:
            raise fresh_copy(error)
        raise StopIteration


class TextReader(Reader[str]):
    """New text only, cut exactly as the backend cut it; raises at the end what the generation failed with."""

    __slots__ = ()

    def _take(self) -> str | Nothing:
        text, self._position = self._log.next_text(self._position)
        return NOTHING if text is None else text


class EventReader(Reader[Event]):
    """Every event; a failed generation ends with `Failed` and raises nothing."""

    __slots__ = ()

    def _take(self) -> Event | Nothing:
        if self._position == len(self._log):
            return NOTHING
        event = self._log.event(self._position)
        self._position += 1
        return event

    def _error(self) -> None:
        return None
