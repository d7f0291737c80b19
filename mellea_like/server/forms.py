"""What the forms of clients' requests are made of: which form is meant, what is refused, and where a mistake is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from inspect import isclass
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, GetCoreSchemaHandler
from pydantic_core import CoreSchema, ErrorDetails, core_schema

from ..errors import InvalidArgument

_TAG = "\0"
"""Begins the names of forms, so that they are told from a client's own keys where pydantic says what is mistaken."""


class Form(BaseModel):
    """Something that clients send; what it has besides is passed over."""

    model_config = ConfigDict(strict=True, extra="allow")


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value  # 5.0 is an integer in JSON


WHOLE = BeforeValidator(_whole)


class Only:
    """Annotates a field that cannot be honoured: null may stand there, or a value that changes nothing.

    Args:
        harmless: Values that change nothing.
        told: What is said of all others; None says to leave the field out.
    """

    def __init__(self, harmless: Sequence[Any] = (), *, told: str | None = None) -> None:
        self._harmless = [*harmless, None]
        shown = "".join([f", or give {json.dumps(value)}" for value in harmless])
        self._told = told or f"This server cannot honour it; leave it out{shown}"

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Give what checks the field; see pydantic."""
        return core_schema.no_info_plain_validator_function(self._checked)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: Any) -> dict[str, Any]:
        """Give what describes the field; see pydantic."""
        return {"enum": self._harmless, "description": f"{self._told}."}

    def _checked(self, value: Any) -> Any:
        # To Python, false is 0; to JSON it is not.
        if any(value == other and isinstance(value, bool) is isinstance(other, bool) for other in self._harmless):
            return value
        raise InvalidArgument(self._told)


class OneOf:
    """Annotates a union of forms: the one that is meant is found first, so that a mistake is told of that one alone.

    Args:
        key: The field whose value tells the forms apart; None tells apart text, lists and objects.
        told: What is said of a value that is none of them; None lists what there is.
    """

    def __init__(self, key: str | None = None, *, told: str | None = None) -> None:
        self._key = key
        self._told = told

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Give what checks the field; see pydantic."""
        forms = [(self._kinds_of(form), form) for form in get_args(source)]
        tags = {kind: _TAG + kinds[0] for kinds, _ in forms for kind in kinds}
        usual = next((form.model_fields[self._key].default for _, form in forms if self._is_usual(form)), None)

        def kind_of(value: Any) -> Any:
            if self._key is None:
                return _shape(value)
            return value.get(self._key, usual) if isinstance(value, dict) else getattr(value, self._key, None)

        def checked(value: Any) -> Any:
            if self._key is not None and not isinstance(value, dict):
                raise InvalidArgument("Give an object")
            kind = kind_of(value)
            if not isinstance(kind, str) or kind not in tags:
                valid = [f"'{kind}'" if self._key else kind for kind in tags]
                raise InvalidArgument(self._told or f"Give {' or '.join(valid)}", param=self._key)
            return value

        meant = core_schema.tagged_union_schema(
            {_TAG + kinds[0]: handler.generate_schema(form) for kinds, form in forms},
            discriminator=lambda value: tags.get(kind_of(value)),
        )
        return core_schema.no_info_before_validator_function(checked, meant)

    def _kinds_of(self, form: Any) -> tuple[str, ...]:
        return (_shape_of(form),) if self._key is None else get_args(form.model_fields[self._key].annotation)

    def _is_usual(self, form: Any) -> bool:
        """Whether it is this form that is meant where the field is missing."""
        return self._key is not None and not form.model_fields[self._key].is_required()


def _shape(value: Any) -> str | None:
    match value:
        case str():
            return "text"
        case list():
            return "a list"
        case dict() | Form():
            return "an object"
    return None


def _shape_of(form: Any) -> str:
    while get_origin(form) is Annotated:
        form = get_args(form)[0]
    if isclass(form) and issubclass(form, Form):
        return "an object"
    return "a list" if get_origin(form) is list else "text"


def place_of(mistake: ErrorDetails) -> str:
    """Say where a mistake is, as whoever wrote the request would: `messages[0].content`; empty for all of it."""
    key = getattr(mistake.get("ctx", {}).get("error"), "param", None)
    steps = [*mistake["loc"], *([] if key is None else [key])]
    own = [step for step in steps if not str(step).startswith(_TAG)]
    return "".join([f"[{step}]" if isinstance(step, int) else f".{step}" for step in own]).removeprefix(".")
