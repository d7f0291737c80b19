"""Models in this process' memory: loading, sharing, slots, and how they survive cancellation, exit and fork.

A request body goes in, chunks come out. This file knows threads and event loops; it does not know what a message, an
option or an event is. Three things of the engine shape it: its call blocks a thread and reports through a callback;
loading and freeing hold the interpreter's lock for as long as they take; and freeing joins native threads.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import sys
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from queue import SimpleQueue
from time import monotonic
from typing import Any, ParamSpec, TypeAlias, TypeVar

from ..errors import BackendUnavailable, MelleaError, RequestRefused, fresh_copy
from ._native import NATIVE_ERRORS, Settings, keep_forever, load_server

P = ParamSpec("P")
T = TypeVar("T")
Chunk: TypeAlias = bytes

EXIT_PATIENCE = 10.0
"""Seconds that the interpreter's exit waits for native calls to return."""


class Call:
    """One native call: its chunks cross from the thread that runs it to the event loop that waits for them.

    The native side appends, then announces unless an announcement is under way; the reading side takes the
    announcement down, then looks. So nothing is missed, and a burst costs one wake-up.
    """

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.stopped = False
        self.ended: Future[None] = _promise()
        self.error: Exception | None = None
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._announced = False
        self._chunks: deque[Chunk] = deque()

    def receive(self, chunk: Chunk) -> bool:
        """Take a chunk, on the native thread; True stops the generation. Never raises: nobody would hear it."""
        if not self.stopped:
            self._chunks.append(chunk)
            self._announce()
        return self.stopped

    def end(self, error: Exception | None = None) -> None:
        """Say that nothing more comes and that the slot is free."""
        self.error = error
        self.ended.set_result(None)
        self._announce()

    async def chunks(self) -> AsyncGenerator[Chunk, None]:
        """Yield what arrives until the call has ended; then raise its error, if it had one."""
        while True:
            await self._await_news()
            ended = self.ended.done()  # read before the chunks: whatever came before the end is among them
            while self._chunks:
                yield self._chunks.popleft()
            if ended:
                break
        if self.error is not None:
            raise RequestRefused(f"The engine refused the request: {self.error}.", backend="llamacpp") from self.error

    async def stop(self) -> None:
        """Stop the generation and wait until its native call has returned, whoever cancels the wait meanwhile."""
        self.stopped = True
        interruption: asyncio.CancelledError | None = None
        while not self.ended.done():
            try:
                await self._await_news()
            except asyncio.CancelledError as error:
                interruption = error
        if interruption is not None:
            raise interruption

    def _announce(self) -> None:
        if not self._announced:
            self._announced = True
            try:
                self._loop.call_soon_threadsafe(self._news.set)
            except RuntimeError:  # the loop was closed: nobody reads any more
                self.stopped = True

    async def _await_news(self) -> None:
        await self._news.wait()
        self._news.clear()
        self._announced = False


class Model:
    """One loaded model: its server, those who hold it, and a queue for its slots, first come first served."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.holders: set[object] = set()
        self.waiting: deque[Call] = deque()
        self.running: set[Call] = set()
        self.server: Any = None
        self._closed = False
        self._threads = 0
        self._lock = threading.Lock()
        self.loading: Future[None] = in_thread(self._load)

    def submit(self, call: Call) -> None:
        """Queue a call for the next free slot; one thread per busy slot, a daemon that lives while calls wait."""
        with self._lock:
            self.waiting.append(call)
            more = self._threads < self.settings.slots and not self._closed
            self._threads += more
        if more:
            _daemon(self._work)

    def withdraw(self, call: Call) -> None:
        """Take a call that has not begun out of the queue, and end it."""
        with self._lock:
            waits = call in self.waiting
            if waits:
                self.waiting.remove(call)
        if waits:
            call.end()

    def close(self) -> list[Future[None]]:
        """Let no call begin any more, stop those that run, and return their ends."""
        with self._lock:
            self._closed = True
            running = list(self.running)
        for call in running:
            call.stopped = True
        return [call.ended for call in running]

    def free(self) -> None:
        """Free the memory; no call may be running."""
        self.server = None

    def _load(self) -> None:
        self.server = load_server(self.settings)

    def _work(self) -> None:
        while (call := self._next()) is not None:
            error = None
            try:
                self.server.handle_chat_completions(call.body, call.receive)
            except NATIVE_ERRORS as failure:
                error = failure
            finally:
                with self._lock:
                    self.running.discard(call)
                call.end(error)

    def _next(self) -> Call | None:
        with self._lock:
            if self._closed or not self.waiting:
                self._threads -= 1
                return None
            call = self.waiting.popleft()
            self.running.add(call)
            return call


class Registry:
    """Every model of this process. A model stays while anything holds it: a backend, or a call that runs.

    A finalizer may run anywhere, on a thread that holds the lock too; so `release` takes no lock and only leaves a
    note, and a thread of its own acts on it.
    """

    def __init__(self) -> None:
        self.models: dict[Settings, Model] = {}
        self.closing = False
        self._lock = threading.Lock()
        self._notes: SimpleQueue[tuple[object, Future[None]]] = SimpleQueue()
        self._reaper: threading.Thread | None = None

    def hold(self, settings: Settings, *holders: object) -> Model:
        """Return the model of `settings`, which begins to load if it is not there, and keep it for `holders`.

        Raises:
            BackendUnavailable: the interpreter is exiting.
        """
        with self._lock:
            if self.closing:
                raise BackendUnavailable("The interpreter is exiting; no model is loaded any more.", backend="llamacpp")
            if self._reaper is None:
                self._reaper = _daemon(self._reap)
            model = self.models.get(settings)
            if model is None or (model.loading.done() and model.loading.exception() is not None):
                model = self.models[settings] = Model(settings)
                # Whoever wanted it may be gone by then; a note without a holder frees what nobody holds.
                model.loading.add_done_callback(lambda _: self.release(None))
            model.holders.update(holders)
            return model

    def release(self, holder: object) -> Future[None]:
        """Let go of all that `holder` holds; the future is done when memory that nobody holds has been freed."""
        done: Future[None] = _promise()
        if self._reaper is None:
            done.set_result(None)
        else:
            self._notes.put((holder, done))
        return done

    def close(self) -> None:
        """Stop and free everything, at exit: native threads that outlive the interpreter abort the process."""
        with self._lock:
            self.closing = True
            models = list(self.models.values())
        deadline = monotonic() + EXIT_PATIENCE
        wait_for([model.loading for model in models], timeout=EXIT_PATIENCE)
        ends = [end for model in models for end in model.close()]
        wait_for(ends, timeout=max(0.0, deadline - monotonic()))
        for model in models:
            if model.running:
                keep_forever(model.server)
            model.holders.clear()
        try:
            self.release(None).result(max(1.0, deadline - monotonic()))
        except TimeoutError:
            return

    def _reap(self) -> None:
        while True:
            holder, done = self._notes.get()
            for model in self._let_go(holder):
                model.free()
            done.set_result(None)

    def _let_go(self, holder: object) -> list[Model]:
        with self._lock:
            for model in self.models.values():
                model.holders.discard(holder)
            unheld = [m for m in self.models.values() if not m.holders and m.loading.done()]
            for model in unheld:
                del self.models[model.settings]
        return unheld


registry = Registry()


async def generate(settings: Settings, body: bytes, holder: object) -> AsyncGenerator[Chunk, None]:
    """Run `body` on the model of `settings` and yield its chunks; `holder` keeps the model for later calls.

    The model is loaded first where need be, and the call waits for a free slot. When the generator is closed or its
    task cancelled, the generation has stopped before that takes effect.

    Raises:
        BackendUnavailable: the model cannot be loaded.
        RequestRefused: the engine does not take the body.
    """
    call, home = Call(body), registry
    model = home.hold(settings, holder, call)
    try:
        await outcome(model.loading)
        model.submit(call)
        try:
            async for chunk in call.chunks():
                yield chunk
        finally:
            model.withdraw(call)
            await call.stop()
    finally:
        home.release(call)


def release(holder: object) -> Future[None]:
    """Let go of all that `holder` holds in this process; see `Registry.release`."""
    return registry.release(holder)


def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
    """Run a blocking function on a daemon thread; an executor's would make the interpreter's exit wait for it.

    The future cannot be cancelled: others may wait for the same one.
    """
    promise: Future[T] = _promise()

    def run() -> None:
        try:
            promise.set_result(function(*args, **kwargs))
        except MelleaError as error:
            promise.set_exception(error)
        finally:
            if not promise.done():  # an error that is not ours, which the thread will print
                promise.set_exception(BackendUnavailable(f"{function} failed; stderr says why.", backend="llamacpp"))

    _daemon(run)
    return promise


async def outcome(future: Future[T]) -> T:
    """Wait for what a thread works on; every waiter gets its own copy of the error."""
    try:
        return await asyncio.wrap_future(future)
    except MelleaError as error:
        raise fresh_copy(error) from error


def _daemon(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, name="mellea-like-llamacpp", daemon=True)
    thread.start()
    return thread


def _promise() -> Future[Any]:
    promise: Future[Any] = Future()
    promise.set_running_or_notify_cancel()  # else a cancelled waiter would cancel it for all
    return promise


def _after_fork_in_child() -> None:
    # The threads of inherited models do not exist here: to free one would wait for them for ever.
    global registry
    for model in registry.models.values():
        keep_forever(model.server)
    registry = Registry()


def _at_exit() -> None:
    registry.close()


atexit.register(_at_exit)
if sys.platform != "win32":
    os.register_at_fork(after_in_child=_after_fork_in_child)
