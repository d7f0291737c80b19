"""Server-sent events, out: named events with JSON, or text alone for `EventSource.onmessage`. Pure functions of events.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Self

from ..errors import InvalidArgument
from ..events import Delta, Event
from . import is_failure
from .json_form import ErrorText, JSONForm, safe_text, whole_text

_HEADERS = MappingProxyType({"Cache-Control": "no-cache", "Connection": "keep-alive", "X-Accel-Buffering": "no"})
"""So that no cache keeps the stream, and no proxy holds it back."""

_LINE_END = re.compile(r"\r\n|\r|\n")
_DONE = "[DONE]"


class _Frames:
    """What both forms have in common."""

    media_type = "text/event-stream"
    headers: Mapping[str, str] = _HEADERS

    def __init__(self, *, retry: float | None, error_text: ErrorText) -> None:
        if retry is not None and retry < 0:
            raise InvalidArgument(f"retry is {retry!r}; give seconds, 0 or more, or None to leave it to the reader.")
        self._begin = b"" if retry is None else b"retry: %d\n" % round(retry * 1000)
        self._error_text = error_text
        self._json = JSONForm(error_text)

    def fresh(self) -> Self:
        """Give this encoder: it holds nothing of a stream."""
        return self

    def begin(self) -> bytes:
        """Give the time after which a reader that was cut off tries again: a line, not an event of its own."""
        return self._begin

    def keep_alive(self) -> bytes:
        """Give a comment, which readers pass over: a line, not an event of its own."""
        return b": keep-alive\n"


class SSEEncoder(_Frames):
    """Server-sent events with names: `id:` is the number, `event:` the event's type, `data:` its fields as JSON.

    In a browser, `new EventSource(…).addEventListener("token", …)`. Text alone becomes an event of type `delta`; values
    that are neither go without a name. The last event of a stream that breaks off is `error`, with the fields `type`
    and `error`.

    Args:
        event_name: One name for all events, in place of their types; `"message"` is what `onmessage` hears.
        retry: Seconds after which a reader that was cut off tries again; None leaves it to the reader.
        error_text: What to say of an error to whoever reads; by default its kind alone, because its message may quote a
            prompt or an address. `str` says all of it.

    Raises:
        InvalidArgument: the name has a line's end in it, or `retry` is below 0.

    Example:
        ```python
        from mellea_like import Delta, SSEEncoder

        print(SSEEncoder().encode(Delta(text="Hi", seq=0), 0).decode())
        ```
    """

    def __init__(
        self, *, event_name: str | None = None, retry: float | None = None, error_text: ErrorText = safe_text
    ) -> None:
        super().__init__(retry=retry, error_text=error_text)
        if event_name is not None and _LINE_END.search(event_name):
            raise InvalidArgument(f"event_name is {event_name!r}; the name of an event is one line.")
        self._name = None if event_name is None else event_name.encode()

    def encode(self, said: object, number: int) -> bytes:
        """Give one event; nothing for empty text."""
        if isinstance(said, str):
            if not said:
                return b""
            said = Delta(text=said, seq=number)
        if not isinstance(said, Event):
            name = b"" if self._name is None else b"event: %b\n" % self._name
            return b"id: %d\n%bdata: %b\n\n" % (number, name, self._json.value(said))
        return b"id: %d\nevent: %b\ndata: %b\n\n" % (
            number,
            said.type.encode() if self._name is None else self._name,
            self._json.event(said),
        )

    def fail(self, error: BaseException, number: int) -> bytes:
        """Give the event `error`."""
        said = self._json.value({"type": "error", "error": self._error_text(error)})
        return b"id: %d\nevent: %b\ndata: %b\n\n" % (number, self._name or b"error", said)

    def end(self) -> bytes:
        """Give nothing: the last event is the end."""
        return b""


class SSETextEncoder(_Frames):
    """Server-sent events without names, whose data is text alone, and `[DONE]` last: for `EventSource.onmessage`.

    Of events, text is what goes over the wire: `Delta`, and the `token` of a graph. No text can break the framing: a
    newline in it makes one more `data:` line, and a piece that would read `[DONE]` goes in two. The format knows no
    carriage return, which arrives as a newline; `json=True` keeps it. A stream that breaks off says so in an event
    named `error`, before `[DONE]`.

    Args:
        json: Write each piece as a JSON string, so that every character arrives as it was (`JSON.parse(e.data)`).
        retry: See `SSEEncoder`.
        error_text: See `SSEEncoder`.

    Raises:
        InvalidArgument: `retry` is below 0.

    Example:
        ```python
        from mellea_like import SSETextEncoder

        encoder = SSETextEncoder()
        print((encoder.encode("two\\nlines", 0) + encoder.end()).decode())
        ```
    """

    def __init__(self, *, json: bool = False, retry: float | None = None, error_text: ErrorText = safe_text) -> None:
        super().__init__(retry=retry, error_text=error_text)
        self._as_json = json

    def encode(self, said: object, number: int) -> bytes:
        """Give the text of one event, or nothing where it brings none."""
        text = said if isinstance(said, str) else _text_of(said)
        if not text:
            return _failure_of(said, number, self._error_text)
        if self._as_json:
            return b"id: %d\ndata: %b\n\n" % (number, self._json.value(text))
        if text == _DONE:
            # Whoever was cut off between the two has had neither: the number stands on the second.
            return b"data: %b\n\nid: %d\ndata: %b\n\n" % (text[:1].encode(), number, text[1:].encode())
        return b"id: %d\n%b" % (number, _lines(text))

    def fail(self, error: BaseException, number: int) -> bytes:
        """Give the event `error`, with what can be said of it."""
        return b"id: %d\nevent: error\n%b" % (number, _lines(self._error_text(error)))

    def end(self) -> bytes:
        """Give `[DONE]`."""
        return b"data: [DONE]\n\n"


def _text_of(said: object) -> str:
    """Return the text that an event adds to the answer; empty where it adds none."""
    if isinstance(said, Delta):
        return said.text
    text = getattr(said, "content", None) if isinstance(said, Event) and said.type == "token" else None
    return text if isinstance(text, str) else ""


def _failure_of(said: object, number: int, error_text: ErrorText) -> bytes:
    """Give the event `error` where `said` is the end of a stream that failed."""
    error = getattr(said, "error", None) if is_failure(said) else None
    if not isinstance(error, BaseException):
        return b""
    return b"id: %d\nevent: error\n%b" % (number, _lines(error_text(error)))


def _lines(text: str) -> bytes:
    """Write text as the lines of one event's data."""
    if "\n" in text or "\r" in text:
        text = "\ndata: ".join(_LINE_END.split(text))
    try:
        return b"data: %b\n\n" % text.encode()
    except UnicodeEncodeError:
        return b"data: %b\n\n" % whole_text(text).encode()
