"""When nobody can read a thunk any more, its generation is stopped; and not before."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref

import pytest

from mellea_like import (
    Answer,
    ChatContext,
    Message,
    NotComputed,
    ResultTimeout,
)

# --- abandoned means stopped ------------------------------------------------------------------------------------------


def test_a_dropped_thunk_is_stopped(talker):
    thunk = talker.start()
    assert talker.is_running()
    del thunk
    assert talker.is_stopped()


def test_breaking_out_of_the_only_loop_stops_the_model(talker):
    for _ in talker.session.instruct("go", await_result=False):
        break
    assert talker.is_stopped()


async def test_breaking_out_of_the_only_async_loop_stops_the_model(talker):
    async for _ in await talker.session.ainstruct("go", await_result=False):
        break
    assert talker.is_stopped()


@pytest.mark.parametrize("view", [iter, aiter, lambda t: t.events()], ids=["iter", "aiter", "events"])
def test_a_living_reader_keeps_a_dropped_thunk_running(talker, view):
    thunk = talker.start()
    reader = view(thunk)
    del thunk
    assert talker.is_running()
    del reader
    assert talker.is_stopped()


async def test_a_task_that_awaits_keeps_a_dropped_thunk_running(talker):
    waiting = asyncio.create_task(talker.start().avalue())
    await asyncio.sleep(0)
    assert talker.is_running()
    waiting.cancel()
    await asyncio.wait([waiting])
    del waiting
    gc.collect()
    assert talker.is_stopped()


def test_of_two_readers_the_last_one_keeps_it_running(talker):
    thunk = talker.start()
    readers = [iter(thunk), iter(thunk)]
    del thunk
    readers.pop()
    assert talker.is_running()
    assert next(readers[0]) == "word "
    readers.pop()
    assert talker.is_stopped()


def test_a_living_thunk_outlasts_its_readers(talker):
    thunk = talker.start()
    for _ in thunk:
        break
    assert talker.is_running()
    thunk.close()


def test_a_context_that_holds_the_thunk_keeps_it_running(talker):
    talker.start(ChatContext())
    gc.collect()
    assert talker.is_running()
    talker.session.reset()
    assert talker.is_stopped()


def test_a_session_alone_does_not_keep_a_thunk(talker):
    talker.start()
    assert talker.is_stopped()


def test_a_thunk_that_a_running_call_needs_keeps_running(talker, fake):
    waiting = fake("unused").instruct("{{ it }}", user_variables={"it": talker.start()}, await_result=False)
    gc.collect()
    assert talker.is_running()
    del waiting
    gc.collect()
    assert talker.is_stopped()


def test_a_thunk_in_a_circle_is_stopped_when_it_is_collected(talker):
    circle = [talker.start()]
    circle.append(circle)
    del circle
    assert talker.is_running()
    gc.collect()
    assert talker.is_stopped()


def test_a_thunk_may_be_dropped_on_any_thread(talker):
    held = [talker.start()]
    thread = threading.Thread(target=held.clear)
    thread.start()
    thread.join(20)
    assert talker.is_stopped()


@pytest.mark.parametrize(("verb", "given"), [("result", {"timeout": 0.001}), ("__str__", {})])
def test_an_error_that_is_kept_does_not_keep_a_running_thunk(talker, verb, given):
    thunk = talker.start()
    with pytest.raises((ResultTimeout, NotComputed)) as kept:
        getattr(thunk, verb)(**given)
    del thunk  # the frames of the error hold this test's variables too
    assert talker.is_stopped()
    assert kept.value.__traceback__


@pytest.mark.parametrize("verb", ["astream", "avalue", "__await__"])
async def test_a_cancellation_that_is_kept_does_not_keep_a_running_thunk(talker, verb):
    thunk = talker.start()
    assert await thunk.astream() == "word "
    waiting = getattr(thunk, verb)()
    waiting.send(None)
    with pytest.raises(asyncio.CancelledError) as kept:
        waiting.throw(asyncio.CancelledError())
    del thunk, waiting
    gc.collect()
    assert talker.is_stopped()
    assert kept.value.__traceback__


async def test_a_cancellation_that_is_kept_does_not_keep_a_reader(talker):
    reader = aiter(talker.start())
    assert await anext(reader) == "word "
    waiting = anext(reader)
    waiting.__await__().send(None)
    with pytest.raises(asyncio.CancelledError) as kept:
        waiting.throw(asyncio.CancelledError())
    del reader, waiting
    assert talker.is_stopped()
    assert kept.value.__traceback__


@pytest.mark.parametrize("verb", ["result", "__str__", "astream", "avalue", "__iter__", "__aiter__"])
async def test_an_error_that_is_kept_does_not_keep_a_failed_thunk(fake, verb):
    thunk = fake(Answer([ValueError("no")])).instruct("go", await_result=False)
    list(thunk.events())
    with pytest.raises(ValueError, match="no") as kept:
        await _taken(getattr(thunk, verb)())
    gone = weakref.ref(thunk)
    del thunk
    gc.collect()
    assert gone() is None
    assert kept.value.__traceback__


async def _taken(reading):
    try:
        if hasattr(reading, "__await__"):
            await reading
        elif hasattr(reading, "__next__"):
            next(reading)
        else:
            await anext(reading)
    finally:
        del reading


def test_a_finished_thunk_that_is_dropped_was_not_cancelled(fake):
    m = fake("text", ctx=ChatContext())
    m.chat("go")
    gc.collect()
    assert m.ctx.last_output().state == "finished"


def test_a_dropped_message_thunk_is_stopped(talker):
    thunk = talker.session.chat("go", await_result=False)
    assert talker.flowing.wait(20)
    assert isinstance(thunk.partial_text, str)
    del thunk
    assert talker.is_stopped()
    assert Message("user", "go").content == "go"
