"""What a graph costs: per token, per node, many at once, and in memory per token that nobody has read."""

from __future__ import annotations

import asyncio
import gc
import time
import tracemalloc
from collections.abc import AsyncGenerator, Callable, Iterator
from importlib import import_module
from itertools import pairwise
from typing import Any

from measure import TOKEN, Effort, Row, acpu, tokens

from mellea_like import Finished
from mellea_like.events import Said
from mellea_like.graph.building import StateGraph
from mellea_like.graph.compiled import CompiledGraph
from mellea_like.thunk import ModelOutputThunk

State = dict[str, Any]


def speaking(count: int) -> CompiledGraph:
    """A graph of one node that says `count` tokens."""
    graph = StateGraph()
    graph.add_node("say", lambda state: ModelOutputThunk[str].start(tokens(count)))
    graph.set_entry_point("say")
    return graph.compile()


async def one(state: State) -> State:
    """A node that does next to nothing."""
    return {"x": 1}


def one_synchronously(state: State) -> State:
    """The same, as a plain function."""
    return {"x": 1}


def chain(graph: Any, work: Callable[..., Any], length: int) -> Any:
    """A chain of nodes, in any graph that speaks these verbs."""
    names = [f"n{i}" for i in range(length)]
    for name in names:
        graph.add_node(name, work)
    graph.add_edge("__start__", names[0])
    for before, after in pairwise(names):
        graph.add_edge(before, after)
    return graph.compile()


def messages(effort: Effort) -> Iterator[Row]:
    """CPU per token, from a source that never waits to the reader."""
    count = effort.size(20_000)
    compiled = speaking(count)

    async def read() -> None:
        async for _ in compiled.astream({}, stream_mode="messages"):
            pass

    figure = effort.median(lambda: asyncio.run(acpu(read))) / count * 1e6
    yield Row(name="graph: a token, mode messages", figure=figure, unit="us", at_most=5.0, against=_peer_tokens(effort))


def _peer_tokens(effort: Effort) -> str:
    """Measure LangGraph's fastest way of saying tokens, its custom mode, where it is installed."""
    try:
        graphs, config = import_module("langgraph.graph"), import_module("langgraph.config")
    except ImportError:
        return ""
    count = effort.size(5_000)

    async def say(state: State) -> State:
        write = config.get_stream_writer()
        for _ in range(count):
            write(TOKEN)
        return {}

    graph = graphs.StateGraph(dict)
    graph.add_node("say", say)
    graph.add_edge("__start__", "say")
    compiled = graph.compile()

    async def read() -> None:
        async for _ in compiled.astream({}, stream_mode="custom"):
            pass

    return f"LangGraph, custom: {effort.median(lambda: asyncio.run(acpu(read))) / count * 1e6:.1f} us"


def nodes(effort: Effort) -> Iterator[Row]:
    """Wall time per node of a chain."""
    length = 200
    for work, kind in ((one, "asynchronous"), (one_synchronously, "synchronous, each in a thread")):
        compiled = chain(StateGraph(), work, length)
        figure = effort.median(lambda compiled=compiled: _wall(compiled)) / length * 1e3  # type: ignore[misc]
        against = _peer_chain(effort, work, length)
        yield Row(name=f"graph: a node of a chain, {kind}", figure=figure, unit="ms", at_most=0.3, against=against)


def _wall(compiled: Any) -> float:
    async def run() -> float:
        began = time.perf_counter()
        await compiled.ainvoke({}, {"recursion_limit": 1000})
        return time.perf_counter() - began

    return asyncio.run(run())


def _peer_chain(effort: Effort, work: Callable[..., Any], length: int) -> str:
    try:
        graphs = import_module("langgraph.graph")
    except ImportError:
        return ""
    compiled = chain(graphs.StateGraph(dict), work, length)
    return f"LangGraph: {effort.median(lambda: _wall(compiled)) / length * 1e3:.3f} ms"


def parallel(effort: Effort) -> Iterator[Row]:
    """Wall time of a step of many nodes, and of many runs at once."""
    count = effort.size(1000)
    graph = StateGraph()
    for i in range(count):
        graph.add_node(f"n{i}", one)
        graph.set_entry_point(f"n{i}")
    compiled = graph.compile()
    figure = effort.median(lambda: _wall(compiled)) / count * 1e3
    yield Row(name=f"graph: a node of {count} in one step", figure=figure, unit="ms", at_most=0.3)
    short = chain(StateGraph(), one, 10)

    async def runs() -> float:
        began = time.perf_counter()
        await asyncio.gather(*(short.ainvoke({}) for _ in range(100)))
        return time.perf_counter() - began

    figure = effort.median(lambda: asyncio.run(runs())) / 1000 * 1e3
    yield Row(name="graph: a node, 100 runs of 10 at once", figure=figure, unit="ms", at_most=0.3)


def backlog(effort: Effort) -> Iterator[Row]:
    """Memory per token of a run that nobody reads, its text included."""
    count = effort.size(50_000)

    async def last(state: State) -> State:
        done.set()
        return {}

    done = asyncio.Event()
    graph = StateGraph()
    graph.add_node("say", lambda state: ModelOutputThunk[str].start(_halting(count)))
    graph.add_node("last", last)
    graph.add_edge("__start__", "say")
    graph.add_edge("say", "last")
    compiled = graph.compile()

    async def stalled() -> int:
        gc.collect()
        tracemalloc.start()
        reader = compiled.astream({}, stream_mode="messages")
        await done.wait()
        gc.collect()
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        await reader.aclose()
        return held

    yield Row(name="graph: a token that nobody has read", figure=asyncio.run(stalled()) / count, unit="B", at_most=400)


async def _halting(count: int) -> AsyncGenerator[Said, None]:
    for i in range(count):
        yield f"{i} "
    yield Finished()


MEASURES = (messages, nodes, parallel, backlog)
