"""What can be served: functions, programs in files, graphs, names; and the command as a user starts it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypedDict

import httpx
import pytest

from mellea_like import Answer, FakeBackend, Gate, InvalidArgument, Message, SamplingResult, ToolCall, start_session
from mellea_like.cli import main
from mellea_like.graph.building import StateGraph
from mellea_like.server.loading import answerer_named, answerer_of

from .conftest import PATIENCE, Served

M = start_session("fake", answers="From a thunk.")


def text(messages: list[Message]) -> str:
    return f"You said {messages[-1].content!r}."


def message(messages: list[Message]) -> Message:
    return Message("assistant", "", tool_calls=[ToolCall(name="look", id="c1")])


def thunk(messages: list[Message]) -> Any:
    return M.instruct("x", await_result=False)


async def asynchronous(messages: list[Message]) -> Any:
    return await M.ainstruct("x", await_result=False)


async def computed(messages: list[Message]) -> Any:
    return await M.ainstruct("x")


def samples(messages: list[Message]) -> SamplingResult[str]:
    return M.instruct("x", requirements=[bool], return_sampling_results=True)


@pytest.mark.parametrize("function", [thunk, asynchronous, computed, samples], ids=lambda f: f.__name__)
@pytest.mark.parametrize("stream", [False, True])
def test_a_thunk_is_an_answer(serve: Callable[..., Served], function: Any, stream: bool) -> None:
    answer = serve(function).chat(stream=stream)
    if stream:
        assert "".join(re.findall(r'"content":"([^"]*)"', answer.text)) == "From a thunk."
    else:
        assert answer.json()["choices"][0]["message"]["content"] == "From a thunk."
        assert answer.json()["model"] == function.__name__


def test_text_is_an_answer(serve: Callable[..., Served]) -> None:
    assert serve(text).chat("hi").json()["choices"][0]["message"]["content"] == "You said 'hi'."


def test_a_message_is_an_answer_with_its_tool_calls(serve: Callable[..., Served]) -> None:
    choice = serve(message).chat().json()["choices"][0]
    assert (choice["finish_reason"], choice["message"]["content"]) == ("tool_calls", None)
    assert choice["message"]["tool_calls"][0]["function"]["name"] == "look"


def test_a_function_is_given_what_its_parameters_name(serve: Callable[..., Served]) -> None:
    seen: dict[str, Any] = {}

    async def program(messages: list[Message], requirements: Any, model_options: Any, schema: Any, request: Any) -> str:
        seen.update(options=model_options, requirements=requirements, schema=schema, model=request.model, said=messages)
        return "done"

    schema = {"type": "object"}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    serve(program).chat("hi", model="mine", temperature=0.5, response_format=wanted)
    assert seen == {
        "options": {"temperature": 0.5},
        "requirements": None,
        "schema": schema,
        "model": "mine",
        "said": [Message("user", "hi")],
    }


def test_synchronous_functions_do_not_hold_each_other_up(serve: Callable[..., Served]) -> None:
    import threading

    meeting = threading.Barrier(3, timeout=PATIENCE)

    def waits(messages: list[Message]) -> str:
        meeting.wait()
        return "met"

    served = serve(waits)
    asked = [served.begin() for _ in range(2)]
    assert served.chat().json()["choices"][0]["message"]["content"] == "met"
    for asking in asked:
        asking.close()


@pytest.mark.parametrize("answer", [None, 5, object()])
def test_what_is_no_answer_fails(serve: Callable[..., Served], answer: Any) -> None:
    def program(messages: list[Message]) -> Any:
        return answer

    assert serve(program).chat().json()["error"]["code"] == "program_failed"


class Odd(BaseException):
    """What no `except Exception` catches."""


def raises(error: BaseException, how: str) -> Any:
    """Build a program that raises `error`: at once, asynchronously, or as a node of a graph."""

    def program(messages: Any) -> Any:
        raise error

    async def asynchronous(messages: Any) -> Any:
        raise error

    async def cancels_itself(messages: Any) -> Any:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    if how == "graph":
        graph = StateGraph()
        graph.add_node("node", asynchronous)
        graph.set_entry_point("node")
        return graph
    return {"sync": program, "async": asynchronous, "itself": cancels_itself}[how]


@pytest.mark.parametrize(
    ("error", "how"),
    [
        *[
            (error, how)
            for error in (SystemExit(3), asyncio.CancelledError(), Odd())
            for how in ("sync", "async", "graph")
        ],
        (asyncio.CancelledError(), "itself"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
@pytest.mark.parametrize("stream", [False, True])
def test_whatever_a_program_raises_is_one_answer_and_the_server_goes_on(
    serve: Callable[..., Served], error: BaseException, how: str, stream: bool
) -> None:
    served = serve(raises(error, how))
    for answer in (served.chat(stream=stream), served.respond(stream=stream)):
        said = answer.json()["error"]
        assert (answer.status_code, said["type"]) == (500, "server_error")
        assert type(error).__name__ in said["message"]
    assert served.reaches(running=0)


def test_a_mistake_in_a_program_is_not_its_clients(serve: Callable[..., Served]) -> None:
    def program(messages: list[Message]) -> Any:
        return M.instruct("{{ name }}", user_variables={}, await_result=False)

    assert serve(program).chat().status_code == 500


def test_a_program_that_its_client_leaves_is_stopped(serve: Callable[..., Served]) -> None:
    import threading

    begun, stopped = threading.Event(), threading.Event()

    async def program(messages: list[Message]) -> str:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        return "never"

    served = serve(program)
    with served.begin():
        assert begun.wait(PATIENCE)
    assert stopped.wait(PATIENCE)
    assert served.reaches(running=0)


def test_one_thunk_may_answer_two_clients(serve: Callable[..., Served]) -> None:
    kept = M.instruct("x")
    served = serve(lambda messages: kept, running=1)
    assert [served.chat().status_code for _ in range(3)] == [200] * 3
    assert served.reaches(running=0)


def test_a_program_that_takes_too_long_is_given_up(serve: Callable[..., Served]) -> None:
    async def program(messages: list[Message]) -> str:
        await asyncio.Event().wait()
        return "never"

    served = serve(program, timeout=0.1)
    answer = served.chat()
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "timeout")
    assert served.reaches(running=0)


# --- graphs -----------------------------------------------------------------------------------------------------------


def poem(answers: Any) -> Any:
    graph = StateGraph()
    graph.add_node("plan", node_type="llm", system_prompt="Plan.")
    graph.add_node("poet", node_type="llm", system_prompt="Write.")
    graph.add_sequence(["plan", "poet"])
    graph.set_entry_point("plan")
    return graph.compile(backend=FakeBackend(answers=answers), name="poem")


def test_a_graphs_answer_is_the_text_of_its_last_node_as_it_comes(serve: Callable[..., Served]) -> None:
    gate = Gate()
    served = serve(poem(["a plan", Answer(["Roses ", gate, "are red."])]))
    body = {"messages": [{"role": "user", "content": "A poem"}], "stream": True}
    with served.client.stream("POST", "/v1/chat/completions", json=body) as answer:
        lines = answer.iter_lines()
        begun = [next(lines)]
        while "Roses" not in begun[-1]:
            begun.append(next(lines))
        gate.open()
        whole = "\n".join([*begun, *lines])
    assert "".join(re.findall(r'"content":"([^"]*)"', whole)) == "Roses are red."
    assert '"finish_reason":"stop"' in whole


def test_a_graph_that_writes_no_text_answers_with_what_it_came_to(serve: Callable[..., Served]) -> None:
    graph = StateGraph()
    graph.add_node("count", lambda state: {"count": len(state["input"])})
    graph.set_entry_point("count")
    served = serve(graph)
    assert served.chat("four").json()["choices"][0]["message"]["content"] == "4"
    assert '"content":"4"' in served.chat("four", stream=True).text


def test_a_graph_that_fails_says_so(serve: Callable[..., Served]) -> None:
    def broken(state: Any) -> Any:
        raise ValueError("no")

    graph = StateGraph()
    graph.add_node("broken", broken)
    graph.set_entry_point("broken")
    assert serve(graph).chat().status_code == 500


def test_a_graph_is_described_for_the_page(serve: Callable[..., Served], echo: Served) -> None:
    described = serve(poem("x")).client.get("/v1/graph").json()
    assert [node["name"] for node in described["nodes"]] == ["plan", "poet"]
    assert {"source": "plan", "target": "poet", "loop": False} in described["edges"]
    assert described["answer"] == "poet"
    assert echo.client.get("/v1/graph").status_code == 404


def test_a_graph_that_takes_nothing_that_a_chat_says_is_refused_at_the_beginning() -> None:
    class State(TypedDict):
        topic: str

    graph = StateGraph(State)
    graph.add_node("poet", lambda state: {"topic": f"about {state['topic']}"})
    graph.set_entry_point("poet")
    with pytest.raises(InvalidArgument, match=r"`--input-key KEY`: 'topic'"):
        answerer_of(graph)
    assert answerer_of(graph, input_key="topic").graph is not None


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    before, modules = list(sys.path), set(sys.modules)
    yield tmp_path
    sys.path[:] = before
    for name in set(sys.modules) - modules:
        if name.startswith("served_"):
            del sys.modules[name]


def test_a_program_in_a_file_may_import_its_neighbours(folder: Path) -> None:
    (folder / "served_words.py").write_text("WORD = 'hello'\n")
    (folder / "served_a.py").write_text("from served_words import WORD\ndef serve(messages): return WORD\n")
    assert list(answerer_named("served_a.py").models) == ["served_a"]


def test_an_object_in_a_module(folder: Path) -> None:
    (folder / "served_b.py").write_text("def answer(messages): return 'hi'\n")
    assert list(answerer_named("served_b:answer").models) == ["answer"]


def test_a_model_by_its_name() -> None:
    assert list(answerer_named("fake:tiny").models) == ["tiny"]


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("nowhere.py", "There is no file 'nowhere.py'"),
        ("served_empty.py", "defines no `serve`"),
        ("nomodule:x", "There is no module 'nomodule'"),
        ("json:nothing", "defines no `nothing`"),
        ("json:__name__", "str cannot be served"),
    ],
)
def test_what_cannot_be_served_is_said(folder: Path, target: str, words: str) -> None:
    (folder / "served_empty.py").write_text("")
    with pytest.raises(InvalidArgument, match=re.escape(words)):
        answerer_named(target)


def test_a_function_without_messages_is_refused_at_the_beginning() -> None:
    with pytest.raises(InvalidArgument, match="must take the messages"):
        answerer_of(lambda: "x")


# --- the command ------------------------------------------------------------------------------------------------------


def test_it_does_not_listen_publicly_without_a_key(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MELLEA_LIKE_API_KEY", raising=False)
    assert main(["serve", "fake", "--host", "0.0.0.0"]) == 2
    assert "has no API key" in capsys.readouterr().err


def test_a_port_that_is_taken_is_one_clear_line(echo: Served, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "fake", "--port", str(echo.socket.getsockname()[1])]) == 3
    said = capsys.readouterr().err
    assert "cannot listen at 127.0.0.1:" in said
    assert said.count("\n") == 1


def test_an_empty_key_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "keys").write_text("\n")
    assert main(["serve", "fake", "--api-key-file", str(tmp_path / "keys")]) == 2
    assert "holds no key" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGINT to send on Windows")
def test_a_program_is_served_from_the_command_line_and_ends_with_ctrl_c(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text("def serve(messages):\n    return messages[-1].content.upper()\n")
    command = [sys.executable, "-m", "mellea_like", "serve", "program.py", "--port", "0"]
    environment = {**os.environ, "MELLEA_LIKE_API_KEY": "sk-env"}
    server = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        line = server.stdout.readline()
        url = re.findall(r"Serving program at (http://127\.0\.0\.1:\d+) ", line)[0]
        body = {"messages": [{"role": "user", "content": "hi"}]}
        refused = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=PATIENCE)
        headers = {"Authorization": "Bearer sk-env"}
        answer = httpx.post(f"{url}/v1/chat/completions", json=body, headers=headers, timeout=PATIENCE)
        server.send_signal(signal.SIGINT)
        _, errors = server.communicate(timeout=PATIENCE)
    finally:
        server.kill()
        server.wait()
    assert (refused.status_code, answer.json()["choices"][0]["message"]["content"]) == (401, "HI")
    assert (server.returncode, errors) == (130, "")
