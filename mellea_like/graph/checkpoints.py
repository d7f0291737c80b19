"""How a run is kept between its steps: the protocol of stores, and a checkpoint as plain values for any of them."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from ..content import Message
from .commands import Send

if TYPE_CHECKING:
    from pydantic import TypeAdapter

_KIND = "__kind__"


@runtime_checkable
class StateBackend(Protocol):
    """Where states are kept, by a session's (or thread's) name.

    What is saved are dicts of JSON's types: strings, numbers, lists, dicts, None; whatever else a state holds is given
    as it is, and a store that writes files says so where it cannot.
    """

    async def save(self, session_id: str, state: dict[str, Any]) -> None:
        """Keep the state of a session, in place of the one before."""
        ...

    async def load(self, session_id: str) -> dict[str, Any] | None:
        """Return the state of a session, None where there is none."""
        ...

    async def delete(self, session_id: str) -> bool:
        """Forget a session; whether there was one."""
        ...

    async def exists(self, session_id: str) -> bool:
        """Whether the session is known."""
        ...

    async def list_sessions(self) -> list[str]:
        """List the names of all sessions."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A node of the step that a run stopped in: what it was given, what it is through with, what it was answered.

    `done` is what it came to, None where it has to run again; `answers` are those to its `interrupt`s, in order, and
    `question` is the one that it waits with, in a list of one. `nested` are the graphs that stopped inside it, and
    `ids` name all questions, its own and theirs.
    """

    node: str
    id: str
    arg: tuple[Any, ...] = ()
    triggers: tuple[str, ...] = ()
    done: Mapping[str, Any] | None = None
    answers: tuple[Any, ...] = ()
    question: tuple[Any, ...] = ()
    ids: tuple[str, ...] = ()
    nested: Mapping[str, Checkpoint] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A run between two steps: its state, what comes next, what the scheduler counts; `wrote`, of a subgraph only."""

    state: Mapping[str, Any]
    step: int = 0
    pending: tuple[Pending, ...] = ()
    joined: Mapping[str, Sequence[str]] = field(default_factory=dict)
    loops: Mapping[str, int] = field(default_factory=dict)
    runs: Mapping[str, int] = field(default_factory=dict)
    outputs: Mapping[str, Any] = field(default_factory=dict)
    wrote: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    input: Any = None

    def answered(self, answer: Any) -> Checkpoint | None:
        """Return the run with its first question, at whatever depth, answered; None where it asks nothing.

        A dict whose keys are all ids of questions answers each of those.
        """
        if isinstance(answer, Mapping) and answer and answer.keys() <= self._ids():
            return self._answered_by_id(answer)
        for i, one in enumerate(self.pending):
            after = _answered(one, answer)
            if after is not None:
                return replace(self, pending=(*self.pending[:i], after, *self.pending[i + 1 :]))
        return None

    def _ids(self) -> set[str]:
        return {name for one in self.pending for name in one.ids}

    def _answered_by_id(self, answers: Mapping[str, Any]) -> Checkpoint:
        return replace(self, pending=tuple(_answered_by_id(one, answers) for one in self.pending))


def _answered_by_id(pending: Pending, answers: Mapping[str, Any]) -> Pending:
    inside = set[str]().union(*(inner._ids() for inner in pending.nested.values()))
    own = [answers[name] for name in pending.ids if name in answers and name not in inside]
    if own:  # its own question, or that of a graph which its function called, and which asks in its name
        return _answered(pending, own[0]) or pending
    nested = {key: inner._answered_by_id(answers) for key, inner in pending.nested.items()}
    return replace(pending, nested=nested)


def _answered(pending: Pending, answer: Any) -> Pending | None:
    if pending.question:
        return replace(pending, answers=(*pending.answers, answer), question=())
    for key, inner in pending.nested.items():
        after = inner.answered(answer)
        if after is not None:
            return replace(pending, nested={**pending.nested, key: after})
    return None


def to_plain(checkpoint: Checkpoint) -> dict[str, Any]:
    """Write a checkpoint as plain values."""
    named = {name: _plain(getattr(checkpoint, name)) for name in Checkpoint.__dataclass_fields__ if name != "pending"}
    return named | {"pending": [_pending_to_plain(one) for one in checkpoint.pending]}


def _pending_to_plain(one: Pending) -> dict[str, Any]:
    named = {name: _plain(getattr(one, name)) for name in Pending.__dataclass_fields__ if name != "nested"}
    return named | {"nested": {key: to_plain(inner) for key, inner in one.nested.items()}}


def from_plain(saved: Mapping[str, Any]) -> Checkpoint:
    """Build the checkpoint that `to_plain` wrote."""
    named = {name: _restored(value) for name, value in saved.items() if name != "pending"}
    return Checkpoint(**named, pending=tuple(map(_pending_from_plain, saved["pending"])))


def _pending_from_plain(saved: Mapping[str, Any]) -> Pending:
    named = {name: _restored(value) for name, value in saved.items() if name != "nested"}
    tuples = {name: tuple(named[name]) for name in ("arg", "triggers", "answers", "question", "ids")}
    nested = {key: from_plain(inner) for key, inner in saved.get("nested", {}).items()}
    return Pending(**named | tuples, nested=nested)


def _plain(value: Any) -> Any:
    if isinstance(value, Message):
        from ..saving import message_to_plain  # msgspec, which a run that is not kept does not need

        return {_KIND: "message", **message_to_plain(value)}
    if isinstance(value, Send):
        return {_KIND: "send", "node": value.node, "arg": _plain(value.arg)}
    if isinstance(value, Mapping):
        plain = {name: _plain(inner) for name, inner in value.items()}
        return {_KIND: "mapping", "items": plain} if _KIND in plain else plain
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, tuple):
        return {_KIND: "tuple", "items": [_plain(inner) for inner in value]}
    return _object_to_plain(value) if _has_fields(type(value)) else value


@lru_cache(maxsize=256)  # a run that is kept writes its objects at every step
def _adapter(kind: Any) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter  # 100 ms that a graph without such objects does not need

    return TypeAdapter(kind)


def _has_fields(kind: type[Any]) -> bool:
    """Whether it is a pydantic model, or a dataclass of either kind."""
    return is_dataclass(kind) or hasattr(kind, "__pydantic_fields__")


def _object_to_plain(value: Any) -> Any:
    from pydantic.errors import PydanticSchemaGenerationError
    from pydantic_core import PydanticSerializationError

    kind: Any = type(value)
    try:
        plain = _adapter(kind).dump_python(value, mode="json")
    except (PydanticSchemaGenerationError, PydanticSerializationError):  # a store that writes files says so
        return value
    return {_KIND: "object", "module": kind.__module__, "name": kind.__qualname__, "value": plain}


def _restored(value: Any) -> Any:
    if isinstance(value, list):
        return [_restored(inner) for inner in value]
    if not isinstance(value, Mapping):
        return value
    match value.get(_KIND):
        case "message":
            from ..saving import message_from_plain

            return message_from_plain({name: inner for name, inner in value.items() if name != _KIND})
        case "send":
            return Send(value["node"], _restored(value["arg"]))
        case "tuple":
            return tuple(_restored(inner) for inner in value["items"])
        case "object":
            return _object_from_plain(value)
        case "mapping":
            value = value["items"]
    return {name: _restored(inner) for name, inner in value.items()}


def _object_from_plain(saved: Mapping[str, Any]) -> Any:
    """Build a model or dataclass again; where its class is not there (nothing is imported for it), a dict stays."""
    found: Any = sys.modules.get(saved["module"])
    for name in saved["name"].split("."):
        found = getattr(found, name, None)
    if isinstance(found, type) and _has_fields(found):
        return _adapter(found).validate_python(saved["value"])
    return saved["value"]
