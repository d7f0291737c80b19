"""The tree of a JSON text that is still being written: its nodes, its text, and what is known of its values before.

Every node knows where in the text it opened and from where on it is closed, so the tree at an earlier place is the
same tree, read with that place in mind. Who writes it is `growing_json`; who reads it, `partial`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

Problem: TypeAlias = tuple[tuple[str | int, ...], str]
"""Where in the value something is wrong, and what."""

OBJECT, LIST, STRING, ATOM = range(4)
OPEN = float("inf")
"""Where an open node closes: later than any text."""


class Shape(Protocol):
    """What is known of a value before it is whole: what its parts are, and how it is judged when it closes."""

    @property
    def grows(self) -> bool:
        """Whether the beginning of a string of this shape says something; not so for a choice or a date."""

    @property
    def checks(self) -> bool:
        """Whether a value of this shape is judged by itself, and not only as part of a larger one."""

    @property
    def simple(self) -> type | None:
        """The type of plain JSON values that are valid as they are, None where each has to be judged."""

    @property
    def words(self) -> bool:
        """Whether a whole answer that is not JSON may be of this shape: text as it is, for a string or a choice."""

    @property
    def named(self) -> Mapping[str, Sequence[str]]:
        """The fields that are known by name, each with the keys under which the JSON may have it."""

    @property
    def name(self) -> str:
        """What the type is called, in errors."""

    @property
    def listed(self) -> bool:
        """Whether this is a list, or another thing that a JSON list becomes."""

    def composes(self, kind: int) -> bool:
        """Whether a value whose text turned out to be of `kind` is put together of parts that were judged before."""

    def field(self, name: str) -> Shape | None:
        """Return the shape under a key of the JSON, None where anything may stand there."""

    def item(self, index: int) -> Shape | None:
        """Return the shape of an item of a list, None where anything may stand there."""

    def judge(self, text: str, parts: Sequence[object] | None = None) -> tuple[object, Sequence[Problem]]:
        """Return the value of a JSON text, or what is wrong with it.

        Args:
            text: The JSON. With `parts`, a number stands in it for each part that was judged before.
            parts: The values that those numbers stand for, in order.
        """


class Node:
    """One value of the tree: opened at `start`, with the text up to `end`, and closed for whoever has read `closed`."""

    __slots__ = ("closed", "earlier", "end", "items", "key", "kind", "names", "plain", "problems", "shape", "start",
                 "value")  # fmt: skip

    def __init__(self, kind: int, start: int, shape: Shape | None, key: str | int) -> None:
        self.kind, self.start, self.shape, self.key = kind, start, shape, key
        self.end: float = OPEN
        self.closed: float = OPEN
        self.items: list[Node] = [] if kind == LIST else _NO_ITEMS
        self.names: dict[str, Node] = {} if kind == OBJECT else _NO_NAMES
        self.earlier: Node | None = None  # the one that this replaces: a key was written twice
        self.plain: Any = None  # of a string or an atom that is closed
        self.value: Any = None
        self.problems: Sequence[Problem] = ()

    def at(self, place: int) -> Node | None:
        """Return what stood here when the text had come up to `place`."""
        node: Node | None = self
        while node is not None and node.start >= place:
            node = node.earlier
        return node

    def count(self, place: int) -> int:
        """Count the items of a list at `place`."""
        items = self.items
        if not items or items[-1].start < place:
            return len(items)
        return bisect_left(items, place, key=lambda node: node.start)

    def members(self, place: int) -> Iterator[tuple[str, Node]]:
        """Give the members of an object at `place`."""
        for name, node in list(self.names.items()):
            if (seen := node.at(place)) is not None:
                yield name, seen


_NO_ITEMS: list[Node] = []
_NO_NAMES: dict[str, Node] = {}
"""What all others have; nobody adds to them."""


class Tape:
    """A text of which any part can be cut out; kept in blocks, so that a cut touches few of them."""

    __slots__ = ("_blocks", "_loose", "length")

    def __init__(self) -> None:
        self.length = 0
        self._blocks: list[tuple[int, str]] = []
        self._loose = 0

    def add(self, text: str) -> int:
        """Append a piece; return where it stands."""
        at = self.length
        self._blocks.append((at, text))
        self.length = at + len(text)
        self._loose += 1
        if self._loose == 64:
            # A new list, because somebody on another thread may be cutting the old one.
            blocks = self._blocks[:-64]
            blocks.append((self._blocks[-64][0], "".join([text for _, text in self._blocks[-64:]])))
            self._blocks, self._loose = blocks, 0
        return at

    def cut(self, start: int, end: int) -> str:
        """Return the text from `start` to `end`."""
        blocks = self._blocks
        if start >= end:
            return ""
        at, text = blocks[-1]
        if at <= start:
            return text[start - at : end - at]
        first = bisect_right(blocks, start, key=lambda block: block[0]) - 1
        last = bisect_left(blocks, end, key=lambda block: block[0])
        begun = blocks[first][0]
        return "".join([text for _, text in blocks[first:last]])[start - begun : end - begun]


def told(problems: Sequence[Problem]) -> str:
    """Write problems as one line: where, and what."""
    return "; ".join(f"{'.'.join(map(str, path))}: {said}" if path else said for path, said in problems)


def fault_told(fault: tuple[int, str]) -> str:
    """Write where a text stops being JSON, and why."""
    return f"not JSON at character {fault[0]}: {fault[1]}"
