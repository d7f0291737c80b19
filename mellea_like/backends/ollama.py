"""The backend `ollama`: a local Ollama server, through its own chat API.

The official client holds the connection; its lines are read raw, because building its models is most of what one costs.

Source: https://docs.ollama.com/api/chat
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack
from typing import Any

import msgspec

from ..content import Message, Request, ToolCall
from ..errors import InvalidArgument, MalformedReply, RequestRefused
from ..events import Finished, FinishReason, Said, Thinking, ToolCallEvent, Usage
from ..options import ModelOption
from ..sse import LineDecoder
from ._at_hand import USUAL_PLACE
from ._http import HttpBackend
from ._refusals import Refusals

_OPTIONS = {
    ModelOption.TEMPERATURE: "temperature",
    ModelOption.TOP_P: "top_p",
    ModelOption.TOP_K: "top_k",
    ModelOption.MAX_NEW_TOKENS: "num_predict",
    ModelOption.CONTEXT_WINDOW: "num_ctx",
    ModelOption.SEED: "seed",
    ModelOption.STOP_SEQUENCES: "stop",
}
_FINISH_REASONS: dict[str, FinishReason] = {"stop": "stop", "length": "length"}


class OllamaModelBackend(HttpBackend):
    """A model of an Ollama server.

    The address comes from `base_url`, else from `OLLAMA_HOST`, else it is this machine's port 11434. A model that the
    server does not have is an error that says how to get it; nothing is downloaded silently. See `HttpBackend` for the
    arguments.

    Example:
        ```python
        from mellea_like import start_session

        m = start_session("ollama:granite4:micro", timeout=60)
        print(m)
        ```
    """

    name = "ollama"
    default_model = "granite4:micro"
    bare_hosts = True
    options = frozenset({*_OPTIONS, ModelOption.LOGPROBS, ModelOption.TOOLS, ModelOption.THINKING})

    def _connect(self) -> Any:
        import httpx
        import ollama

        headers = {"authorization": f"Bearer {self.api_key}"} if self.api_key else None
        timeout = httpx.Timeout(None, connect=self.connect_timeout)
        return ollama.AsyncClient(host=self._address(), timeout=timeout, headers=headers)

    async def _open(self, client: Any, request: Request, stack: AsyncExitStack) -> AsyncIterator[bytes]:
        sending = client._client.stream("POST", "/api/chat", json=self._body(request))
        response = await stack.enter_async_context(sending)
        return await self._checked(response, ("application/x-ndjson", "application/json"), stack)

    def _body(self, request: Request) -> dict[str, Any]:
        options = request.options
        chosen = {field: options[option] for option, field in _OPTIONS.items() if option in options}
        extra = dict(request.extra)
        more = extra.pop("options", {})
        if not isinstance(more, Mapping):
            raise InvalidArgument(f"The model option 'extra' has {more!r} as 'options'; Ollama takes a dict there.")
        body: dict[str, Any] = {
            "model": self.model_id,
            "messages": [_message(message) for message in request.messages],
            "stream": True,
            "options": {**chosen, **more},
        }
        if request.schema is not None:
            body["format"] = dict(request.schema)
        if request.tools:
            body["tools"] = [dict(tool) for tool in request.tools]
        if (thinking := options.get(ModelOption.THINKING)) is not None:
            body["think"] = thinking
        if logprobs := options.get(ModelOption.LOGPROBS):
            body |= {"logprobs": True} if logprobs is True else {"logprobs": True, "top_logprobs": logprobs}
        return {**body, **extra}

    def _decoder(self) -> LineDecoder:
        return LineDecoder(self.name)

    def _reply(self, request: Request) -> _Answer:
        return _Answer(self._refusals(), model=self.model_id, keep=bool(request.options.get(ModelOption.KEEP_RAW)))

    def _failures(self) -> tuple[type[Exception], ...]:
        import httpx

        return (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, UnicodeError)

    async def _close(self, client: Any) -> None:
        await client.close()

    def _address(self) -> str:
        return self.base_url or os.environ.get("OLLAMA_HOST") or USUAL_PLACE

    def _refusals(self) -> Refusals:
        return Refusals(
            backend=self.name,
            model=self.model_id,
            address=self._address(),
            unavailable="Start it with `ollama serve`, or use `start_session('llamacpp')`, which needs no server.",
            missing=f"get it with `ollama pull {self.model_id}`.",
            key="`api_key` or OLLAMA_API_KEY",
        )


class _Function(msgspec.Struct):
    name: str = ""
    arguments: Any = None


class _Call(msgspec.Struct):
    function: _Function
    id: str | None = None


class _Said(msgspec.Struct):
    content: str | None = None
    thinking: str | None = None
    tool_calls: list[_Call] | None = None


class _Line(msgspec.Struct):
    message: _Said | None = None
    done: bool = False
    done_reason: str | None = None
    prompt_eval_count: int = 0
    eval_count: int = 0
    model: str | None = None
    error: Any = None


_decode = msgspec.json.Decoder(_Line).decode


class _Answer:
    """One answer while it comes: lines in, text and events out."""

    def __init__(self, refusals: Refusals, *, model: str, keep: bool) -> None:
        self._refusals = refusals
        self._model = model
        self._raw: list[Any] | None = [] if keep else None
        self._last: _Line | None = None
        self._calls = 0

    def read_all(self, messages: Iterable[bytes]) -> Iterator[Said]:
        for message in messages:
            line = self._line(message)
            if line.done:
                self._last = line
            said = line.message
            if said is not None:
                if said.thinking:
                    yield Thinking(text=said.thinking)
                if said.content:
                    yield said.content
                for call in said.tool_calls or ():
                    yield self._tool_call(call)
            if line.done:
                return

    def _line(self, message: bytes) -> _Line:
        try:
            line = _decode(message)
            if self._raw is not None:
                self._raw.append(msgspec.json.decode(message))
        except msgspec.MsgspecError as error:
            head = message[:200]
            raise MalformedReply(
                f"Ollama sent something that is not a line of its chat API ({error}): {head!r}",
                backend="ollama",
                head=head,
            ) from error
        if line.error is not None:
            refusal = self._refusals.in_stream(line.error)
            raise refusal
        return line

    def whole(self) -> bool:
        return self._last is not None

    over = whole

    def end(self) -> Iterator[Said]:
        last = self._last
        if last is None:
            return
        reason: FinishReason = "tool_calls" if self._calls else _FINISH_REASONS.get(last.done_reason or "stop", "stop")
        usage = Usage(input_tokens=last.prompt_eval_count, output_tokens=last.eval_count)
        yield Finished(finish_reason=reason, usage=usage, model=last.model or self._model, raw=self._raw)

    def _tool_call(self, call: _Call) -> ToolCallEvent:
        # Ollama sends calls whole, with their arguments as an object.
        arguments = msgspec.json.encode(call.function.arguments or {}).decode()
        event = ToolCallEvent(
            index=self._calls, id=call.id, name=call.function.name, arguments=arguments, complete=True
        )
        self._calls += 1
        return event


def _message(message: Message) -> dict[str, Any]:
    written: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.images:
        if any(image.url is not None for image in message.images):
            raise RequestRefused(
                "Ollama takes images as data, not as addresses (backend 'ollama'). Fetch the image and use "
                "`ImageBlock.from_bytes(…)`.",
                backend="ollama",
            )
        written["images"] = [image.value for image in message.images]
    if message.tool_calls:
        written["tool_calls"] = [
            {"function": {"name": call.name, "arguments": _arguments(call)}} for call in message.tool_calls
        ]
    return written


def _arguments(call: ToolCall) -> dict[str, Any]:
    try:
        return msgspec.json.decode(call.arguments, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise RequestRefused(
            f"Ollama takes a tool call's arguments as an object only (backend 'ollama'); those of {call.name!r} are "
            f"{call.arguments!r}: {error}.",
            backend="ollama",
        ) from error
