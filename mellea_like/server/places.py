"""Places for generations: so many at once, so many more that wait, and no more. Lives on the server's event loop."""

from __future__ import annotations

import asyncio
from collections import deque

from ..errors import RequestRejected


class Places:
    """A bounded number of places with a bounded, fair queue before them.

    Args:
        running: How many places there are.
        waiting: How many may wait for one.
    """

    def __init__(self, *, running: int, waiting: int) -> None:
        self._free = running
        self._running = running
        self._most_waiting = waiting
        self._queue: deque[asyncio.Future[None]] = deque()

    @property
    def running(self) -> int:
        """How many places are taken."""
        return self._running - self._free

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._queue)

    def refuse_overflow(self, wanted: int) -> None:
        """Raise where `wanted` more cannot be taken in, running or waiting.

        Raises:
            RequestRejected: status 429, with the seconds after which to try again.
        """
        room = self._free + self._most_waiting - self.waiting
        if wanted > room:
            raise RequestRejected(
                f"The server is busy: {self.running} generations run and {self.waiting} wait (at most "
                f"{self._running} and {self._most_waiting}). Try again later.",
                status=429,
                code="rate_limit_exceeded",
                retry_after=float(1 + self.waiting // self._running),
            )

    async def take(self) -> None:
        """Wait for a place, in turn; `give_back` frees it.

        Raises:
            RequestRejected: too many wait already.
        """
        self.refuse_overflow(1)
        if self._free:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it was given a place in the same moment
                self.give_back()
            else:
                self._queue.remove(turn)
            raise

    def give_back(self) -> None:
        """Free a place, for whoever has waited longest."""
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
