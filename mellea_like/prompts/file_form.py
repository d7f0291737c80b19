"""What a prompt file may say, as models of pydantic's, and the type that its `schema` describes.

The form is that of yamlgraph's prompt files.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import GenericAlias
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, create_model, field_validator, model_validator

from ..errors import InvalidArgument

Key: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Segment(_Strict):
    """A part of a system message. `cache` is read and changes nothing: providers that cache do so by themselves."""

    content: str
    cache: bool = False


class FieldForm(_Strict):
    """A field of a `schema`: its type and what else is said of it."""

    type: str = "str"
    description: str | None = None
    default: Any = None
    optional: bool = False
    enum: list[Any] | None = None
    fields: dict[Key, FieldForm] | None = None
    constraints: dict[
        Literal["ge", "gt", "le", "lt", "multiple_of", "min_length", "max_length", "pattern"], int | float | str
    ] = Field(default_factory=dict)

    @field_validator("type")
    @classmethod
    def _is_a_type(cls, named: str) -> str:
        type_named(named)
        return named

    @model_validator(mode="after")
    def _can_be_bounded(self) -> FieldForm:
        wrong = sorted(set(self.constraints) - _bounds_of(self))
        if wrong:
            raise InvalidArgument(f"a field of type {self.type!r} takes no constraint {wrong[0]!r}")
        return self


class SchemaForm(_Strict):
    """The type that an answer is to have."""

    name: Key = "Answer"
    description: str | None = None
    fields: dict[Key, FieldForm] = Field(min_length=1)


class VariableForm(_Strict):
    """What is declared of a variable."""

    description: str | None = None
    type: str | None = None
    default: Any = None
    required: bool | None = None


class PromptForm(_Strict):
    """A prompt file: what is said to which model, and what comes back, in at most `max_tokens` tokens."""

    name: str | None = None
    version: str | float | None = None
    description: str | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)
    system: str | list[str | Segment] | None = None
    system_segments: list[str | Segment] | None = None
    user: str
    variables: dict[Key, VariableForm] = Field(default_factory=dict)
    provider: str | None = None
    model: str | None = None
    temperature: float | None = Field(default=None, ge=0)
    max_tokens: int | None = Field(default=None, ge=1)
    model_options: dict[str, Any] = Field(default_factory=dict)
    answer: SchemaForm | None = Field(default=None, alias="schema")
    output_schema: dict[str, Any] | None = None

    @model_validator(mode="before")
    @classmethod
    def _aliases(cls, said: Any) -> Any:
        if not isinstance(said, dict):
            return said
        if "messages" in said:
            raise InvalidArgument("`messages` is not read here; write `system` and `user`")
        if "template" in said:
            if "user" in said:
                raise InvalidArgument("`template` is another name of `user`; write one of them")
            said = {("user" if key == "template" else key): value for key, value in said.items()}
        declared = said.get("variables")
        if isinstance(declared, list):
            said = said | {"variables": {str(name): {} for name in declared}}
        elif isinstance(declared, dict):
            said = said | {"variables": {name: _declared(of) for name, of in declared.items()}}
        return said

    @model_validator(mode="after")
    def _one_each(self) -> PromptForm:
        if self.answer is not None and self.output_schema is not None:
            raise InvalidArgument("`schema` and `output_schema` both say what the answer is to be; write one of them")
        if self.system is not None and self.system_segments is not None:
            raise InvalidArgument("`system` and `system_segments` say the same; write one of them")
        return self


def _declared(of: Any) -> Any:
    """Return a variable's declaration; a bare value is its default."""
    if of is None:
        return {}
    return of if isinstance(of, dict) else {"default": of}


_OF_NUMBERS = {"ge", "gt", "le", "lt", "multiple_of"}
_OF_LENGTHS = {"min_length", "max_length"}
_OF_TEXT = {*_OF_LENGTHS, "pattern"}
_BOUNDS_OF: Mapping[str, set[str]] = {
    **dict.fromkeys(("int", "integer", "float", "number"), _OF_NUMBERS),
    **dict.fromkeys(("str", "string"), _OF_TEXT),
    **dict.fromkeys(("list", "List", "array", "dict", "Dict", "object"), _OF_LENGTHS),
}


def _bounds_of(form: FieldForm) -> set[str]:
    """List the constraints that a field's type can be held to."""
    if form.enum:
        return set()
    return _BOUNDS_OF.get(form.type.partition("|")[0].partition("[")[0].strip(), set())


_PLAIN: Mapping[str, Any] = {
    **dict.fromkeys(("str", "string"), str),
    **dict.fromkeys(("int", "integer"), int),
    **dict.fromkeys(("float", "number"), float),
    **dict.fromkeys(("bool", "boolean"), bool),
    **dict.fromkeys(("dict", "object"), dict[str, Any]),
    **dict.fromkeys(("list", "array"), list[Any]),
    **dict.fromkeys(("Any", "any"), Any),
}


def type_named(name: str) -> Any:
    """Return the type that a file calls `name`: `"str"`, `"list[int]"`, `"dict[str, float]"`, `"int | null"`.

    Raises:
        InvalidArgument: there is no such type.
    """
    written = name.replace(" ", "")
    if written.endswith(("|null", "|None")):
        return type_named(written.rpartition("|")[0]) | None
    outer, bracket, inner = written.partition("[")
    if not bracket:
        if written in _PLAIN:
            return _PLAIN[written]
    elif inner.endswith("]"):
        inner = inner[:-1]
        if outer == "Optional":
            return type_named(inner) | None
        if outer in {"list", "List"}:
            return GenericAlias(list, (type_named(inner),))
        key, comma, value = inner.partition(",")
        if outer in {"dict", "Dict"} and comma and key in {"str", "int"}:
            return GenericAlias(dict, (int if key == "int" else str, type_named(value)))
    raise InvalidArgument(
        f"there is no type {name!r}; write str, int, float, bool, dict, Any, list[…], dict[str, …], or one of them "
        "with `| null`"
    )


def model_of(form: SchemaForm) -> type[BaseModel]:
    """Build the type that a `schema` describes.

    Raises:
        InvalidArgument: a field has no such type, or takes no such constraint.
    """
    return _model(form.name, form.fields, form.description)


def _model(name: str, fields: Mapping[str, FieldForm], description: str | None) -> type[BaseModel]:
    members: dict[str, Any] = {field: _member(name, field, form) for field, form in fields.items()}
    made: type[BaseModel] = create_model(name, __doc__=description, **members)
    return made


def _member(name: str, field: str, form: FieldForm) -> tuple[Any, Any]:
    kind = _kind(name, field, form)
    has_default = "default" in form.model_fields_set
    if form.optional:
        kind = kind | None if kind is not Any else Any
    default = form.default if has_default or form.optional else ...
    bounds: dict[str, Any] = {str(name): bound for name, bound in form.constraints.items()}
    return kind, Field(default, description=form.description, **bounds)


def _kind(name: str, field: str, form: FieldForm) -> Any:
    if form.enum:
        return Literal[tuple(form.enum)]
    if not form.fields:
        return type_named(form.type)
    inner = _model(f"{name}_{field}", form.fields, form.description)
    listed = form.type.replace(" ", "").startswith(("list", "List", "array"))
    return GenericAlias(list, (inner,)) if listed else inner


def yaml_prompt_schema() -> dict[str, Any]:
    """Return the JSON schema of prompt files, for editors that complete and check YAML."""
    schema = PromptForm.model_json_schema(by_alias=True)
    named = schema["properties"]["variables"]
    schema["properties"]["variables"] = {
        "anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "object", "description": named["title"]}]
    }
    schema["properties"]["template"] = {**schema["properties"]["user"], "description": "Another name of `user`."}
    schema["anyOf"] = [{"required": ["user"]}, {"required": ["template"]}]
    del schema["required"]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


_JSON = {"type", "properties", "required", "items", "enum", "description", "title", "default", "additionalProperties"}
_BOUNDS = {
    "minimum": "ge",
    "maximum": "le",
    "exclusiveMinimum": "gt",
    "exclusiveMaximum": "lt",
    "multipleOf": "multiple_of",
    "minLength": "min_length",
    "maxLength": "max_length",
    "minItems": "min_length",
    "maxItems": "max_length",
    "pattern": "pattern",
}


def model_of_json_schema(schema: Mapping[str, Any]) -> type[BaseModel]:
    """Build the type that an `output_schema` (a JSON schema of an object) describes.

    Raises:
        InvalidArgument: it is not an object's, or says what is not read here.
    """
    if schema.get("type", "object") != "object" or not schema.get("properties"):
        raise InvalidArgument("`output_schema` describes an object: it needs `properties`")
    return _model(str(schema.get("title", "Answer")), _fields(schema), schema.get("description"))


def _fields(schema: Mapping[str, Any]) -> dict[str, FieldForm]:
    required = schema.get("required", [])
    return {name: _field(name, of, required=name in required) for name, of in schema["properties"].items()}


def _field(name: str, of: Any, *, required: bool) -> FieldForm:
    strange = sorted(set(of) - _JSON - set(_BOUNDS)) if isinstance(of, dict) else ["…"]
    if strange:
        raise InvalidArgument(
            f"the property {name!r} of `output_schema` says {', '.join(map(repr, strange))}, which is not read here; "
            "give the type as `output_model=` in the call"
        )
    said = {key: of[key] for key in ("description", "default", "enum") if key in of}
    bounds: dict[Any, Any] = {_BOUNDS[key]: of[key] for key in _BOUNDS if key in of}
    inner = of.get("items", {}) if of.get("type") == "array" else of
    fields = _fields(inner) if isinstance(inner, dict) and inner.get("properties") else None
    return FieldForm(type=_type_name(of), fields=fields, constraints=bounds, optional=not required, **said)


def _type_name(of: Mapping[str, Any]) -> str:
    kind = of.get("type", "string" if "enum" in of else "any")
    if isinstance(kind, list):
        named = [each for each in kind if each != "null"]
        return f"{named[0] if len(named) == 1 else 'any'} | null"
    if kind == "array":
        return f"list[{_type_name(of.get('items', {}))}]"
    return str(kind)
