"""Where things run: any loop, any thread, inside callbacks and notebooks, beside trio; and what closing stops."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading

import pytest
import trio

from mellea_like import (
    Answer,
    ChatContext,
    Finished,
    FunctionFailed,
    Gate,
    GenerationCancelled,
    MelleaSession,
    Message,
    SessionClosed,
    UnsupportedEventLoop,
    check,
    engine,
    start_session,
)

HANGS = 60
"""Seconds after which a wait of these tests has hung; none of them takes one."""


def settle():
    """Let the library's loop do what it was asked to do until now."""
    for _ in range(5):
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), engine.loop()).result(HANGS)


# --- any loop, any thread ---------------------------------------------------------------------------------------------


def test_asyncio_run_a_hundred_times_in_one_process(fake):
    m = fake("one two")
    assert {asyncio.run(m.ainstruct("go")).value for _ in range(100)} == {"one two"}


def test_a_session_serves_many_threads_at_once(fake):
    m = fake(lambda request: request.messages[-1].content)
    answers = {}

    def ask(number):
        answers[number] = [m.instruct(f"{number}.{turn}").value for turn in range(20)]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANGS)
    assert answers == {number: [f"{number}.{turn}" for turn in range(20)] for number in range(8)}


async def test_many_calls_run_at_once(fake):
    gates = [Gate() for _ in range(50)]
    m = fake([Answer([gate, "text"]) for gate in gates])
    calls = [await m.ainstruct("go", await_result=False) for _ in gates]
    assert all(gate.reached(HANGS) for gate in gates)
    for gate in reversed(gates):
        gate.open()
    assert [await call.avalue() for call in calls] == ["text"] * 50


async def test_synchronous_verbs_work_inside_a_running_loop(fake):
    m = fake(["one two", "three", "four"], ctx=ChatContext())
    assert m.instruct("go").value == "one two"
    assert [delta for delta in m.instruct("go", await_result=False)] == ["three"]  # noqa: C416  # a loop, as written
    assert m.chat("go").content == "four"


def test_a_synchronous_verb_works_inside_a_callback_of_a_loop(fake):
    m, answers = fake("text"), []

    async def main():
        asyncio.get_running_loop().call_soon(lambda: answers.append(m.instruct("go").value))
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    asyncio.run(main())
    assert answers == ["text"]


class Asking:
    """A component that asks the model something while it is rendered."""

    def __init__(self, session, needed=None):
        self.session, self.needed = session, needed

    def parts(self):
        return [self.needed]

    def messages(self):
        return (Message("user", f"Improve {self.session.instruct('inner')}."),)


@pytest.mark.timeout(HANGS)
def test_a_synchronous_verb_works_while_a_component_waits_for_a_thunk(fake):
    m = fake(lambda request: request.messages[-1].content)
    gate = Gate()
    needed = fake(Answer([gate, "text"])).instruct("go", await_result=False)
    outer = m.act(Asking(m, needed), await_result=False)
    gate.open()
    assert outer.result(HANGS).value == "Improve inner."


def test_a_synchronous_verb_works_while_a_component_of_the_same_session_is_rendered(ran):
    out = ran(
        """
        import faulthandler
        faulthandler.dump_traceback_later(20, exit=True)
        from mellea_like import Message, start_session

        class Asking:
            def parts(self):
                return []
            def messages(self):
                return (Message("user", f"Improve {m.instruct('inner')}."),)

        m = start_session("fake", answers=lambda request: request.messages[-1].content)
        print(m.act(Asking()))
        """
    )
    assert out == "Improve inner.\n"


def test_blocking_on_the_librarys_own_loop_is_refused_instead_of_hanging(ran):
    out = ran(
        """
        import faulthandler
        faulthandler.dump_traceback_later(20, exit=True)
        from mellea_like import UnsupportedEventLoop, start_session

        inner = start_session("fake", answers="text")
        m = start_session("fake", answers=lambda request: inner.instruct("inner").value)
        try:
            m.instruct("outer")
        except UnsupportedEventLoop as error:
            print(error)
        print(inner.instruct("again"))
        """
    )
    assert "library's own event loop" in out
    assert out.endswith("text\n")


async def test_an_endless_answer_leaves_turns_to_the_others(fake):
    endless = fake(lambda request: Answer(["x"] * 200_000)).instruct("go", await_result=False)
    assert (await fake("text").ainstruct("go")).value == "text"
    assert not endless.done()
    await endless.cancel()
    assert endless.state == "cancelled"


def test_a_thunk_survives_its_session_being_dropped():
    gate = Gate()
    thunk = start_session("fake", answers=Answer(["one ", gate, "two"])).instruct("go", await_result=False)
    gc.collect()
    gate.open()
    assert thunk.result().value == "one two"


# --- trio -------------------------------------------------------------------------------------------------------------


async def _iterated(thunk):
    async for _ in thunk:
        pass


async def _awaited(thunk):
    return await thunk


@pytest.mark.parametrize("read", [_iterated, _awaited, lambda t: t.astream(), lambda t: t.avalue()])
def test_reading_under_trio_is_refused_by_name(fake, read):
    thunk = fake(Answer([Gate()])).instruct("go", await_result=False)
    with pytest.raises(UnsupportedEventLoop, match=r"trio.*to_thread"):
        trio.run(read, thunk)
    assert thunk.state == "running"


def test_an_awaiting_verb_under_trio_is_refused_and_its_generation_stopped(talker):
    with pytest.raises(UnsupportedEventLoop, match="trio"):
        trio.run(talker.session.ainstruct, "go")
    settle()
    assert talker.session._runs == set()


def test_a_thread_under_trio_may_use_the_synchronous_verbs(fake):
    async def main():
        return await trio.to_thread.run_sync(fake("text").instruct, "go")

    assert trio.run(main).value == "text"


# --- cancellations ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["ainstruct", "achat", "aact"])
async def test_cancelling_an_awaiting_verb_stops_its_generation_and_passes_unchanged(talker, verb):
    call = asyncio.create_task(getattr(talker.session, verb)("go"))
    await asyncio.to_thread(talker.flowing.wait, HANGS)
    call.cancel("enough")
    with pytest.raises(asyncio.CancelledError, match="enough") as caught:
        await call
    assert type(caught.value) is asyncio.CancelledError
    assert talker.is_stopped()


def test_an_interrupt_while_a_call_is_being_started_stops_its_generation(talker):
    def leaving(frame, event, argument):
        if event == "return":
            raise KeyboardInterrupt

    before = sys.gettrace()
    sys.settrace(lambda frame, event, argument: leaving if frame.f_code.co_name == "call_soon_threadsafe" else None)
    try:
        with pytest.raises(KeyboardInterrupt):
            talker.session.instruct("go")
    finally:
        sys.settrace(before)
    settle()
    assert not talker.flowing.is_set() or talker.is_stopped()


async def test_a_timeout_around_an_awaiting_verb_stops_its_generation(talker):
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await talker.session.ainstruct("go")
    await talker.session.cancel()
    assert not talker.flowing.is_set() or talker.is_stopped()


async def test_a_failing_neighbour_in_a_task_group_stops_the_generation(talker):
    async def fail():
        await asyncio.to_thread(talker.flowing.wait, HANGS)
        raise ValueError("no")

    with pytest.raises(ExceptionGroup):  # noqa: PT012  # a block is what is tested
        async with asyncio.TaskGroup() as group:
            group.create_task(talker.session.ainstruct("go"))
            group.create_task(fail())
    assert talker.is_stopped()


async def test_cancelling_a_reader_of_a_held_thunk_does_not_stop_the_generation(talker):
    thunk = talker.start()
    reading = asyncio.create_task(thunk.avalue())
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.wait([reading])
    assert talker.is_running()
    assert thunk.state == "running"


# --- backends that leave ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["straight", "judged", "watched", "judge"])
@pytest.mark.parametrize("odd", [SystemExit(2), KeyboardInterrupt(), asyncio.CancelledError()])
def test_a_backend_that_raises_what_ends_a_loop_ends_its_own_call_only(fake, way, odd):
    """A backend runs on the library's loop, which asyncio leaves at an exit or an interrupt, whatever raised it."""
    leaving = fake(Answer([odd]))
    asked = {
        "straight": [],
        "judged": [str.islower],
        "watched": [check("fine", bool, chunking="word")],
        "judge": [check("good", judge=leaving.backend), check("kind", judge=leaving.backend)],
    }
    m = fake("text") if way == "judge" else leaving
    thunk = m.instruct("go", requirements=asked[way], strategy=None, await_result=False)
    ends = GenerationCancelled if isinstance(odd, asyncio.CancelledError) else FunctionFailed
    with pytest.raises(ends):
        thunk.result(HANGS)
    assert fake("text").instruct("go", await_result=False).result(HANGS).value == "text"


# --- sessions ---------------------------------------------------------------------------------------------------------


async def test_cancelling_a_session_stops_everything_that_runs_and_only_that(fake):
    m = fake(["done", *[Answer(["one ", Gate()]) for _ in range(5)], "later"])
    done = await m.ainstruct("go")
    running = [await m.ainstruct("go", await_result=False) for _ in range(5)]
    for thunk in running:
        assert await anext(aiter(thunk)) == "one "
    await m.cancel()
    assert {(thunk.state, thunk.partial_text) for thunk in running} == {("cancelled", "one ")}
    assert (done.state, (await m.ainstruct("go")).value) == ("finished", "later")


async def _leave_async_with(m):
    async with m:
        pass


async def _leave_with(m):
    with m:
        pass


async def _aclose(m):
    await m.aclose()


async def _close_twice(m):
    m.close()
    m.close()
    await m.aclose()


@pytest.mark.parametrize("close", [_leave_async_with, _leave_with, _aclose, _close_twice])
async def test_closing_a_session_stops_what_runs_and_refuses_what_comes(talker, close):
    thunk = talker.start()
    await close(talker.session)
    assert talker.stopped.is_set()
    with pytest.raises(GenerationCancelled):
        await thunk
    with pytest.raises(SessionClosed, match="closed"):
        await talker.session.ainstruct("go")


async def test_closing_a_session_stops_a_source_that_lingers_after_its_end(talker):
    async def lingering(request):
        try:
            yield "text"
            yield Finished()
            await asyncio.Event().wait()
        finally:
            talker.stopped.set()

    talker.stream = lingering
    assert (await talker.session.ainstruct("go")).value == "text"
    await talker.session.aclose()
    assert talker.is_stopped()


@pytest.mark.parametrize("owned", [True, False])
def test_a_session_closes_the_backend_that_it_opened_and_no_other(owned):
    session = start_session("fake", answers="text")
    closed = []

    async def aclose():
        closed.append(True)

    session.backend.aclose = aclose
    if not owned:
        session = MelleaSession(session.backend)
    session.close()
    assert closed == [True] * owned


def test_closing_a_session_closes_its_clones_before_their_backend(fake):
    gate, told = Gate(), []
    session = fake(Answer(["one ", gate, "two"]))
    clone = session.clone()
    twin = clone.clone()
    thunk = twin.instruct("go", await_result=False)
    assert gate.reached(HANGS)

    async def aclose():
        told.append(thunk.state)

    session.backend.aclose = aclose
    session.close()
    assert told == ["cancelled"]
    with pytest.raises(GenerationCancelled):
        thunk.result()
    for closed in (clone, twin):
        assert repr(closed).endswith(", closed)")
        with pytest.raises(SessionClosed, match="closed"):
            closed.instruct("go")


def test_closing_a_clone_closes_nothing_else(fake):
    gate = Gate()
    session = fake([["one ", gate, "two"], "three"])
    thunk = session.instruct("go", await_result=False)
    assert gate.reached(HANGS)
    session.clone().close()
    gate.open()
    assert thunk.result().value == "one two"
    assert session.clone().instruct("go").value == "three"


def test_closing_a_session_leaves_a_backend_that_is_not_its_own_to_its_clones(fake):
    session = MelleaSession(fake("text").backend)
    clone = session.clone()
    session.close()
    assert clone.instruct("go").value == "text"


def test_a_session_keeps_nothing_of_what_has_ended(fake):
    m = fake("text")
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # the threads meet between any two steps
    try:
        for _ in range(500):
            m.instruct("go")
    finally:
        sys.setswitchinterval(before)
    settle()
    assert m._runs == m._family.runs == set()
