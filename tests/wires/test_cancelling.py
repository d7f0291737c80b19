"""Cancelling is real: the server sees the connection closed, whoever stops the answer; nobody else is hurt."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Callable

import pytest

from mellea_like import GenerationCancelled, MelleaSession, ModelOutputThunk

from .conftest import Wire
from .server import PATIENCE, Hold, begun


@pytest.fixture
def talking(wire: Wire) -> Wire:
    """A wire whose server says two words and then waits for ever."""
    wire.server.always_plays(lambda asked: [*wire.speech.start("one ", "two "), Hold()])
    return wire


def ask(m: MelleaSession) -> ModelOutputThunk[str]:
    return m.instruct("go", await_result=False)


async def closed(wire: Wire) -> bool:
    """Wait, without stopping this event loop, until the server sees no connection open."""
    return await asyncio.to_thread(wire.server.all_closed)


# --- from asynchronous code -------------------------------------------------------------------------------------------


async def by_cancel(m: MelleaSession) -> None:
    thunk = ask(m)
    assert (await thunk.astream()).startswith("one ")
    await thunk.cancel()
    assert thunk.state == "cancelled"


async def by_asking_to_cancel(m: MelleaSession) -> None:
    thunk = ask(m)
    await thunk.astream()
    thunk.cancel()


async def by_aclose(m: MelleaSession) -> None:
    thunk = ask(m)
    await thunk.astream()
    await thunk.aclose()


async def by_leaving_its_block(m: MelleaSession) -> None:
    async with ask(m) as thunk:
        await thunk.astream()


async def by_an_error_in_its_block(m: MelleaSession) -> None:
    async def fail() -> None:
        async with ask(m) as thunk:
            await thunk.astream()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()


async def by_a_plain_break(m: MelleaSession) -> None:
    async for _ in await m.ainstruct("go", await_result=False):
        break


async def by_a_break_out_of_events(m: MelleaSession) -> None:
    async for event in (await m.ainstruct("go", await_result=False)).events():
        if event.type == "delta":
            break


async def by_dropping_it(m: MelleaSession) -> None:
    thunk = ask(m)
    await thunk.astream()
    del thunk


async def by_dropping_a_circle(m: MelleaSession) -> None:
    circle: list[object] = [ask(m)]
    circle.append(circle)
    await circle[0].astream()  # type: ignore[attr-defined]
    del circle
    gc.collect()


async def by_dropping_a_generator(m: MelleaSession) -> None:
    async def words() -> AsyncIterator[str]:
        async for word in await m.ainstruct("go", await_result=False):
            yield word

    generator = words()
    assert await anext(generator) == "one "
    del generator


async def by_a_cancelled_reader(m: MelleaSession) -> None:
    first = asyncio.Event()

    async def read() -> None:
        async for _ in await m.ainstruct("go", await_result=False):
            first.set()

    reading = asyncio.create_task(read())
    await first.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    del reading


async def by_a_timeout(m: MelleaSession) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await m.ainstruct("go")


async def by_the_session(m: MelleaSession) -> None:
    thunk = ask(m)
    await thunk.astream()
    await m.cancel()
    with pytest.raises(GenerationCancelled):
        await thunk


async def by_closing_the_session(m: MelleaSession) -> None:
    thunk = ask(m)
    await thunk.astream()
    await m.aclose()
    with pytest.raises(GenerationCancelled):
        await thunk


WAYS = [
    by_cancel,
    by_asking_to_cancel,
    by_aclose,
    by_leaving_its_block,
    by_an_error_in_its_block,
    by_a_plain_break,
    by_a_break_out_of_events,
    by_dropping_it,
    by_dropping_a_circle,
    by_dropping_a_generator,
    by_a_cancelled_reader,
    by_a_timeout,
    by_the_session,
    by_closing_the_session,
]


@pytest.mark.parametrize("stop", WAYS, ids=lambda way: way.__name__)
async def test_the_server_sees_it_and_the_consumer_lives_on(talking: Wire, stop: Callable):
    m = talking.session()
    await stop(m)
    assert await closed(talking)
    consumer = asyncio.current_task()
    assert consumer is not None
    assert consumer.cancelling() == 0
    await asyncio.sleep(0)


@pytest.mark.parametrize("verb", ["ainstruct", "achat"])
async def test_a_cancelled_task_stops_what_it_waits_for(talking: Wire, verb: str):
    m = talking.session()
    waiting = asyncio.create_task(getattr(m, verb)("go"))
    assert await asyncio.to_thread(talking.server.was_asked, 1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await closed(talking)


# --- from synchronous code --------------------------------------------------------------------------------------------


def sync_cancel(m: MelleaSession) -> None:
    thunk = ask(m)
    assert next(iter(thunk)) == "one "
    thunk.cancel()


def sync_close(m: MelleaSession) -> None:
    thunk = ask(m)
    next(iter(thunk))
    thunk.close()


def sync_block(m: MelleaSession) -> None:
    with ask(m) as thunk:
        next(iter(thunk))


def sync_break(m: MelleaSession) -> None:
    for _ in ask(m):
        break


def sync_drop(m: MelleaSession) -> None:
    thunk = ask(m)
    next(iter(thunk))
    del thunk


def sync_session(m: MelleaSession) -> None:
    with m:
        thunk = ask(m)
        next(iter(thunk))


def sync_other_thread(m: MelleaSession) -> None:
    thunk = ask(m)
    next(iter(thunk))
    thread = threading.Thread(target=thunk.close)
    thread.start()
    thread.join(PATIENCE)


SYNC_WAYS = [sync_cancel, sync_close, sync_block, sync_break, sync_drop, sync_session, sync_other_thread]


@pytest.mark.parametrize("stop", SYNC_WAYS, ids=lambda way: way.__name__)
def test_the_server_sees_it_from_synchronous_code(talking: Wire, stop: Callable):
    m = talking.session()
    stop(m)
    assert talking.server.all_closed()


# --- when -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["before the reply", "after the head"])
def test_a_call_that_has_said_nothing_can_be_cancelled(wire: Wire, stage: str):
    hold = Hold()
    wire.server.plays([*([begun(wire.speech.content_type)] if stage == "after the head" else []), hold])
    m = wire.session()
    thunk = ask(m)
    assert hold.reached()
    thunk.close()
    assert wire.server.all_closed()
    assert thunk.partial_text == ""
    with pytest.raises(GenerationCancelled):
        thunk.result()


def test_a_call_can_be_cancelled_before_it_is_sent(talking: Wire):
    m = talking.session()
    thunks = [ask(m) for _ in range(5)]
    for thunk in thunks:
        thunk.close()
    # httpx keeps a connection on which nothing was asked yet; it closes with the session, as the fixture checks.
    assert talking.server.all_stopped()
    assert {thunk.state for thunk in thunks} == {"cancelled"}


def test_the_text_that_came_is_kept(talking: Wire):
    m = talking.session()
    thunk = ask(m)
    reader = iter(thunk)
    assert [next(reader), next(reader)] == ["one ", "two "]
    thunk.close()
    assert thunk.partial_text == "one two "


def test_one_of_several_is_cancelled_alone(talking: Wire):
    hold = Hold()
    ending = b"%x\r\n%s\r\n0\r\n\r\n" % (len(talking.speech.end), talking.speech.end)
    m = talking.session()
    stopped = ask(m)
    assert next(iter(stopped)) == "one "
    talking.server.plays([*talking.speech.start("whole"), hold, ending])
    other = ask(m)
    assert next(iter(other)) == "whole"
    stopped.close()
    hold.release()
    assert other.result().value == "whole"


def test_a_held_reader_keeps_the_answer_running(talking: Wire):
    m = talking.session()
    reader = iter(ask(m))
    assert next(reader) == "one "
    gc.collect()
    assert next(reader) == "two "
    assert talking.server.open == 1
    del reader
    assert talking.server.all_closed()


# --- connections ------------------------------------------------------------------------------------------------------


def test_complete_answers_share_a_connection(wire: Wire):
    wire.server.always_plays(wire.speech.answer("Hel", "lo"))
    m = wire.session()
    for _ in range(5):
        assert m.instruct("go").value == "Hello"
        _settled(m)
    assert len(wire.server.connections) == 1


def test_a_cancelled_answer_costs_its_connection_and_no_other(talking: Wire):
    m = talking.session()
    ask(m).close()
    sync_close(m)
    talking.server.plays(*[talking.speech.answer("Hello")] * 3)
    before = len(talking.server.connections)
    for _ in range(3):
        assert m.instruct("go").value == "Hello"
        _settled(m)
    assert len(talking.server.connections) == before + 1


def test_calls_that_begin_together_share_one_client(wire: Wire):
    wire.server.always_plays(wire.speech.answer("Hello"))
    m = wire.session()
    thunks = [ask(m) for _ in range(8)]
    assert {thunk.result().value for thunk in thunks} == {"Hello"}
    m.close()
    assert wire.server.all_closed()


def _settled(m: MelleaSession) -> None:
    """Wait until a call's task has ended: the answer is there before the last byte of its body."""
    from mellea_like.engine import block_on_engine

    async def wait() -> None:
        fills = [t for t in asyncio.all_tasks() if getattr(t.get_coro(), "__qualname__", "") == "_fill"]
        await asyncio.gather(*fills, return_exceptions=True)

    block_on_engine(wait())
