"""Generations under way: each in its place, within its time, stopped when nobody wants it, and all at the end."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from ..errors import RequestRejected
from ..log import Log
from ..thunk import ModelOutputThunk
from .answering import Answerer, program_failed
from .asked import Asked
from .limits import ServerLimits
from .places import Places


class Generations:
    """Starts answers within limits, and knows those that run; lives on the server's event loop."""

    def __init__(self, answerer: Answerer, limits: ServerLimits) -> None:
        self.answerer = answerer
        self.limits = limits
        self.places = Places(running=limits.running, waiting=limits.waiting)
        self._running: set[_Kept] = set()
        self._closing = False

    async def start(self, asked: Asked) -> ModelOutputThunk[Any]:
        """Wait for a place and start an answer there; it keeps the place until it has ended.

        When the waiting is cancelled, so is what it waited for.

        Raises:
            RequestRejected: too many wait already, or the server is shutting down.
            MelleaError: the answer cannot be started.
        """
        if self._closing:
            raise RequestRejected("The server is shutting down.", status=503, code="shutting_down", retry_after=5.0)
        await self.places.take()
        work = asyncio.ensure_future(self.answerer.answer(asked))
        work.add_done_callback(self._begun)
        try:
            await asyncio.wait({work}, timeout=self.limits.timeout)
            if work.cancelled():  # by nobody here: the program itself raised it
                raise program_failed(asyncio.CancelledError())
            if work.done():
                return work.result()
        except asyncio.CancelledError:
            _abandon(work)
            raise
        _abandon(work)
        raise RequestRejected(
            f"The program that is served gave no answer within {self.limits.timeout:g} s.", status=504, code="timeout"
        )

    def _begun(self, work: asyncio.Future[ModelOutputThunk[Any]]) -> None:
        if work.cancelled() or work.exception() is not None:
            self.places.give_back()
            return
        thunk, log, loop = work.result(), work.result()._log, asyncio.get_running_loop()
        limit = self.limits.timeout
        timer = None if limit is None or thunk.done() else loop.call_later(limit, thunk.cancel)
        kept = _Kept(thunk, timer)
        self._running.add(kept)

        def tell(_: Log) -> None:
            with suppress(RuntimeError):  # the server's loop is closed
                loop.call_soon_threadsafe(self._ended, kept)

        log.when_ended(tell)

    def _ended(self, kept: _Kept) -> None:
        self._running.discard(kept)
        if kept.timer is not None:
            kept.timer.cancel()
        self.places.give_back()

    async def aclose(self) -> None:
        """Start nothing more, stop what still runs, and close what answers."""
        self._closing = True
        for kept in list(self._running):
            await kept.thunk.cancel()
        await self.answerer.aclose()


class _Kept:
    """A thunk in its place. Not known by its log: a program may give one thunk to two clients."""

    __slots__ = ("thunk", "timer")

    def __init__(self, thunk: ModelOutputThunk[Any], timer: asyncio.TimerHandle | None) -> None:
        self.thunk, self.timer = thunk, timer


def _abandon(work: asyncio.Future[ModelOutputThunk[Any]]) -> None:
    work.cancel()
    work.add_done_callback(_drop)


def _drop(work: asyncio.Future[ModelOutputThunk[Any]]) -> None:
    """Stop the answer that a program gave although nobody waits for it any more."""
    if not work.cancelled() and work.exception() is None:
        work.result().cancel()
