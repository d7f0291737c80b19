"""What clients of OpenAI's protocol are told of an answer: all of it at once, or as a stream, in whatever form."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, TypeAlias

from starlette.responses import Response

from ..encoding import Encoder
from ..errors import GenerationCancelled, fresh_copy
from ..events import Cancelled, Event, Failed, Started, ToolCallEvent
from ..graph.run import GraphRun
from ..thunk import ModelOutputThunk
from .asked import Asked
from .generations import Generations
from .graphs import GraphText
from .refusals import told_text
from .streaming import Batches, FrameStream, encoded, with_pings

Batch: TypeAlias = "list[Event] | None"
"""Events that came together; None for a while of silence."""


async def told(
    thunk: ModelOutputThunk[Any], *, live: str | None, every: float, after: int = -1, one_call: bool = False
) -> AsyncGenerator[Batch, None]:
    """Give what a client of OpenAI's protocol is told of an answer, and None after `every` seconds of silence.

    Of a judged answer that is the accepted attempt, once it is accepted: what was sent cannot be taken back. Of a
    graph's run it is the text of the node `live`, or the answer at its end. Events up to the number `after` are left
    out, and with `one_call` all tool calls but the first.
    """
    graph = GraphText(live) if isinstance(thunk, GraphRun) else None
    while graph is None and thunk.attempt is None and not thunk.done():
        try:
            async with asyncio.timeout(every):
                await thunk.ended()
        except TimeoutError:
            yield None
    async with aclosing(with_pings(Batches(thunk), every)) as batches:
        async for batch in batches:
            if batch is None:
                yield None
            else:
                seen = batch if graph is None else graph.told(batch)
                seen = [e for e in seen if e.seq > after and (graph is not None or e.attempt == thunk.attempt)]
                yield [e for e in seen if not (isinstance(e, ToolCallEvent) and e.index)] if one_call else seen


class Telling:
    """Starts answers, and tells clients of OpenAI's protocol what they say.

    Args:
        generations: Where answers are started.
        all_told: Whether clients are told the whole text of an error; see `Access.told`.
    """

    def __init__(self, generations: Generations, *, all_told: bool) -> None:
        self.generations = generations
        self.model = generations.answerer.models[0]
        self._told_all = all_told
        self._live: str | None = (generations.answerer.graph or {}).get("answer")

    def error_text(self, error: BaseException) -> str:
        """Say what a client is told of an error."""
        return told_text(error, told=self._told_all)

    async def start(self, asked: Asked) -> AsyncGenerator[Batch, None]:
        """Start an answer and return what is told of it; when nobody takes it any more, the answer is stopped.

        Raises:
            MelleaError: it cannot be started.
        """
        return self._batches(await self.generations.start(asked), one_call=asked.one_call)

    async def _batches(self, thunk: ModelOutputThunk[Any], *, one_call: bool) -> AsyncGenerator[Batch, None]:
        every = self.generations.limits.ping
        try:
            async with aclosing(told(thunk, live=self._live, every=every, one_call=one_call)) as batches:
                async for batch in batches:
                    yield batch
        finally:
            thunk.cancel()

    async def whole(self, asked: Asked, add: Callable[[Event], object]) -> None:
        """Give everything that an answer says to `add`.

        Raises:
            MelleaError: the answer cannot be started, failed, or was stopped.
        """
        async with aclosing(await self.start(asked)) as batches:
            async for batch in batches:
                for event in batch or ():
                    if isinstance(event, Failed):
                        raise fresh_copy(event.error)
                    if isinstance(event, Cancelled):
                        raise GenerationCancelled("The generation was stopped: it took longer than this server allows.")
                    add(event)

    async def begin(self, asked: Asked) -> tuple[list[Event], AsyncGenerator[Batch, None]]:
        """Start an answer; return its events up to the first that is worth sending, and what is told after them.

        Raises:
            MelleaError: it cannot be started, or failed before it said anything; so that has a status code.
        """
        batches = await self.start(asked)
        events: list[Event] = []
        async for batch in batches:
            events += batch or ()
            for event in events:
                if isinstance(event, Failed):
                    await batches.aclose()
                    raise fresh_copy(event.error)
                if not isinstance(event, Started):
                    return events, batches
            if batch is None:
                break
        return events, batches

    async def stream(self, asked: Asked, encoder: Encoder) -> Response:
        """Answer with the frames that an encoder makes of what is said.

        Raises:
            MelleaError: see `begin`.
        """
        begun, batches = await self.begin(asked)
        frames = encoded(batches, encoder, number=int, begun=begun)
        return FrameStream(frames, media_type=encoder.media_type, headers=encoder.headers)
