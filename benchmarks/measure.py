"""What the subjects share: rows of the table, CPU time, medians, and a source of tokens that costs nearly nothing."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from itertools import repeat

from mellea_like import Finished
from mellea_like.events import Said

TOKEN = "token "


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure: what it may be at most (or at least), and what it was compared with in the same run."""

    name: str
    figure: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None
    against: str = ""

    @property
    def ok(self) -> bool | None:
        """Whether the target is met, None where there is none."""
        if self.at_most is not None:
            return self.figure <= self.at_most
        return None if self.at_least is None else self.figure >= self.at_least


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much is measured: `rounds` of which the median counts, and `scale` for the size of each."""

    rounds: int
    scale: float

    def size(self, full: int) -> int:
        """Scale a number of items or calls."""
        return max(2, round(full * self.scale))

    def median(self, measured: Callable[[], float]) -> float:
        """Measure once to warm up, then `rounds` times, and return the median."""
        measured()
        return statistics.median(measured() for _ in range(self.rounds))


def cpu(work: Callable[[], object]) -> float:
    """Return the CPU seconds that `work` takes in all threads of this process, the library's own included."""
    gc.collect()
    began = time.process_time()
    work()
    return time.process_time() - began


async def acpu(work: Callable[[], Awaitable[object]]) -> float:
    """Return the CPU seconds of `await work()`; see `cpu`."""
    gc.collect()
    began = time.process_time()
    await work()
    return time.process_time() - began


async def said(words: Iterable[str]) -> AsyncGenerator[Said, None]:
    """Say the words as fast as they are taken."""
    for word in words:
        yield word
    yield Finished()


def tokens(count: int) -> AsyncGenerator[Said, None]:
    """Say `count` tokens as fast as they are taken."""
    return said(repeat(TOKEN, count))
