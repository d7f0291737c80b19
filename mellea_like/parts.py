"""What components are: the protocols, and the walk through what one is made of.

Thunks are found wherever they stand, so that they can be awaited; afterwards each reads as its text. The caller's own
lists and dicts are only ever read. Nothing here knows a template, a backend or a session.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol, TypeAlias, TypeGuard, TypeVar, runtime_checkable

from .content import ImageBlock, Message
from .errors import DependencyFailed, InvalidArgument, MelleaError, OutputParseError
from .thunk import ModelOutputThunk

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")

_PLAIN = str | bytes | int | float | None
"""What neither is nor holds a thunk; most parts are, so it is asked first."""


@runtime_checkable
class Component(Protocol):
    """Anything that can be said to a model: what it is made of, and how it reads.

    A class of yours needs these two methods and no base class. With a third, `parse(text)`, it also says what an
    answer to it is (see `Parsing`); with `tools()`, which functions go with it (see `OffersTools`).

    Example:
        ```python
        from mellea_like import Message, start_session

        class Haiku:
            def __init__(self, subject):
                self.subject = subject  # text, or a thunk of an earlier call

            def parts(self):
                return (self.subject,)

            def messages(self):
                return (Message("user", f"Write a haiku about {self.subject}."),)

        with start_session("fake", answers="Old pond, a frog leaps.") as m:
            print(m.act(Haiku("a pond")))
        ```
    """

    def parts(self) -> Iterable[object]:
        """Give what the component is made of; thunks in it are awaited before `messages` is called."""
        ...

    def messages(self) -> Sequence[Message]:
        """Render the component; every thunk of its parts has its text by now."""
        ...


@runtime_checkable
class Parsing(Protocol[T_co]):
    """What a component has besides, where an answer to it is more than text."""

    def parse(self, text: str) -> T_co:
        """Make of the answer's text what it means; raise `ValueError` where it means nothing."""
        ...


@runtime_checkable
class OffersTools(Protocol):
    """What a component has besides, where functions go with it that the model may call."""

    def tools(self) -> Mapping[str, Callable[..., Any]]:
        """Give the functions by the names that the model calls them by."""
        ...


@lru_cache(maxsize=1024)
def _has(kind: type, *methods: str) -> bool:
    # `isinstance` asks a protocol's members one by one, each time: 5 us where a call asks it five times over.
    return all(callable(getattr(kind, name, None)) for name in methods)


def is_component(thing: object) -> TypeGuard[Component]:
    """Whether a thing can be said by itself."""
    kind: Any = type(thing)  # a type is hashable, which its type does not say
    return _has(kind, "parts", "messages")


def is_parsing(thing: object) -> TypeGuard[Parsing[Any]]:
    """Whether a component says what an answer to it is."""
    kind: Any = type(thing)
    return _has(kind, "parse", "parts", "messages")


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
    if is_component(said):
        return said.messages()
    raise InvalidArgument(
        f"{type(said).__name__} cannot be said to a model: {said!r}. Give text, a Message, a thunk, or a component "
        "(an object with `parts()` and `messages()`)."
    )


class Saying:
    """One saying of a component: its parts are listed once and it is rendered once, however often that is asked.

    So nothing of the user's (a property, a `__str__`) runs twice for one call, and the history of a chat shows what was
    said, whatever became of the component since.
    """

    __slots__ = ("_messages", "_parts", "said")

    def __init__(self, said: Component) -> None:
        self.said = said
        self._parts: tuple[object, ...] | None = None
        self._messages: tuple[Message, ...] | None = None

    def parts(self) -> Iterable[object]:
        """Give the parts, as they were when first asked for."""
        if self._parts is None:
            self._parts = tuple(self.said.parts())
        return self._parts

    def messages(self) -> Sequence[Message]:
        """Give the messages, as they were when first asked for."""
        if self._messages is None:
            self._messages = tuple(said_messages(self.said))
            self._parts = ()  # nothing is waited for any more, and what was needed need not be kept
        return self._messages


def once(said: Sayable) -> Sayable:
    """Wrap a component so that it is read once; what cannot change is returned as it is."""
    if isinstance(said, str | Message | ModelOutputThunk | Saying) or not is_component(said):
        return said
    return Saying(said)


def leaves(part: object, *, above: tuple[int, ...] = ()) -> Iterator[ModelOutputThunk[Any] | ImageBlock]:
    """Find the thunks and the images in a part: itself, or inside the lists, dicts and components that it is made of.

    Raises:
        InvalidArgument: a list, dict or component contains itself.
    """
    if isinstance(part, _PLAIN):
        return
    if isinstance(part, ModelOutputThunk | ImageBlock):
        yield part
        return
    inner = _inside(part)
    if inner is None:
        return
    if id(part) in above:
        raise InvalidArgument(f"This {type(part).__name__} contains itself, so it has no end as a prompt.")
    for value in inner:
        yield from leaves(value, above=(*above, id(part)))


def _inside(part: object) -> Iterable[object] | None:
    if isinstance(part, Mapping):
        return part.values()
    if isinstance(part, list | tuple | set | frozenset):
        return part
    if isinstance(part, Message):
        return part.images
    if not isinstance(part, type) and is_component(part):
        return part.parts()
    return None


def thunks_in(part: object) -> Iterator[ModelOutputThunk[Any]]:
    """Find the thunks in a part; see `leaves`."""
    return (leaf for leaf in leaves(part) if isinstance(leaf, ModelOutputThunk))


def images_in(part: object) -> tuple[ImageBlock, ...]:
    """List the images in a part; see `leaves`."""
    return tuple(leaf for leaf in leaves(part) if isinstance(leaf, ImageBlock))


def has_components(part: object) -> bool:
    """Whether a part is or holds what does not read as Python writes it: a thunk, an image, a component."""
    if isinstance(part, _PLAIN):
        return False
    if isinstance(part, Mapping):
        return any(map(has_components, part.values()))
    if isinstance(part, list | tuple | set | frozenset):
        return any(map(has_components, part))
    return isinstance(part, ModelOutputThunk | ImageBlock | Message) or (
        not isinstance(part, type) and is_component(part)
    )


def settled(part: Any) -> Any:
    """Return `part` with the text of each thunk in its place; the caller's own lists and dicts are left as they are.

    Raises:
        DependencyFailed: a thunk failed or was cancelled.
    """
    if isinstance(part, _PLAIN):
        return part
    if isinstance(part, ModelOutputThunk):
        return _text_of_thunk(part)
    if isinstance(part, Mapping):
        return {key: settled(value) for key, value in part.items()}
    if isinstance(part, list | set | frozenset):
        return [settled(value) for value in part]
    if isinstance(part, tuple):
        # A named tuple keeps its names, which a template may ask for.
        values = [settled(value) for value in part]
        return type(part)(*values) if hasattr(part, "_fields") else tuple(values)
    return part


def _text_of_thunk(thunk: ModelOutputThunk[Any]) -> str:
    if thunk.value is not None:
        return thunk.value
    error = thunk.error
    why = f"failed: {error}" if error is not None else f"was {thunk.state}"
    raise DependencyFailed(f"This call needs the text of {thunk!r}, which {why}", thunk=repr(thunk)) from error


def text_of(part: Any) -> str:
    """Return the text that stands for a part inside a prompt: a thunk's text, a component as it reads, else `str()`.

    Components in a list stand below each other, those in a dict below their names.

    Raises:
        DependencyFailed: a thunk failed or was cancelled.
    """
    if isinstance(part, str):
        return str(part)
    if isinstance(part, int | float | None):
        return str(part)
    if isinstance(part, ModelOutputThunk):
        return _text_of_thunk(part)
    if isinstance(part, Message):
        return part.content
    if isinstance(part, ImageBlock):
        return "[image]"
    if not isinstance(part, type) and is_component(part):
        return "\n\n".join(message.content for message in part.messages())
    if isinstance(part, Mapping | list | tuple | set | frozenset) and has_components(settled(part)):
        # As Python writes a list, its components would stand there as Python writes objects.
        named = part.items() if isinstance(part, Mapping) else ((None, value) for value in part)
        return "\n\n".join(f"{name}:\n{text_of(value)}" if name else text_of(value) for name, value in named)
    return str(settled(part))


def parsed_by(component: Parsing[T], text: str) -> T:
    """Let a component parse the answer to it.

    Args:
        component: The component that was said.
        text: The whole answer.

    Raises:
        OutputParseError: the component found nothing in it that it understands; its own error is the cause.
    """
    try:
        return component.parse(text)
    except MelleaError:
        raise
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
        # What parsing code raises on a text that it did not expect; anything else is passed on as it is.
        name = type(component).__name__
        raise OutputParseError(f"{name} cannot parse the answer: {type(error).__name__}: {error}", text=text) from error
