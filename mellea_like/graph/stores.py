"""Stores for the states of sessions: in memory, and in an SQLite file. Both keep plain values, and copies of them."""

from __future__ import annotations

import copy
import json
import os
import sqlite3
import threading
from collections.abc import Callable
from contextvars import copy_context
from os import PathLike, fspath
from typing import Any, TypeVar

from ..engine import in_worker
from ..errors import InvalidArgument

R = TypeVar("R")

_TABLE = "CREATE TABLE IF NOT EXISTS sessions (id TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID"
_SAVE = "INSERT INTO sessions (id, state) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET state = excluded.state"
_BUSY = 30.0
"""Seconds to wait for another process that writes to the same file."""


class MemoryBackend:
    """Keeps states in this process, as long as it lives.

    What is saved and what is loaded are copies, so a state that is changed later is not changed here.

    Example:
        ```python
        import asyncio
        from mellea_like import MemoryBackend

        async def main():
            backend = MemoryBackend()
            await backend.save("session-1", {"count": 1})
            print(await backend.load("session-1"), await backend.list_sessions())

        asyncio.run(main())
        ```

    Source: Mesh's `MemoryBackend`.
    """

    def __init__(self) -> None:
        self._states: dict[str, dict[str, Any]] = {}

    async def save(self, session_id: str, state: dict[str, Any]) -> None:
        """Keep the state of a session, in place of the one before."""
        self._states[session_id] = _copied(state)

    async def load(self, session_id: str) -> dict[str, Any] | None:
        """Return the state of a session, None where there is none."""
        state = self._states.get(session_id)
        return None if state is None else _copied(state)

    async def delete(self, session_id: str) -> bool:
        """Forget a session; whether there was one."""
        return self._states.pop(session_id, None) is not None

    async def exists(self, session_id: str) -> bool:
        """Whether the session is known."""
        return session_id in self._states

    async def list_sessions(self) -> list[str]:
        """List the names of all sessions, sorted."""
        return sorted(self._states)

    def __repr__(self) -> str:
        return f"MemoryBackend({len(self._states)} sessions)"


def _copied(value: Any) -> Any:
    """Copy what is plain; what a state may hold besides (a connection, a lock) cannot be copied, and is shared."""
    if isinstance(value, dict):
        return {name: _copied(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_copied(inner) for inner in value]
    if isinstance(value, str | int | float | None):
        return value
    try:
        return copy.deepcopy(value)
    except (TypeError, copy.Error):
        return value


class SQLiteBackend:
    """Keeps states in an SQLite file, as JSON, for other processes and for later.

    One connection, opened at the first use, does its work in threads of the library's own, so that no event loop
    waits for a disk. Writes are in the file when `save` returns; readers and one writer do not wait for each other.
    Keys of dicts become text, as JSON has it.

    Args:
        path: The file; it is made where there is none. `":memory:"` keeps nothing.

    Example:
        ```python
        import asyncio
        from mellea_like import SQLiteBackend

        async def main():
            async with SQLiteBackend(":memory:") as backend:
                await backend.save("session-1", {"count": 1})
                print(await backend.load("session-1"))

        asyncio.run(main())
        ```

    Source: Mesh's `SQLiteBackend`.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self._path = fspath(path)
        self._open: sqlite3.Connection | None = None
        self._pid = os.getpid()
        self._one = threading.Lock()

    async def save(self, session_id: str, state: dict[str, Any]) -> None:
        """Keep the state of a session, in place of the one before.

        Raises:
            InvalidArgument: the state holds something that is not JSON, or the file cannot be written.
        """
        text = _as_json(session_id, state)

        def write(connection: sqlite3.Connection) -> None:
            with connection:
                connection.execute(_SAVE, (session_id, text))

        await self._ask(write)

    async def load(self, session_id: str) -> dict[str, Any] | None:
        """Return the state of a session, None where there is none."""
        rows = await self._select("SELECT state FROM sessions WHERE id = ?", session_id)
        state: dict[str, Any] | None = json.loads(rows[0][0]) if rows else None
        return state

    async def delete(self, session_id: str) -> bool:
        """Forget a session; whether there was one."""

        def remove(connection: sqlite3.Connection) -> bool:
            with connection:
                return connection.execute("DELETE FROM sessions WHERE id = ?", (session_id,)).rowcount > 0

        return await self._ask(remove)

    async def exists(self, session_id: str) -> bool:
        """Whether the session is known."""
        return bool(await self._select("SELECT 1 FROM sessions WHERE id = ?", session_id))

    async def list_sessions(self) -> list[str]:
        """List the names of all sessions, sorted."""
        return [row[0] for row in await self._select("SELECT id FROM sessions ORDER BY id")]

    async def aclose(self) -> None:
        """Close the file; what `async with` does at its end. The next call opens it again."""
        await in_worker(self._close, context=copy_context())

    async def __aenter__(self) -> SQLiteBackend:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    def __del__(self) -> None:
        connection = getattr(self, "_open", None)
        if connection is not None:
            connection.close()

    def __repr__(self) -> str:
        return f"SQLiteBackend({self._path!r})"

    async def _select(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        return await self._ask(lambda connection: connection.execute(query, values).fetchall())

    async def _ask(self, work: Callable[[sqlite3.Connection], R]) -> R:
        def ask() -> R:
            with self._one:
                try:
                    return work(self._connected())
                except sqlite3.Error as error:
                    raise InvalidArgument(
                        f"SQLiteBackend: {self._path!r} cannot be used as a store: {error}. Give the path of a file "
                        "that this program may write to, in a folder that exists."
                    ) from error

        return await in_worker(ask, context=copy_context())

    def _connected(self) -> sqlite3.Connection:
        if self._open is None or self._pid != os.getpid():  # a connection that a fork has copied is not to be touched
            # One thread at a time has it, whichever that is.
            connection = sqlite3.connect(self._path, timeout=_BUSY, check_same_thread=False)
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute(_TABLE)
            except sqlite3.Error:
                connection.close()
                raise
            self._open, self._pid = connection, os.getpid()
        return self._open

    def _close(self) -> None:
        with self._one:
            if self._open is not None:
                self._open.close()
                self._open = None


def _as_json(session_id: str, state: dict[str, Any]) -> str:
    try:
        return json.dumps(state)
    except (TypeError, ValueError, RecursionError) as error:
        key, value = _no_json(state)
        raise InvalidArgument(
            f"The state of session {session_id!r} cannot be written as JSON: its key {key!r} holds a "
            f"{type(value).__name__} ({error}). Keep text, numbers, lists, dicts, pydantic models and dataclasses in "
            "the state, or use MemoryBackend."
        ) from error


def _no_json(state: dict[str, Any]) -> tuple[str, Any]:
    """Find what is no JSON, at whatever depth: the path of keys to it, and what is there."""
    found: Any = state
    path, seen = list[str](), set[int]()
    while isinstance(found, dict | list) and id(found) not in seen:
        seen.add(id(found))
        pairs = found.items() if isinstance(found, dict) else enumerate(found)
        wrong = next(((key, inner) for key, inner in pairs if not _is_json(inner)), None)
        if wrong is None:  # a key of it is, then
            break
        path.append(str(wrong[0]))
        found = wrong[1]
    return ".".join(path), found


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        return False
    return True
