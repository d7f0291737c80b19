"""The thunk: from a source on the library's loop, through the log, to a reader on the user's."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterator
from typing import Any

from measure import TOKEN, Effort, Row, acpu, cpu, tokens

from mellea_like import Finished, ModelOutputThunk, engine
from mellea_like.events import Said
from mellea_like.log import Log

Reading = Callable[[ModelOutputThunk], Awaitable[object]]


async def by_delta(thunk: ModelOutputThunk) -> None:
    async for _ in thunk:
        pass


async def by_event(thunk: ModelOutputThunk) -> None:
    async for _ in thunk.events():
        pass


async def by_polling(thunk: ModelOutputThunk) -> None:
    while not thunk.is_computed():
        await thunk.astream()


def streamed(reading: Reading, count: int) -> float:
    """Return the CPU microseconds per event of a burst of `count`."""
    return asyncio.run(acpu(lambda: reading(ModelOutputThunk.start(tokens(count))))) / count * 1e6


def burst(effort: Effort) -> Iterator[Row]:
    """CPU per event of a source that never waits."""
    count = effort.size(20_000)
    readings: dict[str, Reading] = {"async for": by_delta, "events()": by_event, "astream() polling": by_polling}
    for name, reading in readings.items():
        figure = effort.median(lambda reading=reading: streamed(reading, count))  # type: ignore[misc]
        yield Row(name=f"event, burst, {name}", figure=figure, unit="us CPU", at_most=6)
    blocking = effort.median(lambda: cpu(lambda: sum(1 for _ in ModelOutputThunk.start(tokens(count)))) / count * 1e6)
    yield Row(name="event, burst, for", figure=blocking, unit="us CPU", at_most=6)


def turns(effort: Effort) -> Iterator[Row]:
    """CPU per event of a source that waits after every 16 tokens, or after each, as one that reads a socket does."""
    count = effort.size(20_000)

    async def source(together: int) -> AsyncGenerator[Said, None]:
        for i in range(count):
            if i % together == 0:
                await asyncio.sleep(0)
            yield TOKEN
        yield Finished()

    def once(together: int) -> float:
        return asyncio.run(acpu(lambda: by_delta(ModelOutputThunk.start(source(together))))) / count * 1e6

    for together, target in ((16, 6), (1, None)):
        figure = effort.median(lambda together=together: once(together))  # type: ignore[misc]
        yield Row(name=f"event, {together} per turn, async for", figure=figure, unit="us CPU", at_most=target)


def replay(effort: Effort) -> Iterator[Row]:
    """CPU per delta of reading a finished thunk again."""
    count = effort.size(20_000)
    thunk = ModelOutputThunk.start(tokens(count)).result()
    figure = effort.median(lambda: asyncio.run(acpu(lambda: by_delta(thunk))) / count * 1e6)
    yield Row(name="delta, replay, async for", figure=figure, unit="us CPU", at_most=1)
    figure = effort.median(lambda: cpu(lambda: sum(1 for _ in thunk)) / count * 1e6)
    yield Row(name="delta, replay, for", figure=figure, unit="us CPU", at_most=1)


def growth(effort: Effort) -> Iterator[Row]:
    """Cost per chunk at 32,000 chunks over that at 2,000."""
    for name, reading, target in (("async for", by_delta, 1.1), ("astream() polling", by_polling, 2.0)):

        def ratio(reading: Reading = reading) -> float:
            short = statistics.fmean(streamed(reading, 2_000) for _ in range(16))
            return streamed(reading, 32_000) / short

        figure = effort.median(ratio)
        yield Row(name=f"growth, {name}", figure=figure, unit="times", at_most=target, against="2,000 chunks: 32,000")


def lockstep(effort: Effort) -> Iterator[Row]:
    """Growth where every poll and every step of an iteration finds exactly one new token: nothing is merged."""

    async def polled(count: int) -> float:
        thunk = ModelOutputThunk(log := Log())

        async def read() -> None:
            for _ in range(count):
                log.append(TOKEN)
                await thunk.astream()

        return await acpu(read) / count * 1e6

    async def iterated(count: int) -> float:
        reader = aiter(ModelOutputThunk(log := Log()))

        async def read() -> None:
            for _ in range(count):
                log.append(TOKEN)
                await anext(reader)

        return await acpu(read) / count * 1e6

    for name, once, target in (("async for", iterated, 1.1), ("astream() polling", polled, 2.0)):

        def ratio(once: Callable[[int], Coroutine[Any, Any, float]] = once) -> float:
            short = statistics.fmean(asyncio.run(once(2_000)) for _ in range(16))
            return asyncio.run(once(32_000)) / short

        figure = effort.median(ratio)
        name = f"growth, token by token, {name}"
        yield Row(name=name, figure=figure, unit="times", at_most=target, against="2,000 chunks: 32,000")


def first_text(effort: Effort) -> Iterator[Row]:
    """Time from the source's first token to the reader that waits for it."""

    async def once() -> float:
        said = 0.0

        async def source() -> AsyncGenerator[Said, None]:
            nonlocal said
            await asyncio.sleep(0.002)
            said = time.perf_counter()
            yield TOKEN
            await asyncio.sleep(0.002)
            yield Finished()

        async for _ in (thunk := ModelOutputThunk.start(source())):
            waited = time.perf_counter() - said
        await thunk
        return waited * 1e3

    figure = statistics.median(asyncio.run(once()) for _ in range(effort.size(200)))
    yield Row(name="first text at the reader", figure=figure, unit="ms", at_most=1, against="the source's first token")


def paced(effort: Effort) -> Iterator[Row]:
    """CPU per event at 1,000 a second, and of asyncio alone handing the same over between the same two loops."""
    count = effort.size(500)

    async def source() -> AsyncGenerator[Said, None]:
        for _ in range(count):
            await asyncio.sleep(0.001)
            yield TOKEN
        yield Finished()

    async def both() -> tuple[float, float]:
        own = await acpu(lambda: by_delta(ModelOutputThunk.start(source())))
        return own, await acpu(lambda: raw(count))

    pairs = [asyncio.run(both()) for _ in range(effort.rounds + 1)][1:]
    own, bare = (statistics.median(column) / count * 1e6 for column in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    yield Row(name="event, 1,000/s, async for", figure=own, unit="us CPU")
    yield Row(name="event, 1,000/s, asyncio alone", figure=bare, unit="us CPU")
    yield Row(name="event, 1,000/s, ratio", figure=ratio, unit="times", against="asyncio, loop to loop")


async def raw(count: int) -> None:
    """Hand `count` items over from the library's loop, with nothing but asyncio."""
    home, queue = asyncio.get_running_loop(), asyncio.Queue[str]()

    async def produce() -> None:
        for _ in range(count):
            await asyncio.sleep(0.001)
            home.call_soon_threadsafe(queue.put_nowait, TOKEN)

    producing = asyncio.run_coroutine_threadsafe(produce(), engine.loop())
    for _ in range(count):
        await queue.get()
    await asyncio.wrap_future(producing)


def stop(effort: Effort) -> Iterator[Row]:
    """Time from `cancel()` until the source has been closed."""

    async def once() -> float:
        ended = 0.0

        async def source() -> AsyncGenerator[Said, None]:
            nonlocal ended
            try:
                while True:
                    yield TOKEN
                    await asyncio.sleep(0.001)
            finally:
                ended = time.perf_counter()

        thunk = ModelOutputThunk.start(source())
        await anext(aiter(thunk))
        asked = time.perf_counter()
        await thunk.cancel()
        return (ended - asked) * 1e3

    figure = statistics.median(asyncio.run(once()) for _ in range(effort.size(200)))
    yield Row(name="cancel() to the source's end", figure=figure, unit="ms", at_most=1)


MEASURES = (burst, turns, replay, growth, lockstep, first_text, paced, stop)
