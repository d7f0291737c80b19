"""What the benchmarks of the wires share: the server in a process of its own, and those who read from it.

It imports nothing but the standard library before a reader is made, so that it also runs where this library is not.
"""

from __future__ import annotations

import asyncio
import json
import queue
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from mellea_like import MelleaSession

Stream = Callable[[int, str], Awaitable[int]]
"""Reads a stream of so many chunks, which come so, and returns how many characters it got."""

PROMPT = "Say something."
MESSAGES = [{"role": "user", "content": PROMPT}]
PATIENCE = 5.0
"""Seconds that the server has to start, to see a closed connection, and to end."""
SOCKETS = 4_096
"""Files that a process must be able to hold open for 1,000 streams, with room for what else it opens."""


def room_for_sockets() -> None:
    """Let this process, and those that it starts, hold enough sockets open, as far as the system lets it."""
    try:
        import resource
    except ImportError:  # Windows counts its sockets in another way
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = SOCKETS if hard == resource.RLIM_INFINITY else min(SOCKETS, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


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


class Ours:
    """This library, with a session for each way that the chunks come: the model's name says it."""

    def __init__(self, provider: str, address: str, **options: Any) -> None:
        self._provider, self._address, self._options = provider, address, options
        self._sessions: dict[str, MelleaSession] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *failure: object) -> None:
        for session in self._sessions.values():
            await session.aclose()

    async def begun(self, count: int, how: str) -> Any:
        """Return a running thunk."""
        from mellea_like import ModelOption

        options = {ModelOption.MAX_NEW_TOKENS: count}
        return await self._session(how).ainstruct(PROMPT, model_options=options, await_result=False)

    async def stream(self, count: int, how: str) -> int:
        size = 0
        async for delta in await self.begun(count, how):
            size += len(delta)
        return size

    async def call(self, count: int, how: str) -> int:
        """Await a whole answer; return its length."""
        from mellea_like import ModelOption

        options = {ModelOption.MAX_NEW_TOKENS: count}
        return len((await self._session(how).ainstruct(PROMPT, model_options=options)).value)

    def _session(self, how: str) -> MelleaSession:
        from mellea_like import start_session

        if (m := self._sessions.get(how)) is None:
            extras: dict[str, Any] = {"base_url": self._address, "max_concurrency": SOCKETS, **self._options}
            if self._provider == "huggingface":
                extras["api_key"] = "none"
            m = self._sessions[how] = start_session(f"{self._provider}:{how}", **extras)
        return m


def openai_stream(client: Any) -> Stream:
    """Read with the `openai` client alone."""

    async def stream(count: int, how: str) -> int:
        size = 0
        chunks = await client.chat.completions.create(
            model=how,
            messages=MESSAGES,
            max_tokens=count,
            stream=True,
            stream_options={"include_usage": True},
        )
        async for chunk in chunks:
            if chunk.choices and (text := chunk.choices[0].delta.content):
                size += len(text)
        return size

    return stream


def openai_call(client: Any) -> Stream:
    """Ask the `openai` client alone for a whole answer."""

    async def call(count: int, how: str) -> int:
        reply = await client.chat.completions.create(model=how, messages=MESSAGES, max_tokens=count)
        return len(reply.choices[0].message.content)

    return call


def httpx_stream(client: Any, address: str) -> Stream:
    """Read with httpx2 alone: bytes, split at the events' ends, and `json`."""

    async def stream(count: int, how: str) -> int:
        size, rest = 0, b""
        body = {"model": how, "messages": MESSAGES, "max_tokens": count}
        async with client.stream("POST", f"{address}/v1/chat/completions", json={**body, "stream": True}) as response:
            async for data in response.aiter_bytes():
                *events, rest = (rest + data).split(b"\n\n")
                for event in events:
                    if event != b"data: [DONE]":
                        choices = json.loads(event[6:])["choices"]
                        size += len((choices and choices[0]["delta"].get("content")) or "")
        return size

    return stream


def ollama_stream(client: Any) -> Stream:
    """Read with the `ollama` client alone."""

    async def stream(count: int, how: str) -> int:
        size = 0
        async for part in await client.chat(model=how, messages=MESSAGES, stream=True, options={"num_predict": count}):
            size += len(part.message.content or "")
        return size

    return stream


def huggingface_stream(client: Any) -> Stream:
    """Read with the `huggingface_hub` client alone."""

    async def stream(count: int, how: str) -> int:
        size = 0
        async for chunk in await client.chat_completion(MESSAGES, model=how, max_tokens=count, stream=True):
            if chunk.choices and (text := chunk.choices[0].delta.content):
                size += len(text)
        return size

    return stream
