"""Random small graphs, as plans that any library with LangGraph's verbs can build.

Nodes are named and added in alphabetical order: updates of one step are applied by name in LangGraph, and in the order
of adding here.
"""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias, TypedDict

from hypothesis import strategies as st

BEGIN = {"seen": [], "total": 1}
ENOUGH = 20
"""The total from which on nothing leads back, so that every run comes to its end."""


class Sent(NamedTuple):
    """A `Send` to the node of this place."""

    place: int


Lead: TypeAlias = "int | Sent | None"
"""Where it goes on: the place of a node, a `Send` to one, or None for END."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A conditional edge: the state's total picks one of `options`; `mapped` says them to the library beforehand."""

    options: tuple[tuple[Lead, ...], ...]
    mapped: bool


@dataclass(frozen=True, kw_only=True)
class Job:
    """A node: what it returns, which keys it writes, how often it writes to `custom` and asks, and where it goes on.

    With `inner` it is a subgraph: that many nodes in a row, the last of which may go back to the first.
    """

    returns: Literal["update", "nothing", "empty", "command", "goto"]
    keys: frozenset[str]
    goto: tuple[Lead, ...] = ()
    edges: tuple[int | None, ...] = ()
    choices: tuple[Choice, ...] = ()
    says: int = 0
    asks: int = 0
    inner: int = 0
    is_async: bool = True


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A graph: its nodes, its joins (what waits for which), and how it begins."""

    jobs: tuple[Job, ...]
    joins: tuple[tuple[tuple[int, ...], int], ...]
    first: tuple[int, ...]
    first_choice: Choice | None = None


@dataclass(frozen=True, kw_only=True)
class Library:
    """What a plan needs of a library."""

    graph: Any
    command: Any
    send: Any
    interrupt: Any
    writer: Any
    add_messages: Any
    store: Callable[[], Any]
    state: Any = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "state", _state(self.add_messages))


def _highest(before: int, more: int) -> int:
    return max(before, more)


def _state(add_messages: Any) -> Any:
    return TypedDict(
        "State",
        {
            "seen": Annotated[list, operator.add],
            "total": Annotated[int, operator.add],
            "known": Annotated[dict, operator.or_],
            "highest": Annotated[int, _highest],
            "messages": Annotated[list, add_messages],
            "notes": Annotated[list, operator.add],
            "last": Any,
        },
        total=False,
    )


class Inner(TypedDict, total=False):
    """The state of a subgraph: it shares the key `notes` with the graph around it, which joins what it comes to."""

    rounds: Annotated[int, operator.add]
    notes: list[Any]


# --- plans ------------------------------------------------------------------------------------------------------------


@st.composite
def plans(draw: st.DrawFn, *, subgraphs: bool = False, asking: bool = False, threads: bool = True) -> Plan:
    """Draw a graph of one to six nodes.

    Args:
        subgraphs: Whether nodes may be subgraphs.
        asking: Whether nodes may ask.
        threads: Whether functions may be synchronous, and so run in threads; without, nodes choose by `Command` only.
    """
    size = draw(st.integers(1, 6))
    jobs = tuple(draw(_jobs(i, size, subgraphs=subgraphs, asking=asking, threads=threads)) for i in range(size))
    joins = draw(st.lists(_joins(size), max_size=2)) if size > 2 else []
    choice = draw(st.none() | st.none() | _choices(-1, size))
    first = draw(st.lists(st.integers(0, min(size - 1, 2)), min_size=0 if choice else 1, max_size=3, unique=True))
    return Plan(jobs=jobs, joins=tuple(dict(joins).items()), first=tuple(first), first_choice=choice)


@st.composite
def _joins(draw: st.DrawFn, size: int) -> tuple[tuple[int, ...], int]:
    sources = draw(st.lists(st.integers(0, size - 2), min_size=2, max_size=3, unique=True))
    return tuple(sorted(sources)), draw(st.integers(max(sources) + 1, size - 1))


@st.composite
def _jobs(draw: st.DrawFn, i: int, size: int, *, subgraphs: bool, asking: bool, threads: bool) -> Job:
    forward = st.integers(i + 1, size - 1) if i + 1 < size else st.none()
    keys = st.sets(st.sampled_from(["known", "highest", "messages", "last"]), max_size=3)
    return Job(
        returns=draw(st.sampled_from(["update", "update", "update", "nothing", "empty", "command", "goto"])),
        keys=frozenset({"seen", "total"} | draw(keys)),
        goto=draw(_leads(i, size)),
        edges=tuple(draw(st.lists(forward, max_size=2, unique=True))),
        choices=tuple(draw(st.lists(_choices(i, size), max_size=2 if threads else 0))),
        says=draw(st.integers(0, 2)),
        asks=draw(st.integers(0, 2)) if asking else 0,
        # The first is a function: where no node could lead by itself, one that nothing leads to is an error here.
        inner=draw(st.integers(0, 3)) if subgraphs and i else 0,
        is_async=draw(st.booleans()) if threads else True,
    )


def _leads(i: int, size: int) -> st.SearchStrategy[tuple[Lead, ...]]:
    # What is sent goes forward only, or the tasks of a step would grow without end.
    sent = [st.integers(i + 1, size - 1).map(Sent)] if i + 1 < size else []
    return st.lists(st.one_of(st.integers(0, size - 1), st.none(), *sent), max_size=2).map(tuple)


def _choices(i: int, size: int) -> st.SearchStrategy[Choice]:
    options = st.lists(_leads(i, size), min_size=1, max_size=3).map(tuple)
    return st.builds(Choice, options=options, mapped=st.booleans())


# --- building ---------------------------------------------------------------------------------------------------------


def name(i: int | None) -> str:
    return "__end__" if i is None else f"n{i}"


def built(plan: Plan, library: Library, *, fails: Collection[str] = (), **options: Any) -> Any:
    """Build and compile a plan; nodes raise as long as their names are in `fails`."""
    graph = library.graph(library.state)
    for i, job in enumerate(plan.jobs):
        graph.add_node(name(i), inner(job, library) if job.inner else work(i, job, library, fails))
    for i in plan.first:
        graph.add_edge("__start__", name(i))
    if plan.first_choice is not None:
        _add_choice(graph, -1, plan.first_choice, library, plan, 0)
    for i, job in enumerate(plan.jobs):
        for target in job.edges:
            graph.add_edge(name(i), name(target))
        for number, choice in enumerate(job.choices):
            _add_choice(graph, i, choice, library, plan, number)
    for sources, target in plan.joins:
        graph.add_edge([name(source) for source in sources], name(target))
    return graph.compile(**options)


def work(i: int, job: Job, library: Library, fails: Collection[str]) -> Any:
    """Return the function of a node; what it writes follows from what it sees."""

    def node(state: Mapping[str, Any]) -> Any:
        answers = [library.interrupt(f"{name(i)}, {number}?") for number in range(job.asks)]
        if name(i) in fails:
            raise ConnectionError(name(i))
        total = state.get("total", 0)
        for number in range(job.says):
            library.writer()({"node": name(i), "said": number, "total": total})
        everything = {
            "seen": [name(i), *answers],
            "total": i + 1,
            "known": {name(i): total, "latest": name(i)},
            "highest": i * total,
            "messages": [("ai", f"{name(i)} of {len(state.get('messages', ()))}"), ("user", "And?")],
            "last": (name(i), total),
        }
        update = {key: value for key, value in everything.items() if key in job.keys}
        if job.returns == "command":
            return library.command(update=update, goto=led(job.goto, i, total, library, adds=True))
        if job.returns == "goto":
            return library.command(goto=led(job.goto, i, total, library, adds=False))
        return {"update": update, "nothing": None, "empty": {}}[job.returns]

    async def later(state: Mapping[str, Any]) -> Any:
        for _ in range(100 if name(i) in fails else 0):  # what is beside it is through before it fails
            await asyncio.sleep(0)
        return node(state)

    return later if job.is_async else node


def led(leads: Iterable[Lead], i: int, total: int, library: Library, *, adds: bool) -> Any:
    """Return leads as the library knows them, one by itself; none goes back where the total does not grow."""
    back = adds and total < ENOUGH
    found = [
        library.send(name(lead.place), {"total": total + 7}) if isinstance(lead, Sent) else name(lead)
        for lead in leads
        if back or not isinstance(lead, int) or lead > i
    ]
    return found[0] if len(found) == 1 else found


def _add_choice(graph: Any, i: int, choice: Choice, library: Library, plan: Plan, number: int) -> None:
    adds = i >= 0 and plan.jobs[i].returns in {"update", "command"} and not plan.jobs[i].inner

    def choose(state: Mapping[str, Any]) -> Any:
        total = state["total"]
        return led(choice.options[total % len(choice.options)], i, total, library, adds=adds)

    async def choose_later(state: Mapping[str, Any]) -> Any:
        return choose(state)

    path = choose_later if plan.jobs[max(i, 0)].is_async else choose
    path.__name__ = f"choose{number}"
    targets = [*map(name, range(len(plan.jobs))), name(None)] if choice.mapped else None
    graph.add_conditional_edges(name(i) if i >= 0 else "__start__", path, targets)


def inner(job: Job, library: Library) -> Any:
    """Return a compiled subgraph."""

    def node(number: int) -> Any:
        def called(state: Mapping[str, Any]) -> Any:
            answers = [library.interrupt(f"inside, {number}, {asked}?") for asked in range(job.asks)]
            return {"rounds": 1, "notes": [number, len(state.get("notes", ())), *answers]}

        return called

    graph = library.graph(Inner)
    graph.add_sequence([(name(number), node(number)) for number in range(job.inner)])
    graph.add_edge("__start__", name(0))
    rounds = job.inner * (2 if job.says else 1)

    def choose(state: Mapping[str, Any]) -> bool:
        return bool(state["rounds"] < rounds)

    graph.add_conditional_edges(name(job.inner - 1), choose, {True: name(0), False: name(None)})
    return graph.compile()
