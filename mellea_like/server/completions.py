"""Chat completions: answers in OpenAI's form, whole or as a stream of chunks. Both are folds over the same events."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from starlette.responses import Response
from starlette.types import Receive

from ..encoding.json_form import JSONForm
from ..encoding.openai_chunks import FINISH_REASONS, OpenAIChunkEncoder, tool_call_form, usage_form
from ..errors import MelleaError
from ..events import Delta, Event, Finished, Thinking, ToolCallEvent, Usage
from .asked import Asked
from .requests import ChatRequest, asked_by
from .streaming import FrameStream, unless_gone
from .telling import Batch, Telling

_JSON = JSONForm()


@dataclass(slots=True, kw_only=True)
class Reply:
    """One choice of a whole answer, folded from what is told of it."""

    text: list[str] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    calls: list[ToolCallEvent] = field(default_factory=list)
    end: Finished | None = None

    def add(self, event: Event) -> None:
        """Take one more event."""
        match event:
            case Delta():
                self.text.append(event.text)
            case Thinking():
                self.thoughts.append(event.text)
            case ToolCallEvent(complete=True):
                self.calls.append(event)
            case Finished():
                self.end = event

    def form(self, index: int) -> dict[str, Any]:
        """Write the choice in OpenAI's form."""
        text = "".join(self.text)
        content = None if self.calls and not text else text
        message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None}
        if self.thoughts:
            message["reasoning_content"] = "".join(self.thoughts)
        if self.calls:
            message["tool_calls"] = [tool_call_form(call) for call in self.calls]
        reason = FINISH_REASONS.get(self.end.finish_reason, "stop") if self.end else "stop"
        return {"index": index, "message": message, "logprobs": None, "finish_reason": reason}


class Completions:
    """Answers chat completions.

    Args:
        telling: What starts answers, and tells of them.
    """

    def __init__(self, telling: Telling) -> None:
        self._telling = telling

    async def answer(self, request: ChatRequest, receive: Receive) -> Response | None:
        """Answer a request, whole or as a stream; None where the client left before there was anything to send.

        Raises:
            MelleaError: it cannot be answered; nothing has been sent.
        """
        asked, count = asked_by(request), request.n or 1
        self._telling.generations.places.refuse_overflow(count)
        if request.stream:
            usage = bool(request.stream_options and request.stream_options.include_usage)
            return await unless_gone(receive, lambda: self._streamed(asked, count, usage=usage))
        return await unless_gone(receive, lambda: self._whole(asked, count))

    # --- whole ------------------------------------------------------------------------------------------------------

    async def _whole(self, asked: Asked, count: int) -> Response:
        work = [asyncio.ensure_future(self._reply(asked)) for _ in range(count)]
        try:
            replies = await asyncio.gather(*work)
        finally:
            for one in work:  # where one has failed, nobody wants the others
                one.cancel()
        body = {
            "id": _new_id(),
            "object": "chat.completion",
            "created": int(time.time()),
            "model": self._telling.model,
            "choices": [reply.form(i) for i, reply in enumerate(replies)],
            "usage": usage_form(_total([reply.end for reply in replies])),
            "system_fingerprint": None,
        }
        return Response(_JSON.value(body), media_type="application/json")

    async def _reply(self, asked: Asked) -> Reply:
        reply = Reply()
        await self._telling.whole(asked, reply.add)
        return reply

    # --- as a stream ------------------------------------------------------------------------------------------------

    async def _streamed(self, asked: Asked, count: int, *, usage: bool) -> Response:
        name, created = _new_id(), int(time.time())
        encoders = [
            OpenAIChunkEncoder(
                model=self._telling.model,
                id=name,
                created=created,
                index=i,
                include_usage=usage and count == 1,
                error_text=self._telling.error_text,
            )
            for i in range(count)
        ]
        if count == 1:
            return await self._telling.stream(asked, encoders[0])
        begun, batches = await self._telling.begin(asked)
        first = _chunks(batches, begun, encoders[0])
        frames = _framed(self._interleaved(asked, first, encoders, usage), encoders[0])
        return FrameStream(frames, media_type=encoders[0].media_type, headers=encoders[0].headers)

    async def _interleaved(
        self, asked: Asked, first: AsyncGenerator[Chunk, None], encoders: Sequence[OpenAIChunkEncoder], usage: bool
    ) -> AsyncGenerator[Chunk, None]:
        """Give the chunks of several answers as they come, and their common usage last."""
        queue: asyncio.Queue[Chunk | None] = asyncio.Queue(maxsize=len(encoders))  # a slow reader holds all back
        ends: list[Finished | None] = []

        async def tell(chunks: AsyncGenerator[Chunk, None]) -> None:
            async with aclosing(chunks):
                async for frames, end in chunks:
                    ends.append(end)
                    await queue.put((frames, None))
            await queue.put(None)

        more = [self._one_more(asked, encoder) for encoder in encoders[1:]]
        work = [asyncio.ensure_future(tell(chunks)) for chunks in (first, *more)]
        try:
            for _ in work:
                while (chunk := await queue.get()) is not None:
                    yield chunk
            if usage:
                yield encoders[0].usage(_total(ends)), None
        finally:
            for one in work:
                one.cancel()
            await asyncio.wait(work)

    async def _one_more(self, asked: Asked, encoder: OpenAIChunkEncoder) -> AsyncGenerator[Chunk, None]:
        try:
            batches = await self._telling.start(asked)
        except MelleaError as error:
            yield encoder.fail(error, 0), None
            return
        async with aclosing(_chunks(batches, [], encoder)) as chunks:
            async for chunk in chunks:
                yield chunk


Chunk: TypeAlias = "tuple[bytes, Finished | None]"
"""Frames, and the end of the answer where it is among them."""


async def _chunks(
    batches: AsyncGenerator[Batch, None], begun: list[Event], encoder: OpenAIChunkEncoder
) -> AsyncGenerator[Chunk, None]:
    async with aclosing(batches):
        yield encoder.begin() + _encoded(begun, encoder), _end(begun)
        async for batch in batches:
            yield (encoder.keep_alive(), None) if batch is None else (_encoded(batch, encoder), _end(batch))


async def _framed(chunks: AsyncGenerator[Chunk, None], encoder: OpenAIChunkEncoder) -> AsyncGenerator[bytes, None]:
    async with aclosing(chunks):
        async for frames, _ in chunks:
            yield frames
    yield encoder.end()


def _encoded(events: Sequence[Event], encoder: OpenAIChunkEncoder) -> bytes:
    return b"".join([encoder.encode(event, event.seq) for event in events])


def _end(events: Sequence[Event]) -> Finished | None:
    return next((event for event in reversed(events) if isinstance(event, Finished)), None)


def _total(ends: Sequence[Finished | None]) -> Usage:
    total = Usage()
    for end in ends:
        total += (end and end.usage) or Usage()
    return total


def _new_id() -> str:
    return f"chatcmpl-{secrets.token_hex(12)}"
