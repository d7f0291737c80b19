"""Reading a typed answer while it is written: as a growing object, or item by item.

Each reader parses for itself, from the start of the log, so any number of them read live or replay.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from ..errors import InvalidArgument, OutputParseError
from ..events import Finished
from ..log import Log
from ..readers import NOTHING, Nothing, Reader
from . import Partial, seen
from .growing_answer import GrowingAnswer
from .json_tree import Shape, told

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Item = TypeVar("Item")


class _TypedReader(Reader[Item]):
    """What both readers have: a parser that is fed the text as it comes."""

    __slots__ = ("_text", "_whole")

    def __init__(self, log: Log, delivered: Callable[[], None], *, shape: Shape) -> None:
        super().__init__(log, delivered)
        self._text = GrowingAnswer(shape)
        self._whole = False

    def _grow(self) -> bool:
        """Read on until the answer shows more; False where it does not yet."""
        log, read = self._log, self._text
        end = log.end  # before the text: whoever sees the end sees everything that was said before it
        while True:
            text, self._position = log.next_text(self._position)
            if text is None:
                break
            if read.feed(text):
                return True
        if isinstance(end, Finished) and not self._whole:
            self._whole = True
            return read.finish()
        return False


class PartialReader(_TypedReader[Partial[T]]):
    """The answer as a growing object; raises at the end what the generation failed with."""

    __slots__ = ()

    def _take(self) -> Partial[T] | Nothing:
        return seen(self._text) if self._grow() else NOTHING


class ItemReader(_TypedReader[Item]):
    """The validated items of a list, each as it closes; raises `OutputParseError` at one that is wrong."""

    __slots__ = ("_taken",)

    def __init__(self, log: Log, delivered: Callable[[], None], *, shape: Shape) -> None:
        super().__init__(log, delivered, shape=shape)
        self._taken = 0

    def _take(self) -> Item | Nothing:
        while not self._has_next() and self._grow():
            pass
        if (error := self._mistake()) is not None:
            del self  # a kept traceback keeps its frames, and they would keep the thunk
            raise error
        if not self._has_next():
            return NOTHING
        self._taken += 1
        return cast("Item", self._text.root.items[self._taken - 1].value)

    def _has_next(self) -> bool:
        items = self._text.root.items
        return self._taken < len(items) and items[self._taken].closed <= self._text.place

    def _mistake(self) -> OutputParseError | None:
        """Return what is wrong with the next item, or, after the last, with the list."""
        if self._has_next():
            problems = self._text.root.items[self._taken].problems
            said = f"Item {self._taken} of the answer is not valid. {told(problems)}." if problems else None
        else:  # an answer that is no such list has failed, unless somebody wanted to have it all the same
            problem = self._text.problem if self._whole else None
            said = f"The answer is not a valid list. {problem}." if problem else None
        return None if said is None else OutputParseError(said, text=self._log.text())


class Structured(Generic[T_co]):
    """The structured views of a thunk."""

    __slots__ = ()

    if TYPE_CHECKING:
        _log: Log
        _shape: Shape | None

    def _mark_delivered(self) -> None:
        raise NotImplementedError

    def partials(self) -> PartialReader[T_co]:
        """Iterate, with `for` or `async for`, over the answer as a growing object: one `Partial` per delta that shows.

        Raises:
            InvalidArgument: the call had no `format=`.
        """
        return PartialReader(self._log, self._mark_delivered, shape=self._shape_of("partials"))

    def items(self: Structured[Collection[Item]]) -> ItemReader[Item]:
        """Iterate, with `for` or `async for`, over the items of a list, each validated as it closes.

        Raises:
            InvalidArgument: the call had no `format=`, or one that is not a list.
            OutputParseError: when read: an item is wrong; those before it have been given.
        """
        shape = self._shape_of("items")
        if not shape.listed:
            raise InvalidArgument(f"`items()` reads a list, and format={shape.name} is none. Use `partials()`.")
        return ItemReader(self._log, self._mark_delivered, shape=shape)

    def _shape_of(self, view: str) -> Shape:
        if self._shape is None:
            raise InvalidArgument(
                f"`{view}()` reads a typed answer, and this one is plain text. Pass `format=` to the call, such as "
                "`m.instruct(…, format=Person, await_result=False)`, or iterate over the thunk itself for its text."
            )
        return self._shape
