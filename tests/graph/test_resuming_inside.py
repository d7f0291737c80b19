"""A run stops inside a node (a subgraph, a list, a graph that a function calls) and goes on there, not before it."""

from __future__ import annotations

import operator
import threading
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest

from mellea_like import load_graph
from mellea_like.errors import GraphError, NodeFailed
from mellea_like.graph.building import StateGraph
from mellea_like.graph.commands import Command
from mellea_like.graph.compiled import CompiledGraph
from mellea_like.graph.now import interrupt
from mellea_like.graph.spec import START
from mellea_like.graph.stores import MemoryBackend, SQLiteBackend

State = dict[str, Any]
THREAD = {"configurable": {"thread_id": "1"}}


class Seen(TypedDict, total=False):
    seen: Annotated[list[Any], operator.add]


class Steps:
    """A subgraph of three nodes, the last two of which ask, and a note of every time that one of them ran."""

    def __init__(self) -> None:
        self.ran: list[str] = []

    def node(self, name: str, *, asks: bool = False) -> Any:
        def run(state: State) -> State:
            self.ran.append(name)
            return {"seen": [interrupt(f"{name}?") if asks else name]}

        return run

    def graph(self) -> StateGraph:
        graph = StateGraph(Seen)
        graph.add_sequence(
            [("one", self.node("one")), ("two", self.node("two", asks=True)), ("three", self.node("three", asks=True))]
        )
        graph.set_entry_point("one")
        return graph


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return MemoryBackend() if request.param == "memory" else SQLiteBackend(str(tmp_path / "runs.db"))


def around(steps: Steps, inner: Any, store: Any, **config: Any) -> CompiledGraph:
    """A graph with `inner` as a node between two others."""
    graph = StateGraph(Seen)
    graph.add_node("before", steps.node("before"))
    graph.add_node("inner", inner, **config)
    graph.add_node("after", steps.node("after"))
    graph.add_sequence(["before", "inner", "after"])
    graph.set_entry_point("before")
    return graph.compile(store)


def calling(inner: CompiledGraph) -> Any:
    async def call(state: State) -> State:
        return {"seen": (await inner.ainvoke({}))["seen"]}

    return call


@pytest.mark.parametrize("how", ["a node", "two levels down", "called by a function", "streamed by a function"])
def test_a_question_inside_stops_the_whole_run_and_its_answer_goes_on_inside(store: Any, how: str) -> None:
    steps = Steps()
    inner: Any = steps.graph().compile()
    if how == "two levels down":
        middle = StateGraph(Seen)
        middle.add_node("deep", inner)
        middle.set_entry_point("deep")
        inner = middle.compile()
    elif how == "called by a function":
        inner = calling(inner)
    elif how == "streamed by a function":
        streamed = inner

        def read(state: State) -> State:
            *_, last = streamed.stream({}, stream_mode="values")
            return {"seen": last["seen"]}

        inner = read
    graph = around(steps, inner, store)
    first = graph.invoke({}, THREAD)
    assert [asked.value for asked in first.pop("__interrupt__")] == ["two?"]
    assert first == {"seen": ["before"]}
    second = graph.invoke(Command(resume="2"), THREAD)
    assert [asked.value for asked in second["__interrupt__"]] == ["three?"]
    assert graph.invoke(Command(resume="3"), THREAD) == {"seen": ["before", "one", "2", "3", "after"]}
    assert steps.ran == ["before", "one", "two", "two", "three", "three", "after"]


def test_every_item_of_a_list_may_ask_and_those_that_are_through_do_not_run_again(store: Any) -> None:
    ran: list[int] = []
    last_asked = threading.Event()

    def each(state: State) -> State:
        item = state["item"]
        ran.append(item)
        if item == 1 and not last_asked.wait(10):  # the first item asks after the last one, and is answered before it
            raise TimeoutError
        if item == 3:
            last_asked.set()
        return {"seen": [interrupt(item) if item % 2 else item]}

    graph = StateGraph()
    graph.add_node("each", each, node_type="map", over="items")
    graph.set_entry_point("each")
    compiled = graph.compile(store)
    waiting = compiled.invoke({"items": [1, 2, 3]}, THREAD)
    assert [asked.value for asked in waiting["__interrupt__"]] == [1, 3]
    assert [asked.value for asked in compiled.invoke(Command(resume="a"), THREAD)["__interrupt__"]] == [3]
    assert compiled.invoke(Command(resume="b"), THREAD)["results"] == [["a"], [2], ["b"]]
    assert sorted(ran) == [1, 1, 2, 3, 3, 3]


def test_two_questions_of_one_subgraph_are_answered_one_after_the_other(store: Any) -> None:
    steps = Steps()
    inner = StateGraph(Seen)
    for name in ("left", "right"):
        inner.add_node(name, steps.node(name, asks=True))
        inner.set_entry_point(name)
    graph = around(steps, inner.compile(), store)
    both = graph.invoke({}, THREAD)["__interrupt__"]
    assert [(asked.value, asked.id) for asked in both] == [("left?", "inner/1:left"), ("right?", "inner/1:right")]
    assert [asked.value for asked in graph.invoke(Command(resume="l"), THREAD)["__interrupt__"]] == ["right?"]
    assert graph.invoke(Command(resume="r"), THREAD) == {"seen": ["before", "l", "r", "after"]}


@pytest.mark.parametrize("how", ["a node", "called by a function"])
def test_several_questions_are_answered_at_once_by_their_ids(store: Any, how: str) -> None:
    steps = Steps()
    inner = StateGraph(Seen)
    for name in ("left", "right"):
        inner.add_node(name, steps.node(name, asks=True))
        inner.set_entry_point(name)
    compiled = inner.compile()
    graph = StateGraph(Seen)
    graph.add_node("inner", compiled if how == "a node" else calling(compiled))
    graph.add_node("beside", steps.node("beside", asks=True))
    graph.add_parallel_edges(START, ["inner", "beside"])
    outer = graph.compile(store)
    answers, state = dict[str, str](), outer.invoke({}, THREAD)
    while "__interrupt__" in state:
        answers = {asked.id: asked.value.upper() for asked in state["__interrupt__"]}
        state = outer.invoke(Command(resume=answers), THREAD)
    assert state == {"seen": ["LEFT?", "RIGHT?", "BESIDE?"]}


def test_a_dict_that_names_no_question_is_an_answer_by_itself(store: Any) -> None:
    graph = around(Steps(), Steps().graph().compile(), store)
    graph.invoke({}, THREAD)
    graph.invoke(Command(resume={"name": "Ana"}), THREAD)
    assert graph.invoke(Command(resume={}), THREAD)["seen"] == ["before", "one", {"name": "Ana"}, {}, "after"]


def test_a_question_is_told_once_and_says_which_subgraph_asks() -> None:
    steps = Steps()
    graph = around(steps, steps.graph().compile(), MemoryBackend())
    told = [event for event in graph.stream({}, THREAD, stream_mode="events") if event.type == "interrupt"]
    assert [(event.ns, event.node_id, event.value) for event in told] == [(("inner",), "two", "two?")]


def test_a_subgraph_that_stops_before_a_node_stops_the_whole_run(store: Any) -> None:
    steps = Steps()
    inner = StateGraph(Seen)
    inner.add_sequence([("one", steps.node("one")), ("two", steps.node("two"))])
    inner.set_entry_point("one")
    graph = around(steps, inner.compile(interrupt_before=["two"]), store)
    assert graph.invoke({}, THREAD)["seen"] == ["before"]
    assert graph.invoke(None, THREAD) == {"seen": ["before", "one", "two", "after"]}
    assert steps.ran == ["before", "one", "two", "after"]


def test_a_subgraph_that_failed_goes_on_after_its_last_step(store: Any) -> None:
    steps, broken = Steps(), [True]

    def fail(state: State) -> State:
        steps.ran.append("fail")
        if broken:
            raise OSError("not now")
        return {"seen": ["mended"]}

    inner = StateGraph(Seen)
    inner.add_sequence([("one", steps.node("one")), ("fail", fail)])
    inner.set_entry_point("one")
    graph = around(steps, inner.compile(), store)
    with pytest.raises(NodeFailed):
        graph.invoke({}, THREAD)
    broken.clear()
    assert graph.invoke(None, THREAD) == {"seen": ["before", "one", "mended", "after"]}
    assert steps.ran == ["before", "one", "fail", "fail", "after"]


def test_a_retry_of_the_node_begins_its_subgraph_again(store: Any) -> None:
    steps, broken = Steps(), [True]

    def fail_once(state: State) -> State:
        if broken:
            broken.clear()
            raise ConnectionError("not now")
        return {"seen": ["two"]}

    inner = StateGraph(Seen)
    inner.add_sequence([("one", steps.node("one")), ("two", fail_once)])
    inner.set_entry_point("one")
    graph = around(steps, inner.compile(), store, retry={"max_retries": 1, "delay": 0})
    assert graph.invoke({}, THREAD) == {"seen": ["before", "one", "two", "after"]}
    assert steps.ran == ["before", "one", "one", "after"]


def test_a_graph_that_a_function_calls_is_through_before_another_one_asks(store: Any) -> None:
    steps = Steps()
    plain = StateGraph(Seen)
    plain.add_node("plain", steps.node("plain"))
    plain.set_entry_point("plain")
    first, second = plain.compile(), steps.graph().compile()

    def both(state: State) -> State:
        return {"seen": [*first.invoke({})["seen"], *second.invoke({})["seen"], interrupt("mine?")]}

    graph = around(steps, both, store)
    values = [graph.invoke({}, THREAD)["__interrupt__"][0].value]
    values += [graph.invoke(Command(resume=answer), THREAD)["__interrupt__"][0].value for answer in "23"]
    assert values == ["two?", "three?", "mine?"]


def test_a_graph_that_keeps_its_own_runs_answers_for_itself() -> None:
    steps = Steps()
    inner = steps.graph().compile(MemoryBackend())

    def call(state: State) -> State:
        asked = inner.invoke({}, {"thread_id": "own"})["__interrupt__"]
        return {"seen": [asked[0].value]}

    graph = around(steps, call, MemoryBackend())
    assert graph.invoke({}, THREAD) == {"seen": ["before", "two?", "after"]}


@pytest.mark.parametrize("called", [False, True])
def test_where_nothing_is_kept_a_question_inside_is_an_error_that_says_how(called: bool) -> None:
    steps = Steps()
    inner = steps.graph().compile()
    with pytest.raises(GraphError, match=r"compile\(checkpointer="):
        around(steps, calling(inner) if called else inner, None).invoke({})


def test_a_graph_file_may_ask_inside_its_subgraph(tmp_path: Path) -> None:
    (tmp_path / "inner.yaml").write_text(
        """
nodes:
  ask: {type: interrupt, message: "Who is {state.topic}?", resume_key: who}
edges:
  - {from: START, to: ask}
"""
    )
    (tmp_path / "outer.yaml").write_text(
        """
nodes:
  sub: {type: subgraph, graph: inner.yaml, output_mapping: {who: who}}
edges:
  - {from: START, to: sub}
checkpointer: {type: memory}
"""
    )
    graph = load_graph(tmp_path / "outer.yaml")
    assert graph.invoke({"topic": "Ana"}, THREAD)["__interrupt__"][0].value == "Who is Ana?"
    assert graph.invoke(Command(resume="a friend"), THREAD)["who"] == "a friend"
