"""Structured answers while they grow: a list of objects, a few characters per delta, from 1,000 to 32,000 deltas."""

from __future__ import annotations

import asyncio
import json
import statistics
from collections.abc import AsyncGenerator, Callable, Iterator

from measure import Effort, Row, acpu, cpu
from pydantic import BaseModel
from pydantic_core import from_json

from mellea_like import Finished, ModelOutputThunk
from mellea_like.events import Said
from mellea_like.formats import format_of
from mellea_like.partial import PartialParser

CUT = 4
"""Characters per delta, about a token."""


class Person(BaseModel):
    """What the list is of."""

    name: str
    age: int
    motto: str
    tags: list[str]


People = list[Person]
SHAPE = format_of(People).shape


def deltas(count: int) -> list[str]:
    """Write a list of objects that comes in `count` deltas."""
    motto = 'Slowly, "but" surely. ' * 3
    person = {"name": "Person 12345", "age": 36, "motto": motto, "tags": ["a", "b"]}
    text = json.dumps([person] * round(count * CUT / (len(json.dumps(person)) + 2)))
    return [text[i : i + CUT] for i in range(0, len(text), CUT)]


async def said(pieces: list[str]) -> AsyncGenerator[Said, None]:
    """Say the pieces as fast as they are taken."""
    for piece in pieces:
        yield piece
    yield Finished()


def streamed(pieces: list[str], *, partials: bool) -> float:
    """Return the CPU microseconds per delta of reading a burst, as text or as partials."""

    async def read() -> None:
        thunk = ModelOutputThunk[People].start(said(pieces), shape=SHAPE)
        async for _ in thunk.partials() if partials else thunk:
            pass

    return asyncio.run(acpu(read)) / len(pieces) * 1e6


def above_text(effort: Effort) -> Iterator[Row]:
    """CPU per delta of `partials()` above the plain text stream, and whether it stays flat."""
    costs = {}
    for count in (1_000, 32_000):
        pieces = deltas(effort.size(count))
        pairs = [(streamed(pieces, partials=True), streamed(pieces, partials=False)) for _ in range(effort.rounds + 1)]
        costs[count] = statistics.median(own - plain for own, plain in pairs[1:])
        yield Row(name=f"partials() above text, {count:,} deltas", figure=costs[count], unit="us CPU/delta", at_most=5)
    ratio = costs[32_000] / costs[1_000]
    yield Row(name="partials() above text, growth", figure=ratio, unit="times", at_most=1.5, against="1,000 deltas")


def items(effort: Effort) -> Iterator[Row]:
    """CPU per delta of reading a finished thunk's items."""
    pieces = deltas(effort.size(8_000))
    thunk = ModelOutputThunk[People].start(said(pieces), shape=SHAPE).result()
    figure = effort.median(lambda: cpu(lambda: sum(1 for _ in thunk.items())) / len(pieces) * 1e6)
    yield Row(name="items(), replay", figure=figure, unit="us CPU/delta", at_most=5)


def parsers(effort: Effort) -> Iterator[Row]:
    """CPU per delta of the parser alone, without and with validation, and of reading the whole text again each time."""
    pieces = deltas(effort.size(8_000))
    count = len(pieces)

    def grown(*, shaped: bool) -> None:
        parser: PartialParser[People] = PartialParser(SHAPE if shaped else None)
        for piece in pieces:
            parser.feed(piece)
            parser.partial()

    def each(parse: Callable[[], object]) -> float:
        return effort.median(lambda: cpu(parse) / count * 1e6)

    own = each(lambda: grown(shaped=True))
    yield Row(
        name=f"parser, {count:,} deltas", figure=each(lambda: grown(shaped=False)), unit="us CPU/delta", at_most=5
    )
    yield Row(name=f"parser with validation, {count:,} deltas", figure=own, unit="us CPU/delta", at_most=5)
    # Every tenth delta stands for ten: reading it all again costs too much to do it for each.
    text = "".join(pieces)
    lengths = range(CUT, len(text), 10 * CUT)

    def again() -> None:
        for length in lengths:
            from_json(text[:length], allow_partial="trailing-strings")

    peer = effort.median(lambda: cpu(again) / len(lengths) * 1e6)
    yield Row(name=f"pydantic_core, all again, {count:,} deltas", figure=peer, unit="us CPU/delta")
    yield Row(
        name="parser with validation, ratio", figure=own / peer, unit="times", at_most=0.2, against="pydantic_core"
    )


MEASURES = (above_text, items, parsers)
