"""User functions run where the call was made, never on the library's loop."""

from __future__ import annotations

import asyncio
import threading
from contextvars import ContextVar
from functools import partial
from typing import Annotated

import pytest
from pydantic import AfterValidator

from mellea_like import (
    Answer,
    BestofNSamplingStrategy,
    ChatContext,
    FunctionFailed,
    Gate,
    InvalidArgument,
    Message,
    UnsupportedEventLoop,
    engine,
    start_session,
)
from mellea_like.home import is_async
from mellea_like.requirement import check, simple_validate
from mellea_like.sampling.rejection import RejectionSamplingStrategy

HANGS = 10.0
"""Seconds after which a wait of these tests has hung; none of them takes one."""

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


def fine(request):
    return "fine" if request.messages[-1].content == "Is it?" else "yes"


@pytest.mark.parametrize("session", [lambda m: m, lambda m: m.clone()])
async def test_a_requirement_may_call_a_session_that_remembers_the_answer_that_is_judged(fake, session):
    m = fake(fine, ctx=ChatContext())

    def judged(text):
        return session(m).instruct("Is it?").value == "fine"

    async def ajudged(text):
        return (await session(m).ainstruct("Is it?")).value == "fine"

    m.chat("before")
    answers = [await m.achat("?", requirements=[judge], await_result=False) for judge in (judged, ajudged)]
    assert [(await asyncio.wait_for(answer, HANGS)).success for answer in answers] == [True, True]


def test_a_call_inside_a_function_is_sent_what_the_answer_was_sent_and_what_was_said_inside(fake):
    one, both = Gate(), threading.Event()
    m = fake(lambda request: Answer(["yes", one]) if request.messages[-1].content == "one" else fine(request))
    m.ctx = ChatContext()
    m.chat("before")

    def judged(text):
        both.wait(HANGS)  # until there is a call that waits for the answer that is judged
        m.instruct("one", await_result=False)
        second = m.instruct("Is it?", await_result=False)
        one.open()
        return second.result(HANGS).value == "fine"

    answer = m.chat("?", requirements=[judged], await_result=False)
    after = m.chat("after", await_result=False)
    both.set()
    assert answer.result(HANGS).success
    assert after.result(HANGS).value == "yes"
    inside = next(call for call in m.backend.calls if call.messages[-1].content == "Is it?")
    assert [message.content for message in inside.messages] == ["before", "yes", "one", "yes", "Is it?"]
    sent = [message.content for message in m.backend.calls[-1].messages]
    assert sent == ["before", "yes", "?", "yes", "after"]
    m.chat("last")
    sent = [message.content for message in m.backend.calls[-1].messages if message.role == "user"]
    assert sent == ["before", "?", "after", "one", "Is it?", "last"]


def test_functions_of_calls_inside_functions_may_call_too(fake):
    m = fake(fine, ctx=ChatContext())
    deep = check("deep", lambda ctx: m.instruct("Is it?").value == "fine")
    outer = check("outer", lambda ctx: m.instruct("middle", requirements=[deep]).success)
    assert m.chat("?", requirements=[outer], await_result=False).result(HANGS).success


def test_waiting_for_the_answer_that_waits_for_oneself_is_refused_instead_of_a_hang(fake):
    gate = Gate()
    m = fake(Answer(["yes", gate]), ctx=ChatContext())
    says = check("says", lambda ctx: m.act(m.ctx.last_output()))
    validates = check("validates", lambda ctx: m.validate([str.islower]))
    thunk = m.instruct("?", requirements=[says, validates], strategy=None, await_result=False)
    gate.open()  # now that the session remembers it
    for verdict in thunk.result(HANGS).validations:
        assert isinstance(verdict.error, InvalidArgument)
        assert "waits for the very function that makes the call" in verdict.reason


# --- what a function may raise ----------------------------------------------------------------------------------------


def parsing(raised):
    class Parses:
        def parts(self):
            return ()

        def messages(self):
            return (Message("user", "?"),)

        def parse(self, text):
            raise raised

    return lambda m: m.act(Parses(), await_result=False)


def validating(raised):
    def never(value):
        raise raised

    return lambda m: m.instruct("?", format=Annotated[str, AfterValidator(never)], await_result=False)


def rendering(raised):
    class Renders:
        def __init__(self, thunk):
            self.thunk = thunk

        def parts(self):
            return (self.thunk,)

        def messages(self):
            raise raised

    def ask(m):
        gate = Gate()
        other = start_session("fake", answers=Answer(["text", gate])).instruct("first", await_result=False)
        thunk = m.act(Renders(other), await_result=False)
        gate.open()
        return thunk

    return ask


def choosing(raised):
    def key(sample):
        raise raised

    strategy = BestofNSamplingStrategy(loop_budget=2, key=key)
    return lambda m: m.instruct("?", strategy=strategy, await_result=False)


@pytest.mark.parametrize("way", [parsing, validating, rendering, choosing])
@pytest.mark.parametrize("odd", [SystemExit(2), KeyboardInterrupt(), asyncio.CancelledError(), StopIteration("2")])
def test_what_means_something_to_an_event_loop_fails_the_call_as_an_error_and_the_loop_goes_on(fake, way, odd):
    m = fake("yes")
    thunk = way(odd)(m)
    if isinstance(odd, StopIteration) and way is choosing:  # Python's own rule for generators, and a plan is one
        with pytest.raises(RuntimeError, match="generator raised StopIteration"):
            thunk.result(HANGS)
    else:
        with pytest.raises(FunctionFailed, match=f"A function of yours raised {type(odd).__name__}") as caught:
            thunk.result(HANGS)
        assert caught.value.__cause__.__cause__ is odd  # a reader's is a copy of the call's
    assert m.instruct("?", await_result=False).result(HANGS).value == "yes"


async def test_an_exit_in_an_asynchronous_function_leaves_the_callers_loop_alone(fake):
    async def leave(text):
        raise SystemExit(2)

    async def stopped(text):
        raise asyncio.CancelledError

    async def closed(text):
        raise GeneratorExit

    checks = [check(each.__name__, simple_validate(each)) for each in (leave, stopped, closed)]
    found = (await fake("yes").ainstruct("?", requirements=checks)).validations
    assert [verdict.reason.removeprefix("The validation function raised ") for verdict in found] == [
        "SystemExit: 2",
        "CancelledError: ",
        "GeneratorExit: ",
    ]


def test_an_interrupt_on_the_callers_loop_goes_on_there_and_leaves_the_librarys_alone(fake):
    """Ctrl-C while a function runs on the main thread's loop; asyncio raises it in whatever runs there."""

    async def interrupted(text):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(fake("yes").ainstruct("?", **asked(interrupted)))
    assert fake("yes").instruct("?", await_result=False).result(HANGS).value == "yes"


# --- loops that end ---------------------------------------------------------------------------------------------------


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
