"""How the library waits: on asyncio's loop, or blocking a thread. Knows nothing of what is waited for."""

from __future__ import annotations

import asyncio
import functools
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

from .errors import UnsupportedEventLoop

P = ParamSpec("P")
R = TypeVar("R")


EAGER = 128
"""Items that are taken from one source, or given to one reader, before others get a turn: either may never wait."""


class _Thread(threading.local):
    blocking = False
    """Whether this thread drives a verb by blocking; of each thread its own."""

    leaving = False
    """Whether the interpreter leaves; the same for all."""


this_thread = _Thread()

held_up: set[asyncio.AbstractEventLoop] = set()
"""The event loops whose threads are blocked in a wait of this library's, so that nothing can run on them."""


def leave() -> None:
    """Say that the interpreter leaves, and nothing is written any more."""
    _Thread.leaving = True


def drive(verb: Coroutine[Any, Any, R]) -> R:
    """Run a coroutine that waits for nothing but logs to its end in this thread, blocking where it would wait.

    This is how a synchronous verb is its asynchronous twin: same code, same errors, and a KeyboardInterrupt arrives
    inside it, where a cancellation would. It needs no event loop, so it works inside a running one (a notebook) too.
    """
    before, this_thread.blocking = this_thread.blocking, True
    try:
        verb.send(None)
    except StopIteration as done:
        result: R = done.value
        return result
    finally:
        this_thread.blocking = before
    verb.close()
    raise UnsupportedEventLoop(f"{verb!r} waits for something that is not a log, so it cannot be driven by blocking.")


def blocking(verb: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, R]:
    """Derive a synchronous verb from its asynchronous twin: one signature, one docstring, one behaviour."""

    @functools.wraps(verb)
    def synchronous(*args: P.args, **kwargs: P.kwargs) -> R:
        return drive(verb(*args, **kwargs))

    synchronous.__name__ = verb.__name__.removeprefix("a")
    synchronous.__qualname__ = verb.__qualname__.replace(verb.__name__, synchronous.__name__)
    return synchronous


async def give_turn() -> None:
    """Let the event loop run others: a reader that always finds more must not keep it for itself."""
    running_loop()
    await asyncio.sleep(0)


def running_loop() -> asyncio.AbstractEventLoop:
    """Return the running asyncio loop.

    Raises:
        UnsupportedEventLoop: there is none, with trio named where trio is what runs.
    """
    loop = asyncio._get_running_loop()
    if loop is not None:
        return loop
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_run():
        raise UnsupportedEventLoop(
            "This library's asynchronous verbs need asyncio; trio is running here. Use the synchronous ones in a "
            "thread: `await trio.to_thread.run_sync(m.instruct, '…')`."
        )
    raise UnsupportedEventLoop("No asyncio event loop is running here; use the synchronous verb, without `await`.")
