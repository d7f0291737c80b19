"""`mellea-like chat` in a pipe: each line is a turn, answers are plain text, the exit code says how it went."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import fake

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_each_line_is_a_turn_and_answers_are_plain(mellea: Run) -> None:
    done = mellea("chat", *fake("**one**", "two\n"), given="a\nb\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, "**one**\ntwo\n", "")


def test_a_backslash_goes_on_in_the_next_line_and_the_last_line_needs_no_end(mellea: Run) -> None:
    assert mellea("chat", "-m", "fake", given="a\\\nb\n\nc").stdout == "You said: a\nb\nYou said: c\n"


def test_commands_work(mellea: Run, tmp_path: Path) -> None:
    done = mellea("chat", *fake("one", "two"), given="a\n/retry\n/save chat.json\n/quit\nnever\n")
    assert done.stdout == "one\nAgain: a\ntwo\nSaved 1 turn to chat.json.\n"
    assert mellea("chat", "--load", "chat.json", *fake("three"), given="/stats\n").stdout.startswith(
        "script (fake), 1 turn"
    )


def test_a_failed_turn_is_one_line_on_stderr_and_the_next_goes_on(mellea: Run) -> None:
    done = mellea("chat", *fake("one"), given="a\nb\n/undo\n")
    assert (done.returncode, done.stdout) == (3, "one\nForgotten: b\n")
    assert done.stderr.startswith("mellea-like: The fake backend's script has no answer")
    assert done.stderr.count("\n") == 1


def test_requirements_that_are_not_met_are_told(mellea: Run) -> None:
    done = mellea("chat", *fake("no", "no", "no", "no"), "--require", "It is polite.", given="a\n")
    assert (done.returncode, done.stdout) == (1, "no\n")
    assert done.stderr.startswith("mellea-like: not met: It is polite.")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["-m", "nope"], "There is no backend 'nope'"),
        (["-o", "heat=9"], "There is no option of the backend 'fake' called 'heat'"),
        (["-o", "heat"], "'heat' is not an option: write NAME=VALUE"),
        (["-o", "temperature=hot"], "temperature"),
        (["--load", "no.json"], "'no.json': No such file or directory."),
        (["--attempts", "0"], "--attempts is 0"),
        (["--tools", "no.py"], "There is no file 'no.py'."),
        (["--require", ""], "this one is empty"),
    ],
)
def test_wrong_use_is_one_line_and_code_2(mellea: Run, argv: list[str], said: str) -> None:
    done = mellea("chat", *([] if "-m" in argv else ["-m", "fake"]), *argv, given="a\n")
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.model
def test_the_embedded_model_answers_a_line(mellea: Run) -> None:
    done = mellea(
        "chat", "-m", "llamacpp", "-o", "temperature=0", "-o", "max_tokens=30", given="What is the capital of France?\n"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "Paris" in done.stdout
