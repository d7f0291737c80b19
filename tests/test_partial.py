"""A partial says what is missing, open and done, and shows nothing that more text could change."""

from __future__ import annotations

import copy
import enum
from datetime import date
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from mellea_like import InvalidArgument, UnknownName
from mellea_like.formats import format_of
from mellea_like.partial import Partial, PartialParser


class Colour(enum.Enum):
    RED = "red"


class Pet(BaseModel):
    name: str
    age: int = 0


class Person(BaseModel):
    name: str = Field(alias="full name")
    age: int
    colour: Colour = Colour.RED
    born: date | None = None
    mood: Literal["calm", "calmer"] = "calm"
    pets: list[Pet] = []


def read(kind: Any, *pieces: str, whole: bool = False) -> Partial[Any]:
    """Read a text that has come so far; `whole` says that it has ended."""
    parser: PartialParser[Any] = PartialParser(format_of(kind).shape)
    for piece in pieces:
        parser.feed(piece)
    if whole:
        parser.finish()
    return parser.partial()


def test_before_the_first_character_everything_is_missing() -> None:
    partial = read(Person)
    assert (partial.state, partial.value, partial.so_far, partial.error) == ("missing", None, None, None)
    assert partial["pets"][3]["name"].state == "missing"
    assert not partial
    assert set(partial.fields()) == {"name", "age", "colour", "born", "mood", "pets"}


def test_each_field_is_missing_open_or_done() -> None:
    partial = read(Person, '{"full name": "Ada", "age": 3')
    assert {name: part.state for name, part in partial.fields().items()} == {
        "name": "done", "age": "open", "colour": "missing", "born": "missing", "mood": "missing", "pets": "missing",
    }  # fmt: skip
    assert partial.state == "open"


def test_a_field_goes_by_its_name_or_by_its_alias() -> None:
    partial = read(Person, '{"full name": "Ada",')
    assert partial["name"].value == partial["full name"].value == "Ada"
    assert partial.so_far == {"full name": "Ada"}


def test_a_field_that_the_type_does_not_have_is_an_error_that_lists_those_it_has() -> None:
    with pytest.raises(UnknownName, match=r"'nmae'.*Did you mean 'name'"):
        read(Person, "{")["nmae"]


def test_a_number_is_done_with_the_character_after_it() -> None:
    open_, done = read(Person, '{"age": 36'), read(Person, '{"age": 36 ')
    assert (open_["age"].value, open_.so_far) == (None, {})
    assert (done["age"].value, done.so_far) == (36, {"age": 36})


@pytest.mark.parametrize(
    ("field", "text"), [("colour", '"re'), ("mood", '"calm'), ("born", '"2024-01-0'), ("age", "-1"), ("born", "nul")]
)
def test_what_is_undecided_is_not_shown(field: str, text: str) -> None:
    partial = read(Person, f'{{"{field}": {text}')
    assert (partial[field].state, partial[field].value, partial[field].so_far) == ("open", None, None)
    assert partial.so_far == {}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\\", "a"),
        ("a\\n", "a\n"),
        ("a\\u00e", "a"),
        ("a\\u00e9", "aé"),
        ("a\\ud83d", "a"),
        ("a\\ud83d\\u", "a"),
        ("a\\ud83d\\ude00", "a😀"),
        ("a\\\\", "a\\"),
        ("a\\\\u00e", "a\\u00e"),
    ],
)
def test_a_string_shows_nothing_of_half_an_escape(text: str, shown: str) -> None:
    assert read(str, '"' + text).so_far == shown


def test_the_undecided_choice_inside_an_undecided_union_is_not_shown_and_its_text_is() -> None:
    class Cat(BaseModel):
        kind: Literal["cat", "catfish"]
        says: str

    class Dog(BaseModel):
        kind: Literal["dog"]
        says: str

    partial = read(list[Cat | Dog], '[{"says": "Wo', 'of", "kind": "cat')
    assert partial.so_far == [{"says": "Woof"}]
    assert (partial[0].value, partial[0]["says"].state, partial[0]["says"].value) == (None, "done", None)
    assert read(list[Cat | Dog], '[{"says": "Woof", "kind": "cat"}')[0].value == Cat(kind="cat", says="Woof")


def test_a_list_has_a_length_items_and_a_last_one() -> None:
    partial = read(list[Pet], '[{"name": "Tom"}, {"name": "Je')
    assert len(partial) == 2
    assert [pet.state for pet in partial] == ["done", "open"]
    assert (partial[0].value, partial[-1]["name"].so_far) == (Pet(name="Tom"), "Je")
    assert partial[2].state == partial[-3].state == "missing"


def test_an_object_is_not_iterated_over() -> None:
    with pytest.raises(InvalidArgument, match="fields"):
        list(read(Person, '{"age": 1, '))


def test_what_the_type_does_not_know_is_plain_data() -> None:
    partial = read(Pet, '{"name": "Tom", "extra": [1, {"a": "b')
    assert partial.fields()["extra"].so_far == [1, {"a": "b"}]
    assert read(Any, '{"a": 1,')["a"].value == 1


def test_a_wrong_field_says_so_at_once_in_pydantics_words() -> None:
    partial = read(Person, '{"full name": "Ada", "age": "old"')
    assert (partial["age"].state, partial["age"].value) == ("done", None)
    assert "valid integer" in (partial["age"].error or "")
    assert (partial.state, partial.error) == ("open", None)


def test_a_closed_object_says_which_of_its_parts_are_wrong() -> None:
    partial = read(Person, '{"full name": "Ada", "age": 1, "pets": [{"name": "Tom"}, {"name": 3, "age": "x"}]}')
    assert partial["pets"][0].value == Pet(name="Tom")
    assert "pets.1.name: " in (partial.error or "")
    assert "pets.1.age: " in (partial.error or "")


def test_a_missing_field_is_wrong_when_the_object_closes() -> None:
    assert read(Pet, '{"age": 1').error is None
    assert read(Pet, '{"age": 1}').error == "name: Field required"


def test_the_parser_says_where_the_first_problem_is_and_nothing_before() -> None:
    parser: PartialParser[Any] = PartialParser(format_of(Person).shape)
    said = {
        parser.problem for character in '{"full name": "Ada", "pets": [{"age": "x' if parser.feed(character) or True
    }
    assert said == {None}
    parser.feed('"')
    assert (parser.problem or "").startswith("pets.0.age: Input should be a valid integer")


@pytest.mark.parametrize(
    ("text", "where", "why"),
    [
        ('{"name" 1}', 8, "expected ':', found '1'"),
        ('{"name": "a" "age"', 13, "expected ',' or '}', found '\"'"),
        ("{name: 1}", 1, "expected a name in quotes, found 'n'"),
        ('{"name": "a",}', 13, "expected a name in quotes, found '}'"),
        ('{"age": 01}', 10, "'01' is no value of JSON"),
        ('{"age": nul}', 11, "'nul' is no value of JSON"),
        ('{"name": "a\nb"}', 11, r"'\n' stands in a string without being escaped"),
        ('{"name": "\\x"}', 11, r"'\x' is no escape of JSON"),
        ('{"name": "\\u12g', 14, r"expected four hexadecimal digits after '\u', found 'g'"),
        ('{"name": "\\ud800"}', 16, "a string holds half of a surrogate pair"),
        ('{"name": "a"} and', 14, "expected nothing after the value, found 'a'"),
        ("{]", 1, "expected a name in quotes, found ']'"),
        ('{"age": 1]', 9, "expected ',' or '}', found ']'"),
        ('{"age": =', 8, "expected a value, found '='"),
        ("[" * 201, 200, "more than 200 objects and lists within each other"),
        ('{"age": ' + "1" * 5000, 4308, "a number of more than 4300 digits"),
    ],
)
@pytest.mark.parametrize("cut", [1, 1000000])
def test_text_that_is_no_json_stops_the_growth_and_says_where(text: str, where: int, why: str, cut: int) -> None:
    parser: PartialParser[Any] = PartialParser(format_of(Pet).shape)
    for i in range(0, len(text), cut):
        parser.feed(text[i : i + cut])
    assert parser.problem == f"not JSON at character {where}: {why}"
    before = repr(parser.partial())
    parser.feed('"name": "more"}')
    assert repr(parser.partial()) == before


def test_an_open_value_shows_where_the_text_broke_off_and_a_done_one_stays_good() -> None:
    partial = read(Pet, '{"name": "Tom", age')
    assert (partial.state, partial.error) == ("open", "not JSON at character 16: expected a name in quotes, found 'a'")
    assert (partial["name"].value, partial["name"].error) == ("Tom", None)


def test_a_text_that_ends_too_early_says_so() -> None:
    assert "ends before the value does" in (read(Pet, '{"name": "To', whole=True).error or "")


def test_a_key_that_is_written_twice_counts_as_the_last_does_and_kept_partials_show_the_first() -> None:
    parser: PartialParser[Any] = PartialParser(format_of(Pet).shape)
    parser.feed('{"name": "Tom", ')
    first = parser.partial()
    parser.feed('"name": "Tim"}')
    assert (first["name"].value, parser.partial()["name"].value) == ("Tom", "Tim")
    assert parser.partial().value == format_of(Pet).parse('{"name": "Tom", "name": "Tim"}')


def test_a_partial_is_its_own_copy_and_shows_itself_briefly() -> None:
    partial = read(Pet, '{"name": "' + "o" * 200)
    assert copy.deepcopy(partial) is copy.copy(partial) is partial
    assert repr(partial).startswith("<Partial open: {'name': 'ooo")
    assert len(repr(partial)) < 90


def test_a_long_string_is_read_in_one_piece_from_many() -> None:
    parser: PartialParser[Any] = PartialParser(format_of(Pet).shape)
    for piece in ['{"name": "', *["ab"] * 1000]:
        parser.feed(piece)
    assert parser.partial()["name"].so_far == "ab" * 1000


def test_unknown_fields_may_be_allowed() -> None:
    class Loose(BaseModel):
        model_config = ConfigDict(extra="allow")
        a: int

    partial = read(Loose, '{"a": 1, "b": [2]}')
    assert partial.value == Loose(a=1, b=[2])  # type: ignore[call-arg]
    assert partial["b"].value == [2]


def test_the_character_that_ends_an_escape_counts() -> None:
    parser: PartialParser[str] = PartialParser(format_of(str).shape)
    parser.feed('"a')
    assert [parser.feed(character) for character in "\\n\\u00e9"] == [
        False,
        True,
        False,
        False,
        False,
        False,
        False,
        True,
    ]
    assert parser.partial().so_far == "a\né"


def test_where_words_are_welcome_nothing_is_wrong_for_good_before_the_end() -> None:
    text = "Use this:\n```python\nprint(1)\n```"
    parser: PartialParser[str] = PartialParser(format_of(str).shape)
    parser.feed(text)
    assert parser.problem is None
    parser.finish()
    assert (parser.problem, parser.partial().value) == (None, text)
