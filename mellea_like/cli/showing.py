"""Reading an answer's events and drawing them, at a pace that eyes can follow and a terminal can bear."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from ..content import ToolCall
from ..events import Event, ToolCallEvent
from ..thunk import ModelOutputThunk
from .view import AnswerView

_PACE = 1 / 30
"""Seconds between two drawings, at least; the first text is drawn at once."""
_SHARE = 5
"""How many times as long as a drawing took nothing is drawn: so drawing takes a sixth of the time at most."""
_PATIENCE = 0.4
"""Seconds after which it is shown that an answer is waited for."""


class Showing:
    """An answer that is being shown."""

    def __init__(self, thunk: ModelOutputThunk[Any], view: AnswerView) -> None:
        self._thunk = thunk
        self._view = view
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._calls: set[str | None] = set()
        self._paused = False
        self._next = 0.0
        self._later: asyncio.TimerHandle | None = None

    async def run(self) -> bool:
        """Show the answer to its end; Ctrl-C (a cancellation) stops it, and what came stays.

        Returns:
            Whether it came to its own end.
        """
        mark = self._loop.call_later(_PATIENCE, self._wait)
        stopped = False
        events = self._thunk.events()
        with _on_resize(self._loop, self.draw), _quiet_keyboard():
            while True:
                try:
                    event = await anext(events, None)
                except asyncio.CancelledError:
                    _forget_cancellation()
                    self._thunk.cancel()
                    stopped = True
                    continue
                if event is None:
                    break
                self._take(event)
            mark.cancel()
            self.draw()
        return not stopped

    async def aside(self, call: ToolCall, question: Callable[[], Awaitable[bool]]) -> bool:
        """Ask the user something about a tool call, below what was shown until then."""
        while call.id not in self._calls:
            self._news.clear()
            await self._news.wait()
        self.draw()
        self._paused = True
        try:
            return await question()
        finally:
            self._paused = False

    def draw(self) -> None:
        """Bring the screen up to date."""
        if self._later is not None:
            self._later.cancel()
            self._later = None
        if self._paused:
            return
        begun = time.monotonic()
        self._view.draw()
        ended = time.monotonic()
        self._next = ended + max(_PACE, _SHARE * (ended - begun))

    def _take(self, event: Event) -> None:
        self._view.feed(event)
        if isinstance(event, ToolCallEvent) and event.complete:
            self._calls.add(event.id)
        self._news.set()
        wait = self._next - time.monotonic()
        if wait <= 0:
            self.draw()
        elif self._later is None:
            self._later = self._loop.call_later(wait, self.draw)

    def _wait(self) -> None:
        self._view.wait()
        self.draw()


def _forget_cancellation() -> None:
    # Ctrl-C cancels the task that shows; it is done with, and the task goes on to the answer's end.
    task = asyncio.current_task()
    if task is not None:
        task.uncancel()


@contextmanager
def _on_resize(loop: asyncio.AbstractEventLoop, draw: Callable[[], None]) -> Iterator[None]:
    if not hasattr(signal, "SIGWINCH"):
        yield
        return
    before = signal.signal(signal.SIGWINCH, lambda *_: loop.call_soon_threadsafe(draw))
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)


@contextmanager
def _quiet_keyboard() -> Iterator[None]:
    """Keep what is typed meanwhile for the next line, and off the screen."""
    try:
        import termios
    except ImportError:  # not on this system
        yield
        return
    try:
        before = termios.tcgetattr(sys.stdin)
    except (termios.error, ValueError, OSError):  # no terminal there
        yield
        return
    quiet = [*before]
    quiet[3] &= ~termios.ECHO
    termios.tcsetattr(sys.stdin, termios.TCSADRAIN, quiet)
    try:
        yield
    finally:
        with suppress(termios.error):  # the terminal may be gone
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
