"""When something goes wrong: tokens come first, errors name their node, retries say what is void, and nothing hangs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, TypedDict

import pytest

from mellea_like import (
    Answer,
    BackendUnavailable,
    FakeBackend,
    InvalidArgument,
    MelleaSession,
    UnknownName,
)
from mellea_like.errors import GraphInvalid, InvalidUpdate, NodeFailed, NodeTimeout
from mellea_like.graph.building import StateGraph
from mellea_like.graph.retrying import RetryPolicy
from mellea_like.graph.spec import START

State = dict[str, Any]
GONE = BackendUnavailable("The server went away.")


def one(node: Any, **config: Any) -> StateGraph:
    graph = StateGraph()
    graph.add_node("node", node, **config)
    graph.set_entry_point("node")
    return graph


def read(reader: Any) -> tuple[list[Any], BaseException | None]:
    """Read to the end; return what came, and the error."""
    came: list[Any] = []
    try:
        for item in reader:
            came.append(item)  # noqa: PERF402
    except Exception as error:
        return came, error
    return came, None


def boom(state: State) -> State:
    raise ValueError("boom")


def test_what_a_node_raises_fails_the_run_with_the_nodes_name_and_the_cause() -> None:
    _, error = read(one(boom).compile().stream({}))
    assert isinstance(error, NodeFailed)
    assert (str(error), error.node) == ("Node 'node' failed: ValueError: boom", "node")
    assert isinstance(error.raised, ValueError)


@pytest.mark.parametrize("mode", ["messages", "events", "values", "updates", "custom", "tasks", "debug"])
def test_every_mode_ends_with_the_error(mode: str) -> None:
    assert isinstance(read(one(boom).compile().stream({}, stream_mode=mode))[1], NodeFailed)


def test_every_token_comes_before_the_error_that_followed_it() -> None:
    backend = FakeBackend(answers=Answer(["Once ", "upon ", GONE]))
    came, error = read(one(None, node_type="llm").compile(backend=backend).stream("hi", stream_mode="messages"))
    assert [chunk.content for _, chunk in came] == ["Once ", "upon "]
    assert isinstance(error, NodeFailed)
    assert isinstance(error.raised, BackendUnavailable)


def test_tokens_of_a_generation_that_goes_on_come_before_the_nodes_own_error(
    fake: Callable[..., MelleaSession],
) -> None:
    m = fake("one two three")

    def node(state: State) -> State:
        m.instruct("count")
        raise ValueError("afterwards")

    came, error = read(one(node).compile().stream({}, stream_mode="messages"))
    assert "".join(chunk.content for _, chunk in came) == "one two three"
    assert isinstance(error, NodeFailed)


def test_the_events_tell_the_failure_and_end_with_it() -> None:
    came, _ = read(one(boom).compile().stream({}, stream_mode="events"))
    assert [event.type for event in came] == ["execution_start", "node_start", "node_error", "execution_error"]
    assert repr(came[2].error) == "ValueError('boom')"


def test_what_a_sibling_has_written_stays_visible() -> None:
    written = threading.Event()

    def good(state: State) -> State:
        return {"good": True}

    def bad(state: State) -> State:
        assert written.wait(10)
        raise ValueError("boom")

    graph = StateGraph()
    graph.add_node(good)
    graph.add_node(bad)
    graph.add_parallel_edges(START, ["good", "bad"])
    reader = graph.compile().stream({})
    assert next(reader) == {"good": {"good": True}}
    written.set()
    assert isinstance(read(reader)[1], NodeFailed)


async def test_a_failure_stops_the_siblings() -> None:
    stopped = asyncio.Event()

    async def waits(state: State) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    async def bad(state: State) -> None:
        raise ValueError("boom")

    graph = StateGraph()
    graph.add_node(waits)
    graph.add_node(bad)
    graph.add_parallel_edges(START, ["waits", "bad"])
    with pytest.raises(NodeFailed, match="'bad'"):
        await graph.compile().ainvoke({})
    async with asyncio.timeout(10):
        await stopped.wait()


def test_a_retried_node_says_which_events_are_void_and_its_tokens_carry_their_attempt() -> None:
    backend = FakeBackend(answers=[Answer(["Once ", GONE]), "Upon a time"])
    graph = one(None, node_type="llm", retry=RetryPolicy(initial_interval=0))
    events = list(graph.compile(backend=backend).stream("hi", stream_mode="events"))
    retry = next(event for event in events if event.type == "node_retry")
    assert [event.type for event in events[: retry.seq + 2]] == [
        *["execution_start", "node_start", "message_start", "token", "message_complete", "node_error", "node_retry"],
        "node_start",
    ]
    kept = [e.content for e in events if e.type == "token" and not retry.discard_from_seq <= e.seq < retry.seq]
    assert "".join(kept) == "Upon a time"
    assert [event.attempt for event in events if event.type == "token"] == [1, 2, 2, 2]


def test_a_node_is_tried_as_often_as_its_policy_says() -> None:
    calls: list[int] = []

    def flaky(state: State) -> State:
        calls.append(1)
        raise ConnectionError("no")

    for retry in (2, {"max_retries": 1, "delay": 0.0}, RetryPolicy(max_attempts=2, initial_interval=0)):
        calls.clear()
        if retry == 2:
            retry = RetryPolicy(max_attempts=2, initial_interval=0)
        assert isinstance(read(one(flaky, retry=retry).compile().stream({}))[1], NodeFailed)
        assert len(calls) == 2


def test_only_errors_that_are_worth_it_are_tried_again() -> None:
    calls: list[int] = []

    def wrong(state: State) -> State:
        calls.append(1)
        raise KeyError("x")

    policy = RetryPolicy(retry_on=ConnectionError, initial_interval=0)
    assert isinstance(read(one(wrong, retry=policy).compile().stream({}))[1], NodeFailed)
    assert len(calls) == 1


def test_whether_an_error_is_worth_it_is_asked_where_other_code_of_the_users_runs() -> None:
    threads: list[str] = []

    def worth_it(error: BaseException) -> bool:
        threads.append(threading.current_thread().name)
        return False

    with pytest.raises(NodeFailed):
        one(boom, retry=RetryPolicy(retry_on=worth_it)).compile().invoke({})
    assert threads
    assert "mellea-like" not in threads


def test_where_that_cannot_be_said_the_node_failed_with_its_own_error() -> None:
    def worth_it(error: BaseException) -> bool:
        raise KeyError("which?")

    with pytest.raises(NodeFailed, match="boom") as raised:
        one(boom, retry=RetryPolicy(retry_on=worth_it)).compile().invoke({})
    assert any("KeyError('which?')" in note for note in raised.value.raised.__notes__)


def test_waits_have_a_longest_however_many_attempts_there_were() -> None:
    policy = RetryPolicy(max_attempts=5000, max_interval=3, jitter=False)
    assert {policy.delay(attempt, OSError()) for attempt in (10, 1025, 4000)} == {3}


@pytest.mark.parametrize("timeout", [0, -1, float("nan")])
def test_a_timeout_that_nothing_could_keep_is_refused(timeout: float) -> None:
    with pytest.raises(InvalidArgument, match="timeout of 'node'"):
        one(boom, timeout=timeout)


def test_a_node_that_takes_too_long_is_stopped() -> None:
    async def waits(state: State) -> None:
        await asyncio.Event().wait()

    _, error = read(one(waits, timeout=0.02).compile().stream({}))
    assert isinstance(error, NodeTimeout)
    assert "Node 'node' took longer than its timeout of 0.02 s." in str(error)


class Known(TypedDict, total=False):
    name: str


@pytest.mark.parametrize(
    ("result", "words"),
    [({"nmae": 1}, r"no state key 'nmae'\. Did you mean 'name'"), ("text", "is no update"), (3, "is no update")],
)
def test_what_does_not_fit_the_state_is_an_error_that_lists_its_keys(result: Any, words: str) -> None:
    graph = StateGraph(Known)
    graph.add_node("node", lambda state: result)
    graph.set_entry_point("node")
    with pytest.raises(InvalidUpdate, match=words) as caught:
        graph.compile().invoke({})
    assert caught.value.node == "node"


def test_an_input_with_an_unknown_key_is_an_error() -> None:
    graph = StateGraph(Known)
    graph.add_node("node", lambda state: None)
    graph.set_entry_point("node")
    with pytest.raises(InvalidUpdate, match="no state key 'x'"):
        graph.compile().invoke({"x": 1})


def unknown_node(graph: StateGraph) -> None:
    graph.add_edge("a", "bb")


def no_entry(graph: StateGraph) -> None:
    pass


def circle(graph: StateGraph) -> None:
    graph.add_node("p", node_type="passthrough")
    graph.add_node("q", node_type="passthrough")
    graph.set_entry_point("p")
    graph.add_edge("p", "q")
    graph.add_edge("q", "p")


def endless_loop(graph: StateGraph) -> None:
    graph.set_entry_point("a")
    graph.add_edge("a", "a", is_loop_edge=True)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (unknown_node, r"no node 'bb'.*'a', 'b'"),
        (no_entry, r"no entry.*set_entry_point.*'a', 'b'"),
        (circle, "'p' -> 'q' -> 'p' go round for ever"),
        (endless_loop, "neither `loop_condition` nor `max_iterations`"),
    ],
)
def test_a_graph_that_cannot_work_is_refused_when_it_is_compiled(spoil: Any, words: str) -> None:
    graph = StateGraph()
    graph.add_node("a", lambda state: None)
    graph.add_node("b", lambda state: None)
    spoil(graph)
    with pytest.raises(GraphInvalid, match=words):
        graph.compile()


def test_a_node_that_nothing_leads_to_is_refused_where_no_choice_could() -> None:
    graph = StateGraph()
    graph.add_node("a", node_type="llm")
    graph.add_node("lost", node_type="llm")
    graph.set_entry_point("a")
    with pytest.raises(GraphInvalid, match="Nothing leads to 'lost'"):
        graph.compile()


def test_names_are_taken_once_and_types_exist() -> None:
    graph = StateGraph()
    graph.add_node("a", lambda state: None)
    with pytest.raises(GraphInvalid, match="'a' is taken"):
        graph.add_node("a", lambda state: None)
    with pytest.raises(GraphInvalid, match="the graph's own"):
        graph.add_node("END", lambda state: None)
    with pytest.raises(UnknownName, match=r"no node type 'lmm'. Did you mean 'llm'"):
        graph.add_node("b", node_type="lmm")


def test_a_parameter_that_nothing_is_called_is_an_error_that_lists_the_names() -> None:
    with pytest.raises(GraphInvalid, match=r"parameter 'y'.*state, input"):
        one(lambda x, y: None).compile().invoke({})


def test_limits_below_one_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="recursion_limit is 0"):
        one(boom).compile(recursion_limit=0)
    with pytest.raises(InvalidArgument, match="max_concurrency is 0"):
        one(boom).compile().invoke({}, {"max_concurrency": 0})
