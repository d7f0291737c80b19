"""What a finished thunk keeps: its text, the points where it was cut, and its metadata."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import AsyncGenerator, Iterator

from measure import Effort, Row

from mellea_like import Backend, Finished, MelleaSession, ModelOutputThunk, Request, Usage
from mellea_like.events import Said

TOKENS = 500


class Words(Backend):
    """A backend of 500 different tokens, 5 characters each on average, that remembers nothing."""

    name = "words"

    async def stream(self, request: Request) -> AsyncGenerator[Said, None]:
        for i in range(TOKENS):
            await asyncio.sleep(0)
            yield f" {i:0{3 + i % 3}}"
        yield Finished(usage=Usage(input_tokens=10, output_tokens=TOKENS), model="words")


async def read(thunk: ModelOutputThunk, *, polling: bool) -> ModelOutputThunk:
    while polling and not thunk.is_computed():
        await thunk.astream()
    await thunk
    return thunk


def kept(count: int, *, polling: bool) -> float:
    """Return the kilobytes that each of `count` finished thunks keeps."""

    async def finished(m: MelleaSession, count: int) -> list[ModelOutputThunk]:
        return [await read(await m.ainstruct("Count.", await_result=False), polling=polling) for _ in range(count)]

    async def measured() -> float:
        m = MelleaSession(Words())
        await finished(m, 2)  # what is built once and stays
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        thunks = await finished(m, count)
        gc.collect()
        after = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        return (after - before) / len(thunks) / 1000

    return asyncio.run(measured())


def finished_thunk(effort: Effort) -> Iterator[Row]:
    """Memory of a finished answer of 500 tokens."""
    count = effort.size(50)
    yield Row(name="finished 500-token thunk", figure=kept(count, polling=False), unit="kB", at_most=12)
    yield Row(name="finished 500-token thunk, polled", figure=kept(count, polling=True), unit="kB", at_most=12)


MEASURES = (finished_thunk,)
