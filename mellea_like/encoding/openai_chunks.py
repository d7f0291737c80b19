"""OpenAI's chat-completion chunks, out: text, reasoning, tool calls, the end with its usage. Pure functions of events.

Source: https://platform.openai.com/docs/api-reference/chat-streaming
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ..errors import MelleaError
from ..events import Cancelled, Delta, Event, Failed, Finished, FinishReason, Thinking, ToolCallEvent, Usage
from . import is_failure
from .json_form import ErrorText, JSONForm, safe_text
from .sse import SSETextEncoder

FINISH_REASONS: Mapping[FinishReason, str] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
}
"""How an answer that ended by itself ended, in OpenAI's words."""


def usage_form(usage: Usage | None) -> dict[str, Any]:
    """Write usage in OpenAI's form; zeros where the backend does not say."""
    usage = usage or Usage()
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens or 0},
    }


def tool_call_form(call: ToolCallEvent) -> dict[str, Any]:
    """Write a complete tool call in OpenAI's form; where its provider gave no id, one that tells it from the others."""
    function = {"name": call.name or "", "arguments": call.arguments}
    return {"id": call.id or f"call_{call.attempt}_{call.index}", "type": "function", "function": function}


class OpenAIChunkEncoder:
    """`chat.completion.chunk` frames of one choice, as OpenAI's clients read them; `data: [DONE]` last.

    Shown are text (`token` of a graph's too), reasoning (`reasoning_content`), complete tool calls, the end and
    failures. It shows the text of every attempt that it is given: of a judged call, give it the accepted one.

    Args:
        model: The model's name in each chunk.
        id: The answer's id, the same in all its chunks.
        created: When the answer began, in seconds since 1970; None for now.
        index: Which of several answers this one is, from 0.
        include_usage: Whether a last chunk holds the usage, and all before it `"usage": null`.
        error_text: What to say of an error to whoever reads; by default its kind alone. See `SSEEncoder`.

    Example:
        ```python
        from mellea_like import Delta
        from mellea_like.encoding.openai_chunks import OpenAIChunkEncoder

        print(OpenAIChunkEncoder(model="script").encode(Delta(text="Hi"), 0).decode())
        ```
    """

    media_type = "text/event-stream"
    headers: Mapping[str, str] = SSETextEncoder.headers

    def __init__(
        self,
        *,
        model: str,
        id: str = "chatcmpl-0",  # noqa: A002  # OpenAI's name
        created: int | None = None,
        index: int = 0,
        include_usage: bool = False,
        error_text: ErrorText = safe_text,
    ) -> None:
        self._json = JSONForm(error_text)
        self._error_text = error_text
        self._include_usage = include_usage
        self._chunk = {
            "id": id,
            "object": "chat.completion.chunk",
            "created": int(time.time()) if created is None else created,
            "model": model,
        }
        usage = ',"usage":null' if include_usage else ""
        head = self._json.value(self._chunk)[:-1].decode()
        self._before = f'data: {head},"choices":[{{"index":{index},"delta":'.encode()
        self._open = f',"logprobs":null,"finish_reason":null}}]{usage}}}\n\n'.encode()
        self._closed = f',"logprobs":null,"finish_reason":"%b"}}]{usage}}}\n\n'.encode()

    def fresh(self) -> OpenAIChunkEncoder:
        """Give this encoder: it holds nothing of a stream."""
        return self

    def begin(self) -> bytes:
        """Give the chunk that says whose turn it is."""
        return self._delta(b'{"role":"assistant","content":""}')

    def encode(self, said: object, number: int) -> bytes:
        """Give the chunks of one event, or of one piece of text; nothing for what the form does not know."""
        if isinstance(said, str):
            return self._text(said, b"content")
        if isinstance(said, Delta):
            return self._text(said.text, b"content")
        if isinstance(said, Thinking):
            return self._text(said.text, b"reasoning_content")
        if isinstance(said, ToolCallEvent):
            return self._tool_call(said) if said.complete else b""
        return self._ended(said, number) if isinstance(said, Event) else b""

    def _ended(self, said: Event, number: int) -> bytes:
        if isinstance(said, Finished):
            reason = FINISH_REASONS.get(said.finish_reason, "stop").encode()
            end = self._before + b"{}" + self._closed % reason
            return end + self.usage(said.usage) if self._include_usage else end
        if isinstance(said, Failed) or is_failure(said):
            return self.fail(getattr(said, "error", None) or MelleaError(), number)
        if isinstance(said, Cancelled):
            return self._error("The generation was stopped.", "cancelled")
        text = getattr(said, "content", None)
        if isinstance(text, str) and said.type in {"token", "reasoning_token"}:
            return self._text(text, b"content" if said.type == "token" else b"reasoning_content")
        return b""

    def _text(self, text: str, field: bytes) -> bytes:
        return self._delta(b'{"%b":%b}' % (field, self._json.value(text))) if text else b""

    def _tool_call(self, call: ToolCallEvent) -> bytes:
        return self._delta(self._json.value({"tool_calls": [{"index": call.index, **tool_call_form(call)}]}))

    def _delta(self, delta: bytes) -> bytes:
        return self._before + delta + self._open

    def usage(self, usage: Usage | None) -> bytes:
        """Give the chunk that holds the usage and no choice."""
        return b"data: %b\n\n" % self._json.value({**self._chunk, "choices": [], "usage": usage_form(usage)})

    def fail(self, error: BaseException, number: int) -> bytes:
        """Give the error, in the form that OpenAI's clients raise."""
        return self._error(self._error_text(error), type(error).__name__)

    def _error(self, message: str, code: str) -> bytes:
        said = {"message": message, "type": "server_error", "param": None, "code": code}
        return b"data: %b\n\n" % self._json.value({"error": said})

    def keep_alive(self) -> bytes:
        """Give a comment, which readers pass over."""
        return b": keep-alive\n\n"

    def end(self) -> bytes:
        """Give `[DONE]`."""
        return b"data: [DONE]\n\n"
