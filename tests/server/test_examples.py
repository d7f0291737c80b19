"""The examples of serving run unattended, as a user would start them; a graph from a YAML file is served too."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from example_runs import BACKENDS, FOLDER, run

from mellea_like.server.loading import answerer_named

from .conftest import Served


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_program_asked_with_openais_client(backend: str | None) -> None:
    first, whole, streamed = run("serving/asking_with_openai.py", backend).split("\n# ")
    assert first.startswith("Serving program at http://127.0.0.1:")
    assert whole.removeprefix("Whole\n").strip()
    assert streamed.rstrip().endswith("tokens")


def test_a_graph_in_a_yaml_file(serve: Callable[..., Served], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MELLEA_LIKE_OVERRIDE", "fake")
    served = serve(answerer_named(str(FOLDER / "yaml" / "greeting.yaml"), input_key="name"))
    assert served.client.get("/v1/models").json()["data"][0]["id"] == "greeting"
    assert [node["name"] for node in served.client.get("/v1/graph").json()["nodes"]] == ["generate"]
    answer = served.chat("Ana").json()
    assert "Ana" in answer["choices"][0]["message"]["content"]
