"""What a page about Mesh's streaming shows runs here with its import line changed, on a script and on a real model."""

from __future__ import annotations

import asyncio
import json
import textwrap
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from httpx2 import EventSource

from mellea_like import ExecutionContext, Executor, MemoryBackend, StateGraph
from mellea_like.providers import aclose_providers

from .serving import client, served

MODELS = [
    pytest.param("fake", id="fake"),
    pytest.param("llamacpp", id="embedded", marks=pytest.mark.model),
]

BUILT = """
    from mellea_like import ExecutionContext, Executor, MemoryBackend, StateGraph

    graph = StateGraph()
    graph.add_node("llm", None, node_type="llm", model="gpt-4", system_prompt="Tell a short story", max_tokens=24)
    graph.add_edge("START", "llm")
    graph.set_entry_point("llm")

    compiled = graph.compile()
    executor = Executor(compiled, MemoryBackend())
    context = ExecutionContext(
        graph_id="streaming", session_id="session-1", chat_history=[], variables={}, state={}
    )
"""

WHOLE = """
    import asyncio
    from mellea_like import StateGraph, Executor, ExecutionContext, MemoryBackend

    async def main():
        graph = StateGraph()
        graph.add_node("llm", None, node_type="llm", model="gpt-4",
                       system_prompt="Tell a short story", max_tokens=24)
        graph.add_edge("START", "llm")
        graph.set_entry_point("llm")

        compiled = graph.compile()
        executor = Executor(compiled, MemoryBackend())
        context = ExecutionContext(
            graph_id="streaming",
            session_id="session-1",
            chat_history=[],
            variables={},
            state={}
        )

        print("Story: ", end="")
        async for event in executor.execute("Tell me a story", context):
            if event.type == "token":
                print(event.content, end="", flush=True)
        print()

    asyncio.run(main())
"""

SERVER = """
    from fastapi import FastAPI
    from mellea_like import SSEAdapter

    app = FastAPI()

    @app.post("/execute/stream")
    async def stream_execute(request: dict):
        adapter = SSEAdapter()
        return adapter.to_streaming_response(
            executor.execute(request["input"], context)
        )
"""


@pytest.fixture(params=MODELS)
async def model(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """Let one backend serve every model's name, as somebody would who has no key."""
    monkeypatch.setenv("MELLEA_LIKE_OVERRIDE", request.param)
    yield request.param
    await aclose_providers()


@pytest.fixture
def built(model: str) -> dict[str, Any]:
    """What the page has built before each of its shorter programs."""
    names: dict[str, Any] = {}
    exec(textwrap.dedent(BUILT), names)
    return names


def is_story(told: str, model: str) -> bool:
    return told == "You said: Tell me a story" if model == "fake" else len(told) > 10


def test_the_whole_example(model: str, ran: Callable[[str], str]) -> None:
    printed = ran(WHOLE)
    assert printed.startswith("Story: ")
    assert printed.endswith("\n")
    assert is_story(printed.removeprefix("Story: ").removesuffix("\n"), model)


async def test_showing_each_token_as_it_comes(
    built: dict[str, Any], model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    executor: Executor = built["executor"]
    context: ExecutionContext = built["context"]
    async for event in executor.execute("Tell me a story", context):
        if event.type == "token":
            print(event.content, end="", flush=True)
    assert is_story(capsys.readouterr().out, model)


async def test_collecting_and_showing(built: dict[str, Any], model: str) -> None:
    executor, context, saved = built["executor"], built["context"], []
    full_response, tokens = "", 0
    async for event in executor.execute("Tell me a story", context):
        if event.type == "token":
            full_response += event.content
            tokens += 1
    saved.append(full_response)
    assert is_story(saved[0], model)
    assert tokens > 3
    assert context.chat_history == [
        {"role": "user", "content": "Tell me a story"},
        {"role": "assistant", "content": full_response},
    ]


async def test_keeping_a_page_up_to_date(built: dict[str, Any], model: str) -> None:
    class WebSocket:
        sent: list[Any] = []  # noqa: RUF012  # of one test

        async def send(self, message: Any) -> None:
            self.sent.append(message)

    websocket = WebSocket()
    async for event in built["executor"].execute("Tell me a story", built["context"]):
        if event.type == "token":
            await websocket.send(event.content)
        elif event.type == "execution_complete":
            await websocket.send({"status": "complete"})
    *texts, status = websocket.sent
    assert is_story("".join(texts), model)
    assert status == {"status": "complete"}


async def test_the_server_behind_a_real_socket(built: dict[str, Any], model: str) -> None:
    exec(textwrap.dedent(SERVER), built)
    with served(built["app"]) as address:
        told = {"input": "Tell me a story"}
        async with client(address) as http, http.stream("POST", "/execute/stream", json=told) as response:
            events = [event async for event in EventSource(response)]
    assert [event.event for event in events if event.event != "token"] == [
        *("execution_start", "node_start", "node_complete", "node_start", "node_complete", "execution_complete"),
    ]
    said = [json.loads(event.data) for event in events]
    assert is_story("".join(event["content"] for event in said if event["type"] == "token"), model)
    assert said[-1]["output"]["content"].strip()


def test_the_names_are_the_librarys_own() -> None:
    assert {kind.__module__ for kind in (ExecutionContext, Executor, MemoryBackend, StateGraph)} == {"mellea_like"}
    assert asyncio.iscoroutinefunction(MemoryBackend.load)
