"""The UI message stream of Vercel's AI SDK, out: what `useChat` reads. A pure function of the events of one stream.

Source: https://ai-sdk.dev/docs/ai-sdk-ui/stream-protocol
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ..events import FinishReason, Usage
from .json_form import ErrorText, safe_text
from .opened import Block, Calling, Frame, Outcome
from .runs import RunEncoder

_HEADERS = MappingProxyType({**RunEncoder.headers, "x-vercel-ai-ui-message-stream": "v1"})

_FINISH_REASONS: Mapping[FinishReason, str] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool-calls",
    "content_filter": "content-filter",
    "error": "error",
}


class AISDKEncoder(RunEncoder):
    """Frames of the AI SDK's UI message stream (`v1`), which `useChat` shows: text, reasoning, tool calls, the end.

    What else is said goes in `data-` parts: `data-verdict` for each requirement that was judged, `data-retried` for
    each attempt that was given up (`void` lists the ids of blocks that were shown and are no part of the answer; each
    part has its id under `providerMetadata.mellea_like`), `data-<name>` for custom events; of a graph, `data-node` and
    `data-state`, which are replaced as they change, and `data-interrupt`. Parts that are of no use later are transient:
    `data-draft` is the text of attempts as it grows, for a page that shows them live.

    It follows one stream. Where one encoder serves many, `fresh()` gives one for each.

    Args:
        message_id: The id of the message; None leaves it to the page.
        error_text: What to say of an error to whoever reads; by default its kind alone. See `SSEEncoder`.

    Example:
        ```python
        from mellea_like import start_session
        from mellea_like.encoding.ai_sdk import AISDKEncoder

        encoder = AISDKEncoder()
        print(encoder.begin().decode(), end="")
        with start_session("fake", answers="Hello!") as m:
            for event in m.instruct("Say hello.", await_result=False).events():
                print(encoder.encode(event, event.seq).decode(), end="")
        print(encoder.end().decode(), end="")
        ```

    Source: https://ai-sdk.dev/docs/ai-sdk-ui/stream-protocol
    """

    headers: Mapping[str, str] = _HEADERS

    def __init__(self, *, message_id: str | None = None, error_text: ErrorText = safe_text) -> None:
        super().__init__(error_text=error_text)
        self._message_id = message_id
        self._in_step = self._step_said = False

    def fresh(self) -> AISDKEncoder:
        """Give an encoder like this one for another stream."""
        return AISDKEncoder(message_id=self._message_id, error_text=self._error_text)

    def begin(self) -> bytes:
        """Give `start`."""
        self._out.append(
            {"type": "start"} if self._message_id is None else {"type": "start", "messageId": self._message_id}
        )
        return self._frames()

    def end(self) -> bytes:
        """Close what is open, say how it ended, and give `[DONE]`."""
        return super().end() + b"data: [DONE]\n\n"

    # --- text and reasoning -----------------------------------------------------------------------------------------

    def _generation(self) -> list[Frame]:
        # What is open belongs to the step in which it was opened, so what is told side by side shares one.
        if self._open or self._calling or (self._in_step and not self._step_said):
            return []
        frames = [{"type": "finish-step"}] if self._in_step else []
        self._in_step, self._step_said = True, False
        return [*frames, {"type": "start-step"}]

    def _block_opened(self, block: Block) -> list[Frame]:
        self._step_said = True
        about = {"id": block.id} if block.node is None else {"id": block.id, "node": block.node}
        return [{"type": f"{block.kind}-start", "id": block.id, "providerMetadata": {"mellea_like": about}}]

    def _block_grown(self, block: Block, text: str) -> list[Frame]:
        return [{"type": f"{block.kind}-delta", "id": block.id, "delta": text}]

    def _block_closed(self, block: Block) -> list[Frame]:
        return [{"type": f"{block.kind}-end", "id": block.id}]

    # --- tool calls -------------------------------------------------------------------------------------------------

    def _call_opened(self, call: Calling) -> list[Frame]:
        self._step_said = True
        return [{"type": "tool-input-start", "toolCallId": call.id, "toolName": call.name}]

    def _call_grown(self, call: Calling, fragment: str) -> list[Frame]:
        return [{"type": "tool-input-delta", "toolCallId": call.id, "inputTextDelta": fragment}]

    def _call_closed(self, call: Calling, *, cut: bool) -> list[Frame]:
        text = "".join(call.pieces)
        about = {"toolCallId": call.id, "toolName": call.name}
        if not cut:
            try:
                return [{"type": "tool-input-available", **about, "input": json.loads(text) if text.strip() else {}}]
            except (ValueError, RecursionError):
                pass
        wrong = "The call was cut off." if cut else "The arguments are not JSON."
        return [{"type": "tool-input-error", **about, "input": text, "errorText": wrong}]

    def _call_answered(self, call: Calling, output: Any, *, ok: bool) -> list[Frame]:
        if ok:
            return [{"type": "tool-output-available", "toolCallId": call.id, "output": output}]
        return [{"type": "tool-output-error", "toolCallId": call.id, "errorText": self._as_text(output)}]

    # --- what is no part of the answer ------------------------------------------------------------------------------

    def _node_told(self, label: str, status: str, error: str | None = None) -> list[Frame]:
        said = {"node": label, "status": status}
        return [{"type": "data-node", "id": label, "data": said if error is None else {**said, "error": error}}]

    def _state_told(self, path: tuple[str, ...], state: Any) -> list[Frame]:
        return [{"type": "data-state", "id": "/".join(("state", *path)), "data": state}]

    def _noted(self, name: str, payload: Any, *, passing: bool = False) -> list[Frame]:
        frame = {"type": f"data-{name}", "data": payload}
        return [{**frame, "transient": True}] if passing else [frame]

    # --- ends -------------------------------------------------------------------------------------------------------

    def _failed(self, text: str, error: BaseException) -> list[Frame]:
        return [{"type": "error", "errorText": text}]

    def _ended(self, outcome: Outcome) -> list[Frame]:
        frames: list[Frame] = [{"type": "finish-step"}] if self._in_step else []
        self._in_step = False
        if outcome.kind == "cancelled":
            return [*frames, {"type": "abort", "reason": "The generation was stopped."}]
        reason: Any = "error" if outcome.kind == "failed" else getattr(outcome.event, "finish_reason", "stop")
        finish: Frame = {"type": "finish", "finishReason": _FINISH_REASONS.get(reason, "other")}
        if outcome.usage is not None:
            finish["messageMetadata"] = {"usage": usage_form(outcome.usage)}
        return [*frames, finish]


def usage_form(usage: Usage) -> Frame:
    """Write usage in the words that the AI SDK and AG-UI share."""
    said = {
        "inputTokens": usage.input_tokens,
        "outputTokens": usage.output_tokens,
        "totalTokens": usage.total_tokens,
    }
    return said if usage.cached_tokens is None else {**said, "cachedInputTokens": usage.cached_tokens}
