"""The library's own event loop: one background thread where backends and the strategies' driver run.

User code never runs here, so nothing that a user does can stall a stream, and no client is ever bound to a loop that
has ended. The thread starts with the first call and is stopped and joined at exit. A fork leaves it behind: the child
starts its own. The engine knows logs and tasks; it knows no thunk, session or provider.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
import traceback
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable
from contextlib import aclosing, suppress
from contextvars import Context
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from .errors import FunctionFailed, Truncated, UnsupportedEventLoop
from .events import Cancelled, Failed, Said
from .log import Log
from .waiting import EAGER, leave, this_thread

R = TypeVar("R")

_EXIT_PATIENCE = 5.0
"""Seconds that leaving the interpreter waits for streams to stop."""

_IDLE = 5.0
"""Seconds that a worker thread waits for more work before it leaves."""


class _Engine:
    """One loop in one daemon thread, for one process."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._serve, name="mellea-like", daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        # Not `asyncio.run`: when the interpreter exits it would start a thread, which Python 3.12 and later refuse.
        asyncio.set_event_loop(self.loop)
        while not self._served():
            pass
        self.loop.run_until_complete(self._wind_down())
        self.loop.close()

    def _served(self) -> bool:
        """Run the loop; False where it was left before it was stopped."""
        try:
            self.loop.run_forever()
        except (SystemExit, KeyboardInterrupt):
            # A backend's code raised it. The task has it, and asyncio lets these two out of the loop as well, which
            # would leave every other call of the process waiting for ever. Nothing is lost by going on.
            return False
        return True

    async def _wind_down(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_EXIT_PATIENCE)
        for transport in _transports(self.loop):  # of sessions that nobody has closed
            transport.abort()
        await self.loop.shutdown_asyncgens()

    def stop(self) -> None:
        leave()
        with suppress(RuntimeError):  # closed already
            self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(_EXIT_PATIENCE + 1)


def _transports(of: asyncio.AbstractEventLoop) -> list[Any]:
    """List the open connections of a loop; other kinds of loops do not show theirs."""
    return list(vars(of)["_transports"].values()) if isinstance(of, asyncio.SelectorEventLoop) else []


_engine: _Engine | None = None
_starting = threading.Lock()


def loop() -> asyncio.AbstractEventLoop:
    """Return the library's event loop, starting it at its first use in this process."""
    global _engine
    engine = _engine
    if engine is None:
        with _starting:
            engine = _engine = _engine or _Engine()
    return engine.loop


def _stop() -> None:
    if _engine is not None:
        _engine.stop()


def _forget() -> None:
    # The child has neither the thread nor the right to touch the parent's loop. The objects are kept, unused: closing
    # them here would write to a pipe that both processes share.
    global _engine, _starting
    if _engine is not None:
        _left_behind.append(_engine)
        for transport in _transports(_engine.loop):
            # Or the server would not see the parent close its end. Taken away, so that nobody misses it here.
            transport._sock.close()
            transport._sock = None
        for task in asyncio.all_tasks(_engine.loop):
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # they go on, in the parent
    _engine, _starting = None, threading.Lock()
    _idle.clear()


_left_behind: list[_Engine] = []

atexit.register(_stop)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


class Run:
    """One generation at work: a task on the library's loop that fills a log from a source, and can be stopped.

    Neither the run nor its task knows the thunk, so that a thunk nobody holds any more can be noticed. While it works,
    a run is a member of the set `among`, where one is given.
    """

    __slots__ = ("_among", "_loop", "_stopped", "_task", "log")

    def __init__(self, log: Log, source: AsyncGenerator[Said, None], *, among: set[Run] | None = None) -> None:
        self.log = log
        self._stopped = False
        self._task: asyncio.Task[None] | None = None
        self._among = set() if among is None else among
        self._among.add(self)
        self._loop = loop()
        log.written_on(self._loop)
        try:
            self._loop.call_soon_threadsafe(self._begin, source, context=Context())
        except RuntimeError:  # the loop is closed: the interpreter is leaving
            self._among.discard(self)
        except BaseException:  # an interrupt, which goes on; nobody will ever hold what was begun
            self.stop()
            raise

    def _begin(self, source: AsyncGenerator[Said, None]) -> None:
        self._task = self._loop.create_task(_fill(self.log, source))
        self.log.stopped_by(self._task.cancel)
        # A task that is cancelled before its first step runs none of its own code, so its end is recorded out here.
        self._task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() and not this_thread.leaving:
            self.log.append(Cancelled())
        self._among.discard(self)

    def stop(self) -> None:
        """Ask for the work to be stopped; from any thread, any number of times, finalizers included."""
        if not self.log.inherited():
            with suppress(RuntimeError):  # the loop is closed: the interpreter is leaving, nothing runs any more
                self._loop.call_soon_threadsafe(self.stop_task)

    def stop_task(self) -> asyncio.Task[None] | None:
        """Stop the work, on the library's loop, and return its task; None where another process does it."""
        if self.log.inherited():
            return None
        if not self._stopped and self._task is not None:
            self._stopped = True
            self._task.cancel()
        return self._task


async def stop_all(runs: Iterable[Run]) -> None:
    """Stop runs, on the library's loop, and wait until their tasks are over, whatever they still had to do."""
    tasks = [task for run in runs if (task := run.stop_task()) is not None]
    if tasks:
        await asyncio.wait(tasks)


async def _fill(log: Log, source: AsyncGenerator[Said, None]) -> None:
    """Drain `source` into `log`: opened, drained and closed by this one task."""
    try:
        async with aclosing(source):
            # The source is drained to its own end, after its terminal event too, or a connection is lost to its pool.
            count = 0
            async for said in source:
                log.append(said)
                count += 1
                if not count % EAGER:
                    await asyncio.sleep(0)
        error: Exception = Truncated("The stream ended without a finish reason; the text that came is kept.")
    except asyncio.CancelledError:
        raise
    except BaseException as raised:
        # Line numbers stay; the frames' variables would keep the request, and the log itself, alive in a circle.
        traceback.clear_frames(raised.__traceback__)
        error = carried(raised)
    log.append(Failed(error=error))  # not recorded where the source has ended the log itself


def carried(error: BaseException) -> Exception:
    """Return an error that futures and tasks can hold: nearly always the same, else one that has it as its cause.

    This is the one door through which what user code raised comes to the library's loop. asyncio has a use of its own
    for some: `SystemExit` and `KeyboardInterrupt` end the loop, a `CancelledError` says that whoever awaits it was
    stopped, and no future takes a `StopIteration`. Other errors that are no `Exception` would be caught by nobody.
    """
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    text = f": {error}" if str(error) else ""
    failed = FunctionFailed(
        f"A function of yours raised {type(error).__name__}{text}, which an event loop takes for something else than "
        "an error. To say that something is wrong, raise any other."
    )
    failed.__cause__ = error
    return failed


class _Worker:
    """A daemon thread that runs user code, one piece after the other, and leaves when there is none for a while.

    Not an executor: its threads are joined when the interpreter leaves, so one that hangs would hang the exit.
    """

    def __init__(self) -> None:
        self.work: SimpleQueue[Callable[[], None]] = SimpleQueue()
        threading.Thread(target=self._serve, name="mellea-like worker", daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                self.work.get(timeout=_IDLE)()  # by no name, which would keep what it holds
            except Empty:
                try:
                    _idle.remove(self)
                except ValueError:  # somebody has just taken it, and gives it work
                    continue
                return


_idle: list[_Worker] = []
"""Workers that wait for work; the one that waits for the shortest time is last, and taken first."""


async def in_worker(work: Callable[[], R], *, context: Context) -> R:
    """Run synchronous user code in a daemon thread of its own, with the caller's context, and await its result."""
    home = asyncio.get_running_loop()
    outcome: asyncio.Future[R] = home.create_future()

    def settle(result: R | None, error: Exception | None) -> None:
        if outcome.cancelled():
            return
        if error is None:
            outcome.set_result(result)  # type: ignore[arg-type]  # without an error there is a result
        else:
            outcome.set_exception(error)

    def run() -> None:
        result, error = None, None
        try:
            result = context.run(work)
        except BaseException as raised:  # carried to whoever awaits it
            error = carried(raised)
        _idle.append(worker)  # before the result is known: what is asked next may be asked of it
        with suppress(RuntimeError):  # the loop is closed: the interpreter is leaving
            home.call_soon_threadsafe(settle, result, error)

    try:
        worker = _idle.pop()
    except IndexError:
        worker = _Worker()
    worker.work.put(run)
    return await outcome


async def on_engine(work: Coroutine[Any, Any, R]) -> R:
    """Run `work` on the library's loop and await it from any other."""
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, loop()))


def block_on_engine(work: Coroutine[Any, Any, None]) -> None:
    """Run `work` on the library's loop, blocking this thread until it is done.

    Raises:
        UnsupportedEventLoop: this is the library's loop, which would wait for itself.
    """
    home = loop()
    if home is asyncio._get_running_loop():
        work.close()
        raise UnsupportedEventLoop("A blocking call was made on the library's own event loop; use its `a…` twin there.")
    try:
        done = asyncio.run_coroutine_threadsafe(work, home)
    except RuntimeError:  # the loop is closed: the interpreter is leaving, and with it all that there was to do
        work.close()
        return
    done.result()
