"""The four roles of a chat as names of their own: `HumanMessage("hi")` is `Message("user", "hi")`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast, get_args

from .content import Message, Role
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
    """A model's turn: `AIMessage("hi")` is `Message("assistant", "hi")`; see `HumanMessage`."""

    __slots__ = ()
    role = "assistant"

    def __init__(self, content: str, **rest: Any) -> None: ...


class SystemMessage(Message, metaclass=_RoleName):
    """A system's turn: `SystemMessage("Be brief.")` is `Message("system", "Be brief.")`; see `HumanMessage`."""

    __slots__ = ()
    role = "system"

    def __init__(self, content: str, **rest: Any) -> None: ...


class ToolMessage(Message, metaclass=_RoleName):
    """A tool's answer: `ToolMessage("4", tool_call_id="1")` is `Message("tool", …)`; see `HumanMessage`."""

    __slots__ = ()
    role = "tool"

    def __init__(self, content: str, **rest: Any) -> None: ...


def as_message(said: object) -> Message:
    """Make a message of what stands for one: a message, a user's text, `(role, text)`, `{"role": …, "content": …}`.

    Raises:
        InvalidArgument: it stands for none.
        UnknownName: there is no such role.
    """
    if isinstance(said, Message):
        return said
    if isinstance(said, str):
        return Message("user", said)
    if isinstance(said, tuple | list) and len(said) == 2:
        return Message(_role(said[0]), str(said[1]))
    if isinstance(said, Mapping) and {"role", "content"} <= said.keys():
        return Message(_role(said["role"]), str(said["content"]), tool_call_id=said.get("tool_call_id"))
    raise InvalidArgument(
        f"{said!r} is not a message. Give a Message, text, (role, text), or a dict with 'role' and 'content'."
    )


def _role(name: object) -> Role:
    role = _ALIASES.get(str(name), name)
    if role not in get_args(Role):
        raise unknown_name("role", name, (*get_args(Role), *_ALIASES))
    return cast("Role", role)
