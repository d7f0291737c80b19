"""A server that costs nearly nothing: chat completions as server-sent events, and Ollama's chat as JSON lines.

It listens on the loopback only, on a port of its own, which is the first line that it prints. After that it prints
`time.monotonic()` whenever a client closes a connection in the middle of a stream. It ends when its standard input
does.

How many chunks, the request says (`max_tokens`, `max_completion_tokens`, or `num_predict`); how they come, its model's
name: `burst` writes 64 at once, each in an HTTP chunk of its own, as servers do; `packed` puts those 64 into one HTTP
chunk; `paced` writes one each millisecond. Chat completions that are not asked to stream come whole.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

TOGETHER = 64
INTERVAL = 0.001
WORDS = [
    "The",
    " quick",
    " brown",
    " fox",
    " jumps",
    " over",
    " the",
    " lazy",
    " dog",
    " and",
    " then",
    " some",
    " more",
]

Messages = Iterator[bytes]


def text(count: int) -> str:
    """Return what `count` chunks say together."""
    return "".join(WORDS[i % len(WORDS)] for i in range(count))


def usage_of(count: int) -> str:
    details = '"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0}'
    tokens = f'"prompt_tokens":12,"completion_tokens":{count},"total_tokens":{count + 12}'
    return f"{{{tokens},{details}}}"


def chat_completion(count: int) -> bytes:
    """Say as much as `count` chunks do, at once."""
    message = f'{{"role":"assistant","content":{json.dumps(text(count))},"refusal":null}}'
    return (
        '{"id":"chatcmpl-C7kXq2ZbW1rTtYpVnD4sLh0aGf9Ue","object":"chat.completion","created":1760000000,'
        '"model":"burst-2025-10-01","service_tier":"default","system_fingerprint":"fp_b1442291a8",'
        f'"choices":[{{"index":0,"message":{message},"logprobs":null,"finish_reason":"stop"}}],'
        f'"usage":{usage_of(count)}}}'
    ).encode()


def chat_completions(count: int) -> Messages:
    """Say `count` chunks as an OpenAI server does: the role first, the finish reason, the usage and `[DONE]` last."""

    def event(choices: str, usage: str = "null") -> bytes:
        return (
            'data: {"id":"chatcmpl-C7kXq2ZbW1rTtYpVnD4sLh0aGf9Ue","object":"chat.completion.chunk",'
            '"created":1760000000,"model":"burst-2025-10-01","service_tier":"default","system_fingerprint":"fp_b1442291a8",'
            f'"choices":{choices},"usage":{usage}}}\n\n'
        ).encode()

    def choice(delta: str, reason: str = "null") -> str:
        return f'[{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{reason}}}]'

    yield event(choice('{"role":"assistant","content":"","refusal":null}'))
    words = [event(choice(f'{{"content":{json.dumps(word)}}}')) for word in WORDS]
    for i in range(count):
        yield words[i % len(words)]
    yield event(choice("{}", '"stop"'))
    yield event("[]", usage_of(count))
    yield b"data: [DONE]\n\n"


def ollama_chat(count: int) -> Messages:
    """Say `count` lines as Ollama does, and its last line."""
    head = '{"model":"burst","created_at":"2026-01-05T10:15:30.123456789Z","message":{"role":"assistant","content":'
    lines = [f'{head}{json.dumps(word)}}},"done":false}}\n'.encode() for word in WORDS]
    for i in range(count):
        yield lines[i % len(lines)]
    times = '"total_duration":98761234,"load_duration":1234567,"prompt_eval_duration":2345678,"eval_duration":90123456'
    yield (
        f'{head}""}},"done":true,"done_reason":"stop",{times},"prompt_eval_count":12,"eval_count":{count}}}\n'.encode()
    )


def framed(data: bytes) -> bytes:
    """Write one HTTP chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def writes(messages: Messages, how: str) -> Iterator[bytes]:
    """Put messages together as they are to be written at once."""
    batch: list[bytes] = []
    for message in messages:
        batch.append(message if how == "packed" else framed(message))
        if len(batch) == (1 if how == "paced" else TOGETHER):
            yield framed(b"".join(batch)) if how == "packed" else b"".join(batch)
            batch = []
    if batch:
        yield framed(b"".join(batch)) if how == "packed" else b"".join(batch)


class Connection(asyncio.Protocol):
    """One client: its requests are answered one after the other."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._answering: asyncio.Task[None] | None = None
        self._room = asyncio.Event()
        self._room.set()

    def connection_made(self, transport: Any) -> None:
        self._transport: asyncio.Transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, mark, rest = self._received.partition(b"\r\n\r\n")
        if not mark:
            return
        lines = head.decode("latin-1").split("\r\n")
        headers = {
            name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
        }
        size = int(headers.get("content-length", 0))
        if len(rest) < size:
            return
        self._received = rest[size:]
        verb, path = lines[0].split()[:2]
        if verb == "POST":
            self._answering = asyncio.ensure_future(self._answer(path, json.loads(rest[:size])))
        else:  # some look first for what server this is
            self._transport.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")

    def eof_received(self) -> None:
        self._gone()

    def connection_lost(self, error: Exception | None) -> None:
        self._gone()

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    def _gone(self) -> None:
        if self._answering is not None and not self._answering.done():
            print(repr(time.monotonic()), flush=True)
            self._answering.cancel()
        self._answering = None

    async def _answer(self, path: str, body: dict[str, Any]) -> None:
        say: Callable[[int], Messages] = chat_completions
        kind, count = "text/event-stream", body.get("max_completion_tokens") or body.get("max_tokens", 1)
        if path.endswith("/api/chat"):
            say, kind, count = ollama_chat, "application/x-ndjson", body["options"]["num_predict"]
        elif not body.get("stream"):
            return self._whole(chat_completion(count))
        head = f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n"
        self._transport.write(head.encode())
        loop = asyncio.get_running_loop()
        due = loop.time()
        for data in writes(say(count), how := body["model"]):
            await self._room.wait()
            if how == "paced":
                due += INTERVAL
                await asyncio.sleep(due - loop.time())
            self._transport.write(data)
            if how != "paced":
                await asyncio.sleep(0)
        self._transport.write(b"0\r\n\r\n")
        return None

    def _whole(self, body: bytes) -> None:
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        self._transport.write(head.encode() + body)


async def main() -> None:
    """Serve until standard input ends."""
    loop = asyncio.get_running_loop()
    over = asyncio.Event()

    def watch() -> None:
        sys.stdin.read()
        loop.call_soon_threadsafe(over.set)

    server = await loop.create_server(Connection, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    threading.Thread(target=watch, daemon=True).start()
    await over.wait()
    server.close()


if __name__ == "__main__":
    asyncio.run(main())
