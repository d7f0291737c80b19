"""What is sent to a model and what comes back: messages, images, tool calls, requests. Pure data."""

from __future__ import annotations

import base64
import binascii
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Protocol, TypeAlias, get_args

from .arguments import listed
from .errors import InvalidArgument, unknown_name
from .markup import markdown_text, safe_markdown
from .options import ModelOption

Role: TypeAlias = Literal["system", "user", "assistant", "tool"]
"""Who says a turn of a chat."""

_ROLES: tuple[str, ...] = get_args(Role)

_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"RIFF", "image/webp"),
)
_BASE64_SIGNATURES = ("iVBORw0KGgo", "/9j/", "R0lGOD", "UklGR")
"""How those read in base64."""

_LONGEST_PATH = 4096
"""Characters; what is longer is not a path."""

_PNG_MODES = {"1", "L", "LA", "I;16", "P", "RGB", "RGBA"}


class PillowImage(Protocol):
    """What of an image of Pillow's is used here; Pillow itself is never imported."""

    @property
    def mode(self) -> str:
        """The kind of its pixels: `"RGB"`, `"CMYK"`, …."""

    def convert(self, mode: str, /) -> Any:
        """Return the image in another mode."""

    def save(self, file: Any, kind: str, /) -> None:
        """Write the image, encoded, to a file."""


ImageSource: TypeAlias = "ImageBlock | PillowImage | bytes | bytearray | str | PathLike[str]"
"""What an image can be made of: a block, an image of Pillow's, encoded bytes, a path, an address, or base64 text."""

Images: TypeAlias = "ImageSource | Iterable[ImageSource] | None"
"""Images that go with something: none, one, or several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageBlock:
    """An image for a model that can see: base64 text with its media type, or the address of an image.

    Args:
        value: The encoded image (PNG, JPEG, GIF or WebP) as base64 text.
        media_type: What `value` is.
        url: The address of an image, which the provider fetches; instead of `value`.

    Raises:
        InvalidArgument: neither or both of `value` and `url` were given, or `value` is not base64.

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

    def __post_init__(self) -> None:
        if bool(self.value) == (self.url is not None):
            given = "both" if self.value else "neither"
            raise InvalidArgument(f"An ImageBlock has either a value or a url; {given} was given.")
        try:
            binascii.a2b_base64(self.value, strict_mode=True)
        except ValueError as error:
            raise InvalidArgument(
                f"An ImageBlock's value is base64 text; {self.value[:24]!r}… is not: {error}. For a path, an address, "
                "bytes or an image of Pillow's, write `make_image_block(…)`."
            ) from error

    @classmethod
    def from_bytes(cls, content: bytes) -> ImageBlock:
        """Build a block from an encoded image's bytes; the media type is read off its first bytes.

        Raises:
            InvalidArgument: the bytes are not PNG, JPEG, GIF or WebP.
        """
        for signature, media_type in _SIGNATURES:
            if content.startswith(signature) and (signature != b"RIFF" or content[8:12] == b"WEBP"):
                return cls(value=base64.b64encode(content).decode("ascii"), media_type=media_type)
        raise InvalidArgument(f"These {len(content)} bytes are not PNG, JPEG, GIF or WebP; they start {content[:8]!r}.")

    @classmethod
    def from_file(cls, path: str | PathLike[str]) -> ImageBlock:
        """Build a block from an image file; see `from_bytes`.

        Raises:
            InvalidArgument: the file cannot be read, or is not an image.
        """
        try:
            content = Path(path).read_bytes()
        except (OSError, ValueError) as error:  # a path that no system has, such as one with a NUL
            why = error.strerror if isinstance(error, OSError) else error
            raise InvalidArgument(f"The image file {str(path)!r} cannot be read: {why}.") from error
        try:
            return cls.from_bytes(content)
        except InvalidArgument as error:
            raise InvalidArgument(f"The file {str(path)!r} is not an image. {error}") from error

    @classmethod
    def from_url(cls, url: str) -> ImageBlock:
        """Build a block from the address of an image, which the provider fetches, or from a `data:` URL.

        Raises:
            InvalidArgument: it is neither an http(s) address nor a `data:` URL with an image in base64.
        """
        if url.lower().startswith(("http://", "https://")):
            return cls(url=url)
        head, comma, value = url.partition(",")
        if head.startswith("data:image/") and head.endswith(";base64") and comma:
            return cls(value=value, media_type=head.removeprefix("data:").partition(";")[0])
        raise InvalidArgument(
            f"{url[:60]!r} is not the address of an image: it must start with http:// or https://, or be a `data:` URL "
            "of an image in base64."
        )

    @classmethod
    def from_pil_image(cls, image: PillowImage) -> ImageBlock:
        """Build a block from an image of Pillow's, as PNG.

        Raises:
            InvalidArgument: it is not an image of Pillow's, or cannot be written as PNG.
        """
        if not _is_pillow(image):
            raise InvalidArgument(f"from_pil_image takes an image of Pillow's, not {type(image).__name__}: {image!r}.")
        buffer = BytesIO()
        try:
            # PNG has no CMYK and no floats; a printer's photograph is still a photograph.
            (image if image.mode in _PNG_MODES else image.convert("RGB")).save(buffer, "PNG")
        except (OSError, ValueError) as error:
            raise InvalidArgument(f"{image!r} cannot be written as PNG: {error}") from error
        return cls.from_bytes(buffer.getvalue())

    def as_url(self) -> str:
        """Return the address, or a `data:` URL of the content."""
        return self.url if self.url is not None else f"data:{self.media_type};base64,{self.value}"

    def __repr__(self) -> str:
        # Base64 of a photograph would bury the line that it is printed on.
        size = len(self.value) * 3 // 4 - self.value[-2:].count("=")
        return f"ImageBlock({self.url or f'{self.media_type}, {size} bytes'})"


def _is_pillow(source: object) -> bool:
    # Whoever has such an image has imported Pillow; whoever has none need not.
    pillow = sys.modules.get("PIL.Image")
    return pillow is not None and isinstance(source, pillow.Image)


def make_image_block(src: ImageSource) -> ImageBlock:
    """Build an image block from whatever an image comes as.

    Args:
        src: An image of Pillow's, encoded bytes, a path, an address (`http://`, `https://`, `data:`), base64 text, or
            a block, which is returned as it is. Addresses are passed on and not fetched.

    Raises:
        InvalidArgument: it is none of these, or not an image that models take (PNG, JPEG, GIF, WebP).

    Example:
        ```python
        from mellea_like import make_image_block

        print(make_image_block("https://example.org/cat.png"))
        ```
    """
    match src:
        case ImageBlock():
            return src
        case bytes() | bytearray():
            return ImageBlock.from_bytes(bytes(src))
        case str() if re.match(r"[a-z]+://|data:", src, re.IGNORECASE):
            return ImageBlock.from_url(src)
        case str() if len(src) > _LONGEST_PATH or src.startswith(_BASE64_SIGNATURES):
            return _from_base64(src)
        case str() | PathLike():
            return ImageBlock.from_file(src)
        case _ if _is_pillow(src):
            return ImageBlock.from_pil_image(src)
    raise InvalidArgument(
        f"{type(src).__name__} is not an image: {src!r}. Give an image of Pillow's, bytes, a path, an address, or an "
        "ImageBlock."
    )


def image_blocks(images: Images) -> tuple[ImageBlock, ...]:
    """Build the blocks of what a verb or a message was given as images; see `make_image_block`."""
    return tuple(map(make_image_block, listed(images)))


def _from_base64(text: str) -> ImageBlock:
    try:
        return ImageBlock.from_bytes(base64.b64decode(text, validate=True))
    except ValueError as error:
        raise InvalidArgument(f"The text {text[:24]!r}… is neither a path nor an image in base64. {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A model's wish to have a tool called.

    Args:
        name: The tool's name.
        arguments: JSON text, exactly as the model wrote it.
        id: The call's id, which the answer to it names; None where the provider gives none.
    """

    name: str
    arguments: str = "{}"
    id: str | None = None


@dataclass(frozen=True, slots=True, init=False)
class Message:
    """One turn of a chat.

    Args:
        role: `"system"`, `"user"`, `"assistant"` or `"tool"`.
        content: The text.
        images: Images that go with the text, one or several: blocks, or anything that `make_image_block` takes.
        tool_calls: The tools that an assistant turn wants called.
        tool_call_id: On a `"tool"` turn, the call that it answers.
        parsed: What `chat(…, format=…)` made of the content; it is not sent.

    Raises:
        UnknownName: the role is none of the four.
        InvalidArgument: the content is no text, or an image is none.

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
    parsed: Any = field(default=None, kw_only=True, compare=False, repr=False)

    def __init__(
        self,
        role: Role,
        content: str,
        *,
        images: Images = (),
        tool_calls: Sequence[ToolCall] = (),
        tool_call_id: str | None = None,
        parsed: Any = None,
    ) -> None:
        # Written out, because it takes more kinds of images than it keeps.
        if role not in _ROLES:
            raise unknown_name("role", role, _ROLES)
        if not isinstance(content, str):
            raise InvalidArgument(
                f"A message's content is text, not {type(content).__name__}: {content!r}. Say a thunk or a component "
                "by itself, with `m.act(…)`."
            )
        keep = object.__setattr__
        keep(self, "role", role)
        keep(self, "content", content)
        keep(self, "images", image_blocks(images))
        keep(self, "tool_calls", tuple(tool_calls))
        keep(self, "tool_call_id", tool_call_id)
        keep(self, "parsed", parsed)

    def __str__(self) -> str:
        return self.content

    def _repr_markdown_(self) -> str:
        calls = (f"tool call: <code>{markdown_text(f'{c.name}({c.arguments})')}</code>" for c in self.tool_calls)
        images = (f"*{markdown_text(repr(image))}*" for image in self.images)
        content = safe_markdown(self.content)
        return "\n\n".join(filter(None, [f"**{self.role}**", *images, content, *calls]))


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
