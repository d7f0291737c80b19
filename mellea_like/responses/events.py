"""A response that sends a stream of events, and stops it when its reader goes away. Only this file imports Starlette.

Starlette's own response sends the bytes; what is added is what a long, often silent stream needs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Mapping
from typing import Any, Protocol, runtime_checkable

from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from ..encoding import Encoder, is_failure, number_of
from ..telemetry.telling import logger
from ..waiting import EAGER

_AT_ONCE = 0.2
"""Seconds in which a finished stream certainly says that nothing is left of it."""


@runtime_checkable
class _Closable(Protocol):
    async def aclose(self) -> None: ...


class Sending:
    """One stream on its way to one reader, as frames.

    Args:
        events: The stream.
        encoder: Its wire format.
        seen: The number of what the reader has had already; None for nothing.
    """

    def __init__(self, events: AsyncIterable[Any], encoder: Encoder, *, seen: int | None = None) -> None:
        self._events = events
        self._encoder = encoder.fresh()
        self._seen = -1 if seen is None else seen
        self.resumed = seen is not None
        self.keep_alive = encoder.keep_alive()

    async def frames(self) -> AsyncGenerator[bytes, None]:
        """Give the frames; none at all where the reader has had everything."""
        encoder, seen, prefix = self._encoder, self._seen, self._encoder.begin()
        number, count, sent, failed = -1, 0, False, False
        try:
            async for said in self._events:
                number = number_of(said, count)
                count += 1
                failed = is_failure(said)
                if not count % EAGER:
                    await asyncio.sleep(0)
                if number > seen and (frame := encoder.encode(said, number)):
                    sent = True
                    yield prefix + frame if prefix else frame
                    prefix = b""
        except Exception as error:  # whatever the source raises, the reader is told, and the log of the server
            logger.error("A stream broke off after %d events: %s", count, type(error).__name__, exc_info=error)
            if not failed and number + 1 > seen:
                sent = True
                yield prefix + encoder.fail(error, number + 1)
                prefix = b""
        if (sent or not self.resumed) and (last := prefix + encoder.end()):
            yield last

    async def aclose(self) -> None:
        """Close the stream, or let go of it."""
        events: object = self._events
        self._events = _nothing()
        if isinstance(events, _Closable):
            await events.aclose()


async def _nothing() -> AsyncIterator[Any]:
    return
    yield


class EventResponse(StreamingResponse):
    """Sends what `sending` gives, until its end or until the reader goes away."""

    def __init__(
        self, sending: Sending, *, ping: float | None, status_code: int, headers: Mapping[str, str] | None
    ) -> None:
        self._frames = sending.frames()
        super().__init__(self._frames, status_code=status_code, headers=headers)
        self._sending = sending
        self._ping = ping
        self._first: asyncio.Future[bytes | None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            if scope.get("method") == "HEAD":  # asks what a GET would answer; it must not start a model
                await self._answer_empty(send)
            elif self._sending.resumed and not await self._anything_left():
                self.status_code = 204
                await self._answer_empty(send)
            else:
                # From version 2.4 on, a send that fails is to tell of a disconnect, and nobody listens for it. A model
                # that thinks for a minute sends nothing.
                earlier = {**scope.get("asgi", {}), "spec_version": "2.3"}
                await super().__call__({**scope, "asgi": earlier}, receive, send)
        finally:
            # Out here, because inside the framework's cancelled scope every further await would be cancelled again.
            await self._close()

    async def _answer_empty(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _anything_left(self) -> bool:
        """Wait for the first frame, for a moment: a stream that has ended says so at once."""
        self._first = asyncio.ensure_future(anext(self._frames, None))
        await asyncio.wait([self._first], timeout=_AT_ONCE)
        self.body_iterator = _joined(self._first, self._frames)
        return not self._first.done() or self._first.result() is not None

    async def _close(self) -> None:
        if self._first is not None and not self._first.done():
            self._first.cancel()
            await asyncio.wait([self._first])
        await self._frames.aclose()
        await self._sending.aclose()

    async def stream_response(self, send: Send) -> None:
        """Send the frames, and a comment whenever nothing was sent for a while."""
        if self._ping is None:
            await super().stream_response(send)
            return
        line = _Line(send)
        pinging = asyncio.create_task(line.keep_alive(self._sending.keep_alive, self._ping))
        try:
            await super().stream_response(line.send)
        finally:
            pinging.add_done_callback(_forget)
            pinging.cancel()


def _forget(pinging: asyncio.Task[None]) -> None:
    """Take note of what a comment failed with: the connection is gone, which the stream itself finds out."""
    if not pinging.cancelled():
        pinging.exception()


async def _joined(first: asyncio.Future[bytes | None], rest: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    frame = await first
    if frame is not None:
        yield frame
        async for frame in rest:
            yield frame


class _Line:
    """A connection that two send on, one message at a time."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._one = asyncio.Lock()
        self._last = time.monotonic()
        self._open = True

    async def send(self, message: Message) -> None:
        async with self._one:
            self._last = time.monotonic()
            self._open = message.get("more_body", True)
            await self._send(message)

    async def keep_alive(self, comment: bytes, ping: float) -> None:
        """Send the comment after every `ping` seconds without any message."""
        while True:
            await asyncio.sleep(self._last + ping - time.monotonic())
            if time.monotonic() - self._last >= ping and self._open:
                await self.send({"type": "http.response.body", "body": comment, "more_body": True})
