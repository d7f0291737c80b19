"""The programs of the yamlgraph streaming page, with other imports: each runs, on a script and on a real model."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from prompts.conftest import Writer, write  # noqa: F401  # a fixture

from mellea_like import (
    Answer,
    BackendUnavailable,
    FakeBackend,
    create_streaming_node,
    execute_prompt_async,
    execute_prompt_streaming,
    load_graph,
    serving,
)

DEMO = Path(__file__).parent.parent / "scripts" / "demo_streaming.py"


@pytest.fixture(params=["fake", pytest.param("llamacpp", marks=pytest.mark.model)])
def served(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Serve every provider and model by a script, then by the model in the process."""
    monkeypatch.setenv("MELLEA_LIKE_OVERRIDE", request.param)
    return str(request.param)


@pytest.fixture
def prompts(write: Writer) -> None:  # noqa: F811
    """Write the prompts that the page names."""
    write("greet", "user: Say hello to {name} in a {style} way.\nvariables: {name: {}, style: warm}\nmax_tokens: 40")
    write("my-prompt", "user: Say something about {topic}.\nmax_tokens: 40")
    write("chat", "user: '{query}'\nmax_tokens: 40")


pytestmark = pytest.mark.usefixtures("prompts")


async def test_quick_start(served: str, capsys: pytest.CaptureFixture[str]) -> None:
    async for token in execute_prompt_streaming("greet", {"name": "World"}):
        print(token, end="", flush=True)
    printed = capsys.readouterr().out
    assert printed
    if served == "fake":
        assert printed == "You said: Say hello to World in a warm way."


def test_the_whole_program(served: str, capsys: pytest.CaptureFixture[str]) -> None:
    async def main() -> None:
        full_response = ""
        async for token in execute_prompt_streaming(
            "greet", variables={"name": "Alice", "style": "friendly"}, provider="mistral"
        ):
            print(token, end="", flush=True)
            full_response += token
        print(f"\n\nTotal: {len(full_response)} chars")

    asyncio.run(main())
    text, _, total = capsys.readouterr().out.rpartition("\n\nTotal: ")
    assert total == f"{len(text)} chars\n"
    assert text


async def test_temperature_and_provider_go_by_position_too(served: str) -> None:
    tokens = [token async for token in execute_prompt_streaming("greet", {"name": "World"}, 0.0, "anthropic")]
    assert all(isinstance(token, str) and token for token in tokens)
    assert len(tokens) > 1


async def test_a_node_of_a_yaml_graph(served: str, write: Writer) -> None:  # noqa: F811
    path = write(
        "graph.yaml",
        """\
        nodes:
          generate:
            type: llm
            prompt: my-prompt
            stream: true  # Enable streaming
            state_key: response
        edges:
          - {from: START, to: generate}
          - {from: generate, to: END}
        """,
    )
    shown = [item async for item in load_graph(path).astream({"topic": "tea"}, stream_mode=["messages", "values"])]
    tokens = [chunk.content for mode, chunk in shown if mode == "messages"]
    assert len(tokens) > 1
    assert shown[-1] == ("values", {"topic": "tea", "response": "".join(tokens)})


async def test_the_streaming_node_factory(served: str, capsys: pytest.CaptureFixture[str]) -> None:
    state = {"name": "World"}
    node_config: Any = {
        "prompt": "greet",
        "state_key": "greeting",
        "on_token": lambda t: print(t, end=""),
    }
    streaming_node = create_streaming_node("generate", node_config)
    seen = ""
    async for token in streaming_node(state):
        seen += token
    assert capsys.readouterr().out == seen == state["greeting"]


async def test_collecting_tokens(served: str, capsys: pytest.CaptureFixture[str]) -> None:
    response = "".join([token async for token in execute_prompt_streaming("greet", {"name": "World"}, 0.0)])

    tokens = []
    async for token in execute_prompt_streaming("greet", {"name": "World"}, 0.0):
        tokens.append(token)  # noqa: PERF401  # as the page has it
    print(f"Received {len(tokens)} chunks")

    assert len(tokens) > 1
    assert capsys.readouterr().out == f"Received {len(tokens)} chunks\n"
    assert "".join(tokens) == response or served != "fake"  # a real model on several threads may differ by a token


@pytest.fixture
def get() -> Callable[[Any, str], Any]:
    """Ask a web application for a path, in the process, and give the whole body."""

    async def body(app: Any, path: str) -> str:
        import httpx

        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            response = await client.get(path)
            assert response.headers["content-type"].startswith("text/event-stream")
            return response.text

    return body


async def test_server_sent_events(served: str, get: Callable[[Any, str], Any]) -> None:
    from fastapi import FastAPI
    from fastapi.responses import StreamingResponse

    app = FastAPI()

    @app.get("/stream")
    async def stream(prompt: str) -> Any:
        async def generate() -> AsyncIterator[str]:
            async for token in execute_prompt_streaming("chat", {"query": prompt}):
                yield f"data: {token}\n\n"
            yield "data: [DONE]\n\n"

        return StreamingResponse(generate(), media_type="text/event-stream")

    frames = (await get(app, "/stream?prompt=hello")).split("\n\n")
    assert frames[-2:] == ["data: [DONE]", ""]
    assert len(frames) > 3
    if served == "fake":
        assert frames[:-2] == ["data: You", "data:  said:", "data:  hello"]


# --- what the page lists as limitations -------------------------------------------------------------------------------


async def test_structured_output_streams(write: Writer) -> None:  # noqa: F811
    write("who", "user: Who?\nschema: {name: Person, fields: {name: {type: str}, age: {type: int}}}")
    script = FakeBackend(answers=Answer(['{"name": "A', 'da", "ag', 'e": 36}']))
    with serving(script):
        seen = [partial.so_far async for partial in execute_prompt_streaming("who").partials()]
        person = await execute_prompt_async("who")
    assert seen == [{"name": "A"}, {"name": "Ada"}, {"name": "Ada", "age": 36}]
    assert (person.name, person.age) == ("Ada", 36)


async def test_empty_chunks_are_skipped() -> None:
    with serving(FakeBackend(answers=Answer(["", "a", "", "b", ""]))):
        assert [token async for token in execute_prompt_streaming("greet", {"name": "World"})] == ["a", "b"]


async def test_an_error_is_caught_around_the_loop(capsys: pytest.CaptureFixture[str]) -> None:
    for variables in ({}, {"name": "World"}):
        with serving(FakeBackend(answers=Answer(["Hel", "lo", BackendUnavailable("gone")]))):
            try:
                async for token in execute_prompt_streaming("greet", variables):
                    print(token, end="")
            except Exception as e:
                print(f"\nError: {e}")
    missing, failed = capsys.readouterr().out.split("\nError: ")[1:]
    assert "needs the variable 'name'" in missing
    assert missing.endswith("Hello")  # of the second loop, before its error
    assert failed == "gone\n"


# --- the demo ---------------------------------------------------------------------------------------------------------


def test_the_demo_verifies_the_library() -> None:
    done = subprocess.run(
        [sys.executable, str(DEMO), "--verify"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"{way}: 8 tokens, in order, the first 4 before the model went on" for way in ("prompt", "node", "graph")
    ]


BREAKAGES = {
    "whole answers at the end": """
        def take(self):
            if self._log.end is None:
                return NOTHING
            return whole(self)
        """,
    "tokens run together": """
        def take(self):
            text = whole(self)
            return text if text is NOTHING or len(text) > 3 else text + more(self)
        def more(self):
            text = whole(self)
            return "" if text is NOTHING else text
        """,
    "tokens swallowed": """
        def take(self):
            text = whole(self)
            return whole(self) if text == "ld" else text
        """,
    "empty tokens": """
        import itertools
        turns = itertools.cycle([False, True])
        def take(self):
            return "" if next(turns) else whole(self)
        """,
}


@pytest.mark.parametrize("broken", BREAKAGES.values(), ids=BREAKAGES)
def test_the_demo_fails_where_streaming_is_broken(broken: str) -> None:
    from textwrap import dedent

    program = f"""
import runpy, sys
from mellea_like.readers import NOTHING, TextReader
whole = TextReader._take
{dedent(broken)}
TextReader._take = take
sys.argv = ["demo_streaming.py", "--verify"]
runpy.run_path({str(DEMO)!r}, run_name="__main__")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "streaming is broken" in done.stderr


@pytest.mark.model
def test_the_demo_shows_a_real_model() -> None:
    done = subprocess.run([sys.executable, str(DEMO)], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.rpartition("(")[2].split()[0]) > 1
