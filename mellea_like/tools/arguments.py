"""What a function takes, as a JSON schema for a model and a validator of what the model then writes.

pydantic does both, from the signature; descriptions come from the docstring, in any of the usual styles.
"""

from __future__ import annotations

import functools
import inspect
import json
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from ..errors import InvalidArgument, WrongToolArguments

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
"""What all providers take as a tool's name."""


def described(function: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """Return what a docstring says of the function, and of each of its arguments."""
    from docstring_parser import parse  # 50 ms, and only where there are tools

    parsed = parse(inspect.getdoc(_inner(function)) or "")
    about = {p.arg_name: " ".join((p.description or "").split()) for p in parsed.params}
    return (parsed.description or "").strip(), about


def named(function: Callable[..., Any], name: str | None) -> str:
    """Return the name of a tool: `name`, or that of its function.

    Raises:
        InvalidArgument: it has none, or one that models cannot be told.
    """
    found = name if name is not None else getattr(_inner(function), "__name__", type(function).__name__)
    if not _NAME.fullmatch(found):
        raise InvalidArgument(
            f"{found!r} cannot be a tool's name: providers take letters, digits, '_' and '-', at most 64 of them. Give "
            "one: `MelleaTool.from_callable(function, name='…')`."
        )
    return found


def _inner(function: Callable[..., Any]) -> Callable[..., Any]:
    while isinstance(function, functools.partial):
        function = function.func
    return function


def offered(function: Callable[..., Any], tool: str) -> list[inspect.Parameter]:
    """List the parameters that a model may fill; those that a partial has filled are not among them.

    Raises:
        InvalidArgument: it has no signature, takes `*args`, or an annotation names something that cannot be found.
    """
    try:
        signature = inspect.signature(function, eval_str=True)
    except (TypeError, ValueError) as error:
        raise InvalidArgument(
            f"Tool {tool!r} does not say what it takes: {error}. Write a function around it, or give its `parameters`."
        ) from error
    except NameError as error:
        raise InvalidArgument(
            f"An annotation of tool {tool!r} cannot be resolved: {error}. Define the type in the module, not inside a "
            "function, or leave `from __future__ import annotations` out."
        ) from error
    filled = function.keywords if isinstance(function, functools.partial) else {}
    parameters = [p for p in signature.parameters.values() if p.name not in filled]
    for parameter in parameters:
        if parameter.kind is parameter.VAR_POSITIONAL:
            raise InvalidArgument(
                f"Tool {tool!r} takes *{parameter.name}, and a model names every argument that it gives. Take a list "
                f"instead: `{parameter.name}: list[…]`."
            )
    return parameters


class Arguments:
    """The arguments of one function: their schema, and a validator of JSON text.

    Args:
        function: The function.
        tool: The tool's name, for errors.
        about: What the docstring says of each argument.

    Raises:
        InvalidArgument: a type cannot be described as a JSON schema.
    """

    __slots__ = ("_adapter", "_positional", "_tool", "schema")

    def __init__(self, function: Callable[..., Any], *, tool: str, about: Mapping[str, str]) -> None:
        from pydantic import PydanticUserError, TypeAdapter
        from pydantic.json_schema import GenerateJsonSchema

        quiet = type("Quiet", (GenerateJsonSchema,), {"ignored_warning_kinds": {"non-serializable-default"}})
        parameters = offered(function, tool)
        self._tool = tool
        self._positional = [p.name for p in parameters if p.kind is p.POSITIONAL_ONLY]
        try:
            self._adapter: Any = TypeAdapter(_stand_in(parameters, about))
            schema = self._adapter.json_schema(schema_generator=quiet)
        except PydanticUserError as error:
            raise InvalidArgument(
                f"An argument of tool {tool!r} cannot be described to a model: {error.message.splitlines()[0]}"
            ) from error
        for name, described in schema.get("properties", {}).items():
            if described.get("title") == name.replace("_", " ").title().strip():
                del described["title"]  # says nothing, and costs the model tokens
        self.schema: Mapping[str, Any] = {"type": "object", "properties": {}} | schema

    def read(self, text: str) -> tuple[list[Any], dict[str, Any]]:
        """Validate arguments, which must be a JSON object; return them as they go to the function.

        Raises:
            WrongToolArguments: they are not JSON, or do not fit the schema.
        """
        from pydantic import ValidationError
        from pydantic_core import ArgsKwargs

        given = _object(text, self._tool, self.schema)
        try:
            taken: dict[str, Any] = self._adapter.validate_python(ArgsKwargs((), given))
        except ValidationError as error:
            problems = error.errors(include_url=False, include_context=False)
            raise _wrong("; ".join(map(_told, problems)), self._tool, self.schema) from error
        return [taken.pop(name) for name in self._positional], taken


class AnyObject:
    """Arguments that somebody else checks: any JSON object, under a schema that was given.

    Args:
        schema: What the model is told.
        tool: The tool's name, for errors.
    """

    __slots__ = ("_tool", "schema")

    def __init__(self, schema: Mapping[str, Any], *, tool: str) -> None:
        self.schema = schema
        self._tool = tool

    def read(self, text: str) -> tuple[list[Any], dict[str, Any]]:
        """Read arguments, which must be a JSON object; see `Arguments.read`."""
        return [], _object(text, self._tool, self.schema)


def _object(text: str, tool: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    from pydantic_core import from_json

    try:
        given = from_json(text or "{}")
    except ValueError as error:
        raise _wrong(f"they are not JSON ({error})", tool, schema) from error
    if not isinstance(given, dict):
        raise _wrong(f"they are {text!r}, and not a JSON object", tool, schema)
    return given


def _wrong(why: str, tool: str, schema: Mapping[str, Any]) -> WrongToolArguments:
    return WrongToolArguments(
        f"The arguments of tool {tool!r} are wrong: {why}. It takes {json.dumps(schema)}", tool=tool, schema=schema
    )


def _told(problem: Mapping[str, Any]) -> str:
    where = ".".join(map(str, problem["loc"]))
    if problem["type"] in {"missing_argument", "missing_keyword_only_argument", "missing"}:
        return f"{where}: is missing"
    if problem["type"] in {"unexpected_keyword_argument", "extra_forbidden"}:
        return f"{where}: there is no such argument"
    return f"{where}: {problem['msg']}, not {problem['input']!r}"


def _stand_in(parameters: list[inspect.Parameter], about: Mapping[str, str]) -> Any:
    """Make a function of the same parameters, all by name, that returns what it is given."""

    def returned(**arguments: Any) -> dict[str, Any]:
        return arguments

    given: Any = returned

    named = [
        p.replace(
            kind=p.kind if p.kind is p.VAR_KEYWORD else p.KEYWORD_ONLY,
            annotation=_annotated(p.annotation, about.get(p.name)),
        )
        for p in parameters
    ]
    given.__signature__ = inspect.Signature(named)  # what `inspect` and pydantic look for
    given.__annotations__ = {p.name: p.annotation for p in named}
    return given


def _annotated(hint: Any, description: str | None) -> Any:
    from pydantic import Field

    hint = Any if hint is inspect.Parameter.empty else hint
    if not description:
        return hint
    # First, so that what the user's own `Field` says is said last.
    metadata = getattr(hint, "__metadata__", ())
    origin = hint.__origin__ if metadata else hint
    return Annotated[(origin, Field(description=description), *metadata)]
