"""How the scheduler runs a graph: steps, order, joins, loops, choices, limits; and that nothing depends on timing."""

from __future__ import annotations

import asyncio
import operator
import threading
from typing import Annotated, Any, TypedDict

import pytest

from mellea_like import Answer, FakeBackend, Gate
from mellea_like.errors import GraphInvalid, InvalidArgument, InvalidUpdate, RecursionLimit
from mellea_like.graph.building import StateGraph
from mellea_like.graph.commands import Command, Send
from mellea_like.graph.now import interrupt
from mellea_like.graph.spec import END, START
from mellea_like.graph.stores import MemoryBackend

State = dict[str, Any]


class Seen(TypedDict, total=False):
    seen: Annotated[list[Any], operator.add]
    n: int


def marking(name: str) -> Any:
    return lambda state: {"seen": [name]}


def marked(*names: str) -> StateGraph:
    """A graph of nodes that write their names."""
    graph = StateGraph(Seen)
    for name in names:
        graph.add_node(name, marking(name))
    return graph


def test_every_spelling_of_start_and_end_means_the_same() -> None:
    for start in ("START", "__start__", START):
        for end in ("END", "__end__", END):
            graph = marked("a")
            graph.add_edge(start, "a")
            graph.add_edge("a", end)
            assert graph.compile().invoke({}) == {"seen": ["a"]}


def test_two_edges_from_start_to_the_entry_are_one() -> None:
    graph = marked("a")
    graph.add_edge("START", "a")
    graph.set_entry_point("a")
    compiled = graph.compile()
    assert compiled.invoke({}) == {"seen": ["a"]}
    assert compiled.mermaid().count("start --> n0") == 1


def test_updates_of_a_step_are_applied_in_the_order_of_the_nodes_whichever_is_through_first() -> None:
    done = threading.Event()

    def slow(state: State) -> State:
        assert done.wait(10)
        return {"seen": ["slow"]}

    def quick(state: State) -> State:
        done.set()
        return {"seen": ["quick"]}

    graph = StateGraph(Seen)
    graph.add_node(slow)
    graph.add_node(quick)
    graph.add_parallel_edges(START, ["slow", "quick"])
    shown = list(graph.compile().stream({}, stream_mode=["updates", "values"]))
    assert [mode for mode, _ in shown] == ["values", "updates", "updates", "values"]
    assert list(shown[1][1]) == ["quick"]
    assert shown[-1][1] == {"seen": ["slow", "quick"]}


def test_models_of_one_step_speak_at_the_same_time_and_their_tokens_interleave() -> None:
    left, right = Gate(), Gate()
    graph = StateGraph()
    graph.add_node("a", node_type="llm", backend=FakeBackend(answers=Answer(["a1", left, "a2"])), state_key="a")
    graph.add_node("b", node_type="llm", backend=FakeBackend(answers=Answer(["b1", right, "b2"])), state_key="b")
    graph.add_parallel_edges(START, ["a", "b"])
    reader = graph.compile().stream("hi", stream_mode="messages")
    first = {next(reader)[1].content, next(reader)[1].content}
    right.open()
    second = next(reader)[1]
    left.open()
    third = next(reader)[1]
    assert (first, second.content, third.content) == ({"a1", "b1"}, "b2", "a2")
    assert (second.node, third.node) == ("b", "a")
    assert list(reader) == []


def test_a_join_runs_once_when_all_its_sources_are_through() -> None:
    graph = marked("a", "b", "b2", "c")
    graph.add_parallel_edges(START, ["a", "b"])
    graph.add_edge("b", "b2")
    graph.add_edge(["a", "b2"], "c")
    assert graph.compile().invoke({}) == {"seen": ["a", "b", "b2", "c"]}


def test_a_plain_edge_does_not_wait_for_others() -> None:
    graph = marked("a", "b", "b2", "c")
    graph.add_parallel_edges(START, ["a", "b"])
    graph.add_edge("b", "b2")
    graph.add_edge("a", "c")
    graph.add_edge("b2", "c")
    assert graph.compile().invoke({}) == {"seen": ["a", "b", "b2", "c", "c"]}


def test_a_fan_in_does_not_wait_for_branches_that_were_not_taken() -> None:
    graph = marked("ask", "yes", "no", "end")
    graph.set_entry_point("ask")
    graph.add_conditional_edges("ask", lambda state: "yes", ["yes", "no"])
    graph.add_fan_in_edge(["yes", "no"], "end")
    assert graph.compile().invoke({}) == {"seen": ["ask", "yes", "end"]}


def sum_of(inputs: State) -> State:
    return {"sum": sum(inputs.values())}


def test_a_fan_in_can_aggregate_what_its_sources_came_to() -> None:
    graph = StateGraph()
    graph.add_node("a", lambda state: {"x": 1})
    graph.add_node("b", lambda state: {"y": 2})
    graph.add_node("sum", sum_of, node_type="tool")
    graph.add_parallel_edges(START, ["a", "b"])
    graph.add_fan_in_edge(["a", "b"], "sum", aggregator=lambda came: came["a"]["x"] + came["b"]["y"])
    assert graph.compile().invoke({})["sum"] == 3


@pytest.mark.parametrize(("n", "seen"), [(1, ["ask", "small"]), (5, ["ask", "large"])])
def test_a_choice_sees_what_its_node_wrote(n: int, seen: list[str]) -> None:
    graph = StateGraph(Seen)
    graph.add_node("ask", lambda state: {"n": state["n"] * 2, "seen": ["ask"]})
    graph.add_node("small", marking("small"))
    graph.add_node("large", marking("large"))
    graph.set_entry_point("ask")
    graph.add_conditional_edges("ask", lambda state: state["n"] > 5, {True: "large", False: "small"})
    assert graph.compile().invoke({"n": n})["seen"] == seen


def test_a_choice_that_the_mapping_does_not_know_is_an_error_that_lists_what_it_knows() -> None:
    graph = marked("a", "b")
    graph.set_entry_point("a")
    graph.add_conditional_edges("a", lambda state: "c", {"x": "b", "y": END})
    with pytest.raises(GraphInvalid, match=r"gave 'c'\. There is no choice 'c'.*'x', 'y'"):
        graph.compile().invoke({})


def test_a_choice_that_the_mapping_does_not_know_goes_to_the_default() -> None:
    graph = marked("a", "b")
    graph.set_entry_point("a")
    graph.add_conditional_edges("a", lambda output: output["seen"][0], {"x": END}, default="b")
    assert graph.compile().invoke({}) == {"seen": ["a", "b"]}


def test_sends_run_one_node_side_by_side_each_on_its_own_state_in_their_order() -> None:
    graph = StateGraph(Seen)
    graph.add_node("double", lambda state: {"seen": [state["n"] * 2]})
    graph.add_node("end", marking("end"))
    graph.add_conditional_edges(START, lambda state: [Send("double", {"n": n}) for n in range(state["n"])])
    graph.add_edge("double", "end")
    assert graph.compile().invoke({"n": 4}) == {"n": 4, "seen": [0, 2, 4, 6, "end"]}


def test_a_command_updates_and_says_where_it_goes_on() -> None:
    graph = marked("b", "c")
    graph.add_node("a", lambda state: Command(update={"seen": ["a"]}, goto=["c", Send("b", {})]))
    graph.set_entry_point("a")
    assert graph.compile().invoke({}) == {"seen": ["a", "c", "b"]}


def test_a_goto_to_no_node_is_an_error_that_lists_the_nodes() -> None:
    graph = StateGraph()
    graph.add_node("a", lambda state: Command(goto="nowhere"))
    graph.set_entry_point("a")
    with pytest.raises(GraphInvalid, match=r"no node 'nowhere'.*'END', 'a'.*chosen by 'a'"):
        graph.compile().invoke({})


def test_a_loop_edge_is_taken_while_its_condition_holds_and_the_way_out_waits() -> None:
    graph = StateGraph()
    graph.add_node("count", lambda state: {"value": state.get("value", 0) + 1})
    graph.add_node("after", lambda state: {"after": state["value"]})
    graph.set_entry_point("count")
    graph.add_edge("count", "count", is_loop_edge=True, loop_condition=lambda state, output: output["value"] < 4)
    graph.add_edge("count", "after")
    updates = list(graph.compile().stream({}))
    assert updates == [*({"count": {"value": n}} for n in (1, 2, 3, 4)), {"after": {"after": 4}}]


def test_a_loop_edge_ends_at_its_limit() -> None:
    graph = marked("a")
    graph.set_entry_point("a")
    graph.add_edge("a", "a", is_loop_edge=True, max_iterations=2)
    assert graph.compile().invoke({}) == {"seen": ["a", "a", "a"]}


@pytest.mark.parametrize(
    ("exits", "seen"), [({}, "ababab"), ({"loop_exit": "c"}, "abababc"), ({"loop_exit": "a"}, "ababab")]
)
@pytest.mark.parametrize("back", ["edge", "choice", "command"])
def test_a_node_runs_as_often_as_its_limit_says_and_then_its_exit_comes(
    exits: dict[str, str], seen: str, back: str
) -> None:
    graph = StateGraph(Seen)
    graph.add_node("a", marking("a"), loop_limit=3, **exits)
    graph.add_node("b", lambda state: Command(update={"seen": ["b"]}, goto="a" if back == "command" else ()))
    graph.add_node("c", marking("c"))
    graph.add_sequence([START, "a", "b"])
    if back == "edge":
        graph.add_edge("b", "a")
    elif back == "choice":
        graph.add_conditional_edges("b", lambda state: "a", ["a"])
    assert "".join(graph.compile().invoke({})["seen"]) == seen


def test_a_limit_counts_the_whole_run_also_over_a_question() -> None:
    graph = StateGraph(Seen)
    graph.add_node("a", lambda state: {"seen": [interrupt("go on?")]}, loop_limit=2)
    graph.add_sequence([START, "a", "a"])
    compiled, thread = graph.compile(MemoryBackend()), {"thread_id": "1"}
    compiled.invoke({}, thread)
    compiled.invoke(Command(resume=1), thread)
    assert compiled.invoke(Command(resume=2), thread) == {"seen": [1, 2]}


@pytest.mark.parametrize(
    ("config", "error"), [({"loop_limit": 0}, InvalidArgument), ({"loop_exit": "x"}, GraphInvalid)]
)
def test_limits_that_cannot_work_are_errors(config: State, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"loop_(limit|exit)"):
        StateGraph().add_node("a", marking("a"), **config).set_entry_point("a").compile()


def test_a_drawing_shows_where_a_limit_leads() -> None:
    graph = marked("a", "b", "c")
    graph.add_node("d", marking("d"), loop_limit=2, loop_exit="c")
    graph.add_sequence([START, "d", "b", "d"])
    graph.add_edge("a", "c")
    graph.add_conditional_edges("c", lambda state: "a", ["a"])
    assert 'n3 -.->|"after 2"| n2' in graph.compile().mermaid()


def test_a_choice_that_names_no_node_is_not_drawn() -> None:
    graph = marked("a")
    graph.add_node("r", lambda state: "on", node_type="router", routes={"on": "a", "off": "nowhere"})
    graph.set_entry_point("r")
    assert "nowhere" not in graph.compile().mermaid()


def test_a_run_that_goes_round_for_ever_stops_at_its_limit_of_steps() -> None:
    graph = marked("a")
    graph.set_entry_point("a")
    graph.add_conditional_edges("a", lambda state: "a")
    with pytest.raises(RecursionLimit, match=r"took 7 steps.*'a'"):
        graph.compile(recursion_limit=5).invoke({}, {"recursion_limit": 7})


def test_two_nodes_that_write_one_plain_key_in_one_step_are_an_error() -> None:
    graph = StateGraph(Seen)
    graph.add_node("a", lambda state: {"n": 1})
    graph.add_node("b", lambda state: {"n": 2})
    graph.add_parallel_edges(START, ["a", "b"])
    with pytest.raises(InvalidUpdate, match=r"'a' and 'b' wrote 'n' in one step.*Annotated"):
        graph.compile().invoke({})


def test_without_a_schema_the_later_node_wins() -> None:
    graph = StateGraph()
    graph.add_node("a", lambda state: {"n": 1})
    graph.add_node("b", lambda state: {"n": 2})
    graph.add_parallel_edges(START, ["b", "a"])
    assert graph.compile().invoke({}) == {"n": 2}


@pytest.mark.parametrize("limit", [1, 2])
async def test_no_more_nodes_run_at_once_than_the_config_allows(limit: int) -> None:
    now, most = 0, 0

    async def work(state: State) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        now -= 1

    graph = StateGraph()
    for name in "abcde":
        graph.add_node(name, work)
        graph.set_entry_point(name)
    await graph.compile().ainvoke({}, {"max_concurrency": limit})
    assert most <= limit


async def test_a_thousand_nodes_run_in_one_step() -> None:
    async def work(state: State) -> State:
        return {"seen": [1]}

    graph = StateGraph(Seen)
    for i in range(1000):
        graph.add_node(f"n{i}", work)
        graph.set_entry_point(f"n{i}")
    assert len((await graph.compile().ainvoke({}))["seen"]) == 1000


async def test_runs_that_go_on_at_once_never_mix() -> None:
    graph = StateGraph()
    graph.add_node("chat", node_type="llm")
    graph.set_entry_point("chat")
    compiled = graph.compile(backend=FakeBackend())

    async def text(i: int) -> str:
        return "".join([chunk.content async for _, chunk in compiled.astream(f"number {i}", stream_mode="messages")])

    texts = await asyncio.gather(*(text(i) for i in range(100)))
    assert texts == [f"You said: number {i}" for i in range(100)]
