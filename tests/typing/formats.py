"""What type checkers make of formats, partials and items; checked by mypy, not run."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal, assert_type

from pydantic import BaseModel
from typing_extensions import TypedDict

from mellea_like import ModelOutputThunk, start_session
from mellea_like.events import Said
from mellea_like.formats import Format, format_of
from mellea_like.partial import Partial, PartialState
from mellea_like.partial.structured import ItemReader, PartialReader


class Person(BaseModel):
    name: str


@dataclass
class Point:
    x: int


class Row(TypedDict):
    cell: str


class Colour(Enum):
    RED = "red"


def formats() -> None:
    assert_type(format_of(Person), Format[Person])
    assert_type(format_of(Point), Format[Point])
    assert_type(format_of(Row), Format[Row])
    assert_type(format_of(Colour), Format[Colour])
    assert_type(format_of(int), Format[int])
    assert_type(format_of(list[Person]), Format[list[Person]])
    assert_type(format_of(dict[str, list[Point]]), Format[dict[str, list[Point]]])
    assert_type(format_of(Literal["yes", "no"]), Format[Literal["yes", "no"]])
    assert_type(format_of(Person | Point), Format[Person | Point])
    assert_type(format_of(Person | None), Format[Person | None])
    assert_type(format_of(Literal["yes", "no"]).parse("yes"), Literal["yes", "no"])


async def verbs() -> None:
    m = start_session("fake")
    assert_type((await m.ainstruct("x", format=list[Person])).parsed, list[Person])
    assert_type((await m.ainstruct("x", format=Row)).parsed, Row)
    assert_type((await m.ainstruct("x", format=Colour)).parsed, Colour)
    assert_type((await m.ainstruct("x", format=int)).parsed, int)


async def partials(source: AsyncGenerator[Said, None]) -> None:
    person = ModelOutputThunk[Person].start(source)
    assert_type(person.partials(), PartialReader[Person])
    async for partial in person.partials():
        assert_type(partial, Partial[Person])
        assert_type(partial.value, Person | None)
        assert_type(partial.state, PartialState)
        assert_type(partial["name"], Partial[Any])
        assert_type(partial.error, str | None)
    for partial in (await person).partials():
        assert_type(partial, Partial[Person])


async def items(source: AsyncGenerator[Said, None]) -> None:
    assert_type(ModelOutputThunk[list[Person]].start(source).items(), ItemReader[Person])
    assert_type(ModelOutputThunk[set[str]].start(source).items(), ItemReader[str])
    assert_type(ModelOutputThunk[tuple[Point, ...]].start(source).items(), ItemReader[Point])
    people = await ModelOutputThunk[list[Person]].start(source)
    async for person in people.items():
        assert_type(person, Person)
    for person in people.items():
        assert_type(person, Person)
    ModelOutputThunk[Person].start(source).items()  # type: ignore[misc]  # a person is no list
