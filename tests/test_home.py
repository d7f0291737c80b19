"""User functions run where the call was made, never on the library's loop."""

from __future__ import annotations

import asyncio
import threading
from contextvars import ContextVar
from functools import partial

import pytest

from mellea_like import Answer, Gate, UnsupportedEventLoop, engine
from mellea_like.home import is_async
from mellea_like.requirement import check, simple_validate
from mellea_like.sampling.rejection import RejectionSamplingStrategy

who: ContextVar[str] = ContextVar("who", default="nobody")


class Place:
    """Where a function ran."""

    def __init__(self):
        self.thread = threading.current_thread()
        self.loop = asyncio._get_running_loop()
        self.who = who.get()


class Noting:
    """A requirement's function that notes where it runs; `seen` are the places."""

    def __init__(self):
        self.seen: list[Place] = []

    def quick(self, text):
        self.seen.append(Place())
        return True

    async def slow(self, text):
        await asyncio.sleep(0)
        self.seen.append(Place())
        return True


def asked(function):
    return {"requirements": [check("it", simple_validate(function))]}


async def test_an_asynchronous_function_runs_on_the_loop_of_the_call_with_its_variables(fake):
    noting = Noting()
    who.set("Ana")
    assert (await fake("yes").ainstruct("?", **asked(noting.slow))).success
    place = noting.seen[0]
    assert (place.loop, place.thread, place.who) == (asyncio.get_running_loop(), threading.current_thread(), "Ana")


async def test_synchronous_functions_run_together_in_one_worker_thread_with_the_callers_variables(fake):
    noting = Noting()
    who.set("Ana")
    checks = [check(str(i), simple_validate(noting.quick)) for i in range(5)]
    assert (await fake("yes").ainstruct("?", requirements=checks)).success
    assert {place.who for place in noting.seen} == {"Ana"}
    assert len({place.thread for place in noting.seen}) == 1
    assert noting.seen[0].thread.name == "mellea-like worker"
    assert noting.seen[0].loop is None


async def test_a_worker_thread_is_used_again(fake):
    noting, m = Noting(), fake("yes")
    for _ in range(5):
        await m.ainstruct("?", **asked(noting.quick))
    assert len({place.thread for place in noting.seen}) == 1


def test_workers_that_are_busy_are_not_waited_for(fake):
    both = threading.Barrier(2)
    m = fake("yes")
    thunks = [m.instruct("?", await_result=False, **asked(lambda text: both.wait(10) >= 0)) for _ in "12"]
    assert [thunk.result(timeout=10).success for thunk in thunks] == [True, True]


async def test_what_a_function_sets_stays_its_own(fake):
    await fake("yes").ainstruct("?", **asked(lambda text: bool(who.set("changed"))))
    assert who.get() == "nobody"


def test_an_asynchronous_function_works_in_synchronous_code(fake):
    noting = Noting()
    assert fake("yes").instruct("?", **asked(noting.slow)).success
    assert noting.seen[0].loop not in {None, engine.loop()}


async def test_a_synchronous_verb_inside_a_running_loop_works_with_both_kinds(fake):
    """As in a notebook: the loop that runs is blocked by the verb, so nothing can run on it meanwhile."""
    noting = Noting()
    assert fake("yes").instruct("?", **asked(noting.slow)).success
    assert fake("yes").instruct("?", **asked(noting.quick)).success
    assert engine.loop() not in {place.loop for place in noting.seen}


def test_a_requirement_may_call_a_synchronous_verb(fake):
    judge = fake("fine")
    assert fake("yes").instruct("?", **asked(lambda text: judge.instruct("Is it?").value == "fine")).success


async def test_a_requirement_may_await_a_verb_of_the_same_session(fake):
    m = fake(lambda request: "fine" if "Is it" in request.messages[-1].content else "yes")

    async def judged(text):
        return (await m.ainstruct("Is it?")).value == "fine"

    assert (await m.ainstruct("?", **asked(judged))).success


def test_a_loop_that_has_ended_is_named(fake):
    gate = Gate()
    m = fake(Answer(["yes", gate]))

    async def begin():
        return await m.ainstruct("?", await_result=False, **asked(Noting().slow))

    thunk = asyncio.run(begin())
    gate.open()
    with pytest.raises(UnsupportedEventLoop, match=r"the event loop that made the call, which has ended. Await the"):
        thunk.result()


def test_a_loop_that_ends_while_a_function_runs_there_is_named(fake):
    m, begun = fake("yes"), threading.Event()

    async def endless(text):
        begun.set()
        await asyncio.Event().wait()

    async def begin():
        thunk = await m.ainstruct("?", await_result=False, **asked(endless))
        await asyncio.to_thread(begun.wait)
        return thunk

    thunk = asyncio.run(begin())
    with pytest.raises(UnsupportedEventLoop, match="which has ended"):
        thunk.result()


async def test_a_loop_that_is_blocked_by_result_is_named_instead_of_a_hang(fake):
    thunk = await fake("yes").ainstruct("?", await_result=False, **asked(Noting().slow))
    with pytest.raises(UnsupportedEventLoop, match=r"is blocked by a synchronous call \(`result\(\)`"):
        thunk.result()


async def test_a_function_that_cannot_be_asked_does_not_leave_the_others_running(fake):
    stopped = asyncio.Event()
    home = asyncio.get_running_loop()
    judge_gate = Gate()

    class Held(type(fake().backend)):
        async def stream(self, request):
            try:
                await judge_gate.passed()
                yield "yes"
            finally:
                home.call_soon_threadsafe(stopped.set)

    slow_judge = check("is it good?", judge=Held())
    m = fake("yes")
    thunk = await asyncio.to_thread(lambda: asyncio.run(_begun(m, slow_judge)))
    with pytest.raises(UnsupportedEventLoop):
        await thunk
    await asyncio.wait_for(stopped.wait(), 10)


async def _begun(m, judge):
    return await m.ainstruct("?", await_result=False, requirements=[judge, check("it", simple_validate(Noting().slow))])


async def test_an_object_and_a_partial_count_as_what_they_call(fake):
    class Judge:
        async def __call__(self, text):
            return text == "yes"

    async def equal(wanted, text):
        return text == wanted

    assert is_async(Judge())
    assert is_async(partial(equal, "yes"))
    assert not is_async(lambda text: None)
    both = [check("object", simple_validate(Judge())), check("partial", simple_validate(partial(equal, "yes")))]
    assert (await fake("yes").ainstruct("?", requirements=both)).success


async def test_a_lambda_that_returns_a_coroutine_is_awaited_on_the_callers_loop(fake):
    noting = Noting()
    assert (await fake("yes").ainstruct("?", **asked(lambda text: noting.slow(text)))).success
    assert noting.seen[0].loop is asyncio.get_running_loop()


async def test_a_cancelled_call_cancels_a_function_on_the_callers_loop(fake):
    begun, ended = asyncio.Event(), asyncio.Event()

    async def endless(text):
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    thunk = await fake("yes").ainstruct("?", await_result=False, strategy=RejectionSamplingStrategy(), **asked(endless))
    await begun.wait()
    await thunk.cancel()
    await asyncio.wait_for(ended.wait(), 10)
