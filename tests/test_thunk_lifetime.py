"""A thunk's life: read from anywhere, small in memory, cheap to read."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
import sys
import threading
import tracemalloc
from pathlib import Path

import pytest

import mellea_like
from mellea_like import (
    Answer,
    ChatContext,
    ComputedModelOutputThunk,
    Gate,
    GenerationCancelled,
    NotComputed,
    ResultTimeout,
    Thinking,
    Truncated,
)

HOME = str(Path(mellea_like.__file__).parent)
WORDS = [f"word{number} " for number in range(500)]


def in_a_thread(work):
    """Run `work` in a thread of its own; return what it returned."""
    box = []
    thread = threading.Thread(target=lambda: box.append(work()))
    thread.start()
    thread.join(60)
    return box[0]


def on_a_new_loop(work):
    """Run the coroutine function `work` on an event loop of its own, in a thread of its own."""
    return in_a_thread(lambda: asyncio.run(work()))


# --- any loop, any thread ---------------------------------------------------------------------------------------------


def test_a_thunk_made_on_one_loop_is_read_on_another(fake, read):
    gate = Gate()
    m = fake(Answer(["one ", gate, "two"]))

    async def make():
        thunk = await m.ainstruct("go", await_result=False)
        assert await anext(aiter(thunk)) == "one "
        return thunk

    thunk = asyncio.run(make())
    gate.open()
    assert asyncio.run(read(thunk)).text == "one two"


async def test_a_thunk_is_read_on_two_loops_at_once(fake, read):
    gate = Gate()
    thunk = await fake(Answer(["one ", gate, "two"])).ainstruct("go", await_result=False)
    elsewhere = asyncio.create_task(asyncio.to_thread(on_a_new_loop, lambda: read(thunk)))
    here = asyncio.create_task(thunk.avalue())
    assert await anext(aiter(thunk)) == "one "
    gate.open()
    assert (await elsewhere).text == await here == "one two"


def test_a_thunk_made_without_a_loop_is_read_with_one(fake, read):
    thunk = fake("one two").instruct("go", await_result=False)
    assert asyncio.run(read(thunk)).text == "one two"


async def test_a_thunk_made_on_a_loop_is_read_by_plain_threads(fake):
    gate = Gate()
    thunk = await fake(Answer([*WORDS, gate, *WORDS])).ainstruct("go", await_result=False)
    readers = [asyncio.create_task(asyncio.to_thread(list, thunk)) for _ in range(4)]
    await asyncio.sleep(0)
    gate.open()
    assert await asyncio.gather(*readers) == [WORDS * 2] * 4


def test_polling_moves_from_loop_to_loop(fake):
    gates = [Gate(), Gate(), Gate()]
    thunk = fake(Answer(["a", gates[0], "b", gates[1], "c", gates[2]])).instruct("go", await_result=False)
    for text, gate in zip(["a", "ab", "abc"], gates, strict=True):
        assert asyncio.run(thunk.astream()) == text
        gate.open()
    assert asyncio.run(thunk.astream()) == "abc"
    assert thunk.is_computed()


def test_a_reader_whose_loop_has_ended_harms_nobody(fake):
    gate = Gate()
    thunk = fake(Answer(["one ", gate, "two"])).instruct("go", await_result=False)

    async def leave_in_the_middle():
        reader = aiter(thunk)
        await anext(reader)
        waiting = asyncio.create_task(anext(reader))
        await asyncio.sleep(0)
        return waiting  # cancelled by `asyncio.run`

    asyncio.run(leave_in_the_middle())
    gate.open()
    assert thunk.result().value == "one two"


def test_one_reader_moves_between_threads_and_loops(fake):
    thunk = fake("a b c d").instruct("go", await_result=False)
    reader = iter(thunk)

    async def take():
        return await anext(reader)

    assert [next(reader), asyncio.run(take()), in_a_thread(lambda: next(reader)), next(reader)] == [
        "a",
        " b",
        " c",
        " d",
    ]


@pytest.mark.parametrize(
    ("door", "take"),
    [
        ("wait_grown", list),
        ("wait_grown", lambda t: [t.result().value]),
        ("grown", lambda t: [asyncio.run(t.avalue())]),
    ],
    ids=["for", "result", "avalue"],
)
def test_what_comes_between_looking_and_waiting_is_not_missed(fake, door, take):
    gate = Gate()
    thunk = fake(Answer([gate, "text"])).instruct("go", await_result=False)

    def arrive(frame, event, argument):
        if frame.f_code.co_name == door and frame.f_code.co_filename.startswith(HOME):
            gate.open()
            assert in_a_thread(lambda: thunk.result(60)).value == "text"

    before = sys.gettrace()
    sys.settrace(arrive)
    try:
        assert take(thunk) == ["text"]
    finally:
        sys.settrace(before)


def test_result_gives_up_after_its_timeout_and_the_thunk_goes_on(fake):
    gate = Gate()
    thunk = fake(Answer(["one ", gate, "two"])).instruct("go", await_result=False)
    next(iter(thunk))
    with pytest.raises(ResultTimeout, match=r"after 0 s, with 4 characters so far"):
        thunk.result(timeout=0)
    with pytest.raises(TimeoutError):
        thunk.result(timeout=0.001)
    gate.open()
    assert thunk.result(timeout=60).value == "one two"


# --- memory is near the text's size -----------------------------------------------------------------------------------


def kept_by(make):
    """Measure the bytes that what `make()` returns keeps allocated; return them with the last that was made."""
    make()  # imports, caches and the library's thread are not the thunk's
    sizes, made = [], None
    tracemalloc.start()
    try:
        for _ in range(3):  # what the library's thread does at that moment is not the thunk's either
            made = None
            gc.collect()
            before = tracemalloc.get_traced_memory()[0]
            made = make()
            gc.collect()
            sizes.append(tracemalloc.get_traced_memory()[0] - before)
    finally:
        tracemalloc.stop()
    return min(sizes), made


@pytest.mark.parametrize(
    ("steps", "most"),
    [(WORDS, 12_000), ([Thinking(text="hm ") for _ in range(200)] + WORDS, 22_000)],
    ids=["deltas", "thoughts-and-deltas"],
)
def test_a_finished_thunk_takes_little_more_than_its_text(fake, steps, most):
    m = fake(lambda request: Answer(steps))

    def make():
        m.backend.calls.clear()
        thunk = m.instruct("go", await_result=False)
        list(thunk.events())
        return thunk

    size, thunk = kept_by(make)
    assert len(thunk.value) <= size <= most


def test_a_long_chat_keeps_each_text_once(fake):
    answers = iter(["y" * 10_000] * 1000)
    m = fake(lambda request: Answer([next(answers) + str(len(request.messages))]), ctx=ChatContext())

    def make():
        for turn in range(20):
            m.chat("x" * 10_000 + str(turn))
            m.backend.calls.clear()
        made = m.ctx
        m.reset()
        return made

    size, ctx = kept_by(make)
    assert len(ctx.view()) == 20
    assert 400_000 <= size <= 500_000  # 20 turns of 10 kB there and 10 kB back


@pytest.mark.parametrize("twin_of", [copy.copy, copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))])
@pytest.mark.parametrize("computed", [False, True])
def test_a_finished_thunk_copies_and_pickles(fake, twin_of, computed):
    thunk = fake(Answer([Thinking(text="hm"), *WORDS])).instruct("go", await_result=False)
    thunk = thunk.result() if computed else [list(thunk), thunk][1]
    twin = twin_of(thunk)
    assert type(twin) is type(thunk)
    assert (list(twin), list(twin.events())) == (WORDS, list(thunk.events()))
    assert (twin.value, twin.thinking, twin.state, str(twin)) == (thunk.value, "hm", "finished", thunk.value)
    assert twin.generation == thunk.generation
    assert asyncio.run(twin.avalue()) == thunk.value


@pytest.mark.parametrize("twin_of", [copy.copy, copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))])
@pytest.mark.parametrize(
    ("answer", "kind"), [(Answer(["half"], truncated=True), Truncated), (Answer(["half", KeyError("k")]), KeyError)]
)
def test_a_failed_thunk_copies_and_pickles_with_its_error(fake, twin_of, answer, kind):
    thunk = fake(answer).instruct("go", await_result=False)
    list(thunk.events())
    twin = twin_of(thunk)
    with pytest.raises(kind) as caught:
        twin.result()
    assert (caught.value.args, vars(caught.value)) == (thunk.error.args, vars(thunk.error))
    assert (twin.partial_text, twin.state) == ("half", "failed")


def test_a_cancelled_thunk_pickles(talker):
    thunk = talker.start()
    thunk.close()
    twin = pickle.loads(pickle.dumps(thunk))
    assert (twin.state, twin.partial_text) == ("cancelled", "word ")
    with pytest.raises(GenerationCancelled):
        twin.result()


def test_a_running_thunk_does_not_pickle_and_says_why(talker):
    thunk = talker.start()
    with pytest.raises(NotComputed, match="`await thunk` before you pickle"):
        pickle.dumps(thunk)


def test_a_computed_thunk_of_a_text_is_as_any_other():
    thunk = ComputedModelOutputThunk.of("text")
    assert (thunk.value, list(thunk), thunk.state, thunk.result().value) == ("text", ["text"], "finished", "text")
    assert pickle.loads(pickle.dumps(thunk)).value == "text"


# --- the cost of reading grows linearly -------------------------------------------------------------------------------


class Lines:
    """Counts the lines of the library that this thread executes: a cost that no clock and no machine changes."""

    def __enter__(self):
        self.count, self.before = 0, sys.gettrace()
        sys.settrace(self._trace)
        return self

    def _trace(self, frame, event, argument):
        if not frame.f_code.co_filename.startswith(HOME):
            return None
        self.count += event == "line"
        return self._trace

    def __exit__(self, *error):
        sys.settrace(self.before)


async def polled(fake, size):
    """Count what it costs to poll an answer of `size` deltas, each in a poll of its own."""
    gates = [Gate() for _ in range(size)]
    thunk = await fake(Answer([step for gate in gates for step in ("x", gate)])).ainstruct("go", await_result=False)
    with Lines() as lines:
        for gate in gates:
            await thunk.astream()
            gate.open()
    return lines.count


async def iterated(fake, size):
    thunk = await fake(Answer(["x"] * size)).ainstruct("go", await_result=False)
    await thunk.ended()
    with Lines() as lines:
        async for _ in thunk:
            pass
    return lines.count


async def iterated_live(fake, size):
    gates = [Gate() for _ in range(size)]
    thunk = await fake(Answer([step for gate in gates for step in ("x", gate)])).ainstruct("go", await_result=False)
    with Lines() as lines:
        for _, gate in zip(thunk, gates, strict=False):
            gate.open()
    return lines.count


async def seen_as_events(fake, size):
    thunk = await fake(Answer(["x"] * size)).ainstruct("go", await_result=False)
    with Lines() as lines:
        async for _ in thunk.events():
            pass
    return lines.count


@pytest.mark.parametrize("cost_of", [polled, iterated, iterated_live, seen_as_events])
async def test_reading_four_times_the_text_costs_about_four_times_as_much(fake, cost_of):
    await cost_of(fake, 20)
    assert await cost_of(fake, 800) < 7 * await cost_of(fake, 200)  # quadratic: 16


@pytest.mark.parametrize("live", [True, False])
def test_a_reader_of_deltas_never_joins_the_whole_text(fake, live):
    gate = Gate()
    thunk = fake(Answer([*["x" * 20_000] * 100, gate])).instruct("go", await_result=False)
    assert gate.reached(60)
    if not live:
        gate.open()
        thunk.result()
    reader = iter(thunk)
    tracemalloc.start()
    try:
        length = sum(len(next(reader)) for _ in range(100))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert length == 2_000_000
    assert peak < 500_000
