"""The backend `openai`: OpenAI, and every server that speaks its chat-completions API.

The official client connects, authenticates and closes; its per-chunk model building, nearly all of what a chunk costs,
is passed by: the raw response is read.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from ..content import Request
from ..errors import BackendError, MissingPackage, RequestRefused, unknown_name
from ..options import ModelOption
from ._chat import FIELDS, OPTIONS, chat_body
from ._chat_http import ChatHttpBackend
from ._refusals import Refusals
from ._strict import strict_schema

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_USUAL_PLACE = "https://api.openai.com/v1"

Transport: TypeAlias = Literal["httpx", "aiohttp"]
"""The package that carries the bytes."""


class OpenAIBackend(ChatHttpBackend):
    """OpenAI, or any server that speaks its API (vLLM, llama.cpp, LM Studio, …).

    The key comes from `api_key`, else from `OPENAI_API_KEY`; the address from `base_url`, else from `OPENAI_BASE_URL`.
    A server of one's own often wants no key.

    Args:
        model_id: The model as the server knows it.
        base_url: Where the server answers; None for what is said above.
        api_key: The key; None for what is said above.
        transport: What carries the bytes: `"httpx"`, or `"aiohttp"`, which costs less where a server is fast, and needs
            the extra `aiohttp`. Everything else is the same with both.
        timeout: Seconds of silence, between two pieces of the answer or before the first, after which the call fails;
            None waits for ever. `ModelOption.STREAM_TIMEOUT` sets it for one call.
        connect_timeout: Seconds for making the connection.
        total_timeout: Seconds for the whole answer; None for no limit.
        retries: How often a call is tried again that found nobody, was told 429 or got a 5xx, before its first text.
        max_concurrency: Calls that may run at once; further ones wait in line. None for no limit.
        requests_per_second: Calls that may begin in a second; None for no limit.
        model_options: Options for every call through this backend.

    Raises:
        InvalidArgument: a number is out of range, or the address is none.
        UnknownName: there is no such transport.

    Example:
        ```python
        from mellea_like import start_session

        m = start_session("openai:gpt-4o-mini", api_key="…", max_concurrency=8)
        print(m)
        ```
    """

    name = "openai"
    default_model = "gpt-4o-mini"
    options = OPTIONS | {ModelOption.THINKING}

    def __init__(
        self,
        model_id: str | None = None,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        transport: Transport = "httpx",
        timeout: float | None = 120.0,
        connect_timeout: float = 10.0,
        total_timeout: float | None = None,
        retries: int = 2,
        max_concurrency: int | None = None,
        requests_per_second: float | None = None,
        model_options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(
            model_id,
            base_url=base_url,
            api_key=api_key,
            timeout=timeout,
            connect_timeout=connect_timeout,
            total_timeout=total_timeout,
            retries=retries,
            max_concurrency=max_concurrency,
            requests_per_second=requests_per_second,
            model_options=model_options,
        )
        if transport not in get_args(Transport):
            raise unknown_name("transport", transport, get_args(Transport))
        self.transport = transport

    def _connect(self) -> Any:
        import httpx2
        import openai

        address = self._address()
        key = self.api_key or os.environ.get("OPENAI_API_KEY")
        if key is None:
            if address == _USUAL_PLACE:
                raise RequestRefused(
                    "OpenAI wants a key, and there is none (backend 'openai'). Set OPENAI_API_KEY, give "
                    "`api_key=…`, or use `start_session('llamacpp')`, which needs none.",
                    backend=self.name,
                )
            key = "none"  # the client insists on one; the server of one's own does not
        return openai.AsyncOpenAI(
            api_key=key,
            base_url=address,
            max_retries=0,  # a call is retried in one place, ours
            timeout=httpx2.Timeout(None, connect=self.connect_timeout),
            http_client=_over_aiohttp() if self.transport == "aiohttp" else None,
        )

    @property
    def _is_openai(self) -> bool:
        # Servers that only speak the API take any schema, and some know only the old name of the token limit.
        return self._address() == _USUAL_PLACE

    def constrains(self, schema: Mapping[str, Any]) -> bool:
        """Whether the model is held to a schema: OpenAI's own are to objects only."""
        return not self._is_openai or schema.get("type") == "object"

    def body(self, request: Request) -> dict[str, Any]:
        """Write a request as what is sent, without its `extra`."""
        fields = FIELDS | {ModelOption.MAX_NEW_TOKENS: "max_completion_tokens"} if self._is_openai else FIELDS
        body = chat_body(request, fields)
        if thinking := request.options.get(ModelOption.THINKING):
            body["reasoning_effort"] = thinking if isinstance(thinking, str) else "medium"
        if self._is_openai and request.schema is not None:
            if not self.constrains(request.schema):
                del body["response_format"]
            else:
                strict = strict_schema(request.schema)
                form = body["response_format"]["json_schema"]
                form |= {"strict": False} if strict is None else {"schema": strict}
        return body

    async def _open(self, client: AsyncOpenAI, request: Request, stack: AsyncExitStack) -> AsyncIterator[bytes]:
        body = self.body(request)
        opening = client.chat.completions.with_streaming_response.create(
            model=self.model_id, extra_body=dict(request.extra), **body
        )
        response = await stack.enter_async_context(opening)
        return await self._checked(response.http_response, ("text/event-stream",), stack)

    def _failures(self) -> tuple[type[Exception], ...]:
        import httpx2
        import openai

        return (openai.OpenAIError, httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL, UnicodeError)

    def _translated(self, error: Exception, *, began: bool) -> BackendError:
        import openai

        if isinstance(error, openai.APIStatusError):
            return self._refusals().of_status(error.status_code, error.response.headers, error.response.content)
        return super()._translated(error, began=began)

    def _address(self) -> str:
        return self.base_url or os.environ.get("OPENAI_BASE_URL") or _USUAL_PLACE

    def _refusals(self) -> Refusals:
        return Refusals(
            backend=self.name,
            model=self.model_id,
            address=self._address(),
            unavailable="Check the address and the network, or use `start_session('llamacpp')`, which needs neither.",
            missing="is the name right, and does the address end in '/v1'?",
            key="`api_key` or OPENAI_API_KEY",
        )


def _over_aiohttp() -> Any:
    import openai

    try:
        from ._aiohttp import AiohttpTransport
    except ImportError as error:
        raise MissingPackage(
            f"The transport 'aiohttp' of the backend 'openai' needs the package 'aiohttp' ({error}). Install it with "
            "`pip install 'mellea-like[aiohttp]'`, or leave `transport` out."
        ) from error
    return openai.DefaultAsyncHttpxClient(transport=AiohttpTransport())
