"""What each stream mode shows, in which order; and that readers and modes do not change what a run does."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

import pytest

from mellea_like import Answer, FakeBackend, MelleaSession, UnknownName
from mellea_like.graph.building import StateGraph
from mellea_like.graph.commands import Command
from mellea_like.graph.compiled import CompiledGraph
from mellea_like.graph.events import ExecutionComplete
from mellea_like.graph.now import get_stream_writer, interrupt
from mellea_like.graph.spec import END, START
from mellea_like.graph.stores import MemoryBackend
from mellea_like.roles import AIMessage, HumanMessage, SystemMessage


class Count(TypedDict, total=False):
    count: int
    seen: Annotated[list[str], operator.add]


def counting() -> CompiledGraph:
    """Two nodes, one after the other."""
    graph = StateGraph(Count)
    graph.add_node("one", lambda state: {"count": state["count"] + 1, "seen": ["one"]})
    graph.add_node("two", lambda state: {"count": state["count"] * 10, "seen": ["two"]})
    graph.add_sequence([START, "one", "two", END])
    return graph.compile()


def chatting(answers: Any = "Hello, World!") -> CompiledGraph:
    graph = StateGraph()
    graph.add_node("chat", node_type="llm", system_prompt="Be brief.")
    graph.set_entry_point("chat")
    return graph.compile(backend=FakeBackend(answers=answers))


def test_values_show_the_input_and_then_the_state_after_every_step() -> None:
    shown = list(counting().stream({"count": 1}, stream_mode="values"))
    assert shown == [
        {"count": 1, "seen": []},
        {"count": 2, "seen": ["one"]},
        {"count": 20, "seen": ["one", "two"]},
    ]


def test_updates_are_the_default_and_show_what_each_node_wrote() -> None:
    assert list(counting().stream({"count": 1})) == [
        {"one": {"count": 2, "seen": ["one"]}},
        {"two": {"count": 20, "seen": ["two"]}},
    ]


def test_messages_show_each_delta_as_the_backend_cut_it() -> None:
    shown = list(chatting().stream("hi", stream_mode="messages"))
    assert [mode for mode, _ in shown] == ["messages", "messages"]
    assert [chunk.content for _, chunk in shown] == ["Hello,", " World!"]


def test_a_chunk_unpacks_as_message_and_metadata() -> None:
    _, chunk = next(iter(chatting().stream("hi", stream_mode="messages")))
    message, metadata = chunk
    assert (message.content, metadata["node"], metadata["langgraph_node"]) == ("Hello,", "chat", "chat")
    assert (metadata["step"], metadata["attempt"], metadata["provider"]) == (1, 1, "fake")
    assert (chunk["node"], chunk[1], str(chunk), len(chunk)) == ("chat", metadata, "Hello,", 2)


@pytest.mark.parametrize("modes", [["messages"], ("messages",), ["updates", "messages"], ["events", "values"]])
def test_several_modes_are_tagged_each_with_its_own(modes: list[str]) -> None:
    shown = list(chatting().stream("hi", stream_mode=modes))
    assert {mode for mode, _ in shown} == set(modes)


def test_tokens_come_before_the_update_and_that_before_the_state() -> None:
    shown = list(chatting().stream("hi", stream_mode=["values", "updates", "messages"]))
    assert [mode for mode, _ in shown] == ["values", "messages", "messages", "updates", "values"]


def test_custom_shows_what_nodes_write_before_they_are_through() -> None:
    def work(state: dict[str, Any]) -> None:
        write = get_stream_writer()
        write({"progress": 0.5})
        write("done")

    graph = StateGraph()
    graph.add_node(work)
    graph.set_entry_point("work")
    shown = list(graph.compile().stream({}, stream_mode=["custom", "updates"]))
    assert shown == [("custom", {"progress": 0.5}), ("custom", "done"), ("updates", {"work": None})]


def test_tasks_show_when_a_node_begins_and_ends() -> None:
    begun, ended, *_ = counting().stream({"count": 1}, stream_mode="tasks")
    assert begun == {"id": "1:one", "name": "one", "input": {"count": 1, "seen": []}, "triggers": (START,)}
    assert ended["result"] == {"count": 2, "seen": ["one"]}
    assert (ended["id"], ended["error"], ended["interrupts"]) == ("1:one", None, [])


def test_tasks_show_that_a_node_asks() -> None:
    graph = StateGraph()
    graph.add_node("ask", lambda state: {"who": interrupt("Who?")})
    graph.set_entry_point("ask")
    compiled = graph.compile(MemoryBackend(), interrupt_before=["ask"])
    stopped = list(compiled.stream({}, {"thread_id": "1"}, stream_mode="tasks"))
    begun, asked = compiled.stream(None, {"thread_id": "1"}, stream_mode="tasks")
    assert stopped == []
    assert (begun["id"], asked["id"]) == ("1:ask", "1:ask")
    assert (asked["result"], asked["interrupts"]) == (None, [{"value": "Who?", "id": "1:ask"}])


def test_an_update_of_several_writes_to_one_key_shows_what_they_come_to() -> None:
    def twice(state: Count) -> Any:
        yield {"seen": ["one"], "count": 1}
        yield {"seen": ["two"], "count": 2}

    def commands(state: Count) -> Any:
        return [Command(update={"seen": ["one"], "count": 1}), Command(update={"seen": ["two"], "count": 2})]

    for node in (twice, commands):
        graph = StateGraph(Count)
        graph.add_node("node", node)
        graph.set_entry_point("node")
        assert list(graph.compile().stream({})) == [{"node": {"seen": ["one", "two"], "count": 2}}]


def test_values_of_a_subgraph_begin_with_its_input() -> None:
    graph = StateGraph(Count)
    graph.add_node("sub", counting())
    graph.set_entry_point("sub")
    shown = list(graph.compile().stream({"count": 1}, stream_mode="values", subgraphs=True))
    assert [state["count"] for ns, state in shown if ns == ("sub",)] == [1, 2, 20]


def test_debug_shows_steps_with_tasks_and_states() -> None:
    shown = list(counting().stream({"count": 1}, stream_mode="debug"))
    assert [(one["step"], one["type"]) for one in shown] == [
        *[(1, "task"), (1, "task_result"), (1, "values")],
        *[(2, "task"), (2, "task_result"), (2, "values")],
    ]


def test_events_show_everything_in_order_with_exactly_one_end() -> None:
    shown = list(chatting().stream("hi", stream_mode="events"))
    assert [event.type for event in shown] == [
        *["execution_start", "node_start", "message_start", "token", "token", "message_complete"],
        *["node_complete", "state_update", "execution_complete"],
    ]
    assert [event.seq for event in shown] == list(range(len(shown)))
    assert len({event.run_id for event in shown}) == 1
    assert [event.content for event in shown if event.content] == ["Hello,", " World!", "Hello, World!"]


def test_content_output_and_error_can_be_read_on_every_event() -> None:
    shown = list(chatting().stream("hi", stream_mode="events"))
    assert all(hasattr(event, name) for event in shown for name in ("content", "output", "error", "ns", "metadata"))
    end = shown[-1]
    assert isinstance(end, ExecutionComplete)
    assert (end.output, end.state["output"]) == ({"content": "Hello, World!"}, "Hello, World!")
    assert end.usage is not None
    assert end.usage.output_tokens == 2


def test_an_unknown_mode_is_an_error_at_the_call_that_lists_the_modes() -> None:
    with pytest.raises(UnknownName, match=r"no stream mode 'tokens'.*'messages'.*'values'"):
        counting().stream({"count": 1}, stream_mode="tokens")


async def test_a_run_is_shown_to_any_number_of_readers_of_any_mode_live_and_again() -> None:
    run = chatting().start("hi")
    live = [item async for item in run.stream(["messages", "values"])]
    again = await asyncio.to_thread(lambda: list(run.stream(["messages", "values"])))
    assert [str(item) for item in live] == [str(item) for item in again]
    assert (await run).parsed == live[-1][1]


async def test_modes_show_the_same_to_async_for_and_to_for() -> None:
    shown = [str(item) async for item in chatting().astream("hi", stream_mode=["values", "messages", "updates"])]
    assert shown == list(map(str, chatting().stream("hi", stream_mode=["values", "messages", "updates"])))


async def test_synchronous_streaming_works_inside_a_running_loop_with_asynchronous_nodes() -> None:
    async def later(state: dict[str, Any]) -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"done": True}

    graph = StateGraph()
    graph.add_node(later)
    graph.set_entry_point("later")
    assert list(graph.compile().stream({})) == [{"later": {"done": True}}]
    assert graph.compile().invoke({}) == {"done": True}


async def test_a_run_that_was_started_asynchronously_can_be_read_synchronously() -> None:
    run = chatting().start("hi")
    assert [chunk.content for _, chunk in run.stream("messages")] == ["Hello,", " World!"]


def test_text_becomes_the_input_and_the_model_is_told_it_after_the_system_prompt() -> None:
    compiled = chatting()
    compiled.invoke("Tell me a story.")
    backend = compiled.backend
    assert isinstance(backend, FakeBackend)
    assert list(backend.calls[0].messages) == [SystemMessage("Be brief."), HumanMessage("Tell me a story.")]


def test_a_conversation_is_sent_and_answered_with_a_message() -> None:
    compiled = chatting()
    state = compiled.invoke({"messages": [HumanMessage("hi")]})
    assert state["messages"] == [HumanMessage("hi"), AIMessage("Hello, World!")]
    assert list(compiled.stream({"messages": "hi"}, stream_mode="updates")) == [
        {"chat": {"messages": [AIMessage("Hello, World!")]}}
    ]


def test_a_session_inside_helper_functions_is_seen_without_being_passed_anything(
    fake: Callable[..., MelleaSession],
) -> None:
    m = fake(["first answer", "second answer"])

    def deep() -> str:
        return m.instruct("one").value

    async def deeper() -> str:
        return (await m.ainstruct("two")).value

    async def node(state: dict[str, Any]) -> dict[str, Any]:
        return {"all": [await asyncio.to_thread(deep), await deeper()]}

    graph = StateGraph()
    graph.add_node(node)
    graph.set_entry_point("node")
    shown = list(graph.compile().stream({}, stream_mode=["messages", "updates"]))
    assert "".join(chunk.content for mode, chunk in shown if mode == "messages") == "first answersecond answer"
    assert len({chunk.id for mode, chunk in shown if mode == "messages"}) == 2
    assert shown[-1] == ("updates", {"node": {"all": ["first answer", "second answer"]}})


# --- what is said once ------------------------------------------------------------------------------------------------


def said_by(node: Callable[..., Any], state: dict[str, Any] | None = None) -> list[str]:
    """Run a graph of one node, and return its text as `messages` shows it."""
    graph = StateGraph()
    graph.add_node("node", node)
    graph.set_entry_point("node")
    return [chunk.content for _, chunk in graph.compile().stream(state or {}, stream_mode="messages")]


@pytest.mark.parametrize("blanks", [True, False])
def test_a_generator_that_passes_on_what_a_model_says_does_not_say_it_twice(
    fake: Callable[..., MelleaSession], blanks: bool
) -> None:
    m = fake(Answer(["one", " ", "two", "\n", "two"]))

    async def passing_on(state: dict[str, Any]) -> Any:
        yield "Listen: "
        async for delta in await m.ainstruct("go", await_result=False):
            if blanks or delta.strip():
                yield delta
        yield " That is all."

    assert "".join(said_by(passing_on)) == "Listen: one two\ntwo That is all."


def test_a_generator_that_changes_what_a_model_says_says_that_too(fake: Callable[..., MelleaSession]) -> None:
    m = fake(Answer(["one", " two"]))

    def loudly(state: dict[str, Any]) -> Any:
        for delta in m.instruct("go", await_result=False):
            yield delta.upper()

    assert sorted(said_by(loudly)) == [" TWO", " two", "ONE", "one"]


@pytest.mark.parametrize("returned", [AIMessage("Hello!"), [HumanMessage("?"), AIMessage("Hello!")], ("ai", "Hello!")])
def test_answers_that_a_function_returns_as_messages_are_said_whole(returned: Any) -> None:
    assert said_by(lambda state: {"messages": returned}) == ["Hello!"]


def test_messages_that_were_there_before_are_not_said_again() -> None:
    before = [HumanMessage("?"), AIMessage("Hello!")]
    assert said_by(lambda state: {"messages": [*state["messages"], AIMessage("Bye!")]}, {"messages": before}) == [
        "Bye!"
    ]


def test_an_answer_that_was_streamed_is_not_said_again_when_it_is_returned(fake: Callable[..., MelleaSession]) -> None:
    m = fake(Answer(["one", " two"]))

    def answer(state: dict[str, Any]) -> dict[str, Any]:
        return {"messages": [AIMessage("So: " + m.instruct("go").value)]}

    assert said_by(answer) == ["one", " two"]
