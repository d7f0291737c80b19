"""The shape of a type: its fields and items, and a validator for each, so that a value can be judged part by part.

It is read off pydantic's own schema of the type. A part is validated when it closes; what holds it is then built of
the parts as they are, with its own validators, and no part is validated again.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from pydantic import TypeAdapter
from pydantic_core import SchemaError, SchemaValidator

from ..partial.json_tree import LIST, OBJECT, Problem
from .schemas import BLINDERS, LISTS, OBJECTS, SIMPLE, WRAPPERS, Schema, Site, functions, judged, keys, paths


class _Judged(threading.local):
    parts: Sequence[object] = ()


_judged = _Judged()
_PART = {"type": "function-plain", "function": {"type": "no-info", "function": lambda at: _judged.parts[at]}}
"""The schema of a part that was judged before: a number in the JSON."""


class TypeShape:
    """What one schema says of a value and its parts; see `Shape` in `json_tree`.

    Args:
        schema: pydantic's schema of the value.
        site: Where it stands.
        checks: Whether values are validated by themselves, and not only with what holds them.
    """

    def __init__(self, schema: Schema, site: Site, *, checks: bool = True) -> None:
        self._schema = schema
        self._site = site
        self.checks = checks
        self._core = schema
        self._inner = site
        self._seen_through = True
        while (inner := self._within()) is not None:
            self._core = inner

    def _within(self) -> Schema | None:
        if (config := self._core.get("config")) is not None:
            self._inner = Site(self._inner.definitions, config)
        if (inner := self._site.inside(self._core)) is not None:
            return inner
        self._seen_through = self._seen_through and self._core["type"] in {*OBJECTS, *LISTS}
        hides: Schema | None = self._core.get({**WRAPPERS, **BLINDERS}.get(self._core["type"], ""))
        return hides

    # --- what it is -------------------------------------------------------------------------------------------------

    @cached_property
    def grows(self) -> bool:
        """See `Shape`."""
        return self._core["type"] in {"str", "any"} or any(option.grows for option in self._options)

    @cached_property
    def simple(self) -> type | None:
        """See `Shape`."""
        limits = self._schema.keys() - {"type", "metadata"} or self._site.config.keys() - {"title"}
        return None if limits else SIMPLE.get(self._schema["type"])

    @cached_property
    def words(self) -> bool:
        """See `Shape`."""
        kind = self._core["type"]
        if kind == "literal":
            return any(isinstance(choice, str) for choice in self._core["expected"])
        if kind == "enum":
            return any(isinstance(member.value, str) for member in self._core["members"])
        return kind == "str" or any(option.words for option in self._options)

    @property
    def name(self) -> str:
        """See `Shape`."""
        return str(self._core["type"])

    @cached_property
    def listed(self) -> bool:
        """See `Shape`."""
        return self._core["type"] in LISTS

    @cached_property
    def _options(self) -> list[TypeShape]:
        """List what an undecided value may turn out to be."""
        if self._core["type"] not in {"union", "tagged-union"}:
            return []
        choices = self._core["choices"]
        choices = choices.values() if isinstance(choices, Mapping) else choices
        plain = [choice[0] if isinstance(choice, tuple) else choice for choice in choices]
        return [TypeShape(choice, self._inner, checks=False) for choice in plain]

    # --- its parts --------------------------------------------------------------------------------------------------

    @cached_property
    def _fields(self) -> list[tuple[str, Schema]]:
        fields = self._core.get("fields", {}) if self._core["type"] in OBJECTS else {}
        return list(fields.items()) if isinstance(fields, Mapping) else [(field["name"], field) for field in fields]

    @cached_property
    def named(self) -> Mapping[str, Sequence[str]]:
        """See `Shape`."""
        found = {name: keys(name, field, self._inner.config) for name, field in self._fields}
        for option in self._options:
            found = {**option.named, **found}
        return found

    @cached_property
    def _by_key(self) -> dict[str, TypeShape | None]:
        shapes: dict[str, TypeShape | None] = {}
        for name, field in self._fields:
            shape = self._part(field["schema"], checks=self._parts_check and self._stands_alone(field))
            shapes |= dict.fromkeys(self.named[name], shape)
        return shapes

    def _stands_alone(self, field: Schema) -> bool:
        """Whether a field can be validated without its neighbours, under one key, and its default needs none."""
        schema = field["schema"]
        if schema["type"] == "default" and schema.get("validate_default", self._inner.config.get("validate_default")):
            return False
        validators = functions(schema)
        return all(len(path) == 1 for path in paths(field)) and all(f["type"] != "with-info" for f in validators)

    @property
    def _parts_check(self) -> bool:
        return self.checks and self._seen_through

    def _part(self, schema: Schema | None, *, checks: bool) -> TypeShape | None:
        if schema is None or (schema["type"] == "any" and checks):
            return None
        return TypeShape(schema, self._inner, checks=checks)

    def field(self, name: str) -> TypeShape | None:
        """See `Shape`."""
        if self._options:
            return _either([option.field(name) for option in self._options], self._inner)
        if self._core["type"] == "dict":
            return self._each
        if name in self._by_key:
            return self._by_key[name]
        return self._other

    def item(self, index: int) -> TypeShape | None:
        """See `Shape`."""
        if self._options:
            return _either([option.item(index) for option in self._options], self._inner)
        if self._core["type"] == "tuple":
            return self._places[min(index, len(self._places) - 1)] if self._is_place(index) else None
        return self._each

    @cached_property
    def _each(self) -> TypeShape | None:
        """What every item of a list, or every value of a dict, is."""
        kind = self._core["type"]
        if kind in OBJECTS - {"dict"} or kind not in {*OBJECTS, *LISTS}:
            return None if self._parts_check else _unknown(self._inner)
        return self._part(
            self._core.get("values_schema" if kind == "dict" else "items_schema"), checks=self._parts_check
        )

    @property
    def _other(self) -> TypeShape | None:
        """What a part is of which this shape knows nothing: anything, or something unknown of an undecided whole."""
        return None if self._parts_check or (self.checks and self._core["type"] == "any") else _unknown(self._inner)

    @cached_property
    def _places(self) -> list[TypeShape | None]:
        return [self._part(schema, checks=self._parts_check) for schema in self._core["items_schema"]]

    def _is_place(self, index: int) -> bool:
        return index < len(self._places) or self._core.get("variadic_item_index") is not None

    # --- judging ----------------------------------------------------------------------------------------------------

    def composes(self, kind: int) -> bool:
        """See `Shape`."""
        return kind == self._composed and self._shell is not None

    @cached_property
    def _composed(self) -> int | None:
        if not self._parts_check:
            return None
        return LIST if self._core["type"] in LISTS else OBJECT

    def judge(self, text: str, parts: Sequence[object] | None = None) -> tuple[object, Sequence[Problem]]:
        """See `Shape`."""
        if parts is None or self._shell is None:
            return judged(self._whole.validate_json, text)
        before, _judged.parts = _judged.parts, parts
        try:
            return judged(self._shell.validate_json, text)
        finally:
            _judged.parts = before

    @cached_property
    def _whole(self) -> SchemaValidator:
        return self._site.validator(self._schema)

    @cached_property
    def _shell(self) -> SchemaValidator | None:
        try:
            # For a class that it knows, pydantic would take the class's own validator instead of this one.
            return self._site.validator(self._shelled(self._schema), _use_prebuilt=False)
        except (SchemaError, TypeError):  # a schema or a pydantic that cannot be taken apart: validated as a whole
            return None

    def _shelled(self, schema: Schema) -> Schema:
        """Copy a schema with its parts taken as they are."""
        shell = {name: said for name, said in schema.items() if name not in {"ref", "definitions"}}
        if (inner := self._site.inside(schema)) is not None:
            if schema["type"] in {"definition-ref", "definitions"}:
                return self._shelled(inner)
            return shell | {WRAPPERS[schema["type"]]: self._shelled(inner)}
        kind = schema["type"]
        if kind == "dict":
            return shell | ({"values_schema": _PART} if self._each is not None else {})
        if kind == "tuple":
            pairs = zip(self._places, schema["items_schema"], strict=True)
            return shell | {"items_schema": [own if shape is None else _PART for shape, own in pairs]}
        if kind in LISTS:
            return shell | ({"items_schema": _PART} if self._each is not None else {})
        fields = {name: self._shelled_field(name, field) for name, field in self._fields}
        return shell | {"fields": fields if isinstance(schema["fields"], Mapping) else list(fields.values())}

    def _shelled_field(self, name: str, field: Schema) -> Schema:
        shape = next((self._by_key[key] for key in self.named[name]), None)
        if shape is None or not shape.checks:
            return field
        own = field["schema"]
        return {**field, "schema": {**own, "schema": _PART} if own["type"] == "default" else _PART}


class _Either(TypeShape):
    """A part of an undecided value: whatever the same part of each option is."""

    def __init__(self, options: list[TypeShape], site: Site) -> None:
        super().__init__({"type": "union", "choices": []}, site, checks=False)
        self._open_options = options

    @cached_property
    def _options(self) -> list[TypeShape]:
        return self._open_options


def _either(options: Sequence[TypeShape | None], site: Site) -> TypeShape:
    known = [option for option in options if option is not None]
    return _Either(known, site) if known else _unknown(site)


def _unknown(site: Site) -> TypeShape:
    """Return the shape of what nothing is known of, inside something that is validated as a whole."""
    return TypeShape({"type": "any"}, site, checks=False)


class RootShape(TypeShape):
    """The shape of a whole type; it pickles as that type."""

    def __init__(self, schema: Schema, site: Site, kind: Any) -> None:
        super().__init__(schema, site)
        self._kind = kind

    @property
    def name(self) -> str:
        """See `Shape`."""
        return getattr(self._kind, "__name__", str(self._kind))

    def __reduce__(self) -> tuple[Any, ...]:
        return (_shape_of_type, (self._kind,))


def _shape_of_type(kind: Any) -> RootShape:
    return shape_of(TypeAdapter(kind), kind)


def shape_of(adapter: TypeAdapter[Any], kind: Any) -> RootShape:
    """Return the shape of the type `kind`, of which `adapter` is pydantic's."""
    schema: Any = adapter.core_schema
    definitions = {each["ref"]: each for each in schema.get("definitions", ())}
    return RootShape(schema["schema"] if definitions else schema, Site(definitions), kind)
