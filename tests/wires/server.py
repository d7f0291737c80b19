"""A server that misbehaves on purpose: HTTP/1.1 by script, on loopback, in a thread of its own.

Each request plays the next script: bytes to send, holds that wait for the test, and ways to end. The server counts
connections and requests, and says when a client has gone away. It knows no backend.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Self, TypeAlias

import trustme

PATIENCE = 10.0
"""Seconds after which a wait has failed; no test waits that long unless something hangs."""


class Ending(Enum):
    """How a server can let go of a connection."""

    CLOSE = "close"
    RESET = "reset"


CLOSE, RESET = Ending.CLOSE, Ending.RESET


class Hold:
    """A point in a script where the server waits until the test releases it."""

    def __init__(self) -> None:
        self._reached, self._released = threading.Event(), Future[None]()

    def __repr__(self) -> str:  # the same in every process: names of tests are made of it
        return "Hold()"

    def reached(self) -> bool:
        """Wait until the server stands here."""
        return self._reached.wait(PATIENCE)

    def release(self) -> None:
        """Let the server go on."""
        self._released.set_result(None)

    async def stand(self, gone: asyncio.Future[None]) -> None:
        self._reached.set()
        await asyncio.wait({asyncio.wrap_future(self._released), gone}, return_when=asyncio.FIRST_COMPLETED)


class Flood:
    """One piece, sent again and again until the client goes away."""

    def __init__(self, piece: bytes) -> None:
        self.piece = piece

    def __repr__(self) -> str:
        return "Flood()"


Step: TypeAlias = bytes | Hold | Flood | Ending
Script: TypeAlias = Sequence[Step]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request as it arrived; header names are lower case, `connection` counts from 0."""

    method: str
    path: str
    headers: dict[str, str]
    content: bytes
    connection: int

    @property
    def body(self) -> Any:
        """The body, read as JSON."""
        return json.loads(self.content)


class _Connection(asyncio.Protocol):
    def __init__(self, server: Server) -> None:
        self._server = server
        self._bytes = b""
        self.closed = threading.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asked: asyncio.Queue[Asked] = asyncio.Queue()
        self._room = asyncio.Event()
        self._room.set()
        self._number = len(self._server.connections)
        self._server.connections.append(self)
        self._playing = asyncio.get_running_loop().create_task(self._play())

    def data_received(self, data: bytes) -> None:
        self._bytes += data
        if self._bytes.startswith(b"\x16"):  # a client that speaks TLS: answered as other servers do
            self.transport.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            self.transport.close()
            return
        head, end, content = self._bytes.partition(b"\r\n\r\n")
        if not end:
            return
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if len(content) < (length := int(headers.get("content-length", 0))):
            return
        method, path, _ = first.split(" ")
        self._bytes = content[length:]
        asked = Asked(method=method, path=path, headers=headers, content=content[:length], connection=self._number)
        self._asked.put_nowait(asked)

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone.set_result(None)
        self._playing.cancel()
        self.closed.set()
        self._server.left()

    async def _play(self) -> None:
        while True:
            script = self._server.next_script(await self._asked.get())
            for step in script:
                await self._take(step)

    async def _take(self, step: Step) -> None:
        if isinstance(step, bytes):
            self.transport.write(step)
            await asyncio.sleep(0)
        elif isinstance(step, Hold):
            await step.stand(self._gone)
        elif isinstance(step, Flood):
            while not self._gone.done():
                self.transport.write(step.piece)
                await asyncio.sleep(0)
                await self._room.wait()
        elif step is CLOSE:
            self.transport.close()
        else:
            linger = struct.pack("ii", 1, 0)
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.transport.abort()


@dataclass
class Server:
    """The server; a context manager.

    Args:
        secure: Speak TLS, with a certificate that nobody has signed.
        port: Where to listen; 0 for any free port.
    """

    secure: bool = False
    port: int = 0
    connections: list[_Connection] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._scripts: list[Script] = []
        self._always: Script | Callable[[Asked], Script] | None = None
        self._changed = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="wires server", daemon=True)

    @property
    def url(self) -> str:
        """The server's address, without a path."""
        return f"http{'s' if self.secure else ''}://127.0.0.1:{self.port}"

    def plays(self, *scripts: Script) -> None:
        """Play these scripts, one for each request from now on."""
        self._scripts += scripts

    def always_plays(self, script: Script | Callable[[Asked], Script]) -> None:
        """Play this for every request that no other script is left for."""
        self._always = script

    def next_script(self, asked: Asked) -> Script:
        """Choose what a request gets, and note it."""
        if self._scripts:
            script: Script = self._scripts.pop(0)
        elif self._always is None:
            script = [refusal(599, f"no script is left for {asked}")]
        else:
            script = self._always(asked) if callable(self._always) else self._always
        with self._changed:
            self.asked.append(asked)
            self._changed.notify_all()
        return script

    def left(self) -> None:
        """Note that a connection has ended."""
        with self._changed:
            self._changed.notify_all()

    @property
    def open(self) -> int:
        """How many connections are open."""
        return sum(not connection.closed.is_set() for connection in self.connections)

    def was_asked(self, times: int) -> bool:
        """Wait until so many requests have come."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self.asked) >= times, PATIENCE)

    def all_closed(self) -> bool:
        """Wait until no connection is open; False where one stays."""
        with self._changed:
            return self._changed.wait_for(lambda: not self.open, PATIENCE)

    def all_stopped(self) -> bool:
        """Wait until no connection is open that has been asked something; False where one stays."""

        def stopped() -> bool:
            return all(self.connections[asked.connection].closed.is_set() for asked in self.asked)

        with self._changed:
            return self._changed.wait_for(stopped, PATIENCE)

    def drop_all(self) -> None:
        """Close every connection from the server's side, and wait until they are."""
        for connection in self.connections:
            self._loop.call_soon_threadsafe(connection.transport.abort)
        assert self.all_closed()

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(PATIENCE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.close()

    async def _listen(self) -> None:
        context = None
        if self.secure:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            # Signed by an authority that exists for this moment, and that nobody trusts.
            trustme.CA().issue_cert("127.0.0.1", "localhost").configure_cert(context)
        self._listening = await self._loop.create_server(
            lambda: _Connection(self), "127.0.0.1", self.port, ssl=context, reuse_address=True
        )
        self.port = self._listening.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        self._listening.close()
        for connection in self.connections:
            connection.transport.abort()
        playing = [connection._playing for connection in self.connections]
        await asyncio.gather(*playing, return_exceptions=True)


# --- replies as bytes -------------------------------------------------------------------------------------------------


def whole(body: bytes | str = b"", *, status: int = 200, content_type: str = "application/json", **more: str) -> bytes:
    """Write a reply that is there at once, with its length."""
    content = body.encode() if isinstance(body, str) else body
    headers = {"Content-Type": content_type, "Content-Length": str(len(content)), **_named(more)}
    return _head(status, headers) + content


def begun(content_type: str, **more: str) -> bytes:
    """Write the head of a reply that comes in chunks."""
    return _head(200, {"Content-Type": content_type, "Transfer-Encoding": "chunked", **_named(more)})


def chunk(piece: bytes) -> bytes:
    """Write one chunk of a reply."""
    return b"%x\r\n%s\r\n" % (len(piece), piece)


LAST = b"0\r\n\r\n"
"""The end of a reply that comes in chunks."""


def refusal(status: int, message: str = "no", **more: str) -> bytes:
    """Write an error as the providers do."""
    return whole(json.dumps({"error": {"message": message}}), status=status, **more)


def zipped(pieces: Sequence[bytes]) -> bytes:
    """Compress a body."""
    return gzip.compress(b"".join(pieces))


def _named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-").title(): value for name, value in headers.items()}


def _head(status: int, headers: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} Status", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


# --- what providers say -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Speech:
    """How one provider says things: messages of its stream, as bytes."""

    content_type: str
    text: Callable[[str], bytes]
    silence: bytes
    failure: Callable[[Any], bytes]
    end: bytes

    def answer(self, *texts: str) -> list[bytes]:
        """Write a good answer, head to last byte."""
        return [*self.start(*texts), chunk(self.end), LAST]

    def start(self, *texts: str) -> list[bytes]:
        """Write the beginning of an answer."""
        return [begun(self.content_type), *(chunk(self.text(text)) for text in texts)]


def event(said: Any) -> bytes:
    """Write one server-sent event."""
    return f"data: {json.dumps(said)}\n\n".encode()


def line(said: Any) -> bytes:
    """Write one line of JSON."""
    return json.dumps(said).encode() + b"\n"


def delta(**fields: Any) -> dict[str, Any]:
    """Write a chat-completions chunk."""
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": None}], "model": "small"}


def finish(reason: str) -> dict[str, Any]:
    """Write the chat-completions chunk that says why it ended."""
    return {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}], "model": "small"}


USAGE = {"choices": [], "model": "small", "usage": {"prompt_tokens": 3, "completion_tokens": 2}}
DONE = b"data: [DONE]\n\n"

CHAT = Speech(
    content_type="text/event-stream",
    text=lambda text: event(delta(content=text)),
    silence=event(delta(content="")),
    failure=lambda told: event({"error": told}),
    end=event(finish("stop")) + event(USAGE) + DONE,
)


def said(content: str = "", **fields: Any) -> dict[str, Any]:
    """Write a line of Ollama's chat API."""
    return {"model": "small", "message": {"role": "assistant", "content": content, **fields}, "done": False}


def over(reason: str = "stop", **fields: Any) -> dict[str, Any]:
    """Write the last line of Ollama's chat API."""
    counts = {"prompt_eval_count": 3, "eval_count": 2}
    return {**said(), "done": True, "done_reason": reason, **counts, **fields}


LINES = Speech(
    content_type="application/x-ndjson",
    text=lambda text: line(said(text)),
    silence=line(said("")),
    failure=lambda told: line({"error": told}),
    end=line(over()),
)
