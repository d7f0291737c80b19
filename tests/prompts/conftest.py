"""A folder of prompts to work in, which is the current one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

Writer = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Writer:
    """Write a file below the current folder: `write("greet", "user: Hi")` writes `prompts/greet.yaml`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MELLEA_LIKE_PROMPTS", raising=False)

    def written(name: str, text: str) -> Path:
        path = tmp_path / (name if "." in name else f"prompts/{name}.yaml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text), "utf-8")
        return path

    return written
