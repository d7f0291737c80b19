"""`load_graph`: from a graph file to a graph that runs, through the same `StateGraph` as one written in Python."""

from __future__ import annotations

import importlib
import importlib.util
import operator
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..backends import Backend
from ..errors import GraphInvalid, InvalidArgument, InvalidFile
from ..prompts.marked_yaml import Fault
from .building import StateGraph
from .spec import START, canonical
from .state import MESSAGES, Key, Reducer, StateForm, add_messages
from .yaml_conditions import Condition, read_condition
from .yaml_lint import faults_in
from .yaml_nodes import Shop, YamlNode
from .yaml_reading import GraphFile, read_graph_file

if TYPE_CHECKING:
    from .checkpoints import StateBackend
    from .compiled import CompiledGraph
    from .yaml_form import EdgeForm, KeyForm, NodeForm, ToolForm


def load_graph(
    path: str | PathLike[str],
    *,
    backend: Backend | None = None,
    checkpointer: StateBackend | None = None,
    tools: Mapping[str, Callable[..., Any]] | None = None,
) -> CompiledGraph:
    """Read a graph file and make it runnable.

    Every mistake that can be seen in the file is told at once, each with its line; `lint_graph` also warns.

    Args:
        path: The file. Prompts, Python files and other graphs that it names are found beside it.
        backend: A backend that every node asks, whatever the file names.
        checkpointer: Where runs are kept, over what the file says.
        tools: Functions by name, beside the file's own tools.

    Raises:
        InvalidFile: the file has mistakes; `faults` lists them.

    Example:
        ```python
        import tempfile
        from pathlib import Path
        from mellea_like import FakeBackend, load_graph

        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "greet.yaml").write_text("user: Greet {name}.")
            graph_file = Path(folder, "hello.yaml")
            graph_file.write_text('''
        nodes:
          greet: {type: llm, prompt: ./greet.yaml, state_key: greeting}
        edges:
          - {from: START, to: greet}
          - {from: greet, to: END}
        ''')
            graph = load_graph(graph_file, backend=FakeBackend(answers="Hello, World!"))
            print(graph.invoke({"name": "World"})["greeting"])
        ```

    Source: yamlgraph's graph files.
    """
    return _loaded(Path(path), backend, checkpointer, tools or {}, ())


def _loaded(
    path: Path,
    backend: Backend | None,
    checkpointer: StateBackend | None,
    tools: Mapping[str, Callable[..., Any]],
    above: tuple[Path, ...],
) -> CompiledGraph:
    file = read_graph_file(path)
    wrong = [fault for fault in faults_in(file, tools) if not fault.warning]
    if wrong:
        raise file.marked.refused(wrong)
    if file.path in above:
        chain = " -> ".join(str(each.name) for each in (*above, file.path))
        raise file.marked.refused([Fault(line=1, text=f"the graph contains itself: {chain}", code="subgraph")])
    load = partial(_loaded, backend=backend, checkpointer=None, tools=tools, above=(*above, file.path))
    shop = Shop(
        file=file,
        backend=backend,
        tools={**{name: _function(file, name, form) for name, form in file.form.tools.items()}, **tools},
        graphs={node.graph: load(file.path.parent / node.graph) for _, node, _ in file.nodes() if node.graph},
        known=frozenset(file.known_keys()),
    )
    return _compiled(file, shop, checkpointer)


def _compiled(file: GraphFile, shop: Shop, checkpointer: StateBackend | None) -> CompiledGraph:
    graph = StateGraph()
    graph.form = _form(file)
    for name, node in file.form.nodes.items():
        graph.add_node(name, YamlNode(name, node, shop).function, **_config(file, name, node))
    for source, edges in _by_source(file).items():
        _add_edges(graph, source, edges)
    limit: dict[str, Any] = file.form.config.model_dump(exclude_none=True)
    try:
        return graph.compile(checkpointer or _checkpointer(file), name=file.form.name or file.path.stem, **limit)
    except GraphInvalid as error:
        raise file.marked.refused([file.marked.fault(("edges",), str(error), code="graph")]) from error


def _config(file: GraphFile, name: str, node: NodeForm) -> dict[str, Any]:
    limits, exits = file.form.loop_limits, file.form.loop_exits
    config: dict[str, Any] = {"timeout": node.timeout, "loop_limit": limits.get(name), "loop_exit": exits.get(name)}
    if node.type == "router":
        config |= {"node_type": "router", "routes": node.routes, "default_route": node.default_route}
    if node.on_error == "retry":
        config["retry"] = {"max_retries": node.max_retries, "delay": node.retry_delay}
    return {key: value for key, value in config.items() if value is not None}


# --- the state --------------------------------------------------------------------------------------------------------


def _form(file: GraphFile) -> StateForm:
    """Return the form of the state: what the file declares and its nodes write; every key where it declares nothing."""
    form = _OpenForm()
    if file.form.state is not None:
        keys = {name: Key(name=name, reducer=_OPEN.get(name)) for name in file.written_keys()}
        form.keys = keys | {name: _key(name, of) for name, of in file.form.state.items()}
    return form


class _OpenForm(StateForm):
    """The form of a state whose keys a file does not declare, or declares in its own way."""

    def reducer(self, name: str) -> Reducer | None:
        """Return how values of a key are joined."""
        return _OPEN.get(name) if self.keys is None else super().reducer(name)


def _key(name: str, form: KeyForm) -> Key:
    reducer = _OPEN.get(name) if form.reducer == "last_value" else _REDUCERS[form.reducer]
    begin = partial(deepcopy, form.default) if "default" in form.model_fields_set else None
    return Key(name=name, reducer=reducer, begin=begin)


def _sorted_add(before: Sequence[Any], more: Sequence[Any]) -> list[Any]:
    def place(item: Any) -> Any:
        return item["_map_index"] if isinstance(item, Mapping) and "_map_index" in item else item

    return sorted([*before, *more], key=place)


_REDUCERS: Mapping[str, Reducer] = {"add": operator.add, "sorted_add": _sorted_add, "merge": operator.or_}
_OPEN: Mapping[str, Reducer] = {MESSAGES: add_messages, "errors": operator.add}


# --- the edges --------------------------------------------------------------------------------------------------------


def _by_source(file: GraphFile) -> dict[str, list[EdgeForm]]:
    """Group the edges by where they begin; joins stand alone, and routers choose by themselves."""
    grouped: dict[str, list[EdgeForm]] = {}
    routers = {name for name, node in file.form.nodes.items() if node.type == "router"}
    for edge in file.form.edges:
        source = edge.sources[0] if len(edge.sources) == 1 else "\n".join(edge.sources)
        if canonical(source) not in routers:
            grouped.setdefault(canonical(source), []).append(edge)
    return grouped


def _add_edges(graph: StateGraph, source: str, edges: Sequence[EdgeForm]) -> None:
    targets = [canonical(target) for edge in edges for target in edge.targets]
    if "\n" in source:
        for target in targets:
            graph.add_edge(source.split("\n"), target)
        return
    if all(edge.condition is None for edge in edges):
        graph.add_parallel_edges(source, targets)
        return
    ways = [
        (None if e.condition is None else read_condition(e.condition), list(map(canonical, e.targets))) for e in edges
    ]
    graph.add_conditional_edges(source, _choice(source, ways), [*dict.fromkeys(targets)])


def _choice(
    source: str, ways: Sequence[tuple[Condition | None, list[str]]]
) -> Callable[[Mapping[str, Any]], list[str]]:
    """Build the choice after a node: the first condition that holds, else the edges without one."""
    usual = [target for condition, targets in ways if condition is None for target in targets]

    def choose(state: Mapping[str, Any]) -> list[str]:
        chosen = next((targets for condition, targets in ways if condition and condition.holds(state)), usual)
        if not chosen:
            listing = ", ".join(repr(condition.text) for condition, _ in ways if condition)
            raise InvalidArgument(
                f"After {'START' if source == START else repr(source)} none of the conditions holds: {listing}. Add an "
                "edge without a condition for all other cases."
            )
        return list(dict.fromkeys(chosen))

    return choose


# --- tools and stores -------------------------------------------------------------------------------------------------


def _function(file: GraphFile, name: str, form: ToolForm) -> Callable[..., Any]:
    dotted = form.function if form.module is None else f"{form.module}.{form.function}"
    try:
        return python_function(dotted, file.path.parent)
    except InvalidArgument as error:
        raise file.marked.refused([file.marked.fault(("tools", name), str(error), code="tool")]) from error


def python_function(dotted: str, folder: Path) -> Callable[..., Any]:
    """Return the function at a dotted path: in a file below `folder`, else in a module that can be imported.

    Raises:
        InvalidArgument: there is none.
    """
    module_name, _, function_name = dotted.replace(":", ".").rpartition(".")
    module = _module(module_name, folder)
    found = getattr(module, function_name, None)
    if not callable(found):
        raise InvalidArgument(f"the module {module_name!r} has no function {function_name!r}")
    function: Callable[..., Any] = found
    return function


def _module(name: str, folder: Path) -> Any:
    if not name:
        raise InvalidArgument("a function is named with its module: `package.module.function`")
    path = folder.joinpath(*name.split(".")).with_suffix(".py")
    if not path.is_file():
        try:
            return importlib.import_module(name)
        except ImportError as error:
            raise InvalidArgument(f"the module {name!r} cannot be imported, and there is no {path}: {error}") from error
    known = f"_mellea_like_file_{abs(hash(path))}"
    spec = importlib.util.spec_from_file_location(known, path)
    if spec is None or spec.loader is None:
        raise InvalidArgument(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[known] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def _checkpointer(file: GraphFile) -> Any:
    form = file.form.checkpointer
    if form is None:
        return None
    from .stores import MemoryBackend, SQLiteBackend

    return MemoryBackend() if form.type == "memory" else SQLiteBackend(str(file.path.parent / form.path))


def lint_graph(path: str | PathLike[str], *, tools: Iterable[str] = ()) -> list[Fault]:
    """Look a graph file through: what cannot work, and what may not be meant.

    Args:
        path: The file.
        tools: Names of tools that `load_graph` will be given.

    Returns:
        The faults in the order of their lines, each with `line`, `code`, `text` and `warning`; none where all is well.

    Example:
        ```python
        import tempfile
        from pathlib import Path
        from mellea_like import lint_graph

        with tempfile.TemporaryDirectory() as folder:
            graph_file = Path(folder, "graph.yaml")
            graph_file.write_text('''
        nodes:
          a: {type: passthrough, output: {x: 1}}
          b: {type: passthrough}
        edges:
          - {from: START, to: a}
        ''')
            for fault in lint_graph(graph_file):
                print(fault, fault.code)
        ```
    """
    try:
        file = read_graph_file(path)
    except InvalidFile as error:
        return list(error.faults)
    return faults_in(file, tools)
