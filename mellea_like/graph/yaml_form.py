"""What a graph file may say, as models of pydantic's; the form is that of yamlgraph's graph files.

It knows how each thing is written; whether the whole makes sense is for the linter to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from ..errors import InvalidArgument
from ..prompts.file_form import type_named

Name: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z_][\w-]*$")]
Key: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")]
OnError: TypeAlias = Literal["fail", "skip", "retry", "fallback"]
NodeType: TypeAlias = Literal[
    "llm", "agent", "router", "python", "tool", "tool_call", "map", "subgraph", "interrupt", "passthrough"
]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class KeyForm(_Strict):
    """A key of the state: the type of its values, and how two values become one."""

    type: str = "Any"
    reducer: Literal["last_value", "add", "sorted_add", "merge"] = "last_value"
    description: str | None = None
    default: Any = None

    @field_validator("type")
    @classmethod
    def _is_a_type(cls, named: str) -> str:
        type_named(named)
        return named

    @field_validator("default")
    @classmethod
    def _is_of_its_type(cls, default: Any, info: ValidationInfo) -> Any:
        named = info.data.get("type")  # missing where it is no type, which is told by itself
        if default is not None and named is not None:
            try:
                TypeAdapter(type_named(named)).validate_python(default, strict=True)
            except ValidationError as error:
                raise InvalidArgument(f"{default!r} is not of the type {named!r}") from error
        return default


class ToolForm(_Strict):
    """A Python function: `function` in `module`, or the dotted path of both."""

    type: Literal["python"] = "python"
    module: str | None = None
    function: str
    description: str | None = None


class FallbackForm(_Strict):
    """Who is asked where the first one fails."""

    provider: str | None = None
    model: str | None = None

    @model_validator(mode="after")
    def _someone(self) -> FallbackForm:
        if self.provider is None and self.model is None:
            raise InvalidArgument("a fallback names a `provider`, a `model`, or both")
        return self


class NodeForm(_Strict):
    """A node. `stream` is read and changes nothing: every node streams.

    `timeout` and `retry_delay` are in seconds; an answer has at most `max_tokens` tokens.
    """

    type: NodeType = "llm"
    description: str | None = None
    # What a model is asked.
    prompt: str | None = None
    variables: dict[str, Any] | None = None
    provider: str | None = None
    model: str | None = None
    temperature: float | None = Field(default=None, ge=0)
    max_tokens: int | None = Field(default=None, ge=1)
    parse_json: bool = False
    stream: bool = True
    # What goes in and out.
    state_key: Key | None = None
    requires: list[Key] = Field(default_factory=list)
    skip_if_exists: bool = False
    # What is done when it fails.
    on_error: OnError | None = None
    max_retries: int = Field(default=2, ge=0)
    retry_delay: float = Field(default=0.5, ge=0, description="Seconds before the second attempt.")
    fallback: FallbackForm | None = None
    timeout: float | None = Field(default=None, gt=0, description="Seconds that one attempt may take.")
    # Routers.
    routes: dict[str, Name] | None = None
    route_field: Key | None = None
    default_route: Name | None = None
    # Agents and tools.
    tools: list[str] | None = None
    max_iterations: int = Field(default=10, ge=1)
    tool: str | None = None
    args: dict[str, Any] | str | None = None
    # Maps.
    over: str | None = None
    as_: Key | None = Field(default=None, alias="as")
    node: NodeForm | None = None
    collect: Key | None = None
    max_items: int | None = Field(default=None, ge=1)
    # Subgraphs.
    graph: str | None = None
    input_mapping: dict[Key, Any] | None = None
    output_mapping: dict[Key, Key] | None = None
    # Interrupts and passthroughs.
    message: str | None = None
    resume_key: Key | None = None
    output: dict[Key, Any] | None = None

    @model_validator(mode="after")
    def _has_what_its_type_needs(self) -> NodeForm:
        for names in _NEEDS.get(self.type, ()):
            if not any(getattr(self, name) is not None for name in names):
                raise InvalidArgument(f"a node of type {self.type!r} needs `{'` or `'.join(map(_written, names))}`")
        own = {name for names in (*_NEEDS.get(self.type, ()), _TAKES.get(self.type, ())) for name in names}
        for name in sorted(self.model_fields_set - own - _COMMON):
            raise InvalidArgument(f"a node of type {self.type!r} takes no `{_written(name)}`")
        if self.on_error == "fallback" and self.fallback is None:
            raise InvalidArgument("`on_error: fallback` needs `fallback` with a `provider` or a `model`")
        return self


_ASKING = ("variables", "provider", "model", "temperature", "max_tokens", "parse_json", "stream", "fallback")
_NEEDS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "llm": (("prompt",),),
    "agent": (("prompt",), ("tools",)),
    "router": (("prompt",), ("routes",)),
    "python": (("tool",),),
    "tool": (("tool",),),
    "tool_call": (("tool",),),
    "map": (("over",), ("as_",), ("node",), ("collect",)),
    "subgraph": (("graph",),),
    "interrupt": (("message", "prompt"),),
}
_TAKES: Mapping[str, tuple[str, ...]] = {
    "llm": _ASKING,
    "agent": (*_ASKING, "max_iterations"),
    "router": (*_ASKING, "route_field", "default_route"),
    "python": ("variables", "args"),
    "tool": ("variables", "args"),
    "tool_call": ("variables", "args"),
    "map": ("max_items",),
    "subgraph": ("input_mapping", "output_mapping"),
    "interrupt": ("resume_key", "variables"),
    "passthrough": ("output",),
}
_COMMON = {
    *("type", "description", "state_key", "requires", "skip_if_exists", "on_error", "max_retries", "timeout", "stream"),
    "retry_delay",
}


def _written(name: str) -> str:
    return name.rstrip("_")


class EdgeForm(_Strict):
    """An edge; several sources are waited for together, several targets run side by side."""

    from_: Name | list[Name] = Field(alias="from")
    to: Name | list[Name]
    condition: str | None = None
    type: Literal["conditional", "simple"] | None = None

    @property
    def sources(self) -> list[str]:
        """Where it begins, as a list."""
        return [self.from_] if isinstance(self.from_, str) else self.from_

    @property
    def targets(self) -> list[str]:
        """Where it leads, as a list."""
        return [self.to] if isinstance(self.to, str) else self.to


class DefaultsForm(_Strict):
    """What nodes take that do not say it themselves; an answer has at most `max_tokens` tokens."""

    provider: str | None = None
    model: str | None = None
    temperature: float | None = Field(default=None, ge=0)
    max_tokens: int | None = Field(default=None, ge=1)


class CheckpointerForm(_Strict):
    """Where runs are kept, so that they can go on: in memory, or in a file of SQLite's."""

    type: Literal["memory", "sqlite"] = "memory"
    path: str = "checkpoints.db"


class ConfigForm(_Strict):
    """Settings of every run."""

    recursion_limit: int | None = Field(default=None, ge=1)


class GraphForm(_Strict):
    """A graph file."""

    version: str | float | None = None
    name: str | None = None
    description: str | None = None
    defaults: DefaultsForm = Field(default_factory=DefaultsForm)
    prompts_dir: str | None = None
    prompts_relative: bool = True
    state: dict[Key, KeyForm] | None = None
    tools: dict[str, ToolForm] = Field(default_factory=dict)
    nodes: dict[Name, NodeForm] = Field(min_length=1)
    edges: list[EdgeForm] = Field(min_length=1)
    loop_limits: dict[Name, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)
    loop_exits: dict[Name, Name] = Field(default_factory=dict)
    checkpointer: CheckpointerForm | None = None
    config: ConfigForm = Field(default_factory=ConfigForm)

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, said: Any) -> Any:
        """Read `topic: str` among the state's keys as `topic: {type: str}`."""
        if isinstance(said, dict) and isinstance(said.get("state"), dict):
            keys = {name: of if isinstance(of, dict) else {"type": str(of)} for name, of in said["state"].items()}
            return said | {"state": keys}
        return said


def yaml_graph_schema() -> dict[str, Any]:
    """Return the JSON schema of graph files, for editors that complete and check YAML.

    `mellea-like schema` prints it. In an editor with the YAML language server, a first line such as
    `# yaml-language-server: $schema=graph.schema.json` turns it on.

    Example:
        ```python
        from mellea_like import yaml_graph_schema

        print(sorted(yaml_graph_schema()["properties"])[:3])
        ```
    """
    schema = GraphForm.model_json_schema(by_alias=True)
    short = {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/KeyForm"}]}
    for form in schema["properties"]["state"]["anyOf"]:
        if "patternProperties" in form:
            form["patternProperties"] = dict.fromkeys(form["patternProperties"], short)
        elif "additionalProperties" in form:
            form["additionalProperties"] = short
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
