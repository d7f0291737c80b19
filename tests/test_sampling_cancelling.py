"""Stopping a judged call, in each phase, leaves no task and stops every model that talks."""

from __future__ import annotations

import asyncio
import gc
import signal
import threading
from collections.abc import AsyncGenerator

import pytest

from mellea_like import Backend, GenerationCancelled, MelleaSession, engine
from mellea_like.requirement import Requirement, check, simple_validate
from mellea_like.sampling import SamplingStrategy
from mellea_like.sampling.best_of_n import BestofNSamplingStrategy
from mellea_like.sampling.rejection import RejectionSamplingStrategy

PATIENCE = 10.0


class Crowd(Backend):
    """A backend whose every model says one word and never ends; it counts who talks and who was stopped."""

    name = "crowd"

    def __init__(self) -> None:
        super().__init__("crowd")
        self._changed = threading.Condition()
        self.talking = self.stopped = 0

    async def stream(self, request) -> AsyncGenerator[str, None]:
        self._count("talking")
        try:
            yield "word "
            await asyncio.Event().wait()
        finally:
            self._count("stopped")

    def _count(self, name: str) -> None:
        with self._changed:
            setattr(self, name, getattr(self, name) + 1)
            self._changed.notify_all()

    def reaches(self, *, talking: int, stopped: int) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: (self.talking, self.stopped) == (talking, stopped), PATIENCE)


@pytest.fixture
def crowd():
    backend = Crowd()
    with MelleaSession(backend) as session:
        backend.session = session
        yield backend


def tasks_left() -> set[str]:
    """Name the tasks of a judged call that are left on the library's loop."""

    async def look():
        return {t.get_coro().__qualname__ for t in asyncio.all_tasks() if t is not asyncio.current_task()}

    names = asyncio.run_coroutine_threadsafe(look(), engine.loop()).result(PATIENCE)
    return {name for name in names if "ampling" in name or "peaking" in name or "Judges" in name or name == "_fill"}


def test_during_an_attempt(crowd):
    thunk = crowd.session.instruct("?", requirements=[str.islower], await_result=False)
    assert crowd.reaches(talking=1, stopped=0)
    thunk.close()
    assert crowd.reaches(talking=1, stopped=1)
    assert (thunk.state, thunk.partial_text) == ("cancelled", "word ")
    with pytest.raises(GenerationCancelled):
        thunk.result()
    assert tasks_left() == set()


def test_during_attempts_side_by_side(crowd):
    thunk = crowd.session.instruct("?", strategy=BestofNSamplingStrategy(loop_budget=5, key=len), await_result=False)
    assert crowd.reaches(talking=5, stopped=0)
    thunk.close()
    assert crowd.reaches(talking=5, stopped=5)
    assert tasks_left() == set()


def test_while_a_watched_attempt_talks(crowd):
    fine = check("fine", lambda chunk: True, chunking="word")
    thunk = crowd.session.instruct("?", requirements=[fine], await_result=False)
    assert crowd.reaches(talking=1, stopped=0)
    thunk.close()
    assert crowd.reaches(talking=1, stopped=1)
    assert tasks_left() == set()


def test_while_a_function_judges(fake):
    begun, go_on = threading.Event(), threading.Event()

    def slow(text):
        begun.set()
        return go_on.wait(PATIENCE)

    m = fake("yes")
    thunk = m.instruct("?", requirements=[check("slow", simple_validate(slow))], await_result=False)
    assert begun.wait(PATIENCE)
    thunk.close()
    assert thunk.state == "cancelled"
    assert tasks_left() == set()
    go_on.set()
    assert len(m.backend.calls) == 1


def test_while_models_judge(crowd, fake):
    wise = [Requirement("wise", judge=crowd), Requirement("kind", judge=crowd)]
    thunk = fake("yes").instruct("?", requirements=wise, await_result=False)
    assert crowd.reaches(talking=2, stopped=0)
    thunk.close()
    assert crowd.reaches(talking=2, stopped=2)
    assert tasks_left() == set()


def test_between_attempts_while_a_plan_thinks(fake):
    begun, go_on = threading.Event(), threading.Event()

    class Pondering(SamplingStrategy):
        def plan(self, first):
            sample = yield [first]
            begun.set()
            go_on.wait(PATIENCE)
            return sample

    thunk = fake("yes").instruct("?", strategy=Pondering(), await_result=False)
    assert begun.wait(PATIENCE)
    thunk.close()
    assert thunk.state == "cancelled"
    assert tasks_left() == set()
    go_on.set()


def test_a_dropped_thunk_stops_all_attempts(crowd):
    thunk = crowd.session.instruct("?", strategy=BestofNSamplingStrategy(loop_budget=3), await_result=False)
    assert crowd.reaches(talking=3, stopped=0)
    del thunk
    gc.collect()
    assert crowd.reaches(talking=3, stopped=3)


def test_leaving_an_event_loop_early_stops_all_attempts(crowd):
    for event in crowd.session.instruct("?", requirements=[str.islower], await_result=False).events():
        if event.type == "delta":
            break
    gc.collect()
    assert crowd.reaches(talking=1, stopped=1)


async def test_a_cancelled_awaiting_verb_stops_its_attempts(crowd):
    call = asyncio.create_task(crowd.session.ainstruct("?", strategy=BestofNSamplingStrategy(loop_budget=2)))
    assert await asyncio.to_thread(crowd.reaches, talking=2, stopped=0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert await asyncio.to_thread(crowd.reaches, talking=2, stopped=2)


def test_an_interrupt_of_a_synchronous_verb_stops_its_attempts(crowd):
    def interrupt():
        assert crowd.reaches(talking=1, stopped=0)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        crowd.session.instruct("?", requirements=[str.islower])
    assert crowd.reaches(talking=1, stopped=1)


def test_closing_the_session_stops_a_judged_call(crowd):
    thunk = crowd.session.instruct("?", strategy=RejectionSamplingStrategy(), await_result=False)
    assert crowd.reaches(talking=1, stopped=0)
    crowd.session.close()
    assert crowd.reaches(talking=1, stopped=1)
    assert thunk.state == "cancelled"
