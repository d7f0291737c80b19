"""Server-sent events out: the cost of an event, encoded and sent, beside two other responses; and of a disconnect."""

from __future__ import annotations

import asyncio
import socket
import statistics
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterator
from importlib.util import find_spec
from typing import Any

import httpx2
import uvicorn
from measure import Effort, Row, acpu, cpu, tokens
from starlette.responses import Response, StreamingResponse

from mellea_like import Delta, Finished, ModelOutputThunk
from mellea_like.encoding import Encoder
from mellea_like.encoding.sse import SSEEncoder, SSETextEncoder
from mellea_like.events import Event
from mellea_like.graph.events import Place, Token
from mellea_like.responses.adapter import SSEAdapter

PLACE = Place(run_id="0" * 32, node_id="llm", thunk_id="t1", metadata={"step": 1, "model": "m", "provider": "p"})


def encoding(effort: Effort) -> Iterator[Row]:
    """CPU per event that becomes bytes."""
    count = effort.size(20_000)
    deltas: list[Event] = [Delta(text="token ", seq=number, seconds=0.25) for number in range(count)]
    said: list[Event] = [Token(content="token ", place=PLACE, seq=number, seconds=0.25) for number in range(count)]
    cases: dict[str, tuple[Encoder, list[Event]]] = {
        "delta, named": (SSEEncoder(), deltas),
        "delta, text alone": (SSETextEncoder(), deltas),
        "token of a graph, named": (SSEEncoder(), said),
        "token of a graph, text alone": (SSETextEncoder(), said),
    }
    for name, (encoder, events) in cases.items():
        figure = effort.median(lambda e=encoder, s=events: cpu(lambda: [e.encode(one, one.seq) for one in s]))  # type: ignore[misc]
        yield Row(name=f"SSE, encoded: {name}", figure=figure / count * 1e6, unit="us CPU", at_most=5)


# --- sending --------------------------------------------------------------------------------------------------------


async def frames(count: int) -> AsyncGenerator[bytes, None]:
    """Give frames that cost nothing."""
    for _ in range(count):
        yield b"id: 1\nevent: delta\ndata: {}\n\n"


async def words(count: int) -> AsyncGenerator[str, None]:
    """Give text that costs nothing."""
    for _ in range(count):
        yield "token "


async def answered(response: Response) -> None:
    """Call a response as a server does, whose socket takes everything at once."""

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        pass

    await response({"type": "http", "method": "GET", "asgi": {"spec_version": "2.3"}}, receive, send)


def sent(effort: Effort, response: Callable[[int], Response]) -> float:
    """Return the CPU microseconds per event that a response takes."""
    count = effort.size(20_000)

    async def answer() -> None:
        await answered(response(count))

    return effort.median(lambda: asyncio.run(acpu(answer)) / count * 1e6)


def sending(effort: Effort) -> Iterator[Row]:
    """CPU per event from the source to the server's `send`, encoding included where it is ours."""
    bare = sent(effort, lambda count: StreamingResponse(frames(count), media_type="text/event-stream"))
    yield Row(name="SSE, sent: Starlette's response, ready bytes", figure=bare, unit="us CPU")
    adapter, text = SSEAdapter(), SSEAdapter(data_only=True)
    own = sent(effort, lambda count: text.to_streaming_response(words(count)))
    against = f"Starlette's {bare:.2f}"
    if find_spec("sse_starlette"):
        from sse_starlette import EventSourceResponse, ServerSentEvent

        async def events(count: int) -> AsyncGenerator[Any, None]:
            async for word in words(count):
                yield ServerSentEvent(data=word)

        other = sent(effort, lambda count: EventSourceResponse(events(count)))
        yield Row(name="SSE, sent: sse-starlette, text", figure=other, unit="us CPU")
        against += f", sse-starlette {other:.2f}"
    yield Row(name="SSE, sent: SSEAdapter, text", figure=own, unit="us CPU", at_most=8, against=against)
    thunk = sent(effort, lambda count: adapter.to_streaming_response(_started(count)))
    yield Row(name="SSE, sent: SSEAdapter, events of a thunk", figure=thunk, unit="us CPU", at_most=15)


def _started(count: int) -> AsyncIterable[Event]:
    return ModelOutputThunk.start(tokens(count)).events()


# --- leaving --------------------------------------------------------------------------------------------------------


class Talking:
    """A model that says one word and waits; it notes when it is stopped."""

    def __init__(self) -> None:
        self.stopped = threading.Event()
        self.at = 0.0

    async def say(self) -> AsyncGenerator[str | Event, None]:
        try:
            yield "word "
            await asyncio.Event().wait()
            yield Finished()
        finally:
            self.at = time.perf_counter()
            self.stopped.set()


def leaving(effort: Effort) -> Iterator[Row]:
    """Seconds from a client's leaving, over a real socket, until a silent model is stopped."""
    times: list[float] = []
    model = [Talking()]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        stream = ModelOutputThunk.start(model[0].say()).events()
        await SSEAdapter().to_streaming_response(stream)(scope, receive, send)

    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        door.listen()
        address = f"http://127.0.0.1:{door.getsockname()[1]}"
        server = uvicorn.Server(uvicorn.Config(app, lifespan="off", ws="none", log_level="critical"))
        thread = threading.Thread(target=asyncio.run, args=(server.serve([door]),))
        thread.start()
        for _ in range(effort.size(50)):
            model[0] = Talking()
            times.append(asyncio.run(_left(address, model[0])))
        server.should_exit = True
        thread.join()
    name = "SSE, a client leaves until the model is stopped"
    yield Row(name=f"{name}, median", figure=statistics.median(times) * 1e3, unit="ms", at_most=50)
    yield Row(name=f"{name}, slowest of {len(times)}", figure=max(times) * 1e3, unit="ms", at_most=50)


async def _left(address: str, model: Talking) -> float:
    async with httpx2.AsyncClient(trust_env=False) as http, http.stream("GET", address) as response:
        async for line in response.aiter_lines():
            if "word" in line:
                break
        began = time.perf_counter()
    await asyncio.to_thread(model.stopped.wait, 10)
    return model.at - began


MEASURES: tuple[Callable[[Effort], Iterator[Row]], ...] = (encoding, sending, leaving)
