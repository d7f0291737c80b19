"""How many calls at once, how many in a second: fair, cancellable, never a deadlock, lower when the server asks."""

from __future__ import annotations

import asyncio
import time

import pytest

from mellea_like import BackendTimeout, BackendUnavailable, GenerationCancelled, InvalidArgument, RateLimited
from mellea_like.backends._limits import Limits
from mellea_like.engine import block_on_engine

from .conftest import Wire
from .server import Asked, Hold, Script, chunk, refusal


class Counter:
    """A server's script that answers when it is told to, and counts how many wait at once."""

    def __init__(self, wire: Wire) -> None:
        self.wire, self.holds = wire, list[Hold]()
        wire.server.always_plays(self.script)

    def script(self, asked: Asked) -> Script:
        hold = Hold()
        self.holds.append(hold)
        return [*self.wire.speech.start("H"), hold, chunk(self.wire.speech.end), b"0\r\n\r\n"]


def prompts(wire: Wire) -> list[str]:
    return [asked.body["messages"][-1]["content"] for asked in wire.server.asked]


def test_no_more_calls_than_the_limit_run_at_once(wire: Wire):
    counter = Counter(wire)
    m = wire.session(max_concurrency=2)
    thunks = [m.instruct(str(n), await_result=False) for n in range(6)]
    for n in range(6):
        assert wire.server.was_asked(min(n + 2, 6))
        assert len(counter.holds) == min(n + 2, 6)
        counter.holds[n].release()
    assert [thunk.result().value for thunk in thunks] == ["H"] * 6
    assert sorted(prompts(wire)) == [str(n) for n in range(6)]


def test_calls_get_their_places_in_the_order_in_which_they_came(openai: Wire):
    openai.server.always_plays(openai.speech.answer("H"))
    m = openai.session(max_concurrency=1)
    for thunk in [m.instruct(str(n), await_result=False) for n in range(20)]:
        thunk.result()
    assert prompts(openai) == [str(n) for n in range(20)]


@pytest.mark.parametrize("limits", [{"max_concurrency": 1}, {"requests_per_second": 0.01}], ids=str)
def test_a_call_that_waits_in_line_can_be_cancelled_at_once(wire: Wire, limits):
    counter = Counter(wire)
    m = wire.session(**limits)
    first = m.instruct("first", await_result=False)
    assert next(iter(first)) == "H"
    second, third = (m.instruct(n, await_result=False) for n in ("second", "third"))
    second.close()
    with pytest.raises(GenerationCancelled):
        second.result()
    counter.holds[0].release()
    assert first.result().value == "H"
    if "max_concurrency" in limits:
        assert next(iter(third)) == "H"
    third.close()
    assert "second" not in prompts(wire)


def test_a_call_that_depends_on_another_does_not_take_its_place(wire: Wire):
    wire.server.always_plays(wire.speech.answer("H"))
    m = wire.session(max_concurrency=1)
    first = m.instruct("first", await_result=False)
    deep = first
    for _ in range(3):
        deep = m.instruct("{{ it }}!", user_variables={"it": deep}, await_result=False)
    assert deep.result().value == "H"
    assert prompts(wire) == ["first", "H!", "H!", "H!"]


def test_waiting_in_line_is_not_silence(wire: Wire, later):
    wire.server.plays([*wire.speech.start("H"), Hold()], wire.speech.answer("H"))
    m = wire.session(max_concurrency=1)
    first = m.instruct("stalls", model_options={"stream_timeout": 60}, await_result=False)
    assert next(iter(first)) == "H"
    second = m.instruct("waits", model_options={"stream_timeout": 50}, await_result=False)
    for _ in range(5):
        block_on_engine(asyncio.sleep(0))  # it comes to its place in the line
    later(61)
    with pytest.raises(BackendTimeout):
        first.result()
    assert second.result().value == "H"


def test_calls_that_come_too_fast_are_spaced_out(openai: Wire):
    openai.server.always_plays(openai.speech.answer("H"))
    m = openai.session(requests_per_second=20)
    began = time.monotonic()
    for thunk in [m.instruct(str(n), await_result=False) for n in range(26)]:
        thunk.result()
    assert time.monotonic() - began >= 0.25
    assert len(openai.server.asked) == 26


def test_a_failed_call_gives_its_place_back(wire: Wire):
    wire.server.plays(*[[refusal(500)]] * 3, wire.speech.answer("H"))
    m = wire.session(max_concurrency=1)
    for _ in range(3):
        with pytest.raises(BackendUnavailable):
            m.instruct("go")
    assert m.instruct("go").value == "H"


def test_a_call_that_waits_for_another_try_leaves_its_place_to_others(wire: Wire):
    wire.server.plays([refusal(429, retry_after="30")], wire.speech.answer("H"))
    m = wire.session(max_concurrency=1, retries=1)
    refused = m.instruct("refused", await_result=False)
    assert wire.server.was_asked(1)
    assert m.instruct("other").value == "H"
    refused.close()


def test_refusals_lower_the_limit_on_every_wire(wire: Wire):
    counter = Counter(wire)
    m = wire.session(max_concurrency=4)
    running = []
    for _ in range(3):  # one after the other, so that the holds are in the order of the calls
        running.append(m.instruct("go", await_result=False))
        assert next(iter(running[-1])) == "H"
    wire.server.plays([refusal(429)])
    with pytest.raises(RateLimited):
        m.instruct("refused")
    waiting = m.instruct("waiting", await_result=False)
    counter.holds[0].release()
    running[0].result()
    assert len(wire.server.asked) == 4
    counter.holds[1].release()
    assert next(iter(waiting)) == "H"
    for hold in counter.holds[2:]:
        hold.release()
    assert waiting.result().value == "H"


# --- the limit itself -------------------------------------------------------------------------------------------------


async def held(limits: Limits, count: int) -> list[asyncio.Task[None]]:
    async def hold() -> None:
        async with limits.place():
            await asyncio.Event().wait()

    tasks = [asyncio.create_task(hold()) for _ in range(count)]
    for _ in range(5):
        await asyncio.sleep(0)
    return tasks


async def released(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_refusal_halves_the_places_once_for_all_calls_that_ran_together():
    limits = Limits(max_concurrency=16, requests_per_second=None)
    tasks, cuts = await held(limits, 8), limits.cuts
    for _ in range(8):
        limits.refused(cuts)
    assert limits.now == 4
    limits.refused(limits.cuts)
    assert limits.now == 2
    await released(tasks)


async def test_places_come_back_one_by_one_up_to_the_limit():
    limits = Limits(max_concurrency=4, requests_per_second=None)
    for _ in range(5):
        limits.refused(limits.cuts)
    seen = []
    for _ in range(20):
        limits.answered()
        seen.append(limits.now)
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == (2, 4)


async def test_without_a_limit_a_refusal_makes_one():
    limits = Limits(max_concurrency=None, requests_per_second=None)
    tasks = await held(limits, 6)
    limits.refused(limits.cuts)
    assert limits.now == 3
    await released(tasks)


async def test_a_cancelled_waiter_leaves_its_turn_to_the_next():
    limits = Limits(max_concurrency=1, requests_per_second=None)
    first, second, third = await held(limits, 3)
    await released([second])
    await released([first])
    for _ in range(5):
        await asyncio.sleep(0)
    assert limits._places.borrowed_tokens == 1
    await released([third])
    assert limits._places.borrowed_tokens == 0


async def test_a_newcomer_does_not_pass_those_who_wait_for_the_rate():
    limits, order = Limits(max_concurrency=None, requests_per_second=50), list[str]()

    async def call(name: str) -> None:
        async with limits.place():
            order.append(name)

    async def newcomer() -> None:
        time.sleep(0.05)  # the loop is busy while the rate allows another call: who is looked at first?
        await call("newcomer")

    for _ in range(50):
        await call("burst")
    waiting = [asyncio.create_task(call(name)) for name in ("first", "second")]
    for _ in range(5):
        await asyncio.sleep(0)
    await asyncio.gather(*waiting, asyncio.create_task(newcomer()))
    assert order[50:] == ["first", "second", "newcomer"]


@pytest.mark.parametrize(
    "option",
    [
        {"max_concurrency": 0},
        {"max_concurrency": 1.5},
        {"max_concurrency": True},
        {"requests_per_second": 0},
        {"requests_per_second": "5"},
        {"timeout": 0},
        {"timeout": "5"},
        {"connect_timeout": -1},
        {"total_timeout": 0},
        {"retries": -1},
        {"retries": 1.5},
        {"retries": None},
    ],
    ids=str,
)
def test_a_limit_that_is_none_is_refused_by_name(wire: Wire, option):
    (name,) = option
    with pytest.raises(InvalidArgument, match=f"{name} is {option[name]!r}; it must be a"):
        wire.session(**option)
