"""OpenAI's chat-completions form: a request as its body, its stream of chunks as text and events.

Several providers speak it, so it is here once. Chunks are decoded from bytes into just the fields that become events.

Source: https://platform.openai.com/docs/api-reference/chat-streaming
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from ..content import Message, Request
from ..errors import BackendError, MalformedReply
from ..events import Finished, FinishReason, Said, Thinking, ToolCallEvent, Usage
from ..options import ModelOption

FIELDS = {
    ModelOption.TEMPERATURE: "temperature",
    ModelOption.TOP_P: "top_p",
    ModelOption.MAX_NEW_TOKENS: "max_tokens",
    ModelOption.SEED: "seed",
    ModelOption.STOP_SEQUENCES: "stop",
    ModelOption.TOOL_CHOICE: "tool_choice",
}
OPTIONS = frozenset({*FIELDS, ModelOption.LOGPROBS, ModelOption.TOOLS})

_FINISH_REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(msgspec.Struct):
    index: int = 0
    id: str | None = None
    function: _Function | None = None


class _Delta(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[_ToolCall] | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Cached(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _Cached | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    model: str | None = None
    error: Any = None


_decode = msgspec.json.Decoder(_Chunk).decode
_decode_raw = msgspec.json.Decoder().decode


class ChatReply:
    """One answer while it comes: chunks in, text and events out.

    Args:
        model: The model's name, where the chunks do not say it.
        renamed: Whether the chunks' name for the model is the better one.
        keep: Keep every chunk, for `Finished.raw`.
        backend: The backend's name, for errors.
        refused: Turns an error object inside the stream into the error that it means.
    """

    __slots__ = (
        "_backend",
        "_calls",
        "_done",
        "_finish_reason",
        "_model",
        "_raw",
        "_refused",
        "_refusing",
        "_renamed",
        "_usage",
    )

    def __init__(
        self, *, model: str, keep: bool, backend: str, refused: Callable[[Any], BackendError], renamed: bool = True
    ) -> None:
        self._model = model
        self._renamed = renamed
        self._backend = backend
        self._refused = refused
        self._raw: list[Any] | None = [] if keep else None
        self._finish_reason: str | None = None
        self._usage: Usage | None = None
        self._calls: dict[int, list[ToolCallEvent]] = {}
        self._done = self._refusing = False

    def read(self, message: bytes) -> Iterator[Said]:
        """Read one chunk; see `read_all`."""
        return self.read_all((message,))

    def read_all(self, messages: Iterable[bytes]) -> Iterator[Said]:
        """Read chunks, up to `[DONE]`.

        One generator for all that came together: one for each chunk would cost a tenth of what reading it does.

        Raises:
            MalformedReply: one is not JSON, or not a chunk; what came before it is said first.
            BackendError: one is an error object; likewise.
        """
        for message in messages:
            if message == b"[DONE]":
                self._done = True
                return
            chunk = self._chunk(message)
            if chunk.usage is not None:
                self._note_usage(chunk)
            for choice in chunk.choices or ():
                if choice.finish_reason:  # some servers write "" for "not yet"
                    self._note_finish(choice.finish_reason, chunk)
                delta = choice.delta
                if delta is not None:
                    if delta.reasoning_content or delta.reasoning or delta.tool_calls or delta.refusal:
                        yield from self._unusual(delta)
                    if delta.content:
                        yield delta.content

    def _chunk(self, message: bytes) -> _Chunk:
        try:
            chunk = _decode(message)
            if self._raw is not None:
                self._raw.append(_decode_raw(message))
        except msgspec.MsgspecError as error:
            head = message[:200]
            raise MalformedReply(
                f"Backend {self._backend!r} sent something that is not a chat-completions chunk ({error}): {head!r}",
                backend=self._backend,
                head=head,
            ) from error
        if chunk.error is not None:
            refusal = self._refused(chunk.error)
            raise refusal
        return chunk

    def whole(self) -> bool:
        """Whether a finish reason or `[DONE]` has come; usage comes between the two."""
        return self._done or self._finish_reason is not None

    def over(self) -> bool:
        """Whether `[DONE]` has come."""
        return self._done

    def end(self) -> Iterator[Said]:
        """Yield what closes the answer: nothing where the stream broke off without saying that it was over."""
        if not self.whole():
            return
        for index, pieces in self._calls.items():
            yield ToolCallEvent(
                index=index,
                id=next((p.id for p in pieces if p.id), None),
                name=next((p.name for p in pieces if p.name), None),
                arguments="".join(p.arguments for p in pieces),
                complete=True,
            )
        reason = _FINISH_REASONS.get(self._finish_reason or "stop", "stop")
        if self._refusing and reason == "stop":
            reason = "content_filter"
        yield Finished(finish_reason=reason, usage=self._usage, model=self._model, raw=self._raw)

    def _unusual(self, delta: _Delta) -> Iterator[Said]:
        if thought := delta.reasoning_content or delta.reasoning:
            yield Thinking(text=thought)
        if delta.refusal:
            # What the model says instead of an answer, to be shown like one. The server calls its end "stop".
            self._refusing = True
            yield delta.refusal
        for piece in delta.tool_calls or ():
            function = piece.function or _Function()
            event = ToolCallEvent(
                index=piece.index, id=piece.id, name=function.name, arguments=function.arguments or ""
            )
            self._calls.setdefault(piece.index, []).append(event)
            yield event

    def _note_finish(self, reason: str, chunk: _Chunk) -> None:
        self._finish_reason = reason
        if self._renamed and chunk.model:
            self._model = chunk.model

    def _note_usage(self, chunk: _Chunk) -> None:
        told = chunk.usage
        assert told is not None
        details = told.prompt_tokens_details
        self._usage = Usage(
            input_tokens=told.prompt_tokens,
            output_tokens=told.completion_tokens,
            cached_tokens=None if details is None else details.cached_tokens,
        )


def chat_body(request: Request, fields: Mapping[ModelOption, str] = FIELDS) -> dict[str, Any]:
    """Write a request as a chat-completions body, without its `extra`; `fields` is what the provider calls options."""
    options = request.options
    body: dict[str, Any] = {field: options[option] for option, field in fields.items() if option in options}
    if logprobs := options.get(ModelOption.LOGPROBS):
        body["logprobs"] = True
        if logprobs is not True:
            body["top_logprobs"] = logprobs
    if request.schema is not None:
        form = {"name": "answer", "schema": dict(request.schema), "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": form}
    if request.tools:
        body["tools"] = [dict(tool) for tool in request.tools]
    return {
        **body,
        "messages": [chat_message(message) for message in request.messages],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def chat_message(message: Message) -> dict[str, Any]:
    """Write one message in chat-completions form."""
    written: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.images:
        images = [{"type": "image_url", "image_url": {"url": image.as_url()}} for image in message.images]
        written["content"] = [{"type": "text", "text": message.content}, *images]
    if message.tool_calls:
        written["tool_calls"] = [
            {"type": "function", "id": call.id or "", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        written["tool_call_id"] = message.tool_call_id
    return written
