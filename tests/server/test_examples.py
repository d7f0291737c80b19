"""The examples of serving run unattended, as a user would start them; a graph from a YAML file is served too."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mellea_like.server.loading import answerer_named

from .conftest import Served

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


def test_a_program_asked_with_openais_client() -> None:
    command = [sys.executable, str(EXAMPLES / "serving" / "asking_with_openai.py"), "--backend", "fake"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    first, whole, streamed = done.stdout.split("\n# ")
    assert first.startswith("Serving program at http://127.0.0.1:")
    assert whole.removeprefix("Whole\n").strip()
    assert streamed.rstrip().endswith("tokens")


def test_a_graph_in_a_yaml_file(serve: Callable[..., Served], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MELLEA_LIKE_OVERRIDE", "fake")
    served = serve(answerer_named(str(EXAMPLES / "yaml" / "greeting.yaml"), input_key="name"))
    assert served.client.get("/v1/models").json()["data"][0]["id"] == "greeting"
    assert [node["name"] for node in served.client.get("/v1/graph").json()["nodes"]] == ["generate"]
    answer = served.chat("Ana").json()
    assert "Ana" in answer["choices"][0]["message"]["content"]
