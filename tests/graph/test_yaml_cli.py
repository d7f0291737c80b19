"""Prompts and graphs from the command line: what is printed, what is asked, and how it fails."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from prompts.conftest import Writer, write  # noqa: F401  # a fixture

from mellea_like import Answer, BackendUnavailable, FakeBackend
from mellea_like.cli import main
from mellea_like.providers import serving

GRAPH = """\
state: {name: str, n: int}
nodes:
  greet: {prompt: greet, state_key: greeting}
edges: [{from: START, to: greet}]
"""


@pytest.fixture
def folder(write: Writer) -> Writer:  # noqa: F811
    write("greet", "user: Greet {name}.")
    write("graph.yaml", GRAPH)
    return write


@pytest.fixture
def script() -> Any:
    with serving(FakeBackend(answers=Answer(["Hel", "lo"]))) as backend:
        yield backend


@pytest.mark.usefixtures("script", "folder")
def test_a_prompt_is_printed_as_it_comes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prompt", "greet", "--var", "name=World"]) == 0
    assert capsys.readouterr() == ("Hello\n", "")


def test_a_prompt_takes_a_folder_a_temperature_and_a_model(folder: Writer, script: Any) -> None:
    folder("other/hi.yaml", "user: Hi")
    assert main(["prompt", "hi", "--prompts", "other", "--temperature", "0", "--model", "m", "--provider", "xai"]) == 0
    assert script.calls[0].options["temperature"] == 0


def test_a_typed_answer_is_printed_as_json(folder: Writer, capsys: pytest.CaptureFixture[str]) -> None:
    folder("who", "user: Who?\nschema: {fields: {name: {type: str}}}")
    with serving(FakeBackend(answers='{"name": "Adä"}')):
        assert main(["prompt", "who", "--json"]) == 0
    assert capsys.readouterr().out == '{"name": "Adä"}\n'


@pytest.mark.usefixtures("script", "folder")
def test_a_graph_prints_the_state_that_it_comes_to(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "graph.yaml", "--var", "name=World", "--var", "n:=3"]) == 0
    assert json.loads(capsys.readouterr().out) == {"name": "World", "n": 3, "greeting": "Hello"}


@pytest.mark.usefixtures("script", "folder")
def test_a_streamed_graph_prints_the_text_and_names_nodes_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "graph.yaml", "--var", "name=World", "--stream"]) == 0
    assert capsys.readouterr() == ("Hello\n", "[greet]\n")


@pytest.mark.usefixtures("script", "folder")
def test_a_streamed_graph_may_print_one_json_object_per_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "graph.yaml", "--var", "name=World", "--stream", "--json"]) == 0
    first, second, last = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["token"], second["token"], first["node"]) == ("Hel", "lo", "greet")
    assert last == {"state": {"name": "World", "greeting": "Hello"}}


def test_generations_side_by_side_are_printed_one_after_the_other(
    folder: Writer, capsys: pytest.CaptureFixture[str]
) -> None:
    folder(
        "two.yaml",
        """\
        nodes:
          a: {prompt: greet, state_key: x, variables: {name: A}}
          b: {prompt: greet, state_key: y, variables: {name: B}}
        edges: [{from: START, to: [a, b]}]
        """,
    )

    def answer(request: Any) -> Answer:
        name = request.messages[-1].content[-2]
        return Answer([0.01, f"{name}1 ", 0.01, f"{name}2 ", 0.01, f"{name}3"])

    with serving(FakeBackend(answers=answer)):
        assert main(["run", "two.yaml", "--stream"]) == 0
    assert sorted(capsys.readouterr().out.splitlines()) == ["A1 A2 A3", "B1 B2 B3"]


ASKING = """\
nodes:
  ask: {type: interrupt, message: Who is there?, resume_key: name}
  greet: {prompt: greet, state_key: greeting}
edges: [{from: START, to: ask}, {from: ask, to: greet}]
"""


@pytest.mark.parametrize(("typed", "code"), [("Ana\n", 0), ("", 3)])
def test_a_run_that_waits_asks_on_the_command_line(
    folder: Writer,
    script: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    typed: str,
    code: int,
) -> None:
    folder("ask.yaml", ASKING)
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    assert main(["run", "ask.yaml", "--json"]) == code
    out, err = capsys.readouterr()
    assert err.splitlines()[0] == "Who is there?"
    if code == 0:
        assert json.loads(out)["name"] == "Ana"
        assert script.calls[0].messages[0].content == "Greet Ana."


@pytest.mark.usefixtures("folder")
def test_a_failure_comes_after_the_text_and_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(FakeBackend(answers=Answer(["Hel", BackendUnavailable("gone")]))):
        assert main(["run", "graph.yaml", "--var", "name=World", "--stream"]) == 3
    out, err = capsys.readouterr()
    assert out.startswith("Hel")
    assert err.splitlines()[-1].startswith("mellea-like: Node 'greet' failed")


@pytest.mark.parametrize("given", ["name", "=x", ":=3", "n:=x"])
@pytest.mark.usefixtures("folder")
def test_a_mistaken_variable_is_shown(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prompt", "greet", "--var", given]) == 2
    assert f"--var {given!r}" in capsys.readouterr().err


def test_lint_prints_each_fault_and_fails_on_mistakes_or_with_strict_on_warnings(
    folder: Writer, capsys: pytest.CaptureFixture[str]
) -> None:
    folder("wrong.yaml", GRAPH.replace("to: greet", "to: gret"))
    folder("odd.yaml", GRAPH.replace("edges:", "  lost: {type: passthrough}\nedges:"))
    for argv, code in (["graph.yaml"], 0), (["odd.yaml"], 0), (["odd.yaml", "--strict"], 1), (["wrong.yaml"], 1):
        assert main(["lint", *argv]) == code
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "odd.yaml:4: warning: nothing leads to the node 'lost' [unreachable]"
    assert lines[2].startswith("wrong.yaml:4: error: There is no node 'gret'. Did you mean 'greet'?")


@pytest.mark.parametrize(("argv", "key"), [(["schema"], "nodes"), (["schema", "prompt"], "user")])
def test_schema_prints_json(argv: list[str], key: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 0
    assert key in json.loads(capsys.readouterr().out)["properties"]
