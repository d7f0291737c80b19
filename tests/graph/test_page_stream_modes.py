"""The programs of the page on stream modes, to the same calls: on the scripted backend, and on the embedded model."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, TypedDict

import pytest

from mellea_like import FakeBackend
from mellea_like.graph.building import StateGraph
from mellea_like.graph.compiled import CompiledGraph
from mellea_like.graph.spec import END, START
from mellea_like.graph.state import add_messages
from mellea_like.roles import AIMessage, HumanMessage

BACKENDS = ["fake", pytest.param("llamacpp", marks=pytest.mark.model)]


class State(TypedDict, total=False):
    messages: Annotated[list[Any], add_messages]


@pytest.fixture(params=BACKENDS)
def graph(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> CompiledGraph:
    monkeypatch.setenv("MELLEA_LIKE_OVERRIDE", request.param)
    builder = StateGraph(State)
    builder.add_node("chatbot", node_type="llm", model="gpt-4", max_tokens=12)
    builder.add_edge(START, "chatbot")
    builder.add_edge("chatbot", END)
    return builder.compile()


@pytest.fixture
def given() -> dict[str, Any]:
    return {"messages": [HumanMessage(content="Say hello to the world.")]}


def test_values_print_the_full_state(graph: CompiledGraph, given: dict[str, Any]) -> None:
    printed = list(graph.stream(given, stream_mode="values"))
    assert printed[0] == given
    assert [type(chunk) for chunk in printed] == [dict, dict]
    assert isinstance(printed[1]["messages"][-1], AIMessage)


def test_updates_print_what_the_node_wrote(graph: CompiledGraph, given: dict[str, Any]) -> None:
    printed = list(graph.stream(given, stream_mode="updates"))
    assert [list(chunk) for chunk in printed] == [["chatbot"]]
    assert printed[0]["chatbot"]["messages"][0].content


def test_messages_print_the_answer_token_by_token(graph: CompiledGraph, given: dict[str, Any]) -> None:
    printed = []
    run = graph.stream(given, stream_mode="messages")
    for chunk in run:
        if chunk[0] == "messages":
            printed.append(chunk[1].content)  # noqa: PERF401  # as the page prints it
    assert len(printed) > 1
    assert "".join(printed) == run.run.result().parsed["messages"][-1].content


def test_asynchronous_streaming_prints_the_full_state(graph: CompiledGraph, given: dict[str, Any]) -> None:
    config = {"configurable": {"thread_id": "1"}}
    printed = []

    async def stream_graph() -> None:
        async for chunk in graph.astream(given, config=config, stream_mode="values"):
            printed.append(chunk)  # noqa: PERF401

    asyncio.run(stream_graph())
    assert len(printed) == 2


async def test_the_frontends_generator_yields_plain_text(graph: CompiledGraph) -> None:
    async def generate(message: str) -> Any:
        async for chunk in graph.astream({"messages": [HumanMessage(content=message)]}, stream_mode="messages"):
            if chunk[0] == "messages":
                yield chunk[1].content

    body = [piece async for piece in generate("Say hello.")]
    assert all(isinstance(piece, str) for piece in body)
    assert len(body) > 1


def test_progress_prints_a_line_per_node(graph: CompiledGraph, given: dict[str, Any]) -> None:
    printed = []
    for chunk in graph.stream(given, stream_mode="updates"):
        for node_name, output in chunk.items():
            printed.append(f"Node {node_name} completed: {output}")
    assert len(printed) == 1
    assert printed[0].startswith("Node chatbot completed: {'messages': [")


def test_on_the_scripted_backend_the_page_prints_exactly_this() -> None:
    builder = StateGraph()
    builder.add_node("chatbot", node_type="llm")
    builder.set_entry_point("chatbot")
    graph = builder.compile(backend=FakeBackend(answers="Hello, World!"))
    printed = "".join(chunk[1].content for chunk in graph.stream({"messages": "hi"}, stream_mode="messages"))
    assert printed == "Hello, World!"
