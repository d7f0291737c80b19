"""What an object shows of itself to a model: chosen fields and methods, and its text. Read, and never changed."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..component import as_json
from ..content import ImageBlock, Message
from ..errors import unknown_name
from ..parts import Component, has_components, images_in, settled, text_of
from ..template import render, render_for
from ..thunk import ModelOutputThunk

CHOICE = "_mellea_choice"
"""The attribute that keeps a class's choice."""

OWN = frozenset({"parts", "messages", "tools", "content_as_string", "get_query_object", "get_transform_object"})
"""The methods that make an object a component; none of them is a tool of its."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What `mify` was told; see there."""

    query_type: Callable[[Any, str], Any]
    transform_type: Callable[[Any, str], Any]
    fields_include: tuple[str, ...] | None = None
    fields_exclude: tuple[str, ...] = ()
    funcs_include: tuple[str, ...] | None = None
    funcs_exclude: tuple[str, ...] = ()
    template: str | None = None
    template_order: tuple[str, ...] = ()
    parsing_func: Callable[[str], Any] | None = None
    stringify_func: Callable[[Any], str] | None = None

    @property
    def fields(self) -> bool:
        """Whether fields were chosen."""
        return self.fields_include is not None or bool(self.fields_exclude)


def names_of(given: str | Iterable[str]) -> tuple[str, ...]:
    """List names in their order, where they have one."""
    if isinstance(given, str):
        return (given,)
    return tuple(sorted(given) if isinstance(given, set | frozenset) else given)


def parts(thing: Any, choice: Choice) -> Iterable[object]:
    """Give the chosen fields that are stored; no property is asked."""
    if isinstance(thing, Mapping | list | tuple | set | frozenset) or (_reads(thing) and not choice.fields):
        return (thing,)
    stored = _stored(thing)
    chosen = stored if choice.fields_include is None else choice.fields_include
    return [stored[name] for name in chosen if name in stored and name not in choice.fields_exclude]


def messages(thing: Any, choice: Choice, content: Callable[[], str]) -> Sequence[Message]:
    """Render the object as a user's turn: through its template, as its chosen fields, or as `content`."""
    if choice.template is not None or choice.template_order:
        variables = settled(_chosen(thing, choice))
        if not choice.fields:
            variables = {"content": content(), **variables}
        text = _from_template(thing, choice, variables)
    else:
        text = as_json(settled(_chosen(thing, choice))) if choice.fields else content()
    return (Message("user", text, images=images_in(parts(thing, choice))),)


def _from_template(thing: Any, choice: Choice, variables: Mapping[str, Any]) -> str:
    if choice.template is not None:
        return render(choice.template, variables)
    return render_for(type(thing), variables, names=choice.template_order).rstrip("\n")


def content(thing: Any, choice: Choice) -> str:
    """Give the object's text: `stringify_func`, its own `str()`, or its public fields as JSON."""
    if choice.stringify_func is not None:
        return choice.stringify_func(thing)
    if _reads(thing):
        return text_of(thing)
    if isinstance(thing, Mapping | list | tuple | set | frozenset):
        return as_json(settled(thing))
    kind: Any = type(thing)
    stored = _stored(thing)
    speaks = kind.__str__ is not object.__str__ or kind.__repr__ is not object.__repr__
    if not stored or (speaks and not has_components(stored)):
        return str(thing)
    return as_json(settled(stored))


def _chosen(thing: Any, choice: Choice) -> dict[str, Any]:
    """Read the chosen fields, each once."""
    stored = _stored(thing)
    names = list(stored) if choice.fields_include is None else choice.fields_include
    chosen = {}
    for name in names:
        if name not in choice.fields_exclude:
            if name not in stored:
                known(thing, name, "field", stored)
            chosen[name] = stored[name] if name in stored else getattr(thing, name)
    return chosen


def _reads(thing: Any) -> bool:
    """Whether a thing says itself how it reads; one that was mified asks us."""
    if isinstance(thing, type) or hasattr(type(thing), CHOICE):
        return False
    return isinstance(thing, str | Message | ImageBlock | ModelOutputThunk | Component)


def _stored(thing: Any) -> dict[str, Any]:
    """Read the public fields that an object stores: its own, its slots, and its class's annotated ones."""
    if isinstance(thing, type):
        return {}
    own: dict[str, Any] = dict(getattr(thing, "__dict__", {}))
    declared: dict[str, Any] = {}
    for kind in reversed(type(thing).__mro__):
        own |= _slots(thing, kind)
        declared |= {name: kind.__dict__[name] for name in _annotated(kind) if _is_value(kind, name)}
    found = own | {name: value for name, value in declared.items() if name not in own}
    return {name: value for name, value in found.items() if not name.startswith("_")}


def _slots(thing: Any, kind: type) -> dict[str, Any]:
    slots = kind.__dict__.get("__slots__", ())
    found = {}
    for name in (slots,) if isinstance(slots, str) else slots:
        slot = kind.__dict__.get(name)
        if inspect.ismemberdescriptor(slot):
            try:
                found[name] = slot.__get__(thing)
            except AttributeError:  # never set
                continue
    return found


def _annotated(kind: type) -> dict[str, Any]:
    try:
        return inspect.get_annotations(kind)
    except NameError:  # an annotation that only a type checker can resolve, on Pythons that evaluate them when asked
        return {}


def _is_value(kind: type, name: str) -> bool:
    annotation = str(_annotated(kind)[name])
    return name in kind.__dict__ and "ClassVar" not in annotation and not hasattr(type(kind.__dict__[name]), "__get__")


def tools(thing: Any, choice: Choice) -> Mapping[str, Callable[..., Any]]:
    """Give the chosen methods, bound, by name."""
    kind = thing if isinstance(thing, type) else type(thing)
    offered = list(documented(kind))
    names = offered if choice.funcs_include is None else choice.funcs_include
    bound = {}
    for name in names:
        if name not in choice.funcs_exclude:
            known(thing, name, "method", offered)
            bound[name] = getattr(thing, name)
    return bound


def documented(kind: type) -> Iterator[str]:
    """Give the names of the public methods with a docstring that the object's own package defines."""
    own = kind.__module__.partition(".")[0]
    names = [name for base in reversed(kind.__mro__) if base.__module__.partition(".")[0] == own for name in vars(base)]
    for name in dict.fromkeys(names):
        found = inspect.getattr_static(kind, name)
        function = getattr(found, "__func__", found)  # of a class method or a static one
        public = not name.startswith("_") and name not in OWN
        if public and inspect.isfunction(function) and function.__doc__:
            yield name


def known(thing: Any, name: str, what: str, valid: Iterable[str]) -> None:
    """Raise where neither the object nor its class has an attribute of that name.

    Raises:
        UnknownName: it has none.
    """
    kind = thing if isinstance(thing, type) else type(thing)
    missing = object()
    if inspect.getattr_static(thing, name, missing) is missing and not hasattr(kind, "__getattr__"):
        raise unknown_name(f"{what} of {kind.__name__} called", name, valid)
