"""Reading JSON while it is written: fed in pieces of any cut, it grows a tree that can be read at any place.

The text is looked at once, and no value twice. It knows no types: a `Shape` that comes with it judges each value when
it closes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from json import dumps, loads
from typing import Protocol, cast

from .json_tree import ATOM, LIST, OBJECT, STRING, Node, Problem, Shape, Tape


class _Match(Protocol):
    """The `match` of a pattern that matches everywhere, if only nothing; which its own type does not say."""

    def __call__(self, text: str, at: int = 0, /) -> re.Match[str]: ...


def _anywhere(pattern: str) -> _Match:
    return cast("_Match", re.compile(pattern).match)


SPACE = _anywhere(r"[ \t\r\n]*")
_PLAIN = _anywhere(r'[^"\\\x00-\x1f]*')
_TOKEN = _anywhere(r"[-+.\w]*")
ATOMIC = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?|-?Infinity|NaN|true|false|null", re.ASCII).fullmatch
_HEX = _anywhere(r"[0-9a-fA-F]*")
_WHOLE = _anywhere(
    r"(?:[^\\]+|\\[^u]|\\u(?![dD][89a-fA-F])[0-9a-fA-F]{4}|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})*"
)
"""What of an escaped text is whole: it stops before half an escape and before half a surrogate pair."""

_DEPTH = 200
"""Containers within each other; pydantic refuses more, too."""
_DIGITS = 4300
"""Characters of a number; Python refuses more, too."""


class GrowingJson:
    """The tree of a text that is fed to it, which is one JSON value. Never raises for what the text says: see `fault`.

    Args:
        shape: What the whole is to be; None takes any JSON.
    """

    __slots__ = ("_begins", "_changed", "_escaped", "_fenced", "_key", "_left", "_opened", "_place", "_stack", "_step",
                 "_tape", "_token", "_whole", "fault", "root", "wrong")  # fmt: skip

    def __init__(self, shape: Shape | None = None) -> None:
        # Before its first character the root stands here, so that its shape is known.
        self.root = Node(ATOM, int(1e18), shape, "")
        self.fault: tuple[int, str] | None = None
        """Where the text stops being JSON, and why; the tree does not grow beyond it."""
        self.wrong: Problem | None = None
        """The first closed value that was judged to be wrong."""
        self._tape = Tape()
        self._stack: list[Node] = []
        self._step: Callable[[str, int], int] = self._value
        self._place = self._opened = 0  # the offsets of the piece that is read now, and of the string
        self._left = 0  # how many digits an escape still has
        self._key = self._token = ""
        self._changed = self._escaped = False

    # --- feeding ----------------------------------------------------------------------------------------------------

    def feed(self, text: str) -> bool:
        """Read on; return whether the tree shows more than before."""
        self._changed = False
        self._place = self._tape.add(text)
        at, size = 0, len(text)
        while at < size:
            at = self._step(text, at)
        return self._changed

    @property
    def place(self) -> int:
        """How far the text has been read; one more once it is whole."""
        return self._tape.length

    def text_of(self, node: Node) -> str:
        """Return the JSON text of a closed node."""
        return self._tape.cut(node.start, int(node.end))

    def string_so_far(self, node: Node, place: int) -> str:
        """Return what is certain of a string that was open at `place`."""
        certain = place if self.fault is None else min(place, self.fault[0])
        text = self._tape.cut(node.start + 1, certain)
        if "\\" not in text:
            return text
        text = text[: _WHOLE(text).end()]
        return str(loads(f'"{text}"'))

    # --- nodes ------------------------------------------------------------------------------------------------------

    def _open(self, kind: int, start: int) -> Node:
        """Begin the value that stands at `start`."""
        if not self._stack:
            node = self.root = Node(kind, start, self.root.shape, "")
        else:
            above = self._stack[-1]
            shape = above.shape
            if above.kind == OBJECT:
                key = self._key
                node = Node(kind, start, None if shape is None else shape.field(key), key)
                node.earlier = above.names.get(key)
                above.names[key] = node
            else:
                items = above.items
                node = Node(kind, start, None if shape is None else shape.item(len(items)), len(items))
                items.append(node)
        self._stack.append(node)
        self._changed = True
        return node

    def _close(self, node: Node, end: int, closed: int) -> None:
        node.end = end
        if node.shape is not None and node.shape.checks:
            self._judge(node, node.shape)
        node.closed = closed  # last, because whoever sees it relies on the rest
        self._stack.pop()
        self._step = self._after_value if self._stack else self._after_root
        self._changed = True

    def _judge(self, node: Node, shape: Shape) -> None:
        if node.kind > LIST and type(node.plain) is shape.simple:
            node.value = node.plain
            return
        if node.kind > LIST or not shape.composes(node.kind):
            node.value, node.problems = shape.judge(self._token if node.kind == ATOM else self.text_of(node))
        else:
            members = node.items if node.kind == LIST else list(node.names.values())
            node.problems = [((m.key, *path), said) for m in members for path, said in m.problems]
            if not node.problems:
                node.value, node.problems = shape.judge(*self._skeleton(node.kind, members))
        if node.problems and self.wrong is None:
            path, said = node.problems[0]
            self.wrong = (*(each.key for each in self._stack[1:]), *path), said

    def _skeleton(self, kind: int, members: list[Node]) -> tuple[str, list[object]]:
        """Write a container's JSON with a number for every part that was judged already."""
        written: list[str] = []
        values: list[object] = []
        for member in members:
            if member.shape is not None and member.shape.checks:
                text = str(len(values))
                values.append(member.value)
            else:
                text = self.text_of(member)
            written.append(text if kind == LIST else f"{dumps(member.key)}:{text}")
        inside = ",".join(written)
        return f"[{inside}]" if kind == LIST else f"{{{inside}}}", values

    # --- one step each: read from `at`, return how far ----------------------------------------------------------------

    def _fail(self, at: int, why: str) -> int:
        self.fault = (self._place + at, why)
        self._changed = True
        self._step = self._skip
        return at

    def _skip(self, text: str, at: int) -> int:
        return len(text)

    def _value(self, text: str, at: int) -> int:
        if text[at] <= " " and (at := SPACE(text, at).end()) == len(text):
            return at
        start, first = self._place + at, text[at]
        if first == '"':
            self._open(STRING, start)
            self._opened, self._escaped, self._step = start, False, self._quoted
        elif first in "{[":
            if len(self._stack) == _DEPTH:
                return self._fail(at, f"more than {_DEPTH} objects and lists within each other")
            self._open(OBJECT if first == "{" else LIST, start)
            self._step = self._first_key if first == "{" else self._first_item
        elif first in "-0123456789tfnNI":
            self._open(ATOM, start)
            self._token, self._step = "", self._atom
            return at
        else:
            return self._fail(at, f"expected a value, found {first!r}")
        return at + 1

    def _after_root(self, text: str, at: int) -> int:
        if text[at] <= " " and (at := SPACE(text, at).end()) == len(text):
            return at
        return self._fail(at, f"expected nothing after the value, found {text[at]!r}")

    def _first_item(self, text: str, at: int) -> int:
        if text[at] > " " or (at := SPACE(text, at).end()) < len(text):
            self._step = self._after_value if text[at] == "]" else self._value
        return at

    def _first_key(self, text: str, at: int) -> int:
        if text[at] > " " or (at := SPACE(text, at).end()) < len(text):
            self._step = self._after_value if text[at] == "}" else self._next_key
        return at

    def _next_key(self, text: str, at: int) -> int:
        if text[at] <= " " and (at := SPACE(text, at).end()) == len(text):
            return at
        if text[at] != '"':
            return self._fail(at, f"expected a name in quotes, found {text[at]!r}")
        self._opened, self._escaped, self._step = self._place + at, False, self._quoted
        return at + 1

    def _after_name(self, text: str, at: int) -> int:
        if text[at] <= " " and (at := SPACE(text, at).end()) == len(text):
            return at
        if text[at] != ":":
            return self._fail(at, f"expected ':', found {text[at]!r}")
        self._step = self._value
        return at + 1

    def _after_value(self, text: str, at: int) -> int:
        if text[at] <= " " and (at := SPACE(text, at).end()) == len(text):
            return at
        node, last = self._stack[-1], text[at]
        if last == ",":
            self._step = self._next_key if node.kind == OBJECT else self._value
        elif last == ("}" if node.kind == OBJECT else "]"):
            place = self._place + at + 1
            self._close(node, place, place)
        else:
            return self._fail(at, f"expected ',' or {'}' if node.kind == OBJECT else ']'!r}, found {last!r}")
        return at + 1

    def _atom(self, text: str, at: int) -> int:
        end = _TOKEN(text, at).end()
        self._token += text[at:end]
        if len(self._token) > _DIGITS:
            self._fail(self._stack[-1].start + _DIGITS - self._place, f"a number of more than {_DIGITS} digits")
            return end
        if end < len(text):
            return self._end_atom(self._place + end) - self._place
        return end

    def _end_atom(self, end: int) -> int:
        """Close a number or a name, which the character after it does."""
        if not ATOMIC(self._token):
            return self._fail(end - self._place, f"{self._token!r} is no value of JSON") + self._place
        node = self._stack[-1]
        node.plain = loads(self._token)
        self._close(node, end, end + 1)
        return end

    def _quoted(self, text: str, at: int) -> int:
        """Read a string, which may be a name."""
        end = _PLAIN(text, at).end()
        node = self._stack[-1]
        if end > at and node.kind == STRING:
            self._changed = True
        if end == len(text):
            return end
        if text[end] == "\\":
            self._escaped, self._step = True, self._escape
        elif text[end] == '"':
            return self._end_quoted(node, end)
        else:
            return self._fail(end, f"{text[end]!r} stands in a string without being escaped")
        return end + 1

    def _end_quoted(self, node: Node, at: int) -> int:
        place = self._place + at
        plain = self._tape.cut(self._opened + 1, place)
        if self._escaped:
            if _WHOLE(plain).end() != len(plain):
                return self._fail(at, "a string holds half of a surrogate pair")
            plain = loads(f'"{plain}"')
        if node.kind == STRING:
            node.plain = plain
            self._close(node, place + 1, place + 1)
        else:
            self._key, self._step = plain, self._after_name
        return at + 1

    def _escape(self, text: str, at: int) -> int:
        if text[at] == "u":
            self._left, self._step = 4, self._hex
        elif text[at] in '"\\/bfnrt':
            self._after_escape()
        else:
            return self._fail(at, f"'\\{text[at]}' is no escape of JSON")
        return at + 1

    def _hex(self, text: str, at: int) -> int:
        end = min(_HEX(text, at).end(), at + self._left)
        self._left -= end - at
        if self._left == 0:
            self._after_escape()
        elif end < len(text):
            return self._fail(end, f"expected four hexadecimal digits after '\\u', found {text[end]!r}")
        return end

    def _after_escape(self) -> None:
        self._step = self._quoted
        self._changed = self._changed or self._stack[-1].kind == STRING
