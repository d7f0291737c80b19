"""What an execution takes from its session, and what it leaves there: the state that is kept, and the context."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, Protocol

from ..content import Message
from ..events import Cancelled, Finished
from ..log import Log
from .checkpoints import Checkpoint, StateBackend, from_plain, to_plain
from .events import ExecutionComplete, ExecutionError, MessageComplete, NodeComplete, StateUpdate, Token


class Context(Protocol):
    """What of an `ExecutionContext` is used here."""

    graph_id: str
    session_id: str
    chat_history: list[Any]
    state: dict[str, Any]
    executed_data: list[dict[str, Any]]


class SessionStore:
    """The store of one execution: the session's state under its name, and an unfinished run beside it.

    Args:
        backend: Where both are kept.
        context: Whose session, and which keys of the state it brings itself.
        fresh: Whether a new run begins, with the session's state; else the unfinished one goes on.
    """

    def __init__(self, backend: StateBackend, context: Context, *, fresh: bool) -> None:
        self._backend = backend
        self._context = context
        self._fresh = fresh
        self._run = f"{context.session_id}/{context.graph_id}/run"

    async def load(self, session_id: str) -> dict[str, Any] | None:
        """Return the run to go on with, or the session's state as one that has not begun; None for neither."""
        if not self._fresh:
            return await self._backend.load(self._run)
        await self._backend.delete(self._run)
        kept = await self._backend.load(session_id)
        state = {**(from_plain({"state": kept, "pending": []}).state if kept else {}), **self._context.state}
        return to_plain(Checkpoint(state=state)) if state else None

    async def save(self, session_id: str, state: dict[str, Any]) -> None:
        """Keep a step of the run, and the state that it came to."""
        await self._backend.save(session_id, state["state"])
        if state["pending"]:
            await self._backend.save(self._run, state)
        else:
            await self._backend.delete(self._run)

    async def delete(self, session_id: str) -> bool:
        """Forget the session; whether there was one."""
        await self._backend.delete(self._run)
        return await self._backend.delete(session_id)

    async def exists(self, session_id: str) -> bool:
        """Whether the session is known."""
        return await self._backend.exists(session_id)

    async def list_sessions(self) -> list[str]:
        """List what the backend keeps."""
        return await self._backend.list_sessions()


class Afterwards:
    """What is done to the context once its run has ended, by whoever sees the end first; the others wait for it."""

    def __init__(self, given: Any, context: Context) -> None:
        self._given = given
        self._context = context
        self._settled = False
        self._one = threading.Lock()

    def settle(self, log: Log) -> None:
        """Put what a run came to into its context, once."""
        with self._one:
            if not self._settled:
                self._settled = True
                self._settle(log)

    def _settle(self, log: Log) -> None:
        # The last event, and not `log.end`, which a reader may be ahead of by a step.
        end, told = log.event(len(log) - 1), _Told(log)
        context = self._context
        context.executed_data.extend(told.executed)
        state = end.state if isinstance(end, ExecutionComplete | ExecutionError) else told.state
        context.state.update(state)
        if not isinstance(end, Finished | Cancelled) or (isinstance(end, ExecutionComplete) and end.interrupts):
            return
        answer = _text(end.output) if isinstance(end, ExecutionComplete) else ""
        answer = answer or told.answer
        asked = _asked(self._given)
        if asked and answer:
            _extend(context.chat_history, asked, answer)


class _Told:
    """One walk over a run's log: which nodes ran, the last state, and the text of the last answer."""

    def __init__(self, log: Log) -> None:
        self.executed: list[dict[str, Any]] = []
        self.state: Mapping[str, Any] = {}
        whole, growing = "", list[str]()
        for i in range(len(log)):
            event = log.event(i)
            if type(event) is Token:
                growing.append(event.content)
            elif isinstance(event, MessageComplete):
                whole, growing = event.content, []
            elif isinstance(event, NodeComplete):
                self.executed.append({"node_id": event.node_id, "output": event.output})
            elif isinstance(event, StateUpdate) and not event.ns:
                self.state = event.state
        self.answer = "".join(growing) or whole


def _text(output: Any) -> str:
    """Return the text of what the last node came to; empty where it is none."""
    if isinstance(output, Mapping):
        output = next((output[key] for key in ("content", "output") if isinstance(output.get(key), str)), "")
    return output if isinstance(output, str) else ""


def _asked(given: Any) -> str:
    """Return what the user said; empty where a run only went on."""
    if isinstance(given, Mapping):
        given = given.get("input")
    return given if isinstance(given, str) else ""


def _extend(history: list[Any], asked: str, answer: str) -> None:
    turns = (Message("user", asked), Message("assistant", answer))
    if history and isinstance(history[-1], Message):
        history.extend(turns)
    else:
        history.extend({"role": turn.role, "content": turn.content} for turn in turns)
