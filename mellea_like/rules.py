"""What ready-made requirements judge by: JSON and its schemas, lengths, patterns. Pure: text in, reasons out."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Literal, TypeAlias

from .chunking import Chunking, Cutter
from .errors import InvalidArgument, OutputParseError
from .formats import Format, format_of
from .partial import PartialParser
from .partial.growing_answer import json_in

Unit: TypeAlias = Literal["words", "characters", "sentences", "lines", "paragraphs"]
"""What a length is counted in."""

_UNITS: dict[str, Chunking] = {"words": "word", "sentences": "sentence", "lines": "line", "paragraphs": "paragraph"}

_UNDOABLE = re.compile(r"\$|\\[Zz]|\(\?[=!>(]|[+*?}]\+")
"""In a pattern, what can make more text undo a match: ends, what looks ahead, what never gives back."""
_ONE_MORE = re.compile(r"\\[Bb]")
"""In a pattern, what looks at one character behind a match."""
_BACK = 1000
"""Characters of the text before that are searched again with each new piece; longer matches are found at the end."""


class TypedJson:
    """JSON of a type, or any JSON."""

    def __init__(self, kind: type[Any] | None) -> None:
        self._format: Format[Any] | None = None if kind is None else format_of(kind)

    @property
    def schema(self) -> Mapping[str, Any]:
        """The JSON schema."""
        return {} if self._format is None else self._format.schema

    def judge(self, text: str) -> tuple[bool, str | None]:
        """Judge a whole answer."""
        try:
            if self._format is not None:
                self._format.parse(text)
            else:
                json.loads(json_in(text, words=False))
        except OutputParseError as error:
            return False, str(error)
        except ValueError as error:
            return False, f"The answer is not JSON: {error}."
        return True, None

    def growing(self) -> Callable[[str], str | None]:
        """Make what is given new text, and says why the answer cannot pass any more."""
        parser: PartialParser[Any] = PartialParser(None if self._format is None else self._format.shape)

        def fed(text: str) -> str | None:
            parser.feed(text)
            return None if parser.problem is None else f"The answer is not valid JSON. {parser.problem}."

        return fed


class SchemaJson(TypedJson):
    """JSON that follows a schema which is given as one."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        super().__init__(None)
        self._schema = dict(schema)
        _ = self._validator

    @property
    def schema(self) -> Mapping[str, Any]:
        """The JSON schema, as it was given."""
        return self._schema

    @cached_property
    def _validator(self) -> Any:
        from jsonschema import SchemaError  # 40 ms that nothing else needs
        from jsonschema.validators import validator_for

        kind = validator_for(self._schema)
        try:
            kind.check_schema(self._schema)
        except SchemaError as error:
            raise InvalidArgument(f"This is not a JSON schema: {error.message}.") from error
        return kind(self._schema)

    def judge(self, text: str) -> tuple[bool, str | None]:
        """Judge a whole answer."""
        fine, reason = super().judge(text)
        if not fine:
            return fine, reason
        errors = sorted(self._validator.iter_errors(json.loads(json_in(text, words=False))), key=lambda e: e.json_path)
        told = "; ".join(f"{error.json_path}: {error.message}" for error in errors)
        return not errors, f"The answer does not follow the schema. {told}."


class Limits:
    """How long an answer may be."""

    def __init__(self, least: int | None, most: int | None, unit: Unit) -> None:
        self._least, self._most, self._unit = least, most, unit

    @property
    def sentence(self) -> str:
        """The limits, as they are told to the model."""
        least, most, unit = self._least, self._most, self._unit
        if least is None:
            return f"Use at most {_counted(most, unit)}."
        if most is None:
            return f"Use at least {_counted(least, unit)}."
        return f"Use exactly {_counted(most, unit)}." if least == most else f"Use {least} to {most} {unit}."

    def judge(self, text: str) -> tuple[bool, str | None]:
        """Judge a whole answer."""
        counting = _Count(self._unit)
        count = counting.feed(text.strip()) + counting.rest()
        if self._most is not None and count > self._most:
            return False, f"The answer has {_counted(count, self._unit)}; at most {self._most} are allowed."
        if self._least is not None and count < self._least:
            return False, f"The answer has {_counted(count, self._unit)}; at least {self._least} are needed."
        return True, None

    def growing(self) -> Callable[[str], str | None]:
        """Make what is given new text, and says why the answer cannot pass any more."""
        counting, most = _Count(self._unit), self._most

        def fed(text: str) -> str | None:
            if most is None or counting.feed(text) <= most:
                return None
            return f"The answer has more than {_counted(most, self._unit)}."

        return fed


class _Count:
    """Counts the units of a text that comes in pieces."""

    def __init__(self, unit: Unit) -> None:
        self._cutter = Cutter(_UNITS[unit]) if unit in _UNITS else None
        self._count = 0
        self._space = 0

    def feed(self, text: str) -> int:
        """Count on; return how many are whole. Space at the end of characters may yet be around the answer."""
        if self._cutter is not None:
            self._count += len(self._cutter.feed(text))
            return self._count
        if not self._count:
            text = text.lstrip()
        kept = text.rstrip()
        if kept:
            self._count += self._space + len(kept)
            self._space = 0
        self._space += len(text) - len(kept)
        return self._count

    def rest(self) -> int:
        """Return what the end of the text adds."""
        return 0 if self._cutter is None else len(self._cutter.flush())


def _counted(count: int | None, unit: Unit) -> str:
    return f"{count} {unit.removesuffix('s') if count == 1 else unit}"


def compiled(pattern: str | re.Pattern[str]) -> re.Pattern[str]:
    """Compile a regular expression.

    Raises:
        InvalidArgument: it is none.
    """
    try:
        return re.compile(pattern)
    except re.error as error:
        raise InvalidArgument(f"{pattern!r} is no regular expression: {error}.") from error


def watching(unwanted: re.Pattern[str]) -> Callable[[str], str | None]:
    """Make what looks for an unwanted match in a growing text: one that more text cannot undo."""
    undoable, one_more = bool(_UNDOABLE.search(unwanted.pattern)), bool(_ONE_MORE.search(unwanted.pattern))
    so_far = ""

    def fed(text: str) -> str | None:
        nonlocal so_far
        start, so_far = max(0, len(so_far) - _BACK), so_far + text
        found = None if undoable else unwanted.search(so_far, start)
        return None if found is None or (one_more and found.end() == len(so_far)) else excluded(found)

    return fed


def excluded(found: re.Match[str]) -> str:
    """Say that a match must not be there."""
    return f"{shortened(found[0])} must not be in the answer."


def shortened(text: str) -> str:
    """Quote a text, or its beginning."""
    return repr(text if len(text) <= 60 else f"{text[:57]}...")
