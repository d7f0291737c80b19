"""How every command ends: exit codes, and one line on stderr whatever happens to its output."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mellea_like import Answer, BackendUnavailable, FakeBackend
from mellea_like.cli import main
from mellea_like.providers import serving

Run = Callable[..., subprocess.CompletedProcess[str]]

GRAPH = """\
nodes:
  greet: {prompt: greet, state_key: greeting}
edges: [{from: START, to: greet}]
"""
LONG = "name=" + "word " * 20_000
COMMANDS = {
    "ask": ["ask", "go", "-m", "fake", "-o", f"answers={LONG}"],
    "prompt": ["prompt", "greet", "--var", LONG],
    "run": ["run", "graph.yaml", "--var", LONG],
    "run --stream": ["run", "graph.yaml", "--stream", "--var", LONG],
    "run --stream --json": ["run", "graph.yaml", "--stream", "--json", "--var", LONG],
    "lint": ["lint", *(f"nothing_{n}.yaml" for n in range(1000))],
    "schema": ["schema"],
    "models": ["models", "list"],
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with a prompt and a graph, on a model that says again what it is told."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PROVIDER", "fake")
    monkeypatch.delenv("MELLEA_LIKE_MODEL", raising=False)
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts/greet.yaml").write_text("user: Greet {name}.")
    (tmp_path / "graph.yaml").write_text(GRAPH)
    return tmp_path


def shell(line: str, *argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a line of the shell's, in which `"$@"` is the command."""
    command = ["bash", "-c", line, "bash", sys.executable, "-m", "mellea_like", *argv]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
        env={**os.environ, **environment},
    )


unix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither such pipes nor such files")


@unix
@pytest.mark.parametrize("command", COMMANDS)
def test_a_reader_that_leaves_is_code_141_without_a_word(command: str) -> None:
    # A reader that has left before anything is written, so that there is no race.
    done = shell('exec 3> >(:); wait $!; "$@" >&3', *COMMANDS[command])
    assert (done.returncode, done.stderr.replace("[greet]\n", "")) == (141, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full disk to write to")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk_is_one_line(command: str) -> None:
    done = shell('"$@" >/dev/full', *COMMANDS[command])
    assert (done.returncode, done.stderr.replace("[greet]\n", "")) == (2, "mellea-like: No space left on device.\n")


@unix
@pytest.mark.parametrize("closed", [">&-", "<&-", ">&- <&- 2>&-"])
@pytest.mark.parametrize("argv", [COMMANDS["ask"], ["chat", "-m", "fake"], COMMANDS["run"], COMMANDS["schema"]])
def test_streams_that_are_closed_are_nobody(argv: list[str], closed: str) -> None:
    done = shell(f'"$@" {closed}', *argv)
    assert (done.returncode, done.stderr) == (0, "")


@unix
@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        (["ask", "é", "-m", "fake"], "You said: \\xe9\n"),
        (["prompt", "greet", "--var", "name=é"], "You said: Greet \\xe9.\n"),
        (["run", "graph.yaml", "--stream", "--var", "name=é"], "You said: Greet \\xe9.\n"),
    ],
)
def test_what_the_output_cannot_write_is_escaped(argv: list[str], shown: str) -> None:
    done = shell('"$@" </dev/null', *argv, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stdout) == (0, shown)


@unix
def test_json_stays_json_whatever_the_output_can_write() -> None:
    done = shell('"$@"', "run", "graph.yaml", "--json", "--var", "name=é😀", PYTHONIOENCODING="ascii")
    assert json.loads(done.stdout)["greeting"] == "You said: Greet é😀."
    assert done.stdout.isascii()


def test_a_state_that_is_no_json_is_printed_as_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--var", "n:=[NaN, Infinity, 1.5]", "--var", "name=x"]
    assert main(["run", "graph.yaml", "--json", *given]) == 0
    assert json.loads(capsys.readouterr().out, parse_constant=pytest.fail)["n"] == [None, None, 1.5]


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["run", "graph.yaml", "--var", "name"], "--var 'name' is not NAME=VALUE."),
        (["run", "no.yaml"], "cannot be read"),
        (["prompt", "no"], "There is no prompt 'no'"),
        (["models", "remove", "no"], "There is no fetched model 'no'"),
        (["serve", "fake", "--port", "99999"], "--port is 99999; ports go from 1 to 65535, and 0 takes a free one."),
        (["serve", "fake", "--port", "-1"], "--port is -1;"),
    ],
)
def test_wrong_use_is_one_line_and_code_2(argv: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("mellea-like: ")
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("answer", "code"),
    [(BackendUnavailable("gone"), 3), ("no JSON", 1)],
)
def test_a_node_fails_with_the_code_of_what_it_failed_with(answer: Any, code: int) -> None:
    Path("prompts/greet.yaml").write_text("user: Greet {name}.\nschema: {fields: {text: {type: str}}}")
    with serving(FakeBackend(answers=Answer([answer]))):
        assert main(["run", "graph.yaml", "--var", "name=x"]) == code


def test_the_exit_codes_are_in_the_help(mellea: Run) -> None:
    for command in ("ask", "chat", "run", "prompt"):
        assert "\nexit codes:\n  0    answered" in mellea(command, "--help").stdout
