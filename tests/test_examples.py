"""The examples run unattended, as a user would start them, and show what they promise."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "docs" / "examples" / "streaming"
BACKENDS = ["fake", pytest.param(None, id="embedded", marks=pytest.mark.model)]


def command(name: str, backend: str | None) -> list[str]:
    return [sys.executable, str(EXAMPLES / name), *(["--backend", backend] if backend else [])]


def run(name: str, backend: str | None, typed: str = "") -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command(name, backend), input=typed, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.parametrize("backend", BACKENDS)
def test_basic_streaming_shows_both_ways(backend: str | None) -> None:
    printed = run("basic_streaming.py", backend).stdout
    polled, iterated, after = re.split(r"\n# [2A][^\n]*\n", printed)
    assert polled.splitlines()[-1]
    assert iterated.strip()
    assert re.search(r"\d+ characters, finish reason '(stop|length)', Usage\(input_tokens=\d+", after)


@pytest.mark.parametrize("backend", BACKENDS)
def test_advanced_streaming_shows_every_practice(backend: str | None) -> None:
    printed = run("advanced_streaming.py", backend).stdout
    for heading in ("Buffering", "Errors", "Timeouts", "Cancelling", "Several at once", "Synchronous code"):
        assert f"# {heading}" in printed
    assert printed.count("BackendUnavailable: The server went away.") == 2
    assert "awaiting it: GenerationCancelled" in printed
    assert "left `async with`: cancelled" in printed
    counts = re.findall(r"Paris: (\d+ deltas, \d+ characters)", printed)
    assert len(counts) == 2
    assert counts[0] == counts[1]


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_chat_answers_skips_an_empty_line_and_leaves_at_the_end_of_input(backend: str | None) -> None:
    done = run("interactive_chat.py", backend, "Say hello.\n\nSay it again.\n")
    assert done.stdout.count("bot> ") == 2
    assert done.stdout.endswith("Bye.\n")
    assert done.stderr == ""


def test_the_scripted_chat_says_what_was_typed() -> None:
    assert "bot> You said: good morning\n" in run("interactive_chat.py", "fake", "good morning\n").stdout


@pytest.mark.skipif(sys.platform == "win32", reason="there is no pseudo-terminal on Windows")
def test_in_the_chat_ctrl_c_stops_an_answer_and_keeps_the_session_and_ctrl_d_leaves() -> None:
    import pexpect

    program, *arguments = command("interactive_chat.py", "fake")
    chat = pexpect.spawn(program, arguments, encoding="utf-8", timeout=60)
    chat.expect("you> ")
    chat.sendline("word " * 150)
    chat.expect("bot> .*word word")
    chat.sendintr()
    chat.expect(r"\(stopped\)")
    chat.expect("you> ")
    chat.sendintr()
    chat.expect(r"\(Ctrl-D leaves\)")
    chat.expect("you> ")
    chat.sendline("still there?")
    chat.expect("You said: still there?")
    chat.expect("you> ")
    chat.sendeof()
    chat.expect("Bye.")
    chat.expect(pexpect.EOF)
    chat.close()
    assert chat.exitstatus == 0


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_every_example_carries_its_own_dependencies_and_a_description(example: Path) -> None:
    source = example.read_text(encoding="utf-8")
    assert source.startswith("# /// script\n")
    assert 'mellea-like = { path = "../../..", editable = true }' in source
    assert f"uv run docs/examples/streaming/{example.name}" in source
    assert f"[{example.name}]" in (EXAMPLES / "README.md").read_text(encoding="utf-8")
