"""What is measured of a library's graphs, in its own process (`answering.py`): `graph_runner.py NAME PACKAGE …`.

Every measure checks that all of the work was done: that each node ran, and all text came.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import cache
from itertools import repeat
from typing import Any

from answering import Absent, Measure, answer
from graph_builders import OPENINGS, Graphs, Reading, Run
from measure import TOKEN, acpu

Making = Callable[[Iterable[str]], Reading]


async def token(making: Making, count: int) -> float:
    """CPU microseconds per token, from a source that never waits to the reader."""
    reading = making(repeat(TOKEN, count))

    async def read() -> None:
        size = 0
        async for shown in reading.begin():
            size += len(reading.text(shown))
        assert size == count * len(TOKEN), f"{size} characters came of {count * len(TOKEN)}"

    return await acpu(read) / count * 1e6


async def nodes(run: Run, count: int, runs: int = 1) -> float:
    """Wall milliseconds per node of a graph that runs so often at once."""
    gc.collect()
    began = time.perf_counter()
    ran = sum(await asyncio.gather(*(run() for _ in range(runs))))
    took = time.perf_counter() - began
    assert ran == count * runs, f"{ran} nodes ran of {count * runs}"
    return took / ran * 1e3


async def unread(making: Making, count: int) -> float:
    """Bytes per token, its text included, that a run holds whose reader has read one and then reads no more."""
    loop, said = asyncio.get_running_loop(), asyncio.Event()

    def words() -> Iterable[str]:
        for i in range(count):
            yield f"{i} "
        loop.call_soon_threadsafe(said.set)  # sources speak in threads, too

    reading = making(words())
    gc.collect()
    tracemalloc.start()
    try:
        reader: Any = aiter(reading.begin())
        while not reading.text(await anext(reader)):
            pass
        await said.wait()
        held = await _settled()
    finally:
        tracemalloc.stop()
    await reader.aclose()
    return held / count


async def _settled() -> int:
    """Return what is held once that no longer changes: the last tokens may be on their way."""
    before, held = -1, 0
    while abs(held - before) > held / 1000:
        await asyncio.sleep(0.2)
        gc.collect()
        before, held = held, tracemalloc.get_traced_memory()[0]
    return held


def measures(graphs: Graphs) -> dict[str, Measure]:
    """Give the measures of a library; a graph of nodes is made once, and not in the time that is measured."""
    chain, step = cache(graphs.chain), cache(graphs.step)
    ways: dict[str, Making] = {"model": graphs.model, "node": graphs.node, "prompt": graphs.prompt}
    return {
        "token": lambda how, count: token(ways[how], count),
        "chain": lambda work, count, runs=1: nodes(chain(work, count), count, runs),
        "step": lambda work, count: nodes(step(work, count), count),
        "unread": lambda how, count: unread(ways[how], count),
    }


@asynccontextmanager
async def opened(name: str) -> AsyncIterator[Mapping[str, Measure]]:
    """Open the library, and let it do once what it can."""
    graphs = OPENINGS[name]()
    await nodes(graphs.chain("plain", 2), 2)
    for making in (graphs.model, graphs.node, graphs.prompt):
        with suppress(Absent):
            await token(making, 100)
    yield measures(graphs)


def main() -> None:
    """Answer for the library that the command line names."""
    name, *packages = sys.argv[1:]
    answer(lambda: opened(name), packages)


if __name__ == "__main__":
    main()
