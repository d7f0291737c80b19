"""How a thunk ends in trouble: errors are sticky and keep what came, and cancelling is real."""

from __future__ import annotations

import asyncio
import copy
import threading
import traceback

import pytest

from mellea_like import (
    Answer,
    DependencyFailed,
    Finished,
    Gate,
    GenerationCancelled,
    RateLimited,
    Usage,
)


class Rewording(Exception):
    """An error whose constructor does not take its `args`."""

    def __init__(self, code):
        super().__init__(f"code {code}")
        self.code = code


class Demanding(Exception):
    """An error that cannot be made without a keyword, as those of HTTP clients."""

    def __init__(self, message, *, response):
        super().__init__(message)
        self.response = response


ERRORS = [
    ValueError("no", 1),
    KeyError("k"),
    OSError(2, "gone", "file"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
    ExceptionGroup("two", [ValueError(1), KeyError(2)]),
    RateLimited("Slow down.", backend="fake", retry_after=1.5),
    Rewording(7),
    Demanding("refused", response={"status": 500}),
]
FAILING = pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)


def same(error, original):
    """Whether a reader's error is the original in type, arguments and attributes."""
    return (type(error), error.args, vars(error)) == (type(original), original.args, vars(original))


# --- errors are sticky and keep what came -----------------------------------------------------------------------------


@FAILING
async def test_every_reader_gets_the_text_and_then_a_copy_of_the_error(fake, read, error):
    gate = Gate()
    thunk = await fake(Answer(["half ", gate, "a text", error])).ainstruct("go", await_result=False)
    live = asyncio.create_task(read(thunk))
    await asyncio.sleep(0)
    gate.open()
    for seen in [await live, await read(copy.copy(thunk))]:
        assert seen.text == "half a text"
        assert same(seen.error, error)
        assert seen.error is not thunk.error
        assert seen.error.__cause__ is thunk.error


async def test_the_polling_loop_gets_the_text_before_the_error(fake):
    thunk = await fake(Answer(["half", ValueError("no")])).ainstruct("go", await_result=False)
    await thunk.ended()
    assert await thunk.astream() == "half"
    assert not thunk.is_computed()
    for _ in range(3):
        with pytest.raises(ValueError, match="no"):
            await thunk.astream()
        assert thunk.is_computed()


async def test_an_error_before_the_first_token_reaches_every_reader(fake, read):
    thunk = await fake(Answer([ValueError("no")])).ainstruct("go", await_result=False)
    seen = await read(thunk)
    assert (seen.text, seen.error.args) == ("", ("no",))


@FAILING
def test_reading_again_and_again_does_not_grow_the_traceback(fake, error):
    thunk = fake(Answer(["half", error])).instruct("go", await_result=False)
    depths = set()
    for _ in range(20):
        try:
            thunk.result()
        except Exception as raised:
            depths.add(len(traceback.extract_tb(raised.__traceback__)))
    assert len(depths) == 1


def test_what_came_before_a_failure_stays_readable(fake):
    thunk = fake(Answer(["half ", "text", ValueError("no")])).instruct("go", await_result=False)
    with pytest.raises(ValueError, match="no"):
        thunk.result()
    assert (thunk.state, thunk.partial_text, thunk.value) == ("failed", "half text", None)
    assert same(thunk.error, ValueError("no"))
    assert thunk.usage == Usage(output_tokens=2, estimated=True)
    assert thunk.finish_reason == "error"
    with pytest.raises(ValueError, match="no"):
        str(thunk)


def test_the_events_of_a_failure_end_with_failed_and_raise_nothing(fake):
    thunk = fake(Answer(["half", ValueError("no")])).instruct("go", await_result=False)
    events = list(thunk.events())
    assert [event.type for event in events] == ["started", "delta", "failed"]
    assert events[-1].error is thunk.error


async def test_an_error_after_the_terminal_event_changes_nothing(fake):
    thunk = await fake(Answer(["all", Finished(), ValueError("late")])).ainstruct("go")
    assert (thunk.value, thunk.state) == ("all", "finished")


@pytest.mark.parametrize("running", [False, True])
async def test_a_call_that_depends_on_a_failed_thunk_names_it(fake, running):
    m = fake([Answer(["half", ValueError("no")]), "unused"])
    broken = await m.ainstruct("a", await_result=False)
    if not running:
        await broken.ended()
    with pytest.raises(DependencyFailed, match=r"ModelOutputThunk failed, ValueError: 'half'.*no") as caught:
        await m.ainstruct("{{ it }}", user_variables={"it": broken})
    assert "half" in caught.value.thunk
    assert len(m.backend.calls) == 1


def test_the_awaiting_verbs_raise_what_the_backend_raised(fake):
    with pytest.raises(RateLimited, match=r"Slow down\.") as caught:
        fake(Answer(["half", ERRORS[5]])).instruct("go")
    assert (caught.value.retry_after, caught.value.backend) == (1.5, "fake")


# --- cancelling is real -----------------------------------------------------------------------------------------------


async def _by_cancel(thunk):
    await thunk.cancel()


async def _by_aclose(thunk):
    await thunk.aclose()


async def _by_async_with(thunk):
    async with thunk:
        pass


async def _by_with(thunk):
    with thunk:
        pass


async def _by_close(thunk):
    thunk.close()


async def _from_a_thread(thunk):
    await asyncio.to_thread(thunk.close)


@pytest.mark.parametrize("stop", [_by_cancel, _by_aclose, _by_async_with, _by_with, _by_close, _from_a_thread])
async def test_stopping_a_thunk_stops_the_model_and_keeps_the_text(talker, stop):
    thunk = talker.start()
    await stop(thunk)
    assert talker.stopped.is_set()  # not a moment later: stopping waits for the source
    assert (thunk.state, thunk.partial_text, thunk.value) == ("cancelled", "word ", None)
    assert (thunk.finish_reason, thunk.error) == ("cancelled", None)


async def test_cancel_need_not_be_awaited(talker):
    thunk = talker.start()
    thunk.cancel()
    assert talker.is_stopped()
    await thunk.ended()
    assert thunk.state == "cancelled"


async def test_other_readers_get_the_text_and_then_generation_cancelled(talker, read):
    thunk = talker.start()
    live = asyncio.create_task(read(thunk))
    await asyncio.sleep(0)
    await thunk.cancel()
    for seen in [await live, await read(copy.copy(thunk))]:
        assert (seen.text, type(seen.error)) == ("word ", GenerationCancelled)
        assert seen.error.partial_text == "word "


def test_the_events_of_a_cancelled_thunk_end_with_cancelled(talker):
    thunk = talker.start()
    thunk.close()
    assert [event.type for event in thunk.events()] == ["started", "delta", "cancelled"]


async def test_cancelling_twice_or_after_the_end_does_nothing(fake, talker):
    finished = await fake("text").ainstruct("go", await_result=False)
    await finished.ended()
    running = talker.start()
    for thunk in [finished, running]:
        await thunk.cancel()
        await thunk.cancel()
        thunk.close()
    assert (finished.state, finished.value, running.state) == ("finished", "text", "cancelled")


def test_many_threads_may_stop_one_thunk(talker):
    thunk = talker.start()
    threads = [threading.Thread(target=thunk.close) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert thunk.state == "cancelled"
    assert [event.type for event in thunk.events()].count("cancelled") == 1


def test_a_generation_can_be_stopped_before_its_first_step(fake):
    m = fake("text")
    thunks = [m.instruct("go", await_result=False) for _ in range(50)]
    for thunk in thunks:
        thunk.cancel()
    for thunk in thunks:
        thunk.close()
        assert (thunk.state, thunk.partial_text) in {("cancelled", thunk.partial_text), ("finished", "text")}


async def test_cancelling_a_call_that_waits_for_another_leaves_the_other_running(fake):
    gate = Gate()
    m = fake([Answer(["riv", gate, "er"]), "unused"])
    needed = await m.ainstruct("a", await_result=False)
    waiting = await m.ainstruct("{{ it }}", user_variables={"it": needed}, await_result=False)
    await waiting.cancel()
    assert (waiting.state, needed.state) == ("cancelled", "running")
    gate.open()
    assert await needed.avalue() == "river"
    assert len(m.backend.calls) == 1


async def test_a_dependency_that_was_cancelled_fails_the_call_that_needs_it(talker, fake):
    needed = talker.start()
    waiting = await fake("unused").ainstruct("{{ it }}", user_variables={"it": needed}, await_result=False)
    await needed.cancel()
    with pytest.raises(DependencyFailed, match="was cancelled"):
        await waiting


async def test_leaving_async_with_after_the_end_changes_nothing(fake):
    async with await fake("one two").ainstruct("go", await_result=False) as thunk:
        text = "".join([delta async for delta in thunk])
    assert (text, thunk.state) == ("one two", "finished")


async def test_leaving_async_with_early_stops_the_model(talker):
    async with talker.start() as thunk:
        async for _ in thunk:
            break
    assert talker.stopped.is_set()
