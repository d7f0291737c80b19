"""Time limits of one call: silence between two pieces of the answer, and the whole."""

from __future__ import annotations

import asyncio
import math
from types import TracebackType
from typing import Self

from ..errors import BackendTimeout

_BUSY = 0.05
"""Seconds since the last piece for which a stream counts as busy: it will look at the clock itself."""


class Patience:
    """Ends the block that it guards with `BackendTimeout` when the limits are passed.

    It can be entered again, one attempt after the other; the whole counts from the first.

    One timer for each call, looked at again when it is due: arming one for each piece would cost 2.6 us a piece.

    Args:
        quiet: Seconds without a piece; None for no limit.
        total: Seconds for everything; None for no limit.
        backend: The backend's name, for the message.
    """

    def __init__(self, *, quiet: float | None, total: float | None, backend: str) -> None:
        self._quiet = math.inf if quiet is None else quiet
        self._total = math.inf if total is None else total
        self._backend = backend
        self._pieces = 0
        self._end = math.inf

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._last = self._loop.time()
        self._end = min(self._end, self._last + self._total)
        self._timer: asyncio.TimerHandle | None = None
        self._timeout = asyncio.timeout(None)
        await self._timeout.__aenter__()
        self._look()
        return self

    def renew(self, *, looking: bool = True) -> None:
        """Note that a piece came; of those that come together, only the first needs to be `looking` at the clock.

        Raises:
            BackendTimeout: the time for the whole is over.
        """
        self._pieces += 1
        if not looking:
            return
        self._last = self._loop.time()
        if self._last > self._end:
            raise self._error()

    def rest(self) -> None:
        """Wait without limit from now on: the answer is whole."""
        self._quiet = self._end = math.inf

    def left(self) -> float:
        """Return the seconds that are left of the whole."""
        return self._end - self._loop.time()

    def _look(self) -> None:
        now = self._loop.time()
        due = min(self._last + self._quiet, self._end)
        if now >= due and now - self._last > min(_BUSY, self._quiet):
            self._timeout.reschedule(now)
        elif due < math.inf:
            self._timer = self._loop.call_at(max(due, now + min(_BUSY, self._quiet)), self._look)

    def _error(self) -> BackendTimeout:
        now = self._loop.time()
        if now >= self._end:
            what = f"The answer took longer than {self._total:g} s altogether"
            mend = "`total_timeout`"
        else:
            what = f"Nothing came for {self._quiet:g} s, after {self._pieces} pieces of the answer"
            mend = "`timeout`, or `stream_timeout` among the model options"
        return BackendTimeout(
            f"{what} (backend {self._backend!r}). What came is kept. Allow it more with {mend} (seconds; None waits).",
            backend=self._backend,
        )

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError:
            raise self._error() from None
        if kind is GeneratorExit and self._timeout.expired():
            # The time ran out while the stream was not waiting: its reader was cancelled in its place, and closes it.
            raise self._error()
