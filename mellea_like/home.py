"""Where a call was made, and how the library calls the user's functions back there.

User code never runs on the library's own loop: an asynchronous function runs on the loop that made the call, with the
caller's context variables; a synchronous one in a worker thread. Knows no model and no session.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from contextvars import Context, ContextVar, copy_context
from functools import partial
from typing import Any, TypeVar

from .engine import carried, in_worker
from .errors import InvalidArgument, UnsupportedEventLoop
from .log import Log
from .waiting import held_up, this_thread

R = TypeVar("R")

_inside: ContextVar[tuple[Log, ...]] = ContextVar("mellea_like_inside", default=())
"""The logs that wait for the function of the user's that runs here, the outermost first."""

_LOOK_AGAIN = 0.5
"""Seconds after which it is looked whether the caller's loop still runs: a loop that stops tells nobody."""

_CLEAN_UP = 2.0
"""Seconds that a function which is stopped may take for its own clean-up before nobody waits for it any more."""


class Home:
    """The event loop and the context variables of a call; a synchronous call has no loop.

    `inside` are the logs that wait for the function that made the call: a requirement's, a tool. What the call needs
    must not wait for them, or all would wait for ever.
    """

    __slots__ = ("_loop", "inside", "variables")

    def __init__(self) -> None:
        # A synchronous verb blocks the loop that runs around it (a notebook's), so nothing can run there meanwhile.
        self._loop = None if this_thread.blocking else asyncio._get_running_loop()
        self.variables = copy_context()
        self.inside = _inside.get()

    @property
    def awaits(self) -> bool:
        """Whether the loop that made the call can run something now: it goes on, and nothing blocks it."""
        return self._loop is not None and _dead(self._loop) is None

    def fills(self, log: Log) -> None:
        """Say that `log` waits for the functions that are called here."""
        log.inside = self.inside
        self.variables.run(_inside.set, (*self.inside, log))

    def refuse(self, log: Log) -> None:
        """Refuse to wait for a log that waits for the function that made this call.

        Raises:
            InvalidArgument: it does.
        """
        if log.end is None and log in self.inside:
            raise InvalidArgument(
                "This call needs an answer that waits for the very function that makes the call, so neither would ever "
                "end. Use the text that the function was given instead."
            )

    async def ask(self, function: Callable[..., R | Awaitable[R]], *args: Any) -> R:
        """Call one of the user's functions, synchronous or not, and await what it returns; on the library's loop.

        Raises:
            UnsupportedEventLoop: the function is asynchronous, and the loop that made the call can no longer run it.
        """
        if is_async(function):
            return await self._awaited(partial(function, *args))
        result = await in_worker(partial(function, *args), context=self.variables.copy())
        if inspect.isawaitable(result):
            return await self._awaited(lambda: result)
        return result

    async def _awaited(self, begin: Callable[[], Any]) -> R:
        if self._loop is None:
            alone: R = await _alone(begin, self.variables.copy())
            return alone
        result: R = await _Visit(self._loop, begin, self.variables.copy()).result()
        return result


async def _alone(begin: Callable[[], Any], variables: Context) -> Any:
    """Run a coroutine of the user's on an event loop of its own, in a worker; it is stopped where its waiter is."""
    stopped = False
    running: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = []
    over, here = asyncio.Event(), asyncio.get_running_loop()

    def run() -> Any:
        try:
            return asyncio.run(guarded())
        finally:
            with suppress(RuntimeError):  # the interpreter is leaving, and the library's loop is closed
                here.call_soon_threadsafe(over.set)

    async def guarded() -> Any:
        task: Any = asyncio.current_task()
        running.append((asyncio.get_running_loop(), task))
        if stopped:  # before it began
            task.cancel()
            await asyncio.sleep(0)
        return await begin()

    try:
        return await in_worker(run, context=variables)
    except asyncio.CancelledError:
        stopped = True
        for loop, task in running:
            with suppress(RuntimeError):  # it has just ended
                loop.call_soon_threadsafe(task.cancel)
        await _cleaned_up(over)
        raise


async def _cleaned_up(over: asyncio.Event) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(_CLEAN_UP):
            await over.wait()


class _Visit:
    """One coroutine of the user's at work on the user's loop, awaited from the library's."""

    def __init__(self, host: asyncio.AbstractEventLoop, begin: Callable[[], Any], variables: Context) -> None:
        self._host, self._begin = host, begin
        self._outcome: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._over = asyncio.Event()
        self._task: asyncio.Task[Any] | None = None
        self._work: Coroutine[Any, Any, Any] | None = None
        self._refuse_dead_host()
        host.call_soon_threadsafe(self._start, context=variables)

    def _start(self) -> None:
        if self._outcome.done():  # nobody waits for it any more
            self._say(self._over.set)
            return
        self._work = _run(self._begin)
        self._task = self._host.create_task(self._work)
        self._task.add_done_callback(self._tell)

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _leave_behind(self) -> None:
        # The host was closed around its task. That is its owner's affair, and Python would complain of it as of ours.
        if self._task is not None and self._work is not None:
            self._task._log_destroy_pending = False  # type: ignore[attr-defined]  # as the engine does after a fork
            if inspect.getcoroutinestate(self._work) == inspect.CORO_CREATED:
                self._work.close()

    def _tell(self, task: asyncio.Task[Any]) -> None:
        self._say(self._settle, task)

    def _say(self, call: Callable[..., object], *args: Any) -> None:
        with suppress(RuntimeError):  # the interpreter is leaving, and the library's loop is closed
            self._outcome.get_loop().call_soon_threadsafe(call, *args)

    def _settle(self, task: asyncio.Task[Any]) -> None:
        self._over.set()
        if self._outcome.done():
            return
        if task.cancelled():
            # By the host, which ends; where nobody asked for it, the function raised it by itself.
            gone = task.cancelling()
            self._outcome.set_exception(_host_gone("has ended") if gone else carried(asyncio.CancelledError()))
        elif (error := task.exception()) is not None:
            self._outcome.set_exception(carried(error))
        else:
            self._outcome.set_result(task.result())

    def _refuse_dead_host(self) -> None:
        if (why := _dead(self._host)) is not None:
            raise _host_gone(why)

    async def result(self) -> Any:
        try:
            while not self._outcome.done():
                await asyncio.wait([self._outcome], timeout=_LOOK_AGAIN)
                if not self._outcome.done():
                    self._refuse_dead_host()
            return self._outcome.result()
        except BaseException:  # what it raised; or cancelled, or the host is gone: nobody wants its outcome then
            await self._stopped()
            raise

    async def _stopped(self) -> None:
        """Stop what was begun there, and wait for its own clean-up, where anything runs there at all."""
        if self._over.is_set():
            return
        self._outcome.cancel()
        try:
            self._host.call_soon_threadsafe(self._stop)
        except RuntimeError:  # it is closed
            self._leave_behind()
        else:
            if _dead(self._host) is None:
                await _cleaned_up(self._over)


def is_async(function: Callable[..., Any]) -> bool:
    """Whether calling `function` gives a coroutine; objects with an asynchronous `__call__` count."""
    while isinstance(function, partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


async def _run(begin: Callable[[], Awaitable[R]]) -> R:
    try:
        return await begin()
    except SystemExit as error:  # in a thread it would end no loop, so it does not end the caller's either
        failed = carried(error)
    raise failed


def _dead(host: asyncio.AbstractEventLoop) -> str | None:
    """Say why a loop runs nothing now; None where it does."""
    if host.is_closed() or not host.is_running():
        return "has ended"
    if host in held_up:
        return "is blocked by a synchronous call (`result()`, `for`, a synchronous verb) on its thread"
    return None


def _host_gone(why: str) -> UnsupportedEventLoop:
    return UnsupportedEventLoop(
        f"An asynchronous function of yours was to run on the event loop that made the call, which {why}. Await the "
        "thunk on that loop, or make the function synchronous: those run in a thread and need no loop."
    )
