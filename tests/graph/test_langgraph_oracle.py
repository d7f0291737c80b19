"""LangGraph as an oracle: a program shows the same, whichever of the two libraries its classes are from.

Skipped where LangGraph is not installed; the dependency group `peers` has it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mellea_like

from .random_graphs import BEGIN, Job, Library, Plan, built, name, plans

pytest.importorskip("langgraph")
graphs = pytest.importorskip("langgraph.graph")
types = pytest.importorskip("langgraph.types")

LANGGRAPH = Library(
    graph=graphs.StateGraph,
    command=types.Command,
    send=types.Send,
    interrupt=types.interrupt,
    writer=pytest.importorskip("langgraph.config").get_stream_writer,
    add_messages=graphs.add_messages,
    store=pytest.importorskip("langgraph.checkpoint.memory").InMemorySaver,
)
OURS = Library(
    graph=mellea_like.StateGraph,
    command=mellea_like.Command,
    send=mellea_like.Send,
    interrupt=mellea_like.interrupt,
    writer=mellea_like.get_stream_writer,
    add_messages=mellea_like.add_messages,
    store=mellea_like.MemoryBackend,
)
EXAMPLES = 25
TURNS = 1000
"""More than any run waits."""
THREAD = {"configurable": {"thread_id": "1"}}

ROLES = {"human": "user", "ai": "assistant"}
ERRORS = {"InvalidUpdateError": "InvalidUpdate", "GraphRecursionError": "RecursionLimit"}


def plain(value: Any) -> Any:
    """Return a value without what tells whose it is: messages as (role, text), questions by their values."""
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if hasattr(value, "response_schema") or isinstance(value, mellea_like.Interrupt):
        return value.value
    if hasattr(value, "content"):
        role = value.role if hasattr(value, "role") else value.type
        return [ROLES.get(role, role), value.content]
    return value


def kind(error: Exception) -> str:
    """Return what an error is called here; of a node that failed, what it raised."""
    raised = type(getattr(error, "raised", None) or error).__name__
    return ERRORS.get(raised, raised)


def shown(compiled: Any, begin: Any, mode: Any, config: Mapping[str, Any] | None = None, **options: Any) -> list[Any]:
    """Read a run to its end; an error is the last item."""

    async def read() -> list[Any]:
        items: list[Any] = []
        try:
            async for item in compiled.astream(begin, config, stream_mode=mode, **options):
                items.append(item)  # noqa: PERF401  # what came before an error counts
        except Exception as error:  # whatever it is, the other library has to say it too
            items.append(("error", kind(error)))
        return items

    return asyncio.run(read())


def as_steps(items: list[Any]) -> list[Any]:
    """Return the parts of a run of `values` with other modes: what was said in a step, in any order, and its state.

    Nodes of a step are at work at once, and are through in any order. After a step that wrote nothing, LangGraph shows
    no state; here, every step shows one.
    """
    steps: list[Any] = []
    said: list[str] = []
    wrote = True
    for mode, item in items:
        if mode not in {"values", "error"}:
            said.append(repr((mode, plain(item))))
            wrote = wrote or (mode == "updates" and any(item.values()))
        elif wrote or mode == "error":
            steps.append((sorted(said), mode, plain(item)))
            said, wrote = [], False
    return [*steps, sorted(said)]


@settings(deadline=None, max_examples=EXAMPLES)
@given(plans())
def test_updates_custom_and_values_come_step_by_step(plan: Plan) -> None:
    modes = ["values", "updates", "custom"]
    expected = as_steps(shown(built(plan, LANGGRAPH), BEGIN, modes))
    assert as_steps(shown(built(plan, OURS), BEGIN, modes)) == expected


@settings(deadline=None, max_examples=EXAMPLES)
@given(plans(), st.sampled_from(["values", "updates", "custom", ["updates"], ["custom"]]))
def test_a_mode_by_itself_is_tagged_where_it_is_in_a_list(plan: Plan, mode: Any) -> None:
    def read(library: Library) -> Any:
        items = plain(shown(built(plan, library), BEGIN, mode))
        return without_repeats(items) if mode == "values" else sorted(map(repr, items))

    assert read(OURS) == read(LANGGRAPH)


def without_repeats(states: list[Any]) -> list[Any]:
    """Return states without those that a step left as they were: LangGraph does not show all of them."""
    return [state for i, state in enumerate(states) if not i or state != states[i - 1]]


# --- tasks ------------------------------------------------------------------------------------------------------------


def as_tasks(items: list[Any]) -> list[str]:
    """Return what `debug` says of tasks, by step; ids and triggers are each library's own names.

    LangGraph gives an error as it was raised and no result as {}; here they are its text and None.
    """
    found: list[str] = []
    for item in items:
        if item["type"] in {"task", "task_result"}:
            task = {**item["payload"], "id": None, "triggers": None}
            if "result" in task:
                task |= {"result": task["result"] or {}, "error": task["error"] is not None}
            found.append(repr((item["step"], item["type"], sorted(plain(task).items()))))
    return sorted(found)


@settings(deadline=None, max_examples=EXAMPLES)
@given(plans())
def test_tasks_begin_and_end_in_their_steps(plan: Plan) -> None:
    def read(library: Library) -> Any:
        items = shown(built(plan, library), BEGIN, ["tasks", "debug"])
        debug = [item for mode, item in items if mode == "debug"]
        tasks = [item for mode, item in items if mode == "tasks"]
        assert tasks == [item["payload"] for item in debug if item["type"] in {"task", "task_result"}]
        begun = [task["id"] for task in tasks if "input" in task]
        assert sorted(begun) == sorted({task["id"] for task in tasks if "result" in task})
        return as_tasks(debug)

    assert read(OURS) == read(LANGGRAPH)


# --- subgraphs --------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=EXAMPLES)
@given(plans(subgraphs=True))
def test_subgraphs_are_shown_with_their_namespace(plan: Plan) -> None:
    """A namespace is the node's name here, and in LangGraph with an id after it; with the number of a `Send` here."""

    def read(library: Library) -> Any:
        items = shown(built(plan, library), BEGIN, ["updates", "values"], subgraphs=True)
        outside = [item[1:] if len(item) == 3 else item for item in items if item[0] in {(), "error"}]
        names = [([part.partition(":")[0] for part in ns], *rest) for ns, *rest in items if ns not in {(), "error"}]
        return as_steps(outside), sorted(repr(plain(item)) for item in names if item[1] == "updates")

    assert read(OURS) == read(LANGGRAPH)


@settings(deadline=None, max_examples=EXAMPLES)
@given(plans(subgraphs=True))
def test_without_being_asked_subgraphs_are_not_shown(plan: Plan) -> None:
    def read(library: Library) -> Any:
        return as_steps(shown(built(plan, library), BEGIN, ["updates", "values"]))

    assert read(OURS) == read(LANGGRAPH)


# --- runs that stop and go on -----------------------------------------------------------------------------------------


def turn(compiled: Any, given: Any) -> tuple[Any, list[Any]]:
    """Take a turn of a thread; return the state, or what its error is called, and the questions that it waits with."""
    try:
        state = asyncio.run(compiled.ainvoke(given, THREAD))
    except Exception as error:  # whatever it is, the other library has to say it too
        return kind(error), []
    questions = state.pop("__interrupt__", ())
    return plain(state), list(questions)


def answered(compiled: Any, library: Library) -> tuple[set[str], Any]:
    """Answer every question of a run; return what was asked, and the state that it came to."""
    asked = set[str]()
    state, questions = turn(compiled, BEGIN)
    for _ in range(TURNS):
        if not questions:
            return (set() if isinstance(state, str) else asked), state
        asked |= {question.value for question in questions}
        answers = {question.id: f"{question.value} Yes." for question in questions}
        given = answers if len(questions) > 1 else answers[questions[0].id]
        state, questions = turn(compiled, library.command(resume=given))
    raise AssertionError("it asks for ever")


@settings(deadline=None, max_examples=EXAMPLES)
@given(plans(subgraphs=True, asking=True))
def test_questions_are_asked_and_answered(plan: Plan) -> None:
    def read(library: Library) -> Any:
        return answered(built(plan, library, checkpointer=library.store()), library)

    assert read(OURS) == read(LANGGRAPH)


@settings(deadline=None, max_examples=EXAMPLES)
@given(plans(), st.integers(1, 3))
def test_a_thread_goes_on_with_its_state(plan: Plan, turns: int) -> None:
    """Without joins: in LangGraph one that waits in vain goes on waiting in the next turn, here it does not."""
    plan = replace(plan, joins=())

    def read(library: Library) -> Any:
        compiled = built(plan, library, checkpointer=library.store())
        return [turn(compiled, {"seen": [number], "total": number})[0] for number in range(turns)]

    assert read(OURS) == read(LANGGRAPH)


@settings(deadline=None, max_examples=EXAMPLES)
@given(plans(threads=False), st.sets(st.sampled_from(["n0", "n1", "n2", "n3"]), min_size=1))
def test_a_run_that_failed_goes_on(plan: Plan, fails: set[str]) -> None:
    def read(library: Library) -> Any:
        broken = set(fails)
        compiled = built(plan, library, fails=broken, checkpointer=library.store())
        state, _ = turn(compiled, BEGIN)
        broken.clear()
        return state, turn(compiled, None)[0] if state == "ConnectionError" else None

    assert read(OURS) == read(LANGGRAPH)


@settings(deadline=None, max_examples=EXAMPLES)
@given(plans(), st.sets(st.integers(0, 5)), st.sets(st.integers(0, 5)))
def test_a_run_stops_before_and_after_nodes(plan: Plan, before: set[int], after: set[int]) -> None:
    """Such a stop is a question without a value here; in LangGraph it is seen by what comes next."""
    stops = {
        "interrupt_before": [name(i) for i in sorted(before) if i < len(plan.jobs)],
        "interrupt_after": [name(i) for i in sorted(after) if i < len(plan.jobs)],
    }

    def read(library: Library) -> Any:
        compiled = built(plan, library, checkpointer=library.store(), **stops)
        state, waits = turn(compiled, BEGIN)
        states = [state]
        while not isinstance(state, str) and (compiled.get_state(THREAD).next if library is LANGGRAPH else waits):
            assert len(states) < TURNS
            state, waits = turn(compiled, None)
            states.append(state)
        return states

    assert read(OURS) == read(LANGGRAPH)


@pytest.mark.parametrize("kept", ["memory", "sqlite"])
def test_what_is_shown_of_a_run_that_waits(kept: str, tmp_path: Path) -> None:
    job = Job(returns="update", keys=frozenset({"seen", "total"}), edges=(1,))
    plan = Plan(jobs=(job, replace(job, asks=2, edges=(2,)), replace(job, edges=())), joins=(), first=(0,))

    def read(library: Library, store: Any) -> Any:
        compiled = built(plan, library, checkpointer=store)
        inputs = [BEGIN, library.command(resume="Ana"), library.command(resume="Bea", update={"seen": ["edited"]})]
        return [plain(shown(compiled, given, ["updates", "values"], THREAD)) for given in inputs]

    ours = read(OURS, OURS.store() if kept == "memory" else mellea_like.SQLiteBackend(str(tmp_path / "runs.db")))
    assert ours == read(LANGGRAPH, LANGGRAPH.store())
    assert ours[0][-2:] == [["updates", {"__interrupt__": ["n1, 0?"]}], ["values", ours[0][-1][1]]]


# --- models and errors ------------------------------------------------------------------------------------------------


def test_messages_are_the_text_of_each_node_and_come_before_its_update() -> None:
    models = pytest.importorskip("langchain_core.language_models.fake_chat_models")
    messages = pytest.importorskip("langchain_core.messages")
    answers = ["Roses are red.", "Violets are blue."]
    theirs = models.GenericFakeChatModel(messages=iter([messages.AIMessage(answer) for answer in answers]))
    ours = mellea_like.MelleaSession(mellea_like.FakeBackend(answers=[*answers]))

    def read(library: Library, ask: Callable[[], Awaitable[str]]) -> list[Any]:
        async def poet(state: Mapping[str, Any]) -> Any:
            return {"seen": [await ask()]}

        graph = library.graph(library.state)
        graph.add_sequence([("first", poet), ("second", poet)])
        graph.add_edge("__start__", "first")
        said: list[Any] = []
        for mode, item in shown(graph.compile(), BEGIN, ["messages", "updates"]):
            if mode == "updates":
                said.append(item)
                continue
            message, metadata = item
            if not said or isinstance(said[-1], dict) or said[-1][0] != metadata["langgraph_node"]:
                said.append([metadata["langgraph_node"], metadata["langgraph_step"], ""])
            said[-1][-1] += message.content
        return said

    async def ask_theirs() -> str:
        return str((await theirs.ainvoke("A poem.")).content)

    async def ask_ours() -> str:
        return (await ours.ainstruct("A poem.")).value

    with ours:
        assert read(OURS, ask_ours) == read(LANGGRAPH, ask_theirs)


def small(
    library: Library, node: Any = None, *edges: tuple[str, str], choose: Any = None, mapping: Any = None, **options: Any
) -> Any:
    """Return a graph of the nodes `a` and `b`, compiled; it begins with `a`."""
    graph = library.graph(library.state)
    graph.add_node("a", node or (lambda state: {"seen": ["a"]}))
    graph.add_node("b", lambda state: {"last": "b"})
    for source, target in edges or [("__start__", "a")]:
        graph.add_edge(source, target)
    if choose is not None:
        graph.add_conditional_edges("a", choose, mapping)
    return graph.compile(**options)


def boom(state: Any) -> Any:
    raise ValueError("boom")


ENTRY = ("__start__", "a")
REFUSED: dict[str, Callable[[Library], Any]] = {
    "an edge to a node that is not there": lambda lib: small(lib, None, ENTRY, ("a", "x")),
    "an edge from a node that is not there": lambda lib: small(lib, None, ENTRY, ("x", "a")),
    "an edge from the end": lambda lib: small(lib, None, ENTRY, ("__end__", "a")),
    "an edge to the start": lambda lib: small(lib, None, ENTRY, ("a", "__start__")),
    "no entry": lambda lib: small(lib, None, ("a", "b")),
    "a choice that may lead nowhere": lambda lib: small(lib, choose=boom, mapping={"x": "x"}),
    "a stop before a node that is not there": lambda lib: small(lib, interrupt_before=["x"]),
    "a name twice": lambda lib: lib.graph(lib.state).add_node("a", boom).add_node("a", boom),
    "a node called START": lambda lib: lib.graph(lib.state).add_node("__start__", boom),
    "a node that raises": lambda lib: small(lib, boom),
    "a choice that raises": lambda lib: small(lib, choose=boom),
    "a choice that its mapping does not know": lambda lib: small(lib, choose=lambda state: "y", mapping={"x": "b"}),
    "a choice of nothing": lambda lib: small(lib, choose=lambda state: None),
    "text for an update": lambda lib: small(lib, lambda state: "text"),
    "a list for an update": lambda lib: small(lib, lambda state: [1]),
    "an update that cannot be joined": lambda lib: small(lib, lambda state: {"seen": 3}),
    "two nodes that write a key of one value": lambda lib: small(
        lib, lambda state: {"last": "a"}, ENTRY, ("__start__", "b")
    ),
    "two runs of a node that write a key of one value": lambda lib: small(
        lib, lambda state: lib.command(goto=[lib.send("b", {}), lib.send("b", {})])
    ),
    "a run that never ends": lambda lib: small(lib, None, ENTRY, ("a", "b"), ("b", "a")),
}
"""What neither of the two runs. Modes, state keys, and nodes for a `Command` or a choice that do not exist are errors
here only."""


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_work_is_an_error(what: str) -> None:
    def refused(library: Library) -> str | None:
        try:
            asyncio.run(REFUSED[what](library).ainvoke(BEGIN, {"recursion_limit": 5}))
        except Exception as error:  # whatever it is
            return kind(error)
        return None

    ours, theirs = refused(OURS), refused(LANGGRAPH)
    assert ours is not None
    assert theirs is not None
    if theirs in ERRORS.values():
        assert ours == theirs
