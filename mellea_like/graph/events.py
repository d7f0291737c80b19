"""What a graph's run says, in order: the events that every stream mode is made of. Pure data.

They are events like those of a generation (`seq`, `seconds`, `attempt`), and say besides which run they are of, in
which subgraph (`ns`) and at which node. `content`, `output` and `error` can be read on each; None where it has none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias

from ..events import Cancelled, Event, Failed, Finished, FinishReason, Usage

Namespace: TypeAlias = tuple[str, ...]
"""The nodes whose subgraphs an event came from, outermost first; empty for the graph that was called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where in a run something is said; the events of one generation share one.

    `metadata` holds what is known besides, such as the `step`, and the `model` of a token.
    """

    run_id: str = ""
    ns: Namespace = ()
    node_id: str | None = None
    thunk_id: str = ""
    attempt: int = 1
    metadata: Mapping[str, Any] = field(default_factory=dict, compare=False)


NOWHERE = Place()


class _Placed:
    """What can be asked of every event of a run, whatever it says."""

    __slots__ = ()

    @property
    def _at(self) -> Place:
        place: Place = getattr(self, "place", NOWHERE)
        return place

    @property
    def run_id(self) -> str:
        """Which run it is of."""
        return self._at.run_id

    @property
    def ns(self) -> Namespace:
        """The nodes whose subgraphs it is from, outermost first; empty in the graph that was called."""
        return self._at.ns

    @property
    def node_id(self) -> str | None:
        """Which node it is about, None for the whole run."""
        return self._at.node_id

    @property
    def thunk_id(self) -> str:
        """Which generation of the run it is of; empty where it is of none."""
        return self._at.thunk_id

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What is known besides: the `step`, the `model` and `provider` of a token."""
        return self._at.metadata

    @property
    def content(self) -> Any:
        """The text that it brings, None where it brings none."""
        return None

    @property
    def output(self) -> Any:
        """What a node or the run came to, None where it is not about that."""
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphEvent(_Placed, Event):
    """One thing that a graph's run said, and where; `attempt` is the node's, from 1."""

    type: ClassVar[str] = "graph_event"

    place: Place = NOWHERE

    @property
    def error(self) -> Any:
        """What went wrong, None where nothing did."""
        return None

    def stamped(self, *, seq: int, seconds: float, attempt: int) -> Event:
        """Return the event with its place in a log; `seconds` since the log's start."""
        if self.seq == seq:
            return self
        if self.seq != -1:  # it is in another log already
            return Event.stamped(self, seq=seq, seconds=seconds, attempt=attempt)
        # In place: a run makes an event for one place in one log, so every reader would write the same.
        object.__setattr__(self, "seconds", seconds)
        object.__setattr__(self, "seq", seq)
        return self

    def as_dict(self) -> dict[str, Any]:
        """Return the event as plain data, `type` first: what encoders and recordings write."""
        return _flat(Event.as_dict(self))


def _flat(said: dict[str, Any]) -> dict[str, Any]:
    place: Place = said.pop("place")
    where = {"run_id": place.run_id, "ns": place.ns, "node_id": place.node_id, "thunk_id": place.thunk_id}
    if not place.thunk_id:
        del where["thunk_id"]
    return said | where | {"metadata": dict(place.metadata)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionStart(GraphEvent):
    """The run began: with `input`, which made the first `state`."""

    type: ClassVar[str] = "execution_start"

    input: Any = None
    state: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStart(GraphEvent):
    """A node begins an attempt. `task` tells apart the runs of one node; `input` is the state that it is given."""

    type: ClassVar[str] = "node_start"

    task: str = ""
    input: Any = None
    triggers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeComplete(GraphEvent):
    """A node is through: what it came to (`output`), and what of it goes into the state (`update`)."""

    type: ClassVar[str] = "node_complete"

    task: str = ""
    output: Any = None
    update: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeError(GraphEvent):
    """An attempt of a node ended in `error`; everything that it said before counts, unless a `NodeRetry` follows."""

    type: ClassVar[str] = "node_error"

    task: str = ""
    error: BaseException | None = field(default=None, compare=False)
    will_retry: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRetry(GraphEvent):
    """A node is tried again after `delay` seconds: what it said from event `discard_from_seq` on is void."""

    type: ClassVar[str] = "node_retry"

    task: str = ""
    discard_from_seq: int = 0
    delay: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Token(GraphEvent):
    """New text of an answer, as its backend cut it; text under a strategy comes once its attempt is accepted."""

    type: ClassVar[str] = "token"

    content: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft(GraphEvent):
    """New text of an attempt that a strategy has not judged yet; `draft` is the attempt's number.

    A `DraftDiscarded` says when it is void; accepted text comes again, as tokens.
    """

    type: ClassVar[str] = "draft"

    content: str = ""
    draft: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftDiscarded(GraphEvent):
    """The drafts of attempt `draft` are void, for `reason`."""

    type: ClassVar[str] = "draft_discarded"

    draft: int = 1
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasoningToken(GraphEvent):
    """New text of a model's reasoning, which is no part of its answer."""

    type: ClassVar[str] = "reasoning_token"

    content: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageStart(GraphEvent):
    """A generation started inside a node; `metadata` names its model and provider."""

    type: ClassVar[str] = "message_start"


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageComplete(GraphEvent):
    """A generation inside a node ended; `content` is its whole text, `error` what it failed with."""

    type: ClassVar[str] = "message_complete"

    content: str = ""
    usage: Usage | None = None
    finish_reason: FinishReason | None = None
    error: BaseException | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCallStart(GraphEvent):
    """A model or a tool node calls tool `name`; `arguments` is JSON text."""

    type: ClassVar[str] = "tool_call_start"

    call_id: str | None = None
    name: str = ""
    arguments: str = "{}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCallComplete(GraphEvent):
    """A tool was called: `output` is what the model is told, `ok` whether that is the tool's own result."""

    type: ClassVar[str] = "tool_call_complete"

    call_id: str | None = None
    name: str = ""
    output: Any = None
    ok: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation(GraphEvent):
    """A requirement was judged, for the draft of number `draft`; see `Checked`."""

    type: ClassVar[str] = "validation"

    requirement: str = ""
    passed: bool | None = None
    reason: str | None = None
    draft: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class StateUpdate(GraphEvent):
    """A superstep is through and its updates are applied: the whole `state` after step `step`, counted from 1."""

    type: ClassVar[str] = "state_update"

    step: int = 0
    state: Mapping[str, Any] = field(default_factory=dict)
    next: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class InterruptEvent(GraphEvent):
    """A node waits for somebody: `value` is what it asks. `Command(resume=…)` goes on.

    `task` is the node's; where a run stops before or after a node, and nobody asks, it is empty.
    """

    type: ClassVar[str] = "interrupt"

    task: str = ""
    id: str = ""
    value: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointSaved(GraphEvent):
    """The state after step `step` is kept under `thread_id`; `next` lists the nodes that come then."""

    type: ClassVar[str] = "checkpoint"

    thread_id: str = ""
    step: int = 0
    next: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed(GraphEvent):
    """The run goes on where an earlier one stopped, after step `step`."""

    type: ClassVar[str] = "resumed"

    step: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomSaid(GraphEvent):
    """What a node gave its `get_stream_writer()`."""

    type: ClassVar[str] = "custom"

    payload: Any = None

    @property
    def content(self) -> Any:
        """What was written."""
        return self.payload


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionComplete(_Placed, Finished):
    """The run ended by itself: `state` is what it came to, `output` what its last node did.

    `interrupts` are the questions that it waits with; none where it is through.
    """

    type: ClassVar[str] = "execution_complete"

    place: Place = NOWHERE
    output: Any = None
    state: Mapping[str, Any] = field(default_factory=dict)
    interrupts: tuple[InterruptEvent, ...] = ()

    @property
    def error(self) -> None:
        """None: nothing went wrong."""
        return

    def as_dict(self) -> dict[str, Any]:
        """Return the event as plain data, `type` first."""
        return _flat(Finished.as_dict(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionError(_Placed, Failed):
    """The run ended in `error`; everything that came before it counts."""

    type: ClassVar[str] = "execution_error"

    place: Place = NOWHERE
    state: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the event as plain data, `type` first."""
        return _flat(Failed.as_dict(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionCancelled(_Placed, Cancelled):
    """The run was stopped from outside."""

    type: ClassVar[str] = "execution_cancelled"

    place: Place = NOWHERE

    @property
    def error(self) -> None:
        """None: nothing went wrong."""
        return

    def as_dict(self) -> dict[str, Any]:
        """Return the event as plain data, `type` first."""
        return _flat(Cancelled.as_dict(self))


def text_said(kind: type[Token], content: str, place: Place) -> Token:
    """Build a `Token` (or its like) at a third of the usual cost: a run makes one for each piece of text."""
    said = object.__new__(kind)
    _set_seq(said, -1)
    _set_seconds(said, 0.0)
    _set_attempt(said, place.attempt)
    _set_place(said, place)
    _set_content(said, content)
    return said


def _setter(of: type[Event], name: str) -> Callable[[Event, Any], None]:
    setter: Callable[[Event, Any], None] = vars(of)[name].__set__
    return setter


# The slots themselves, because assigning to a frozen instance is refused, and its own way round that is slow.
_set_seq, _set_seconds, _set_attempt = (_setter(Event, name) for name in ("seq", "seconds", "attempt"))
_set_place, _set_content = _setter(GraphEvent, "place"), _setter(Token, "content")

ExecutionEvent: TypeAlias = GraphEvent | ExecutionComplete | ExecutionError | ExecutionCancelled
"""What a run says."""
