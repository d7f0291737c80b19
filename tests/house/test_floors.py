"""Imports run down only; lazy and TYPE_CHECKING imports count; no circles."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter

import pytest

from ._source import ROOT, Module, modules

FLOORS = (
    {"arguments", "closing", "errors", "content", "samples", "events", "options", "models", "markup", "roles"},
    {
        *("waiting", "log", "readers", "engine", "home", "thunk", "partial", "chunking", "sse"),
        *("telemetry", "display"),
    },
    {
        *("component", "parts", "template", "mified", "context", "saving", "formats", "rules"),
        *("tools", "encoding"),
    },
    {"backends"},
    {"requirement", "ready_made", "sampling"},
    {"agent", "session", "providers", "generative_function"},
    {"graph", "prompts"},
    {"cli", "server", "notebook", "responses"},
    {"", "__main__"},
)
NAMES = {module.name for module in modules()}


def floor(name: str) -> int:
    room = name.partition(".")[0]
    for number, rooms in enumerate(FLOORS):
        if room in rooms:
            return number
    pytest.fail(
        f"mellea_like/{room} has no floor. Add {room!r} to FLOORS in tests/house/test_floors.py, on the lowest floor "
        "whose imports it needs, and to the plan in the design."
    )


def imports(module: Module) -> Iterator[tuple[int, str]]:
    """Give the line and the absolute dotted name of everything that a module imports, at any depth."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join([*module.path.relative_to(ROOT).parts[: -node.level], *filter(None, [node.module])])
            base = base if node.level else node.module or ""
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def own_imports(module: Module) -> Iterator[tuple[int, str]]:
    """Give the line and the module of this package for each import of one."""
    for line, name in imports(module):
        package, _, inner = name.partition(".")
        if package == "mellea_like":
            yield line, inner if inner in NAMES else inner.rpartition(".")[0]


def test_every_file_has_a_floor() -> None:
    for module in modules():
        floor(module.name)


def test_imports_run_down() -> None:
    up = [
        f"{module.at(line)} imports {target or 'the front door'!r}, {floor(target)} from floor {floor(module.name)}"
        for module in modules()
        for line, target in own_imports(module)
        if floor(target) > floor(module.name)
    ]
    assert up == []


def test_there_is_no_circle() -> None:
    graph = {module.name: {target for _, target in own_imports(module)} for module in modules()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail("these import each other: " + " <- ".join(error.args[1]))


def test_the_lowest_floor_is_pure() -> None:
    foreign = [
        f"{module.at(line)} imports {name}"
        for module in modules()
        if floor(module.name) == 0
        for line, name in imports(module)
        if name.partition(".")[0] not in {*sys.stdlib_module_names, "mellea_like"}
    ]
    assert foreign == []
