"""A run stops when nobody can read it, or somebody says so; what it started stops with it, and nothing is left."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable
from typing import Any

import pytest

from mellea_like import Answer, Gate, GenerationCancelled, MelleaSession, NodeTimeout
from mellea_like.graph.building import StateGraph
from mellea_like.graph.compiled import CompiledGraph
from mellea_like.graph.spec import START

State = dict[str, Any]


def talking(talker: Any) -> CompiledGraph:
    graph = StateGraph()
    graph.add_node("talk", node_type="llm")
    graph.set_entry_point("talk")
    return graph.compile(backend=talker)


def test_leaving_the_loop_stops_the_model(talker: Any) -> None:
    for mode, chunk in talking(talker).stream("Talk.", stream_mode="messages"):
        assert (mode, chunk.content) == ("messages", "word ")
        break
    gc.collect()
    assert talker.is_stopped()


async def test_leaving_the_asynchronous_loop_stops_the_model(talker: Any) -> None:
    async for _, chunk in talking(talker).astream("Talk.", stream_mode="messages"):
        assert chunk.content == "word "
        break
    gc.collect()
    assert await asyncio.to_thread(talker.is_stopped)


def test_closing_waits_until_the_model_has_stopped(talker: Any) -> None:
    with talking(talker).stream("Talk.", stream_mode="messages") as reader:
        next(reader)
    assert talker.stopped.is_set()
    assert reader.run.state == "cancelled"


async def test_closing_asynchronously_waits_until_the_model_has_stopped(talker: Any) -> None:
    async with talking(talker).astream("Talk.", stream_mode="messages") as reader:
        await anext(reader)
    assert talker.stopped.is_set()


async def test_a_cancelled_invocation_stops_the_model(talker: Any) -> None:
    task = asyncio.create_task(talking(talker).ainvoke("Talk."))
    assert await asyncio.to_thread(talker.flowing.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(talker.is_stopped)


async def test_closing_cancels_asynchronous_functions_and_what_they_wait_for(talker: Any) -> None:
    left = asyncio.Event()

    async def node(state: State) -> State:
        try:
            return {"text": (await talker.session.ainstruct("Talk.")).value}
        finally:
            left.set()

    graph = StateGraph()
    graph.add_node(node)
    graph.set_entry_point("node")
    async with graph.compile().astream({}, stream_mode="messages") as reader:
        await anext(reader)
    async with asyncio.timeout(10):
        await left.wait()
    assert await asyncio.to_thread(talker.is_stopped)


async def test_closing_stops_a_generator_and_what_it_streams(talker: Any) -> None:
    left = asyncio.Event()

    async def node(state: State) -> Any:
        try:
            thunk = await talker.session.ainstruct("Talk.", await_result=False)
            async for delta in thunk:
                yield delta
        finally:
            left.set()

    graph = StateGraph()
    graph.add_node(node)
    graph.set_entry_point("node")
    async with graph.compile().astream({}, stream_mode="messages") as reader:
        await anext(reader)
    async with asyncio.timeout(10):
        await left.wait()
    await asyncio.sleep(0)  # the generator's own end
    gc.collect()
    assert await asyncio.to_thread(talker.is_stopped)


def test_a_run_that_is_held_goes_on_when_a_reader_is_dropped(talker: Any) -> None:
    run = talking(talker).start("Talk.")
    next(run.stream("messages"))
    gc.collect()
    assert talker.is_running()
    run.close()
    assert talker.stopped.is_set()


def test_readers_of_a_run_that_was_stopped_get_what_came_and_then_are_told(talker: Any) -> None:
    run = talking(talker).start("Talk.")
    reader = run.stream(["messages", "events"])
    while next(reader)[0] != "messages":
        pass
    run.close()
    rest: list[Any] = []
    with pytest.raises(GenerationCancelled):
        rest.extend(reader)
    assert [event.type for event in run.events()][-1] == "execution_cancelled"


async def test_no_task_is_left_on_the_callers_loop(fake: Callable[..., MelleaSession]) -> None:
    m = fake("one two three")

    async def node(state: State) -> State:
        return {"text": (await m.ainstruct("count")).value}

    graph = StateGraph()
    for name in "abc":
        graph.add_node(name, node)
        graph.add_edge(START, name)
    async with graph.compile().astream({}, stream_mode="messages") as reader:
        await anext(reader)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    gc.collect()
    assert asyncio.all_tasks() == {asyncio.current_task()}


def test_a_consumer_that_stands_still_holds_up_nothing() -> None:
    done = threading.Event()

    def last(state: State) -> None:
        done.set()

    graph = StateGraph()
    graph.add_node("say", lambda state: iter_words())
    graph.add_node(last)
    graph.add_sequence([START, "say", "last"])
    reader = graph.compile().stream({}, stream_mode="messages")
    assert next(reader)[1].content == "w0 "
    assert done.wait(10)
    assert [chunk.content for _, chunk in reader] == [f"w{i} " for i in range(1, 500)]


def iter_words() -> Any:
    for i in range(500):
        yield f"w{i} "


async def test_a_run_may_be_read_on_another_loop_and_in_another_thread() -> None:
    graph = StateGraph()
    graph.add_node("say", lambda state: iter_words())
    graph.set_entry_point("say")
    run = graph.compile().start({})

    async def count() -> int:
        return len([chunk async for chunk in run.stream("messages")])

    assert await asyncio.to_thread(asyncio.run, count()) == await count() == 500


def test_runs_leave_nothing_behind_that_only_a_collection_would_free() -> None:
    graph = StateGraph()
    graph.add_node("say", lambda state: iter_words())
    graph.set_entry_point("say")
    compiled = graph.compile()
    compiled.invoke({})
    gc.collect()
    gc.disable()
    try:
        before = len(gc.get_objects())
        for _ in range(10):
            compiled.invoke({})
        grown = len(gc.get_objects()) - before
    finally:
        gc.enable()
    assert grown < 1000, grown


def test_closing_stops_a_thunk_that_a_node_returned_though_somebody_holds_it(talker: Any) -> None:
    held: list[Any] = []

    def node(state: State) -> Any:
        held.append(talker.session.instruct("Talk.", await_result=False))
        return held[0]

    graph = StateGraph()
    graph.add_node(node)
    graph.set_entry_point("node")
    reader = graph.compile().stream({}, stream_mode=["messages", "events"])
    while next(reader)[0] != "messages":
        pass
    reader.close()
    assert talker.is_stopped()
    assert held[0].state == "cancelled"


def test_a_node_is_complete_when_its_generations_are_though_it_returned_before(
    fake: Callable[..., MelleaSession],
) -> None:
    gate, returned = Gate(), threading.Event()
    m, held = fake(Answer(["one", gate, "two"])), list[Any]()

    def node(state: State) -> State:
        held.append(m.instruct("count", await_result=False))
        returned.set()
        return {"done": True}

    graph = StateGraph()
    graph.add_node(node)
    graph.set_entry_point("node")
    reader = graph.compile().stream({}, stream_mode=["messages", "updates"])
    assert next(reader)[1].content == "one"
    assert returned.wait(10)
    assert gate.reached(10)
    gate.open()
    assert next(reader)[1].content == "two"
    assert next(reader) == ("updates", {"node": {"done": True}})


def test_closing_stops_a_model_that_a_synchronous_function_waits_for(talker: Any) -> None:
    graph = StateGraph()
    graph.add_node("talk", lambda state: {"text": talker.session.instruct("Talk.").value})
    graph.set_entry_point("talk")
    with graph.compile().stream({}, stream_mode="messages") as reader:
        next(reader)
    assert talker.is_stopped()


class Endless:
    """A node that says more every moment, and notes that it was closed."""

    def __init__(self) -> None:
        self.closed = threading.Event()

    def words(self, state: State) -> Any:
        try:
            while True:
                yield "word "
        finally:
            self.closed.set()

    async def words_asynchronously(self, state: State) -> Any:
        try:
            while True:
                yield "word "
        finally:
            self.closed.set()

    def graph(self, *, asynchronous: bool = False, **config: Any) -> CompiledGraph:
        graph = StateGraph()
        graph.add_node("words", self.words_asynchronously if asynchronous else self.words, **config)
        graph.set_entry_point("words")
        return graph.compile()


def test_a_generator_that_never_pauses_holds_up_nobody_and_is_stopped(fake: Callable[..., MelleaSession]) -> None:
    endless, m = Endless(), fake("Here.")
    with endless.graph().stream({}, stream_mode="messages") as reader:
        next(reader)
        assert m.instruct("Are you there?").value == "Here."
    assert endless.closed.wait(10)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_generator_that_never_pauses_is_stopped_by_its_timeout(asynchronous: bool) -> None:
    endless = Endless()
    with pytest.raises(NodeTimeout):
        endless.graph(asynchronous=asynchronous, timeout=0.05).invoke({})
    assert endless.closed.wait(10)


@pytest.mark.parametrize("node", ["function", "generator"])
@pytest.mark.parametrize("how", ["aclose", "cancel", "from a thread"])
async def test_a_node_that_is_stopped_has_cleaned_up_when_closing_returns(node: str, how: str) -> None:
    began, cleaned = asyncio.Event(), list[str]()

    async def work(state: State) -> None:
        try:
            began.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.append(node)

    async def generator(state: State) -> Any:
        yield "word "
        await work(state)

    graph = StateGraph()
    graph.add_node("node", work if node == "function" else generator)
    graph.set_entry_point("node")
    run = graph.compile().start({})
    await began.wait()
    if how == "aclose":
        await run.stream("events").aclose()
    elif how == "cancel":
        await run.cancel()
    else:
        await asyncio.to_thread(run.close)
    assert cleaned == [node]


def test_in_synchronous_code_too() -> None:
    began, cleaned = threading.Event(), threading.Event()

    async def work(state: State) -> None:
        try:
            began.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.set()

    graph = StateGraph()
    graph.add_node("node", work)
    graph.set_entry_point("node")
    with graph.compile().start({}) as run:
        assert began.wait(10)
    assert run.state == "cancelled"
    assert cleaned.is_set()
