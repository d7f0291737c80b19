"""What the command line's words stand for: a session on a model, options, requirements, tools and formats in files."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..context import ChatContext, Context
from ..errors import InvalidArgument, UnknownName
from ..options import ModelOption, resolve_options
from ..requirement import Requirement, reqify
from ..session import MelleaSession
from ..session.opening import start_session
from ..tools import MelleaTool, tools_by_name
from .endings import refused


def opened(
    model: str | None,
    options: Sequence[str] = (),
    *,
    system: str | None = None,
    model_options: Mapping[str, Any] | None = None,
    ctx: Context | None = None,
) -> MelleaSession:
    """Open a session on a model.

    Args:
        model: A backend, or `backend:model`; None for what `start_session` chooses.
        options: `NAME=VALUE`s, for the model or its backend.
        system: A system prompt.
        model_options: Options for the model; they come before `options`.
        ctx: The conversation to go on with; None starts an empty one.

    Raises:
        WrongUse: the model, or an option, does not exist.
    """
    told, backends = split_options(options)
    mine = {**(model_options or {}), **told}
    if system:
        mine[ModelOption.SYSTEM_PROMPT] = system
    session = start_session(model or None, ctx=ctx or ChatContext(), **backends)
    # On the session, where a chat can change them; the backend says which there are.
    session.backend.resolve(mine)
    session.model_options.update(mine)
    return session


def split_options(options: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the model's options and the backend's own, of `NAME=VALUE`s; a value is JSON, or else text.

    Raises:
        InvalidArgument: one has no name or no value, or is a value that the option does not take.
    """
    mine: dict[str, Any] = {}
    backends: dict[str, Any] = {}
    for option in options:
        name, equals, written = option.partition("=")
        name = name.strip()
        if not (equals and name.isidentifier()):
            raise InvalidArgument(f"{option!r} is not an option: write NAME=VALUE, such as temperature=0.")
        value = _value(written)
        try:
            resolve_options({name: value}, supported=frozenset(ModelOption), backend="")
        except UnknownName:
            backends[name] = value
        else:
            mine[name] = value
    return mine, backends


def checked_attempts(attempts: int) -> int:
    """Return how many attempts an answer is given.

    Raises:
        InvalidArgument: it is none.
    """
    if attempts < 1:
        raise InvalidArgument(f"--attempts is {attempts}; an answer needs at least 1.")
    return attempts


def _value(written: str) -> Any:
    try:
        return json.loads(written)
    except ValueError:
        return written


def requirement(written: str) -> Requirement:
    """Make a requirement of a sentence, or of `FILE.py:FUNCTION`.

    Raises:
        InvalidArgument: there is nothing there.
    """
    path, colon, name = written.rpartition(":")
    if colon and path.endswith(".py"):
        return reqify(named_in(path, name))
    if not written.strip():
        raise InvalidArgument("A requirement is a sentence, or FILE.py:FUNCTION; this one is empty.")
    return reqify(written.strip())


def tools_in(path: str) -> dict[str, MelleaTool]:
    """Return the tools in a Python file: what `@tool` made; else its functions, those without an underscore.

    Raises:
        InvalidArgument: the file cannot be run, or has no tool in it.
    """
    names = _ran(path)
    tools = [value for value in names.values() if isinstance(value, MelleaTool)]
    own = [
        value
        for name, value in names.items()
        if callable(value) and not name.startswith("_") and getattr(value, "__module__", "") == names["__name__"]
    ]
    found: Sequence[Any] = tools or [value for value in own if not isinstance(value, type)]
    if not found:
        raise InvalidArgument(f"The file {path!r} has no tools: write functions with docstrings in it.")
    return tools_by_name(found)


def named_in(path: str, name: str) -> Any:
    """Return what a Python file calls `name`.

    Raises:
        InvalidArgument: the file cannot be run, or has no such name.
    """
    names = _ran(path)
    if name not in names:
        raise InvalidArgument(f"The file {path!r} has no {name!r}.")
    return names[name]


def _ran(path: str) -> dict[str, Any]:
    import runpy  # only for those who bring code of their own

    where = Path(path).expanduser()
    if not where.is_file():
        raise InvalidArgument(f"There is no file {path!r}.")
    sys.path.insert(0, os.fspath(where.parent.absolute()))  # as `python FILE.py` does
    try:
        return runpy.run_path(os.fspath(where), run_name=where.stem)
    except Exception as error:  # user code, which may raise anything
        raise InvalidArgument(f"The file {path!r} cannot be run: {type(error).__name__}: {error}") from error
    finally:
        sys.path.pop(0)


def format_in(path: str) -> Any:
    """Return the type of an answer: what `FILE.py:NAME` names, or what a file with a JSON schema describes.

    Raises:
        InvalidArgument: the file cannot be read, or is none of these.
    """
    source, colon, name = path.rpartition(":")
    if colon and source.endswith(".py"):
        return named_in(source, name)
    try:
        schema = json.loads(Path(path).read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise refused(path, error) from error
    except ValueError as error:
        raise InvalidArgument(f"The file {path!r} is not JSON: {error}.") from error
    return _described_by(schema, path)


def _described_by(schema: Any, path: str) -> Any:
    from jsonschema import SchemaError
    from jsonschema.validators import validator_for

    if not isinstance(schema, dict):
        raise InvalidArgument(f"The file {path!r} holds no JSON schema: that is an object.")
    kind = validator_for(schema)
    try:
        kind.check_schema(schema)
    except SchemaError as error:
        raise InvalidArgument(f"The file {path!r} holds no JSON schema: {error.message}.") from error
    return _type_of(schema, kind(schema), name=str(schema.get("title") or Path(path).stem))


def _type_of(schema: dict[str, Any], validator: Any, *, name: str) -> type[Any]:
    """Make a type for pydantic of a JSON schema: it is told to the model as it is, and an answer has to follow it."""
    from pydantic_core import core_schema

    def followed(value: Any) -> Any:
        errors = sorted(validator.iter_errors(value), key=lambda error: str(error.json_path))
        if errors:
            raise InvalidArgument("; ".join(f"{error.json_path}: {error.message}" for error in errors))
        return value

    def core(cls: type[Any], source: Any, handler: Any) -> Any:
        return core_schema.no_info_after_validator_function(followed, core_schema.any_schema())

    def told(cls: type[Any], core: Any, handler: Any) -> Any:
        return schema

    members = {"__get_pydantic_core_schema__": classmethod(core), "__get_pydantic_json_schema__": classmethod(told)}
    return type(name, (), members)
