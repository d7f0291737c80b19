"""The live suite runs for whoever asks for it, and says then what it lacks; nobody else meets it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def pytest_run(*arguments: str) -> str:
    """Run pytest on this folder where no provider is at hand; return what it printed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "HF_", "MELLEA_"))}
    nobody = {"OLLAMA_HOST": "127.0.0.1:9"}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", *arguments, str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env={**kept, **nobody}, check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_a_run_that_does_not_ask_for_it_knows_nothing_of_it() -> None:
    collected = pytest_run("--collect-only", "-m", "not model")
    assert "test_backends.py" in collected
    assert "test_live.py" not in collected


def test_a_run_that_asks_for_it_says_what_each_provider_lacks() -> None:
    said = pytest_run("-m", "live")
    assert "test_live.py" in said
    assert "ollama: no Ollama server with a model answers at 127.0.0.1:9" in said
    assert "openai: neither OPENAI_API_KEY nor OPENAI_BASE_URL is set" in said
    assert "huggingface: neither HF_TOKEN nor" in said
