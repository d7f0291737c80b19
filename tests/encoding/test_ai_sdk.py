"""The AI SDK's own client reads what is sent: every part of an answer, closed, in any order of events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings

from mellea_like import (
    Answer,
    Cancelled,
    Custom,
    Delta,
    FakeBackend,
    Finished,
    GenerationCancelled,
    MelleaError,
    Retried,
    Started,
    Thinking,
    ToolResult,
)
from mellea_like.encoding.ai_sdk import AISDKEncoder
from mellea_like.events import Event
from mellea_like.graph.building import StateGraph
from mellea_like.graph.events import (
    ExecutionComplete,
    InterruptEvent,
    MessageComplete,
    MessageStart,
    NodeComplete,
    NodeError,
    NodeRetry,
    NodeStart,
    StateUpdate,
    Token,
)

from .block_suite import BlockEncoderSuite
from .sayings import Held, Start, anything, at, events_of, frames_in, judged_call, numbered, stream, wish

Read = Callable[[str, bytes], Any]


class TestAISDK(BlockEncoderSuite):
    @pytest.fixture
    def encoder(self) -> AISDKEncoder:
        return AISDKEncoder()


def types(said: Sequence[Any], **options: Any) -> list[str]:
    return [frame["type"] for frame in frames_in(stream(AISDKEncoder(), said, **options))]


def parts(said: Sequence[Any]) -> list[tuple[str, str]]:
    """Return which text is shown, in which block, as the frames have it."""
    found: dict[str, str] = {}
    for frame in frames_in(stream(AISDKEncoder(), said)):
        if frame["type"].endswith("-delta") and "id" in frame:
            found[frame["id"]] = found.get(frame["id"], "") + frame["delta"]
    return [(block.partition("-")[0], text) for block, text in found.items()]


def shown(message: Any, kind: str) -> list[Any]:
    return [part for part in message["parts"] if part["type"] == kind]


def test_the_header_says_which_version_it_is() -> None:
    assert AISDKEncoder().headers["x-vercel-ai-ui-message-stream"] == "v1"
    assert AISDKEncoder().headers["X-Accel-Buffering"] == "no"


def test_an_answer_is_one_text_part(fake: Start, read_in_node: Read) -> None:
    told = read_in_node("ai-sdk", stream(AISDKEncoder(message_id="m1"), events_of(fake("Hello, world!"))))
    assert told["message"]["id"] == "m1"
    assert [(part["text"], part["state"]) for part in shown(told["message"], "text")] == [("Hello, world!", "done")]
    assert told["message"]["metadata"]["usage"]["outputTokens"] == 2
    assert told["chunks"][-1]["finishReason"] == "stop"
    assert told["errors"] == []


def test_done_is_last(fake: Start) -> None:
    assert stream(AISDKEncoder(), events_of(fake("Hi"))).endswith(b"data: [DONE]\n\n")


def test_each_delta_goes_out_with_its_event() -> None:
    encoder = AISDKEncoder()
    encoder.encode(Delta(text="a", seq=0), 0)
    assert frames_in(encoder.encode(Delta(text="b", seq=1), 1)) == [
        {"type": "text-delta", "id": "text-1", "delta": "b"}
    ]


def test_reasoning_and_text_are_parts_of_their_own(read_in_node: Read) -> None:
    said = [Thinking(text="hm"), Thinking(text="!"), Delta(text="Yes"), Thinking(text="no"), Finished()]
    message = read_in_node("ai-sdk", stream(AISDKEncoder(), said))["message"]
    assert [(part["type"], part["text"], part["state"]) for part in message["parts"]] == [
        ("reasoning", "hm!", "done"),
        ("text", "Yes", "done"),
        ("reasoning", "no", "done"),
    ]


def test_a_tool_call_streams_and_has_its_result(read_in_node: Read) -> None:
    pieces = [wish('{"a"', complete=False), wish(": 1}", complete=False, id=None, name=None), wish()]
    said = [Started(), *pieces, ToolResult(name="add", id="c1", text="2"), Started(), Delta(text="It is 2"), Finished()]
    told = read_in_node("ai-sdk", stream(AISDKEncoder(), said))
    assert [part["type"] for part in told["message"]["parts"]] == ["step-start", "tool-add", "step-start", "text"]
    [part] = shown(told["message"], "tool-add")
    assert (part["state"], part["input"], part["output"]) == ("output-available", {"a": 1}, "2")
    assert [c["inputTextDelta"] for c in told["chunks"] if c["type"] == "tool-input-delta"] == ['{"a"', ": 1}"]


def test_a_tool_that_failed_says_what_the_model_is_told(read_in_node: Read) -> None:
    said = [wish(), ToolResult(name="add", id="c1", text="no such city", ok=False), Finished()]
    [part] = shown(read_in_node("ai-sdk", stream(AISDKEncoder(), said))["message"], "tool-add")
    assert (part["state"], part["errorText"]) == ("output-error", "no such city")


@pytest.mark.parametrize(("arguments", "complete"), [("not json", True), ('{"a": ', False)])
def test_a_call_that_cannot_be_read_is_an_error_part(read_in_node: Read, arguments: str, complete: bool) -> None:
    said = [wish(arguments, complete=complete), Finished()]
    [part] = shown(read_in_node("ai-sdk", stream(AISDKEncoder(), said))["message"], "tool-add")
    assert (part["state"], part["rawInput"]) == ("output-error", arguments)


def test_calls_with_one_id_or_none_are_told_apart(read_in_node: Read) -> None:
    said = [wish(id="x"), wish(id="x"), wish(id=None), ToolResult(name="add", text="3"), Finished()]
    found = shown(read_in_node("ai-sdk", stream(AISDKEncoder(), said))["message"], "tool-add")
    assert len({part["toolCallId"] for part in found}) == 3
    assert [part["state"] for part in found].count("output-available") == 1


def test_a_judged_call_shows_the_accepted_attempt_alone(fake: Start, read_in_node: Read) -> None:
    told = read_in_node("ai-sdk", stream(AISDKEncoder(), judged_call(fake)))
    assert [part["text"] for part in shown(told["message"], "text")] == ["short"]
    verdicts = [(part["data"]["attempt"], part["data"]["passed"]) for part in shown(told["message"], "data-verdict")]
    assert verdicts == [(1, False), (2, True)]
    assert [part["data"]["attempt"] for part in shown(told["message"], "data-retried")] == [1]


def test_the_attempts_of_a_judged_call_are_live_and_pass(fake: Start) -> None:
    drafts = [f for f in frames_in(stream(AISDKEncoder(), judged_call(fake))) if f["type"] == "data-draft"]
    assert [(f["data"]["attempt"], f["data"]["delta"]) for f in drafts] == [
        (1, "too "),
        (1, "long"),
        (2, "sh"),
        (2, "ort"),
    ]
    assert all(draft["transient"] for draft in drafts)


def test_an_attempt_that_was_given_up_and_is_kept_all_the_same_is_shown() -> None:
    said = [Held(), Delta(text="one"), Retried(void=1, reason=""), Held(attempt=2), Delta(text="two", attempt=2)]
    assert parts([*said, Finished(attempt=1)]) == [("text", "one")]


def test_a_held_tool_call_is_shown_when_it_is_accepted_or_carried_out() -> None:
    said: list[Event] = [Held(), wish(), ToolResult(name="add", id="c1", text="2")]
    said += [Held(attempt=2), wish(id="void", attempt=2), Retried(void=2, reason="")]
    said += [Held(attempt=3), wish(id="c3", attempt=3), Finished(attempt=3)]
    frames = frames_in(stream(AISDKEncoder(), said))
    wished = [(f["toolCallId"], f["input"]) for f in frames if f["type"] == "tool-input-available"]
    assert wished == [("c1", {"a": 1}), ("c3", {"a": 1})]


def test_a_failed_call_keeps_what_came_and_says_the_kind_of_error(fake: Start, read_in_node: Read) -> None:
    said = events_of(fake(Answer(["one ", MelleaError("sk-secret")])))
    told = read_in_node("ai-sdk", stream(AISDKEncoder(), said))
    assert [(part["text"], part["state"]) for part in shown(told["message"], "text")] == [("one ", "done")]
    assert told["errors"] == ["MelleaError"]


def test_a_cancelled_call_is_an_abort() -> None:
    said = [Started(), Delta(text="one"), Cancelled()]
    ends = ["text-end", "finish-step", "abort"]
    assert types(said)[-3:] == ends
    assert types(said, broken_by=GenerationCancelled("stopped"))[-3:] == ends
    assert types(said[:-1], broken_by=GenerationCancelled("stopped"))[-3:] == ends


def test_events_without_an_end_have_failed_and_text_alone_has_not() -> None:
    frames = frames_in(stream(AISDKEncoder(), [Delta(text="one")]))
    assert [(f["type"], f.get("errorText")) for f in frames[-3:-1]] == [("text-end", None), ("error", "Truncated")]
    assert types(["one ", "two"])[-1] == "finish"
    assert "error" not in types(["one ", "two"])


def test_custom_events_are_parts_under_their_names() -> None:
    frames = frames_in(stream(AISDKEncoder(), [Custom(name="weather", payload={"c": 20}), Finished()]))
    assert {"type": "data-weather", "data": {"c": 20}} in frames


def run() -> list[Event]:
    """A run of two nodes side by side, one of which is tried again."""
    poet, critic = at("poet", "t1"), at("critic", "t2")
    return numbered(
        [
            NodeStart(place=at("poet"), task="1"),
            NodeStart(place=at("critic"), task="2"),
            MessageStart(place=poet),
            MessageStart(place=critic),
            Token(place=poet, content="Ro"),
            Token(place=critic, content="Ni"),
            Token(place=poet, content="ses"),
            Token(place=critic, content="ce"),
            MessageComplete(place=critic),
            NodeComplete(place=at("critic"), task="2"),
            NodeError(place=at("poet"), task="1", error=MelleaError("x"), will_retry=True),
            NodeRetry(place=at("poet"), task="1", discard_from_seq=4),
            NodeStart(place=at("poet"), task="1"),
            MessageStart(place=at("poet", "t3")),
            Token(place=at("poet", "t3"), content="Tulips"),
            MessageComplete(place=at("poet", "t3")),
            NodeComplete(place=at("poet"), task="1"),
            StateUpdate(state={"poem": "Tulips"}, step=1),
            ExecutionComplete(),
        ]
    )


def test_the_texts_of_two_nodes_do_not_mix(read_in_node: Read) -> None:
    found = shown(read_in_node("ai-sdk", stream(AISDKEncoder(), run()))["message"], "text")
    told = [(part["providerMetadata"]["mellea_like"]["node"], part["text"], part["state"]) for part in found]
    assert told == [("poet", "Roses", "done"), ("critic", "Nice", "done"), ("poet", "Tulips", "done")]


def test_a_node_that_is_tried_again_says_which_blocks_are_void(read_in_node: Read) -> None:
    message = read_in_node("ai-sdk", stream(AISDKEncoder(), run()))["message"]
    [retried] = shown(message, "data-retried")
    texts = {part["providerMetadata"]["mellea_like"]["id"]: part["text"] for part in shown(message, "text")}
    assert [texts[block] for block in retried["data"]["void"]] == ["Roses"]


def test_what_a_node_said_before_stays_where_it_is_tried_again() -> None:
    said = numbered([Token(place=at("poet", "t1"), content="kept"), Token(place=at("poet", "t2"), content="void")])
    said.append(NodeRetry(place=at("poet"), discard_from_seq=1, seq=2))
    [retried] = [f for f in frames_in(stream(AISDKEncoder(), said)) if f["type"] == "data-retried"]
    assert retried["data"]["void"] == ["text-2"]


def test_nodes_and_state_are_parts_that_change(read_in_node: Read) -> None:
    message = read_in_node("ai-sdk", stream(AISDKEncoder(), run()))["message"]
    statuses = {part["data"]["node"]: part["data"]["status"] for part in shown(message, "data-node")}
    assert (statuses, len(shown(message, "data-node"))) == ({"poet": "done", "critic": "done"}, 2)
    assert shown(message, "data-state")[0]["data"] == {"poem": "Tulips"}


async def test_a_real_run_is_read(read_in_node: Read) -> None:
    graph = StateGraph()
    graph.add_node("poet", node_type="llm")
    graph.set_entry_point("poet")
    compiled = graph.compile(backend=FakeBackend(answers="Roses are red."))
    said = [event async for event in compiled.astream("A poem.", stream_mode="events")]
    told = read_in_node("ai-sdk", stream(AISDKEncoder(), said))
    assert [part["text"] for part in shown(told["message"], "text")] == ["Roses are red."]
    assert (told["chunks"][-1]["type"], told["errors"]) == ("finish", [])


def test_a_question_is_a_part(read_in_node: Read) -> None:
    said = [InterruptEvent(place=at("ask"), id="i1", value="Who?"), ExecutionComplete()]
    [part] = shown(read_in_node("ai-sdk", stream(AISDKEncoder(), said))["message"], "data-interrupt")
    assert part["data"] == {"id": "i1", "value": "Who?", "node": "ask"}


@given(anything)
def test_whatever_is_said_everything_is_closed(said: Sequence[Any]) -> None:
    open_now: set[str] = set()
    calls: dict[str, str] = {}
    frames = frames_in(stream(AISDKEncoder(), said))
    for frame in frames:
        kind, _, what = frame["type"].rpartition("-")
        if kind in {"text", "reasoning"}:
            assert (frame["id"] in open_now) == (what != "start")
            (open_now.add if what == "start" else open_now.discard if what == "end" else id)(frame["id"])
        elif kind == "tool-input":
            assert calls.get(frame["toolCallId"], "none") == ("none" if what == "start" else "open")
            calls[frame["toolCallId"]] = "open" if what in {"start", "delta"} else "closed"
        elif kind == "tool-output":
            assert calls[frame["toolCallId"]] == "closed"
    assert not open_now
    assert "open" not in calls.values()
    told = [frame["type"] for frame in frames]
    assert told.count("start-step") == told.count("finish-step")
    assert told[-1] in {"finish", "abort"}
    assert told.count("finish") + told.count("abort") == 1


@given(anything)
def test_text_that_is_said_is_shown(said: Sequence[Any]) -> None:
    said = [one for one in said if isinstance(one, str | Delta | Thinking | Retried | Custom)]
    texts = [one if isinstance(one, str) else one.text for one in said if isinstance(one, str | Delta)]
    found = "".join(
        frame["delta"] for frame in frames_in(stream(AISDKEncoder(), said)) if frame["type"] == "text-delta"
    )
    assert found == "".join(texts).replace("\ud83c", "\ufffd")


@settings(max_examples=30, deadline=None)
@given(anything)
def test_the_real_client_reads_whatever_is_said(read_in_node: Read, said: Sequence[Any]) -> None:
    told = read_in_node("ai-sdk", stream(AISDKEncoder(), said))
    assert "thrown" not in told, told["thrown"]
    assert [error for error in told["errors"] if error not in {"MelleaError", "ValueError", "Truncated"}] == []
    parts = (told["message"] or {"parts": []})["parts"]
    assert [part for part in parts if "streaming" in part.get("state", "")] == []


@pytest.mark.parametrize("frame", ['{"type":"text-delta","id":"1","delta":"x"}', '{"type":"text-start"}'])
def test_the_real_client_refuses_what_is_wrong(read_in_node: Read, frame: str) -> None:
    assert read_in_node("ai-sdk", f"data: {frame}\n\n".encode())["errors"]
