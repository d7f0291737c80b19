"""What each type of node does, and what a node may return."""

from __future__ import annotations

import asyncio
import operator
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, TypedDict

import pytest
from pydantic import BaseModel

from mellea_like import Answer, FakeBackend, MelleaSession, ToolCallEvent, UnknownName
from mellea_like.errors import GraphInvalid
from mellea_like.graph.building import StateGraph
from mellea_like.graph.commands import Command
from mellea_like.graph.compiled import CompiledGraph
from mellea_like.graph.spec import START
from mellea_like.providers import serving
from mellea_like.requirement import check, simple_validate
from mellea_like.roles import AIMessage, HumanMessage, SystemMessage

State = dict[str, Any]


def one(node: Any = None, /, schema: type[Any] | None = None, *, backend: Any = None, **config: Any) -> CompiledGraph:
    graph = StateGraph(schema)
    graph.add_node("node", node, **config)
    graph.set_entry_point("node")
    return graph.compile(backend=backend)


def texts(reader: Any) -> list[str]:
    return [chunk.content for _, chunk in reader]


# --- what a node may return -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [{}, {"state_key": "answer"}])
def test_a_thunk_is_streamed_and_its_text_is_written(fake: Callable[..., MelleaSession], config: State) -> None:
    m = fake("one two")
    compiled = one(lambda state: m.instruct("count", await_result=False), **config)
    shown = list(compiled.stream({}, stream_mode=["messages", "updates"]))
    assert [chunk.content for mode, chunk in shown if mode == "messages"] == ["one", " two"]
    assert shown[-1] == ("updates", {"node": {config.get("state_key", "output"): "one two"}})


async def test_a_thunk_may_be_returned_by_an_asynchronous_function(fake: Callable[..., MelleaSession]) -> None:
    m = fake("one two")

    async def node(state: State) -> Any:
        return await m.ainstruct("count", await_result=False)

    assert (await one(node).ainvoke({}))["output"] == "one two"


def test_thunks_inside_a_dict_become_their_text(fake: Callable[..., MelleaSession]) -> None:
    m = fake(["first", "second"])

    def node(state: State) -> State:
        return {name: m.instruct(name, await_result=False) for name in ("a", "b")}

    assert sorted(one(node).invoke({}).values()) == ["first", "second"]


@pytest.mark.parametrize("computed", [False, True])
@pytest.mark.parametrize("verb", ["instruct", "chat"])
@pytest.mark.parametrize("listed", [False, True])
def test_a_thunk_among_messages_is_the_models_turn(
    fake: Callable[..., MelleaSession], computed: bool, verb: str, listed: bool
) -> None:
    m = fake("Hello!")

    def answer(state: State) -> State:
        thunk = getattr(m, verb)("hi", await_result=False)
        if computed:
            thunk.result()
        return {"messages": [thunk] if listed else thunk}

    assert one(answer).invoke({"messages": "hi"})["messages"] == [HumanMessage("hi"), AIMessage("Hello!")]


def test_a_thunk_that_was_started_elsewhere_is_streamed_too(fake: Callable[..., MelleaSession]) -> None:
    thunk = fake("one two").instruct("count", await_result=False)
    assert texts(one(lambda state: thunk).stream({}, stream_mode="messages")) == ["one", " two"]


def test_a_judged_thunk_that_has_ended_is_told_as_it_went(fake: Callable[..., MelleaSession]) -> None:
    thunk = fake(["NO", "yes"]).instruct("Well?", requirements=[str.islower], await_result=False)
    thunk.result()
    told = [event.type for event in one(lambda state: thunk).stream({}, stream_mode="events")]
    wanted = {"draft", "draft_discarded", "validation", "token"}
    assert [kind for kind in told if kind in wanted] == [
        *("draft", "validation", "draft_discarded", "draft", "validation"),
        "token",
    ]


def test_a_tool_call_that_comes_in_pieces_is_told_once(fake: Callable[..., MelleaSession]) -> None:
    pieces = [
        ToolCallEvent(index=0, id="1", name="add", arguments='{"a"'),
        ToolCallEvent(index=0, arguments=": 1}"),
        ToolCallEvent(index=0, id="1", name="add", arguments='{"a": 1}', complete=True),
    ]
    m = fake(Answer(pieces))
    compiled = one(lambda state: m.instruct("Add.", await_result=False))
    told = [event for event in compiled.stream({}, stream_mode="events") if event.type == "tool_call_start"]
    assert [(event.name, event.arguments) for event in told] == [("add", '{"a": 1}')]


def test_a_thunk_of_a_type_is_written_as_that(fake: Callable[..., MelleaSession]) -> None:
    m = fake("[1, 2]")
    node = one(lambda state: m.instruct("numbers", format=list[int], await_result=False), state_key="numbers")
    assert node.invoke({}) == {"numbers": [1, 2]}


async def words(state: State) -> Any:
    yield "one "
    await asyncio.sleep(0)
    yield {"half": True}
    yield "two"


def words_synchronously(state: State) -> Any:
    yield "one "
    yield {"half": True}
    yield "two"


@pytest.mark.parametrize("node", [words, words_synchronously])
async def test_a_generator_yields_tokens_and_updates(node: Any) -> None:
    compiled = one(node, state_key="text")
    shown = [item async for item in compiled.astream({}, stream_mode=["messages", "updates"])]
    assert [chunk.content for mode, chunk in shown if mode == "messages"] == ["one ", "two"]
    assert shown[-1] == ("updates", {"node": {"half": True, "text": "one two"}})


async def test_a_generator_may_yield_thunks(fake: Callable[..., MelleaSession]) -> None:
    m = fake(["first", "second"])

    async def node(state: State) -> Any:
        yield {"messages": [HumanMessage("hi")]}
        yield await m.ainstruct("a", await_result=False)

    compiled = one(node)
    assert texts([item async for item in compiled.astream({"messages": []}, stream_mode="messages")]) == ["first"]
    assert (await compiled.ainvoke({"messages": []}))["messages"][-1] == AIMessage("second")


# --- what a function is given -----------------------------------------------------------------------------------------


def test_a_function_is_given_what_its_parameters_name() -> None:
    def node(state: State, config: State, context: Any, runtime: Any, variables: State, chat_history: Any) -> State:
        runtime.stream_writer("hello")
        return {"got": [state["n"], config["tag"], context, runtime.context, variables, chat_history]}

    config = {"tag": "t", "variables": {"v": 1}, "chat_history": [("user", "hi")]}
    got = one(node).invoke({"n": 1}, config, context="c")["got"]
    assert got == [1, "t", "c", "c", {"v": 1}, [HumanMessage("hi")]]


@dataclass
class Point:
    x: int = 0
    seen: Annotated[list[int], operator.add] = field(default_factory=list)


class Model(BaseModel):
    x: int = 0
    seen: Annotated[list[int], operator.add] = []


@pytest.mark.parametrize("schema", [Point, Model])
def test_a_state_of_a_class_is_given_as_an_instance_of_it(schema: Any) -> None:
    def node(state: Any) -> State:
        assert isinstance(state, schema)
        return {"x": state.x + 1, "seen": [state.x]}

    assert one(node, schema).invoke({"x": 2}) == {"x": 3, "seen": [2]}
    assert one(node, schema).invoke(schema(x=2)) == {"x": 3, "seen": [2]}
    assert one(node, schema).invoke({}) == {"x": 1, "seen": [0]}


def test_functions_run_where_the_run_was_called_from_never_on_the_librarys_loop() -> None:
    names: set[str] = set()

    def node(state: State) -> State:
        names.add(threading.current_thread().name)
        return {}

    def choose(state: State) -> str:
        names.add(threading.current_thread().name)
        return "END"

    def join(a: Any, b: Any) -> Any:
        names.add(threading.current_thread().name)
        return b

    schema: Any = TypedDict("schema", {"n": Annotated[int, join]})
    graph = StateGraph(schema)
    graph.add_node("node", lambda state: node(state) or {"n": 1})
    graph.set_entry_point("node")
    graph.add_conditional_edges("node", choose)
    assert graph.compile().invoke({"n": 0}) == {"n": 1}
    assert "mellea-like" not in names


async def test_asynchronous_functions_run_on_the_callers_loop() -> None:
    loop = asyncio.get_running_loop()

    async def node(state: State) -> State:
        return {"same": asyncio.get_running_loop() is loop}

    assert await one(node).ainvoke({}) == {"same": True}


# --- models -----------------------------------------------------------------------------------------------------------


def test_a_model_is_told_prompt_system_prompt_and_options_of_its_node() -> None:
    backend = FakeBackend(answers="hi")
    config = {"system_prompt": "Be brief.", "prompt": "Greet {{ name }}.", "temperature": 0.5, "max_tokens": 7}
    one(node_type="llm", backend=backend, **config).invoke({"name": "Ana"})
    request = backend.calls[0]
    assert list(request.messages) == [SystemMessage("Be brief."), HumanMessage("Greet Ana.")]
    assert {str(name): value for name, value in request.options.items()} == {"temperature": 0.5, "max_new_tokens": 7}


def test_a_model_is_told_what_the_node_before_it_came_to_and_the_chat_before_that() -> None:
    backend = FakeBackend(answers=["first", "second"])
    graph = StateGraph()
    graph.add_node("a", node_type="llm")
    graph.add_node("b", node_type="llm")
    graph.add_sequence([START, "a", "b"])
    graph.compile(backend=backend).invoke("hi", {"chat_history": [HumanMessage("earlier")]})
    assert [list(call.messages) for call in backend.calls] == [
        [HumanMessage("earlier"), HumanMessage("hi")],
        [HumanMessage("earlier"), HumanMessage("first")],
    ]


def test_a_node_that_names_a_model_asks_its_provider() -> None:
    with serving(FakeBackend(answers="served")):
        assert (
            one(node_type="llm", model="gpt-4", backend=FakeBackend(answers="other")).invoke("hi")["output"] == "served"
        )
    assert one(node_type="llm", backend=FakeBackend(answers="other")).invoke("hi")["output"] == "other"


def test_under_a_strategy_only_accepted_text_is_a_token_and_attempts_are_drafts() -> None:
    backend = FakeBackend(answers=["much too long", "short"])
    compiled = one(
        node_type="llm", backend=backend, requirements=[check("short", simple_validate(lambda text: len(text) < 6))]
    )
    events = list(compiled.stream("hi", stream_mode="events"))
    kinds = ("token", "draft", "draft_discarded")
    assert [(e.type, e.content) for e in events if e.type in kinds] == [
        *[("draft", "much"), ("draft", " too"), ("draft", " long"), ("draft_discarded", None)],
        *[("draft", "short"), ("token", "short")],
    ]
    assert [(e.draft, e.passed) for e in events if e.type == "validation"] == [(1, False), (2, True)]


def wish(**arguments: int) -> Answer:
    text = ", ".join(f'"{name}": {value}' for name, value in arguments.items())
    return Answer([ToolCallEvent(name="add", arguments=f"{{{text}}}", complete=True)], finish_reason="tool_calls")


async def test_an_agent_uses_tools_and_its_answer_is_streamed() -> None:
    async def add(a: int, b: int) -> int:
        return a + b

    backend = FakeBackend(answers=[wish(a=1, b=2), "It is 3."])
    compiled = one(node_type="agent", tools=[add], backend=backend)
    events = [event async for event in compiled.astream({"messages": "1 + 2?"}, stream_mode="events")]
    tools = [event for event in events if event.type.startswith("tool_call")]
    assert [(event.type, event.name) for event in tools] == [("tool_call_start", "add"), ("tool_call_complete", "add")]
    assert tools[1].output == "3"
    assert "".join(event.content for event in events if event.type == "token") == "It is 3."
    assert events[-1].state["messages"] == [HumanMessage("1 + 2?"), AIMessage("It is 3.")]


# --- the other types --------------------------------------------------------------------------------------------------


def test_a_tool_is_given_what_its_parameters_name_in_input_state_and_bindings() -> None:
    def area(width: int, height: int, unit: str = "m") -> str:
        return f"{width * height} {unit}2"

    compiled = one(area, node_type="tool", bindings={"unit": "cm"}, state_key="area")
    assert compiled.invoke({"width": 2, "height": 3})["area"] == "6 cm2"


def test_a_condition_chooses_and_passes_on() -> None:
    graph = StateGraph()
    graph.add_node("ask", lambda state: state["n"] > 1, node_type="condition", routes={True: "many"}, default="END")
    graph.add_node("many", lambda state: {"many": True})
    graph.set_entry_point("ask")
    assert graph.compile().invoke({"n": 2}) == {"n": 2, "many": True}
    assert graph.compile().invoke({"n": 1}) == {"n": 1}


def test_a_router_asks_its_model_to_choose() -> None:
    graph = StateGraph()
    graph.add_node("route", node_type="router", routes={"poem": "poet", "sum": "END"})
    graph.add_node("poet", lambda state: {"poem": True})
    graph.set_entry_point("route")
    assert graph.compile(backend=FakeBackend(answers='"poem"')).invoke("A poem!")["poem"] is True
    assert "poem" not in graph.compile(backend=FakeBackend(answers='"sum"')).invoke("1 + 1?")


def test_a_loop_goes_back_while_its_condition_holds() -> None:
    graph = StateGraph()
    graph.add_node("count", lambda state: {"n": state.get("n", 0) + 1})
    graph.add_node("again", node_type="loop", loop_back_to="count", condition=lambda state: state["n"] < 3)
    graph.add_node("after", lambda state: {"after": True})
    graph.add_sequence([START, "count", "again", "after"])
    assert graph.compile().invoke({}) == {"n": 3, "after": True}


@pytest.mark.parametrize("node_type", ["map", "foreach"])
@pytest.mark.parametrize("limit", [None, 1])
def test_work_is_done_for_each_item_and_collected_in_order(node_type: str, limit: int | None) -> None:
    compiled = one(lambda state: {"square": state["item"] ** 2}, node_type=node_type, over="numbers", collect="squares")
    state = compiled.invoke({"numbers": [3, 1, 2]}, {"max_concurrency": limit} if limit else None)
    assert state["squares"] == [9, 1, 4]


def test_a_map_over_models_streams_them_all() -> None:
    graph = StateGraph()
    graph.add_node("each", node_type="map", over="topics", item="topic", node="write", collect="poems")
    graph.add_node("write", node_type="llm", prompt="Write of {{ topic }}.")
    graph.set_entry_point("each")
    compiled = graph.compile(backend=FakeBackend(answers=lambda request: request.messages[-1].content))
    shown = list(compiled.stream({"topics": ["a", "b"]}, stream_mode=["messages", "values"]))
    assert shown[-1][1]["poems"] == ["Write of a.", "Write of b."]
    assert sum(mode == "messages" for mode, _ in shown) == 6


def test_an_interrupt_passthrough_and_loop_that_lack_what_they_need_say_so() -> None:
    with pytest.raises(GraphInvalid, match="loop_back_to"):
        one(node_type="loop").invoke({})
    with pytest.raises(GraphInvalid, match="neither a function nor `routes`"):
        one(node_type="router").invoke({})
    assert one(node_type="passthrough", output={"a": 1, "b": lambda state: 2}).invoke({}) == {"a": 1, "b": 2}


class Chat(TypedDict, total=False):
    messages: list[Any]
    log: Annotated[list[str], operator.add]


def inner_graph(backend: Any) -> CompiledGraph:
    inner = StateGraph(Chat)
    inner.add_node("talk", node_type="llm")
    inner.add_node("note", lambda state: {"log": ["inner"]})
    inner.add_sequence([START, "talk", "note"])
    return inner.compile(backend=backend, name="inner")


def test_a_subgraphs_tokens_are_seen_with_its_namespace_and_what_it_wrote_is_written_once() -> None:
    backend = FakeBackend(answers="one two")
    graph = StateGraph(Chat)
    graph.add_node("sub", inner_graph(None))
    graph.add_edge(START, "sub")
    compiled = graph.compile(backend=backend)
    shown = list(compiled.stream({"messages": "hi", "log": ["outer"]}, stream_mode=["messages", "updates", "values"]))
    chunks = [chunk for mode, chunk in shown if mode == "messages"]
    assert [(chunk.content, chunk.ns, chunk.node) for chunk in chunks] == [
        ("one", ("sub",), "talk"),
        (" two", ("sub",), "talk"),
    ]
    assert [list(data) for mode, data in shown if mode == "updates"] == [["sub"]]
    assert shown[-1][1] == {"messages": [HumanMessage("hi"), AIMessage("one two")], "log": ["outer", "inner"]}


def test_with_subgraphs_everything_is_tagged_with_its_namespace() -> None:
    graph = StateGraph(Chat)
    graph.add_node("sub", inner_graph(None))
    graph.add_edge(START, "sub")
    compiled = graph.compile(backend=FakeBackend(answers="one"))
    shown = list(compiled.stream({"messages": "hi"}, stream_mode="updates", subgraphs=True))
    assert [(ns, list(update)) for ns, update in shown] == [(("sub",), ["talk"]), (("sub",), ["note"]), ((), ["sub"])]
    tagged = list(compiled.stream({"messages": "hi"}, stream_mode=["messages"], subgraphs=True))
    assert [(ns, mode, chunk.content) for ns, mode, chunk in tagged] == [(("sub",), "messages", "one")]


async def test_a_graph_that_is_run_inside_a_function_is_seen_too() -> None:
    inner = inner_graph(FakeBackend(answers="one two"))

    async def node(state: State) -> State:
        return {"text": (await inner.ainvoke({"messages": "hi"}))["messages"][-1].content}

    shown = [item async for item in one(node).astream({}, stream_mode="messages")]
    assert [(chunk.content, chunk.node) for _, chunk in shown] == [("one", "node"), (" two", "node")]


def test_settings_that_do_not_exist_are_refused() -> None:
    with pytest.raises(UnknownName, match=r"no setting of 'llm' called 'sytem_prompt'. Did you mean 'system_prompt'"):
        StateGraph().add_node("a", node_type="llm", sytem_prompt="x")


def test_a_command_alone_may_go_on() -> None:
    graph = StateGraph()
    graph.add_node("a", lambda state: [Command(update={"x": 1}), Command(goto="b")])
    graph.add_node("b", lambda state: {"y": state["x"]})
    graph.set_entry_point("a")
    assert graph.compile().invoke({}) == {"x": 1, "y": 1}
