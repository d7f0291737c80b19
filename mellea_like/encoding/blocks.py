"""What an answer is made of, for wire formats that open and close things: text, reasoning, tool calls, nodes.

Knows no format: what is opened and closed here becomes frames in `ai_sdk` and `ag_ui`. Everything that was opened is
closed at the end, however it comes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping
from typing import Any, Literal

from ..errors import GenerationCancelled, MelleaError, Truncated
from ..events import Event, ToolCallEvent
from .drafts import Drafts
from .json_form import ErrorText, JSONForm, safe_text
from .opened import Block, Calling, Frame, Kind, Outcome, source_of, whose
from .sse import SSETextEncoder


class BlockEncoder(ABC):
    """The encoder of one stream: it follows what is open. `fresh()` gives one for the next stream.

    Of a judged call (`Started.held`), text, reasoning and tool calls are drafts until the end says which attempt is the
    answer; a tool call that was carried out is none.
    """

    media_type = "text/event-stream"
    headers: Mapping[str, str] = SSETextEncoder.headers

    def __init__(self, *, error_text: ErrorText = safe_text) -> None:
        self._error_text = error_text
        self._json = JSONForm(error_text)
        self._out: list[Frame] = []
        self._open: dict[Hashable, Block] = {}
        self._closed: list[Block] = []
        self._calling: dict[Hashable, Calling] = {}
        self._unanswered: list[Calling] = []
        self._taken: set[str] = set()
        self._nodes: dict[Hashable, str] = {}
        self._drafts: Drafts | None = None
        self._count = 0
        self._outcome = Outcome()
        self._has_events = False

    # --- what each format says of it --------------------------------------------------------------------------------

    @abstractmethod
    def fresh(self) -> BlockEncoder:
        """Give an encoder like this one for another stream."""

    @abstractmethod
    def _generation(self) -> list[Frame]:
        """A model begins to speak."""

    @abstractmethod
    def _block_opened(self, block: Block) -> list[Frame]: ...

    @abstractmethod
    def _block_grown(self, block: Block, text: str) -> list[Frame]: ...

    @abstractmethod
    def _block_closed(self, block: Block) -> list[Frame]: ...

    @abstractmethod
    def _call_opened(self, call: Calling) -> list[Frame]: ...

    @abstractmethod
    def _call_grown(self, call: Calling, fragment: str) -> list[Frame]: ...

    @abstractmethod
    def _call_closed(self, call: Calling, *, cut: bool) -> list[Frame]:
        """All its arguments are there; with `cut`, nothing more comes."""

    @abstractmethod
    def _call_answered(self, call: Calling, output: Any, *, ok: bool) -> list[Frame]: ...

    @abstractmethod
    def _node_told(self, label: str, status: str, error: str | None = None) -> list[Frame]:
        """A node is `running`, or not any more: `done`, `failed`, `retrying` or `stopped`."""

    @abstractmethod
    def _state_told(self, path: tuple[str, ...], state: Any) -> list[Frame]: ...

    @abstractmethod
    def _noted(self, name: str, payload: Any, *, passing: bool = False) -> list[Frame]:
        """Something that is no part of the answer; `passing` is of no use later."""

    def _given_up(self, void: list[str], about: Frame) -> list[Frame]:
        """An attempt is no part of the answer, nor are the blocks `void`, which were shown of it."""
        return self._noted("retried", {**about, "void": void})

    @abstractmethod
    def _failed(self, text: str, error: BaseException) -> list[Frame]: ...

    @abstractmethod
    def _ended(self, outcome: Outcome) -> list[Frame]:
        """Everything ended; it comes after a failure too."""

    # --- the encoder ------------------------------------------------------------------------------------------------

    def begin(self) -> bytes:
        """Give what stands before everything."""
        return b""

    def encode(self, said: object, number: int) -> bytes:
        """Give the frames of one event, or of one piece of text; nothing after a failure, which is the last."""
        if self._outcome.kind == "failed":
            return b""
        if isinstance(said, str):
            self._write("text", said, first=number)
        elif isinstance(said, Event):
            self._has_events = True
            self._told(said)
        else:
            self._out += self._noted("value", said)
        return self._frames()

    def _told(self, event: Event) -> None:
        """Take one event; it is found by its type, not its class, because graphs stand above this file."""
        telling: Callable[[Any], None] = getattr(self, f"_on_{event.type}", self._on_other)
        if hasattr(event, "place"):
            telling = getattr(self, f"_at_{event.type}", telling)
        telling(event)

    def fail(self, error: BaseException, number: int) -> bytes:
        """Close what is open and say what can be said of the error; nothing where a failure was told already."""
        self._give_up(error)
        return self._frames()

    def keep_alive(self) -> bytes:
        """Give a comment, which readers pass over."""
        return b": keep-alive\n\n"

    def end(self) -> bytes:
        """Close what is open and say how it ended; events that stop without their last one have failed."""
        if self._outcome.kind == "open" and self._has_events:
            self._give_up(Truncated("The events stopped before the one that ends them."))
        self._close_all()
        self._out += self._ended(self._outcome)
        return self._frames()

    def _frames(self) -> bytes:
        out, self._out = self._out, []
        return b"".join([b"data: %b\n\n" % self._json.value(frame) for frame in out])

    def _prefix(self) -> str:
        """Give what the ids of blocks begin with."""
        return ""

    def _next(self) -> int:
        self._count += 1
        return self._count

    def _as_text(self, output: Any) -> str:
        return output if isinstance(output, str) else self._json.value(output).decode()

    # --- text and reasoning -----------------------------------------------------------------------------------------

    def _write(self, kind: Kind, text: str, *, first: int, event: Event | None = None) -> None:
        if not text:
            return
        source = source_of(event)
        block = self._open.get(source)
        if block is None or block.kind != kind:
            self._close(source)
            number = f"{self._prefix()}{kind}-{self._next()}"
            block = self._open[source] = Block.of(event, id=number, kind=kind, first=first)
            self._out += self._block_opened(block)
        self._out += self._block_grown(block, text)

    def _say(self, kind: Kind, event: Any, text: Any) -> None:
        self._write(kind, text if isinstance(text, str) else "", first=event.seq, event=event)

    def _close(self, source: Hashable) -> None:
        if (block := self._open.pop(source, None)) is not None:
            self._closed.append(block)
            self._out += self._block_closed(block)

    def _close_all(self) -> None:
        for source in list(self._open):
            self._close(source)
        for key in list(self._calling):
            self._finish_call(self._calling.pop(key), cut=True)
        for key in list(self._nodes):
            self._out += self._node_told(self._nodes.pop(key), "stopped")

    def _void(self, source: Hashable, first: int = 0) -> list[str]:
        """List the blocks of a source, opened at `first` or later, that are no part of the answer any more."""
        self._close(source)
        return [block.id for block in self._closed if block.source == source and block.first >= first]

    # --- tool calls -------------------------------------------------------------------------------------------------

    def _call(self, event: ToolCallEvent) -> None:
        source = source_of(event)
        self._close(source)
        key = (source, event.index)
        call = self._calling.get(key)
        if call is not None and event.id and call.given not in (None, event.id):
            self._finish_call(self._calling.pop(key), cut=True)
            call = None
        if call is None:
            call = self._calling[key] = Calling(given=event.id, name=event.name)
        call.given, call.name = call.given or event.id, call.name or event.name
        self._grow_call(call, event)
        if event.complete:
            self._finish_call(self._calling.pop(key), cut=False)

    def _grow_call(self, call: Calling, event: ToolCallEvent) -> None:
        fragment = event.arguments
        if event.complete:  # it repeats the pieces in which it was told
            told = "".join(call.pieces)
            fragment = fragment[len(told) :] if fragment.startswith(told) else ""
        call.pieces.append(fragment)
        if not call.id and call.name:
            self._announce(call)
        elif call.id and fragment:
            self._out += self._call_grown(call, fragment)

    def _announce(self, call: Calling) -> None:
        call.id = call.given or f"call-{self._next()}"
        while call.id in self._taken:
            call.id = f"{call.given or 'call'}-{self._next()}"
        self._taken.add(call.id)
        self._out += self._call_opened(call)
        if told := "".join(call.pieces):
            self._out += self._call_grown(call, told)

    def _finish_call(self, call: Calling, *, cut: bool) -> None:
        if not call.id:
            call.name = call.name or ""
            self._announce(call)
        self._unanswered.append(call)
        self._out += self._call_closed(call, cut=cut)

    def _answer(self, name: str, given: str | None, output: Any, *, ok: bool) -> None:
        named = [call for call in self._unanswered if call.name == name]
        same = [call for call in self._unanswered if given is not None and call.given == given]
        call = next(iter(same or [call for call in named if given is None or call.given is None]), None)
        if call is None:  # it was called elsewhere
            call = Calling(given=given, name=name)
            self._finish_call(call, cut=False)
        self._unanswered.remove(call)
        self._out += self._call_answered(call, output, ok=ok)

    # --- the events of a generation ---------------------------------------------------------------------------------

    def _on_started(self, event: Any) -> None:
        if getattr(event, "held", False) and self._drafts is None:
            self._drafts = Drafts()
        self._out += self._generation()

    def _on_delta(self, event: Any) -> None:
        if self._drafts is None:
            self._say("text", event, event.text)
        elif event.text:
            self._drafts.add(event)
            self._out += self._draft(event, "text", event.text)

    def _on_thinking(self, event: Any) -> None:
        if self._drafts is None:
            self._say("reasoning", event, event.text)
        elif event.text:
            self._drafts.add(event)
            self._out += self._draft(event, "reasoning", event.text)

    def _draft(self, event: Any, kind: Kind, text: str, *, attempt: int | None = None) -> list[Frame]:
        said = {"attempt": attempt or event.attempt, "kind": kind, "delta": text, **whose(event)}
        return self._noted("draft", said, passing=True)

    def _on_tool_call(self, event: ToolCallEvent) -> None:
        if self._drafts is None:
            self._call(event)
        elif event.complete:
            self._drafts.add(event)

    def _on_tool_result(self, event: Any) -> None:
        if self._drafts is not None and (wish := self._drafts.carried_out(event)) is not None:
            self._call(wish)
        self._answer(event.name, event.id, event.text, ok=event.ok)

    def _on_checked(self, event: Any) -> None:
        said = {"attempt": event.attempt, "requirement": event.requirement, "passed": event.passed}
        self._out += self._noted("verdict", {**said, "reason": event.reason, **whose(event)})

    def _on_retried(self, event: Any) -> None:
        about = {"attempt": event.void, "reason": event.reason}
        self._out += self._given_up(self._void(("", event.void)), about)

    def _on_custom(self, event: Any) -> None:
        self._out += self._noted(getattr(event, "name", "") or "custom", event.payload)

    def _on_other(self, event: Event) -> None:
        said = event.as_dict()
        self._out += self._noted(said.pop("type"), said, passing=True)

    # --- ends -------------------------------------------------------------------------------------------------------

    def _accept(self, attempt: int | None) -> None:
        """Say the accepted attempt of a judged call; None is the last that said something, as for plain readers."""
        drafts, self._drafts = self._drafts, None
        for event in () if drafts is None else drafts.of(attempt):
            self._told(event)

    def _stop(self, kind: Literal["finished", "cancelled"], event: Any) -> None:
        self._outcome.kind, self._outcome.event = kind, event
        self._close_all()
        self._used(event)

    def _used(self, event: Any) -> None:
        usage, before = event.usage, self._outcome.usage
        self._outcome.usage = usage if before is None or usage is None else before + usage

    def _give_up(self, error: BaseException) -> None:
        if self._outcome.kind == "failed":
            return
        self._accept(None)
        if not isinstance(error, GenerationCancelled):
            self._break_off(error)
        elif self._outcome.kind == "open":
            self._outcome.kind = "cancelled"

    def _break_off(self, error: BaseException) -> None:
        self._outcome.kind = "failed"
        self._close_all()
        self._out += self._failed(self._error_text(error), error)

    def _on_finished(self, event: Any) -> None:
        self._accept(event.attempt)
        self._stop("finished", event)

    def _on_failed(self, event: Any) -> None:
        self._accept(event.attempt if event.samples else None)
        self._used(event)
        self._break_off(event.error or MelleaError())

    def _on_cancelled(self, event: Any) -> None:
        self._accept(None)
        self._stop("cancelled", event)
