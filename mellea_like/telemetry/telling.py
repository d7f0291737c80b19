"""How listeners are told: their code runs in one daemon thread, in order, never on the library's event loop.

What watches a log there is a task that holds the log only. This file knows logs and functions; it knows no sink.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context
from functools import partial
from queue import SimpleQueue
from typing import Any

from .. import engine
from ..events import Event
from ..log import Log
from ..readers import EventReader

logger = logging.getLogger("mellea_like")
logger.addHandler(logging.NullHandler())

_EXIT_PATIENCE = 5.0
"""Seconds that listeners get to catch up, when a caller waits for them and when the interpreter leaves."""


class _Teller:
    """One daemon thread that does what it is given, one thing after the other."""

    def __init__(self) -> None:
        self._work: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self.put = self._work.put
        self.thread = threading.Thread(target=self._serve, name="mellea-like listeners", daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        while True:
            try:
                self._work.get()()
            except BaseException:  # a listener's mistake must not keep the others from being told
                logger.exception("A sink failed; the generation that it listens to goes on.")


_teller: _Teller | None = None
_starting = threading.Lock()
_watching: dict[asyncio.Task[None], Log] = {}
"""The tasks that watch a log, with their logs; touched on the library's loop only."""


def _started() -> _Teller:
    global _teller
    with _starting:
        if _teller is None:
            _teller = _Teller()
            # Here, not at the import: what listeners write to (an exporter) closes at exit too, and only what is
            # registered after it runs before it.
            atexit.register(flush_sinks)
        return _teller


def _forget() -> None:
    # The child of a fork has neither the thread nor the loop; its first listener starts them anew.
    global _teller, _starting
    atexit.unregister(flush_sinks)
    _teller, _starting = None, threading.Lock()
    _watching.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def tell_events(log: Log, call: Callable[[Event], object]) -> None:
    """Call `call` with every event of `log`, from the first to the end, in the listeners' thread."""
    _watch(log, lambda teller: _each(log, lambda event: teller.put(partial(call, event))))


def tell_end(log: Log, call: Callable[[Log], object]) -> None:
    """Call `call` with `log` when it has ended, in the listeners' thread."""
    with suppress(RuntimeError):  # the interpreter is leaving: no thread starts any more
        teller = _started()
        log.when_ended(lambda log: teller.put(partial(call, log)))


async def _each(log: Log, put: Callable[[Event], None]) -> None:
    async for event in EventReader(log, _nobody):
        put(event)


def _nobody() -> None:
    """Stand for the thunk where a reader holds none: reading so does not count, and keeps nothing running."""


def follow(log: Log) -> EventReader:
    """Iterate, with `for` or `async for`, over every event of a log from its start, without holding its thunk.

    For authors of sinks. It works on any event loop and any thread, live or replaying; `Failed` and `Cancelled` are
    the last event, and nothing is raised for them.

    Args:
        log: What a sink's `opened` was given.

    Returns:
        An iterator over the events.

    Example:
        ```python
        import threading
        from mellea_like import follow, listening, start_session

        class Printer:
            def opened(self, log):
                self.thread = threading.Thread(target=lambda: [print(event.type) for event in follow(log)])
                self.thread.start()

        printer = Printer()
        with listening(printer), start_session("fake", answers="Hello!") as m:
            m.instruct("Say hello.")
        printer.thread.join()
        ```
    """
    return EventReader(log, _nobody)


def _watch(log: Log, watching: Callable[[_Teller], Coroutine[Any, Any, None]]) -> None:
    with suppress(RuntimeError):  # the interpreter is leaving: no thread starts any more, and the loop is closed
        teller = _started()
        engine.loop().call_soon_threadsafe(_begin, log, partial(watching, teller), context=Context())


def _begin(log: Log, watching: Callable[[], Coroutine[Any, Any, None]]) -> None:
    task = asyncio.get_running_loop().create_task(watching())
    _watching[task] = log
    task.add_done_callback(_watching.pop)


def flush_sinks(*, timeout: float = _EXIT_PATIENCE) -> bool:
    """Wait, blocking, until listeners were told everything that is known now of generations that have ended.

    Listeners are told in a thread of their own, so a call may return a moment before they have heard of it. At exit
    the library waits by itself.

    Args:
        timeout: Seconds to wait, 5 where nothing is said.

    Returns:
        Whether they have caught up. False, at once, when a listener asks: it would wait for itself.
    """
    teller = _teller
    if teller is None or teller.thread is threading.current_thread():
        return teller is None
    caught_up = threading.Event()
    try:
        engine.loop().call_soon_threadsafe(_begin_flush, teller, caught_up, context=Context())
    except RuntimeError:  # the loop is closed: the interpreter is leaving
        return False
    return caught_up.wait(timeout)


def _begin_flush(teller: _Teller, caught_up: threading.Event) -> None:
    ended = [task for task, log in _watching.items() if log.end is not None]
    flushing = asyncio.get_running_loop().create_task(_flush(ended, teller, caught_up))
    flushing.add_done_callback(_flushing.discard)
    _flushing.add(flushing)


_flushing: set[asyncio.Task[None]] = set()
"""Held here, because a loop holds its tasks weakly."""


async def _flush(ended: list[asyncio.Task[None]], teller: _Teller, caught_up: threading.Event) -> None:
    if ended:
        await asyncio.wait(ended)
    teller.put(caught_up.set)
