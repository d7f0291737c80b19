"""A graph as Mermaid text, which Markdown viewers, notebooks among them, show as a picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from ..errors import unknown_name
from .spec import END, START, GraphSpec

_DIRECTIONS: Final = ("TD", "TB", "BT", "LR", "RL")
_SHAPES: Final = {
    "llm": ("([", "])"),
    "agent": ("([", "])"),
    "tool": ("[/", "/]"),
    "condition": ("{", "}"),
    "router": ("{", "}"),
    "loop": ("{", "}"),
    "foreach": ("[[", "]]"),
    "map": ("[[", "]]"),
    "subgraph": ("[[", "]]"),
    "interrupt": ("{{", "}}"),
}


def mermaid(spec: GraphSpec, *, direction: str = "TD") -> str:
    """Draw a graph.

    Raises:
        UnknownName: there is no such direction.
    """
    if direction not in _DIRECTIONS:
        raise unknown_name("direction", direction, _DIRECTIONS)
    return "\n".join([f"flowchart {direction}", *(f"    {line}" for line in _lines(spec))])


def _lines(spec: GraphSpec) -> Iterator[str]:
    ids = {START: "start", END: "stop"} | {name: f"n{i}" for i, name in enumerate(spec.nodes)}
    yield "start((START))"
    for name, node in spec.nodes.items():
        begin, end = _SHAPES.get(node.type, ("[", "]"))
        yield f"{ids[name]}{begin}{_label(name)}{end}"
    yield "stop((END))"
    for source, target, arrow in _arrows(spec):
        if target in ids:  # a choice may name no node, which only matters once it is chosen
            yield f"{ids[source]} {arrow} {ids[target]}"


def _arrows(spec: GraphSpec) -> Iterator[tuple[str, str, str]]:
    for edge in spec.edges:
        yield from ((source, edge.target, _dotted("loop") if edge.loop else "-->") for source in edge.sources)
    for branch in spec.branches:
        yield from _choices(branch.source, branch.mapping or {}, branch.default)
        if branch.mapping is None:
            yield branch.source, branch.source, _dotted(branch.name)
    for name, node in spec.nodes.items():
        routes, default = spec.routes(name)
        yield from _choices(name, routes, default)
        yield from ((name, target, "-.->") for target in spec.jumps(name))
        if node.loop_limit is not None:
            yield name, node.loop_exit, _dotted(f"after {node.loop_limit}")
        if not spec.targets(name) and name not in spec.branching:
            yield name, END, "-->"


def _choices(source: str, routes: Mapping[Any, str], default: str | None) -> Iterator[tuple[str, str, str]]:
    yield from ((source, target, _dotted(str(choice))) for choice, target in routes.items())
    if default is not None:
        yield source, default, _dotted("else")


def _dotted(said: str) -> str:
    return f"-.->|{_label(said)}|"


def _label(text: str) -> str:
    # Mermaid reads a quoted label as it is, but for quotes and its own entities.
    escaped = text.replace("#", "#35;").replace('"', "#quot;").replace("<", "#lt;").replace(">", "#gt;")
    return f'"{escaped}"'
