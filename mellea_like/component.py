"""What can be said to a model: components, and the pieces they are made of.

A component knows what it is made of (`parts`) and how it reads as messages (`messages`). A thunk among the parts is
awaited before the component is rendered. Nothing here knows a backend or a session.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, runtime_checkable

from .content import ImageBlock, Message
from .errors import DependencyFailed, InvalidArgument
from .template import render, render_file
from .thunk import ModelOutputThunk


@runtime_checkable
class Component(Protocol):
    """Anything that can be said to a model: what it is made of, and how it reads."""

    def parts(self) -> Iterable[object]:
        """Give what the component is made of; thunks in it are awaited before `messages` is called."""
        ...

    def messages(self) -> Sequence[Message]:
        """Render the component; every thunk of its parts has its text by now."""
        ...


@dataclass(frozen=True, slots=True)
class CBlock:
    """A piece of text, as it is: no template, no markup.

    Raises:
        InvalidArgument: the value is not a string.
    """

    value: str

    def __post_init__(self) -> None:
        if not isinstance(self.value, str):
            raise InvalidArgument(f"CBlock holds text, not {type(self.value).__name__}: {self.value!r}.")

    def __str__(self) -> str:
        return self.value

    def parts(self) -> Iterable[object]:
        """Give nothing: text has no parts."""
        return ()

    def messages(self) -> Sequence[Message]:
        """Render the text as a user's turn."""
        return (Message("user", self.value),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """An instruction with what belongs to it; what `instruct` builds.

    Args:
        description: What to do. With `user_variables`, a Jinja template.
        requirements: Sentences that the answer must satisfy, told to the model.
        icl_examples: Examples of good answers.
        grounding_context: Texts to work from, by name. They are data and never rendered as templates.
        user_variables: Values for the templates in `description`, `prefix` and `icl_examples`; thunks are awaited.
            None leaves braces as they are.
        prefix: How the answer is to begin.
        images: Images that go with the instruction.
    """

    description: str
    requirements: Sequence[str] = ()
    icl_examples: Sequence[object] = ()
    grounding_context: Mapping[str, object] = field(default_factory=dict)
    user_variables: Mapping[str, object] | None = None
    prefix: str | None = None
    images: Sequence[ImageBlock] = ()

    def parts(self) -> Iterable[object]:
        """Give everything that may be, or hold, a thunk."""
        return (self.description, *self.icl_examples, self.grounding_context, self.user_variables, self.prefix)

    def messages(self) -> Sequence[Message]:
        """Render the instruction as one user's turn.

        Raises:
            TemplateError: a template is wrong, or names a variable that was not given.
        """
        variables = None if self.user_variables is None else settled(self.user_variables)

        def filled(text: object) -> str:
            return str(settled(text)) if variables is None else render(str(settled(text)), variables)

        description = filled(self.description)
        if self.requirements or self.icl_examples or self.grounding_context or self.prefix:
            description = render_file(
                "instruction.jinja2",
                {
                    "description": description,
                    "requirements": self.requirements,
                    "icl_examples": [filled(example) for example in self.icl_examples],
                    "grounding_context": settled(self.grounding_context),
                    "prefix": filled(self.prefix) if self.prefix else None,
                },
            ).rstrip("\n")
        return (Message("user", description, images=tuple(self.images)),)


Sayable: TypeAlias = "str | Message | Component | ModelOutputThunk[Any]"
"""What a session's verbs take: text, a turn, a component, or a thunk of an earlier call."""


def said_messages(said: Sayable) -> Sequence[Message]:
    """Render anything sayable; text and thunks are a user's turn.

    Raises:
        InvalidArgument: it is not sayable.
    """
    if isinstance(said, Message):
        return (said,)
    if isinstance(said, str | ModelOutputThunk):
        return (Message("user", str(settled(said))),)
    if isinstance(said, Component):
        return said.messages()
    raise InvalidArgument(
        f"{type(said).__name__} cannot be said to a model: {said!r}. Give text, a Message, a thunk, or a component "
        "(an object with `parts()` and `messages()`)."
    )


def thunks_in(part: object) -> Iterator[ModelOutputThunk[Any]]:
    """Find the thunks in a part: itself, or inside the lists, tuples, dicts and components that it is made of."""
    if isinstance(part, ModelOutputThunk):
        yield part
    elif isinstance(part, str | bytes | int | float | None):
        return
    elif isinstance(part, Mapping):
        for value in part.values():
            yield from thunks_in(value)
    elif isinstance(part, list | tuple | set | frozenset):
        for value in part:
            yield from thunks_in(value)
    elif not isinstance(part, type | Message) and isinstance(part, Component):
        for value in part.parts():
            yield from thunks_in(value)


def settled(part: Any) -> Any:
    """Return `part` with the text of each thunk in its place; the caller's own lists and dicts are left as they are.

    Raises:
        DependencyFailed: a thunk failed or was cancelled.
    """
    if isinstance(part, ModelOutputThunk):
        if part.value is None:
            error = part.error
            why = f"failed: {error}" if error is not None else f"was {part.state}"
            raise DependencyFailed(f"This call needs the text of {part!r}, which {why}", thunk=repr(part)) from error
        return part.value
    if isinstance(part, Mapping):
        return {key: settled(value) for key, value in part.items()}
    if isinstance(part, list | tuple):
        return [settled(value) for value in part]
    return part
