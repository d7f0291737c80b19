"""OpenAI's chat-completions form: requests to bodies, chunks to events; several backends share it."""

import json
from typing import Any

from mellea_like import (
    BackendError,
    Finished,
    ImageBlock,
    Message,
    ModelOption,
    Request,
    Thinking,
    ToolCall,
    ToolCallEvent,
    Usage,
)
from mellea_like.backends._chat import FIELDS, ChatReply, chat_body


def reply_of(*, keep: bool = False) -> ChatReply:
    return ChatReply(model="m", keep=keep, backend="b", refused=lambda told: BackendError(str(told)))


def encoded(chunk: dict[str, Any]) -> bytes:
    return json.dumps(chunk).encode()


def test_a_request_becomes_a_body():
    tools = [{"type": "function", "function": {"name": "add", "parameters": {}}}]
    request = Request(
        messages=(
            Message("user", "look", images=(ImageBlock(url="http://x/y.png"),)),
            Message("assistant", "", tool_calls=(ToolCall(name="add", arguments='{"a": 1}', id="7"),)),
            Message("tool", "2", tool_call_id="7"),
        ),
        options={
            ModelOption.TEMPERATURE: 0.5,
            ModelOption.TOP_P: 0.9,
            ModelOption.TOP_K: 3,
            ModelOption.MAX_NEW_TOKENS: 5,
            ModelOption.SEED: 1,
            ModelOption.STOP_SEQUENCES: ["."],
            ModelOption.TOOL_CHOICE: "auto",
            ModelOption.LOGPROBS: 2,
        },
        schema={"type": "object"},
        tools=tools,
    )
    assert chat_body(request, {**FIELDS, ModelOption.TOP_K: "top_k"}) == {
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "look"},
                    {"type": "image_url", "image_url": {"url": "http://x/y.png"}},
                ],
            },
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"type": "function", "id": "7", "function": {"name": "add", "arguments": '{"a": 1}'}}],
            },
            {"role": "tool", "content": "2", "tool_call_id": "7"},
        ],
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 3,
        "max_tokens": 5,
        "seed": 1,
        "stop": ["."],
        "tool_choice": "auto",
        "logprobs": True,
        "top_logprobs": 2,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": {"type": "object"}, "strict": True},
        },
        "tools": tools,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def chunk(finish_reason: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"finish_reason": finish_reason, "index": 0, "delta": delta}]}


def test_chunks_become_text_thoughts_and_whole_tool_calls():
    chunks: list[dict[str, Any]] = [
        chunk(role="assistant", content=None),
        chunk(reasoning_content="hm"),
        chunk(content="so"),
        chunk(tool_calls=[{"index": 0, "id": "7", "function": {"name": "add", "arguments": ""}}]),
        chunk(tool_calls=[{"index": 0, "function": {"arguments": '{"a":'}}]),
        chunk(tool_calls=[{"index": 0, "function": {"arguments": "1}"}}]),
        chunk("tool_calls"),
        {
            "choices": [],
            "usage": {"prompt_tokens": 3, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 2}},
        },
    ]
    reply = reply_of(keep=True)
    events = [item for one in chunks for item in reply.read(encoded(one))]
    assert events == [
        Thinking(text="hm"),
        "so",
        ToolCallEvent(id="7", name="add"),
        ToolCallEvent(arguments='{"a":'),
        ToolCallEvent(arguments="1}"),
    ]
    assert list(reply.end()) == [
        ToolCallEvent(id="7", name="add", arguments='{"a":1}', complete=True),
        Finished(
            finish_reason="tool_calls",
            usage=Usage(input_tokens=3, output_tokens=4, cached_tokens=2),
            model="m",
            raw=chunks,
        ),
    ]


def test_an_answer_without_a_finish_reason_has_no_end():
    reply = reply_of()
    assert list(reply.read(encoded(chunk(content="half")))) == ["half"]
    assert list(reply.end()) == []
