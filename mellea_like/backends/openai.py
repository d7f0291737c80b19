"""The backend `openai`: OpenAI, and every server that speaks its chat-completions API.

The official client connects, authenticates and closes; its per-chunk model building, nearly all of what a chunk costs,
is passed by: the raw response is read.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from ..content import Request
from ..errors import BackendError, RequestRefused
from ..options import ModelOption
from ._chat import FIELDS, OPTIONS, chat_body
from ._chat_http import ChatHttpBackend
from ._refusals import Refusals

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_USUAL_PLACE = "https://api.openai.com/v1"


class OpenAIBackend(ChatHttpBackend):
    """OpenAI, or any server that speaks its API (vLLM, llama.cpp, LM Studio, …).

    The key comes from `api_key`, else from `OPENAI_API_KEY`; the address from `base_url`, else from `OPENAI_BASE_URL`.
    A server of one's own often wants no key. See `HttpBackend` for the arguments.

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
        )

    async def _open(self, client: AsyncOpenAI, request: Request, stack: AsyncExitStack) -> AsyncIterator[bytes]:
        body = chat_body(request, FIELDS)
        if thinking := request.options.get(ModelOption.THINKING):
            body["reasoning_effort"] = thinking if isinstance(thinking, str) else "medium"
        opening = client.chat.completions.with_streaming_response.create(
            model=self.model_id, extra_body=dict(request.extra), **body
        )
        response = await stack.enter_async_context(opening)
        return await self._checked(response.http_response, ("text/event-stream",))

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
