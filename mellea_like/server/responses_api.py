"""OpenAI's Responses API: answers as responses with items, whole or as a stream. Both are what one encoder makes."""

from __future__ import annotations

from starlette.responses import Response
from starlette.types import Receive

from ..encoding.json_form import JSONForm
from ..encoding.openai_responses import OpenAIResponseEncoder
from .asked import Asked
from .response_requests import ResponseRequest, asked_by
from .streaming import unless_gone
from .telling import Telling

_JSON = JSONForm()


class Responses:
    """Answers in the Responses API's form.

    Args:
        telling: What starts answers, and tells of them.
    """

    def __init__(self, telling: Telling) -> None:
        self._telling = telling

    async def answer(self, request: ResponseRequest, receive: Receive) -> Response | None:
        """Answer a request, whole or as a stream; None where the client left before there was anything to send.

        Raises:
            MelleaError: it cannot be answered; nothing has been sent.
        """
        asked, telling = asked_by(request), self._telling
        encoder = OpenAIResponseEncoder(model=telling.model, echo=request.repeated(), error_text=telling.error_text)
        if request.stream:
            return await unless_gone(receive, lambda: telling.stream(asked, encoder))
        return await unless_gone(receive, lambda: self._whole(asked, encoder))

    async def _whole(self, asked: Asked, encoder: OpenAIResponseEncoder) -> Response:
        await self._telling.whole(asked, lambda event: encoder.encode(event, event.seq))
        encoder.end()
        return Response(_JSON.value(encoder.response), media_type="application/json")
