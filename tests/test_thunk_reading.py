"""Reading a thunk: nothing is lost, the first text comes at once, readers do not disturb each other."""

from __future__ import annotations

import asyncio

import pytest

from mellea_like import (
    AlreadyPolled,
    Answer,
    ChatContext,
    Delta,
    Gate,
    Thinking,
)

BURST = [f"{number} " for number in range(400)]


async def printed(thunk):
    """Run the polling loop of the documentation; return what it prints."""
    shown = ""
    while not thunk.is_computed():
        text = await thunk.astream()
        assert text.startswith(shown)
        shown += text[len(shown) :]
    return shown


# --- nothing is lost --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "steps", [[], ["all"], ["one ", "two"], [0.0, "a", 0.0, 0.0, "b", 0.0], BURST, ["é\n", "", "\N{PARTY POPPER}"]]
)
async def test_the_polling_loop_prints_the_whole_answer(fake, steps):
    thunk = await fake(Answer(steps)).ainstruct("go", await_result=False)
    assert await printed(thunk) == "".join(step for step in steps if isinstance(step, str))
    assert thunk.is_computed()


@pytest.mark.parametrize("steps", [[], ["all"], BURST])
async def test_polling_that_begins_after_the_end_prints_the_whole_answer(fake, steps):
    thunk = await fake(Answer(steps)).ainstruct("go", await_result=False)
    await thunk.ended()
    assert await printed(thunk) == "".join(steps)


async def test_each_poll_waits_for_more_than_the_previous_one_returned(fake):
    gates = [Gate(), Gate()]
    thunk = await fake(Answer(["a", gates[0], "b", gates[1], "c"])).ainstruct("go", await_result=False)
    assert await thunk.astream() == "a"
    gates[0].open()
    assert await thunk.astream() == "ab"
    gates[1].open()
    assert await thunk.astream() == "abc"


async def test_polling_after_the_end_returns_the_whole_text_every_time(fake):
    thunk = await fake("one two").ainstruct("go", await_result=False)
    await printed(thunk)
    assert [await thunk.astream() for _ in range(3)] == ["one two"] * 3
    assert thunk.is_computed()


async def test_once_polled_only_polling_delivers_the_end(fake):
    gate = Gate()
    thunk = await fake(Answer(["one ", gate, "two"])).ainstruct("go", await_result=False)
    assert await thunk.astream() == "one "
    gate.open()
    assert await thunk.avalue() == "".join([delta async for delta in thunk]) == thunk.result().value == "one two"
    assert not thunk.is_computed()
    assert await thunk.astream() == "one two"
    assert await printed(thunk) == ""


async def test_without_polling_any_reading_delivers_the_end(fake, read):
    gate = Gate()
    thunk = await fake(Answer(["one ", gate, "two"])).ainstruct("go", await_result=False)
    assert not thunk.is_computed()
    gate.open()
    await read(thunk)
    assert thunk.is_computed()


async def test_events_deliver_the_end_too(fake):
    thunk = await fake("one two").ainstruct("go", await_result=False)
    assert not thunk.is_computed()
    async for _ in thunk.events():
        pass
    assert thunk.is_computed()


async def test_polling_starts_over_after_another_kind_of_reading(fake):
    thunk = await fake("one two").ainstruct("go", await_result=False)
    await thunk
    assert await thunk.astream() == "one two"
    assert thunk.is_computed()


async def test_a_later_call_that_needs_the_text_is_not_a_reading(fake):
    m = fake(["first answer", "second", "third"], ctx=ChatContext())
    first = await m.achat("a", await_result=False)
    await m.ainstruct("Repeat {{ it }}.", user_variables={"it": first})
    await m.achat("b")
    assert first.done()
    assert not first.is_computed()
    assert await printed(first) == "first answer"


async def test_a_cancelled_poll_loses_nothing(fake):
    gate = Gate()
    thunk = await fake(Answer(["one ", gate, "two"])).ainstruct("go", await_result=False)
    assert await thunk.astream() == "one "
    poll = asyncio.create_task(thunk.astream())
    await asyncio.sleep(0)
    poll.cancel()
    assert isinstance((await asyncio.gather(poll, return_exceptions=True))[0], asyncio.CancelledError)
    gate.open()
    assert await thunk.astream() == "one two"


@pytest.mark.parametrize("patience", [0, 0.0001, 0.01])
async def test_polls_that_time_out_lose_nothing(fake, patience):
    gate = Gate()
    thunk = await fake(Answer(["one ", gate, "two", 0.0, " three"])).ainstruct("go", await_result=False)
    for _ in range(5):
        try:
            await asyncio.wait_for(thunk.astream(), patience)
        except TimeoutError:
            gate.open()
    assert not thunk.is_computed() or thunk.value == "one two three"
    await printed(thunk)
    assert await thunk.astream() == "one two three"


async def test_a_second_poller_is_refused_and_the_first_goes_on(fake):
    gate = Gate()
    thunk = await fake(Answer([gate, "text"])).ainstruct("go", await_result=False)
    first = asyncio.create_task(thunk.astream())
    await asyncio.sleep(0)
    with pytest.raises(AlreadyPolled, match="async for"):
        await thunk.astream()
    gate.open()
    assert await first == "text"


async def test_a_done_thunk_has_its_value_although_nobody_read_it(fake):
    gate = Gate()
    thunk = await fake(Answer(["one ", gate, "two"])).ainstruct("go", await_result=False)
    assert not thunk.done()
    gate.open()
    await thunk.ended()
    assert thunk.done()
    assert (thunk.value, str(thunk), f"{thunk:>8}") == ("one two", "one two", " one two")
    assert not thunk.is_computed()


# --- first text at the first token ------------------------------------------------------------------------------------


async def test_a_poll_returns_the_first_token_while_the_model_has_no_second(fake):
    gate = Gate()
    thunk = await fake(Answer(["first", gate])).ainstruct("go", await_result=False)
    assert await thunk.astream() == "first"
    assert not thunk.done()


@pytest.mark.parametrize("view", [aiter, lambda thunk: aiter(thunk.events())], ids=["text", "events"])
async def test_an_async_reader_gets_the_first_token_while_the_model_has_no_second(fake, view):
    gate = Gate()
    thunk = await fake(Answer(["first", gate])).ainstruct("go", await_result=False)
    async for said in view(thunk):
        if said == "first" or (isinstance(said, Delta) and said.text == "first"):
            break
    assert not thunk.done()


@pytest.mark.parametrize("view", [iter, lambda thunk: iter(thunk.events())], ids=["text", "events"])
def test_a_synchronous_reader_gets_the_first_token_while_the_model_has_no_second(fake, view):
    gate = Gate()
    thunk = fake(Answer(["first", gate])).instruct("go", await_result=False)
    reader = view(thunk)
    while getattr(said := next(reader), "text", said) != "first":
        pass
    assert not thunk.done()


@pytest.mark.parametrize(
    "steps", [BURST, ["a", 0.0, "b", "c"], ["\n", " ", "\n\n", "x"]], ids=["burst", "few", "blank"]
)
async def test_deltas_are_the_backends_own_live_and_replayed(fake, steps):
    gate = Gate()
    thunk = await fake(Answer([gate, *steps])).ainstruct("go", await_result=False)
    live = asyncio.create_task(_collected(thunk))
    await asyncio.sleep(0)
    gate.open()
    deltas = [step for step in steps if isinstance(step, str)]
    assert await live == deltas
    assert await _collected(thunk) == list(thunk) == list(await thunk) == deltas


async def _collected(reader):
    return [item async for item in reader]


async def test_thinking_is_kept_apart_from_the_text(fake):
    steps = [Thinking(text="hm "), "a", Thinking(text="so"), "b"]
    thunk = await fake(Answer(steps)).ainstruct("go")
    assert (thunk.value, thunk.thinking, list(thunk)) == ("ab", "hm so", ["a", "b"])
    said = [(e.type, e.text) for e in thunk.events() if e.type in {"delta", "thinking"}]
    assert said == [("thinking", "hm "), ("delta", "a"), ("thinking", "so"), ("delta", "b")]


async def test_events_are_numbered_and_live_events_equal_replayed_ones(fake):
    thunk = await fake(Answer(["a", Thinking(text="hm"), 0.0, "b"])).ainstruct("go", await_result=False)
    live = await _collected(thunk.events())
    assert live == list(thunk.events()) == await _collected(thunk.events())
    assert [event.type for event in live] == ["started", "delta", "thinking", "delta", "finished"]
    assert [event.seq for event in live] == [0, 1, 2, 3, 4]
    assert [event.seconds for event in live] == sorted(event.seconds for event in live)
    assert {event.attempt for event in live} == {1}


# --- readers do not disturb each other --------------------------------------------------------------------------------


async def test_readers_at_once_get_the_whole_text(fake, read):
    gate = Gate()
    thunk = await fake(Answer([*BURST, gate, *BURST])).ainstruct("go", await_result=False)
    one = asyncio.create_task(read(thunk))
    others = [asyncio.create_task(_collected(thunk)) for _ in range(5)]
    values = [asyncio.create_task(thunk.avalue()) for _ in range(5)]
    await asyncio.sleep(0)
    gate.open()
    assert (await one).text == "".join(BURST * 2)
    assert await asyncio.gather(*others) == [BURST * 2] * 5
    assert await asyncio.gather(*values) == ["".join(BURST * 2)] * 5


@pytest.mark.parametrize("verb", ["avalue", "astream", "ended"])
async def test_a_cancelled_reader_leaves_the_others_alone(fake, verb):
    gate = Gate()
    thunk = await fake(Answer([gate, "one ", "two"])).ainstruct("go", await_result=False)
    doomed = asyncio.create_task(getattr(thunk, verb)())
    others = [asyncio.create_task(_collected(thunk)), asyncio.create_task(_collected(thunk))]
    await asyncio.sleep(0)
    doomed.cancel()
    await asyncio.sleep(0)
    gate.open()
    assert await asyncio.gather(*others) == [["one ", "two"]] * 2


async def test_a_reader_that_breaks_off_leaves_the_others_alone(fake):
    thunk = await fake(Answer(BURST)).ainstruct("go", await_result=False)
    async for _ in thunk:
        break
    for _ in thunk:
        break
    assert await _collected(thunk) == BURST


async def test_a_reader_goes_on_where_it_was(fake):
    thunk = await fake("one two three").ainstruct("go", await_result=False)
    reader = aiter(thunk)
    assert [await anext(reader), *[delta async for delta in reader]] == ["one", " two", " three"]
    assert [delta async for delta in reader] == []


async def test_a_thunk_may_be_used_twice_in_one_component(fake):
    m = fake(["river", "poem"])
    thunk = await m.ainstruct("a", await_result=False)
    await m.ainstruct("{{ x }} and {{ y }}", user_variables={"x": thunk, "y": thunk})
    assert m.backend.calls[1].messages[-1].content == "river and river"


async def test_two_calls_may_depend_on_one_running_thunk(fake):
    gate = Gate()
    answers = {"a": Answer(["riv", gate, "er"]), "Sing river": "la", "Draw river": "o"}
    m = fake(lambda request: answers[request.messages[-1].content])
    thunk = await m.ainstruct("a", await_result=False)
    calls = [
        await m.ainstruct(f"{verb} {{{{ it }}}}", user_variables={"it": thunk}, await_result=False)
        for verb in ("Sing", "Draw")
    ]
    gate.open()
    assert [await call.avalue() for call in calls] == ["la", "o"]


@pytest.mark.parametrize("view", [aiter, lambda thunk: aiter(thunk.events())], ids=["text", "events"])
async def test_a_reader_that_always_finds_more_gives_its_loop_a_turn(fake, view):
    thunk = await fake(Answer(["x"] * 5000)).ainstruct("go")
    turns = 0

    async def count():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    await _collected(view(thunk))
    counting.cancel()
    assert turns > 10


async def test_a_poller_gives_its_loop_a_turn(fake):
    thunk = await fake("text").ainstruct("go", await_result=False)
    await thunk.ended()
    turned = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(turned.set_result, None)
    await thunk.astream()
    assert turned.done()
