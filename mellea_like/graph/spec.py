"""What a graph is, checked and complete: nodes, edges, branches and the form of its state. Pure data, runs nothing.

`StateGraph` and YAML files both make one of these, and the scheduler runs it. `checked()` finds what cannot work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final

from ..errors import GraphInvalid, unknown_name
from .retrying import RetryPolicy
from .state import StateForm

START: Final = "__start__"
"""Where a run begins: an edge from it leads to a first node. `"START"` and `"__start__"` mean the same."""

END: Final = "__end__"
"""Where a path of a run ends: an edge to it leads out of the graph. `"END"` and `"__end__"` mean the same."""

_SPELLINGS = {"START": START, "__start__": START, "END": END, "__end__": END}

NODE_TYPES: Final = (
    *("llm", "agent", "tool", "function", "condition", "router", "loop", "foreach", "map"),
    *("subgraph", "interrupt", "passthrough"),
)
"""The types that `add_node` and YAML files may name."""

_ASKING = (
    *("model", "provider", "backend", "system_prompt", "prompt", "temperature", "max_tokens", "model_options"),
    *("format", "state_key", "stream", "event_mode"),
)
_CHOOSING = ("routes", "mapping", "default", "default_route", "bindings", "state_key")
_OVER = ("over", "array_path", "item", "as", "item_var", "node", "child", "collect", "state_key", "max_items")

SETTINGS: Final[Mapping[str, tuple[str, ...]]] = {
    "llm": (*_ASKING, "requirements", "strategy", "on_failure"),
    "agent": (*_ASKING, "tools", "loop_budget", "confirm", "native"),
    "tool": ("bindings", "state_key"),
    "function": ("bindings", "state_key"),
    "condition": _CHOOSING,
    "router": (*_CHOOSING, *_ASKING),
    "loop": ("loop_back_to", "condition", "loop_condition", "max_iterations", "bindings", "state_key"),
    "foreach": _OVER,
    "map": _OVER,
    "subgraph": ("graph", "input_mapping", "output_mapping"),
    "interrupt": ("message", "prompt", "resume_key", "state_key"),
    "passthrough": ("output",),
}
"""What may be said about a node of each type, besides `retry` and `timeout`."""

_JUMPING = {"function", "router", "condition", "interrupt"}
"""Types whose functions may say by themselves where it goes on (`Command(goto=…)`)."""


def canonical(name: str) -> str:
    """Return a node's name, with every spelling of START and END made one."""
    return _SPELLINGS.get(name, name)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSpec:
    """A node: its name, its type, the function or graph behind it, and the type's own settings.

    Args:
        name: Its name in the graph.
        type: One of `NODE_TYPES`.
        function: What runs: a callable, or the compiled graph of a subgraph; None where the type needs none.
        config: The type's settings, by their names in `SETTINGS`.
        retry: What is done when it fails; None fails the run.
        timeout: Seconds that one attempt may take; None for no limit.
        loop_limit: How often it runs in one run of the graph; None for any number.
        loop_exit: Where what leads to it leads after that.
    """

    name: str
    type: str = "function"
    function: Any = None
    config: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    retry: RetryPolicy | None = None
    timeout: float | None = None
    loop_limit: int | None = None
    loop_exit: str = END


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeSpec:
    """An edge: when all of `sources` are through, `target` comes next.

    A loop edge is taken while `loop_condition(state, output)` is true, at most `max_iterations` times; the other edges
    of its node wait until then. Where it is `live`, an edge of several sources does not wait for those that never run.
    `aggregator` makes what `target` is given as `input` of what its sources came to, by their names.
    """

    sources: tuple[str, ...]
    target: str
    loop: bool = False
    loop_condition: Callable[..., Any] | None = None
    max_iterations: int | None = None
    aggregator: Callable[..., Any] | None = None
    live: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BranchSpec:
    """A choice after `source`: `choose` gives a node's name, several, a `Send`, or a key of `mapping`.

    `choose` is given what its parameters name (`state`, `output`, …), or the state. A choice that `mapping` does not
    know goes to `default`; where there is none, that is an error.
    """

    source: str
    choose: Callable[..., Any]
    mapping: Mapping[Any, str] | None = None
    default: str | None = None
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class GraphSpec:
    """A whole graph; see `checked`."""

    nodes: Mapping[str, NodeSpec]
    edges: tuple[EdgeSpec, ...] = ()
    branches: tuple[BranchSpec, ...] = ()
    form: StateForm = field(default_factory=StateForm)
    name: str = "graph"
    interrupt_before: frozenset[str] = frozenset()
    interrupt_after: frozenset[str] = frozenset()

    @cached_property
    def order(self) -> Mapping[str, int]:
        """The place of each node: the order in which updates of one step are applied."""
        return {name: place for place, name in enumerate(self.nodes)}

    @cached_property
    def leaving(self) -> Mapping[str, tuple[EdgeSpec, ...]]:
        """The edges that leave a node by itself."""
        return _grouped((edge.sources[0], edge) for edge in self.edges if len(edge.sources) == 1)

    @cached_property
    def joins(self) -> tuple[EdgeSpec, ...]:
        """The edges that wait for several nodes."""
        return tuple(edge for edge in self.edges if len(edge.sources) > 1)

    @cached_property
    def branching(self) -> Mapping[str, tuple[BranchSpec, ...]]:
        """The choices after a node."""
        return _grouped((branch.source, branch) for branch in self.branches)

    def targets(self, name: str) -> tuple[str, ...]:
        """List where it may go on after a node, as far as that is written down."""
        found = [edge.target for edge in self.edges if name in edge.sources]
        for branch in self.branching.get(name, ()):
            found += [*(branch.mapping or {}).values(), *([branch.default] if branch.default else [])]
        if name in self.nodes:
            routes, default = self.routes(name)
            found += [*routes.values(), *([default] if default else []), *self.jumps(name)]
            if self.nodes[name].loop_limit is not None:
                found.append(self.nodes[name].loop_exit)
        return tuple(dict.fromkeys(found))

    def routes(self, name: str) -> tuple[Mapping[Any, str], str | None]:
        """Return which nodes the choices of a node mean, and which one any other choice means, as its settings say."""
        config = self.nodes[name].config
        routes = config.get("routes") or config.get("mapping") or {}
        default = config.get("default_route") or config.get("default")
        return {choice: canonical(to) for choice, to in routes.items()}, canonical(default) if default else None

    def jumps(self, name: str) -> list[str]:
        """List the nodes that a node goes back to, or runs for each item, as its settings say."""
        config, work = self.nodes[name].config, self.nodes[name].function
        named = [work, *map(config.get, ("loop_back_to", "node", "child"))]
        return [canonical(to) for to in named if isinstance(to, str)]

    def unreachable(self) -> tuple[str, ...]:
        """List the nodes that no edge and no written choice leads to."""
        seen, todo = set[str](), [START]
        while todo:
            name = todo.pop()
            if name not in seen:
                seen.add(name)
                todo += self.targets(name)
        return tuple(name for name in self.nodes if name not in seen)

    def checked(self) -> GraphSpec:
        """Return the specification itself, if it can work.

        Raises:
            GraphInvalid: it has no entry, names a node that does not exist, can never leave a circle, has a loop
                without a condition and a limit, or a node that nothing leads to.
        """
        self._check_names()
        if not any(START in edge.sources for edge in self.edges) and START not in self.branching:
            raise GraphInvalid(
                f"The graph has no entry: nothing follows START. Write `set_entry_point(…)` with one of "
                f"{', '.join(map(repr, self.nodes)) or 'its nodes (it has none)'}.",
                valid=tuple(self.nodes),
            )
        self._check_circles()
        lost = self.unreachable()
        if lost and not self._open_ended():
            raise GraphInvalid(f"Nothing leads to {', '.join(map(repr, lost))}. Add an edge to it, or leave it out.")
        return self

    def _check_names(self) -> None:
        for edge in self.edges:
            for source in edge.sources:
                self._known(source, (START,), f"an edge to {edge.target!r}")
            self._known(edge.target, (END,), f"an edge from {', '.join(map(repr, edge.sources))}")
            if edge.loop and edge.loop_condition is None and edge.max_iterations is None:
                raise GraphInvalid(
                    f"The loop edge from {edge.sources[0]!r} to {edge.target!r} has neither `loop_condition` nor "
                    "`max_iterations`; give one of them, or it never ends."
                )
        for branch in self.branches:
            self._known(branch.source, (START,), "a choice")
            for target in (*(branch.mapping or {}).values(), *([branch.default] if branch.default else [])):
                self._known(target, (END,), f"the choice after {branch.source!r}")
        for node in self.nodes.values():
            self._known(node.loop_exit, (END,), f"the loop_exit of {node.name!r}")
        for name in (*self.interrupt_before, *self.interrupt_after):
            self._known(name, (), "interrupt_before or interrupt_after")

    def _known(self, name: str, also: Iterable[str], where: str) -> None:
        if name not in self.nodes and name not in also:
            raise GraphInvalid(f"{unknown_name('node', name, (*self.nodes, *also))} It is named in {where}.")

    def _open_ended(self) -> bool:
        """Whether a node or a choice may lead where no edge does."""
        free = any(branch.mapping is None for branch in self.branches)
        return free or any(node.type in _JUMPING for node in self.nodes.values())

    def _check_circles(self) -> None:
        """Find a circle of plain edges, out of which no choice leads."""
        plain = {
            name: [e.target for e in self.leaving.get(name, ()) if not e.loop and e.target != END]
            for name, node in self.nodes.items()
            if name not in self.branching and node.type not in _JUMPING and node.loop_limit is None
        }
        done: set[str] = set()
        for name in plain:
            circle = _circle(name, plain, done)
            if circle:
                raise GraphInvalid(
                    f"The edges {' -> '.join(map(repr, circle))} go round for ever. Make one of them a loop edge "
                    "(`is_loop_edge=True` with `loop_condition` or `max_iterations`), or choose with "
                    "`add_conditional_edges`."
                )


def _circle(begin: str, plain: Mapping[str, list[str]], done: set[str]) -> list[str]:
    path: list[str] = []
    on_path: set[str] = set()
    todo: list[tuple[str, bool]] = [(begin, True)]
    while todo:
        name, entering = todo.pop()
        if not entering:
            path.pop()
            on_path.discard(name)
            done.add(name)
        elif name in on_path:
            return [*path[path.index(name) :], name]
        elif name not in done and name in plain:
            path.append(name)
            on_path.add(name)
            todo.append((name, False))
            todo += [(target, True) for target in plain[name]]
    return []


def _grouped(pairs: Iterable[tuple[str, Any]]) -> dict[str, tuple[Any, ...]]:
    found: dict[str, tuple[Any, ...]] = {}
    for key, value in pairs:
        found[key] = (*found.get(key, ()), value)
    return found
