"""`StateGraph`: a graph written in Python, node by node and edge by edge, into the one specification that there is."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self

from ..errors import GraphInvalid, InvalidArgument, unknown_name
from .retrying import retry_policy
from .spec import END, NODE_TYPES, SETTINGS, START, BranchSpec, EdgeSpec, GraphSpec, NodeSpec, canonical
from .state import StateForm
from .yaml_streaming import StreamingNode

if TYPE_CHECKING:
    from ..backends import Backend
    from ..session import MelleaSession
    from .checkpoints import StateBackend
    from .compiled import CompiledGraph

_OWN = ("retry", "timeout", "loop_limit", "loop_exit")


class StateGraph:
    """A graph of nodes that share a state.

    Args:
        state_schema: What the state looks like: a TypedDict, a dataclass or a pydantic model. `Annotated[list,
            operator.add]` says how two values of a key become one; `messages` are appended by themselves. None allows
            every key.

    Example:
        ```python
        from mellea_like import END, START, StateGraph

        graph = StateGraph()
        graph.add_node("greet", lambda state: {"greeting": f"Hello, {state['name']}!"})
        graph.add_edge(START, "greet")
        graph.add_edge("greet", END)
        print(graph.compile().invoke({"name": "Ana"})["greeting"])
        ```

    Source: LangGraph's and Mesh's `StateGraph`.
    """

    def __init__(self, state_schema: type[Any] | None = None) -> None:
        self.form = StateForm(state_schema)
        self._nodes: dict[str, NodeSpec] = {}
        self._edges: dict[Hashable, EdgeSpec] = {}
        self._branches: list[BranchSpec] = []

    # --- nodes ------------------------------------------------------------------------------------------------------

    def add_node(
        self, name: str | Callable[..., Any], node: Any = None, *, node_type: str | None = None, **config: Any
    ) -> Self:
        """Add a node.

        Args:
            name: Its name; a function alone is named as it is.
            node: What runs: a function (synchronous, asynchronous, or a generator), a graph, a streaming node, or None
                where the type needs none.
            node_type: `"llm"`, `"agent"`, `"tool"`, `"function"`, `"condition"`, `"router"`, `"loop"`, `"foreach"`,
                `"map"`, `"subgraph"`, `"interrupt"` or `"passthrough"`. None takes what `node` is.
            config: What the type takes, such as `model`, `provider` and `system_prompt`; and `retry` (a `RetryPolicy`
                or a number of attempts), `timeout` (seconds that an attempt may take), `loop_limit` (how often the node
                runs in one run) and `loop_exit` (what comes in its place after that; END by itself).

        Raises:
            GraphInvalid: there is a node of this name, or the name is START's or END's.
            UnknownName: there is no such type.
            InvalidArgument: `loop_limit` is below 1, or `timeout` not above 0.
        """
        if not isinstance(name, str):
            name, node = getattr(name, "__name__", type(name).__name__), name
        if canonical(name) in {START, END} or name in self._nodes:
            taken = "is the name of the graph's own node" if canonical(name) in {START, END} else "is taken"
            raise GraphInvalid(f"The node name {name!r} {taken}. Choose another; taken: {', '.join(self._nodes)}.")
        if isinstance(node, StateGraph):
            node = node.compile()
        elif isinstance(node, StreamingNode):
            node = node.run  # its update is what counts here; its text is heard anyway
        kind = node_type or ("subgraph" if hasattr(node, "spec") else "function")
        if kind not in NODE_TYPES:
            raise unknown_name("node type", kind, NODE_TYPES)
        nested = config.pop("config", None) or {}
        config = {**nested, **config}
        for setting in config:
            if setting not in SETTINGS[kind] and setting not in _OWN:
                raise unknown_name(f"setting of {kind!r} called", setting, (*SETTINGS[kind], *_OWN))
        timeout, loop_limit = config.get("timeout"), config.get("loop_limit")
        if timeout is not None and not timeout > 0:
            raise InvalidArgument(f"timeout of {name!r} is {timeout!r}; an attempt takes more than 0 seconds.")
        if loop_limit is not None and loop_limit < 1:
            raise InvalidArgument(f"loop_limit of {name!r} is {loop_limit!r}; a node runs at least once.")
        self._nodes[name] = NodeSpec(
            name=name,
            type=kind,
            function=node,
            config={key: value for key, value in config.items() if key not in _OWN},
            retry=retry_policy(config.get("retry")),
            timeout=timeout,
            loop_limit=loop_limit,
            loop_exit=canonical(config.get("loop_exit") or END),
        )
        return self

    # --- edges ------------------------------------------------------------------------------------------------------

    def add_edge(
        self,
        source: str | Sequence[str],
        target: str,
        *,
        is_loop_edge: bool = False,
        loop_condition: Callable[..., Any] | None = None,
        max_iterations: int | None = None,
    ) -> Self:
        """Add an edge: after `source` comes `target`; after all of several sources, where a list is given.

        Args:
            source: A node's name, several, or START.
            target: A node's name, or END.
            is_loop_edge: Whether the edge goes back; it needs a condition or a limit. While it is taken, the other
                edges of its node wait.
            loop_condition: Is given `state` and `output`; the edge is taken while it is true.
            max_iterations: How often it is taken at most.
        """
        sources = (source,) if isinstance(source, str) else tuple(source)
        return self._edge(
            EdgeSpec(
                sources=tuple(map(canonical, sources)),
                target=canonical(target),
                loop=is_loop_edge or loop_condition is not None or max_iterations is not None,
                loop_condition=loop_condition,
                max_iterations=max_iterations,
            )
        )

    def _edge(self, edge: EdgeSpec) -> Self:
        # The entry is often named twice, as an edge from START and by `set_entry_point`: one edge.
        self._edges.setdefault((edge.sources, edge.target), edge)
        return self

    def add_conditional_edges(
        self,
        source: str,
        path: Callable[..., Any],
        mapping: Mapping[Any, str] | Sequence[str] | None = None,
        *,
        default: str | None = None,
    ) -> Self:
        """Choose after `source` where it goes on.

        Args:
            source: A node's name, or START.
            path: Gives a node's name, a `Send`, several of them, or a key of `mapping`. It is given what its parameters
                name (`state`, `output` of the source, `config`, …), or the state.
            mapping: Which node a choice means; or a list of the nodes that may be chosen.
            default: Where it goes on with a choice that `mapping` does not know; None makes that an error.
        """
        if mapping is not None and not isinstance(mapping, Mapping):
            mapping = {name: name for name in mapping}
        chosen = None if mapping is None else {key: canonical(name) for key, name in mapping.items()}
        self._branches.append(
            BranchSpec(
                source=canonical(source),
                choose=path,
                mapping=chosen,
                default=None if default is None else canonical(default),
                name=getattr(path, "__name__", "choice"),
            )
        )
        return self

    def add_sequence(self, nodes: Iterable[str | Callable[..., Any] | tuple[str, Any]]) -> Self:
        """Join nodes one after the other: names of nodes, or functions and `(name, function)`, which are added."""
        names = [self._named(node) for node in nodes]
        for before, after in pairwise(names):
            self.add_edge(before, after)
        return self

    def _named(self, node: str | Callable[..., Any] | tuple[str, Any]) -> str:
        if isinstance(node, str):
            return node
        if isinstance(node, tuple):
            self.add_node(*node)
            return str(node[0])
        self.add_node(node)
        return next(reversed(self._nodes))

    def add_parallel_edges(self, source: str, targets: Iterable[str]) -> Self:
        """Add an edge from `source` to each of `targets`, which run at once."""
        for target in targets:
            self.add_edge(source, target)
        return self

    def add_fan_in_edge(
        self, sources: Iterable[str], target: str, *, aggregator: Callable[..., Any] | None = None
    ) -> Self:
        """Run `target` once, when all of `sources` are through that run at all.

        Args:
            sources: Names of nodes.
            target: A node's name.
            aggregator: Is given what the sources came to, by their names, and gives the target's `input`.
        """
        named = tuple(map(canonical, sources))
        return self._edge(EdgeSpec(sources=named, target=canonical(target), aggregator=aggregator, live=True))

    def set_entry_point(self, name: str) -> Self:
        """Begin at a node; the same as an edge from START."""
        return self.add_edge(START, name)

    def set_conditional_entry_point(
        self,
        path: Callable[..., Any],
        mapping: Mapping[Any, str] | Sequence[str] | None = None,
        *,
        default: str | None = None,
    ) -> Self:
        """Choose where it begins; the same as conditional edges from START, see `add_conditional_edges`."""
        return self.add_conditional_edges(START, path, mapping, default=default)

    def set_finish_point(self, name: str) -> Self:
        """End after a node; the same as an edge to END. A node without edges ends its path by itself."""
        return self.add_edge(name, END)

    # --- compiling --------------------------------------------------------------------------------------------------

    def spec(
        self, *, name: str = "graph", interrupt_before: Iterable[str] = (), interrupt_after: Iterable[str] = ()
    ) -> GraphSpec:
        """Return the graph as a specification, checked.

        Raises:
            GraphInvalid: it cannot work; see `GraphSpec.checked`.
        """
        return GraphSpec(
            nodes=dict(self._nodes),
            edges=tuple(self._edges.values()),
            branches=tuple(self._branches),
            form=self.form,
            name=name,
            interrupt_before=frozenset(interrupt_before),
            interrupt_after=frozenset(interrupt_after),
        ).checked()

    def compile(
        self,
        checkpointer: StateBackend | None = None,
        *,
        interrupt_before: Iterable[str] = (),
        interrupt_after: Iterable[str] = (),
        backend: Backend | MelleaSession | None = None,
        recursion_limit: int = 1000,
        name: str = "graph",
    ) -> CompiledGraph:
        """Check the graph and make it runnable.

        Args:
            checkpointer: Where runs are kept, by the `thread_id` of their config, so that they can be resumed.
            interrupt_before: Nodes before which a run stops.
            interrupt_after: Nodes after which a run stops.
            backend: What nodes that name no model and no provider ask, or a session with it; None for the default one.
            recursion_limit: How many steps a run may take.
            name: The graph's name.

        Raises:
            GraphInvalid: it cannot work; the message says what is wrong, and lists the names that there are.
        """
        from .compiled import CompiledGraph

        if recursion_limit < 1:
            raise InvalidArgument(f"recursion_limit is {recursion_limit!r}; a run takes at least 1 step.")
        spec = self.spec(name=name, interrupt_before=interrupt_before, interrupt_after=interrupt_after)
        return CompiledGraph(spec, checkpointer=checkpointer, backend=backend, recursion_limit=recursion_limit)
