"""What is sent to a model and what comes back: messages, images, tool calls, requests. Pure data."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, get_args

from .errors import InvalidArgument, unknown_name
from .options import ModelOption

Role: TypeAlias = Literal["system", "user", "assistant", "tool"]

_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"RIFF", "image/webp"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageBlock:
    """An image for a model that can see: base64 text with its media type, or the address of an image.

    Example:
        ```python
        from mellea_like import ImageBlock

        image = ImageBlock(url="https://example.org/cat.png")
        print(image.as_url())
        ```
    """

    value: str = ""
    media_type: str = "image/png"
    url: str | None = None

    @classmethod
    def from_bytes(cls, content: bytes) -> ImageBlock:
        """Build a block from an encoded image's bytes; the media type is read off its first bytes.

        Raises:
            InvalidArgument: the bytes are not PNG, JPEG, GIF or WebP.
        """
        for signature, media_type in _SIGNATURES:
            if content.startswith(signature):
                return cls(value=base64.b64encode(content).decode("ascii"), media_type=media_type)
        raise InvalidArgument(f"These {len(content)} bytes are not PNG, JPEG, GIF or WebP; they start {content[:8]!r}.")

    @classmethod
    def from_file(cls, path: str | Path) -> ImageBlock:
        """Build a block from an image file; see `from_bytes`."""
        return cls.from_bytes(Path(path).read_bytes())

    def as_url(self) -> str:
        """Return the address, or a `data:` URL of the content."""
        return self.url if self.url is not None else f"data:{self.media_type};base64,{self.value}"

    def __repr__(self) -> str:
        # Base64 of a photograph would bury the line that it is printed on.
        size = len(self.value) * 3 // 4 - self.value[-2:].count("=")
        return f"ImageBlock({self.url or f'{self.media_type}, {size} bytes'})"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A model's wish to have tool `name` called; `arguments` is JSON text, exactly as the model wrote it."""

    name: str
    arguments: str = "{}"
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat.

    Args:
        role: `"system"`, `"user"`, `"assistant"` or `"tool"`.
        content: The text.
        images: Images that go with the text.
        tool_calls: The tools that an assistant turn wants called.
        tool_call_id: On a `"tool"` turn, the call that it answers.

    Raises:
        UnknownName: the role is none of the four.

    Example:
        ```python
        from mellea_like import Message

        print(Message("user", "hello"))
        ```
    """

    role: Role
    content: str
    images: tuple[ImageBlock, ...] = field(default=(), kw_only=True)
    tool_calls: tuple[ToolCall, ...] = field(default=(), kw_only=True)
    tool_call_id: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if self.role not in get_args(Role):
            raise unknown_name("role", self.role, get_args(Role))

    def __str__(self) -> str:
        return self.content


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """All that one generation needs: what a backend's `stream` is given.

    Args:
        messages: The rendered prompt, system turn first where there is one.
        options: Resolved options; the keys are `ModelOption` members (which are plain strings).
        schema: JSON schema that the answer must follow, or None for free text.
        tools: JSON descriptions of the tools that the model may call.
    """

    messages: tuple[Message, ...]
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    schema: Mapping[str, Any] | None = None
    tools: Sequence[Mapping[str, Any]] = ()

    @property
    def extra(self) -> Mapping[str, Any]:
        """Provider-only fields, passed through unchecked (`ModelOption.EXTRA`)."""
        extra: Mapping[str, Any] = self.options.get(ModelOption.EXTRA, {})
        return extra
