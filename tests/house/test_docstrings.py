"""Docstrings: every public thing has one, and it tells of the parameters that exist, with their units."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator

import pytest

from mellea_like import errors

from ._source import Defined, classes, definitions, functions, modules, parameters

UNITS = {
    r"(\w+_)?(timeout|delay|interval|patience|seconds|ttft|retry_after)": "seconds?",
    r"(\w+_)?tokens": "tokens?",
    r"(\w+_)?bytes": "bytes?",
    r"(\w+_)?(chars|characters)": "characters?",
}


def section(docstring: str, title: str) -> list[str] | None:
    """List the names that a section of a docstring describes, None where it has no such section."""
    found = re.search(rf"^{title}:\n((?:(?: .*)?\n?)*)", docstring, re.MULTILINE)
    return re.findall(r"^ {4}\**(\w+): ", found[1], re.MULTILINE) if found else None


def taken(found: Defined) -> list[str]:
    """List the parameters of a function, or those that make an instance of a class."""
    if not isinstance(found.node, ast.ClassDef):
        return parameters(found.node)
    for node in found.node.body:
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            return parameters(node)
    fields = (node for node in found.node.body if isinstance(node, ast.AnnAssign))
    names = [ast.unparse(f.target) for f in fields if "ClassVar" not in ast.unparse(f.annotation)]
    return [name for name in names if name != "_"]  # `_: KW_ONLY` is a mark, not a field


def described() -> Iterator[tuple[Defined, str]]:
    for found in definitions():
        if docstring := ast.get_docstring(found.node):
            yield found, docstring


def test_every_public_thing_has_one() -> None:
    bare = [module.at(1) for module in modules() if not ast.get_docstring(module.tree)]
    bare += [found.where for found in definitions() if found.public and not ast.get_docstring(found.node)]
    assert bare == []


def test_args_are_the_parameters() -> None:
    wrong = {
        found.where: {"documented": args, "taken": taken(found)}
        for found, docstring in described()
        if (args := section(docstring, "Args")) is not None and sorted(args) != sorted(taken(found))
    }
    assert wrong == {}


def test_raises_names_errors_that_exist() -> None:
    known = {*vars(errors), *vars(builtins)}
    wrong = {
        found.where: names
        for found, docstring in described()
        if (names := set(section(docstring, "Raises") or ()) - known)
    }
    assert wrong == {}


@pytest.mark.parametrize(("named", "unit"), UNITS.items())
def test_quantities_have_a_unit(named: str, unit: str) -> None:
    public = [found for found, _ in (*functions(), *classes()) if found.public]
    vague = [
        f"{found.where}({name})"
        for found in public
        for name in taken(found)
        if re.fullmatch(named, name) and not re.search(unit, ast.get_docstring(found.node) or "", re.IGNORECASE)
    ]
    assert vague == []
