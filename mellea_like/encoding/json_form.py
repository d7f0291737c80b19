"""Anything as JSON, for a wire: what is not JSON is shown, and nothing that a state may hold ends a stream.

Errors are shown by their kind alone: a message may quote a prompt, a path or an address.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import msgspec

from ..events import Delta, Event, Finished, Thinking
from ..thunk import ModelOutputThunk

ErrorText: TypeAlias = Callable[[BaseException], str]

_DEEPEST = 32
"""How many levels are shown: a state may hold itself."""

_LONGEST_REPR = 200
"""Characters that are shown of what is no JSON."""

_NOT_JSON = (TypeError, ValueError, OverflowError, RecursionError)
"""What the encoder raises at what it does not know; a lone surrogate's error is a ValueError."""

_LINE_ENDS = {"\x85": "\\u0085", "\u2028": "\\u2028", "\u2029": "\\u2029"}
"""What cuts a line for some readers, though not by the rules of JSON or of events."""


def safe_text(error: BaseException) -> str:
    """Say what can be said of an error to anybody: its kind."""
    return type(error).__name__


class JSONForm:
    """Writes events and values as one line of JSON.

    Args:
        error_text: What to say of an error.
    """

    __slots__ = ("_encoder", "_error_text")

    def __init__(self, error_text: ErrorText = safe_text) -> None:
        self._error_text = error_text
        self._encoder = msgspec.json.Encoder(enc_hook=self._shown)

    def event(self, event: Event) -> bytes:
        """Write an event: its `type` first, then its fields."""
        if type(event) is Delta or type(event) is Thinking:  # nearly always; the same as below at a fifth of the cost
            try:
                return b'{"type":"%b",%b' % (event.type.encode(), _on_one_line(self._encoder.encode(event)[1:]))
            except _NOT_JSON:
                pass
        said = event.as_dict()
        if isinstance(event, Finished):  # which may have further events within it
            said = {name: self._inner(value) for name, value in said.items()}
        return self.value(said)

    def value(self, value: object) -> bytes:
        """Write any value."""
        try:
            return _on_one_line(self._encoder.encode(value))
        except _NOT_JSON:
            return _on_one_line(msgspec.json.encode(self._plain(value, 0)))

    def _inner(self, value: Any) -> Any:
        """Give an event's field; events within it with their types, which dataclasses alone would leave out."""
        if type(value) is tuple and value and isinstance(value[0], Event):
            return [event.as_dict() for event in value]
        return value

    def _shown(self, value: Any) -> Any:
        """Give what stands for a value that is not JSON: one level, plain or to be shown again."""
        try:
            return self._stands_for(value)
        except Exception:  # code of the user's (`__repr__`, a model's serializer), which must not end the stream
            return f"<{type(value).__name__}>"

    def _stands_for(self, value: Any) -> Any:
        match value:
            case BaseException():
                return self._error_text(value)
            case Event():
                return {name: self._inner(inner) for name, inner in value.as_dict().items()}
            case ModelOutputThunk():
                return value.partial_text
            case Mapping():
                return dict(value)
        dump = getattr(value, "model_dump", None)  # pydantic is not imported to find that nothing is of its making
        if dump is not None and not isinstance(value, type):
            return dump(mode="json")
        text = repr(value)
        return text if len(text) <= _LONGEST_REPR else f"{text[: _LONGEST_REPR - 3]}..."

    def _plain(self, value: Any, depth: int) -> Any:
        """Rebuild a value of what certainly is JSON."""
        if depth > _DEEPEST:
            return "..."
        match value:
            case None | bool() | int():
                return value
            case float():
                return value if math.isfinite(value) else None
            case str():
                return whole_text(value)
            case Mapping():
                return {whole_text(self._key(key)): self._plain(inner, depth + 1) for key, inner in value.items()}
            case list() | tuple() | set() | frozenset():
                return [self._plain(inner, depth + 1) for inner in value]
        if dataclasses.is_dataclass(value) and not isinstance(value, type | Event):
            return {name: self._plain(inner, depth + 1) for name, inner in _fields(value)}
        return self._plain(self._shown(value), depth + 1)

    def _key(self, key: Any) -> str:
        return key if isinstance(key, str) else str(self._shown(key))


def _fields(value: Any) -> Iterable[tuple[str, Any]]:
    return ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value) if field.repr)


def whole_text(text: str) -> str:
    """Return text that can be sent: a half of a character, which some tokenizers cut, becomes its replacement."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _on_one_line(encoded: bytes) -> bytes:
    """Escape what readers that cut with `splitlines()` take for a line's end; within strings, which it only can be."""
    if encoded.isascii():
        return encoded
    for raw, escaped in _LINE_ENDS.items():
        encoded = encoded.replace(raw.encode(), escaped.encode())
    return encoded
