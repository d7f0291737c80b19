"""Small enough to hold: files, functions and signatures. One in twenty, rounded up, may exceed the softer bar."""

from __future__ import annotations

import ast
from math import ceil

from ._source import Function, functions, modules, parameters

FILE, FILE_MOSTLY = 500, 350
FUNCTION, FUNCTION_MOSTLY, LONG = 60, 35, 50
PARAMETERS = 14
"""As many as `ainstruct` has, of which Mellea's users know thirteen."""


def length(function: Function) -> int:
    """Count a function's lines from its `def` on, without its docstring."""
    first = function.body[0]
    docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and first.value.value is not ...
    spared = (first.end_lineno or 0) - first.lineno + 1 if docstring else 0
    return (function.end_lineno or 0) - function.lineno + 1 - spared


FILES = {str(module.path): module.text.count("\n") for module in modules()}
FUNCTIONS = {found.where: length(node) for found, node in functions()}


def over(sizes: dict[str, int], bar: int) -> dict[str, int]:
    return {name: size for name, size in sizes.items() if size > bar}


def mostly_within(sizes: dict[str, int], bar: int) -> bool:
    return len(over(sizes, bar)) <= ceil(len(sizes) / 20)


def test_files() -> None:
    assert over(FILES, FILE) == {}
    assert mostly_within(FILES, FILE_MOSTLY), over(FILES, FILE_MOSTLY)


def test_functions() -> None:
    assert over(FUNCTIONS, FUNCTION) == {}
    assert mostly_within(FUNCTIONS, FUNCTION_MOSTLY), over(FUNCTIONS, FUNCTION_MOSTLY)
    in_long_ones = sum(over(FUNCTIONS, LONG).values())
    assert in_long_ones <= 0.10 * sum(FUNCTIONS.values()), over(FUNCTIONS, LONG)


def test_parameters() -> None:
    assert over({found.where: len(parameters(node)) for found, node in functions()}, PARAMETERS) == {}
