"""The wires: from a server's bytes to `async for delta`, beside the clients alone; the server has a process of its own.

CPU per chunk is that of the client's process, all threads, over what a call of one chunk costs. Rivals take turns.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from measure import Effort, Row, acpu
from wire_clients import (
    Ours,
    Server,
    Stream,
    httpx_stream,
    huggingface_stream,
    ollama_stream,
    openai_stream,
    room_for_sockets,
)
from wire_server import text

CHUNKS = 8_000
SHORT, LONG = 2_000, 32_000


# --- who reads ------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def openai_rivals(address: str) -> AsyncIterator[dict[str, Stream]]:
    """Open all that reads chat completions; the client's aiohttp transport only where aiohttp is installed."""
    import httpx2
    import openai

    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        ours = await enter(Ours("openai", f"{address}/v1"))
        client = await enter(openai.AsyncOpenAI(api_key="none", base_url=f"{address}/v1", max_retries=0, timeout=None))
        raw = await enter(httpx2.AsyncClient(timeout=None, limits=httpx2.Limits(max_connections=None)))
        rivals = {"ours": ours.stream, "openai": openai_stream(client), "httpx2": httpx_stream(raw, address)}
        try:
            transport: Any = openai.DefaultAioHttpClient()
        except RuntimeError:  # what it raises where aiohttp is missing
            pass
        else:
            other = openai.AsyncOpenAI(
                api_key="none", base_url=f"{address}/v1", max_retries=0, timeout=None, http_client=transport
            )
            rivals["openai, aiohttp"] = openai_stream(await enter(other))
            rivals["ours, aiohttp"] = (await enter(Ours("openai", f"{address}/v1", transport="aiohttp"))).stream
        yield rivals


@asynccontextmanager
async def ollama_rivals(address: str) -> AsyncIterator[dict[str, Stream]]:
    """Open all that reads Ollama's chat."""
    import ollama

    client = ollama.AsyncClient(host=address)
    try:
        async with Ours("ollama", address) as ours:
            yield {"ours": ours.stream, "ollama": ollama_stream(client)}
    finally:
        await client.close()


@asynccontextmanager
async def huggingface_rivals(address: str) -> AsyncIterator[dict[str, Stream]]:
    """Open all that reads chat completions for Hugging Face."""
    from huggingface_hub import AsyncInferenceClient

    async with (
        Ours("huggingface", f"{address}/v1") as ours,
        AsyncInferenceClient(base_url=f"{address}/v1", api_key="none") as client,
    ):
        yield {"ours": ours.stream, "huggingface_hub": huggingface_stream(client)}


# --- figures --------------------------------------------------------------------------------------------------------


async def read(stream: Stream, count: int, how: str) -> float:
    """Return the CPU seconds of one stream."""

    async def once() -> None:
        size, whole = await stream(count, how), len(text(count))
        assert size == whole, f"{size} characters came of {whole}"

    return await acpu(once)


async def fixed(stream: Stream, how: str, calls: int) -> float:
    """Return the CPU seconds of a call of one chunk."""

    async def several() -> None:
        for _ in range(calls):
            await stream(1, how)

    return await acpu(several) / calls


async def per_chunk(stream: Stream, count: int, how: str) -> float:
    """Return the CPU microseconds per chunk, without what the call itself costs."""
    once = await fixed(stream, how, 3)
    return (await read(stream, count, how) - once) / (count - 1) * 1e6


async def in_turns(rivals: dict[str, Stream], rounds: int, count: int, how: str) -> dict[str, list[float]]:
    """Measure each rival's CPU per chunk once a round, after a round that does not count."""
    found: dict[str, list[float]] = {name: [] for name in rivals}
    for i in range(rounds + 1):
        for name, stream in rivals.items():
            figure = await per_chunk(stream, count, how)
            if i:
                found[name].append(figure)
    return found


def ratio(ours: list[float], theirs: list[float]) -> float:
    """Return the median of the rounds' ratios."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def compared(
    found: dict[str, list[float]], label: str, against: str, at_most: float | None = None, unit: str = "us CPU"
) -> Iterator[Row]:
    """Write each rival's median, and the ratio of ours to one of them."""
    for name, figures in found.items():
        yield Row(name=f"{label}, {name}", figure=statistics.median(figures), unit=unit)
    figure = ratio(found["ours"], found[against])
    yield Row(name=f"{label}, ratio", figure=figure, unit="times", at_most=at_most, against=f"`{against}` alone")


# --- measures -------------------------------------------------------------------------------------------------------


def openai_burst(effort: Effort) -> Iterator[Row]:
    """CPU per chunk of chat completions that come as fast as they can, and its growth."""
    count = effort.size(CHUNKS)

    async def measured(address: str) -> list[Row]:
        async with openai_rivals(address) as rivals:
            found = await in_turns(rivals, effort.rounds, count, "burst")
            rows = list(compared(found, "chunk, burst", "openai", 0.15))
            if "ours, aiohttp" in found:
                figure = ratio(found["ours, aiohttp"], found["openai, aiohttp"])
                against = "openai, aiohttp"
                rows.append(
                    Row(
                        name="chunk, burst, ours over aiohttp",
                        figure=figure,
                        unit="times",
                        at_most=0.11,
                        against=against,
                    )
                )
            found = await in_turns(rivals, min(effort.rounds, 3), count, "packed")
            rows += compared(found, "chunk, burst, 64 to an HTTP chunk", "openai")
            ours = rivals["ours"]
            growth = []
            for _ in range(min(effort.rounds, 5)):
                short = statistics.fmean([await per_chunk(ours, SHORT, "burst") for _ in range(effort.size(6))])
                growth.append(await per_chunk(ours, LONG, "burst") / short)
            figure, against = statistics.median(growth), "2,000 chunks: 32,000"
            rows.append(Row(name="chunk, growth, ours", figure=figure, unit="times", at_most=1.1, against=against))
            return rows

    with Server() as server:
        yield from asyncio.run(measured(server.address))


def ollama_burst(effort: Effort) -> Iterator[Row]:
    """CPU per line of Ollama's chat, coming as fast as it can."""
    count = effort.size(CHUNKS)

    async def measured(address: str) -> dict[str, list[float]]:
        async with ollama_rivals(address) as rivals:
            return await in_turns(rivals, effort.rounds, count, "burst")

    with Server() as server:
        yield from compared(asyncio.run(measured(server.address)), "line, burst", "ollama", 1.0)


def huggingface_burst(effort: Effort) -> Iterator[Row]:
    """CPU per chunk of chat completions through Hugging Face's client, coming as fast as they can."""
    count = effort.size(CHUNKS)

    async def measured(address: str) -> dict[str, list[float]]:
        async with huggingface_rivals(address) as rivals:
            return await in_turns(rivals, effort.rounds, count, "burst")

    with Server() as server:
        yield from compared(asyncio.run(measured(server.address)), "chunk, burst", "huggingface_hub")


def openai_paced(effort: Effort) -> Iterator[Row]:
    """CPU per chunk of chat completions that come one each millisecond."""
    count = effort.size(1_000)

    async def measured(address: str) -> dict[str, list[float]]:
        async with openai_rivals(address) as rivals:
            return await in_turns(rivals, min(effort.rounds, 3), count, "paced")

    with Server() as server:
        yield from compared(asyncio.run(measured(server.address)), "chunk, 1,000/s", "openai")


def one_call(effort: Effort) -> Iterator[Row]:
    """CPU of a call of one chunk: what does not depend on the length."""
    calls = effort.size(40)

    async def measured(address: str) -> dict[str, list[float]]:
        async with openai_rivals(address) as rivals:
            found: dict[str, list[float]] = {name: [] for name in rivals}
            for i in range(effort.rounds + 1):
                for name, stream in rivals.items():
                    figure = await fixed(stream, "burst", calls) * 1e3
                    if i:
                        found[name].append(figure)
            return found

    with Server() as server:
        yield from compared(asyncio.run(measured(server.address)), "call of one chunk", "openai", unit="ms CPU")


async def at_once(stream: Stream, streams: int, count: int) -> float:
    """Read so many streams of `count` chunks at once; return the seconds that they took."""
    gc.collect()
    began = time.perf_counter()
    sizes = await asyncio.gather(*(stream(count, "burst") for _ in range(streams)))
    took = time.perf_counter() - began
    assert set(sizes) == {len(text(count))}
    return took


def together(effort: Effort) -> Iterator[Row]:
    """Two hundred and a thousand streams of 50 chunks at once."""
    count = 50

    async def measured(address: str, streams: int) -> dict[str, list[float]]:
        async with openai_rivals(address) as rivals:
            found: dict[str, list[float]] = {name: [] for name in ("ours", "openai")}
            for i in range(min(effort.rounds, 3) + 1):
                for name, rates in found.items():
                    rate = streams * count / await at_once(rivals[name], streams, count)
                    if i:
                        rates.append(rate)
            return found

    room_for_sockets()
    for streams in (200, 1_000):
        with Server() as server:
            found = asyncio.run(measured(server.address, streams))
            yield from compared(found, f"{streams:,} streams of {count}", "openai", unit="chunks/s")


def kept(effort: Effort) -> Iterator[Row]:
    """What a thousand streams of 50 chunks at once take at most, and what they leave; the process's Python objects."""
    streams, count = effort.size(1_000), 50

    async def thunks(ours: Ours) -> list[Any]:
        begun = await asyncio.gather(*(ours.begun(count, "burst") for _ in range(streams)))
        return list(await asyncio.gather(*(thunk for thunk in begun)))

    def traced() -> int:
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    async def peak(stream: Stream) -> float:
        before = traced()
        tracemalloc.reset_peak()
        await at_once(stream, streams, count)
        return (tracemalloc.get_traced_memory()[1] - before) / 1e6

    async def measured(address: str) -> list[Row]:
        async with openai_rivals(address) as rivals, Ours("openai", f"{address}/v1") as ours:
            pair = {name: rivals[name] for name in ("ours", "openai")}
            for stream in pair.values():
                await at_once(stream, streams, count)  # pools and caches are filled once
            await thunks(ours)
            tracemalloc.start()
            try:
                peaks = {name: [await peak(stream)] for name, stream in pair.items()}
                before = traced()
                finished = await thunks(ours)
                held = traced()
                del finished
                await asyncio.sleep(0.1)  # the loop lets go of its own handles a turn later
                left = traced()
            finally:
                tracemalloc.stop()
            return [
                *compared(peaks, f"{streams:,} streams of {count}, most memory", "openai", unit="MB"),
                Row(name=f"finished thunk of {count} chunks", figure=(held - left) / streams / 1e3, unit="kB"),
                Row(name="left of it when it is let go", figure=(left - before) / streams / 1e3, unit="kB"),
            ]

    room_for_sockets()
    with Server() as server:
        yield from asyncio.run(measured(server.address))


def stop(effort: Effort) -> Iterator[Row]:
    """Time until the server sees the connection closed: after `cancel()`, and after the last reference is gone."""

    async def cancelled(ours: Ours, server: Server) -> float:
        thunk = await ours.begun(60_000, "paced")
        await anext(aiter(thunk))
        asked = time.monotonic()
        thunk.cancel()
        return (await server.closing() - asked) * 1e3

    async def dropped(ours: Ours, server: Server) -> float:
        thunk = await ours.begun(60_000, "paced")
        await anext(aiter(thunk))
        asked = time.monotonic()
        del thunk
        return (await server.closing() - asked) * 1e3

    async def measured(provider: str, path: str) -> list[Row]:
        with Server() as server:
            async with Ours(provider, server.address + path) as ours:
                rows = []
                for name, once in (("cancel()", cancelled), ("dropped reference", dropped)):
                    times = [await once(ours, server) for _ in range(effort.size(40) + 1)][1:]
                    label = f"{name} to the closed connection, {provider}"
                    against = f"longest {max(times):.3g} ms"
                    figure = statistics.median(times)
                    rows.append(Row(name=label, figure=figure, unit="ms", at_most=50, against=against))
                return rows

    for provider, path in (("openai", "/v1"), ("ollama", "")):
        yield from asyncio.run(measured(provider, path))


MEASURES = (openai_burst, ollama_burst, huggingface_burst, openai_paced, one_call, together, kept, stop)
