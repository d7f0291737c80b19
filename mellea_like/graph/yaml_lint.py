"""What is wrong with a graph file, besides its form: names that do not exist, circles without an end, lost nodes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from ..errors import InvalidArgument, InvalidFile, TemplateError, UnknownName, unknown_name
from ..prompts.marked_yaml import Fault, Place
from .spec import END, START, canonical
from .yaml_conditions import Condition, read_condition
from .yaml_reading import GraphFile, named_paths

if TYPE_CHECKING:
    from .yaml_form import EdgeForm, NodeForm


def faults_in(file: GraphFile, tools: Iterable[str] = ()) -> list[Fault]:
    """List the faults of a file in the order of their lines."""
    found = [*_edges(file), *_names(file, {*tools, *file.form.tools}), *_prompts(file), *_keys(file), *_choices(file)]
    if not any(fault.code == "unknown-node" for fault in found):
        found += [*_circles(file), *_lost(file)]
    return sorted(found, key=lambda fault: fault.line)


def leads_to(file: GraphFile) -> dict[str, set[str]]:
    """Return for each node, and START, where it may go on."""
    ways: dict[str, set[str]] = {name: set() for name in (START, *file.form.nodes)}
    for edge in file.form.edges:
        for source in map(canonical, edge.sources):
            ways.setdefault(source, set()).update(map(canonical, edge.targets))
    for name, node in file.form.nodes.items():
        if node.type == "router":  # it chooses by its routes; edges after it only show them
            ways[name] = {canonical(to) for to in ((node.routes or {}).values())}
            ways[name] |= {canonical(node.default_route)} if node.default_route else set()
    exits = file.form.loop_exits
    for targets in ways.values():
        targets |= {canonical(exits.get(target, END)) for target in targets if target in file.form.loop_limits}
    return ways


# --- names ------------------------------------------------------------------------------------------------------------


def _edges(file: GraphFile) -> Iterator[Fault]:
    nodes, fault = file.form.nodes, file.marked.fault
    for name in nodes:
        if canonical(name) in {START, END}:
            yield fault(("nodes", name), f"{name!r} is the name of the graph's own node", code="name")
    begins = False
    for at, edge in enumerate(file.form.edges):
        place: Place = ("edges", at)
        begins = begins or START in map(canonical, edge.sources)
        for source in edge.sources:
            yield from _unknown_node(file, source, place, also=("START",))
        for target in edge.targets:
            yield from _unknown_node(file, target, place)
        if edge.condition is not None and len(edge.sources) > 1:
            yield fault(place, "an edge that waits for several nodes has no condition", code="condition")
    if not begins:
        yield fault(("edges",), "nothing follows START: add an edge `from: START`", code="no-entry")


def _names(file: GraphFile, tools: set[str]) -> Iterator[Fault]:
    for name, node, place in file.nodes():
        for key, route in (node.routes or {}).items():
            yield from _unknown_node(file, route, (*place, "routes", key))
        if node.default_route is not None:
            yield from _unknown_node(file, node.default_route, (*place, "default_route"))
        yield from _tools(file, node, place, tools)
        if node.graph is not None and not (file.path.parent / node.graph).is_file():
            yield file.marked.fault((*place, "graph"), f"there is no graph file {node.graph!r} here", code="subgraph")
        if name.endswith(".node") and (node.type in {"router", "interrupt"} or node.on_error == "retry"):
            said = "`on_error: retry`" if node.on_error == "retry" else f"the type {node.type!r}"
            yield file.marked.fault(place, f"{said} is not for the node inside a map", code="map")
    for name in file.form.loop_limits:
        yield from _unknown_node(file, name, ("loop_limits", name), also=())
    for name, target in file.form.loop_exits.items():
        yield from _unknown_node(file, name, ("loop_exits", name), also=())
        yield from _unknown_node(file, target, ("loop_exits", name))


def _tools(file: GraphFile, node: NodeForm, place: Place, tools: set[str]) -> Iterator[Fault]:
    single = [] if node.tool is None or "{" in node.tool else [node.tool]
    for tool in [*(node.tools or ()), *single]:
        if tool not in tools:
            key = "tools" if node.tools else "tool"
            yield file.marked.fault((*place, key), str(unknown_name("tool", tool, tools)), code="unknown-tool")


def _unknown_node(file: GraphFile, name: str, place: Place, *, also: tuple[str, ...] = ("END",)) -> Iterator[Fault]:
    if name not in file.form.nodes and canonical(name) not in map(canonical, also):
        said = str(unknown_name("node", name, [*file.form.nodes, *also]))
        yield file.marked.fault(place, said, code="unknown-node")


# --- prompts ----------------------------------------------------------------------------------------------------------


def _prompts(file: GraphFile) -> Iterator[Fault]:
    for _, node, place in file.nodes():
        if node.prompt is None:
            continue
        at = (*place, "prompt")
        try:
            prompt = file.prompt(node.prompt)
            needed = prompt.variables()
        except (UnknownName, InvalidFile, TemplateError) as error:
            yield file.marked.fault(at, str(error), code="prompt")
            continue
        given = {*needed, *prompt.defaults, *(node.variables or ())}
        for name in sorted({name for text in prompt.texts for name in text.left_as_it_is()} & given):
            said = (
                f"a message of the prompt {node.prompt!r} is a Jinja template, in which '{{{name}}}' is not filled in"
            )
            yield _warning(file, at, f"{said}; write '{{{{ {name} }}}}'", "mixed-braces")
        if node.variables is None:
            continue
        for name in needed:
            if name not in node.variables:
                said = f"the prompt {node.prompt!r} needs the variable {name!r}, which `variables` does not give"
                yield file.marked.fault(at, said, code="prompt-variable")


# --- the state --------------------------------------------------------------------------------------------------------


def _keys(file: GraphFile) -> Iterator[Fault]:
    """Find paths into the state whose key nobody declares or writes, where the file declares its state."""
    if file.form.state is None:
        return
    known = file.known_keys()
    for place, names in _read_keys(file):
        for name in sorted(names - known - {"state"}):
            said = str(unknown_name("state key", name, known))
            yield file.marked.fault(place, f"{said} Declare it under `state`.", code="undeclared-key")


def _read_keys(file: GraphFile) -> Iterator[tuple[Place, set[str]]]:
    for _, node, place in file.nodes():
        own = _item_keys(file, place)
        for field in ("variables", "args", "over", "input_mapping", "output", "message", "tool"):
            yield (*place, field), {path.partition(".")[0] for path in named_paths(getattr(node, field))} - own
        yield (*place, "requires"), set(node.requires) - own
    for at, edge in enumerate(file.form.edges):
        condition = _read(edge)
        if condition is not None:
            yield ("edges", at), set(condition.names)


def _item_keys(file: GraphFile, place: Place) -> set[str]:
    """List the keys that a node inside maps has besides: the items."""
    keys: set[str] = set()
    node: NodeForm | None = file.form.nodes[str(place[1])]
    for _ in place[2:]:
        if node is not None:
            keys |= {node.as_ or "", "_map_index"}
            node = node.node
    return keys


# --- choices and circles ----------------------------------------------------------------------------------------------


def _read(edge: EdgeForm) -> Condition | None:
    """Return an edge's condition; None where it has none, or one that cannot be read."""
    try:
        return None if edge.condition is None else read_condition(edge.condition)
    except InvalidArgument:
        return None


def _choices(file: GraphFile) -> Iterator[Fault]:
    by_source: dict[str, list[tuple[int, EdgeForm]]] = {}
    for at, edge in enumerate(file.form.edges):
        if edge.condition is not None:
            try:
                read_condition(edge.condition)
            except InvalidArgument as error:
                yield file.marked.fault(("edges", at), str(error), code="condition")
        by_source.setdefault(canonical(edge.sources[0]), []).append((at, edge))
    for source, edges in by_source.items():
        node = file.form.nodes.get(source)
        if node is not None and node.type == "router":
            yield from _beside_routes(file, source, edges)
            continue
        conditions = [condition for _, edge in edges if (condition := _read(edge)) is not None]
        open_ended = all(edge.condition is not None for _, edge in edges)
        if open_ended and conditions and not any(one.covers(conditions) for one in conditions):
            said = f"it may be that no condition after {source!r} holds, which is an error; add an edge without one"
            yield _warning(file, ("edges", edges[-1][0]), said, "unmatched-condition")


def _beside_routes(file: GraphFile, source: str, edges: list[tuple[int, EdgeForm]]) -> Iterator[Fault]:
    routed = leads_to(file)[source]
    for at, edge in edges:
        stray = [target for target in edge.targets if canonical(target) not in routed]
        if stray or edge.condition is not None:
            said = f"the router {source!r} chooses by its `routes`, which do not lead to {', '.join(stray)}"
            said = (
                said if stray else f"the router {source!r} chooses by its `routes`; a condition after it says nothing"
            )
            yield file.marked.fault(("edges", at), said, code="router")


def _circles(file: GraphFile) -> Iterator[Fault]:
    ways = leads_to(file)
    limited = set(file.form.loop_limits)
    unlimited = {name: {to for to in targets if to not in limited} for name, targets in ways.items()}
    circles = {name for name in file.form.nodes if name not in limited and name in _reached(unlimited, name)}
    told: set[str] = set()
    for name in file.form.nodes:
        if name not in circles or name in told:
            continue
        circle = [
            other for other in circles if other in _reached(unlimited, name) and name in _reached(unlimited, other)
        ]
        told.update(circle)
        shown = ", ".join(repr(each) for each in file.form.nodes if each in circle)
        if END in set[str]().union(*(ways[each] for each in circle)) or _way_out(ways, set(circle)):
            said = f"the circle of {shown} has no limit; give one of them a number of runs under `loop_limits`"
            yield _warning(file, ("nodes", name), said, "unlimited-circle")
        else:
            said = f"the circle of {shown} never ends; add a way out, or a limit under `loop_limits`"
            yield file.marked.fault(("nodes", name), said, code="endless-circle")


def _way_out(ways: Mapping[str, set[str]], circle: set[str]) -> bool:
    return any(target not in circle for name in circle for target in ways[name])


def _reached(ways: Mapping[str, set[str]], begin: str) -> set[str]:
    """List what can be reached from a node; itself only by a way round."""
    seen: set[str] = set()
    todo = list(ways.get(begin, ()))
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += ways.get(name, ())
    return seen


def _lost(file: GraphFile) -> Iterator[Fault]:
    reached = _reached(leads_to(file), START)
    for name in file.form.nodes:
        if name not in reached:
            yield _warning(file, ("nodes", name), f"nothing leads to the node {name!r}", "unreachable")
    for name, node, place in file.nodes():
        if node.type == "map" and node.max_items is None:
            yield _warning(file, place, f"the map {name!r} has no `max_items`", "unbounded-map")
        if node.type == "interrupt" and file.form.checkpointer is None:
            said = f"the run that waits at {name!r} is kept nowhere; give the file a `checkpointer`"
            yield _warning(file, place, said, "no-checkpointer")


def _warning(file: GraphFile, place: Place, text: str, code: str) -> Fault:
    return Fault(line=file.marked.line(place), text=text, code=code, warning=True)
