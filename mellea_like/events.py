"""What a computation says, in order: the events of a generation. Pure data.

A backend yields text as plain `str` and everything else as an event; the log stamps each with its place (`seq`), its
time (`seconds` since the start) and its `attempt`. Readers of `thunk.events()` get text as `Delta`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, TypeAlias, cast

from .content import Request, ToolCall
from .errors import MelleaError
from .samples import UNPARSED, Sample
from .samples import FinishReason as FinishReason
from .samples import Usage as Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that a generation said; each kind is a class of its own, and has a `type`, such as `"delta"`.

    Args:
        seq: Its number in the generation, from 0.
        seconds: Seconds since the start.
        attempt: Which attempt it belongs to, from 1.

    Example:
        ```python
        from mellea_like import start_session

        with start_session("fake", answers="Hello, world!") as m:
            for event in m.instruct("Say hello.", await_result=False).events():
                print(event.seq, event.type)
        ```
    """

    type: ClassVar[str] = "event"

    seq: int = field(default=-1, compare=True)
    seconds: float = 0.0
    attempt: int = 1

    def stamped(self, *, seq: int, seconds: float, attempt: int) -> Event:
        """Return the same event with its place in a log; `seconds` since the log's start."""
        # `dataclasses.replace` costs 2 us and calls `__init__`; a log stamps every event it holds.
        twin = object.__new__(type(self))
        for name in _field_names(type(self)):
            object.__setattr__(twin, name, getattr(self, name))
        object.__setattr__(twin, "seq", seq)
        object.__setattr__(twin, "seconds", seconds)
        object.__setattr__(twin, "attempt", attempt)
        return twin

    def as_dict(self) -> dict[str, Any]:
        """Return the event as plain data, `type` first, without what only a reader in this process can use."""
        return {"type": self.type} | {name: getattr(self, name) for name in _shown_names(type(self))}


@dataclass(frozen=True, slots=True, kw_only=True)
class Started(Event):
    """The generation was handed to its backend; `request` is what it was asked, where a sink wants to see prompts.

    `held` says that the text is a draft until the end: plain readers get none before.
    """

    type: ClassVar[str] = "started"

    model: str = ""
    provider: str = ""
    held: bool = False
    request: Request | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta(Event):
    """New text of the answer, exactly as the backend cut it."""

    type: ClassVar[str] = "delta"

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Thinking(Event):
    """New text of the model's reasoning, which is not part of the answer."""

    type: ClassVar[str] = "thinking"

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCallEvent(Event):
    """A piece of a tool call, or, with `complete`, the whole of it.

    Pieces of one call share its `index`; `arguments` is JSON text: a fragment in a piece, everything when complete.
    """

    type: ClassVar[str] = "tool_call"

    index: int = 0
    id: str | None = None
    name: str | None = None
    arguments: str = ""
    complete: bool = False

    def as_tool_call(self) -> ToolCall:
        """Return a complete event as the call that it is."""
        return ToolCall(name=self.name or "", arguments=self.arguments, id=self.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult(Event):
    """A tool call was carried out, or not: `text` is what the model is told, `ok` whether it is the tool's own result.

    `took` is in seconds; `error` says why it is not `ok`, with what the tool raised as its cause.
    """

    type: ClassVar[str] = "tool_result"

    name: str
    text: str
    ok: bool = True
    id: str | None = None
    took: float = 0.0
    error: MelleaError | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked(Event):
    """A requirement was judged; `passed` is None where the verdict is still open."""

    type: ClassVar[str] = "checked"

    requirement: str
    passed: bool | None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Retried(Event):
    """The attempt `void` was given up for `reason`; its text is not part of the answer."""

    type: ClassVar[str] = "retried"

    reason: str
    void: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Custom(Event):
    """Something that only its sender and its reader understand."""

    type: ClassVar[str] = "custom"

    name: str = ""
    payload: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished(Event):
    """The generation ended by itself.

    `raw` is the provider's reply, where it was asked for; `parsed` is the answer as the type that was asked for,
    `UNPARSED` where that is its text.
    Where the call was judged, `samples` are its attempts, in their order; `attempt` is the one that was accepted.
    """

    type: ClassVar[str] = "finished"

    finish_reason: FinishReason = "stop"
    usage: Usage | None = None
    model: str | None = None
    raw: Any = None
    parsed: Any = field(default=UNPARSED, compare=False, repr=False)
    samples: tuple[Sample, ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed(Event):
    """The generation ended in `error`; everything that came before it counts. `samples` as in `Finished`."""

    type: ClassVar[str] = "failed"

    error: BaseException = field(default_factory=MelleaError, compare=False)
    usage: Usage | None = None
    finish_reason: FinishReason = "error"
    samples: tuple[Sample, ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled(Event):
    """The generation was stopped from outside."""

    type: ClassVar[str] = "cancelled"

    usage: Usage | None = None
    finish_reason: FinishReason = "cancelled"


Terminal: TypeAlias = Finished | Failed | Cancelled
"""Exactly one of these ends every log."""

Said: TypeAlias = str | Event
"""What a backend yields: a `str` is new text, anything else is an event."""

_names: dict[type[Event], tuple[str, ...]] = {}
_shown: dict[type[Event], tuple[str, ...]] = {}


def _shown_names(kind: type[Event]) -> tuple[str, ...]:
    if kind not in _shown:
        _shown[kind] = tuple(f.name for f in fields(cast("Any", kind)) if f.repr)
    return _shown[kind]


def _field_names(kind: type[Event]) -> tuple[str, ...]:
    if kind not in _names:
        _names[kind] = tuple(f.name for f in fields(cast("Any", kind)))
    return _names[kind]
