"""How a peer is measured on the wire, in its own process (`answering.py`): `peer_runner.py NAME ADDRESS PACKAGE …`."""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from answering import Measure, answer
from peer_readers import OPENINGS, Readers
from wire_clients import Stream
from wire_server import text


async def whole(reading: Stream, count: int, how: str) -> None:
    """Read one answer; all of it must have come."""
    size = await reading(count, how)
    assert size == len(text(count)), f"{size} characters came of {len(text(count))}"


async def effort(reading: Stream, count: int, how: str, calls: int = 1) -> float:
    """Return the CPU seconds, of all threads, of a call."""
    gc.collect()
    began = time.process_time()
    for _ in range(calls):
        await whole(reading, count, how)
    return (time.process_time() - began) / calls


def per_chunk(readers: Readers) -> Measure:
    """CPU microseconds per chunk, without what a call of one chunk costs."""

    async def measured(count: int, how: str) -> float:
        once = await effort(readers.stream, 1, how, 5)
        return (await effort(readers.stream, count, how) - once) / (count - 1) * 1e6

    return measured


def per_call(readers: Readers) -> Measure:
    """CPU milliseconds of a stream of one chunk."""

    async def measured(calls: int) -> float:
        return await effort(readers.stream, 1, "burst", calls) * 1e3

    return measured


def rate(reading: Stream | None) -> Measure:
    """Answers per second, so many at once."""

    async def measured(calls: int, count: int) -> float:
        assert reading is not None, "not measured"
        gc.collect()
        began = time.perf_counter()
        await asyncio.gather(*(whole(reading, count, "burst") for _ in range(calls)))
        return calls / (time.perf_counter() - began)

    return measured


async def memory() -> float:
    """Return the most memory that this process has held, in MB."""
    return most_memory()


def most_memory() -> float:
    try:
        # Not `ru_maxrss` first: on Linux a new process inherits its parent's.
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6
    except OSError:
        import resource

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most / 1e6 if sys.platform == "darwin" else most * 1024 / 1e6


@asynccontextmanager
async def opened(name: str, address: str) -> AsyncIterator[Mapping[str, Measure]]:
    """Open the peer, and let it read once."""
    async with OPENINGS[name](address) as readers:
        await whole(readers.stream, 200, "burst")
        await whole(readers.stream, 20, "paced")
        yield {
            "chunk": per_chunk(readers),
            "call": per_call(readers),
            "streams": rate(readers.stream),
            "calls": rate(readers.call),
            "memory": memory,
        }


def main() -> None:
    """Answer for the peer that the command line names."""
    name, address, *packages = sys.argv[1:]
    answer(lambda: opened(name, address), packages)


if __name__ == "__main__":
    main()
