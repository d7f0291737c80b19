"""What other threads have to say to a run, told on the library's loop, which has other runs to serve too."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from typing import Final


class Outbox:
    """What other threads have to say to the library's loop: told in order, with one wake-up for much that waits."""

    __slots__ = ("_loop", "_todo", "_woken")

    AT_ONCE: Final = 256
    """How much is told in one turn of the loop, which has others to serve than the one that says more every moment."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._todo: deque[Callable[[], object]] = deque()
        self._woken = False

    def post(self, work: Callable[[], object]) -> None:
        """Have `work` done on the library's loop; from any thread."""
        self._todo.append(work)
        if not self._woken:
            self._woken = True
            self._loop.call_soon_threadsafe(self._wake)

    def caught_up(self) -> None:
        """Wait until all that was said so far is told; for whoever says much, on a thread of its own."""
        told = threading.Event()
        self.post(told.set)
        told.wait()

    def empty(self) -> None:
        """Do what waits now; on the library's loop."""
        self._tell(len(self._todo))

    def _wake(self) -> None:
        self._woken = False
        self._tell(self.AT_ONCE)
        if self._todo and not self._woken:
            self._woken = True
            self._loop.call_soon(self._wake)

    def _tell(self, most: int) -> None:
        for _ in range(min(most, len(self._todo))):
            self._todo.popleft()()
