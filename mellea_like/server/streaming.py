"""Streams over HTTP: events in batches, frames to the client, and a client that leaves is noticed at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from typing import Any, TypeVar

import anyio
from starlette.responses import Response
from starlette.types import Message as ASGIMessage
from starlette.types import Receive, Scope, Send

from ..encoding import Encoder
from ..events import Event
from ..readers import NOTHING, Nothing, Reader
from ..thunk import ModelOutputThunk

R = TypeVar("R")

_MOST = 256
"""Events that go out at once: what a reader that came late is given in one piece."""


class Batches(Reader[list[Event]]):
    """All events that are there, in one list; after the event `after`. What comes in one burst goes out as one."""

    __slots__ = ()

    def __init__(self, thunk: ModelOutputThunk[Any], *, after: int = -1) -> None:
        super().__init__(thunk._log, thunk._mark_delivered)
        self._position = after + 1

    def _take(self) -> list[Event] | Nothing:
        log, begin = self._log, self._position
        end = min(len(log), begin + _MOST)
        if begin >= end:
            return NOTHING
        self._position = end
        return [log.event(i) for i in range(begin, end)]

    def _error(self) -> None:
        return None


async def gone(receive: Receive) -> None:
    """Wait until the client has left; its body must have been read."""
    message: ASGIMessage = {}
    while message.get("type") != "http.disconnect":
        message = await receive()


async def unless_gone(receive: Receive, work: Callable[[], Awaitable[R]]) -> R | None:
    """Do some work; stop it and return None when the client leaves before it is done."""
    doing, leaving = asyncio.ensure_future(work()), asyncio.ensure_future(gone(receive))
    try:
        await asyncio.wait({doing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return doing.result() if doing.done() else None
    finally:
        doing.cancel()
        leaving.cancel()
        await asyncio.wait({doing, leaving})
        if not doing.cancelled():
            doing.exception()  # it may have failed while it was being stopped, which nobody is to be told


async def with_pings(items: AsyncIterator[R], every: float) -> AsyncGenerator[R | None, None]:
    """Give the items, and None after every `every` seconds in which there was none."""
    while True:
        try:
            async with asyncio.timeout(every):
                item: R | None = await anext(items)
        except TimeoutError:
            item = None
        except StopAsyncIteration:
            return
        yield item


async def encoded(
    batches: AsyncGenerator[list[Event] | None, None],
    encoder: Encoder,
    *,
    number: Callable[[int], int],
    begun: Sequence[Event] = (),
) -> AsyncGenerator[bytes, None]:
    """Give the frames of events, of those that have `begun` first, and what keeps a stream alive for None.

    `number` makes an event's id of its `seq`.
    """

    def frames(events: Sequence[Event]) -> bytes:
        return b"".join([encoder.encode(event, number(event.seq)) for event in events])

    async with aclosing(batches):
        yield encoder.begin() + frames(begun)
        async for batch in batches:
            yield encoder.keep_alive() if batch is None else frames(batch)
    yield encoder.end()


class FrameStream(Response):
    """A response whose body is frames as they come. When the client leaves, `frames` is closed at once.

    Starlette's own notices a client that has left when it next has something to send; a model may think for a while.

    Args:
        frames: The body, in pieces.
        media_type: Its content type.
        headers: Further headers.
    """

    def __init__(self, frames: AsyncGenerator[bytes, None], *, media_type: str, headers: Mapping[str, str]) -> None:
        super().__init__(media_type=media_type, headers=dict(headers))
        del self.headers["content-length"]
        self._frames = frames

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream; see ASGI."""
        async with anyio.create_task_group() as group:

            async def watch() -> None:
                await gone(receive)
                group.cancel_scope.cancel()

            group.start_soon(watch)
            async with aclosing(self._frames) as frames:
                frame = await anext(frames, b"")  # first of all: what never began is not ended by closing it either
                with suppress(OSError):  # some servers say so where the client has left
                    await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                    await send({"type": "http.response.body", "body": frame, "more_body": True})
                    async for frame in frames:
                        if frame:
                            await send({"type": "http.response.body", "body": frame, "more_body": True})
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
            group.cancel_scope.cancel()
