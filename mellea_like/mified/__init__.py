"""Objects that a model can be asked about, or asked to transform: any object, with chosen fields and methods.

Objects are read, never changed: an object is wrapped, and only a class that is given to `mify` itself gains methods.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Generic, Protocol, TypedDict, TypeVar, Unpack, cast, overload, runtime_checkable

from ..component import TemplateComponent
from ..content import Message
from ..errors import InvalidArgument
from ..parts import Component, Parsing, images_in, text_of
from . import members
from .members import CHOICE, Choice, names_of

T = TypeVar("T")


class Query(TemplateComponent):
    """A question about an object; what a session's `query` says.

    A subclass may have a template of its own, `templates/<ClassName>.jinja2` beside its module, with the variables
    `content` (the object as text) and `query`.

    Args:
        obj: What is asked about: anything; see `mify`.
        query: The question.

    Example:
        ```python
        from mellea_like import Query, start_session

        with start_session("fake", answers="4") as m:
            print(m.act(Query([1, 2, 4], "Which is the largest?")))
        ```

    Source: Mellea's `Query`, https://mellea.ai
    """

    _asked: ClassVar[str] = "query"

    def __init__(self, obj: object, query: object) -> None:
        self.obj = obj
        self.query = query
        self._subject = askable(obj)
        self._rendered: Sequence[Message] | None = None

    def parts(self) -> Iterable[object]:
        """Give the object and what is asked of it."""
        return (self._subject, getattr(self, self._asked))

    def variables(self) -> Mapping[str, object]:
        """Give what the template may name: the object as text, and what is asked of it."""
        return {"content": text_of(self._subject), self._asked: text_of(getattr(self, self._asked))}

    def messages(self) -> Sequence[Message]:
        """Render object and question, once: a history shows what the object was when it was asked about."""
        if self._rendered is None:
            images = images_in(self._subject)
            self._rendered = [Message(m.role, m.content, images=images) for m in super().messages()]
        return self._rendered

    def tools(self) -> Mapping[str, Callable[..., Any]]:
        """Give the object's methods that go with it."""
        return self._subject.tools()


class Transform(Query):
    """A wish to have an object changed; what a session's `transform` says.

    The object's methods are offered as tools. The answer is parsed by the object, where that was mified with a
    `parsing_func`; else it is text. A subclass may have a template of its own, as for `Query`; the variables are
    `content` and `transformation`.

    Args:
        obj: What is to be changed: anything; see `mify`. It is not changed itself.
        transformation: The wish.

    Source: Mellea's `Transform`, https://mellea.ai
    """

    _asked: ClassVar[str] = "transformation"

    def __init__(self, obj: object, transformation: object) -> None:
        super().__init__(obj, transformation)
        self.transformation = transformation

    def parse(self, text: str) -> Any:
        """Make of the answer what the object makes of it, or its text."""
        subject: object = self._subject
        return subject.parse(text) if isinstance(subject, Parsing) else text


@runtime_checkable
class MifiedProtocol(Component, Protocol):
    """What a mified object can do besides being said; for `isinstance`, so that a type checker knows it too."""

    def content_as_string(self) -> str:
        """Give the object as text."""
        ...

    def get_query_object(self, query: str) -> Query:
        """Build the question about the object."""
        ...

    def get_transform_object(self, transformation: str) -> Transform:
        """Build the wish to have the object changed."""
        ...

    def tools(self) -> Mapping[str, Callable[..., Any]]:
        """Give the methods that go with the object."""
        ...


class MObject:
    """A base for classes of objects that a model can be asked about; the same as `@mify` on the class.

    Override `content_as_string` to say how such an object reads.

    Example:
        ```python
        from mellea_like import MObject, start_session

        class Table(MObject):
            def __init__(self, rows):
                self.rows = rows

            def content_as_string(self):
                return "\\n".join(", ".join(map(str, row)) for row in self.rows)

            def transpose(self):
                \"\"\"Swap rows and columns.\"\"\"
                return Table(list(zip(*self.rows)))

        table = Table([["store", "sales"], ["north", 4]])
        with start_session("fake", answers="4") as m:
            print(m.act(table.get_query_object("What did the north sell?")))
        ```

    Source: Mellea's `MObject`, https://mellea.ai
    """

    _mellea_choice: ClassVar[Choice] = Choice(query_type=Query, transform_type=Transform)

    def parts(self) -> Iterable[object]:
        """Give the chosen fields that are stored; a property is first asked when the object is rendered."""
        return members.parts(self, self._mellea_choice)

    def messages(self) -> Sequence[Message]:
        """Render the object as one user's turn."""
        return members.messages(self, self._mellea_choice, self.content_as_string)

    def content_as_string(self) -> str:
        """Give the object as text."""
        return members.content(self, self._mellea_choice)

    def tools(self) -> Mapping[str, Callable[..., Any]]:
        """Give the chosen methods, bound to the object, by name."""
        return members.tools(self, self._mellea_choice)

    def get_query_object(self, query: str) -> Query:
        """Build the question about the object."""
        return cast("Query", self._mellea_choice.query_type(self, query))

    def get_transform_object(self, transformation: str) -> Transform:
        """Build the wish to have the object changed."""
        return cast("Transform", self._mellea_choice.transform_type(self, transformation))


class Mified(Generic[T]):
    """An object as a component: what `mify` makes of an object, which stays as it is in `wrapped`.

    Every other attribute is the object's own.
    """

    __slots__ = ("_mellea_choice", "wrapped")

    def __init__(self, wrapped: T, choice: Choice = MObject._mellea_choice) -> None:
        self.wrapped = wrapped
        self._mellea_choice = choice

    def parts(self) -> Iterable[object]:
        """See `MObject.parts`."""
        return members.parts(self.wrapped, self._mellea_choice)

    def messages(self) -> Sequence[Message]:
        """See `MObject.messages`."""
        return members.messages(self.wrapped, self._mellea_choice, self.content_as_string)

    def content_as_string(self) -> str:
        """See `MObject.content_as_string`."""
        return members.content(self.wrapped, self._mellea_choice)

    def tools(self) -> Mapping[str, Callable[..., Any]]:
        """See `MObject.tools`."""
        return members.tools(self.wrapped, self._mellea_choice)

    def get_query_object(self, query: str) -> Query:
        """See `MObject.get_query_object`."""
        return cast("Query", self._mellea_choice.query_type(self, query))

    def get_transform_object(self, transformation: str) -> Transform:
        """See `MObject.get_transform_object`."""
        return cast("Transform", self._mellea_choice.transform_type(self, transformation))

    def __getattr__(self, name: str) -> Any:
        # The object's own `parse` is not about answers; and a half-built copy has nothing to ask.
        if name == "parse" or name in Mified.__slots__:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self.wrapped, name)

    def __str__(self) -> str:
        return str(self.wrapped)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.wrapped!r})"


def askable(thing: object) -> MifiedProtocol:
    """Give a mified object as it is, and wrap anything else, without touching it: a class and None too."""
    return thing if isinstance(thing, MifiedProtocol) and not isinstance(thing, type) else Mified(thing)


class _MifiedWithParser(Mified[T]):
    """A mified object that says what an answer is."""

    __slots__ = ()

    def parse(self, text: str) -> Any:
        return _parsed(self, text)


def _parsed(thing: Any, text: str) -> Any:
    return thing._mellea_choice.parsing_func(text)


class _Options(TypedDict, total=False):
    """What `mify` takes besides its subject; see there."""

    fields_include: Iterable[str] | None
    fields_exclude: Iterable[str] | None
    funcs_include: Iterable[str] | None
    funcs_exclude: Iterable[str] | None
    query_type: Callable[[Any, str], Query]
    transform_type: Callable[[Any, str], Transform]
    template: str | None
    template_order: str | Iterable[str] | None
    parsing_func: Callable[[str], Any] | None
    stringify_func: Callable[[Any], str] | None


@overload
def mify(obj: None = None, **options: Unpack[_Options]) -> Callable[[type[T]], type[T]]: ...
@overload
def mify(obj: type[T], **options: Unpack[_Options]) -> type[T]: ...  # type: ignore[overload-overlap]  # a class is no object here
@overload
def mify(obj: T, **options: Unpack[_Options]) -> Mified[T]: ...
def mify(
    obj: Any = None,
    *,
    fields_include: Iterable[str] | None = None,
    fields_exclude: Iterable[str] | None = None,
    funcs_include: Iterable[str] | None = None,
    funcs_exclude: Iterable[str] | None = None,
    query_type: Callable[[Any, str], Query] = Query,
    transform_type: Callable[[Any, str], Transform] = Transform,
    template: str | None = None,
    template_order: str | Iterable[str] | None = None,
    parsing_func: Callable[[str], Any] | None = None,
    stringify_func: Callable[[Any], str] | None = None,
) -> Any:
    """Make an object, or the objects of a class, something a model can be asked about.

    An object reads as its own `str()`; where its class does not say how that looks, or a thunk stands in a field, as
    its public fields in JSON. With fields chosen, as those in JSON. A template decides otherwise.

    Args:
        obj: An object, which is wrapped and stays as it is; or a class, which gains methods, as with a decorator. None
            makes a decorator.
        fields_include: The fields that the model sees; properties too, each asked once per rendering. None for all
            public ones that are stored.
        fields_exclude: Fields that the model does not see.
        funcs_include: The methods that a transform offers as tools. None for the public ones with a docstring.
        funcs_exclude: Methods that it does not offer.
        query_type: Builds questions about the object; a subclass of `Query`.
        transform_type: Builds wishes to change it; a subclass of `Transform`.
        template: A Jinja template of how it reads; its variables are the fields and, where none were chosen, `content`.
        template_order: Names of template files, the first that exists is taken; `"*"` is that of the class. They are
            looked for as those of a `TemplateComponent`.
        parsing_func: Makes of the answer to a transform what it means.
        stringify_func: Makes the object's text of it.

    Returns:
        The class, or the wrapped object; both are components, and `MifiedProtocol`.

    Raises:
        InvalidArgument: the class already has one of the methods of a component.
        UnknownName: the class has no such method.

    Example:
        ```python
        from mellea_like import mify, start_session

        @mify(fields_include={"table"}, template="{{ table }}")
        class Sales:
            table: str = "| north | 4 |"

            def clear(self):
                \"\"\"Empty the table.\"\"\"

        with start_session("fake", answers="4") as m:
            print(m.act(Sales().get_query_object("What did the north sell?")))
            print(list(mify({"north": 4}).parts()), list(Sales().tools()))
        ```

    Source: Mellea's `mify`, https://mellea.ai
    """
    choice = Choice(
        fields_include=None if fields_include is None else names_of(fields_include),
        fields_exclude=names_of(fields_exclude or ()),
        funcs_include=None if funcs_include is None else names_of(funcs_include),
        funcs_exclude=names_of(funcs_exclude or ()),
        query_type=query_type,
        transform_type=transform_type,
        template=template,
        template_order=names_of(template_order or ()),
        parsing_func=parsing_func,
        stringify_func=stringify_func,
    )
    if obj is None:
        return lambda kind: _with_methods(kind, choice)
    if isinstance(obj, type):
        return _with_methods(obj, choice)
    if isinstance(obj, MifiedProtocol) and choice == MObject._mellea_choice:
        return obj
    thing = obj.wrapped if isinstance(obj, Mified) else obj
    return (Mified if parsing_func is None else _MifiedWithParser)(thing, choice)


_GAINED = ("parts", "messages", "tools")
"""What a class gains and may not have already: a field or method of that name would be taken for the component's."""

_KEPT = ("content_as_string", "get_query_object", "get_transform_object")
"""What a class gains unless it has it."""


def _with_methods(kind: Any, choice: Choice) -> Any:
    if not isinstance(kind, type):
        raise InvalidArgument(f"@mify decorates a class, not {kind!r}. For an object, write `mify(thing, …)`.")
    gained = [*_GAINED, *(["parse"] if choice.parsing_func else [])]
    taken = [name for name in (*_GAINED, "parse") if _has(kind, name) or name in inspect.get_annotations(kind)]
    if taken:
        raise InvalidArgument(
            f"The class {kind.__name__} already has {', '.join(map(repr, taken))}, which would be taken for a "
            "component's. Mify its objects instead: `mify(thing, …)` wraps one and leaves its class alone."
        )
    for name in choice.funcs_include or ():
        members.known(kind, name, "method", members.documented(kind))
    for name in gained:
        setattr(kind, name, _parsed if name == "parse" else MObject.__dict__[name])
    for name in _KEPT:
        if not hasattr(kind, name):
            setattr(kind, name, MObject.__dict__[name])
    setattr(kind, CHOICE, choice)
    return kind


def _has(kind: type, name: str) -> bool:
    found: object = inspect.getattr_static(kind, name, None)
    return found not in {None, _parsed, MObject.__dict__.get(name)}
