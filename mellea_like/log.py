"""The record of one computation: what it said, in order, kept once and read by many.

One writer, on the library's event loop, appends; any number of readers, on any loop or thread, hold positions in it.
There is no lock, because a finalizer or a fork may strike while one is held: the writer appends, then wakes; a reader
registers, then looks again. The log knows nothing of thunks, tasks or backends.
"""

from __future__ import annotations

import asyncio
import math
import os
import threading
import time
from array import array
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

from .errors import GenerationCancelled, UnsupportedEventLoop, WrongProcess
from .events import Cancelled, Delta, Event, Failed, Finished, Said, Started, Terminal, Thinking, Usage
from .waiting import held_up, running_loop, this_thread

_TEXT, _THOUGHT, _OTHER = 0, 1, 2
_PIECES, _ENDS = (Delta, Thinking), (Finished, Failed, Cancelled)


Waiters: TypeAlias = "dict[asyncio.Future[None] | threading.Lock, asyncio.AbstractEventLoop | None]"


def _tag(kind: int, attempt: int) -> int:
    return attempt << 2 | kind


_SLICE = 0.5
"""Seconds after which a thread that waits looks up."""

_PLAIN = _tag(_TEXT, 1)
"""Text of the first attempt, which is what a backend's plain strings are."""


class _Growing:
    """The record while it is written: one string or event per entry, in columns."""

    __slots__ = ("items", "tags", "times")

    def __init__(self) -> None:
        self.items: list[Said] = []
        self.times = array("f")
        # Written last, so its length says how many entries are whole.
        self.tags = array("H")

    def add(self, item: Said, seconds: float, tag: int) -> None:
        self.items.append(item)
        self.times.append(seconds)
        self.tags.append(tag)

    def item(self, i: int) -> Said:
        return self.items[i]


class _Sealed:
    """The record once it is complete: one string with the points where it was cut, and the few other events."""

    __slots__ = ("cuts", "events", "tags", "tape", "times")

    def __init__(self, growing: _Growing) -> None:
        self.tags, self.times = growing.tags, growing.times
        self.events: dict[int, Event] = {}
        self.cuts = array("I")
        at, pieces = 0, []
        for i, item in enumerate(growing.items):
            self.cuts.append(at)
            if isinstance(item, str):
                pieces.append(item)
                at += len(item)
            else:
                self.events[i] = item
        self.cuts.append(at)
        self.tape = "".join(pieces)

    def item(self, i: int) -> Said:
        event = self.events.get(i)
        return self.tape[self.cuts[i] : self.cuts[i + 1]] if event is None else event


def _acquired(waiter: threading.Lock, timeout: float | None) -> bool:
    # In slices: Python sees a Ctrl-C that comes in the last moment before such a wait only after it.
    until = math.inf if timeout is None else time.monotonic() + timeout
    while not waiter.acquire(timeout=max(min(until - time.monotonic(), _SLICE), 0)):
        if time.monotonic() >= until:
            return False
    return True


class Log:
    """An append-only record of what one computation said, with one end: kept once, read by many, from anywhere.

    `accepted` is the attempt whose text plain readers see; None holds all text back until the end says which it is.
    `inside` are the logs that wait for the function of the user's that this one was begun in; see `Home`.
    """

    __slots__ = (
        *("_at_end", "_begun", "_hushed", "_loop", "_pid", "_record", "_text"),
        *("_to_the_end", "_stop", "_waiters", "accepted", "end", "inside"),
    )

    def __init__(self, *, held: bool = False) -> None:
        self.accepted: int | None = None if held else 1
        self.end: Terminal | None = None
        self.inside: tuple[Log, ...] = ()
        self._record: _Growing | _Sealed = _Growing()
        self._text: str | None = None
        self._begun = time.monotonic()
        self._pid = os.getpid()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._hushed = False
        self._stop: Callable[[], object] | None = None
        self._waiters: Waiters = {}
        self._to_the_end: Waiters = {}  # those that wait for the end alone, and are not woken before
        self._at_end: list[Callable[[Log], None]] = []

    # --- writing, on the library's loop -----------------------------------------------------------------------------

    def append(self, said: Said) -> None:
        """Record what was said, and wake the readers. What is said after the end is not recorded."""
        if self.end is not None or (type(said) is str and not said):
            return
        seconds = time.monotonic() - self._begun
        growing = self._record
        assert isinstance(growing, _Growing)
        if type(said) is str:  # nearly always, so it comes first
            growing.add(said, seconds, _PLAIN)
        elif isinstance(said, _PIECES):
            growing.add(said.text, seconds, _tag(_TEXT if isinstance(said, Delta) else _THOUGHT, said.attempt))
        elif isinstance(said, _ENDS):
            self._finish(growing, said, seconds)
        elif isinstance(said, Event):
            if isinstance(said, Started) and self.accepted is None:
                said = replace(said, held=True)
            growing.add(said, seconds, _tag(_OTHER, said.attempt))
        else:  # a string of the backend's own kind
            growing.add(str(said), seconds, _PLAIN)
        if self._waiters and not self._hushed:
            self._wake()

    def _finish(self, growing: _Growing, end: Terminal, seconds: float) -> None:
        if self.accepted is None:
            judged = isinstance(end, Finished) or (isinstance(end, Failed) and end.samples)
            self.accepted = end.attempt if judged else max((tag >> 2 for tag in growing.tags), default=1)
        if end.usage is None and not isinstance(end, Finished):
            count = sum(tag & 3 != _OTHER for tag in growing.tags)
            end = replace(end, usage=Usage(output_tokens=count, estimated=True))
        growing.add(end, seconds, _tag(_OTHER, end.attempt))
        # Readers that hold the growing record for one more step find the same entries in it. One of events, such as a
        # graph's run, would take more room sealed.
        if 2 * sum(isinstance(item, str) for item in growing.items) > len(growing.items):
            self._record = _Sealed(growing)
        self._text = self.text()
        # Last, because whoever sees it relies on everything before it.
        self.end = end
        self._stop, self.inside = None, ()
        self._waiters.update(self._to_the_end)
        self._hushed = False
        try:
            self._tell_end()
        finally:  # what goes wrong there is not the readers' affair
            if self._waiters:
                self._wake()

    def _tell_end(self) -> None:
        # One by one: the writer and one that asks too late may both be here, and each call is for one of them.
        while self._at_end:
            try:
                call = self._at_end.pop()
            except IndexError:
                return
            call(self)

    def _wake(self) -> None:
        # The first event of a quiet stream wakes at once; inside a burst, one wake-up per turn of the writer's loop.
        self._hushed = self.end is None and self._loop is not None
        if self._hushed and self._loop is not None:
            self._loop.call_soon(self._unhush)
        # Those that wait now. Whoever is woken may be back before the last of them is, and waits for its next turn:
        # else a reader on another loop would be woken for every item.
        for waiter in list(self._waiters):
            try:
                loop = self._waiters.pop(waiter)
            except KeyError:  # a reader on another thread took its registration back
                continue
            if isinstance(waiter, asyncio.Future):
                self._wake_task(waiter, loop)
            else:
                waiter.release()

    def _unhush(self) -> None:
        self._hushed = False
        if self._waiters:
            self._wake()

    def _wake_task(self, waiter: asyncio.Future[None], loop: asyncio.AbstractEventLoop | None) -> None:
        if loop is self._loop:
            _resolve(waiter)
        elif loop is not None:
            try:
                loop.call_soon_threadsafe(_resolve, waiter)
            except RuntimeError:  # the reader's loop is closed: there is nobody to wake
                pass

    def stopped_by(self, stop: Callable[[], object]) -> None:
        """Say how what writes is stopped."""
        self._stop = stop

    def stop(self) -> None:
        """Stop what writes this log, on the library's loop; nothing happens where it has ended."""
        if self._stop is not None:
            self._stop()

    def written_on(self, loop: asyncio.AbstractEventLoop) -> None:
        """Say which loop writes; before the first `append`."""
        self._loop = loop

    def when_ended(self, call: Callable[[Log], None]) -> None:
        """Call `call` with this log once it has ended, at once where it has; on the thread that writes: be brief."""
        self._at_end.append(call)
        if self.end is not None:
            self._tell_end()

    # --- reading, anywhere ------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._record.tags)

    def event(self, i: int) -> Event:
        """Build entry `i` as the event that it is."""
        record = self._record
        item, seconds, tag = record.item(i), record.times[i], record.tags[i]
        if not isinstance(item, str):
            return item.stamped(seq=i, seconds=seconds, attempt=tag >> 2)
        kind = Delta if tag & 3 == _TEXT else Thinking
        return kind(text=item, seq=i, seconds=seconds, attempt=tag >> 2)

    def next_text(self, position: int) -> tuple[str | None, int]:
        """Return the first visible delta from `position` on, None where there is none yet, and the position after."""
        if self.accepted is None:
            return None, position
        record, wanted = self._record, _tag(_TEXT, self.accepted)
        tags = record.tags
        for i in range(position, len(tags)):
            if tags[i] == wanted:
                return record.item(i), i + 1  # type: ignore[return-value]  # a text tag stands on a string
        return None, len(tags)

    def text_from(self, position: int) -> tuple[str, int]:
        """Join the visible text from `position` on; return it with the position after."""
        pieces = []
        while (found := self.next_text(position))[0] is not None:
            pieces.append(found[0])
            position = found[1]
        return "".join(pieces), found[1]

    def text(self, *, kind: int = _TEXT) -> str:
        """Join the visible text so far."""
        if self._text is not None and kind == _TEXT:
            return self._text
        record, wanted = self._record, _tag(kind, self.accepted or 0)
        if isinstance(record, _Sealed) and all(tag == wanted or tag & 3 == _OTHER for tag in record.tags):
            return record.tape
        return "".join(str(record.item(i)) for i, tag in enumerate(record.tags) if tag == wanted)

    def thinking(self) -> str:
        """Join the reasoning text so far."""
        return self.text(kind=_THOUGHT)

    def first_text_at(self) -> float | None:
        """Return the seconds from the start to the first text or thought, None before it."""
        record = self._record
        return next((record.times[i] for i, tag in enumerate(record.tags) if tag & 3 != _OTHER), None)

    def others(self) -> list[Event]:
        """List the events that are neither text nor thought."""
        return [self.event(i) for i, tag in enumerate(self._record.tags) if tag & 3 == _OTHER]

    def reader_error(self) -> BaseException | None:
        """Return what ended the log as an error, None where it has not ended or ended well."""
        if isinstance(self.end, Failed):
            return self.end.error
        if isinstance(self.end, Cancelled):
            text = self.text()
            return GenerationCancelled(f"The generation was cancelled after {len(text)} characters.", partial_text=text)
        return None

    # --- waiting ----------------------------------------------------------------------------------------------------

    async def grown(self, seen: int | None) -> None:
        """Wait until the log is longer than `seen` entries, or has ended; None waits for the end alone.

        Raises:
            UnsupportedEventLoop: the event loop is not asyncio's.
            WrongProcess: the log was being written when this process was forked off.
        """
        if this_thread.blocking:
            self.wait_grown(seen)
            return
        loop = running_loop()
        self._refuse_fork()
        self._leave()
        waiter: asyncio.Future[None] = loop.create_future()
        waiters = self._waiters if seen is not None else self._to_the_end
        waiters[waiter] = loop
        try:
            if self.end is None and (seen is None or len(self) == seen):
                await waiter
        finally:
            waiters.pop(waiter, None)
            self._waiters.pop(waiter, None)

    def wait_grown(self, seen: int | None, timeout: float | None = None) -> bool:
        """Wait as `grown` does, blocking this thread; False when `timeout` seconds passed first."""
        blocked = asyncio._get_running_loop()
        if self._loop is not None and self._loop is blocked:
            raise UnsupportedEventLoop(
                "A blocking call was made on the library's own event loop, which it would stop for good. "
                "Use the asynchronous verb there."
            )
        self._refuse_fork()
        self._leave()
        waiter = threading.Lock()
        waiter.acquire()
        waiters = self._waiters if seen is not None else self._to_the_end
        waiters[waiter] = None
        if blocked is not None:
            held_up.add(blocked)
        try:
            if self.end is not None or (seen is not None and len(self) != seen):
                return True
            return _acquired(waiter, timeout)
        finally:
            waiters.pop(waiter, None)
            self._waiters.pop(waiter, None)
            if blocked is not None:
                held_up.discard(blocked)

    def inherited(self) -> bool:
        """Whether this process was forked off the one that writes this log."""
        return self._pid != os.getpid()

    def _refuse_fork(self) -> None:
        if self.end is None and self.inherited():
            raise WrongProcess(
                f"This generation runs in process {self._pid}; this is process {os.getpid()}, forked off while it ran. "
                "Read it there, or make the call again here."
            )

    def _leave(self) -> None:
        # When the interpreter leaves, nothing is written any more. Whoever reads on the main thread (at exit, too) gets
        # an end. Other threads are daemons by then: they wait until they are gone, because an error that was raised
        # there would be printed into the user's exit.
        if this_thread.leaving and self.end is None and threading.current_thread() is threading.main_thread():
            self.append(Cancelled())

    def __reduce__(self) -> tuple[Any, ...]:
        if self.end is None:
            raise UnsupportedEventLoop("a running log cannot be pickled")  # the thunk says it better
        return (_restored, (self._record, self.end, self.accepted))


def _restored(record: _Sealed, end: Terminal, accepted: int) -> Log:
    log = Log()
    log._record, log.accepted = record, accepted
    log._text, log.end = log.text(), end
    return log


def _resolve(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
