"""`create_streaming_node`: tokens of a node's call, its callback, and what it writes into the state."""

from __future__ import annotations

import asyncio
import gc
from types import MappingProxyType
from typing import Any

import pytest
from prompts.conftest import Writer, write  # noqa: F401  # a fixture

from mellea_like import Answer, BackendUnavailable, FakeBackend, Gate, InvalidArgument, TemplateError, UnknownName
from mellea_like.graph.building import StateGraph
from mellea_like.graph.yaml_streaming import create_streaming_node


@pytest.fixture
def config(write: Writer) -> dict[str, Any]:  # noqa: F811
    write("greet", "user: Greet {name}.")
    return {"prompt": "greet", "state_key": "greeting", "backend": FakeBackend(answers=Answer(["Hel", "", "lo"]))}


async def test_its_call_gives_the_tokens_and_writes_the_answer_into_the_state(config: Any) -> None:
    state = {"name": "World"}
    stream = create_streaming_node("generate", config)(state)
    assert [token async for token in stream] == ["Hel", "lo"]
    assert state == {"name": "World", "greeting": "Hello"}
    assert stream.update == {"greeting": "Hello"}


def test_it_can_be_read_without_async(config: Any) -> None:
    state = {"name": "World"}
    assert list(create_streaming_node("generate", config)(state)) == ["Hel", "lo"]
    assert state["greeting"] == "Hello"


async def test_nothing_is_written_before_the_end(config: Any) -> None:
    gate = Gate()
    state = {"name": "World"}
    config["backend"] = FakeBackend(answers=Answer(["one ", gate, "two"]))
    stream = create_streaming_node("generate", config)(state)
    assert await anext(stream) == "one "
    assert state == {"name": "World"}
    gate.open()
    assert [token async for token in stream] == ["two"]
    assert state["greeting"] == "one two"


async def test_a_state_that_cannot_be_written_to_is_left_alone(config: Any) -> None:
    stream = create_streaming_node("generate", config)(MappingProxyType({"name": "World"}))
    assert [token async for token in stream] == ["Hel", "lo"]
    assert stream.update == {"greeting": "Hello"}


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_on_token_is_called_with_each_token_before_it_is_given_on(config: Any, asynchronous: bool) -> None:
    order: list[str] = []

    async def later(token: str) -> None:
        await asyncio.sleep(0)
        order.append(f"called {token}")

    def at_once(token: str) -> None:
        order.append(f"called {token}")

    config["on_token"] = later if asynchronous else at_once
    async for token in create_streaming_node("generate", config)({"name": "World"}):
        order.append(f"given {token}")  # noqa: PERF401  # the order is what is proven
    assert order == ["called Hel", "given Hel", "called lo", "given lo"]


def test_what_on_token_raises_is_raised_to_the_reader(config: Any) -> None:
    config["on_token"] = lambda token: 1 / 0
    with pytest.raises(ZeroDivisionError):
        next(create_streaming_node("generate", config)({"name": "World"}))


def test_variables_pick_from_the_state(config: Any) -> None:
    config["variables"] = {"name": "{state.user.name}"}
    list(create_streaming_node("generate", config)({"user": {"name": "Ana"}}))
    assert config["backend"].calls[0].messages[0].content == "Greet Ana."


async def test_an_error_comes_after_its_tokens_and_nothing_is_written(config: Any) -> None:
    state = {"name": "World"}
    config["backend"] = FakeBackend(answers=Answer(["Hel", BackendUnavailable("gone")]))
    stream = create_streaming_node("generate", config)(state)
    assert await anext(stream) == "Hel"
    with pytest.raises(BackendUnavailable):
        await anext(stream)
    assert (state, stream.text) == ({"name": "World"}, "Hel")


async def test_leaving_the_loop_stops_the_model(config: Any, talker: Any) -> None:
    config["backend"] = talker
    async for _ in create_streaming_node("generate", config)({"name": "World"}):
        break
    gc.collect()
    assert await asyncio.to_thread(talker.is_stopped)


def test_a_mistake_in_the_node_is_raised_where_it_is_made(config: Any) -> None:
    with pytest.raises(UnknownName, match="Did you mean 'state_key'"):
        create_streaming_node("generate", config | {"statekey": "x"})
    with pytest.raises(InvalidArgument, match="'generate' needs a `prompt`"):
        create_streaming_node("generate", {})
    with pytest.raises(TemplateError, match="'name'"):
        create_streaming_node("generate", config)({})


def test_it_runs_in_a_graph(config: Any) -> None:
    graph = StateGraph()
    graph.add_node("generate", create_streaming_node("generate", config).run)
    graph.set_entry_point("generate")
    shown = list(graph.compile().stream({"name": "World"}, stream_mode=["messages", "values"]))
    assert [chunk.content for mode, chunk in shown if mode == "messages"] == ["Hel", "lo"]
    assert shown[-1] == ("values", {"name": "World", "greeting": "Hello"})


@pytest.mark.parametrize("given", ["the node", "its call", "its tokens"])
def test_in_a_graph_its_text_is_said_once_and_its_key_written(config: Any, given: str) -> None:
    node = create_streaming_node("generate", config)

    async def tokens(state: dict[str, Any]) -> Any:
        async for token in node(state):
            yield token

    graph = StateGraph()
    if given == "the node":
        graph.add_node(node)
    else:
        graph.add_node("generate", node.__call__ if given == "its call" else tokens, state_key="greeting")
    graph.set_entry_point("generate")
    *tokens_said, last = graph.compile().stream({"name": "World"}, stream_mode=["messages", "values"])
    assert [chunk.content for mode, chunk in tokens_said if mode == "messages"] == ["Hel", "lo"]
    assert last == ("values", {"name": "World", "greeting": "Hello"})
