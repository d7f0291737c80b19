"""What a graph's run says, for wire formats that open and close things: its nodes, its state, what its models say.

A graph's events are known here by their types alone: graphs stand above this file.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from ..errors import MelleaError
from ..events import ToolCallEvent
from .blocks import BlockEncoder
from .opened import label_of, source_of, whose


class RunEncoder(BlockEncoder):
    """The encoder of one stream, of a generation or of a run."""

    # --- what models say --------------------------------------------------------------------------------------------

    def _at_token(self, event: Any) -> None:
        self._say("text", event, event.content)

    def _at_reasoning_token(self, event: Any) -> None:
        self._say("reasoning", event, event.content)

    def _at_draft(self, event: Any) -> None:
        self._out += self._draft(event, "text", event.content, attempt=event.draft)

    def _at_draft_discarded(self, event: Any) -> None:
        self._out += self._given_up([], {"attempt": event.draft, "reason": event.reason, **whose(event)})

    def _at_validation(self, event: Any) -> None:
        self._on_checked(event)

    def _at_message_start(self, event: Any) -> None:
        self._out += self._generation()

    def _at_message_complete(self, event: Any) -> None:
        self._close_of(event)

    def _at_tool_call_start(self, event: Any) -> None:
        self._close_of(event)
        wish = ToolCallEvent(index=-1, id=event.call_id, name=event.name, arguments=event.arguments, complete=True)
        self._call(wish)

    def _at_tool_call_complete(self, event: Any) -> None:
        self._answer(event.name, event.call_id, event.output, ok=event.ok)

    # --- nodes ------------------------------------------------------------------------------------------------------

    def _at_node_start(self, event: Any) -> None:
        key = _task(event)
        if key in self._nodes:
            return
        label, count = label_of(event) or "", 1
        while (name := label if count == 1 else f"{label} ({count})") in self._nodes.values():
            count += 1
        self._nodes[key] = name
        self._out += self._node_told(name, "running")

    def _at_node_complete(self, event: Any) -> None:
        self._leave(event, "done")

    def _at_node_error(self, event: Any) -> None:
        error = event.error or MelleaError()
        self._leave(event, "retrying" if event.will_retry else "failed", self._error_text(error))

    def _leave(self, event: Any, status: str, error: str | None = None) -> None:
        self._close_of(event)
        if (label := self._nodes.pop(_task(event), None)) is not None:
            self._out += self._node_told(label, status, error)

    def _at_node_retry(self, event: Any) -> None:
        self._close_of(event)
        void = [b.id for b in self._closed if b.node == label_of(event) and b.first >= event.discard_from_seq]
        self._out += self._given_up(void, {"attempt": event.attempt, "reason": None, **whose(event)})

    def _close_of(self, event: Any) -> None:
        """Close the text of the generation that an event is of, or, where it is of none, of its node's generations."""
        node, thunk = label_of(event), event.place.thunk_id
        for source, block in list(self._open.items()):
            if block.node == node and (not thunk or source == source_of(event)):
                self._close(source)

    # --- the run ----------------------------------------------------------------------------------------------------

    def _at_execution_start(self, event: Any) -> None:
        self._at_state_update(event)

    def _at_state_update(self, event: Any) -> None:
        self._out += self._state_told(event.place.ns, event.state)

    def _at_interrupt(self, event: Any) -> None:
        self._out += self._noted("interrupt", {"id": event.id, "value": event.value, **whose(event)})

    def _at_execution_complete(self, event: Any) -> None:
        self._on_finished(event)

    def _at_execution_error(self, event: Any) -> None:
        self._on_failed(event)

    def _at_execution_cancelled(self, event: Any) -> None:
        self._on_cancelled(event)


def _task(event: Any) -> Hashable:
    return (event.place.ns, event.place.node_id, event.task)
