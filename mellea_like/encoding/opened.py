"""What is open in a stream: text and reasoning, tool calls; and whose it is."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from ..events import Event, Usage

Frame: TypeAlias = dict[str, Any]
Kind: TypeAlias = Literal["text", "reasoning"]


@dataclass(slots=True, kw_only=True)
class Block:
    """Text, or reasoning, that grows; `node` is whose it is in a graph, `first` the number of what opened it."""

    kind: Kind
    id: str
    source: Hashable
    node: str | None = None
    first: int = 0

    @classmethod
    def of(cls, event: Event | None, *, id: str, kind: Kind, first: int) -> Block:  # noqa: A002
        """Build the block that an event opens; None is text that is no event."""
        return cls(kind=kind, id=id, source=source_of(event), node=label_of(event), first=first)


@dataclass(slots=True, kw_only=True)
class Calling:
    """A tool call: `given` is its id as the model gave it, `id` the one on the wire, empty until it is announced."""

    given: str | None
    name: str | None
    id: str = ""
    pieces: list[str] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Outcome:
    """How everything ended, as far as it is known; `event` is the last end that was told."""

    kind: Literal["finished", "cancelled", "failed", "open"] = "open"
    event: Event | None = None
    usage: Usage | None = None


def source_of(event: Any) -> Hashable:
    """Say what tells the text of an event from others' that is told at the same time; None is text that is no event."""
    if event is None:
        return ""
    place = getattr(event, "place", None)
    return ("", event.attempt) if place is None else (place.ns, place.node_id, place.thunk_id)


def label_of(event: Any) -> str | None:
    """Return the node that an event is of, with the subgraphs that it is in, or None."""
    place = getattr(event, "place", None)
    return None if place is None or place.node_id is None else "/".join((*place.ns, place.node_id))


def whose(event: Any) -> Frame:
    """Return the field that says which node an event is of; none where it is of none."""
    label = label_of(event)
    return {} if label is None else {"node": label}
