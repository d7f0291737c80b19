"""The library as its reference shows it: what the source leaves to be inferred is filled in, what is internal left out.

mkdocstrings reads the source without running it, and calls what is here when it has read the package.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import copy

from griffe import Alias, Attribute, Class, ExprName, Extension, Function, GriffeLoader, Module, Object

from mellea_like import _HOME

_TWIN = re.compile(r"_?(?:blocking|synchronous)\((\w+)\)")
_FACTORY = re.compile(r"\(lambda: (.*)\)\(\)")
_ARGS = re.compile(r"^Args:(?:\n+ .*)+", re.MULTILINE)
_SECTIONS = re.compile(r"^(?=Raises:|Example:|Source:)|\Z", re.MULTILINE)
_NAMED = re.compile(r"```.*?```|(?<!'s )`([A-Za-z][\w.]*)(\(…?\))?`", re.DOTALL)
"""Code blocks; and names in backticks, but not those that are somebody else's."""


class Readable(Extension):  # type: ignore[misc]  # griffe is installed for the site alone
    """Makes the package fit to be read."""

    def on_members(self, *, obj: Object, **_: object) -> None:
        """Give synchronous verbs, which are made of the asynchronous ones, the signatures and docstrings of those."""
        for made in [member for member in obj.members.values() if isinstance(member, Attribute)]:
            made.labels.discard("module-attribute")  # says what everybody sees
            if str(made.annotation) == "TypeAlias":
                made.value = str(made.value).strip("'")
            if twin := _TWIN.fullmatch(str(made.value)):
                obj.set_member(made.name, _synchronous(made, obj.members[twin[1]]))
        if obj.is_class:  # what is synchronous stands before its twin
            obj.members = dict(sorted(obj.members.items(), key=lambda member: member[1].lineno))

    def on_package(self, *, pkg: Module, loader: GriffeLoader, **_: object) -> None:
        """Show what classes have of bases that are not public as their own, and link what docstrings name."""
        loader.resolve_aliases(implicit=True, external=False)  # a signature may name a type by where it was imported
        classes = [pkg[name].final_target for name in _HOME if pkg[name].is_class]
        public = {found.path for found in classes}
        for found in sorted(classes, key=lambda found: len(found.mro())):
            _flatten(found, public)
        for found in list(_objects(pkg)):
            if found.is_class:
                _simplify(found)
            if found.docstring:
                found.docstring.value = _linked(found, pkg)


def _objects(found: Object) -> Iterator[Object]:
    for member in found.members.values():
        if not member.is_alias:
            yield member
            yield from _objects(member)


def _synchronous(made: Attribute, twin: Function) -> Function:
    lines = {"lineno": twin.lineno - 1, "endlineno": twin.endlineno}
    verb = Function(made.name, parameters=twin.parameters, returns=made.annotation or twin.returns, **lines)
    verb.docstring = copy(twin.docstring)
    verb.docstring.parent = verb
    return verb


def _flatten(found: Class, public: set[str]) -> None:
    ancestors = found.mro()
    for name, member in found.inherited_members.items():
        owner = member.target.parent
        if owner.path not in public:
            found.set_member(name, Alias(name, member.final_target, parent=found))
            if name == "__init__" and (args := _ARGS.search(owner.docstring.value)):
                prose, sections = _SECTIONS.split(found.docstring.value, maxsplit=1)
                found.docstring.value = f"{prose}\n\n{args[0]}\n\n{sections}"
    private = {base.path for base in ancestors} - public
    named = [base for base in found.bases if getattr(base, "canonical_path", base) not in private]
    if len(named) < len(found.bases):
        named += [ExprName(base.name, parent=base.parent) for base in ancestors if base.path in public][:1]
    found.bases = named


def _simplify(found: Class) -> None:
    for member in found.members.values():
        member.labels.difference_update({"class-attribute", "instance-attribute"})  # of use to dataclasses only
    for parameter in found.parameters:
        if factory := _FACTORY.fullmatch(str(parameter.default)):
            parameter.default = factory[1]


def _linked(found: Object, pkg: Module) -> str:
    """Make a link of each public name that a docstring has in backticks, and of other members of the same class."""
    scope = found if found.is_class else found.parent
    # What is a parameter, or without parentheses a word for something else as well.
    others = {"tool", "interrupt", *(taken.name for taken in getattr(found, "parameters", ()))}

    def link(named: re.Match[str]) -> str:
        first, *rest = (named[1] or "").split(".")
        target = pkg.members.get(first) if first in _HOME else scope.members.get(first) if scope.is_class else None
        for name in rest:
            target = target and target.all_members.get(name)
        if target is None or not target.docstring or (first in others and not named[2]):
            return named[0]
        return named[0] if target.canonical_path == found.path else f"[{named[0]}][{target.path}]"

    return _NAMED.sub(link, found.docstring.value)
