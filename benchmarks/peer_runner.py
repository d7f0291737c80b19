"""One peer in a process of its own, measured as its standard input asks: `peer_runner.py NAME ADDRESS PACKAGE …`.

Each line in is a JSON object, `{"do": …}` with the arguments of one of the measures below; each line out is
`{"figure": …}`, or `{"error": …}` with the reason. The first line out holds the versions. It ends when its input does.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import platform
import sys
import time
from collections.abc import Awaitable, Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from peer_readers import OPENINGS, Readers
from wire_clients import Stream
from wire_server import text

Measure = Callable[..., Awaitable[float]]


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


def found(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


async def serve(name: str, address: str, packages: list[str], say: Callable[[dict[str, Any]], None]) -> None:
    """Open the peer, then measure whatever is asked."""
    async with OPENINGS[name](address) as readers:
        measures: dict[str, Measure] = {
            "chunk": per_chunk(readers),
            "call": per_call(readers),
            "streams": rate(readers.stream),
            "calls": rate(readers.call),
            "memory": memory,
        }
        await whole(readers.stream, 200, "burst")
        await whole(readers.stream, 20, "paced")
        say({"python": platform.python_version(), "versions": {package: found(package) for package in packages}})
        # The loop stands still while this process waits for its turn: nothing of it may run in the others' turns.
        for line in sys.stdin:
            asked = json.loads(line)
            try:
                say({"figure": await measures[asked.pop("do")](**asked)})
            except Exception as error:  # whatever a peer raises is what its cell says
                say({"error": reason(error)})


def reason(error: BaseException) -> str:
    """Say in a line what went wrong."""
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words}"[:160]


def main() -> None:
    """Keep standard output for the answers: peers print on it."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(answer: dict[str, Any]) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    name, address, *packages = sys.argv[1:]
    try:
        asyncio.run(serve(name, address, packages, say))
    except Exception as error:  # a peer that cannot be imported or opened says so in its row
        say({"error": reason(error)})


if __name__ == "__main__":
    main()
