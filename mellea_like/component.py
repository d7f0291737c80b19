"""Components that are made of text: blocks, instructions, documents, named parts, and those with a template file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, ClassVar

from .arguments import listed
from .content import ImageBlock, Images, Message, Role, image_blocks
from .errors import InvalidArgument
from .parts import Component as Component
from .parts import OffersTools as OffersTools
from .parts import Parsing as Parsing
from .parts import Sayable as Sayable
from .parts import images_in, settled, text_of
from .parts import said_messages as said_messages
from .parts import thunks_in as thunks_in
from .template import render, render_file, render_for
from .thunk import ModelOutputThunk


@dataclass(frozen=True, slots=True)
class CBlock:
    """A piece of text, as it is: no template, no markup.

    Args:
        value: The text.

    Raises:
        InvalidArgument: the value is not a string.

    Example:
        ```python
        from mellea_like import CBlock, start_session

        with start_session("fake") as m:
            print(m.act(CBlock("{{ no template }}")))
        ```

    Source: Mellea's `CBlock`, https://mellea.ai
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


_ONE_TEXT = (ModelOutputThunk, Component)
"""What is one text, though some of these can be iterated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """An instruction with what belongs to it; what `instruct` builds.

    Thunks and components may stand wherever text may; they are data, and never rendered as templates.

    Args:
        description: What to do. With `user_variables`, a Jinja template.
        requirements: Sentences that the answer must satisfy, told to the model.
        icl_examples: Examples of good answers, or one.
        grounding_context: Texts to work from, by name. They are data and never rendered as templates.
        user_variables: Values for the templates in `description`, `requirements`, `prefix` and `icl_examples`; thunks
            are awaited. None leaves braces as they are.
        prefix: How the answer is to begin.
        images: Images that go with the instruction, one or several: blocks, or anything that `make_image_block` takes.
            Images among the variables and in the grounding context go with it too.
        repair: Why the answer before was not accepted, where there was one; told to the model as it is.
    """

    description: object
    requirements: Iterable[object] = ()
    icl_examples: object = ()
    grounding_context: Mapping[str, object] = field(default_factory=dict)
    user_variables: Mapping[str, object] | None = None
    prefix: object = None
    images: Images = ()
    repair: str | None = None

    def __post_init__(self) -> None:
        # An instruction is rendered once for every attempt, and an iterator could be read once.
        keep = object.__setattr__
        keep(self, "requirements", listed(self.requirements))
        keep(self, "icl_examples", listed(self.icl_examples, *_ONE_TEXT))
        keep(self, "images", image_blocks(self.images))

    def parts(self) -> Iterable[object]:
        """Give everything that may be, or hold, a thunk or an image."""
        return (self.description, self.icl_examples, self.grounding_context, self.user_variables, self.prefix)

    def messages(self) -> Sequence[Message]:
        """Render the instruction as one user's turn.

        Raises:
            TemplateError: a template is wrong, or names a variable that was not given.
        """
        variables = None if self.user_variables is None else settled(self.user_variables)

        def filled(text: object) -> str:
            return render(text, variables) if isinstance(text, str) and variables is not None else text_of(text)

        description = filled(self.description)
        if self.requirements or self.icl_examples or self.grounding_context or self.prefix or self.repair:
            description = render_file(
                "instruction.jinja2",
                {
                    "description": description,
                    "requirements": [filled(requirement) for requirement in self.requirements],
                    "icl_examples": [filled(example) for example in listed(self.icl_examples)],
                    "grounding_context": settled(self.grounding_context),
                    "prefix": filled(self.prefix) if self.prefix else None,
                    "repair": self.repair,
                },
            ).rstrip("\n")
        images = (*image_blocks(self.images), *images_in(self.parts()))
        return (Message("user", description, images=images),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A text to work from, with its title and name; said by itself or as a part of something else.

    Args:
        text: What it says; text, a thunk, or a component.
        title: What it is called.
        doc_id: The name by which the model may cite it.

    Example:
        ```python
        from mellea_like import Document, start_session

        report = Document("Sales rose by 4 %.", title="Report", doc_id="r1")
        with start_session("fake", answers="By 4 % [r1].") as m:
            print(m.instruct("By how much did sales rise?", grounding_context={"report": report}))
        ```
    """

    text: object = field(kw_only=False)
    title: str | None = field(default=None, kw_only=False)
    doc_id: str | None = field(default=None, kw_only=False)

    def parts(self) -> Iterable[object]:
        """Give the text."""
        return (self.text,)

    def messages(self) -> Sequence[Message]:
        """Render the document as a user's turn: a line with its name and title, then its text."""
        head = " ".join(filter(None, [f"[{self.doc_id}]" if self.doc_id else None, self.title]))
        text = text_of(self.text)
        return (Message("user", f"{head}\n{text}" if head else text, images=images_in(self.text)),)


class SimpleComponent:
    """Named parts, said as one JSON object: text, numbers, lists, dicts, thunks, components.

    Args:
        named: The parts. Thunks among them, at any depth, are awaited; components stand as their text, and another
            `SimpleComponent` as an object in the object.

    Example:
        ```python
        from mellea_like import SimpleComponent, start_session

        with start_session("fake") as m:
            haiku = m.instruct("Write a haiku.", await_result=False)
            print(m.act(SimpleComponent(task="Judge this poem.", poem=haiku, scale=[1, 5])))
        ```
    """

    __slots__ = ("_named",)

    def __init__(self, **named: object) -> None:
        self._named = named

    def parts(self) -> Iterable[object]:
        """Give the named parts."""
        return self._named.values()

    def messages(self) -> Sequence[Message]:
        """Render the parts as one user's turn."""
        return (Message("user", as_json(self), images=images_in(self)),)

    def named(self) -> Mapping[str, object]:
        """Give the parts by name."""
        return self._named

    def __repr__(self) -> str:
        return f"SimpleComponent({', '.join(f'{name}={value!r}' for name, value in self._named.items())})"


def as_json(value: object) -> str:
    """Write a value as JSON for a model to read: thunks and components as their text, what JSON has not as `str()`."""
    return json.dumps(_plain(value), ensure_ascii=False)


def _plain(value: object) -> Any:
    if isinstance(value, str | int | float | None):
        return value
    if isinstance(value, SimpleComponent):
        value = value.named()
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(inner) for inner in value]
    if isinstance(value, type | ModelOutputThunk | Component | ImageBlock | Message):
        return text_of(value)
    named = dataclass_fields(value)
    return text_of(value) if named is None else {name: _plain(inner) for name, inner in named.items()}


def dataclass_fields(thing: object) -> dict[str, object] | None:
    """Return the fields of a dataclass's instance by name, None for anything else."""
    if isinstance(thing, type) or not is_dataclass(thing):
        return None
    return {f.name: getattr(thing, f.name) for f in fields(thing)}


class TemplateComponent:
    """A base for components that are a dataclass with a template file beside it: the fields are the variables.

    The file is `templates/<ClassName>.jinja2` beside the module that defines the class, or the one that `template`
    names, in the same folder or among the library's own; a subclass without a file of its own has its base's. It is
    compiled once, and again when it was edited. Fields may be, or hold, thunks and components; images among them go
    with the message.

    Attributes:
        template: The file's name, where it is not that of the class.
        role: Whose turn it is.

    Example:
        ```python
        from dataclasses import dataclass
        from mellea_like import TemplateComponent, start_session

        @dataclass
        class Query(TemplateComponent):
            content: str
            query: str
            template = "Query"  # one of the library's own; leave this out for `templates/Query.jinja2` of yours

        with start_session("fake") as m:
            print(m.act(Query(content="Sales rose by 4 %.", query="By how much?")))
        ```
    """

    template: ClassVar[str] = "*"
    role: ClassVar[Role] = "user"

    def variables(self) -> Mapping[str, object]:
        """Give what the template may name: the dataclass's fields, or an ordinary object's public attributes."""
        return dataclass_fields(self) or {k: v for k, v in vars(self).items() if not k.startswith("_")}

    def parts(self) -> Iterable[object]:
        """Give the variables' values."""
        return self.variables().values()

    def messages(self) -> Sequence[Message]:
        """Render the template as one turn.

        Raises:
            TemplateError: there is no template file, or it cannot be rendered; the message names places, file and line.
        """
        variables = self.variables()
        text = render_for(type(self), settled(variables), names=(self.template,)).rstrip("\n")
        return (Message(self.role, text, images=images_in(variables)),)
