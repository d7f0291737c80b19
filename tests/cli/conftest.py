"""Fixtures for the programs in the terminal."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mellea_like import Answer, ChatContext, FakeBackend, MelleaSession, RecordingBackend

from .terminal import Terminal


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """Start `mellea-like` in a terminal: `terminal("chat", …, columns=40)`."""
    opened: list[Terminal] = []

    def start(*argv: str, **settings: Any) -> Terminal:
        opened.append(Terminal(*argv, home=tmp_path, **settings))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


@pytest.fixture
def mellea(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `mellea-like` with pipes: `mellea("ask", "…", given="on standard input")`."""

    def run(*argv: str, given: str = "") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "mellea_like", *argv]
        return subprocess.run(
            command,
            input=given,
            capture_output=True,
            text=True,
            timeout=60,
            cwd=tmp_path,
            encoding="utf-8",
            check=False,
        )

    return run


def fake(*answers: str, delay: float = 0) -> list[str]:
    """Write the options of a model that gives these answers, one after the other."""
    return ["-m", "fake", "-o", f"answers={json.dumps(answers)}", "-o", f"delay={delay}"]


@pytest.fixture
def recorded(tmp_path: Path) -> Callable[..., list[str]]:
    """Record what a model says to a question, with events that a line cannot write, and name it as a model."""

    def record(question: str, *steps: Any, **options: Any) -> list[str]:
        path = tmp_path / "calls.jsonl"
        with MelleaSession(RecordingBackend(FakeBackend(answers=Answer(list(steps))), path), ChatContext()) as m:
            m.chat(question, **options)
        return ["-m", f"replay:{path}"]

    return record
