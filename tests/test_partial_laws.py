"""Laws of partials, for any value of a type and any cutting of its text."""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from itertools import pairwise
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator
from typing_extensions import TypedDict

from mellea_like import OutputParseError
from mellea_like.formats import format_of
from mellea_like.partial import Partial, PartialParser


def laws(examples: int) -> settings:
    """How often a law is tried; never by the clock."""
    quiet = [HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(max_examples=examples, deadline=None, database=None, suppress_health_check=quiet)


class Colour(enum.Enum):
    RED = "red"
    DEEP_RED = "deep red"
    ONE = 1


class Point(BaseModel):
    model_config = ConfigDict(strict=True)

    x: int
    y: float | None = None
    kind: Literal["a", "ab", "é"] = "a"


@dataclass
class Box:
    colour: Colour
    corners: tuple[Point, Point]
    labels: set[str] = field(default_factory=set)


class Row(TypedDict, total=False):
    day: date
    cost: Decimal
    boxes: dict[str, Box]


class Everything(BaseModel):
    model_config = ConfigDict(populate_by_name=True)

    title: str = Field(alias="the title")
    points: list[Point] = []
    row: Row = {}
    box: Box | None = None
    either: Point | bool | str = ""
    any: Any = None
    pairs: frozenset[tuple[int, str]] = frozenset()
    nested: list[Everything] = []

    @model_validator(mode="after")
    def keep(self) -> Everything:
        return self


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=4) | st.sampled_from(
    ['"\\/\b\f\n\r\t', "😀", "\x00é"]
)
numbers = st.integers(-(2**70), 2**70)
reals = st.floats(allow_nan=False, allow_infinity=False)
points = st.builds(Point, x=numbers, y=st.none() | reals, kind=st.sampled_from(["a", "ab", "é"]))
boxes = st.builds(
    Box, colour=st.sampled_from(Colour), corners=st.tuples(points, points), labels=st.sets(texts, max_size=2)
)
rows = st.fixed_dictionaries(
    {},
    optional={
        "day": st.dates(),
        "cost": st.decimals(-1000, 1000, places=2),
        "boxes": st.dictionaries(texts, boxes, max_size=2),
    },
)
plain = st.recursive(
    st.none() | st.booleans() | numbers | reals | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)


def everything(nested: st.SearchStrategy[Any]) -> st.SearchStrategy[Everything]:
    return st.builds(
        Everything,
        title=texts,
        points=st.lists(points, max_size=2),
        row=rows,
        box=st.none() | boxes,
        either=points | st.booleans() | texts,
        any=plain,
        pairs=st.frozensets(st.tuples(numbers, texts), max_size=2),
        nested=nested,
    )


VALUES: dict[Any, st.SearchStrategy[Any]] = {
    Everything: everything(st.just([])) | everything(st.lists(everything(st.just([])), max_size=1)),
    Box: boxes,
    Row: rows,
    list[Point]: st.lists(points, max_size=3),
    tuple[int, ...]: st.lists(numbers, max_size=3).map(tuple),
    dict[str, list[bool]]: st.dictionaries(texts, st.lists(st.booleans(), max_size=3), max_size=3),
    Literal["yes", "no", 3]: st.sampled_from(["yes", "no", 3]),
    Colour: st.sampled_from(Colour),
    Point | Box: points | boxes,
    int: numbers,
    float: reals,
    bool: st.booleans(),
    str: texts,
    date: st.dates(),
    Any: plain,
}


@st.composite
def answers(draw: st.DrawFn) -> tuple[Any, str]:
    """Draw a type and the JSON of one of its values, written in one of the ways that JSON allows."""
    kind = draw(st.sampled_from(list(VALUES)))
    value = draw(VALUES[kind])
    written = TypeAdapter(kind).dump_python(value, mode="json", by_alias=True)
    text = json.dumps(written, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 1])))
    before, after = draw(st.sampled_from([("", ""), (" \n", "\n"), ("Sure!\n```json\n", "\n```\nAnything else?")]))
    return kind, before + text + after


@st.composite
def cut(draw: st.DrawFn, text: str) -> list[str]:
    places = sorted(draw(st.sets(st.integers(1, max(len(text) - 1, 1)), max_size=12)))
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


def shown(partial: Partial[Any]) -> Any:
    """Write down everything that a partial says."""
    parts: Any = None
    if isinstance(partial.so_far, dict):
        parts = {name: shown(part) for name, part in partial.fields().items()}
    elif isinstance(partial.so_far, list):
        parts = [shown(part) for part in partial]
    return (partial.state, partial.so_far, repr(partial.value), partial.error, parts)


class Reading:
    """What a parser shows after each piece, by place of the text, and what it says at the end."""

    def __init__(self, kind: Any, pieces: list[str]) -> None:
        parser: PartialParser[Any] = PartialParser(format_of(kind).shape)
        self.seen: dict[int, Partial[Any]] = {}
        place = 0
        for piece in pieces:
            parser.feed(piece)
            place += len(piece)
            self.seen[place] = parser.partial()
        parser.finish()
        self.last = self.seen[place + 1] = parser.partial()
        self.problem = parser.problem


def grew(before: Any, after: Any) -> bool:
    """Whether plain JSON only grew: strings and lists at their end, objects by members."""
    if isinstance(before, str) and isinstance(after, str):
        return after.startswith(before)
    if isinstance(before, list) and isinstance(after, list):
        return len(before) <= len(after) and all(map(grew, before, after))
    if isinstance(before, dict) and isinstance(after, dict):
        return all(name in after and grew(value, after[name]) for name, value in before.items())
    return before is None or repr(before) == repr(after)


def done_stays(before: Any, after: Any) -> bool:
    """Whether what was done is as it was, at any depth; `before` and `after` are what `shown` gives."""
    if before[0] == "done":
        return bool(before == after)
    old, new = before[4], after[4]
    if isinstance(old, dict) and isinstance(new, dict):
        return all(done_stays(part, new[name]) for name, part in old.items())
    if isinstance(old, list) and isinstance(new, list):
        return all(map(done_stays, old, new))
    return True


@laws(20)
@given(answers(), st.data())
def test_the_last_partial_is_the_validated_value(answer: tuple[Any, str], draw: st.DataObject) -> None:
    kind, text = answer
    partial = Reading(kind, draw.draw(cut(text))).last
    assert (partial.state, partial.error) == ("done", None)
    assert repr(partial.value) == repr(format_of(kind).parse(text))


@laws(20)
@given(answers())
def test_what_is_shown_only_grows_and_what_is_done_stays(answer: tuple[Any, str]) -> None:
    kind, text = answer
    seen = list(Reading(kind, list(text)).seen.values())
    for before, after in pairwise(seen):
        assert grew(before.so_far, after.so_far)
        assert done_stays(shown(before), shown(after))


@laws(20)
@given(answers(), st.data())
def test_how_the_text_was_cut_does_not_show(answer: tuple[Any, str], draw: st.DataObject) -> None:
    kind, text = answer
    by_character = Reading(kind, list(text)).seen
    for place, partial in Reading(kind, draw.draw(cut(text))).seen.items():
        assert shown(partial) == shown(by_character[place])


@laws(20)
@given(answers())
def test_a_partial_that_is_kept_stays_as_it_was(answer: tuple[Any, str]) -> None:
    kind, text = answer
    parser: PartialParser[Any] = PartialParser(format_of(kind).shape)
    kept = []
    for character in text:
        parser.feed(character)
        kept.append((parser.partial(), shown(parser.partial())))
    parser.finish()
    assert [shown(partial) for partial, _ in kept] == [wrote for _, wrote in kept]


@laws(20)
@given(answers(), st.data())
def test_a_delta_that_does_not_count_shows_nothing_new(answer: tuple[Any, str], draw: st.DataObject) -> None:
    kind, text = answer
    parser: PartialParser[Any] = PartialParser(format_of(kind).shape)
    before = shown(parser.partial())
    for piece in draw.draw(cut(text)):
        counts = parser.feed(piece)
        after = shown(parser.partial())
        assert counts or after == before
        before = after


broken = st.text('{}[]",:\\u0d8etrfalsn-1. \n`', max_size=25)
talk = st.lists(st.sampled_from(["```", "```json\n", "\n", "3 ", "So: ", '"a"', "[", "{}", "]", "1", " "]), max_size=8)


@laws(100)
@given(
    broken | talk.map("".join) | st.text(max_size=12),
    st.sampled_from([Everything, list[Point], str, Any, int, Literal["a"]]),
    st.data(),
)
@example('{"a":1}x', Any, None)
@example('"\\ud800"', Any, None)
def test_of_any_text_the_parser_says_what_pydantic_says(text: str, kind: Any, draw: st.DataObject | None) -> None:
    pieces = list(text) if draw is None else draw.draw(cut(text))
    reading = Reading(kind, pieces)
    assert shown(reading.last) == shown(Reading(kind, list(text)).last)
    try:
        value = format_of(kind).parse(text)
    except OutputParseError:
        assert reading.problem is not None
    else:
        assert (reading.last.state, reading.last.error, repr(reading.last.value)) == ("done", None, repr(value))
        assert reading.problem is None


@laws(20)
@given(answers(), st.data())
def test_a_problem_means_that_no_more_text_makes_it_valid(answer: tuple[Any, str], draw: st.DataObject) -> None:
    kind, text = answer
    at = draw.draw(st.integers(0, len(text)))
    changed = text[:at] + draw.draw(st.text('{}[]",:x1 ', min_size=1, max_size=2)) + text[at + 1 :]
    parser: PartialParser[Any] = PartialParser(format_of(kind).shape)
    said = [parser.problem for piece in changed if parser.feed(piece) is not None]
    if any(said):
        with pytest.raises(OutputParseError):
            format_of(kind).parse(changed)
