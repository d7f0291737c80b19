"""What a graph's run looks like on a page and as its `repr`: what its nodes say, then what it came to."""

from __future__ import annotations

import asyncio
import re
from itertools import islice, pairwise
from typing import Any

import pytest
from markdown_it import MarkdownIt

from mellea_like import (
    Answer,
    BackendUnavailable,
    CompiledGraph,
    FakeBackend,
    Gate,
    GraphRun,
    MemoryBackend,
    StateGraph,
    Thinking,
    ToolCallEvent,
    check,
    interrupt,
    simple_validate,
    start_session,
)


def graph(*nodes: Any, **compiled: Any) -> CompiledGraph:
    """Build a graph of nodes one after the other: functions, or the names of model nodes."""
    built = StateGraph()
    for node in nodes:
        built.add_node(node, node_type="llm") if isinstance(node, str) else built.add_node(node)
    names = [node if isinstance(node, str) else node.__name__ for node in nodes]
    built.set_entry_point(names[0])
    for source, target in pairwise(names):
        built.add_edge(source, target)
    return built.compile(**compiled)


def said_by(run: GraphRun, pieces: int) -> None:
    """Wait until a run has said so many pieces of text."""
    tokens = (event for event in run.events() if event.type == "token")
    assert len(list(islice(tokens, pieces))) == pieces


def test_a_run_shows_nodes_of_subgraphs_by_their_way_and_tool_calls_and_thoughts() -> None:
    gate = Gate()
    call = ToolCallEvent(name="look", arguments='{"at": "<b>"}', complete=True)
    steps = [Thinking(text="hm"), call, gate]
    inner = graph("poet", name="inner")
    outer = StateGraph()
    outer.add_node("sub", inner)
    outer.set_entry_point("sub")
    run = outer.compile(backend=FakeBackend(answers=Answer(steps))).start("go")
    next(event for event in run.events() if event.type == "tool_call_start")
    drawn = run._repr_html_()
    assert "<em>sub / poet</em>" in drawn
    assert "tool call: look({&quot;at&quot;: &quot;&lt;b&gt;&quot;})" in drawn
    assert "<em>thinking</em>: hm" in drawn
    assert repr(run) == "<GraphRun running: at 'sub / poet'>"
    run.close()


def test_a_judged_node_shows_its_attempts_as_they_come_and_go() -> None:
    gate = Gate()
    short = check("short", simple_validate(lambda text: len(text) < 9, reason="It is too long."))
    with start_session("fake", answers=[Answer(["much too", " long"]), Answer(["sho", gate, "rt"])]) as m:

        def judged(state: dict[str, Any]) -> Any:
            return {"text": m.instruct("go", requirements=[short], await_result=False)}

        run = graph(judged).start({})
        next(event for event in run.events() if event.type == "draft" and event.draft == 2)
        drawn = run._repr_html_()
        assert "attempt 1, given up: " in drawn
        assert drawn.endswith('<div style="white-space: pre-wrap">sho</div>')
        assert "sho" not in run._picture(events=False).live_html()
        gate.open()
        assert run.result()._repr_html_().count("short") == 1


def test_what_a_node_says_that_is_tried_again_is_gone() -> None:
    tries = iter([Answer(["first", BackendUnavailable("gone")]), Answer(["second", Gate()])])
    built = StateGraph()
    built.add_node("poet", node_type="llm", retry={"max_retries": 1, "delay": 0})
    built.set_entry_point("poet")
    run = built.compile(backend=FakeBackend(answers=lambda request: next(tries))).start("go")
    said_by(run, 2)
    assert re.sub("<[^>]*>", "", run._repr_html_()) == "poetsecond"
    run.close()


def test_a_run_that_failed_shows_what_was_being_said_its_state_and_its_error() -> None:
    def count(state: dict[str, Any]) -> Any:
        return {"n": [1, 2]}

    backend = FakeBackend(answers=Answer(["some <b>", BackendUnavailable("gone")]))
    run = graph(count, "poet", backend=backend).start("go")
    asyncio.run(run.ended())
    line = "NodeFailed: Node 'poet' failed: BackendUnavailable: gone"
    assert repr(run) == f"<GraphRun failed: {line}; state: 'input', 'n'>"
    drawn = MarkdownIt("commonmark").render(run._repr_markdown_())
    assert "<em>poet, unfinished</em></p>\n<p>some &lt;b&gt;" in drawn
    assert "<code>[1, 2]\n</code>" in drawn
    assert f"<em>✗ {line}</em>" in drawn
    assert "unfinished</th>" in run._repr_html_()


def test_a_run_that_was_cancelled_shows_what_came() -> None:
    run = graph("poet", backend=FakeBackend(answers=Answer(["some", Gate()]))).start("go")
    said_by(run, 1)
    run.close()
    assert repr(run) == "<GraphRun cancelled: state: 'input'>"
    assert run._repr_markdown_() == "**input**\n\ngo\n\n*poet&#44; unfinished*\n\nsome\n\n*cancelled*"


def test_a_run_that_waits_shows_its_question() -> None:
    def ask(state: dict[str, Any]) -> Any:
        return {"name": interrupt("Who is <there>?")}

    run = graph(ask, checkpointer=MemoryBackend()).start({}, {"thread_id": "1"}).result()
    assert repr(run) == (
        "<ComputedGraphRun finished: waits for an answer to 'Who is <there>?': Command(resume=…); state: empty>"
    )
    assert "waits for an answer to &#x27;Who is &lt;there&gt;?&#x27;" in run._repr_html_()
    assert [asked.value for asked in run.interrupts] == ["Who is <there>?"]


def test_messages_of_a_state_are_drawn_with_their_roles() -> None:
    run = graph("poet", backend=FakeBackend(answers="**yes**")).start({"messages": [("user", "Go <b>.")]}).result()
    drawn = MarkdownIt("commonmark").render(run._repr_markdown_())
    assert "<strong>user</strong></p>\n<p>Go &lt;b&gt;.</p>\n<p><strong>assistant</strong>" in drawn
    assert "assistant: **yes**" in run._repr_html_()


@pytest.mark.parametrize("state", [{}, {"_own": 1}])
def test_no_run_is_an_empty_cell(state: dict[str, Any]) -> None:
    def nothing(state: dict[str, Any]) -> None:
        pass

    assert graph(nothing).start(state).result()._repr_markdown_() == "*the state is empty*"


def test_of_a_long_run_the_end_is_drawn() -> None:
    gate = Gate()
    answers = (Answer([f"{n} ", "x" * 9000] if n < 40 else ["last", gate]) for n in range(41))

    def talk(state: dict[str, Any]) -> Any:
        return {"n": [m.instruct("go").value for _ in range(41)][-1]}

    with start_session("fake", answers=lambda request: next(answers)) as m:
        run = graph(talk).start({})
        said_by(run, 81)
        drawn = run._repr_html_()
        assert drawn.startswith('<div style="opacity: 0.6">… and 21 before</div>')
        assert drawn.endswith("last</div>")
        assert len(drawn) < 15_000
        gate.open()
        run.result()
