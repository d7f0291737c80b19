"""The examples of requirements and strategies run unattended, as a user would start them, and keep their promises."""

from __future__ import annotations

import re
import sys

import pytest
from example_runs import BACKENDS, command, run

STREAMING = "streaming/streaming_with_requirements.py"


def test_attempts_come_and_go_and_a_pipe_keeps_them():
    lines = run(STREAMING, "fake").splitlines()
    assert lines[2] == "1: The sea is a very,"
    assert lines[3].startswith("1: given up.")
    assert "'very' must not be in the answer" in lines[3]
    assert lines[5].startswith("2: given up. Use 8 to 20 words: The answer has 6 words")
    assert lines[7].startswith("3: accepted: The sea is wide")
    assert "\x1b" not in "".join(lines)
    assert "#   attempt 1: 18 characters, stopped early" in "\n".join(lines)


@pytest.mark.model
def test_attempts_come_and_go_on_the_embedded_model():
    printed = run(STREAMING, None)
    assert re.search(r"^\d: (accepted|kept, though it does not meet the requirements): ", printed, re.MULTILINE)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no pseudo-terminal on Windows")
def test_in_a_terminal_an_attempt_that_is_given_up_is_wiped_away():
    import pexpect

    program, *arguments = command(STREAMING, "fake")
    terminal = pexpect.spawn(program, arguments, encoding="utf-8", timeout=60, dimensions=(24, 60))
    terminal.expect(re.escape("1: The sea is a very,\r\x1b[J\x1b[2m1: given up."))
    terminal.expect("3: accepted")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_judging_answers(backend):
    printed = run("requirements/judging_answers.py", backend)
    assert re.search(r"success: (True|False|None), attempts: [12]\n", printed)
    assert "- Be polite. There is no 'please' in it." in printed


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_strategy_gives_an_answer(backend):
    printed = run("requirements/strategies.py", backend)
    assert len(re.findall(r"^# ", printed, re.MULTILINE)) == 8
    assert len(re.findall(r"success: (?:True|False), attempts: \d", printed)) == 8
