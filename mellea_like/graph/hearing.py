"""What a generation says, told as events of the graph's run: its log is followed, and its thunk is not held."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..events import Checked, Delta, Event, Failed, Retried, Started, Thinking, ToolCallEvent, ToolResult
from ..log import Log
from .events import (
    Draft,
    DraftDiscarded,
    MessageComplete,
    MessageStart,
    Place,
    ReasoningToken,
    Token,
    ToolCallComplete,
    ToolCallStart,
    Validation,
    text_said,
)
from .now import Now, Running
from .state import MESSAGES, add_messages


class Teller:
    """Tells what one generation says, on the library's loop: live, but for text that a strategy has not accepted yet.

    Such text is told as drafts while it comes, and as tokens once it is accepted.
    """

    def __init__(self, running: Running, log: Log, place: Place) -> None:
        self._running, self._log, self.log, self._place = running, log, log, place
        # A log that has ended by now accepts an attempt already; its first event says that it held its text back.
        first = log.event(0) if len(log) else None
        self._held = log.accepted is None or (isinstance(first, Started) and first.held)
        self._position = self._passed_on = 0
        self._began = self._closed = False

    async def follow(self) -> None:
        """Tell everything, to the end."""
        while not self._closed:
            seen = len(self._log)
            self.tell()
            if not self._closed:
                await self._log.grown(seen)

    def tell(self) -> None:
        """Tell what has come since, and the end where it is there."""
        # In this order: whoever sees the end sees everything that was said before it.
        ended = self._log.end is not None
        self._tell_news()
        if ended and not self._closed:
            self._closed = True
            self._close()

    def passes_on(self, text: str) -> bool:
        """Whether `text` is what the generation said next: a node may pass its answer on, piece by piece."""
        said, after = self._log.next_text(self._passed_on)
        while said is not None and said != text and not said.strip():  # such pieces are often left out
            said, after = self._log.next_text(after)
        if said == text:
            self._passed_on = after
        return said == text

    def _tell_news(self) -> None:
        if self._held:
            for i in range(self._position, len(self._log)):
                self._tell_other(self._log.event(i))
                self._position = i + 1
        else:
            self._tell_live()

    def _tell_live(self) -> None:
        log, place, append = self._log, self._place, self._running.log.append
        position = self._position
        while True:
            text, after = log.next_text(position)
            # What was passed over on the way to the next text is something else.
            for i in range(position, after if text is None else after - 1):
                self._tell_other(log.event(i))
            position = after
            if text is None:
                break
            if not self._began:
                self._begin()
            append(text_said(Token, text, place))
        self._position = position

    def _begin(self) -> None:
        self._began = True
        self._say(MessageStart)

    def _say(self, kind: Any, **said: Any) -> None:
        self._running.say(kind(place=self._place, attempt=self._place.attempt, **said))

    def _tell_other(self, event: Event) -> None:
        if isinstance(event, Started) and not self._began:
            # The dict is the place's own, and this is before its first token.
            metadata: Any = self._place.metadata
            metadata.update(model=event.model, provider=event.provider)
            self._begin()
            return
        told = _TOLD.get(type(event))
        if isinstance(event, ToolCallEvent) and not event.complete:
            return  # a piece of a call; the whole is told once it is there
        if told is not None:
            kind, fields = told
            self._say(kind, **fields(event))

    def _close(self) -> None:
        log, end = self._log, self._log.end
        assert end is not None
        if self._held:
            text, after = log.next_text(0)
            while text is not None:
                self._running.say(text_said(Token, text, self._place))
                text, after = log.next_text(after)
        self._running.used(end.usage)
        self._say(
            MessageComplete,
            content=log.text(),
            usage=end.usage,
            finish_reason=end.finish_reason,
            error=end.error if isinstance(end, Failed) else None,
        )


def tell_returned(now: Now, update: Mapping[str, Any] | None) -> None:
    """Tell the answers that a node returned as whole messages; if it said something while it ran, that was them."""
    if now.spoke or update is None or MESSAGES not in update:
        return
    before = now.state.get(MESSAGES) if isinstance(now.state, Mapping) else None
    known = add_messages(None, before)
    for message in add_messages(None, update[MESSAGES]):
        if message.role == "assistant" and message.content and message not in known:
            place, running = now.numbered(), now.running
            running.say(MessageStart(place=place, attempt=place.attempt))
            running.say(text_said(Token, message.content, place))
            running.say(
                MessageComplete(place=place, attempt=place.attempt, content=message.content, finish_reason="stop")
            )


def _verdict(event: Checked) -> dict[str, Any]:
    named = {"requirement": event.requirement, "passed": event.passed, "reason": event.reason}
    return named | {"draft": event.attempt}


def _call(event: ToolCallEvent) -> dict[str, Any]:
    return {"call_id": event.id, "name": event.name or "", "arguments": event.arguments}


_TOLD: dict[type[Event], Any] = {
    Delta: (Draft, lambda e: {"content": e.text, "draft": e.attempt}),
    Thinking: (ReasoningToken, lambda e: {"content": e.text}),
    Retried: (DraftDiscarded, lambda e: {"draft": e.void, "reason": e.reason}),
    Checked: (Validation, _verdict),
    ToolCallEvent: (ToolCallStart, _call),
    ToolResult: (ToolCallComplete, lambda e: {"call_id": e.id, "name": e.name, "output": e.text, "ok": e.ok}),
}
