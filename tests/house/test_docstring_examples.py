"""Every example in a docstring runs, as somebody who copies it would run it."""

from __future__ import annotations

import ast
import re
import textwrap
from collections import defaultdict
from collections.abc import Callable

import pytest

from ._source import definitions

BLOCK = re.compile(r"^( *)```python\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


def examples() -> dict[str, list[tuple[str, str]]]:
    """Give where each example stands, and its code, by the room that it is in."""
    rooms = defaultdict(list)
    for found in definitions():
        for _, code in BLOCK.findall(ast.get_docstring(found.node) or ""):
            rooms[found.module.name.partition(".")[0]].append((found.where, textwrap.dedent(code)))
    return rooms


@pytest.mark.parametrize("found", examples().values(), ids=examples())
def test_the_examples_of_a_room_run(found: list[tuple[str, str]], ran: Callable[[str], str]) -> None:
    running = (f"exec(compile({code!r}, {where!r}, 'exec'), {{'__name__': 'example'}})" for where, code in found)
    ran("\n".join(running))
