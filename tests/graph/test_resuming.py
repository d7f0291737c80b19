"""A run that stops can go on: where somebody is asked, where a node failed, and in a conversation of several calls."""

from __future__ import annotations

import asyncio
import operator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from pydantic import BaseModel

from mellea_like import FakeBackend
from mellea_like.content import ImageBlock, Message, ToolCall
from mellea_like.errors import GraphError, InvalidArgument, NodeFailed, NothingToResume
from mellea_like.graph.building import StateGraph
from mellea_like.graph.checkpoints import Checkpoint, Pending, from_plain, to_plain
from mellea_like.graph.commands import Command, Interrupt, Send
from mellea_like.graph.now import interrupt
from mellea_like.graph.spec import END, START
from mellea_like.graph.stores import MemoryBackend, SQLiteBackend
from mellea_like.roles import AIMessage, HumanMessage

State = dict[str, Any]
THREAD = {"configurable": {"thread_id": "1"}}


class Seen(TypedDict, total=False):
    seen: Annotated[list[Any], operator.add]


def asking() -> StateGraph:
    graph = StateGraph(Seen)
    graph.add_node("before", lambda state: {"seen": ["before"]})
    graph.add_node("ask", lambda state: {"seen": [interrupt("Who?"), interrupt("Whose?")]})
    graph.add_node("beside", lambda state: {"seen": ["beside"]})
    graph.add_node("after", lambda state: {"seen": ["after"]})
    graph.add_edge(START, "before")
    graph.add_parallel_edges("before", ["ask", "beside"])
    graph.add_edge(["ask", "beside"], "after")
    return graph


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return MemoryBackend() if request.param == "memory" else SQLiteBackend(str(tmp_path / "runs.db"))


def test_questions_stop_a_run_and_their_answers_go_on_with_it(store: Any) -> None:
    compiled = asking().compile(checkpointer=store)
    first = compiled.invoke({}, THREAD)
    assert first == {"seen": ["before"], "__interrupt__": (Interrupt(value="Who?", id="2:ask"),)}
    second = compiled.invoke(Command(resume="Ana"), THREAD)
    assert second["__interrupt__"][0].value == "Whose?"
    shown = list(compiled.stream(Command(resume="Bea"), THREAD, stream_mode=["updates", "values"]))
    assert shown[-1] == ("values", {"seen": ["before", "Ana", "Bea", "beside", "after"]})
    assert [list(data) for mode, data in shown if mode == "updates"] == [["ask"], ["after"]]


def test_every_mode_shows_the_question() -> None:
    question = (Interrupt(value="Who?", id="2:ask"),)
    shown = list(asking().compile(checkpointer=MemoryBackend()).stream({}, THREAD, stream_mode=["values", "updates"]))
    assert shown[-2:] == [
        ("values", {"seen": ["before"], "__interrupt__": question}),
        ("updates", {"__interrupt__": question}),
    ]


def test_a_question_that_nobody_could_answer_is_an_error_that_says_how() -> None:
    with pytest.raises(GraphError, match=r"compile\(checkpointer=MemoryBackend\(\)\)"):
        asking().compile().invoke({})


def test_the_node_interrupt_asks_and_writes_the_answer() -> None:
    graph = StateGraph()
    graph.add_node("ask", node_type="interrupt", message="Is {{ name }} right?", resume_key="right")
    graph.set_entry_point("ask")
    compiled = graph.compile(checkpointer=MemoryBackend())
    assert compiled.invoke({"name": "Ana"}, THREAD)["__interrupt__"][0].value == "Is Ana right?"
    assert compiled.invoke(Command(resume=True), THREAD) == {"name": "Ana", "right": True}


@pytest.mark.parametrize(("when", "seen"), [("interrupt_before", ["before"]), ("interrupt_after", ["before", "ask"])])
def test_a_run_stops_before_or_after_a_node_and_goes_on(when: str, seen: list[str]) -> None:
    graph = StateGraph(Seen)
    for name in ("before", "ask", "after"):
        graph.add_node(name, lambda state, name=name: {"seen": [name]})
    graph.add_sequence([START, "before", "ask", "after"])
    compiled = graph.compile(checkpointer=MemoryBackend(), **{when: ["ask"]})  # type: ignore[arg-type]
    assert compiled.invoke({}, THREAD)["seen"] == seen
    assert compiled.invoke(None, THREAD) == {"seen": ["before", "ask", "after"]}


def test_a_run_may_stop_before_its_first_node(store: Any) -> None:
    compiled = marking("a", "b").compile(store, interrupt_before=["a", "b"])
    assert [compiled.invoke(given, THREAD)["seen"] for given in ({}, None, None)] == [[], ["a"], ["a", "b"]]


def test_a_run_may_begin_where_its_call_says(store: Any) -> None:
    compiled = marking("a", "b", "c").compile(store)
    assert compiled.invoke(Command(update={"seen": ["here"]}, goto="b"), THREAD)["seen"] == ["here", "b", "c"]
    assert compiled.invoke(Command(goto="c"), THREAD)["seen"] == ["here", "b", "c", "c"]
    assert compiled.invoke({}, THREAD)["seen"] == ["here", "b", "c", "c", "a", "b", "c"]


async def test_a_run_that_was_stopped_in_its_first_step_goes_on(store: Any) -> None:
    began, gate = asyncio.Event(), asyncio.Event()

    async def first(state: State) -> State:
        began.set()
        await gate.wait()
        return {"seen": ["first"]}

    graph = StateGraph(Seen)
    graph.add_node(first)
    graph.set_entry_point("first")
    compiled = graph.compile(store)
    run = compiled.start({"seen": ["in"]}, THREAD)
    await began.wait()
    await run.cancel()
    gate.set()
    assert await compiled.ainvoke(None, THREAD) == {"seen": ["in", "first"]}


def test_an_input_is_kept_also_where_nothing_runs(store: Any) -> None:
    straight = StateGraph(Seen)
    straight.add_node("a", lambda state: {"seen": ["a"]})
    straight.set_conditional_entry_point(lambda state: END if state["seen"][-1] == "skip" else "a")
    compiled = straight.compile(store)
    compiled.invoke({"seen": ["skip"]}, THREAD)
    assert compiled.invoke({"seen": ["go"]}, THREAD)["seen"] == ["skip", "go", "a"]


def test_an_answer_goes_where_the_run_waits_and_nowhere_else() -> None:
    compiled = asking().compile(MemoryBackend())
    compiled.invoke({}, THREAD)
    with pytest.raises(InvalidArgument, match="Leave out `goto`"):
        compiled.invoke(Command(resume="Ana", goto="after"), THREAD)
    assert compiled.invoke(Command(resume="Ana"), THREAD)["__interrupt__"][0].value == "Whose?"


def marking(*names: str) -> StateGraph:
    graph = StateGraph(Seen)
    for name in names:
        graph.add_node(name, lambda state, name=name: {"seen": [name]})
    graph.add_sequence([START, *names])
    return graph


def test_everything_of_a_conversation_and_any_dict_is_there_again(store: Any) -> None:
    graph = StateGraph()
    graph.add_node("nothing", lambda state: None)
    graph.set_entry_point("nothing")
    compiled = graph.compile(store)
    image = ImageBlock(url="https://example.org/cat.png")
    call = ToolCall(name="look", arguments="{}", id="1")
    messages = [Message("user", "Look.", images=[image]), AIMessage("", tool_calls=[call])]
    kinds = {"__kind__": "tuple", "in": [{"__kind__": "mapping", "items": {"__kind__": 1}}]}
    compiled.invoke({"messages": messages, "kinds": kinds}, THREAD)
    again = compiled.invoke({}, THREAD)
    assert again == {"messages": messages, "kinds": kinds}
    assert again["messages"][0].images == (image,)


class Person(BaseModel):
    name: str
    born: date


@dataclass
class Place:
    name: str
    people: list[Person]


def test_typed_answers_are_there_again_as_what_they_were(store: Any) -> None:
    ana = Person(name="Ana", born=date(2001, 2, 3))
    graph = StateGraph()
    answer = '{"name": "Ana", "born": "2001-02-03"}'
    graph.add_node("who", node_type="llm", prompt="Who?", format=Person, state_key="person")
    graph.add_node("ask", lambda state: {"places": [Place(interrupt("Where?"), [state["person"]])]})
    graph.add_node("tell", lambda state: {"told": (type(state["person"]), interrupt("Why?"))[0].__name__})
    graph.add_sequence([START, "who", "ask", "tell"])
    compiled = graph.compile(store, backend=FakeBackend(answers=answer))
    compiled.invoke({}, THREAD)
    compiled.invoke(Command(resume="Porto"), THREAD)
    state = compiled.invoke(Command(resume="?"), THREAD)
    assert state == {"person": ana, "places": [Place("Porto", [ana])], "told": "Person"}


def test_an_object_whose_class_is_gone_is_a_dict(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = StateGraph()
    graph.add_node("nothing", lambda state: None)
    graph.set_entry_point("nothing")
    compiled = graph.compile(store)
    compiled.invoke({"place": Place("Porto", [])}, THREAD)
    monkeypatch.delitem(globals(), "Place")
    assert compiled.invoke({}, THREAD) == {"place": {"name": "Porto", "people": []}}


def test_a_run_that_failed_goes_on_after_its_last_step_without_what_was_through(store: Any) -> None:
    calls: list[str] = []
    broken = [True]

    def bad(state: State) -> State:
        calls.append("bad")
        if broken:
            raise ConnectionError("no")
        return {"seen": ["bad"]}

    def good(state: State) -> State:
        calls.append("good")
        return {"seen": ["good"]}

    graph = StateGraph(Seen)
    graph.add_node(good)
    graph.add_node(bad)
    graph.add_node("last", lambda state: {"seen": ["last"]})
    graph.add_sequence([START, "good", "bad", "last"])
    compiled = graph.compile(checkpointer=store)
    with pytest.raises(NodeFailed):
        compiled.invoke({}, THREAD)
    broken.clear()
    assert compiled.invoke(None, THREAD) == {"seen": ["good", "bad", "last"]}
    assert calls == ["good", "bad", "bad"]


def test_a_thread_remembers_its_conversation(store: Any) -> None:
    graph = StateGraph()
    graph.add_node("chat", node_type="llm")
    graph.set_entry_point("chat")
    backend = FakeBackend(answers=["Hello, Ana!", "You are Ana."])
    compiled = graph.compile(backend=backend, checkpointer=store)
    compiled.invoke({"messages": "I am Ana."}, THREAD)
    state = compiled.invoke({"messages": "Who am I?"}, THREAD)
    assert len(backend.calls[1].messages) == 3
    assert state["messages"][1:] == [AIMessage("Hello, Ana!"), HumanMessage("Who am I?"), AIMessage("You are Ana.")]
    assert len(compiled.invoke({"messages": "Hi"}, {"thread_id": "2"} | {"backend": FakeBackend()})["messages"]) == 2


@pytest.mark.parametrize("given", [None, Command(resume="x")])
def test_where_nothing_waits_there_is_nothing_to_resume(given: Any) -> None:
    compiled = asking().compile(checkpointer=MemoryBackend())
    with pytest.raises(NothingToResume, match="no run to go on with under thread_id '1'"):
        compiled.invoke(given, THREAD)


def test_a_run_that_is_through_cannot_be_resumed() -> None:
    graph = StateGraph()
    graph.add_node("a", lambda state: {"x": 1})
    graph.set_entry_point("a")
    compiled = graph.compile(checkpointer=MemoryBackend())
    compiled.invoke({}, THREAD)
    with pytest.raises(NothingToResume, match="is through"):
        compiled.invoke(None, THREAD)


def test_a_checkpoint_comes_back_from_plain_values_as_it_was() -> None:
    pending = Pending(node="a", id="1:a", arg=({"x": 1},), triggers=("b",), answers=("yes",), question=("no?",))
    kept = Checkpoint(
        state={"messages": [HumanMessage("hi"), AIMessage("ho")], "pair": (1, 2), "send": Send("a", {"n": 1})},
        step=3,
        pending=(pending,),
        joined={"a+b->c": ["a"]},
        loops={"a": 1},
        outputs={"a": {"content": "ho"}},
        input="hi",
    )
    assert from_plain(to_plain(kept)) == kept
