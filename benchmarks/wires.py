"""The wires: from a server's bytes to `async for delta`, beside the clients alone; the server has a process of its own.

CPU per chunk is that of the client's process, all threads, over what a call of one chunk costs. Rivals take turns.
"""

from __future__ import annotations

import asyncio
import gc
import json
import queue
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Self

from measure import Effort, Row, acpu

from mellea_like import MelleaSession, ModelOption, start_session

Stream = Callable[[int, str], Awaitable[int]]
"""Reads a stream of so many chunks, which come so, and returns how many texts it got."""

CHUNKS = 8_000
SHORT, LONG = 2_000, 32_000
PATIENCE = 5.0
"""Seconds that the server has to start, to see a closed connection, and to end."""


class Server:
    """The other process; leaving the block ends it."""

    def __enter__(self) -> Self:
        program = str(Path(__file__).with_name("wire_server.py"))
        self._process = subprocess.Popen(
            [sys.executable, program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._listening = threading.Thread(target=self._listen, daemon=True)
        self._listening.start()
        self.address = f"http://127.0.0.1:{int(self._lines.get(timeout=PATIENCE))}"
        return self

    def __exit__(self, *failure: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._listening.join()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._lines.put(line)

    async def closing(self) -> float:
        """Wait for the next connection that is closed in the middle of its stream; return when that was."""
        return float(await asyncio.to_thread(self._lines.get, timeout=PATIENCE))


# --- who reads ------------------------------------------------------------------------------------------------------


class Ours:
    """This library, with a session for each way that the chunks come: the model's name says it."""

    def __init__(self, provider: str, address: str) -> None:
        self._provider, self._address = provider, address
        self._sessions: dict[str, MelleaSession] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *failure: object) -> None:
        for session in self._sessions.values():
            await session.aclose()

    async def begun(self, count: int, how: str) -> Any:
        """Return a running thunk."""
        if (m := self._sessions.get(how)) is None:
            m = self._sessions[how] = start_session(f"{self._provider}:{how}", base_url=self._address)
        options = {ModelOption.MAX_NEW_TOKENS: count}
        return await m.ainstruct("Say something.", model_options=options, await_result=False)

    async def stream(self, count: int, how: str) -> int:
        texts = 0
        async for delta in await self.begun(count, how):
            texts += bool(delta)
        return texts


def openai_stream(client: Any) -> Stream:
    """Read with the `openai` client alone."""

    async def stream(count: int, how: str) -> int:
        texts = 0
        chunks = await client.chat.completions.create(
            model=how,
            messages=[{"role": "user", "content": "Say something."}],
            max_tokens=count,
            stream=True,
            stream_options={"include_usage": True},
        )
        async for chunk in chunks:
            if chunk.choices and chunk.choices[0].delta.content:
                texts += 1
        return texts

    return stream


def httpx_stream(client: Any, address: str) -> Stream:
    """Read with httpx2 alone: bytes, split at the events' ends, and `json`."""

    async def stream(count: int, how: str) -> int:
        texts, rest = 0, b""
        body = {"model": how, "messages": [{"role": "user", "content": "Say something."}], "max_tokens": count}
        async with client.stream("POST", f"{address}/v1/chat/completions", json={**body, "stream": True}) as response:
            async for data in response.aiter_bytes():
                *events, rest = (rest + data).split(b"\n\n")
                for event in events:
                    if event != b"data: [DONE]":
                        choices = json.loads(event[6:])["choices"]
                        texts += bool(choices and choices[0]["delta"].get("content"))
        return texts

    return stream


def ollama_stream(client: Any) -> Stream:
    """Read with the `ollama` client alone."""

    async def stream(count: int, how: str) -> int:
        texts = 0
        messages = [{"role": "user", "content": "Say something."}]
        async for part in await client.chat(model=how, messages=messages, stream=True, options={"num_predict": count}):
            texts += bool(part.message.content)
        return texts

    return stream


@asynccontextmanager
async def openai_rivals(address: str) -> AsyncIterator[dict[str, Stream]]:
    """Open all that reads chat completions; the client's aiohttp transport only where aiohttp is installed."""
    import httpx2
    import openai

    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        ours = await enter(Ours("openai", f"{address}/v1"))
        client = await enter(openai.AsyncOpenAI(api_key="none", base_url=f"{address}/v1", max_retries=0))
        raw = await enter(httpx2.AsyncClient(timeout=None))
        rivals = {"ours": ours.stream, "openai": openai_stream(client), "httpx2": httpx_stream(raw, address)}
        try:
            transport: Any = openai.DefaultAioHttpClient()
        except RuntimeError:  # what it raises where aiohttp is missing
            pass
        else:
            other = openai.AsyncOpenAI(api_key="none", base_url=f"{address}/v1", max_retries=0, http_client=transport)
            rivals["openai, aiohttp"] = openai_stream(await enter(other))
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


# --- figures --------------------------------------------------------------------------------------------------------


async def read(stream: Stream, count: int, how: str) -> float:
    """Return the CPU seconds of one stream."""

    async def whole() -> None:
        texts = await stream(count, how)
        assert texts == count, f"{texts} texts came of {count}"

    return await acpu(whole)


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
            rows = list(compared(await in_turns(rivals, effort.rounds, count, "burst"), "chunk, burst", "openai", 0.15))
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


def together(effort: Effort) -> Iterator[Row]:
    """Two hundred streams of 50 chunks at once."""
    streams, count = 200, 50

    async def rate(stream: Stream) -> float:
        gc.collect()
        began = time.perf_counter()
        texts = sum(await asyncio.gather(*(stream(count, "burst") for _ in range(streams))))
        assert texts == streams * count
        return texts / (time.perf_counter() - began)

    async def measured(address: str) -> dict[str, list[float]]:
        async with openai_rivals(address) as rivals:
            pair = {name: rivals[name] for name in ("ours", "openai")}
            took = [
                {name: await rate(stream) for name, stream in pair.items()} for _ in range(min(effort.rounds, 3) + 1)
            ]
            return {name: [figures[name] for figures in took[1:]] for name in pair}

    with Server() as server:
        yield from compared(asyncio.run(measured(server.address)), "200 streams of 50", "openai", unit="chunks/s")


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


MEASURES = (openai_burst, ollama_burst, openai_paced, one_call, together, stop)
