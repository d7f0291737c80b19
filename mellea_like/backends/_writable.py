"""Which option or message of a request cannot be written as JSON: asked only when a client could not write it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ..content import Message, Request
from ..errors import InvalidArgument
from ..options import ModelOption

NOT_JSON = (TypeError, ValueError, RecursionError)
"""What `json` raises at a value that it cannot write: of a foreign type, infinite, holding itself."""


def unwritable(request: Request, error: Exception) -> InvalidArgument | None:
    """Return the error for the first option or message that cannot be written; None where `error` has other reasons."""
    for name, value in _sent(request):
        try:
            json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
        except NOT_JSON as reason:
            shown = repr(value)
            return InvalidArgument(
                f"The model option {name} is {shown if len(shown) <= 60 else shown[:57] + '...'} (type "
                f"{type(value).__name__!r}), which cannot be sent, because it is not JSON: {reason}. Give it as "
                "strings, finite numbers, booleans, None, lists and dicts."
            )
    for number, message in enumerate(request.messages, 1):
        for text in (message.content, *(call.arguments for call in message.tool_calls)):
            try:
                text.encode()
            except UnicodeEncodeError as reason:
                return _half(number, message, text, reason.start)
    return None


def _half(number: int, message: Message, text: str, at: int) -> InvalidArgument:
    return InvalidArgument(
        f"Message {number} of the request (role {message.role!r}) cannot be sent: its character {at} is {text[at]!r}, "
        "half of a surrogate pair, which is no text. Leave such halves out: `text.encode(errors='ignore').decode()`."
    )


def _sent(request: Request) -> Iterator[tuple[str, Any]]:
    for option, value in request.options.items():
        if option not in {ModelOption.STREAM_TIMEOUT, ModelOption.EXTRA, ModelOption.TOOLS}:
            yield repr(str(option)), value
    for field, value in request.extra.items():
        yield "'extra'", {field: value}
    yield "'tools'", [dict(tool) for tool in request.tools]
