"""Executor: events in Mesh's order and words, a context that is taken up and left changed, runs that stop and go on."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from mellea_like import Answer, FakeBackend, Gate, GenerationCancelled, InvalidArgument, MelleaError, Message
from mellea_like.errors import NodeFailed, NothingToResume, RecursionLimit
from mellea_like.graph.building import StateGraph
from mellea_like.graph.commands import Command
from mellea_like.graph.compiled import CompiledGraph
from mellea_like.graph.executor import Execution, ExecutionContext, Executor
from mellea_like.graph.now import interrupt
from mellea_like.graph.stores import MemoryBackend


def poet(answers: Any = "Once upon a time", backend: Any = None) -> CompiledGraph:
    """A graph of one model, as on the page."""
    graph = StateGraph()
    graph.add_node("llm", None, node_type="llm", system_prompt="Tell a short story")
    graph.add_edge("START", "llm")
    graph.set_entry_point("llm")
    return graph.compile(backend=backend or FakeBackend(answers=answers))


def chain(*functions: Callable[..., Any]) -> CompiledGraph:
    """A graph of functions, one after the other."""
    graph = StateGraph()
    graph.add_sequence(functions)
    graph.set_entry_point(functions[0].__name__)
    return graph.compile()


def talk(session_id: str = "session-1", **rest: Any) -> ExecutionContext:
    return ExecutionContext(graph_id="streaming", session_id=session_id, **rest)


async def collected(execution: Execution) -> list[Any]:
    return [event async for event in execution]


async def given_up(execution: Execution) -> list[Any]:
    """Read a failed execution once more, up to its error."""
    seen = []
    with suppress(MelleaError):
        async for event in execution.events():
            seen.append(event)  # noqa: PERF401  # what came before the error counts
    return seen


def text(events: list[Any]) -> str:
    return "".join(event.content for event in events if event.type == "token")


# --- the events -------------------------------------------------------------------------------------------------------


async def test_the_order_of_events_is_meshs() -> None:
    context = talk()
    events = await collected(Executor(poet(), MemoryBackend()).execute("Tell me a story", context))
    assert [(event.type, event.node_id, event.content, event.output) for event in events] == [
        ("execution_start", None, None, None),
        ("node_start", "START", None, None),
        ("node_complete", "START", None, {"input": "Tell me a story"}),
        ("node_start", "llm", None, None),
        ("token", "llm", "Once", None),
        ("token", "llm", " upon", None),
        ("token", "llm", " a", None),
        ("token", "llm", " time", None),
        ("node_complete", "llm", None, {"content": "Once upon a time"}),
        ("execution_complete", None, None, {"content": "Once upon a time"}),
    ]
    assert [event.error for event in events] == [None] * len(events)
    start, node, end = events[0], events[-2], events[-1]
    assert dict(start.metadata) == {"graph_id": "streaming", "trace_id": context.trace_id}
    assert dict(events[2].metadata) == {"node_type": "start"}
    assert {"model": "script", "provider": "fake", "tokens": 4}.items() <= node.metadata.items()
    assert end.metadata == {"iterations": 2, "trace_id": context.trace_id}
    assert events[4].metadata["provider"] == "fake"


async def test_events_are_numbered_without_a_gap_and_every_reader_sees_the_same() -> None:
    execution = Executor(poet()).execute("Go", talk())
    live, again = await collected(execution), [event async for event in execution.events()]
    assert [event.seq for event in live] == list(range(len(live)))
    assert again == live
    assert [event.seconds for event in live] == sorted(event.seconds for event in live)


def test_without_an_event_loop_a_plain_for_reads_the_same() -> None:
    assert text(list(Executor(poet()).execute("Go", talk()))) == "Once upon a time"


async def test_a_plain_for_works_inside_a_running_loop_with_nodes_that_are_asynchronous() -> None:
    async def node(state: dict[str, Any]) -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"seen": True}

    events = list(Executor(chain(node)).execute("Go", talk()))
    assert events[-1].type == "execution_complete"


async def test_the_iterator_can_be_asked_step_by_step() -> None:
    execution = Executor(poet()).execute("Go", talk())
    assert (await anext(execution)).type == "execution_start"
    assert [event.type async for event in execution][:2] == ["node_start", "node_complete"]


async def test_nothing_runs_before_the_first_step() -> None:
    backend = FakeBackend(answers="hi")
    execution = Executor(poet(backend=backend)).execute("Go", talk())
    assert execution.run is None
    await execution.aclose()
    assert backend.calls == []


async def test_tokens_come_before_the_error_and_then_it_is_raised_with_the_node() -> None:
    answers = Answer(["Once ", "upon ", ValueError("boom")])
    execution = Executor(poet(answers)).execute("Go", talk())
    with pytest.raises(NodeFailed, match=r"'llm'.*boom") as caught:
        await collected(execution)
    seen = await given_up(execution)
    assert text(seen) == "Once upon "
    assert [event.type for event in seen[-2:]] == ["node_error", "execution_error"]
    assert isinstance(seen[-1].error, NodeFailed)
    assert caught.value.node == "llm"


async def test_a_run_without_an_end_is_stopped_and_says_so() -> None:
    graph = StateGraph()
    graph.add_node("again", lambda state: Command(goto="again"))
    graph.set_entry_point("again")
    execution = Executor(graph.compile(), max_iterations=5).execute({}, talk())
    with pytest.raises(RecursionLimit):
        await collected(execution)
    types = [event.type for event in await given_up(execution)]
    assert types.count("node_complete") == 6  # the START node's, and five
    assert types[-1] == "execution_error"
    assert "execution_complete" not in types


# --- the context ------------------------------------------------------------------------------------------------------


async def test_the_history_goes_to_the_model_and_is_extended() -> None:
    backend = FakeBackend(answers=["One.", "Two."])
    executor, context = Executor(poet(backend=backend)), talk()
    await collected(executor.execute("First?", context))
    await collected(executor.execute("Second?", context))
    assert [(said.role, said.content) for said in backend.calls[1].messages] == [
        ("system", "Tell a short story"),
        ("user", "First?"),
        ("assistant", "One."),
        ("user", "Second?"),
    ]
    assert context.chat_history[-2:] == [
        {"role": "user", "content": "Second?"},
        {"role": "assistant", "content": "Two."},
    ]


async def test_a_history_of_messages_is_extended_by_messages() -> None:
    context = talk(chat_history=[Message("user", "Hi"), Message("assistant", "Hello")])
    await collected(Executor(poet("Yes.")).execute("Are you there?", context))
    assert context.chat_history[-1] == Message("assistant", "Yes.")


async def test_whoever_sees_the_end_finds_the_context_as_the_run_left_it() -> None:
    context = talk()
    async for event in Executor(poet("Yes.")).execute("Sure?", context):
        if event.type == "execution_complete":
            assert context.chat_history[-1]["content"] == "Yes."
            assert context.state["output"] == "Yes."
    assert [step["node_id"] for step in context.executed_data] == ["llm"]


async def test_a_failed_run_leaves_the_history_and_a_stopped_one_adds_what_came() -> None:
    gate, context = Gate(), talk()
    answers = [Answer(["half", ValueError("boom")]), Answer(["half ", gate, "whole"])]
    executor = Executor(poet(answers))
    with pytest.raises(NodeFailed):
        await collected(executor.execute("One?", context))
    assert context.chat_history == []
    async with executor.execute("Two?", context) as execution:
        async for event in execution:
            if event.type == "token":
                break
    assert [turn["content"] for turn in context.chat_history] == ["Two?", "half "]


def counted(state: dict[str, Any]) -> dict[str, Any]:
    return {"count": state.get("count", 0) + 1}


async def test_the_state_is_loaded_as_well_as_saved() -> None:
    backend = MemoryBackend()
    for session in ("a", "a", "b"):
        await collected(Executor(chain(counted), backend).execute({}, talk(session)))
    assert await backend.load("a") == {"count": 2}
    assert await backend.load("b") == {"count": 1}
    assert await backend.list_sessions() == ["a", "b"]


async def test_what_the_context_brings_counts_for_more_than_what_is_kept() -> None:
    backend = MemoryBackend()
    await backend.save("a", {"count": 5, "kept": True})
    context = talk("a", state={"count": 10})
    await collected(Executor(chain(counted), backend).execute({}, context))
    assert context.state == {"count": 11, "kept": True}
    await collected(Executor(chain(counted), backend).execute({}, context))
    assert context.state["count"] == 12


async def test_messages_in_the_state_are_loaded_once() -> None:
    backend, context = MemoryBackend(), talk()
    executor = Executor(poet("Yes."), backend)
    for _ in range(2):
        await collected(executor.execute({"messages": [Message("user", "Sure?")]}, context))
    roles = [message.role for message in context.state["messages"]]
    assert roles == ["user", "assistant"] * 2


async def test_tools_get_the_context_and_its_variables() -> None:
    def look(input: Any, context: Any, variables: dict[str, Any], chat_history: list[Any]) -> str:  # noqa: A002
        return f"{input} {context.session_id} {variables['city']} {len(chat_history)}"

    graph = StateGraph()
    graph.add_node("look", look, node_type="tool")
    graph.set_entry_point("look")
    context = talk(variables={"city": "Rome"}, chat_history=[{"role": "user", "content": "hi"}])
    events = await collected(Executor(graph.compile()).execute("Where?", context))
    assert events[-1].output == {"output": "Where? session-1 Rome 1"}


# --- going on ---------------------------------------------------------------------------------------------------------


class Flaky:
    """Steps that count how often they ran; the second fails until it is mended."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.broken = True

    def graph(self) -> CompiledGraph:
        def first(state: dict[str, Any]) -> dict[str, Any]:
            self.ran.append("first")
            if state["input"] is None:
                raise ValueError("nothing to work on")
            return {"first": state["input"]}

        def second(state: dict[str, Any]) -> dict[str, Any]:
            self.ran.append("second")
            if self.broken:
                raise ValueError("boom")
            return {"second": state["first"]}

        return chain(first, second)


async def test_a_run_goes_on_after_its_last_completed_step() -> None:
    flaky, backend, context = Flaky(), MemoryBackend(), talk()
    with pytest.raises(NodeFailed):
        await collected(Executor(flaky.graph(), backend).execute("go", context))
    flaky.broken = False
    # Another executor, as after a restart.
    events = await collected(Executor(flaky.graph(), backend).resume(talk()))
    assert flaky.ran == ["first", "second", "second"]
    assert events[-1].output == {"second": "go"}
    assert await backend.list_sessions() == ["session-1"]


async def test_nothing_to_resume_is_an_error() -> None:
    executor = Executor(chain(counted))
    with pytest.raises(NothingToResume):
        await collected(executor.resume(talk()))
    await collected(executor.execute({}, talk()))
    with pytest.raises(NothingToResume):
        await collected(executor.resume(talk()))


async def test_a_new_run_forgets_the_unfinished_one() -> None:
    flaky, backend = Flaky(), MemoryBackend()
    executor = Executor(flaky.graph(), backend)
    with pytest.raises(NodeFailed, match="second"):
        await collected(executor.execute("old", talk()))
    flaky.broken = False
    with pytest.raises(NodeFailed, match="first"):  # it has no input to work on
        await collected(executor.execute({"input": None}, talk()))
    with suppress(NodeFailed, NothingToResume):
        await collected(executor.resume(talk()))
    assert flaky.ran.count("second") == 1


async def test_a_node_that_asks_is_answered() -> None:
    def ask(state: dict[str, Any]) -> dict[str, Any]:
        return {"name": interrupt("Who are you?")}

    graph = StateGraph()
    graph.add_node("llm", node_type="llm")
    graph.add_sequence(["llm", ("ask", ask)])
    graph.set_entry_point("llm")
    executor, context = Executor(graph.compile(backend=FakeBackend(answers="Hello."))), talk()
    events = await collected(executor.execute("hi", context))
    asked = next(event for event in events if event.type == "interrupt")
    assert asked.value == "Who are you?"
    assert context.chat_history == []
    events = await collected(executor.resume(context, "Ana"))
    assert events[-1].output == {"name": "Ana"}


# --- stopping, and many at once ---------------------------------------------------------------------------------------


async def test_closing_stops_the_model(talker: Any) -> None:
    async with Executor(poet(backend=talker)).execute("Go", talk()) as execution:
        async for event in execution:
            if event.type == "token":
                break
    assert await asyncio.to_thread(talker.is_stopped)
    with pytest.raises(GenerationCancelled):
        await collected(execution)


async def test_a_plain_break_stops_the_model(talker: Any) -> None:
    async for event in Executor(poet(backend=talker)).execute("Go", talk()):
        if event.type == "token":
            break
    del event
    gc.collect()
    assert await asyncio.to_thread(talker.is_stopped)  # this loop may still hold what it was just asked to run


async def test_a_cancelled_task_stops_the_model(talker: Any) -> None:
    flowing = asyncio.Event()

    async def read() -> None:
        async with Executor(poet(backend=talker)).execute("Go", talk()) as execution:
            async for event in execution:
                if event.type == "token":
                    flowing.set()

    task = asyncio.create_task(read())
    await flowing.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(talker.is_stopped)


async def test_runs_at_once_do_not_mix() -> None:
    backend = FakeBackend(answers=lambda request: f"{request.messages[-1].content} " * 20)
    executor = Executor(poet(backend=backend), MemoryBackend())
    contexts = [talk(f"s{number}") for number in range(30)]
    runs = await asyncio.gather(*(collected(executor.execute(f"w{n}", c)) for n, c in enumerate(contexts)))
    for number, (events, context) in enumerate(zip(runs, contexts, strict=True)):
        assert text(events) == f"w{number} " * 20
        assert context.chat_history[0]["content"] == f"w{number}"
        assert len({event.run_id for event in events}) == 1
    assert len({events[0].run_id for events in runs}) == 30


@pytest.mark.parametrize("wrong", [StateGraph(), None])
def test_a_graph_that_is_not_compiled_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidArgument, match="compile"):
        Executor(wrong)


def test_what_is_no_context_is_refused() -> None:
    wrong: Any = {"session_id": "x"}
    with pytest.raises(InvalidArgument, match="ExecutionContext"):
        Executor(poet()).execute("hi", wrong)


async def test_what_a_context_leaves_out_may_be_none() -> None:
    context = talk(state=None, chat_history=None, variables=None, executed_data=None)
    assert text(await collected(Executor(poet()).execute("Go.", context))) == "Once upon a time"
    assert [turn["role"] for turn in context.chat_history] == ["user", "assistant"]
