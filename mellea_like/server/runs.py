"""Runs that can be read again: each under its id, for as long as it goes on and a while after."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import RequestRejected
from ..thunk import ModelOutputThunk

_SEQ_BITS = 32


class KeptRun:
    """A run with those that read it. Where none is left before its end, it is stopped after `linger` seconds."""

    def __init__(self, thunk: ModelOutputThunk[Any], *, linger: float) -> None:
        # A number, so that it can stand before an event's own in an event's id; the id of the run is its text.
        self.number = secrets.randbits(62) | 1 << 62
        self.thunk = thunk
        self._linger = linger
        self._readers = 0
        self._leaving: asyncio.TimerHandle | None = None

    @property
    def id(self) -> str:
        """The run's name; it cannot be guessed."""
        return f"run_{self.number:x}"

    def event_number(self, seq: int) -> int:
        """Return the number of an event of this run among those of all runs."""
        return self.number << _SEQ_BITS | seq

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Count one more reader while the block lasts."""
        self._readers += 1
        if self._leaving is not None:
            self._leaving.cancel()
        try:
            yield
        finally:
            self._readers -= 1
            if not self._readers and not self.thunk.done():
                self._leaving = asyncio.get_running_loop().call_later(self._linger, self.thunk.cancel)


class Runs:
    """The runs of a server, the newest `kept` of those that have ended.

    Args:
        kept: How many that have ended are kept.
        linger: Seconds that a run goes on without a reader.
    """

    def __init__(self, *, kept: int, linger: float) -> None:
        self._kept = kept
        self._linger = linger
        self._runs: dict[str, KeptRun] = {}

    def add(self, thunk: ModelOutputThunk[Any]) -> KeptRun:
        """Keep a run; the oldest that have ended make room."""
        run = KeptRun(thunk, linger=self._linger)
        self._runs[run.id] = run
        ended = [name for name, other in self._runs.items() if other.thunk.done()]
        for name in ended[: max(0, len(ended) - self._kept)]:
            del self._runs[name]
        return run

    def get(self, name: str) -> KeptRun:
        """Find a run.

        Raises:
            RequestRejected: status 404: it never was, or is kept no longer.
        """
        if name in self._runs:
            return self._runs[name]
        raise RequestRejected(
            f"There is no run {name[:40]!r}; the server keeps the last {self._kept} that have ended.",
            status=404,
            code="run_not_found",
        )

    def located(self, event_number: int) -> tuple[KeptRun | None, int]:
        """Find the run that an event's number is of, None where it is kept no longer, and the event's own number."""
        name = f"run_{event_number >> _SEQ_BITS:x}"
        return self._runs.get(name), event_number & ((1 << _SEQ_BITS) - 1)
