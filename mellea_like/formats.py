"""Output types: what `format=` means, as a JSON schema for the model and a parser for its answer.

pydantic does both; it is imported when the first format is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Generic, TypeVar, cast

from .errors import InvalidArgument, OutputParseError

T = TypeVar("T")


class Format(Generic[T]):
    """A type that an answer is to have: anything pydantic understands, from `int` to a model."""

    __slots__ = ("_adapter", "kind", "schema")

    def __init__(self, kind: type[T]) -> None:
        from pydantic import PydanticUserError, TypeAdapter  # 100 ms that plain text does not need

        self.kind = kind
        try:
            self._adapter: TypeAdapter[T] = TypeAdapter(kind)
            self.schema: Mapping[str, Any] = self._adapter.json_schema()
        except PydanticUserError as error:
            raise InvalidArgument(f"format={kind!r} cannot be described as a JSON schema: {error.message}.") from error

    def parse(self, text: str) -> T:
        """Validate `text`, which must be JSON.

        Raises:
            OutputParseError: it is not JSON, or not of this type; pydantic's words say where.
        """
        from pydantic import ValidationError

        try:
            return self._adapter.validate_json(text)
        except ValidationError as error:
            name = getattr(self.kind, "__name__", str(self.kind))
            problems = error.errors(include_url=False, include_context=False, include_input=False)
            said = "; ".join(f"{'.'.join(map(str, p['loc'])) or 'answer'}: {p['msg']}" for p in problems)
            raise OutputParseError(f"The answer is not a valid {name}. {said}.", text=text) from error


def format_of(kind: type[T]) -> Format[T]:
    """Return the format of a type, built once."""
    hashable: Any = kind  # a type is hashable, which its type does not say
    return cast("Format[T]", _built(hashable))


@lru_cache(maxsize=128)
def _built(kind: Any) -> Format[Any]:
    return Format(kind)
