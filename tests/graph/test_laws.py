"""What holds for every graph: timing changes nothing, and folds over the events are what the modes show."""

from __future__ import annotations

import asyncio
import operator
import random
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

from hypothesis import given, settings
from hypothesis import strategies as st

from mellea_like.graph.building import StateGraph
from mellea_like.graph.compiled import CompiledGraph
from mellea_like.graph.spec import END, START


class State(TypedDict, total=False):
    seen: Annotated[list[str], operator.add]
    total: Annotated[int, operator.add]


Plan = list[tuple[list[int], int | None]]
"""For each node: the later nodes that its edges lead to, and the one that its choice leads to for an even total."""


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    size = draw(st.integers(1, 6))
    plan: Plan = []
    for i in range(size):
        later = st.integers(i + 1, size - 1) if i + 1 < size else st.nothing()
        edges = draw(st.lists(later, max_size=3, unique=True)) if i + 1 < size else []
        choice = draw(st.none() | later) if i + 1 < size else None
        plan.append((edges, choice))
    return plan


def name(i: int) -> str:
    return f"n{i}"


def work(i: int, wait: Callable[[], int]) -> Any:
    async def node(state: State) -> State:
        for _ in range(wait()):
            await asyncio.sleep(0)
        return {"seen": [name(i)], "total": i + len(state["seen"])}

    return node


def choose(target: str) -> Any:
    return lambda state: target if state["total"] % 2 == 0 else END


def built(plan: Plan, wait: Callable[[], int]) -> CompiledGraph:
    graph = StateGraph(State)
    for i, _ in enumerate(plan):
        graph.add_node(name(i), work(i, wait))
    led = {j for edges, choice in plan for j in [*edges, choice] if j is not None}
    for i in range(len(plan)):
        if i not in led:
            graph.add_edge(START, name(i))
    for i, (edges, choice) in enumerate(plan):
        for j in edges:
            graph.add_edge(name(i), name(j))
        if choice is not None:
            graph.add_conditional_edges(name(i), choose(name(choice)), [name(choice), END])
    return graph.compile()


def shown(compiled: CompiledGraph) -> list[Any]:
    async def read() -> list[Any]:
        return [item async for item in compiled.astream({"seen": [], "total": 0}, stream_mode="values")]

    return asyncio.run(read())


@settings(deadline=None, max_examples=30)
@given(plans(), st.integers(0, 2**16))
def test_results_do_not_depend_on_timing(plan: Plan, seed: int) -> None:
    chance = random.Random(seed)
    at_once = built(plan, lambda: 0)
    in_any_order = built(plan, lambda: chance.randrange(4))
    assert shown(at_once) == shown(in_any_order)


@settings(deadline=None, max_examples=25)
@given(plans())
def test_modes_are_folds_over_the_events(plan: Plan) -> None:
    run = built(plan, lambda: 0).start({"seen": [], "total": 0})
    events = list(run.stream("events"))
    assert [event.seq for event in events] == list(range(len(events)))
    assert sum(event.type.startswith("execution_") for event in events) == 2
    states = [dict(e.state) for e in events if e.type in {"execution_start", "state_update"}]
    assert list(run.stream("values")) == states
    assert states[-1] == run.result().parsed
    assert list(run.stream("updates")) == [{e.node_id: e.update} for e in events if e.type == "node_complete"]
