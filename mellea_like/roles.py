"""The four roles of a chat as names of their own: `HumanMessage("hi")` is `Message("user", "hi")`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast, get_args

from .content import ImageBlock, Message, Role, ToolCall
from .errors import InvalidArgument, unknown_name

_ALIASES = {"human": "user", "ai": "assistant"}


class _RoleName(type):
    """Makes a class whose calls give plain messages of one role, and whose instances are all messages of that role.

    So a message is equal to itself whatever it was called when it was made, and copies and pickles as what it is.
    """

    role: Role

    def __call__(cls, content: str, **rest: Any) -> Any:
        return Message(cls.role, content, **rest)

    def __instancecheck__(cls, thing: object) -> bool:
        return isinstance(thing, Message) and thing.role == cls.role


class HumanMessage(Message, metaclass=_RoleName):
    """A user's turn: `HumanMessage("hi")` is `Message("user", "hi")`.

    Args:
        content: The text.
        rest: Images and the like, as for `Message`.

    Example:
        ```python
        from mellea_like import HumanMessage, Message

        print(HumanMessage("hi") == Message("user", "hi"), isinstance(Message("user", "hi"), HumanMessage))
        ```
    """

    __slots__ = ()
    role = "user"

    def __init__(self, content: str, **rest: Any) -> None: ...


class AIMessage(Message, metaclass=_RoleName):
    """A model's turn: `AIMessage("hi")` is `Message("assistant", "hi")`; see `HumanMessage`.

    Args:
        content: The text.
        rest: As for `Message`.
    """

    __slots__ = ()
    role = "assistant"

    def __init__(self, content: str, **rest: Any) -> None: ...


class SystemMessage(Message, metaclass=_RoleName):
    """A system's turn: `SystemMessage("Be brief.")` is `Message("system", "Be brief.")`; see `HumanMessage`.

    Args:
        content: The text.
        rest: As for `Message`.
    """

    __slots__ = ()
    role = "system"

    def __init__(self, content: str, **rest: Any) -> None: ...


class ToolMessage(Message, metaclass=_RoleName):
    """A tool's answer: `ToolMessage("4", tool_call_id="1")` is `Message("tool", …)`; see `HumanMessage`.

    Args:
        content: The text.
        rest: `tool_call_id`, and the like, as for `Message`.
    """

    __slots__ = ()
    role = "tool"

    def __init__(self, content: str, **rest: Any) -> None: ...


def as_message(said: object) -> Message:
    """Make a message of what stands for one: a message, a user's text, `(role, text)`, `{"role": …, "content": …}`.

    Content may be a list of parts, and a dict may have tool calls, both as OpenAI writes them.

    Raises:
        InvalidArgument: it stands for none, or its content is neither text nor images.
        UnknownName: there is no such role.
    """
    if isinstance(said, Message):
        return said
    if isinstance(said, str):
        return Message("user", said)
    if isinstance(said, tuple | list) and len(said) == 2:
        return _message(said[0], said[1])
    if isinstance(said, Mapping) and "role" in said and ("content" in said or said.get("tool_calls")):
        calls = [_tool_call(call) for call in said.get("tool_calls") or ()]
        return _message(said["role"], said.get("content"), tool_calls=calls, tool_call_id=said.get("tool_call_id"))
    raise InvalidArgument(
        f"{said!r} is not a message. Give a Message, text, (role, text), or a dict with 'role' and 'content'."
    )


def _message(role: object, content: Any, **rest: Any) -> Message:
    if content is None:  # a turn that only calls tools
        content = ""
    if not isinstance(content, tuple | list):
        return Message(_role(role), content, **rest)
    parts = [_part(part) for part in content]
    text = "".join([part for part in parts if isinstance(part, str)])
    return Message(_role(role), text, images=[part for part in parts if isinstance(part, ImageBlock)], **rest)


def _part(part: object) -> str | ImageBlock:
    match part:
        case str() | ImageBlock():
            return part
        case {"text": str(text)} | {"type": "refusal", "refusal": str(text)}:
            return text
        case {"image_url": {"url": str(url)} | str(url)}:
            return ImageBlock.from_url(url)
    raise InvalidArgument(
        f"This part of a message's content is neither text nor an image: {part!r}. Give text, "
        "{'type': 'text', 'text': …} or {'type': 'image_url', 'image_url': {'url': …}}."
    )


def _tool_call(call: object) -> ToolCall:
    match call:
        case ToolCall():
            return call
        case {"id": str(id), "function": {"name": str(name), "arguments": str(arguments)}}:
            return ToolCall(name=name, arguments=arguments, id=id)
    raise InvalidArgument(
        f"{call!r} is not a tool call. Give a ToolCall, or "
        "{'id': …, 'type': 'function', 'function': {'name': …, 'arguments': JSON text}}."
    )


def _role(name: object) -> Role:
    role = _ALIASES.get(str(name), name)
    if role not in get_args(Role):
        raise unknown_name("role", name, (*get_args(Role), *_ALIASES))
    return cast("Role", role)
