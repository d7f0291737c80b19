"""How much at once and how fast: a fair limit on concurrent calls that yields when the server asks, and a rate."""

from __future__ import annotations

import math
from asyncio import Lock
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiolimiter import AsyncLimiter
from anyio import CapacityLimiter


class Limits:
    """Places for calls on one event loop, first come first served; who is cancelled while it waits leaves at once.

    A 429 halves the number of calls that may run at once; each round of answers without one adds a place again, up to
    `max_concurrency` (additive increase, multiplicative decrease, as in TCP).

    Args:
        max_concurrency: Calls that may run at once; None for no limit until the server asks for one.
        requests_per_second: Calls that may begin in a second; None for no limit.

    Source: Chiu and Jain, 1989, https://doi.org/10.1016/0169-7552(89)90019-6
    """

    def __init__(self, *, max_concurrency: int | None, requests_per_second: float | None) -> None:
        self._most = math.inf if max_concurrency is None else max_concurrency
        self._places = CapacityLimiter(self._most)
        self._answers = 0
        self.cuts = 0
        # A second's worth may begin at once where that is one or more; a slower rate spaces single calls out.
        self._rate: AsyncLimiter | None = None
        if requests_per_second is not None:
            burst = max(1.0, requests_per_second)
            self._rate = AsyncLimiter(burst, burst / requests_per_second)
        # A lock is first come, first served; the rate alone lets a newcomer pass those who wait.
        self._line = Lock()

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold one place; to be entered and left by one task."""
        borrower = object()
        await self._places.acquire_on_behalf_of(borrower)
        try:
            if self._rate is not None:
                async with self._line:
                    await self._rate.acquire()
            yield
        finally:
            self._places.release_on_behalf_of(borrower)

    @property
    def now(self) -> float:
        """How many calls may run at once now."""
        return self._places.total_tokens

    def refused(self, cuts: int) -> None:
        """Note that the server said 429: too much at once.

        Args:
            cuts: What `cuts` was when the call began: of the calls that ran together, one refusal counts, not each.
        """
        if cuts == self.cuts:
            running = min(self._places.total_tokens, self._places.borrowed_tokens)
            self._places.total_tokens = max(1, running // 2)
            self._answers = 0
            self.cuts += 1

    def answered(self) -> None:
        """Note that the server answered."""
        if self._places.total_tokens < self._most:
            self._answers += 1
            if self._answers >= self._places.total_tokens:
                self._places.total_tokens += 1
                self._answers = 0
