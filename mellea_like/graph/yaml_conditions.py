"""Conditions in graph files: `critique.score < 0.8 and not approved`. They compare values and can do nothing else.

They are written as in Python: `and`, `or`, `not`, `==`, `!=`, `<`, `<=`, `>`, `>=`, `in`, `not in`, `is`, brackets,
dotted paths into the state, numbers, text in quotes, lists, `true`, `false`, `null`. Python's own parser reads them;
what is allowed of its tree is walked here, and nothing is ever evaluated by Python.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from ..errors import InvalidArgument
from ..prompts.paths import MISSING, found_at

_LONGEST = 1000
"""Characters; Python's parser is not made for more nesting than people write."""

_WORDS: Mapping[str, Any] = {"true": True, "false": False, "null": None, "none": None}

_ORDER: Mapping[type[ast.cmpop], tuple[str, Callable[[Any, Any], bool]]] = {
    ast.Lt: ("<", operator.lt),
    ast.LtE: ("<=", operator.le),
    ast.Gt: (">", operator.gt),
    ast.GtE: (">=", operator.ge),
}
_EQUALITY: Mapping[type[ast.cmpop], tuple[str, Callable[[Any, Any], bool]]] = {
    ast.Eq: ("==", operator.eq),
    ast.NotEq: ("!=", operator.ne),
    ast.Is: ("==", operator.eq),
    ast.IsNot: ("!=", operator.ne),
}
_OPPOSITE = {"<": ">=", ">=": "<", ">": "<=", "<=": ">", "==": "!=", "!=": "=="}

State: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A condition that has been read.

    Args:
        text: As it is written.
        names: The state's keys that it looks at.
        compares: What it says where it is one comparison: a path, an operator, and the value beside it.
        meaning: What it comes to in a state.
    """

    text: str
    names: frozenset[str]
    compares: tuple[str, str, Any] | None = None
    meaning: Callable[[State], Any] = field(repr=False, compare=False)

    def holds(self, state: State) -> bool:
        """Whether it is so in `state`; a path that leads nowhere is null, and nothing is less or more than null.

        Raises:
            InvalidArgument: two values cannot be compared, such as text and a number.
        """
        return bool(self.meaning(state))

    def covers(self, others: list[Condition]) -> bool:
        """Whether one of `others` holds wherever this one does not, as far as one comparison can tell."""
        if self.compares is None:
            return False
        path, sign, value = self.compares
        opposite = (path, _OPPOSITE[sign], value)
        return any(other.compares == opposite or self._is_other_truth(other) for other in others)

    def _is_other_truth(self, other: Condition) -> bool:
        mine, its = self.compares, other.compares
        if mine is None or its is None or mine[:2] != its[:2] or mine[1] != "==":
            return False
        return {mine[2], its[2]} == {True, False} and type(mine[2]) is type(its[2]) is bool


def read_condition(text: str) -> Condition:
    """Read a condition.

    Raises:
        InvalidArgument: it is not one; the message says what in it is not allowed.
    """
    if len(text) > _LONGEST:
        raise InvalidArgument(f"a condition has at most {_LONGEST} characters; this one has {len(text)}")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError) as error:
        said = error.msg if isinstance(error, SyntaxError) else str(error)
        raise InvalidArgument(
            f"{text!r} is not a condition: {said}. Write such as `critique.score < 0.8 and not approved`"
        ) from error
    reading = _Reading(text)
    holds = reading.meaning(tree)
    return Condition(text=text, names=frozenset(reading.names), compares=_single(tree), meaning=holds)


class _Reading:
    """One condition while it is read; `names` collects the state's keys that it looks at."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.names: set[str] = set()

    def meaning(self, tree: ast.expr) -> Callable[[State], Any]:
        match tree:
            case ast.BoolOp():
                parts = [self.meaning(value) for value in tree.values]
                every = isinstance(tree.op, ast.And)
                return lambda state: (all if every else any)(part(state) for part in parts)
            case ast.UnaryOp(op=ast.Not()):
                inner = self.meaning(tree.operand)
                return lambda state: not inner(state)
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
                return lambda _: -number
            case ast.Compare():
                return self._comparison(tree)
            case ast.Constant(value=str() | int() | float() | None as value):
                return lambda _: value
            case ast.List() | ast.Tuple():
                items = [self.meaning(item) for item in tree.elts]
                return lambda state: [item(state) for item in items]
        return self._path(tree)

    def _path(self, tree: ast.expr) -> Callable[[State], Any]:
        path = _path_of(tree)
        if path is None:
            raise InvalidArgument(
                f"{ast.unparse(tree)!r} is not allowed in the condition {self._text!r}: a condition compares paths "
                "into the state with each other and with values, and calls nothing"
            )
        if path in _WORDS:
            return lambda _: _WORDS[path]
        self.names.add(path.partition(".")[0])

        def found(state: State) -> Any:
            value = found_at(path, state)
            return None if value is MISSING else value

        return found

    def _comparison(self, tree: ast.Compare) -> Callable[[State], Any]:
        left = self.meaning(tree.left)
        links = [(self._sign(op), self.meaning(right)) for op, right in zip(tree.ops, tree.comparators, strict=True)]

        def holds(state: State) -> bool:
            value = left(state)
            for compare, right in links:
                other = right(state)
                if not compare(value, other):
                    return False
                value = other
            return True

        return holds

    def _sign(self, op: ast.cmpop) -> Callable[[Any, Any], bool]:
        if type(op) in _EQUALITY:
            return _EQUALITY[type(op)][1]
        if type(op) in _ORDER:
            sign, compare = _ORDER[type(op)]
            return lambda a, b: a is not None and b is not None and self._tried(sign, compare, a, b)
        wanted = isinstance(op, ast.In)
        sign = "in" if wanted else "not in"
        return lambda a, b: (b is not None and self._tried(sign, _contained, a, b)) is wanted

    def _tried(self, sign: str, compare: Callable[[Any, Any], bool], a: Any, b: Any) -> bool:
        try:
            return bool(compare(a, b))
        except TypeError as error:
            raise InvalidArgument(f"The condition {self._text!r} asks for {a!r} {sign} {b!r}: {error}.") from error


def _contained(a: Any, b: Any) -> bool:
    return a in b


def _path_of(tree: ast.expr) -> str | None:
    """Return `a.b.0` for the trees of `a.b[0]` and `a["b"][0]`, None for anything else."""
    if isinstance(tree, ast.Name):
        return tree.id
    step: object = None
    if isinstance(tree, ast.Attribute):
        step = tree.attr
    elif isinstance(tree, ast.Subscript) and isinstance(tree.slice, ast.Constant):
        step = tree.slice.value
    if not isinstance(tree, ast.Attribute | ast.Subscript) or not isinstance(step, str | int):
        return None
    before = _path_of(tree.value)
    return None if before is None or "." in str(step) else f"{before}.{step}"


def _single(tree: ast.expr) -> tuple[str, str, Any] | None:
    """Return what a condition says where it is one comparison of a path with a value, or a bare path."""
    if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.Not):
        inner = _single(tree.operand)
        return None if inner is None else (inner[0], _OPPOSITE[inner[1]], inner[2])
    if isinstance(tree, ast.Compare) and len(tree.ops) == 1:
        signs = {**_ORDER, **_EQUALITY}
        path, sign = _path_of(tree.left), signs.get(type(tree.ops[0]))
        value = _value_of(tree.comparators[0])
        return None if path is None or sign is None or value is MISSING else (path, sign[0], value)
    path = _path_of(tree)
    return None if path is None or path in _WORDS else (path, "==", True)


def _value_of(tree: ast.expr) -> Any:
    if isinstance(tree, ast.Constant):
        return tree.value
    path = _path_of(tree)
    return _WORDS.get(path, MISSING) if path is not None else MISSING
