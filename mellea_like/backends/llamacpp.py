"""The backend `llamacpp`: a model that runs inside this process, with no server and no key.

The engine speaks OpenAI's form, in bytes. How models are kept in memory is `_llama`'s
affair, where their files come from is `_weights`'.
"""

from __future__ import annotations

import os
import sys
import weakref
from asyncio import wrap_future
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import msgspec

from ..content import Message, Request
from ..errors import BackendError, BackendUnavailable, ContextOverflow, InvalidArgument, RequestRefused
from ..events import Said
from ..options import ModelOption
from . import Backend, _llama
from ._chat import FIELDS, OPTIONS, ChatReply, chat_body
from ._native import Settings
from ._weights import EMBEDDED, find_weights, resolve_weights
from ._writable import NOT_JSON, unwritable

_FIELDS = {**FIELDS, ModelOption.TOP_K: "top_k"}
# Temperature and top_p are the model card's; the engine's own defaults are for larger models. So small a model may go
# round in circles until its window is full, so an answer ends at a page or two.
_EMBEDDED_OPTIONS: dict[str, Any] = {
    ModelOption.TEMPERATURE: 0.2,
    ModelOption.TOP_P: 0.9,
    ModelOption.MAX_NEW_TOKENS: 1024,
}

# Enough to leave most circles (the share of different words in a long answer doubles), and too little to cost answers.
_EMBEDDED_EXTRA = {"repeat_penalty": 1.05}

# The chat template of the embedded model brings a system prompt of its own, with which it answers many plain questions
# in nonsense ("the capital of France" at temperature 0); with this one it answers them.
_EMBEDDED_SYSTEM = Message("system", "You are a helpful assistant.")


class LlamaCppBackend(Backend):
    """A GGUF model inside this process; by default SmolLM2-135M-Instruct, fetched once (93 MB).

    The model is loaded by the first call, and shared by all backends with the same file and settings.

    Args:
        model_id: A fetched model's name, the path of a GGUF file, or `hf:owner/repository/file.gguf`; empty for the
            default model.
        context_window: Tokens that prompt and answer of one call may take together.
        slots: Calls that run at once; further ones wait for their turn. Memory grows with `slots * context_window`.
        threads: Threads that compute; None for as many as the machine has cores, within reason.
        model_options: Options for every call through this backend.

    Raises:
        InvalidArgument: a number is smaller than 1.

    Example:
        ```python
        from mellea_like import LlamaCppBackend

        backend = LlamaCppBackend(context_window=2048, slots=2)
        print(backend)
        ```
    """

    name = "llamacpp"
    default_model = EMBEDDED.name
    options = OPTIONS | {ModelOption.TOP_K}
    # It is held to any schema; whether its template knows tools, its file alone can tell.
    calls_tools = False

    def __init__(
        self,
        model_id: str | None = None,
        *,
        context_window: int = 4096,
        slots: int = 4,
        threads: int | None = None,
        model_options: Mapping[str, Any] | None = None,
    ) -> None:
        threads = _cores() if threads is None else threads
        for name, value in (("context_window", context_window), ("slots", slots), ("threads", threads)):
            if value < 1:
                raise InvalidArgument(f"{name} is {value!r}; it must be a whole number from 1.")
        self._embedded = find_weights(model_id or "") is EMBEDDED
        own = _EMBEDDED_OPTIONS if self._embedded else {}
        super().__init__(model_id, model_options={**own, **(model_options or {})})
        self._numbers = {"context_window": context_window, "slots": slots, "threads": threads}
        self._settings: Settings | None = None
        self._holder = object()
        # At exit every model is freed anyway, in an order that is safe.
        weakref.finalize(self, _llama.release, self._holder).atexit = False

    async def stream(self, request: Request) -> AsyncGenerator[Said, None]:
        """Generate the answer; see `Backend.stream`.

        Raises:
            ModelNotFound: the model's file does not exist.
            BackendUnavailable: the model cannot be fetched or loaded.
            ContextOverflow: the prompt is longer than `context_window`.
            RequestRefused: the model cannot do what is asked, such as read an image.
        """
        if self._settings is None:
            path = await _llama.outcome(_llama.in_thread(resolve_weights, self.model_id))
            self._settings = Settings(path=path, **self._numbers)
        if self._embedded:
            request = _for_embedded(request)
        reply = ChatReply(
            model=self.model_id,
            keep=bool(request.options.get(ModelOption.KEEP_RAW)),
            backend=self.name,
            refused=_refusal,
            renamed=False,  # the engine calls a model by its file's path
        )
        async with aclosing(_llama.generate(self._settings, _body(request), self._holder)) as chunks:
            async for chunk in chunks:
                for said in reply.read(chunk):
                    yield said
        for said in reply.end():
            yield said

    async def aclose(self) -> None:
        """Let go of the model; its memory is freed here if nobody else uses it."""
        await wrap_future(_llama.release(self._holder))


def _for_embedded(request: Request) -> Request:
    """Fill in what the embedded model does better with, where the caller has not said otherwise."""
    silent = all(message.role != "system" for message in request.messages)
    return replace(
        request,
        messages=(_EMBEDDED_SYSTEM, *request.messages) if silent else request.messages,
        options={**request.options, ModelOption.EXTRA: {**_EMBEDDED_EXTRA, **request.extra}},
    )


def _body(request: Request) -> bytes:
    body = chat_body(request, _FIELDS)
    # A chunk for every batch of the prompt: at each one a cancelled call can stop.
    try:
        return msgspec.json.encode({**body, "return_progress": True, **request.extra})
    except NOT_JSON as error:
        if (mistake := unwritable(request, error)) is not None:
            raise mistake from error
        raise RequestRefused(f"The request cannot be written as JSON: {error}.", backend="llamacpp") from error


def _refusal(told: Mapping[str, Any]) -> BackendError:
    status, message = told.get("code"), told.get("message", "no reason given")
    if told.get("type") == "exceed_context_size_error":
        sent, fits = told.get("n_prompt_tokens"), told.get("n_ctx")
        return ContextOverflow(
            f"The prompt has {sent} tokens and the context window {fits} (backend 'llamacpp'). Shorten the prompt, or "
            f"give the model a larger window: `start_session('llamacpp', context_window=…)`.",
            backend="llamacpp",
            status=status,
            input_tokens=sent,
            context_window=fits,
        )
    if isinstance(status, int) and status >= 500:
        return BackendUnavailable(f"The engine failed: {message} (backend 'llamacpp').", backend="llamacpp")
    return RequestRefused(f"The engine refused the request: {message}.", backend="llamacpp", status=status)


def _cores() -> int:
    """Count the threads that pay off: one core is left to the program, and hyperthreads only slow computing down.

    The threads wait for each other at every layer, so one that has to share its core holds up all: with as many as
    cores, a busy machine generates at less than half the speed of one thread fewer.
    """
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return max(1, min(cores - 1, max(4, cores // 2), 16))
