"""Providers behind HTTP that answer in OpenAI's chat-completions form: how their streams are cut and read."""

from __future__ import annotations

from typing import Any

from ..content import Request
from ..options import ModelOption
from ..sse import EventDecoder
from ._chat import ChatReply
from ._http import HttpBackend


class ChatHttpBackend(HttpBackend):
    """An `HttpBackend` whose messages are chat-completions chunks in server-sent events; arguments as there."""

    def _decoder(self) -> EventDecoder:
        return EventDecoder(self.name)

    def _reply(self, request: Request) -> ChatReply:
        keep = bool(request.options.get(ModelOption.KEEP_RAW))
        return ChatReply(model=self.model_id, keep=keep, backend=self.name, refused=self._refusals().in_stream)

    async def _close(self, client: Any) -> None:
        await client.close()
