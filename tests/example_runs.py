"""Running the examples as a user would start them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "docs" / "examples"
BACKENDS = ["fake", pytest.param(None, id="embedded", marks=pytest.mark.model)]
"""Where answers come from: a script, or the model that an example takes by itself, which runs in its process."""


def command(name: str, backend: str | None, *arguments: str) -> list[str]:
    """Return what starts an example, such as `"graphs/stream_modes.py"`."""
    return [sys.executable, str(FOLDER / name), *(["--backend", backend] if backend else []), *arguments]


def run(name: str, backend: str | None, *arguments: str, typed: str = "") -> str:
    """Run an example to its end and return what it printed; it must leave well, with nothing on stderr."""
    program = command(name, backend, *arguments)
    done = subprocess.run(program, input=typed, capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout
