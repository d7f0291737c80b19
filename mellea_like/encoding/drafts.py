"""What the attempts of a judged call have said while none is accepted yet."""

from __future__ import annotations

from itertools import groupby

from ..events import Delta, Event, Thinking, ToolCallEvent, ToolResult


class Drafts:
    """Text, reasoning and complete tool calls of each attempt, in their order. It grows, and is read once."""

    def __init__(self) -> None:
        self._said: dict[int, list[Event]] = {}

    def add(self, event: Event) -> None:
        """Take note of what an attempt said."""
        self._said.setdefault(event.attempt, []).append(event)

    def carried_out(self, result: ToolResult) -> ToolCallEvent | None:
        """Take out the tool call that a result is of: it was carried out, whatever is accepted. None where none is."""
        said = self._said.get(result.attempt, [])
        calls = [event for event in said if isinstance(event, ToolCallEvent) and event.name == result.name]
        call = next((call for call in calls if call.id == result.id), None)
        if call is not None:
            said[:] = [event for event in said if event is not call]
        return call

    def of(self, attempt: int | None) -> list[Event]:
        """Return what an attempt said, what follows each other of one kind in one; None is the last that said any."""
        if attempt is None:
            attempt = max(self._said, default=1)
        told: list[Event] = []
        for kind, events in groupby(self._said.get(attempt, []), key=type):
            same = list(events)
            if kind is Delta or kind is Thinking:
                text = "".join([event.text for event in same if isinstance(event, Delta | Thinking)])
                told.append(kind(text=text, attempt=attempt))
            else:
                told += same
        return told
