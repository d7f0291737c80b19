"""OpenAI's chunks: the common suite, the exact frames, and any text in is the same text out in OpenAI's own types."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionChunk

from mellea_like import Cancelled, Delta, Failed, Finished, MelleaError, Thinking, ToolCallEvent, Usage
from mellea_like.encoding import Encoder
from mellea_like.encoding.openai_chunks import OpenAIChunkEncoder
from mellea_like.graph.events import Token

from .reading import by_client, by_decoder
from .suite import EncoderSuite


def encoder_of(**settings: Any) -> OpenAIChunkEncoder:
    return OpenAIChunkEncoder(model="m", id="c-1", created=7, **settings)


def chunks(stream: bytes) -> list[ChatCompletionChunk]:
    return [ChatCompletionChunk.model_validate_json(data) for data in by_decoder(stream) if data != "[DONE]"]


class TestOpenAIChunks(EncoderSuite):
    @pytest.fixture(params=[False, True])
    def encoder(self, request: pytest.FixtureRequest) -> Encoder:
        return encoder_of(include_usage=request.param)

    def frames(self, stream: bytes) -> list[Any]:
        found = [event.data for event in by_client(stream)]
        assert found == by_decoder(stream)
        return [data if data == "[DONE]" else json.loads(data) for data in found]


def test_a_piece_of_text_is_this_chunk() -> None:
    assert encoder_of().encode(Delta(text="Hi\n"), 0) == (
        b'data: {"id":"c-1","object":"chat.completion.chunk","created":7,"model":"m",'
        b'"choices":[{"index":0,"delta":{"content":"Hi\\n"},"logprobs":null,"finish_reason":null}]}\n\n'
    )


@given(st.lists(st.text()))
def test_any_text_in_is_the_same_text_out(said: list[str]) -> None:
    encoder = encoder_of(index=2)
    stream = b"".join([encoder.begin(), *(encoder.encode(Delta(text=text), 0) for text in said), encoder.end()])
    assert by_decoder(stream)[-1] == "[DONE]"
    found = chunks(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in found) == "".join(said)
    assert {chunk.choices[0].index for chunk in found} == {2}


@pytest.mark.parametrize("reason", ["stop", "length", "tool_calls", "content_filter"])
def test_the_end_has_its_reason(reason: Any) -> None:
    (end,) = chunks(encoder_of().encode(Finished(finish_reason=reason), 3))
    assert (end.choices[0].finish_reason, end.choices[0].delta.content) == (reason, None)


def test_usage_comes_in_a_chunk_of_its_own_where_it_was_asked_for() -> None:
    said = Finished(usage=Usage(input_tokens=2, output_tokens=3, cached_tokens=1))
    end, usage = chunks(encoder_of(include_usage=True).encode(said, 3))
    assert (end.usage, usage.choices) == (None, [])
    assert usage.usage is not None
    assert usage.usage.total_tokens == 5
    assert usage.usage.prompt_tokens_details is not None
    assert usage.usage.prompt_tokens_details.cached_tokens == 1
    assert b'"usage":null' in encoder_of(include_usage=True).encode("x", 0)
    assert b"usage" not in encoder_of().encode(said, 3)


def test_a_tool_call_comes_whole_and_with_an_id() -> None:
    encoder = encoder_of()
    assert encoder.encode(ToolCallEvent(name="f", arguments='{"a'), 0) == b""
    (chunk,) = chunks(encoder.encode(ToolCallEvent(index=1, name="f", arguments='{"a": 1}', complete=True), 0))
    assert chunk.choices[0].delta.tool_calls is not None
    (call,) = chunk.choices[0].delta.tool_calls
    assert call.function is not None
    assert (call.index, call.id, call.type, call.function.name, call.function.arguments) == (
        1,
        "call_1_1",
        "function",
        "f",
        '{"a": 1}',
    )


def test_reasoning_and_a_graphs_tokens_are_shown() -> None:
    encoder = encoder_of()
    assert b'"delta":{"reasoning_content":"hm"}' in encoder.encode(Thinking(text="hm"), 0)
    assert b'"delta":{"content":"x"}' in encoder.encode(Token(content="x"), 0)


@pytest.mark.parametrize(("end", "code"), [(Failed(error=MelleaError("x")), "MelleaError"), (Cancelled(), "cancelled")])
def test_what_did_not_end_well_is_an_error_in_openais_form(end: Any, code: str) -> None:
    (data,) = by_decoder(encoder_of().encode(end, 1))
    error = json.loads(data)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"] == code
