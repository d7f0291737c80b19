"""OpenAI's own models read what is sent: numbered events, items opened and closed, and a response that holds them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from openai.types.responses import ResponseStreamEvent
from pydantic import BaseModel, TypeAdapter

from mellea_like import (
    Answer,
    Cancelled,
    Delta,
    Failed,
    Finished,
    GenerationCancelled,
    MelleaError,
    OpenAIResponseEncoder,
    RateLimited,
    Retried,
    Thinking,
    ToolResult,
    Usage,
)
from mellea_like.graph.events import NodeRetry, Token, ToolCallComplete, ToolCallStart

from .block_suite import BlockEncoderSuite
from .reading import by_client
from .sayings import Held, Start, anything, at, events_of, frames_in, judged_call, numbered, stream, wish
from .suite import SECRET

MODELS: TypeAdapter[BaseModel] = TypeAdapter(ResponseStreamEvent)
ENDS = {"response.completed", "response.incomplete", "response.failed"}
BESIDES = {"error": {"error"}, "response.function_call_arguments.done": {"name"}}
"""Fields that OpenAI sends, too, though its models do not know them."""


def encoder_of(**settings: Any) -> OpenAIResponseEncoder:
    return OpenAIResponseEncoder(**{"model": "m", "id": "resp_1", "created": 7, **settings})


class TestOpenAIResponses(BlockEncoderSuite):
    @pytest.fixture
    def encoder(self) -> OpenAIResponseEncoder:
        return encoder_of()

    def test_an_error_says_what_it_is_told_to(self, encoder: Any) -> None:
        assert SECRET.encode() in encoder_of(error_text=str).fail(MelleaError(SECRET), 0)


def whole(said: Sequence[Any], **options: Any) -> list[Any]:
    """Encode what is said, and check what is true of every stream of this format."""
    sent = stream(encoder_of(), said, **options)
    frames = frames_in(sent)
    assert [event.event for event in by_client(sent)] == [frame["type"] for frame in frames]
    assert [frame["sequence_number"] for frame in frames] == list(range(len(frames)))
    for frame in frames:
        assert set(MODELS.validate_python(frame).model_extra or ()) <= BESIDES.get(frame["type"], set())
    return frames


def types(frames: Sequence[Any]) -> list[str]:
    return [frame["type"].removeprefix("response.") for frame in frames]


def output(frames: Sequence[Any]) -> list[tuple[str, str, str]]:
    """List the items of the response in which a stream ends: type, status and text."""
    found = []
    for item in frames[-1]["response"]["output"]:
        text = item["arguments"] if item["type"] == "function_call" else item["content"][0]["text"]
        found.append((item["type"], item["status"], text))
    return found


@settings(deadline=None)
@given(anything)
def test_in_any_order_of_events_every_item_is_opened_grows_and_is_closed_once(said: Sequence[Any]) -> None:
    frames = whole(said)
    growing: dict[str, str] = {}
    closed: dict[str, Any] = {}
    for frame in frames:
        kind = frame["type"]
        if kind == "response.output_item.added":
            assert frame["output_index"] == len(growing) + len(closed)
            growing[frame["item"]["id"]] = ""
        elif kind.endswith(".delta"):
            growing[frame["item_id"]] += frame["delta"]
        elif kind.endswith(("_text.done", "arguments.done")):
            assert growing[frame["item_id"]] == frame.get("text", frame.get("arguments"))
        elif kind == "response.output_item.done":
            text, item = growing.pop(frame["item"]["id"]), frame["item"]
            assert text == (item["arguments"] if "arguments" in item else item["content"][0]["text"])
            closed[item["id"]] = item
    assert growing == {}
    assert types(frames)[:2] == ["created", "in_progress"]
    assert [index for index, frame in enumerate(frames) if frame["type"] in ENDS] == [len(frames) - 1]
    assert all(closed[item["id"]] == item for item in frames[-1]["response"]["output"])


def test_an_answer_is_a_message_of_one_part(fake: Start) -> None:
    usage = Usage(input_tokens=3, output_tokens=2, cached_tokens=1)
    frames = whole(events_of(fake(Answer(["Hello, ", "world!"], usage=usage))))
    assert types(frames) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert output(frames) == [("message", "completed", "Hello, world!")]
    end = frames[-1]["response"]
    assert (end["id"], end["created_at"], end["model"], end["status"], end["store"]) == (
        *("resp_1", 7, "m"),
        *("completed", False),
    )
    told = end["usage"]
    assert (told["input_tokens"], told["output_tokens"], told["total_tokens"]) == (3, 2, 5)
    assert told["input_tokens_details"]["cached_tokens"] == 1


def test_the_response_alone_is_what_the_stream_ends_with(fake: Start) -> None:
    encoder = encoder_of()
    sent = stream(encoder, events_of(fake("Hello!")))
    assert encoder.response == frames_in(sent)[-1]["response"]


def test_a_response_repeats_its_request() -> None:
    encoder = encoder_of(echo={"instructions": "Be brief.", "metadata": {"a": "b"}})
    for one in (encoder, encoder.fresh()):
        told = frames_in(one.begin())[0]["response"]
        assert (told["instructions"], told["metadata"], told["tools"]) == ("Be brief.", {"a": "b"}, [])


def test_an_id_that_nobody_gave_is_made_for_each_stream() -> None:
    encoder = OpenAIResponseEncoder(model="m")
    assert encoder.fresh().response["id"] != encoder.fresh().response["id"]
    assert encoder_of().fresh().response["id"] == "resp_1"


def test_reasoning_is_an_item_of_its_own() -> None:
    frames = whole([Thinking(text="hm"), Delta(text="Yes"), Finished()])
    assert output(frames) == [("reasoning", "completed", "hm"), ("message", "completed", "Yes")]
    assert "reasoning_text.delta" in types(frames)


@pytest.mark.parametrize("ending", ["", ": 1}", '{"a": 1}'])
def test_a_tool_call_is_whole_however_it_was_cut(ending: str) -> None:
    """The last piece may bring some of the arguments, all, or none."""
    whole_text = '{"a": 1}'
    begun = whole_text.removesuffix(ending) if ending else whole_text
    frames = whole([wish(begun, complete=False), wish(whole_text), Finished(finish_reason="tool_calls")])
    assert output(frames) == [("function_call", "completed", whole_text)]
    (item,) = frames[-1]["response"]["output"]
    assert (item["call_id"], item["name"]) == ("c1", "add")
    assert "".join(f["delta"] for f in frames if f["type"].endswith("arguments.delta")) == whole_text


def test_a_call_that_looks_like_a_message_disturbs_none() -> None:
    frames = whole([Delta(text="Hm"), wish(id="text-1"), Finished()])
    assert [kind for kind, *_ in output(frames)] == ["message", "function_call"]


def test_a_call_that_was_carried_out_is_not_the_clients(fake: Start) -> None:
    judged = [Held(), wish(), ToolResult(name="add", id="c1", text="2"), Delta(text="It is 2"), Finished()]
    assert output(whole(judged)) == [("message", "completed", "It is 2")]
    place = at("poet")
    in_a_graph = [
        Token(content="Hm", place=place),
        ToolCallStart(call_id="c1", name="add", place=place),
        ToolCallComplete(call_id="c1", name="add", output="2", place=place),
        Finished(),
    ]
    assert output(whole(in_a_graph)) == [("message", "completed", "Hm")]


def test_of_a_judged_call_the_accepted_attempt_alone_is_shown(fake: Start) -> None:
    frames = whole(judged_call(fake))
    assert output(frames) == [("message", "completed", "short")]
    assert "too" not in "".join(frame.get("delta", "") for frame in frames)


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ([Delta(text="bad"), Retried(reason="no", void=1), Delta(text="good", attempt=2), Finished(attempt=2)], "good"),
        (
            [
                Token(content="bad", place=at("poet")),
                NodeRetry(place=at("poet"), discard_from_seq=0),
                Token(content="good", place=at("poet")),
                Finished(),
            ],
            "good",
        ),
    ],
    ids=["attempt", "node"],
)
def test_what_was_shown_and_given_up_is_not_in_the_response(said: list[Any], left: str) -> None:
    assert output(whole(numbered(said))) == [("message", "completed", left)]


@pytest.mark.parametrize(("reason", "told"), [("length", "max_output_tokens"), ("content_filter", "content_filter")])
def test_an_answer_that_is_cut_off_is_incomplete(reason: Any, told: str) -> None:
    frames = whole([Thinking(text="hm"), Delta(text="Half"), Finished(finish_reason=reason)])
    assert output(frames) == [("reasoning", "completed", "hm"), ("message", "incomplete", "Half")]
    assert frames[-1]["type"] == "response.incomplete"
    assert frames[-1]["response"]["incomplete_details"] == {"reason": told}


@pytest.mark.parametrize(
    ("said", "broken_by", "code", "message"),
    [
        ([Failed(error=MelleaError(SECRET))], None, "server_error", "MelleaError"),
        ([Failed(error=RateLimited(SECRET))], None, "rate_limit_exceeded", "RateLimited"),
        ([], ValueError(SECRET), "server_error", "ValueError"),
        ([], None, "server_error", "Truncated"),
        ([Cancelled()], None, "server_error", "The generation was stopped."),
        ([], GenerationCancelled("x"), "server_error", "The generation was stopped."),
    ],
)
def test_what_did_not_end_well_is_an_error_and_a_response_that_failed(
    said: list[Any], broken_by: BaseException | None, code: str, message: str
) -> None:
    frames = whole([Delta(text="Half"), *said], broken_by=broken_by)
    error, end = frames[-2:]
    assert (error["type"], error["code"], error["message"]) == ("error", code, message)
    assert error["error"]["message"] == message
    assert (end["type"], end["response"]["status"]) == ("response.failed", "failed")
    assert end["response"]["error"] == {"code": code, "message": message}
    assert output(frames) == [("message", "incomplete", "Half")]
