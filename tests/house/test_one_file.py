"""A backend is one file: putting it beside the others is all that it takes to name it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mellea_like import backends, start_session

PROBE = """
from mellea_like.backends import Backend
from mellea_like.events import Finished


class Probe(Backend):
    name = "_probe"

    async def stream(self, request):
        yield f"{self.model_id} heard {request.messages[-1].content}"
        yield Finished()
"""


def test_a_backend_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "_probe.py").write_text(PROBE, "utf-8")
    monkeypatch.setattr(backends, "__path__", [*backends.__path__, str(tmp_path)])
    with start_session("_probe:small") as m:
        assert m.instruct("hello").value == "small heard hello"
