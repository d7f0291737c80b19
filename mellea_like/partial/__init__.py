"""A structured value that is still being written: which parts are missing, which are open, which are done.

A `Partial` is the tree of a growing text seen at one place of it, so it costs nothing to make, and one that is kept
goes on showing its own moment.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from json import dumps
from types import MappingProxyType
from typing import Any, Generic, Literal, TypeAlias, TypeVar, cast

from ..display.growing import growing_html
from ..errors import InvalidArgument, unknown_name
from ..markup import fenced
from .growing_answer import GrowingAnswer
from .json_tree import ATOM, LIST, OBJECT, STRING, Node, Shape, fault_told, told

T = TypeVar("T")

PartialState: TypeAlias = Literal["missing", "open", "done"]
"""How far a value has been written: not begun, growing, or whole."""

_ABSENT: Any = object()
"""Stands for plain data of which nothing is certain yet."""


class Partial(Generic[T]):
    """A value as far as it has been written; `T` is what it will be.

    It is immutable. It is never accepted where a `T` is wanted: `value` is the `T`, once it is there. `p["name"]` is a
    member, `p[0]` an item, `len(p)` counts the items so far, and iterating gives them; a member that has not begun is
    a `Partial` too, with the state `"missing"`. A `Partial` is true when it has begun.

    Example:
        ```python
        from dataclasses import dataclass
        from mellea_like import Answer, start_session

        @dataclass
        class Person:
            name: str
            age: int

        with start_session("fake", answers=Answer(['{"name": "A', 'da", "age": 3', '6}'])) as m:
            for p in m.instruct("Who?", format=Person, await_result=False).partials():
                print(p.state, p["name"].so_far, p["age"].value)
            print(p.value)
        ```

    Source: BAML's semantic streaming, https://docs.boundaryml.com
    """

    __slots__ = ("_node", "_place", "_shape", "_text")

    def __init__(self, text: GrowingAnswer, node: Node | None, *, shape: Shape | None, place: int) -> None:
        self._text = text
        self._node = node
        self._shape = shape
        self._place = place

    @property
    def state(self) -> PartialState:
        """`"missing"` before its first character, `"open"` while it grows, `"done"` from its last character on.

        A number is done with the character after it, which says that it has no more digits.
        """
        if self._node is None:
            return "missing"
        return "done" if self._node.closed <= self._place else "open"

    @property
    def value(self) -> T | None:
        """The validated value, once it is done; None before, and where it is wrong (see `error`).

        Each value is validated once, when it closes. What stands inside a value that can only be validated as a whole
        (a union, a model whose validator wants the raw input) has no value of its own: `so_far` has its plain JSON.
        """
        node = self._node
        if node is None or node.closed > self._place:
            return None
        if node.shape is None:
            return cast("T", _plain(self._text, node, self._place))
        return cast("T", node.value)

    @property
    def so_far(self) -> Any:
        """What has been written, as plain JSON: fields that are missing are absent, an open string is its text so far.

        Nothing is shown that more text could change: no open number, no choice, date or the like that is not whole, no
        half of an escape. None where nothing is certain yet.
        """
        node = self._node
        plain = _ABSENT if node is None else _plain(self._text, node, self._place)
        return None if plain is _ABSENT else plain

    @property
    def error(self) -> str | None:
        """What is wrong with it: the words of its validation, or, while it is open, where the text stops being JSON."""
        node, fault = self._node, self._text.fault
        if node is not None and node.closed <= self._place:
            return told(node.problems) if node.problems else None
        return fault_told(fault) if fault is not None and fault[0] < self._place else None

    def __getitem__(self, key: str | int) -> Partial[Any]:
        if isinstance(key, int):
            return self._item(key)
        node, shape = self._node, self._shape
        keys = (key,) if shape is None else shape.named.get(key) or (key,)
        written = {} if node is None else node.names
        for name in keys:
            if name in written and (found := written[name].at(self._place)) is not None:
                return Partial(self._text, found, shape=found.shape, place=self._place)
        expected = None if shape is None else shape.field(keys[0])
        if expected is None and shape is not None and shape.named and key not in {*shape.named, *written}:
            raise unknown_name("field", key, shape.named)
        return Partial(self._text, None, shape=expected, place=self._place)

    def _item(self, index: int) -> Partial[Any]:
        count = len(self)
        at = index + count if index < 0 else index
        node = self._node.items[at] if self._node is not None and 0 <= at < count else None
        shape = None if self._shape is None else self._shape.item(max(at, 0))
        return Partial(self._text, node, shape=shape, place=self._place)

    def __len__(self) -> int:
        node = self._node
        if node is None:
            return 0
        return sum(1 for _ in node.members(self._place)) if node.kind == OBJECT else node.count(self._place)

    def items_closed(self) -> int:
        """Count the items of a list that are done."""
        count = len(self)
        return count if count == 0 or self._item(count - 1).state == "done" else count - 1

    def __bool__(self) -> bool:
        return self._node is not None

    def __iter__(self) -> Iterator[Partial[Any]]:
        node = self._node
        if node is not None and node.kind == OBJECT:
            raise InvalidArgument("This is an object, not a list. Iterate over `partial.fields()` instead.")
        for at in range(len(self)):
            yield self._item(at)

    def fields(self) -> Mapping[str, Partial[Any]]:
        """Return the members by name: those of the type in its order, missing ones too, then what else was written."""
        found = {} if self._shape is None else {name: self[name] for name in self._shape.named}
        if self._node is not None:
            known = {id(partial._node) for partial in found.values()}
            for name, node in self._node.members(self._place):
                if id(node) not in known:
                    found[name] = Partial(self._text, node, shape=node.shape, place=self._place)
        return MappingProxyType(found)

    def __copy__(self) -> Partial[T]:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Partial[T]:
        return self

    def __repr__(self) -> str:
        shown = repr(self.so_far)
        shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
        error = "" if self.error is None else f", {self.error}"
        return f"<Partial {self.state}{error}: {shown}>"

    def _repr_markdown_(self) -> str:
        return fenced(dumps(self.so_far, indent=2, ensure_ascii=False), "json")

    def _repr_html_(self) -> str:
        return growing_html(self)


class PartialParser(Generic[T]):
    """Text in, in pieces of any cut; a `Partial` out, at any time. What `thunk.partials()` reads with.

    Args:
        shape: What the text is to become, such as a `Format`; None takes any JSON.
    """

    __slots__ = ("_text",)

    def __init__(self, shape: Shape | None = None) -> None:
        self._text = GrowingAnswer(shape)

    def feed(self, text: str) -> bool:
        """Read more text; return whether the partial shows more than before. Never raises for what the text says."""
        return self._text.feed(text)

    def finish(self) -> bool:
        """Say that the text is whole; return whether the partial shows more than before."""
        return self._text.finish()

    @property
    def problem(self) -> str | None:
        """What is wrong for good, as soon as that is certain: a closed value that is invalid, or text that is no JSON.

        An attempt at which this is not None can be given up: no more text makes it valid.
        """
        return self._text.problem

    def partial(self) -> Partial[T]:
        """Return the value as far as it has been read."""
        return seen(self._text)


def seen(text: GrowingAnswer) -> Partial[Any]:
    """Return a text as far as it has been read."""
    root, place = text.root, text.place
    return Partial(text, root if root.start < place else root.at(place), shape=root.shape, place=place)


def _plain(text: GrowingAnswer, node: Node, place: int) -> Any:
    """Build the plain JSON of a node at a place of the text, `_ABSENT` where nothing of it is certain."""
    if node.kind == LIST:
        items = (_plain(text, item, place) for item in node.items[: node.count(place)])
        return [item for item in items if item is not _ABSENT]
    if node.kind == OBJECT:
        members = ((name, _plain(text, member, place)) for name, member in node.members(place))
        return {name: plain for name, plain in members if plain is not _ABSENT}
    if node.closed <= place:
        return node.plain
    if node.kind == ATOM or (node.shape is not None and not node.shape.grows):
        return _ABSENT
    assert node.kind == STRING
    return text.string_so_far(node, place)
