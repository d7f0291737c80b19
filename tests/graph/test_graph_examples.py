"""The graph examples run unattended, as a user would start them, and show what they promise."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples" / "graphs"
BACKENDS = ["fake", pytest.param(None, id="embedded", marks=pytest.mark.model)]


def run(name: str, backend: str | None) -> str:
    command = [sys.executable, str(EXAMPLES / name), *(["--backend", backend] if backend else [])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("backend", BACKENDS)
def test_stream_modes_shows_every_mode(backend: str | None) -> None:
    printed = run("stream_modes.py", backend)
    assert "chatbot wrote messages\ncount wrote words\n" in printed
    assert "1 messages, words: None\n2 messages, words: None\n2 messages, words: " in printed
    assert "custom {'progress': 'counting'}\nupdates ['count']\n" in printed
    assert "flowchart TD" in printed


@pytest.mark.parametrize("backend", BACKENDS)
def test_parallel_poets_take_turns_and_a_node_is_tried_again(backend: str | None) -> None:
    printed = run("parallel_poets.py", backend)
    assert "publish is tried again; events from " in printed
    assert "published: hills, sea" in printed
    assert int(printed.rpartition("took turns ")[2].split()[0]) >= 2


@pytest.mark.parametrize("backend", BACKENDS)
def test_human_in_the_loop_goes_on_with_the_answer(backend: str | None) -> None:
    printed = run("human_in_the_loop.py", backend)
    assert printed.startswith("Send this? ")
    assert "updates {'send': {'sent': True}}" in printed


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_every_example_carries_its_own_dependencies_and_a_description(example: Path) -> None:
    source = example.read_text(encoding="utf-8")
    assert source.startswith("# /// script\n")
    assert f"uv run docs/examples/graphs/{example.name}" in source
    assert f"[{example.name}]" in (EXAMPLES / "README.md").read_text(encoding="utf-8")
