"""Output types: what `format=` means, as a JSON schema for the model and a parser for its answer.

pydantic does both; it is imported when the first format is used.
"""

from __future__ import annotations

import json
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Generator,
    Iterable,
    Iterator,
    Mapping,
)
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, get_args, get_origin

from ..errors import InvalidArgument, OutputParseError
from ..partial.growing_answer import json_in
from ..partial.json_tree import told

if TYPE_CHECKING:
    from pydantic import ValidationError
    from typing_extensions import TypeForm

    from .shapes import TypeShape

T = TypeVar("T")

STREAMS = frozenset({AsyncIterator, AsyncIterable, AsyncGenerator, Iterator, Iterable, Generator})
"""Types of items that come one by one; a JSON list has room for them."""


class Format(Generic[T]):
    """A type that an answer is to have: anything pydantic understands, from `int` to a model.

    It pickles as its type.
    """

    __slots__ = ("_adapter", "kind", "schema", "shape")

    def __init__(self, kind: TypeForm[T]) -> None:
        from pydantic import PydanticUserError, TypeAdapter  # 100 ms that plain text does not need

        from .shapes import shape_of

        self.kind = kind
        try:
            self._adapter: TypeAdapter[T] = TypeAdapter(kind)
            self.schema: Mapping[str, Any] = self._adapter.json_schema()
        except PydanticUserError as error:
            raise InvalidArgument(
                f"format={kind!r} cannot be described as a JSON schema: {error.message}. Give a type, such as a "
                "pydantic model, a dataclass or `list[int]`."
            ) from error
        self.shape: TypeShape = shape_of(self._adapter, kind)

    def parse(self, text: str) -> T:
        """Validate an answer, which must be JSON: alone, or in the one fenced block of its talk.

        Where the type is a string, a choice of strings or a union with one, an answer without quotes is taken as it
        is, unless it is valid JSON of the type.

        Raises:
            OutputParseError: it is not JSON, or not of this type; pydantic's words say where.
        """
        from pydantic import ValidationError

        words = self.shape.words
        try:
            return self._adapter.validate_json(json_in(text, words=words))
        except ValidationError as error:
            refused = error
        if words and text.strip()[:1] not in '{["':
            try:
                return self._adapter.validate_json(json.dumps(text.strip()))
            except ValidationError as error:
                refused = error
        raise self._refused(text, refused) from refused

    def _refused(self, text: str, error: ValidationError) -> OutputParseError:
        from .schemas import problems_in

        name = getattr(self.kind, "__name__", str(self.kind))
        said = told([(path or ("answer",), message) for path, message in problems_in(error)])
        return OutputParseError(f"The answer is not a valid {name}. {said}.", text=text)

    def __reduce__(self) -> tuple[Any, ...]:
        return (format_of, (self.kind,))


def format_of(kind: TypeForm[T]) -> Format[T]:
    """Return the format of a type, built once. An `Iterable` is read as a list, so that its items are validated.

    Raises:
        InvalidArgument: it is no type, or its items would come one by one.
    """
    if isinstance(kind, Mapping):
        raise InvalidArgument(
            "format= takes a type, and was given a dict. An answer is judged by a JSON schema with "
            "`requirements=requires.json(schema)`."
        )
    wanted: Any = kind
    if (get_origin(kind) or kind) is Iterable:
        wanted = list.__class_getitem__(get_args(kind) or Any)
    elif get_origin(kind) in STREAMS:
        raise InvalidArgument(
            f"format={kind!r} is no type of a whole answer. Give `list[…]`; `thunk.items()` gives the items as they "
            "come."
        )
    return cast("Format[T]", _built(wanted) if _is_hashable(wanted) else Format(wanted))


def _is_hashable(kind: Any) -> bool:
    # Types are, but an `Annotated` one may hold anything.
    try:
        hash(kind)
    except TypeError:
        return False
    return True


@lru_cache(maxsize=128)
def _built(kind: Any) -> Format[Any]:
    return Format(kind)
