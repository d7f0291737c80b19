"""The form of a graph's state: its keys, how two values of one key become one, and what a node is given of it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import partial
from types import BuiltinFunctionType
from typing import Annotated, Any, TypeAlias, get_args, get_origin, get_type_hints

from ..content import Message
from ..errors import InvalidArgument, InvalidUpdate, unknown_name
from ..roles import as_message

Reducer: TypeAlias = Callable[[Any, Any], Any]
Writes: TypeAlias = "tuple[tuple[str, Any], ...]"
"""Keys with the values that are written to them, in order."""

MESSAGES = "messages"
"""The key whose values are messages, appended by default."""


def add_messages(before: Any, more: Any) -> list[Message]:
    """Append messages to those before: one or several.

    Each is a `Message`, a user's text, `(role, text)`, or a dict with `role` and `content`.

    Args:
        before: What is there; None for nothing.
        more: What comes after it.

    Example:
        ```python
        from mellea_like import HumanMessage, add_messages

        print(add_messages([HumanMessage("hi")], ("assistant", "hello")))
        ```

    Source: LangGraph's `add_messages`.
    """
    return [*_messages(before), *_messages(more)]


def _messages(given: Any) -> list[Message]:
    if given is None:
        return []
    if isinstance(given, Message | str | Mapping) or (isinstance(given, tuple) and _is_pair(given)):
        return [as_message(given)]
    return [as_message(one) for one in given]


def _is_pair(given: tuple[Any, ...]) -> bool:
    return len(given) == 2 and all(isinstance(one, str) for one in given)


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key of a state: how an update joins what is there (None: it takes its place), and how it begins."""

    name: str
    reducer: Reducer | None = None
    begin: Callable[[], Any] | None = None


class StateForm:
    """What a state looks like.

    Args:
        schema: A TypedDict, a dataclass or a pydantic model. None allows every key; of two values of one key that are
            written in one step, the later one counts, and `messages` are appended.

    Raises:
        InvalidArgument: the schema is none of these.
    """

    def __init__(self, schema: type[Any] | None = None) -> None:
        self.schema = schema
        self.keys: Mapping[str, Key] | None = None if schema is None or schema is dict else _keys(schema)
        self._as_instance = self.keys is not None and not _is_typed_dict(schema)

    @property
    def names(self) -> tuple[str, ...]:
        """The keys that exist; none where every key is allowed."""
        return tuple(self.keys or ())

    def has(self, name: str) -> bool:
        """Whether the state has this key by its form; a state without a form may have it all the same."""
        return self.keys is not None and name in self.keys

    def reducer(self, name: str) -> Reducer | None:
        """Return how values of a key are joined, None where a new one takes the old one's place."""
        if self.keys is None:
            return add_messages if name == MESSAGES else None
        return self.keys[name].reducer

    def foreign(self, names: Iterable[str]) -> bool:
        """Whether joining values of these keys runs code that is not Python's or this library's own."""
        reducers = (self.reducer(name) for name in names)
        return any(not isinstance(one, BuiltinFunctionType | None) and one is not add_messages for one in reducers)

    def is_whole(self, thing: object) -> bool:
        """Whether a thing is a state as its schema makes them."""
        return _is_instance(thing, self.schema)

    def empty(self) -> dict[str, Any]:
        """Return the state before any input: what keys begin with by themselves."""
        return {key.name: key.begin() for key in (self.keys or {}).values() if key.begin is not None}

    def view(self, state: Any) -> Any:
        """Return what a node is given: an instance of the schema where that is a class of its own, else a dict.

        Raises:
            InvalidUpdate: the state does not fit the schema.
        """
        if not isinstance(state, Mapping):
            return state
        if not self._as_instance or self.schema is None:
            return dict(state)
        try:
            return self.schema(**state)
        except (TypeError, ValueError) as error:  # pydantic's own is a ValueError
            raise InvalidUpdate(f"The state {dict(state)!r} is not a {self.schema.__name__}: {error}") from error

    def writes(self, update: Any, *, node: str) -> Writes:
        """Take apart what a node returned.

        Raises:
            InvalidUpdate: it is no update, or names a key that the state has not.
        """
        if update is None:
            return ()
        update = _plain(update, self.schema)
        if not isinstance(update, Mapping):
            raise InvalidUpdate(
                f"Node {node!r} returned {update!r}, which is no update. Return a dict of state keys, a thunk, a "
                "Command, or None.",
                node=node,
            )
        for name in update:
            if self.keys is not None and name not in self.keys:
                raise InvalidUpdate(f"Node {node!r}: {unknown_name('state key', name, self.keys)}", node=node)
        return tuple(update.items())

    def applied(self, state: Mapping[str, Any], writes: Iterable[tuple[str, Writes]]) -> dict[str, Any]:
        """Return the state with the writes of one step's nodes, in their order.

        Raises:
            InvalidUpdate: two nodes wrote a key that has no reducer, or a reducer raised.
        """
        after, writer = dict(state), dict[str, str]()
        for node, pairs in writes:
            for name, value in pairs:
                reducer = self.reducer(name)
                if reducer is None:
                    if self.keys is not None and writer.get(name, node) != node:
                        raise _conflict(name, writer[name], node)
                    writer[name] = node
                    after[name] = value
                else:
                    after[name] = _reduced(reducer, after, (name, value), node)
        return after


def _reduced(reducer: Reducer, after: Mapping[str, Any], write: tuple[str, Any], node: str) -> Any:
    name, value = write
    if name not in after and reducer is not add_messages:
        return value
    try:
        return reducer(after.get(name), value)
    except (TypeError, ValueError, LookupError, ArithmeticError, AttributeError) as error:
        raise InvalidUpdate(
            f"Node {node!r} wrote {value!r} to {name!r}; joining it with {after.get(name)!r} failed: {error}", node=node
        ) from error


def _conflict(name: str, first: str, second: str) -> InvalidUpdate:
    nodes = f"The nodes {first!r} and {second!r}" if first != second else f"Two runs of {first!r}"
    return InvalidUpdate(
        f"{nodes} wrote {name!r} in one step, and it holds one value. Say how two become one: "
        f"`{name}: Annotated[list, operator.add]`, for example.",
        node=second,
    )


def _plain(update: Any, schema: type[Any] | None) -> Any:
    """Return an instance of the schema as a dict."""
    if not _is_instance(update, schema) or isinstance(update, Mapping):
        return update
    if is_dataclass(update):
        return {f.name: getattr(update, f.name) for f in fields(update)}
    return {name: getattr(update, name) for name in update.model_fields_set}


def _is_instance(thing: object, schema: type[Any] | None) -> bool:
    return schema is not None and not _is_typed_dict(schema) and isinstance(thing, schema)


# --- reading a schema -------------------------------------------------------------------------------------------------


def _is_typed_dict(schema: object) -> bool:
    return isinstance(schema, type) and issubclass(schema, dict) and hasattr(schema, "__total__")


def _keys(schema: Any) -> dict[str, Key]:
    if not isinstance(schema, type) or not (_is_typed_dict(schema) or is_dataclass(schema) or _is_model(schema)):
        raise InvalidArgument(
            f"state_schema is {schema!r}; give a TypedDict, a dataclass or a pydantic model, or None for any keys."
        )
    try:
        hints = get_type_hints(schema, include_extras=True)
    except NameError as error:
        raise InvalidArgument(
            f"The annotations of {schema.__name__} cannot be read: {error}. Define it, and what it names, at the top "
            "of a module."
        ) from error
    defaults = _defaults(schema)
    return {name: _key(name, hint, defaults.get(name)) for name, hint in hints.items() if not _hidden(name, hint)}


def _hidden(name: str, hint: Any) -> bool:
    return name.startswith("_") or "ClassVar" in str(hint)[:32] or name in {"model_config", "model_fields"}


def _is_model(schema: type[Any]) -> bool:
    return hasattr(schema, "model_fields") and hasattr(schema, "model_validate")


def _same(value: Any) -> Any:
    return value


def _defaults(schema: type[Any]) -> dict[str, Callable[[], Any]]:
    found: dict[str, Callable[[], Any]] = {}
    if is_dataclass(schema):
        for f in fields(schema):
            if f.default is not MISSING:
                found[f.name] = partial(_same, f.default)
            elif f.default_factory is not MISSING:
                found[f.name] = f.default_factory
    elif _is_model(schema):
        for name, info in vars(schema)["__pydantic_fields__"].items():
            if not info.is_required():
                found[name] = partial(info.get_default, call_default_factory=True)
    return found


def _key(name: str, hint: Any, default: Callable[[], Any] | None) -> Key:
    while (origin := get_origin(hint)) is not None and getattr(origin, "_name", "") in {"Required", "NotRequired"}:
        hint = get_args(hint)[0]
    extras = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    reducer = next((one for one in reversed(extras) if callable(one) and _takes_two(one)), None)
    if reducer is None and name == MESSAGES:
        return Key(name=name, reducer=add_messages, begin=default or list)
    if reducer is None:
        return Key(name=name, begin=default)
    kind = get_args(hint)[0]
    kind = get_origin(kind) or kind
    return Key(name=name, reducer=reducer, begin=default or (kind if kind in _BEGINS else None))


_BEGINS = (list, dict, set, frozenset, tuple, str, int, float, bool, bytes)
"""Types whose empty value is what a reducer begins with."""


def _takes_two(function: Any) -> bool:
    if isinstance(function, type):
        return False
    try:
        taken = inspect.signature(function).parameters.values()
    except ValueError:  # written in C, and says nothing of itself
        return True
    required = [p for p in taken if p.default is p.empty and p.kind in {p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD}]
    return len(required) == 2 or any(p.kind is p.VAR_POSITIONAL for p in taken)
