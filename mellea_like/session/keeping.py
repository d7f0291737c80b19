"""What a session keeps, and how long: its backend, its context, the generations that run, and the end of them all."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from os import PathLike
from typing import Any, Self

from ..backends import Backend
from ..closing import Closing
from ..content import Message
from ..context import Context, SimpleContext
from ..engine import Run, block_on_engine, on_engine, stop_all
from ..errors import SessionClosed


class _Family:
    """What a session and its clones share; one of them may have opened the backend that all of them use."""

    def __init__(self) -> None:
        self.runs: set[Run] = set()
        self.closed = False
        """Whether the session that opened the backend is closed, and with it the backend."""


class _Runs(set[Run]):
    """The generations of one session that run, each of which is one of its family's too."""

    def __init__(self, family: _Family) -> None:
        super().__init__()
        self._family = family

    def add(self, run: Run, /) -> None:
        super().add(run)
        self._family.runs.add(run)

    def discard(self, run: object, /) -> None:
        super().discard(run)
        self._family.runs.discard(run)


class Keeping(Closing):
    """The half of a session that has no verbs; see `MelleaSession`.

    Args:
        backend: Where answers come from.
        ctx: What the session remembers; None remembers nothing.
        model_options: Options for every call of this session, over the backend's own.
        owns_backend: Whether closing the session closes the backend; else that stays the caller's.
    """

    def __init__(
        self,
        backend: Backend,
        ctx: Context | None = None,
        *,
        model_options: Mapping[str, Any] | None = None,
        owns_backend: bool = False,
    ) -> None:
        self.backend = backend
        self.ctx: Context = SimpleContext() if ctx is None else ctx
        self.model_options = dict(model_options or {})
        backend.resolve(self.model_options)
        self._owns_backend = owns_backend
        self._closed = False
        # Two threads may call at once, and the context is read, extended and stored again. Reentrant, because rendering
        # runs the caller's own code, which may call this session.
        self._turn = threading.RLock()
        self._join(_Family())
        self._prompt: list[Message] = []

    def _join(self, family: _Family) -> None:
        self._family = family
        self._runs: set[Run] = _Runs(family)

    def _refuse_closed(self) -> None:
        if self._closed or self._family.closed:
            raise SessionClosed(
                f"This session ({self.backend!r}) is closed. Start a new one with `start_session(…)`, or make the call "
                "before the `with` block ends."
            )

    # --- memory -----------------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Forget the conversation: the context becomes an empty one of its kind."""
        with self._turn:
            self.ctx = self.ctx.emptied()
            self._prompt = []

    def clone(self) -> Self:
        """Return a session with the same backend and conversation, that goes on by itself.

        The backend is shared; it stays open until the session that opened it is closed, and its clones with it.
        """
        twin = type(self)(self.backend, self.ctx, model_options=self.model_options)
        twin._join(self._family)
        return twin

    def last_prompt(self) -> tuple[Message, ...] | None:
        """Return what the last call sent to the model, as messages; under a strategy, what its first attempt sent.

        None before the first call, and while the last still waits for a thunk that its prompt needs.
        """
        return tuple(self._prompt) or None

    def save(self, path: str | PathLike[str]) -> None:
        """Save the conversation to a file; see `ChatContext.save`.

        Raises:
            NotComputed: an answer is still running; await it first.
            OSError: the file cannot be written.
        """
        self.ctx.save(path)

    def load(self, path: str | PathLike[str]) -> None:
        """Go on with the conversation that `save` wrote.

        Raises:
            InvalidArgument: the file is not a saved context.
            OSError: the file cannot be read.
        """
        loaded = Context.load(path)
        with self._turn:
            self.ctx = loaded

    # --- lifetime ---------------------------------------------------------------------------------------------------

    async def cancel(self) -> None:
        """Stop every generation of this session that still runs, and wait until all have stopped."""
        await on_engine(stop_all(list(self._runs)))

    async def aclose(self) -> None:
        """Stop what runs and close what the session opened; calls after it raise `SessionClosed`. Can be repeated.

        Where it opened the backend, its clones are closed too: they have nothing else to speak through.
        """
        self._leave()
        await on_engine(self._end())

    def close(self) -> None:
        """Do what `aclose` does, blocking."""
        self._leave()
        block_on_engine(self._end())

    def _leave(self) -> None:
        self._closed = True
        self._family.closed = self._family.closed or self._owns_backend

    async def _end(self) -> None:
        await stop_all(list(self._family.runs if self._owns_backend else self._runs))
        if self._owns_backend:
            await self.backend.aclose()

    def __repr__(self) -> str:
        closed = ", closed" if self._closed or self._family.closed else ""
        return f"{type(self).__name__}({self.backend!r}, {self.ctx!r}{closed})"
