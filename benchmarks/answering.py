"""One peer in a process of its own: it is opened, and then measured as its standard input asks; `turns.py` does.

Each line in is a JSON object, `{"do": …}` with the arguments of one of its measures; each line out is
`{"figure": …}`, or `{"error": …}` with the reason. The first line out holds the versions. It ends when its input does.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from importlib.metadata import PackageNotFoundError, version
from typing import Any

Measure = Callable[..., Awaitable[float]]
Opening = Callable[[], AbstractAsyncContextManager[Mapping[str, Measure]]]


class Absent(Exception):
    """Raised when a peer has no such thing as is measured; the message says what."""


def answer(opening: Opening, packages: list[str]) -> None:
    """Open a peer, and keep standard output for the answers: peers print on it."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(said: dict[str, Any]) -> None:
        answers.write(json.dumps(said) + "\n")
        answers.flush()

    try:
        asyncio.run(_serve(opening, packages, say))
    except Exception as error:  # a peer that cannot be imported or opened says so in its row
        say({"error": reason(error)})


async def _serve(opening: Opening, packages: list[str], say: Callable[[dict[str, Any]], None]) -> None:
    async with opening() as measures:
        say({"python": platform.python_version(), "versions": {package: _found(package) for package in packages}})
        # The loop stands still while this process waits for its turn: nothing of it may run in the others' turns.
        for line in sys.stdin:
            asked = json.loads(line)
            try:
                say({"figure": await measures[asked.pop("do")](**asked)})
            except Exception as error:  # whatever a peer raises is what its cell says
                say({"error": reason(error)})


def _found(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def reason(error: BaseException) -> str:
    """Say in a line what went wrong."""
    words = " ".join(str(error).split())
    return words if isinstance(error, Absent) else f"{type(error).__name__}: {words}"[:160]
