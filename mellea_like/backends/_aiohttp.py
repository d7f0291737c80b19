"""aiohttp in httpx2's place: its parser is in C, and gives what came together as one piece. Needs the extra `aiohttp`.

The `openai` package has a transport like this one. This one says what happened in httpx2's words, gives the text that
came before a broken connection, and is quiet where a session is not closed.
"""

from __future__ import annotations

import asyncio
import os
import urllib.request
import weakref
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import aiohttp
import httpx2
from yarl import URL

_NONE: Any = None
"""Takes back the error that is set on a stream; the package's types do not say so."""

_KEPT = 5.0
"""Seconds that an idle connection is kept: as long as httpx2 does."""


class AiohttpTransport(httpx2.AsyncBaseTransport):
    """Sends requests through one `aiohttp.ClientSession`, made for the first of them, on its event loop."""

    def __init__(self) -> None:
        self._secure = httpx2.create_ssl_context()
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request; the body of its response comes as it is read."""
        if self._session is None:
            self._session = _session(self._secure)
            self._abandoned = weakref.finalize(self, _abandon, self._session, asyncio.get_running_loop(), os.getpid())
        body = await request.aread()
        with _in_httpx_words():
            response = await self._session.request(
                request.method,
                URL(str(request.url), encoded=True),
                headers=request.headers.multi_items(),
                data=body or None,
                allow_redirects=False,  # the client follows them
                timeout=aiohttp.ClientTimeout(connect=request.extensions.get("timeout", {}).get("connect")),
            )
        return httpx2.Response(response.status, headers=response.raw_headers, stream=_Body(response), request=request)

    async def aclose(self) -> None:
        """Close the session and its connections."""
        if self._session is not None:
            self._abandoned.detach()
            await self._session.close()


class _Body(httpx2.AsyncByteStream):
    """What a response says, in the pieces in which it came."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncGenerator[bytes, None]:
        content = self._response.content
        with _in_httpx_words():
            try:
                while piece := await content.readany():
                    yield piece
            except (aiohttp.ClientError, OSError):
                # The error stands before what came ahead of it and was not yet read.
                content.set_exception(_NONE)
                if piece := content.read_nowait():
                    yield piece
                raise

    async def aclose(self) -> None:
        self._response.close()


class _Connector(aiohttp.TCPConnector):
    """Connections, which `_abandon` closes: nothing is to be said about that."""

    def __del__(self, _warnings: Any = None) -> None:
        pass


def _session(secure: Any) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        # How many calls run at once is limited elsewhere.
        connector=_Connector(ssl=secure, limit=0, keepalive_timeout=_KEPT),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,  # httpx2 does it
        trust_env=bool(urllib.request.getproxies()),  # looked up at each request, in a thread
    )


def _abandon(session: aiohttp.ClientSession, loop: asyncio.AbstractEventLoop, pid: int) -> None:
    """Close the connections of a session that nobody has closed; this may run anywhere, so it only schedules."""
    connector = session.connector
    session.detach()
    if connector is not None and os.getpid() == pid:  # else they are the parent's, where this is a fork
        with suppress(RuntimeError):  # the loop is closed: the interpreter is leaving
            loop.call_soon_threadsafe(_close, connector, loop)


def _close(connector: aiohttp.BaseConnector, loop: asyncio.AbstractEventLoop) -> None:
    async def close() -> None:
        await connector.close()

    _closing.add(task := loop.create_task(close()))
    task.add_done_callback(_closing.discard)


_closing: set[asyncio.Task[None]] = set()
"""Held, because a loop holds its tasks weakly."""


@contextmanager
def _in_httpx_words() -> Iterator[None]:
    """Raise aiohttp's errors as those of httpx2 that mean the same, which have them as their cause."""
    try:
        yield
    except (aiohttp.ClientError, OSError, ValueError) as error:
        twin = _meaning(error)(str(error))
        raise twin from error


def _meaning(error: Exception) -> type[httpx2.TransportError]:
    match error:
        case aiohttp.ConnectionTimeoutError():
            return httpx2.ConnectTimeout
        case aiohttp.ClientConnectorError():
            return httpx2.ConnectError
        case aiohttp.ClientPayloadError() | aiohttp.ClientConnectionError() | OSError():
            return httpx2.ReadError
        case ValueError():  # an address or a header that cannot be written
            return httpx2.LocalProtocolError
    return httpx2.RemoteProtocolError
