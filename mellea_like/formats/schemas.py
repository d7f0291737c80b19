"""Reading pydantic's own schemas: what stands around what, which keys a field has, which functions validate it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from pydantic import ValidationError
from pydantic_core import SchemaValidator

from ..partial.json_tree import Problem

Schema: TypeAlias = Mapping[str, Any]

WRAPPERS = {"nullable": "schema", "default": "schema", "function-after": "schema", "model": "schema"} | {
    "dataclass": "schema",
    "definitions": "schema",
    "json-or-python": "json_schema",
}
"""What stands around a schema and leaves the JSON under it as it is, with the key of what is inside."""

BLINDERS = {"function-before": "schema", "function-wrap": "schema", "lax-or-strict": "lax_schema"}
"""What looks at the raw JSON before what is inside does, so the inside cannot be judged by itself."""

OBJECTS = frozenset({"model-fields", "dataclass-args", "typed-dict", "dict"})
LISTS = frozenset({"list", "set", "frozenset", "tuple"})
_SCOPES = frozenset({"model", "dataclass", "typed-dict", "definition-ref"})
"""What has fields of its own, which the validators inside see as their neighbours."""


SIMPLE = {"str": str, "int": int, "bool": bool, "float": float}
"""What JSON has, too, where nothing more is asked of it."""


class Site:
    """Where a schema stands: the definitions that it refers to, and the configuration of the model around it."""

    def __init__(self, definitions: Mapping[str, Schema], config: Any = None) -> None:
        self.definitions = definitions
        self.config: Any = config or {}

    def validator(self, schema: Schema, **how: bool) -> SchemaValidator:
        """Build a validator of a schema that stands here."""
        if self.definitions:
            schema = {"type": "definitions", "schema": schema, "definitions": list(self.definitions.values())}
        return SchemaValidator(schema, self.config, **how)

    def inside(self, schema: Schema) -> Schema | None:
        """Return what a wrapper holds, None for what is none or hides it."""
        kind = schema["type"]
        if kind == "definition-ref":
            return self.definitions[schema["schema_ref"]]
        if kind not in WRAPPERS or schema.get("custom_init") or schema.get("on_error", "raise") != "raise":
            return None
        inner: Schema = schema[WRAPPERS[kind]]
        return inner


def paths(field: Schema) -> Sequence[Sequence[str | int]]:
    """List the places in the JSON where a field's alias says that it may stand."""
    alias = field.get("validation_alias")
    if alias is None or isinstance(alias, str):
        return [[alias]] if alias else []
    return alias if isinstance(alias[0], list) else [alias]


def keys(name: str, field: Schema, config: Any) -> Sequence[str]:
    """List the keys under which the JSON may have a field."""
    by_name = config.get("validate_by_name") or config.get("populate_by_name")
    places = paths(field) if config.get("validate_by_alias", True) else []
    found = [str(path[0]) for path in places if len(path) == 1]
    return [*found, name] if by_name or not places else found


def functions(schema: Any) -> Iterator[Schema]:
    """Give the validator functions of a field, but not those of a model in it, which has fields of its own."""
    if isinstance(schema, list | tuple):
        for each in schema:
            yield from functions(each)
    if not isinstance(schema, Mapping) or schema.get("type") in _SCOPES:
        return
    function, inner = schema.get("function"), schema.get("schema")
    while isinstance(inner, Mapping) and str(inner.get("type")).startswith("function-"):
        inner = inner.get("schema")
    if isinstance(function, Mapping) and not (isinstance(inner, Mapping) and inner.get("type") in _SCOPES):
        yield function
    for name, each in schema.items():
        if name not in {"metadata", "serialization", "function", "default", "config"}:
            yield from functions(each)


def judged(validate: Callable[[str], object], text: str) -> tuple[object, Sequence[Problem]]:
    """Return what a validator makes of a JSON text, or what is wrong with it."""
    try:
        return validate(text), ()
    except ValidationError as error:
        return None, problems_in(error)
    except Exception as error:  # a validator of the user's may raise anything, and the text goes on growing
        return None, [((), f"its validator failed: {type(error).__name__}: {error}")]


def problems_in(error: ValidationError) -> list[Problem]:
    """List what pydantic says, with the place of each."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return [(problem["loc"], problem["msg"]) for problem in found]
