"""Formats: every kind of type, each part validated once and by its own rules, and answers with talk around them."""

from __future__ import annotations

import enum
import pickle
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Annotated, Any, Literal

import pytest
from pydantic import (
    AfterValidator,
    AliasChoices,
    AliasPath,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    RootModel,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.dataclasses import dataclass as pydantic_dataclass
from typing_extensions import TypedDict

from mellea_like import InvalidArgument, OutputParseError
from mellea_like.formats import format_of
from mellea_like.partial import Partial, PartialParser


def last(kind: Any, text: str, *, whole: bool = True) -> Partial[Any]:
    """Read a text character by character."""
    parser: PartialParser[Any] = PartialParser(format_of(kind).shape)
    for character in text:
        parser.feed(character)
    if whole:
        parser.finish()
    return parser.partial()


class Colour(enum.Enum):
    RED = "red"
    GREEN = "green"


class Leaf(BaseModel):
    name: str


class Tree(BaseModel):
    leaf: Leaf
    trees: list[Tree] = []


@dataclass
class Point:
    x: int
    y: int = 7
    tags: list[str] = dataclass_field(default_factory=list)


class Movie(TypedDict, total=False):
    title: str
    year: int


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Leaf, '{"name": "a"}'),
        (Tree, '{"leaf": {"name": "a"}, "trees": [{"leaf": {"name": "b"}}]}'),
        (Point, '{"x": 1, "tags": ["a"]}'),
        (Movie, '{"year": 1999}'),
        (list[Leaf], '[{"name": "a"}, {"name": "b"}]'),
        (Literal["a", 1, None], '"a"'),
        (Literal["a", 1], "1"),
        (int, "12"),
        (int, "1e2"),
        (bool, "true"),
        (float, "NaN"),
        (str, '"a"'),
        (Colour, '"red"'),
        (Leaf | Point, '{"x": "3"}'),
        (int | str, "3"),
        (Leaf | None, "null"),
        (dict[int, Leaf], '{"1": {"name": "a"}}'),
        (set[int], "[1, 1]"),
        (tuple[int, Leaf], '[1, {"name": "a"}]'),
        (RootModel[list[int]], "[1, 2]"),
        (dict[str, Any], '{"a": [1, {"b": null}]}'),
    ],
)
def test_partials_of_every_kind_end_in_what_the_format_parses(kind: Any, text: str) -> None:
    parsed = format_of(kind).parse(text)
    partial = last(kind, text)
    assert (partial.state, partial.error) == ("done", None)
    assert repr(partial.value) == repr(parsed)
    assert type(partial.value) is type(parsed)


@pytest.mark.parametrize("kind", [Leaf, list[Leaf], Literal["a", "b"], int | str, Movie, Point, bool, Colour])
def test_formats_and_their_shapes_pickle_by_their_type(kind: Any) -> None:
    made = format_of(kind)
    assert pickle.loads(pickle.dumps(made)) is made
    assert pickle.loads(pickle.dumps(made.shape)).named == made.shape.named


def test_a_type_that_has_no_schema_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="cannot be described"):
        format_of(Iterator)


# --- each part once -------------------------------------------------------------------------------------------------

calls: Counter[str] = Counter()


def counted(name: str) -> AfterValidator:
    def count(value: Any) -> Any:
        calls[name] += 1
        return value

    return AfterValidator(count)


@dataclass
class CountedPoint:
    x: Annotated[int, counted("x")]

    def __post_init__(self) -> None:
        calls["point"] += 1


class CountedRow(TypedDict):
    cell: Annotated[str, counted("cell")]


class Counted(BaseModel):
    name: Annotated[str, counted("name")] = "nobody"
    points: Annotated[list[CountedPoint], counted("points")]
    row: CountedRow | None = None
    pair: tuple[Annotated[int, counted("first")], Annotated[str, counted("second")]] = (0, "")
    by: dict[str, Annotated[int, counted("by")]] = {}
    undecided: Annotated[int | str, counted("undecided")] = 0
    loud: str = ""

    @field_validator("loud")
    @classmethod
    def upper(cls, value: str) -> str:
        calls["loud"] += 1
        return value.upper()

    @model_validator(mode="after")
    def check(self) -> Counted:
        calls["model"] += 1
        return self


def test_every_part_is_validated_once_and_the_whole_is_built_of_the_parts() -> None:
    calls.clear()
    partial = last(
        list[Counted],
        '[{"name": "a", "points": [{"x": 1}, {"x": 2}], "row": {"cell": "c"}, "pair": [1, "b"], "by": {"k": 5}, '
        '"undecided": "u", "loud": "hey"}]',
    )
    assert partial.error is None
    once = ("name", "points", "cell", "first", "second", "by", "undecided", "loud", "model")
    assert calls == Counter({"x": 2, "point": 2} | dict.fromkeys(once, 1))
    assert partial.value[0] is partial[0].value
    assert partial.value[0].points[1] is partial[0]["points"][1].value
    assert partial.value[0].loud == "HEY"


def test_no_open_value_is_validated() -> None:
    calls.clear()
    last(Counted, '{"name": "a", "points": [{"x": 1', whole=False)
    assert calls == Counter({"name": 1})


def test_fields_set_are_those_that_were_written() -> None:
    partial = last(Counted, '{"points": []}')
    assert partial.value.model_fields_set == {"points"}
    assert partial.value.name == "nobody"


# --- by its own rules -------------------------------------------------------------------------------------------------


class Aliased(BaseModel):
    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)
    name: str = Field(alias="Name")
    other: int = Field(0, validation_alias=AliasChoices("o1", "o2"))
    deep: int = Field(0, validation_alias=AliasPath("deep", 1))


@pytest.mark.parametrize("text", ['{"Name": "a", "o2": 3, "deep": [1, 2]}', '{"name": "a", "o1": 3, "deep": [1, 2]}'])
def test_fields_with_aliases(text: str) -> None:
    partial = last(Aliased, text)
    assert partial.value == format_of(Aliased).parse(text)
    assert (partial["name"].value, partial["other"].value) == ("a", 3)


class Config(BaseModel):
    model_config = ConfigDict(strict=True, str_strip_whitespace=True, extra="forbid")
    name: str
    age: int = 0


def test_a_models_configuration_holds_for_its_fields() -> None:
    assert last(Config, '{"name": " a "').so_far == {"name": " a "}
    assert last(Config, '{"name": " a "')["name"].value == "a"
    assert last(Config, '{"age": "1"')["age"].error == "Input should be a valid integer"
    assert "Extra inputs are not permitted" in (last(Config, '{"name": "a", "more": 1}').error or "")


class Looking(BaseModel):
    low: int
    high: int

    @field_validator("high")
    @classmethod
    def above(cls, value: int, info: ValidationInfo) -> int:
        assert value > info.data["low"], "high is not above low"
        return value


def test_a_field_that_looks_at_its_neighbours_is_validated_with_them() -> None:
    assert last(Looking, '{"low": 1, "high": 2,')["high"].value is None
    assert last(Looking, '{"high": 2, "low": 1}').value == Looking(low=1, high=2)
    assert "high is not above low" in (last(Looking, '{"low": 2, "high": 1}').error or "")


class Raw(BaseModel):
    x: int

    @model_validator(mode="before")
    @classmethod
    def rename(cls, raw: Any) -> Any:
        return {"x": raw["y"]} if "y" in raw else raw


def test_a_model_that_wants_its_raw_input_is_validated_as_a_whole() -> None:
    partial = last(list[Raw], '[{"y": 1}, {"x": 2}, {"x": "z')
    assert [raw.value for raw in partial] == [Raw(x=1), Raw(x=2), None]
    assert partial[1]["x"].so_far == 2


class Own(BaseModel):
    x: int

    def __init__(self, **fields: Any) -> None:
        super().__init__(**{name: value + 1 for name, value in fields.items()})


def test_a_model_with_a_constructor_of_its_own_is_made_by_it() -> None:
    assert last(list[Own], '[{"x": 1}]').value[0].x == format_of(Own).parse('{"x": 1}').x


@pydantic_dataclass(config=ConfigDict(str_to_upper=True), kw_only=True)
class Loud:
    word: str
    words: tuple[str, ...] = ()


def test_a_pydantic_dataclass_has_its_configuration() -> None:
    assert last(Loud, '{"word": "a", "words": ["b", "c"]}').value == Loud(word="A", words=("B", "C"))


class Defaults(BaseModel):
    model_config = ConfigDict(validate_default=True)
    n: int = "3"  # type: ignore[assignment]
    m: Annotated[int, BeforeValidator(len)] = Field("four", validate_default=True)


def test_defaults_that_are_validated() -> None:
    assert last(Defaults, "{}").value == format_of(Defaults).parse("{}")
    assert last(Defaults, '{"n": 1, "m": "ab"}').value == format_of(Defaults).parse('{"n": 1, "m": "ab"}')


def test_a_validator_that_breaks_is_an_error_of_its_value_and_stops_nothing() -> None:
    def broken(value: int) -> int:
        raise KeyError("oops")

    partial = last(list[Annotated[int, AfterValidator(broken)]], "[1, 2]")
    assert partial[0].error == "its validator failed: KeyError: 'oops'"
    assert len(partial) == 2


def test_the_limits_of_a_list_hold_when_it_closes() -> None:
    kind = Annotated[list[Leaf], Field(max_length=1)]
    assert last(kind, '[{"name": "a"}, {"name": "b"}', whole=False).error is None
    assert "at most 1 item" in (last(kind, '[{"name": "a"}, {"name": "b"}]').error or "")


# --- around the answer ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        ' \n{"name": "a"}\n',
        '```json\n{"name": "a"}\n```',
        'Here it is, in `JSON`:\n\n```\n{"name": "a"}\n```\n\nAnything else?',
        '```json{"name": "a"}```',
    ],
)
def test_white_space_and_one_fenced_block_are_read(text: str) -> None:
    assert format_of(Leaf).parse(text) == Leaf(name="a")
    assert last(Leaf, text).value == Leaf(name="a")


@pytest.mark.parametrize(
    "text",
    [
        'It is {"name": "a"}.',
        '```json\n{"name": "a"}\n```\nor\n```json\n{"name": "b"}\n```',
        '```json\n{"name": "a"} {"name": "b"}\n```',
        '{"name": "a"} is it.',
        "```json\n",
        "",
    ],
)
def test_an_answer_that_could_be_read_in_two_ways_or_none_is_refused(text: str) -> None:
    with pytest.raises(OutputParseError, match="not a valid Leaf"):
        format_of(Leaf).parse(text)
    parser: PartialParser[Leaf] = PartialParser(format_of(Leaf).shape)
    parser.feed(text)
    parser.finish()
    assert parser.problem is not None


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Literal["yes", "no"], " yes\n", "yes"),
        (Colour, "red", Colour.RED),
        (str, "Paris is a city.", "Paris is a city."),
        (str, "3 cities", "3 cities"),
        (str, "42", "42"),
        (int | str, "42", 42),
        (Literal["true", "false"], "true", "true"),
        (Literal["a"] | None, "null", None),
        (str, '"quoted"', "quoted"),
    ],
)
def test_a_bare_word_is_taken_where_a_string_is_wanted(kind: Any, text: str, value: Any) -> None:
    assert format_of(kind).parse(text) == value
    assert last(kind, text).value == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [(Literal["yes", "no"], "Yes"), (Literal["yes", "no"], '"yes" it is'), (Leaf, "a"), (int, "three"), (bool, "yes")],
)
def test_other_words_are_not(kind: Any, text: str) -> None:
    with pytest.raises(OutputParseError):
        format_of(kind).parse(text)
    partial = last(kind, text)
    assert partial.state != "done" or partial.error or text.startswith('"')


def test_a_word_that_is_none_of_the_choices_is_told_the_choices() -> None:
    with pytest.raises(OutputParseError, match="Input should be 'yes' or 'no'"):
        format_of(Literal["yes", "no"]).parse("maybe")
