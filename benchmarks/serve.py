"""The server under load: many streams at once, a client that leaves, memory over time.

Run by itself it measures longer: `uv run benchmarks/serve.py --minutes 10`. The server has a process of its own; the
clients read bare sockets, so that most of the machine is the server's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

from measure import Effort, Row

STREAMS, RATE = 200, 50.0
"""Streams at once, and tokens that each is sent in a second."""


def _serve(pipe: Any) -> None:
    """Serve a model that says numbered tokens, in a process of its own; the prompt says how many."""
    from mellea_like import Answer, FakeBackend, MelleaSession, asgi_app
    from mellea_like.server.answering import ModelAnswerer
    from mellea_like.server.limits import ServerLimits
    from mellea_like.server.running import bound_socket, server_of

    class Noted(FakeBackend):
        async def stream(self, request: Any) -> Any:
            self.calls.clear()  # which a script keeps for its test, and ten minutes of them are no leak of the server's
            try:
                async for said in super().stream(request):
                    yield said
            except (asyncio.CancelledError, GeneratorExit):
                pipe.send(time.monotonic())
                raise

    def numbered(request: Any) -> Answer:
        count = int(request.messages[-1].content)
        return Answer([f"{i} " for i in range(count)], delay=1 / RATE)

    bound = bound_socket("127.0.0.1", 0)
    pipe.send(bound.getsockname()[1])
    session = MelleaSession(Noted(answers=numbered), owns_backend=True)
    app = asgi_app(ModelAnswerer(session), limits=ServerLimits(running=STREAMS + 10))
    server_of(app).run(sockets=[bound])


class Server:
    """The server's process, and how to ask it."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        self.port: int = self.pipe.recv()

    async def ask(self, tokens: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Ask for a stream of so many tokens."""
        body = json.dumps({"messages": [{"role": "user", "content": str(tokens)}], "stream": True}).encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        head = "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json"
        writer.write(f"{head}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        return reader, writer

    def cpu(self) -> float:
        """Return the CPU seconds that it has used."""
        fields = self._stat()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> float:
        """Return the megabytes that it holds."""
        return int(self._stat()[21]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    def _stat(self) -> list[str]:
        with open(f"/proc/{self._process.pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.join()


@contextmanager
def serving() -> Iterator[Server]:
    """Serve while the block lasts."""
    server = Server()
    try:
        yield server
    finally:
        server.stop()


async def _read(server: Server, tokens: int) -> list[float]:
    """Read a stream, check that no token is lost or out of order, and return when each came."""
    reader, writer = await server.ask(tokens)
    came: list[float] = []
    async for line in reader:
        if line.startswith(b'data: {"id"') and b'"content":"' in line and b'"role"' not in line:
            number = int(line.partition(b'"content":"')[2].partition(b" ")[0])
            if number != len(came):
                raise SystemExit(f"token {number} came where {len(came)} was due")
            came.append(time.monotonic())
        elif line.startswith(b"data: [DONE]"):
            break
    writer.close()
    if len(came) != tokens:
        raise SystemExit(f"{len(came)} tokens came of {tokens}")
    return came


async def _all(server: Server, seconds: float) -> list[list[float]]:
    return await asyncio.gather(*(_read(server, round(seconds * RATE)) for _ in range(STREAMS)))


def streams(effort: Effort) -> Iterator[Row]:
    """Measure 200 streams of 50 tokens a second: none lost or out of order, and how much later the last comes."""
    seconds = max(2.0, 8.0 * effort.scale)
    with serving() as server:
        asyncio.run(_all(server, 0.2))
        before, began = server.cpu(), time.monotonic()
        came = asyncio.run(_all(server, seconds))
        took, used = time.monotonic() - began, server.cpu() - before
    gaps = sorted(b - a for times in came for a, b in pairwise(times))
    count = sum(map(len, came))
    yield Row(name="serve: 200 streams, tokens a second", figure=count / took, unit="1/s")
    # Of the CPU time itself, which a busy machine does not change: what the full rate would keep busy.
    full = used / count * STREAMS * RATE
    yield Row(name="serve: cores for 200 streams of 50 tokens/s", figure=full, unit="cores", at_most=1.0)
    yield Row(name="serve: 200 streams, p99 between two tokens", figure=1000 * gaps[int(0.99 * len(gaps))], unit="ms")


async def _leave(server: Server) -> float:
    reader, writer = await server.ask(10_000)
    await reader.readuntil(b'"content":"0')
    left = time.monotonic()
    writer.close()
    stopped: float = await asyncio.to_thread(server.pipe.recv)
    return 1000 * (stopped - left)


def leaving(effort: Effort) -> Iterator[Row]:
    """Measure how soon the model is stopped when its client has left."""
    with serving() as server:
        times = [asyncio.run(_leave(server)) for _ in range(effort.size(20))]
    yield Row(name="serve: client leaves, model stopped", figure=statistics.median(times), unit="ms", at_most=50)


def memory(effort: Effort, *, seconds: float | None = None) -> Iterator[Row]:
    """Measure what the server holds more after many streams than after the first of their kind."""
    each = 0.4 if seconds is None else 10.0
    with serving() as server:
        for _ in range(3):
            asyncio.run(_all(server, each))
        first, began, rounds = server.memory(), time.monotonic(), 0
        while (time.monotonic() - began < seconds) if seconds else rounds < effort.size(6):
            asyncio.run(_all(server, each))
            rounds += 1
        grown = server.memory() - first
    took = f"{(time.monotonic() - began) / 60:.1f} min"
    yield Row(
        name="serve: memory grown", figure=grown, unit="MB", at_most=10, against=f"{rounds * STREAMS} streams, {took}"
    )


MEASURES = (streams, leaving, memory)


def main() -> None:
    """Measure by itself, for as long as the command line says."""
    parser = argparse.ArgumentParser(description="Measure the server under load.")
    parser.add_argument("--minutes", type=float, default=0.5, help="how long memory is watched (default: 0.5)")
    seconds = parser.parse_args().minutes * 60
    effort = Effort(rounds=3, scale=1.0)
    for rows in (streams(effort), leaving(effort), memory(effort, seconds=seconds)):
        for row in rows:
            print(f"{row.name}: {row.figure:,.2f} {row.unit} {row.against} {'' if row.ok is not False else 'TOO MUCH'}")


if __name__ == "__main__":
    sys.exit(main())
