"""The live suite is there for those who ask for it by its mark; everybody else's run does not even collect it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    # Not by `addopts = "-m 'not live'"`: a `-m` of the user's own would replace it, and bring the live tests in.
    asked_for = "live" in re.findall(r"\w+", config.option.markexpr)
    return True if collection_path.name == "test_live.py" and not asked_for else None
