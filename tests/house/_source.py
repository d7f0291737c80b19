"""The package's source, parsed once: its modules, and the definitions in them with their qualified names."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeAlias

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "mellea_like"

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
Definition: TypeAlias = Function | ast.ClassDef


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """One file: its dotted name below the package (`"backends.fake"`, `""` for the front door), text and tree."""

    name: str
    path: Path
    text: str
    tree: ast.Module

    def at(self, line: int) -> str:
        """Name a line of this file, as an editor can open it."""
        return f"{self.path.relative_to(ROOT)}:{line}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Defined:
    """A function or class, the names of what encloses it, and whether a function is among that."""

    module: Module
    node: Definition
    within: tuple[str, ...]
    local: bool

    @property
    def name(self) -> str:
        """The name inside the file: `"MelleaSession.close"`."""
        return ".".join([*self.within, self.node.name])

    @property
    def where(self) -> str:
        """File, line and name, for a message."""
        return f"{self.module.at(self.node.lineno)} {self.name}"

    @property
    def public(self) -> bool:
        """Whether it can be reached from outside by public names."""
        return not self.local and not any(name.startswith("_") for name in self.name.split("."))

    def decorated(self, name: str) -> bool:
        """Whether it carries the decorator `name`, called or not."""
        return any(ast.unparse(d).partition("(")[0].endswith(name) for d in self.node.decorator_list)


@cache
def modules() -> tuple[Module, ...]:
    """Parse every file of the package."""
    return tuple(_parsed(path) for path in sorted(PACKAGE.rglob("*.py")))


def _parsed(path: Path) -> Module:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    text = path.read_text("utf-8")
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    return Module(name=name, path=path, text=text, tree=ast.parse(text, str(path)))


def scoped(parent: ast.AST, *scope: Definition) -> Iterator[tuple[ast.AST, tuple[Definition, ...]]]:
    """Give every node below `parent` with the functions and classes that enclose it, outermost first."""
    for node in ast.iter_child_nodes(parent):
        yield node, scope
        yield from scoped(node, *scope, *([node] if isinstance(node, Definition) else []))


@cache
def definitions() -> tuple[Defined, ...]:
    """List every function and class of the package, nested ones too; overload stubs are left out."""
    found = (
        Defined(
            module=module,
            node=node,
            within=tuple(outer.name for outer in scope),
            local=any(isinstance(outer, Function) for outer in scope),
        )
        for module in modules()
        for node, scope in scoped(module.tree)
        if isinstance(node, Definition)
    )
    return tuple(d for d in found if not d.decorated("overload"))


def functions() -> list[tuple[Defined, Function]]:
    """List the functions and methods among the definitions."""
    return [(d, d.node) for d in definitions() if isinstance(d.node, Function)]


def classes() -> list[tuple[Defined, ast.ClassDef]]:
    """List the classes among the definitions."""
    return [(d, d.node) for d in definitions() if isinstance(d.node, ast.ClassDef)]


def parameters(function: Function) -> list[str]:
    """List the names of a function's parameters in order, without `self` and `cls`."""
    a = function.args
    order = [*a.posonlyargs, *a.args, *filter(None, [a.vararg]), *a.kwonlyargs, *filter(None, [a.kwarg])]
    return [p.arg for p in order if p.arg not in {"self", "cls"}]
