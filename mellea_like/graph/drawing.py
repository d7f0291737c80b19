"""A graph as Mermaid text, which Markdown viewers, notebooks among them, show as a picture."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

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
    for edge in spec.edges:
        arrow = "-.->|loop|" if edge.loop else "-->"
        for source in edge.sources:
            yield f"{ids[source]} {arrow} {ids[edge.target]}"
    for branch in spec.branches:
        for choice, target in (branch.mapping or {}).items():
            yield f"{ids[branch.source]} -.->|{_label(str(choice))}| {ids[target]}"
        if branch.default is not None:
            yield f"{ids[branch.source]} -.->|{_label('else')}| {ids[branch.default]}"
        if branch.mapping is None:
            yield f"{ids[branch.source]} -.->|{_label(branch.name)}| {ids[branch.source]}"
    for name in spec.nodes:
        yield from (f"{ids[name]} -.-> {ids[target]}" for target in spec._jumps(name) if target in ids)
        if (
            not any(name in edge.sources for edge in spec.edges)
            and name not in spec.branching
            and not spec._jumps(name)
        ):
            yield f"{ids[name]} --> stop"


def _label(text: str) -> str:
    # Mermaid reads a quoted label as it is, but for quotes and its own entities.
    escaped = text.replace("#", "#35;").replace('"', "#quot;").replace("<", "#lt;").replace(">", "#gt;")
    return f'"{escaped}"'
