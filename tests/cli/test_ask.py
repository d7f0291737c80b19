"""`mellea-like ask`: what it prints, to a pipe and to a terminal, and the exit codes that scripts go by."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import fake
from .terminal import CTRL_C, Terminal

Run = Callable[..., subprocess.CompletedProcess[str]]
SCHEMA = {"type": "object", "properties": {"age": {"type": "integer", "minimum": 1}}, "required": ["age"]}


def test_the_answer_is_plain_text_and_the_code_0(mellea: Run) -> None:
    done = mellea("ask", "why", "is", "it", *fake("**Because** `x<y>`."))
    assert (done.returncode, done.stdout, done.stderr) == (0, "**Because** `x<y>`.\n", "")


@pytest.mark.parametrize(
    ("words", "given", "asked"),
    [(["sum up"], "a text\n", "sum up\n\na text\n"), ([], "what?\n", "what?\n"), (["what?"], "", "what?")],
)
def test_standard_input_goes_with_the_question(mellea: Run, words: list[str], given: str, asked: str) -> None:
    assert mellea("ask", *words, "-m", "fake", given=given).stdout.rstrip("\n") == f"You said: {asked}".rstrip("\n")


def test_an_answer_streams_to_a_pipe(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "mellea_like", "ask", "go", *fake("one two " + "word " * 2000, delay=0.02)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, cwd=tmp_path) as running:
        assert running.stdout is not None
        assert os.read(running.stdout.fileno(), 100).startswith(b"one")
        running.send_signal(signal.SIGINT)
        assert running.wait(20) == 130


def test_a_reader_that_leaves_is_code_141_without_a_word(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "mellea_like", "ask", "go", *fake("one two " + "word " * 2000, delay=0.01)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
    with subprocess.Popen(argv, cwd=tmp_path, **pipes) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        os.read(running.stdout.fileno(), 100)
        running.stdout.close()
        assert (running.stderr.read(), running.wait(20)) == (b"", 141)


@pytest.mark.parametrize(
    ("answer", "code", "said"), [('{"age": 36}', 0, ""), ('{"age": 0}', 1, "age"), ("no", 1, "Invalid JSON")]
)
def test_a_schema_holds_the_answer(mellea: Run, tmp_path: Path, answer: str, code: int, said: str) -> None:
    (tmp_path / "person.json").write_text(json.dumps(SCHEMA))
    done = mellea("ask", "who", "--format", "person.json", *fake(answer))
    assert (done.returncode, done.stdout) == (code, f"{answer}\n")
    assert said in done.stderr
    assert not said or done.stderr.startswith("mellea-like: The answer is not a valid person.")


def test_a_type_in_a_file_holds_the_answer(mellea: Run, tmp_path: Path) -> None:
    (tmp_path / "people.py").write_text("from pydantic import BaseModel\n\nclass Person(BaseModel):\n    age: int\n")
    assert mellea("ask", "who", "--format", "people.py:Person", *fake('{"age": 36}')).returncode == 0
    assert mellea("ask", "who", "--format", "people.py:Person", *fake('{"age": "x"}')).returncode == 1


def test_requirements_are_judged_and_only_the_accepted_text_is_printed(mellea: Run, tmp_path: Path) -> None:
    (tmp_path / "checks.py").write_text("def short(text):\n    return len(text) < 9, 'too long'\n")
    argv = ["ask", "go", "--require", "checks.py:short"]
    done = mellea(*argv, *fake("much too long", "short"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "short\n", "")
    done = mellea(*argv, *fake("much too long", "long as well"))
    assert (done.returncode, done.stdout) == (1, "much too long\n")
    assert done.stderr == "mellea-like: not met: short: too long\n"
    done = mellea(*argv, "--attempts", "3", *fake("much too long", "long as well", "short"))
    assert (done.returncode, done.stdout) == (0, "short\n")


def test_a_tool_is_used(mellea: Run, tmp_path: Path) -> None:
    (tmp_path / "tools.py").write_text("def add(a: int, b: int) -> int:\n    'Add.'\n    return a + b\n")
    done = mellea("ask", "go", "--tools", "tools.py", *fake("It is 23."))
    assert (done.returncode, done.stdout) == (0, "It is 23.\n")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "There is no question"),
        (["x", "--format", "no.json"], "'no.json' cannot be read"),
        (["x", "--format", "bad.json"], "is not JSON"),
        (["x", "--format", "list.json"], "holds no JSON schema"),
        (["x", "--format", "type.json"], "holds no JSON schema"),
        (["x", "--require", "bad.py:f"], "cannot be run: ZeroDivisionError"),
        (["x", "--require", "good.py:f"], "has no 'f'"),
        (["x", "--tools", "good.py"], "has no tools"),
        (["x", "--tools", "good.py", "--format", "type.json"], "--tools goes with neither"),
    ],
)
def test_wrong_use_is_one_line_and_code_2(mellea: Run, tmp_path: Path, argv: list[str], said: str) -> None:
    for name, text in (
        ("bad.json", "{"),
        ("list.json", "[]"),
        ("type.json", '{"type": 3}'),
        ("bad.py", "1 / 0"),
        ("good.py", ""),
    ):
        (tmp_path / name).write_text(text)
    done = mellea("ask", *argv, *fake("x"))
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_backend_that_is_not_there_is_code_3(mellea: Run) -> None:
    done = mellea("ask", "x", "-m", "openai:m", "-o", "base_url=http://127.0.0.1:9/v1", "-o", "api_key=x")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("mellea-like: Nothing answers at")
    assert done.stderr.count("\n") == 1


def test_figures_go_to_stderr(mellea: Run) -> None:
    done = mellea("ask", "x", "--stats", *fake("one two"))
    assert done.stdout == "one two\n"
    assert "s to the first token · 2 tokens" in done.stderr


def test_a_terminal_gets_markdown(terminal: Callable[..., Terminal]) -> None:
    shown = terminal("ask", "go", *fake("# Title\n\n- **one**\n- two", delay=0.01))
    assert shown.end() == 0
    assert shown.text == "Title\n\n • one\n • two"


def test_ctrl_c_at_a_terminal_is_code_130_and_keeps_what_came(terminal: Callable[..., Terminal]) -> None:
    shown = terminal("ask", "go", *fake("one two " + "word " * 500, delay=0.05))
    shown.until("one two")
    shown.type(CTRL_C)
    assert shown.end() == 130
    assert shown.text.startswith("one two")
    assert "Traceback" not in shown.text


def test_help_has_examples_and_the_exit_codes(mellea: Run) -> None:
    for argv in (["--help"], ["ask", "--help"], ["chat", "--help"]):
        done = mellea(*argv)
        assert done.returncode == 0
        assert "\nexamples:\n  mellea-like" in done.stdout
    assert "\nexit codes:\n  0    answered" in mellea("ask", "--help").stdout


@pytest.mark.parametrize("argv", [["ask", "--help"], ["chat", "--help"], ["models", "list"]])
def test_no_command_line_loads_what_it_does_not_need(argv: list[str], tmp_path: Path) -> None:
    heavy = ["rich", "prompt_toolkit", "pydantic", "markdown_it", "jinja2"]
    program = (
        "import sys\nfrom mellea_like.cli import main\n"
        f"try:\n    main({argv!r})\nexcept SystemExit:\n    pass\n"
        f"print(*[name for name in {heavy!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stderr.split() == []
