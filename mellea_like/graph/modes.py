"""The stream modes: what a caller sees of a run, as pure functions of its events.

A mode is a table from kinds of events to functions; each gives what is shown of one event. Nothing is remembered
between two events, so a mode replays as it was live.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from ..errors import unknown_name
from ..events import Event
from .commands import Interrupt
from .events import (
    CheckpointSaved,
    CustomSaid,
    ExecutionComplete,
    ExecutionStart,
    InterruptEvent,
    Namespace,
    NodeComplete,
    NodeError,
    NodeStart,
    StateUpdate,
    Token,
)

Shown: TypeAlias = Sequence[Any]
Mode: TypeAlias = Mapping[type[Event], Callable[[Any], Shown]]

INTERRUPT = "__interrupt__"
"""The key under which `values` and `updates` show what a run waits with."""


class MessageChunk:
    """A piece of a message: `.content` is its text. It unpacks as `(message, metadata)`; the message is itself.

    `chunk["node"]` and the like look into the metadata, which names node, step, subgraphs, generation, attempt, and
    the model where it is known.
    """

    __slots__ = ("_token",)

    def __init__(self, token: Token) -> None:
        self._token = token

    @property
    def content(self) -> str:
        """The new text."""
        return self._token.content

    @property
    def id(self) -> str:
        """Which generation of the run it is of."""
        return self._token.thunk_id

    @property
    def node(self) -> str | None:
        """Which node it is of."""
        return self._token.node_id

    @property
    def ns(self) -> Namespace:
        """The nodes whose subgraphs it came from, outermost first."""
        return self._token.ns

    @property
    def metadata(self) -> dict[str, Any]:
        """What is known about it, by name; LangGraph's names too."""
        token = self._token
        named = {"node": token.node_id, "ns": token.ns, "id": token.thunk_id, "attempt": token.attempt}
        langgraph = {"langgraph_node": token.node_id, "langgraph_step": token.metadata.get("step")}
        return {**token.metadata, **named, **langgraph}

    def __iter__(self) -> Iterator[Any]:
        return iter((self, self.metadata))

    def __getitem__(self, key: int | str) -> Any:
        return self.metadata[key] if isinstance(key, str) else (self, self.metadata)[key]

    def __len__(self) -> int:
        return 2

    def __str__(self) -> str:
        return self.content

    def __repr__(self) -> str:
        return f"MessageChunk({self.content!r}, node={self.node!r})"


# --- the modes --------------------------------------------------------------------------------------------------------


def _end_value(end: ExecutionComplete) -> Shown:
    return [dict(end.state) | {INTERRUPT: _questions(end)}] if end.interrupts else ()


def _end_update(end: ExecutionComplete) -> Shown:
    return [{INTERRUPT: _questions(end)}] if end.interrupts else ()


def _questions(end: ExecutionComplete) -> tuple[Interrupt, ...]:
    return tuple(Interrupt(value=asked.value, id=asked.id) for asked in end.interrupts)


VALUES: Mode = {
    ExecutionStart: lambda event: [dict(event.state)],
    StateUpdate: lambda event: [dict(event.state)],
    ExecutionComplete: _end_value,
}
"""The whole state: the input first, then after every step."""

UPDATES: Mode = {
    NodeComplete: lambda event: [{event.node_id: event.update}],
    ExecutionComplete: _end_update,
}
"""What each node wrote, as it is through."""

MESSAGES: Mode = {Token: lambda event: (MessageChunk(event),)}
"""Text of models, as it comes; text under a strategy once it is accepted."""

CUSTOM: Mode = {CustomSaid: lambda event: (event.payload,)}
"""What nodes write with `get_stream_writer()`."""


def _begun(event: NodeStart) -> dict[str, Any]:
    return {"id": event.task, "name": event.node_id, "input": event.input, "triggers": event.triggers}


def _through(event: NodeComplete) -> dict[str, Any]:
    return {"id": event.task, "name": event.node_id, "error": None, "result": event.update, "interrupts": []}


def _failed(event: NodeError) -> dict[str, Any]:
    return {"id": event.task, "name": event.node_id, "error": repr(event.error), "result": None, "interrupts": []}


def _asking(event: InterruptEvent) -> dict[str, Any]:
    asked = [{"value": event.value, "id": event.id}]
    return {"id": event.task, "name": event.node_id, "error": None, "result": None, "interrupts": asked}


TASKS: Mode = {
    NodeStart: lambda event: [_begun(event)],
    NodeComplete: lambda event: [_through(event)],
    NodeError: lambda event: [_failed(event)],
    InterruptEvent: lambda event: [_asking(event)] if event.task else (),
}
"""When a node begins and ends, with what it is given and what it came to."""


def _debug(kind: str, event: Any, payload: Mapping[str, Any]) -> Shown:
    step = event.metadata.get("step", getattr(event, "step", 0))
    return [{"step": step, "timestamp": event.seconds, "type": kind, "payload": payload}]


DEBUG: Mode = {
    NodeStart: lambda event: _debug("task", event, _begun(event)),
    NodeComplete: lambda event: _debug("task_result", event, _through(event)),
    NodeError: lambda event: _debug("task_result", event, _failed(event)),
    InterruptEvent: lambda event: _debug("task_result", event, _asking(event)) if event.task else (),
    StateUpdate: lambda event: _debug("values", event, {"values": event.state, "next": event.next}),
    CheckpointSaved: lambda event: _debug("checkpoint", event, {"thread_id": event.thread_id, "next": event.next}),
}
"""Tasks, states and checkpoints, each with its step and the seconds since the run began."""


class _Everything(dict[type[Event], Callable[[Any], Shown]]):
    def get(self, kind: Any, default: Any = None) -> Any:
        return _itself


def _itself(event: Event) -> Shown:
    return (event,)


EVENTS: Mode = _Everything()
"""Every event, as it is."""

MODES: Mapping[str, Mode] = {
    "values": VALUES,
    "updates": UPDATES,
    "messages": MESSAGES,
    "custom": CUSTOM,
    "tasks": TASKS,
    "debug": DEBUG,
    "events": EVENTS,
}
_AT_ANY_DEPTH = ("messages", "custom", "events")
"""Modes that show subgraphs unasked."""


class View:
    """Modes as one function from an event to what is shown of it.

    Args:
        stream_mode: One mode, or several; several are tagged with theirs.
        subgraphs: Whether what subgraphs do is shown too, everything tagged with its namespace.

    Raises:
        UnknownName: there is no such mode.
    """

    def __init__(self, stream_mode: str | Sequence[str], *, subgraphs: bool = False) -> None:
        names = (stream_mode,) if isinstance(stream_mode, str) else tuple(stream_mode)
        for name in names:
            if name not in MODES:
                raise unknown_name("stream mode", name, MODES)
        # A single `messages` is tagged too, as chat programs expect: ("messages", chunk).
        self._tagged = not isinstance(stream_mode, str) or stream_mode == "messages"
        self._modes = [(name, MODES[name]) for name in names]
        self._subgraphs = subgraphs
        self._only_messages = names == ("messages",) and not subgraphs

    def shown(self, event: Event) -> Shown:
        """Return what is shown of an event: nothing, one thing, or several."""
        if self._only_messages and isinstance(event, Token):  # nearly always, so it comes first
            return (("messages", MessageChunk(event)),)
        return [item for name, mode in self._modes for item in self._of(name, mode, event)]

    def _of(self, name: str, mode: Mode, event: Event) -> Iterator[Any]:
        fold = mode.get(type(event))
        ns: Namespace = getattr(event, "ns", ())
        if fold is None or (ns and not self._subgraphs and name not in _AT_ANY_DEPTH):
            return
        for item in fold(event):
            if self._subgraphs:
                yield (ns, name, item) if self._tagged else (ns, item)
            else:
                yield (name, item) if self._tagged else item
