"""The backend `huggingface`: Inference Providers of the Hugging Face hub, or a TGI or OpenAI-compatible server.

The official client chooses the provider, authenticates and prepares the request; its stream is read raw, and closed
when the call ends (the client itself keeps a stream's connection until the client is closed).
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from contextvars import Context
from typing import Any

from ..content import Request
from ..engine import in_worker
from ..errors import BackendError, RequestRefused
from ._chat import OPTIONS, chat_body
from ._chat_http import ChatHttpBackend
from ._refusals import Refusals

_USUAL_PLACE = "https://router.huggingface.co"


class HuggingFaceBackend(ChatHttpBackend):
    """A model of the Hugging Face hub, run by an inference provider; or one behind a TGI or OpenAI-compatible URL.

    The token comes from `api_key`, else from `HF_TOKEN` or `huggingface-cli login`. See `HttpBackend` for the other
    arguments; `provider` is not among them: write it into the model's name as the hub does (`"org/model:groq"`).

    Example:
        ```python
        from mellea_like import start_session

        m = start_session("huggingface:meta-llama/Llama-3.1-8B-Instruct")
        print(m)
        ```
    """

    name = "huggingface"
    default_model = "meta-llama/Llama-3.1-8B-Instruct"
    options = OPTIONS

    def _connect(self) -> Any:
        import httpx2
        from huggingface_hub import AsyncInferenceClient

        timeout: Any = httpx2.Timeout(None, connect=self.connect_timeout)
        token = self.api_key or os.environ.get("HF_TOKEN")
        if token is None and self.base_url is not None:
            token = "none"  # a server of one's own; the client would look for a token of the hub's and send it there
        return AsyncInferenceClient(self.base_url, token=token, timeout=timeout)

    async def _open(self, client: Any, request: Request, stack: AsyncExitStack) -> AsyncIterator[bytes]:
        # Choosing a provider may ask the hub, by blocking.
        prepared = await in_worker(lambda: self._prepared(client, request), context=Context())
        http = await client._get_async_client()
        sending = http.stream(
            "POST", prepared.url, json=prepared.json, headers=prepared.headers, timeout=client.timeout
        )
        return await self._checked(await stack.enter_async_context(sending), ("text/event-stream",), stack)

    def _prepared(self, client: Any, request: Request) -> Any:
        from huggingface_hub.inference._providers import get_provider_helper

        body = {**chat_body(request), **request.extra, "model": self.model_id}
        messages = body.pop("messages")
        where = self.base_url or self.model_id
        helper = get_provider_helper(None, task="conversational", model=where)
        try:
            prepared: Any = helper.prepare_request(
                inputs=messages, parameters=body, headers=client.headers, model=where, api_key=client.token
            )
        except ValueError as error:
            raise RequestRefused(
                f"Hugging Face cannot take this request (backend 'huggingface'): {error} The token comes from "
                "`api_key` or HF_TOKEN.",
                backend=self.name,
            ) from error
        if self.base_url is not None and "response_format" in body:
            # The client writes the form of old TGI servers, in which no other server finds the schema.
            prepared.json["response_format"] = body["response_format"]
        return prepared

    def _failures(self) -> tuple[type[Exception], ...]:
        import httpx2
        from huggingface_hub.errors import HfHubHTTPError

        return (httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL, UnicodeError, HfHubHTTPError)

    def _translated(self, error: Exception, *, began: bool) -> BackendError:
        from huggingface_hub.errors import HfHubHTTPError

        if isinstance(error, HfHubHTTPError):  # the hub was asked for the model's providers, and refused
            return self._refusals().of_status(
                error.response.status_code, error.response.headers, error.response.content
            )
        return super()._translated(error, began=began)

    def _address(self) -> str:
        return self.base_url or _USUAL_PLACE

    def _refusals(self) -> Refusals:
        return Refusals(
            backend=self.name,
            model=self.model_id,
            address=self._address(),
            unavailable="Check the address and the network, or use `start_session('llamacpp')`, which needs neither.",
            missing="is the name right, and does a provider serve it?",
            key="`api_key` or HF_TOKEN",
        )
