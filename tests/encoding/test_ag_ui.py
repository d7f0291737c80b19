"""AG-UI's own models and its own client read what is sent: a run, closed, in any order of events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from ag_ui.core import Event as AGUIEvent
from hypothesis import given, settings
from pydantic import BaseModel, TypeAdapter

from mellea_like import (
    Answer,
    Cancelled,
    Custom,
    Delta,
    Failed,
    Finished,
    GenerationCancelled,
    MelleaError,
    Started,
    Thinking,
    ToolResult,
    Usage,
)
from mellea_like.encoding.ag_ui import AGUIEncoder
from mellea_like.graph.events import (
    ExecutionComplete,
    InterruptEvent,
    NodeComplete,
    NodeStart,
    Place,
    StateUpdate,
    Token,
)

from .block_suite import BlockEncoderSuite
from .sayings import Start, anything, at, events_of, frames_in, judged_call, stream, wish
from .test_ai_sdk import run

Read = Callable[[str, bytes], Any]
MODELS: TypeAdapter[BaseModel] = TypeAdapter(AGUIEvent)


class TestAGUI(BlockEncoderSuite):
    @pytest.fixture
    def encoder(self) -> AGUIEncoder:
        return AGUIEncoder(thread_id="t", run_id="r")


def whole(said: Sequence[Any], **options: Any) -> bytes:
    return stream(AGUIEncoder(thread_id="t", run_id="r"), said, **options)


def types(said: Sequence[Any], **options: Any) -> list[str]:
    return [frame["type"] for frame in frames_in(whole(said, **options))]


def validated(stream: bytes) -> list[Any]:
    """Validate frames with the package's models; none has a field that its model does not know."""
    models = [MODELS.validate_python(frame) for frame in frames_in(stream)]
    assert [model.model_extra for model in models if model.model_extra] == []
    return models


def test_an_answer_is_one_message(fake: Start, read_in_node: Read) -> None:
    said = events_of(fake(Answer(["Hello, ", "world!"], usage=Usage(input_tokens=3, output_tokens=2, cached_tokens=1))))
    end: Any = validated(whole(said))[-1]
    assert (end.thread_id, end.run_id, end.outcome.type) == ("t", "r", "success")
    usage = end.usage[0]
    assert (usage.model, usage.input_tokens, usage.output_tokens, usage.cached_input_tokens) == ("script", 3, 2, 1)
    told = read_in_node("ag-ui", whole(said))
    assert [(m["role"], m["content"]) for m in told["messages"]] == [("assistant", "Hello, world!")]


def test_ids_of_messages_are_of_their_run() -> None:
    ids = [
        frame["messageId"]
        for run_id in ("one", "two")
        for frame in frames_in(stream(AGUIEncoder(run_id=run_id), ["Hi"]))
        if frame["type"] == "TEXT_MESSAGE_START"
    ]
    assert len(set(ids)) == 2


def test_ids_that_nobody_gave_are_made_for_each_stream() -> None:
    encoder = AGUIEncoder(thread_id="t")
    first, second = (frames_in(one.begin())[0] for one in (encoder.fresh(), encoder.fresh()))
    assert first["threadId"] == second["threadId"] == "t"
    assert first["runId"] != second["runId"]


def test_reasoning_is_a_span_of_its_own() -> None:
    validated(whole([Thinking(text="hm"), Delta(text="Yes"), Finished()]))
    assert types([Thinking(text="hm"), Delta(text="Yes"), Finished()])[1:6] == [
        "REASONING_START",
        "REASONING_MESSAGE_START",
        "REASONING_MESSAGE_CONTENT",
        "REASONING_MESSAGE_END",
        "REASONING_END",
    ]


def test_a_tool_call_has_its_arguments_and_its_result(read_in_node: Read) -> None:
    said = [Started(), wish('{"a"', complete=False), wish(": 1}", complete=False), wish()]
    said_all = whole([*said, ToolResult(name="add", id="c1", text="2"), Delta(text="It is 2"), Finished()])
    validated(said_all)
    told = read_in_node("ag-ui", said_all)
    assert [message["role"] for message in told["messages"]] == ["assistant", "tool", "assistant"]
    assert told["messages"][0]["toolCalls"][0]["function"] == {"name": "add", "arguments": '{"a": 1}'}
    assert (told["messages"][1]["content"], told["messages"][1]["toolCallId"]) == ("2", "c1")


def test_a_judged_call_shows_the_accepted_attempt_alone(fake: Start, read_in_node: Read) -> None:
    said = whole(judged_call(fake))
    assert [message["content"] for message in read_in_node("ag-ui", said)["messages"]] == ["short"]
    customs = [(f["name"], f["value"]["attempt"]) for f in frames_in(said) if f["type"] == "CUSTOM"]
    assert customs == [
        *[("draft", 1)] * 2,
        ("verdict", 1),
        ("retried", 1),
        *[("draft", 2)] * 2,
        ("verdict", 2),
    ]


def test_a_failed_call_keeps_what_came_and_says_the_kind_of_error(fake: Start, read_in_node: Read) -> None:
    said = whole(events_of(fake(Answer(["one ", MelleaError("sk-secret")]))))
    end: Any = validated(said)[-1]
    assert (end.type, end.message, end.code) == ("RUN_ERROR", "MelleaError", "MelleaError")
    told = read_in_node("ag-ui", said)
    assert (told["messages"][0]["content"], told["errors"]) == ("one ", ["MelleaError"])


def test_a_cancelled_call_is_an_outcome() -> None:
    for end in ({"said": [Cancelled()]}, {"said": [], "broken_by": GenerationCancelled("stopped")}):
        frames = frames_in(whole([Delta(text="one"), *end.pop("said")], **end))
        assert [frame["type"] for frame in frames[-2:]] == ["TEXT_MESSAGE_END", "RUN_FINISHED"]
        assert frames[-1]["outcome"] == {"type": "cancelled"}


def test_events_without_an_end_have_failed_and_text_alone_has_not() -> None:
    assert frames_in(whole([Delta(text="one")]))[-1]["code"] == "Truncated"
    assert types(["one"])[-1] == "RUN_FINISHED"


def test_nodes_are_steps(read_in_node: Read) -> None:
    validated(whole(run()))
    steps = [(f["type"], f["stepName"]) for f in frames_in(whole(run())) if f["type"].startswith("STEP_")]
    assert steps == [
        ("STEP_STARTED", "poet"),
        ("STEP_STARTED", "critic"),
        ("STEP_FINISHED", "critic"),
        ("STEP_FINISHED", "poet"),
        ("STEP_STARTED", "poet"),
        ("STEP_FINISHED", "poet"),
    ]
    told = read_in_node("ag-ui", whole(run()))
    assert [message["content"] for message in told["messages"]] == ["Roses", "Nice", "Tulips"]
    assert told["state"] == {"poem": "Tulips"}


def test_one_node_at_work_twice_is_two_steps(read_in_node: Read) -> None:
    started = [NodeStart(place=at("work"), task=task) for task in ("1", "2")]
    done = [NodeComplete(place=at("work"), task=task) for task in ("1", "2")]
    said = whole([*started, *done, ExecutionComplete()])
    steps = [f["stepName"] for f in frames_in(said) if f["type"].startswith("STEP_")]
    assert steps == ["work", "work (2)"] * 2
    assert "thrown" not in read_in_node("ag-ui", said)


def test_a_node_that_is_tried_again_says_which_messages_are_void(read_in_node: Read) -> None:
    [retried] = [f["value"] for f in frames_in(whole(run())) if f.get("name") == "retried"]
    messages = read_in_node("ag-ui", whole(run()))["messages"]
    assert [message["content"] for message in messages if message["id"] in retried["void"]] == ["Roses"]


def test_the_state_of_a_subgraph_does_not_replace_the_graphs(read_in_node: Read) -> None:
    said = [StateUpdate(state={"a": 1}), StateUpdate(place=Place(ns=("sub",)), state={"b": 2}), ExecutionComplete()]
    assert read_in_node("ag-ui", whole(said))["state"] == {"a": 1}


def test_a_run_that_waits_ends_with_its_questions(read_in_node: Read) -> None:
    asked = InterruptEvent(place=at("ask"), id="i1", value="Who?")
    said = whole([asked, ExecutionComplete(interrupts=(asked,))])
    validated(said)
    outcome = read_in_node("ag-ui", said)["outcome"]
    assert outcome["type"] == "interrupt"
    assert (outcome["interrupts"][0]["id"], outcome["interrupts"][0]["message"]) == ("i1", "Who?")


def test_the_parsed_answer_is_the_result() -> None:
    assert frames_in(whole([Finished(parsed={"a": 1})]))[-1]["result"] == {"a": 1}


def test_custom_events_keep_their_names() -> None:
    frames = frames_in(whole([Custom(name="weather", payload={"c": 20}), Finished()]))
    assert {"type": "CUSTOM", "name": "weather", "value": {"c": 20}} in frames


def test_a_failure_ends_the_run() -> None:
    said = [Token(place=at("poet", "t1"), content="x"), Failed(error=MelleaError()), Delta(text="late")]
    assert types(said)[-1] == "RUN_ERROR"


@given(anything)
def test_whatever_is_said_the_models_know_it(said: Sequence[Any]) -> None:
    ends = [model.type for model in validated(whole(said)) if model.type in {"RUN_FINISHED", "RUN_ERROR"}]
    assert len(ends) == 1


@settings(max_examples=30, deadline=None)
@given(anything)
def test_the_real_client_verifies_whatever_is_said(read_in_node: Read, said: Sequence[Any]) -> None:
    told = read_in_node("ag-ui", whole(said))
    assert "thrown" not in told, told["thrown"]
    assert set(told["errors"]) <= {"MelleaError", "ValueError", "Truncated"}


def test_the_real_client_refuses_what_is_wrong(read_in_node: Read) -> None:
    cut = whole(["Hi"]).replace(b"TEXT_MESSAGE_END", b"TEXT_MESSAGE_START")
    assert "thrown" in read_in_node("ag-ui", cut)
