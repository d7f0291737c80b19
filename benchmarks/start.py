"""What importing the library costs, over Python alone, in fresh processes."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

from measure import Effort, Row

TARGETS = {"import mellea_like": 60, "from mellea_like import start_session": None, "import asyncio": None}
"""Statements with the milliseconds that each may take; asyncio is the floor under everything that can make a call."""


def seconds(program: str, environment: dict[str, str]) -> float:
    """Return the wall-clock seconds of a fresh Python that runs `program`."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)
    return time.perf_counter() - began


def imports(effort: Effort) -> Iterator[Row]:
    """Importing, over Python alone; the programs alternate, so that all meet the same machine."""
    programs = ("pass", *TARGETS)
    with tempfile.TemporaryDirectory() as cache:
        # Compiled once, by a first round that does not count, as installing does; else compiling is what is measured.
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": cache}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        rounds = [[seconds(program, environment) * 1e3 for program in programs] for _ in range(effort.size(25) + 1)]
    bare, *ours = (statistics.median(column) for column in zip(*rounds[1:], strict=True))
    for (statement, target), taken in zip(TARGETS.items(), ours, strict=True):
        against = f"bare Python {bare:.0f} ms, {taken / bare:.1f} times"
        yield Row(name=statement, figure=taken - bare, unit="ms", at_most=target, against=against)


MEASURES = (imports,)
