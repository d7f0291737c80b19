"""The events of OpenAI's Responses API, out: items that open, grow and close. A pure function of one stream's events.

Source: https://platform.openai.com/docs/api-reference/responses-streaming
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from ..errors import GenerationCancelled, RateLimited
from ..events import FinishReason, ToolResult, Usage
from .json_form import ErrorText, safe_text
from .opened import Block, Calling, Frame, Kind, Outcome
from .runs import RunEncoder

_INCOMPLETE: Mapping[FinishReason, str] = {"length": "max_output_tokens", "content_filter": "content_filter"}

_DEFAULTS: Mapping[str, Any] = {
    "background": False,
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "store": False,
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": None,
    "truncation": "disabled",
}

_ITEMS: Mapping[Kind, Frame] = {
    "text": {"type": "message", "role": "assistant", "content": []},
    "reasoning": {"type": "reasoning", "summary": [], "content": []},
}
_PARTS: Mapping[Kind, Frame] = {
    "text": {"type": "output_text", "annotations": [], "logprobs": []},
    "reasoning": {"type": "reasoning_text"},
}
_ID_PREFIXES = {"message": "msg", "reasoning": "rs", "function_call": "fc"}


@dataclass(slots=True, kw_only=True)
class _Item:
    """An item of the output, where it is, and the text that it has so far."""

    place: Frame
    form: Frame
    pieces: list[str] = field(default_factory=list)


class OpenAIResponseEncoder(RunEncoder):
    """Frames of OpenAI's Responses API, as its clients read them: a response with its items, each opened and closed.

    Items are messages, reasoning, and tool calls that are for the client to carry out. Of a judged call only the
    accepted attempt is shown. A stream that fails says so twice, as OpenAI's does: in `error`, which OpenAI's own
    clients raise, and in `response.failed`, which holds what came before. `response` is the response alone, complete
    after `end()`.

    It follows one stream. Where one encoder serves many, `fresh()` gives one for each.

    Args:
        model: The model's name.
        id: The response's id, from which those of its items are made; None makes one.
        created: When the response was created, in seconds since 1970; None for now.
        echo: What the response repeats of its request: `instructions`, `tools`, `metadata`, ….
        error_text: What to say of an error to whoever reads; by default its kind alone. See `SSEEncoder`.

    Example:
        ```python
        from mellea_like import OpenAIResponseEncoder, start_session

        encoder = OpenAIResponseEncoder(model="script")
        print(encoder.begin().decode(), end="")
        with start_session("fake", answers="Hello!") as m:
            for event in m.instruct("Say hello.", await_result=False).events():
                print(encoder.encode(event, event.seq).decode(), end="")
        print(encoder.end().decode(), end="")
        ```

    Source: https://platform.openai.com/docs/api-reference/responses-streaming
    """

    def __init__(
        self,
        *,
        model: str,
        id: str | None = None,  # noqa: A002  # OpenAI's name
        created: int | None = None,
        echo: Mapping[str, Any] | None = None,
        error_text: ErrorText = safe_text,
    ) -> None:
        super().__init__(error_text=error_text)
        self._given: dict[str, Any] = {"model": model, "id": id, "created": created, "echo": echo}
        self._numbers, self._places = count(), count()
        self._items: dict[str, _Item] = {}
        self._error: Frame | None = None
        self.response: Frame = {
            "id": f"resp_{secrets.token_hex(12)}" if id is None else id,
            "object": "response",
            "created_at": int(time.time()) if created is None else created,
            "status": "in_progress",
            "error": None,
            "incomplete_details": None,
            "model": model,
            "output": [],
            "usage": None,
            **_DEFAULTS,
            **(echo or {}),
        }

    def fresh(self) -> OpenAIResponseEncoder:
        """Give an encoder like this one for another stream; an id and a time that were made are made anew."""
        return OpenAIResponseEncoder(**self._given, error_text=self._error_text)

    def begin(self) -> bytes:
        """Give `response.created` and `response.in_progress`."""
        self._out += [{"type": f"response.{name}", "response": self.response} for name in ("created", "in_progress")]
        return self._frames()

    def _frames(self) -> bytes:
        out, self._out = self._out, []
        numbered = [{**frame, "sequence_number": next(self._numbers)} for frame in out]
        return b"".join(
            [b"event: %b\ndata: %b\n\n" % (frame["type"].encode(), self._json.value(frame)) for frame in numbered]
        )

    # --- items ------------------------------------------------------------------------------------------------------

    def _added(self, key: str, form: Frame) -> Frame:
        index = next(self._places)
        name = f"{_ID_PREFIXES[form['type']]}_{self.response['id'].removeprefix('resp_')}_{index}"
        form = {"id": name, **form, "status": "in_progress"}
        self._items[key] = _Item(place={"item_id": name, "output_index": index}, form=form)
        return {"type": "response.output_item.added", "output_index": index, "item": form}

    def _done(self, item: _Item, status: str, **whole: Any) -> Frame:
        item.form = {**item.form, **whole, "status": status}
        return {"type": "response.output_item.done", "output_index": item.place["output_index"], "item": item.form}

    def _cut_reason(self) -> str | None:
        return _INCOMPLETE.get(getattr(self._outcome.event, "finish_reason", "stop"))

    def _generation(self) -> list[Frame]:
        return []

    def _block_opened(self, block: Block) -> list[Frame]:
        added = self._added(block.id, _ITEMS[block.kind])
        part = {**_PARTS[block.kind], "text": ""}
        return [added, self._of_part("response.content_part.added", block, part=part)]

    def _block_grown(self, block: Block, text: str) -> list[Frame]:
        self._items[block.id].pieces.append(text)
        return [self._of_text("delta", block, delta=text)]

    def _block_closed(self, block: Block) -> list[Frame]:
        item = self._items[block.id]
        text = "".join(item.pieces)
        part = {**_PARTS[block.kind], "text": text}
        is_cut = self._outcome.kind in {"failed", "cancelled"} or self._cut_reason() is not None
        return [
            self._of_text("done", block, text=text),
            self._of_part("response.content_part.done", block, part=part),
            self._done(item, "incomplete" if is_cut else "completed", content=[part]),
        ]

    def _of_part(self, name: str, block: Block, **said: Any) -> Frame:
        return {"type": name, **self._items[block.id].place, "content_index": 0, **said}

    def _of_text(self, name: str, block: Block, **said: Any) -> Frame:
        if block.kind == "text":
            said["logprobs"] = []
        return self._of_part(f"response.{_PARTS[block.kind]['type']}.{name}", block, **said)

    def _given_up(self, void: list[str], about: Frame) -> list[Frame]:
        for key in void:
            self._items.pop(key, None)
        return []

    # --- tool calls -------------------------------------------------------------------------------------------------

    def _call_opened(self, call: Calling) -> list[Frame]:
        form = {"type": "function_call", "call_id": call.id, "name": call.name, "arguments": ""}
        return [self._added(_key(call), form)]

    def _call_grown(self, call: Calling, fragment: str) -> list[Frame]:
        return [{"type": "response.function_call_arguments.delta", **self._items[_key(call)].place, "delta": fragment}]

    def _call_closed(self, call: Calling, *, cut: bool) -> list[Frame]:
        item, whole = self._items[_key(call)], {"arguments": "".join(call.pieces)}
        return [
            {"type": "response.function_call_arguments.done", **item.place, "name": call.name, **whole},
            self._done(item, "incomplete" if cut else "completed", **whole),
        ]

    def _on_tool_result(self, event: ToolResult) -> None:
        if self._drafts is not None:  # what was carried out here is not left for the client to carry out
            self._drafts.carried_out(event)

    def _at_tool_call_start(self, event: Any) -> None:
        self._close_of(event)

    def _at_tool_call_complete(self, event: Any) -> None:
        """Say nothing: what a graph calls, it answers."""

    def _call_answered(self, call: Calling, output: Any, *, ok: bool) -> list[Frame]:
        return []

    # --- what is no part of the answer ------------------------------------------------------------------------------

    def _node_told(self, label: str, status: str, error: str | None = None) -> list[Frame]:
        return []

    def _state_told(self, path: tuple[str, ...], state: Any) -> list[Frame]:
        return []

    def _noted(self, name: str, payload: Any, *, passing: bool = False) -> list[Frame]:
        return []

    # --- ends -------------------------------------------------------------------------------------------------------

    def _failed(self, text: str, error: BaseException) -> list[Frame]:
        code = "rate_limit_exceeded" if isinstance(error, RateLimited) else "server_error"
        self._error = {"code": code, "message": text}
        # The documented fields, and the object in which OpenAI sends them, which is what its clients look for.
        return [{"type": "error", **self._error, "param": None, "error": {**self._error, "param": None}}]

    def _ended(self, outcome: Outcome) -> list[Frame]:
        said: list[Frame] = []
        if outcome.kind == "cancelled":
            said = self._failed("The generation was stopped.", GenerationCancelled())
        reason, status = self._cut_reason(), "completed"
        if self._error is not None:
            status, reason = "failed", None
        elif reason is not None:
            status = "incomplete"
        self.response |= {
            "status": status,
            "error": self._error,
            "incomplete_details": None if reason is None else {"reason": reason},
            "output": [item.form for item in self._items.values()],
            "usage": _usage_form(outcome.usage),
        }
        return [*said, {"type": f"response.{status}", "response": self.response}]


def _key(call: Calling) -> str:
    return f"call {call.id}"  # the id is the model's, and may look like a block's


def _usage_form(usage: Usage | None) -> Frame:
    """Write usage in the Responses API's form; zeros where the backend does not say."""
    usage = usage or Usage()
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens or 0, "cache_write_tokens": 0},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.total_tokens,
    }
