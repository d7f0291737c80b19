"""Importing costs next to nothing: a feature's packages are imported with the feature."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {
    *("openai", "ollama", "huggingface_hub", "xllamacpp", "uvicorn", "rich"),
    *("yaml", "jinja2", "opentelemetry", "pydantic", "numpy", "msgspec"),
}


GRAPH = "from mellea_like import StateGraph; StateGraph().add_node('a', print).set_entry_point('a').compile()"


@pytest.mark.parametrize("statement", ["import mellea_like", "from mellea_like import start_session", GRAPH])
def test_import_loads_nothing_heavy(statement: str) -> None:
    program = f"import sys; {statement}; print(*sorted({HEAVY!r} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
