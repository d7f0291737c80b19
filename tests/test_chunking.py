"""Cutting growing text into chunks: every chunk as soon as it is certain, whatever the deltas."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mellea_like import UnknownName
from mellea_like.chunking import Chunk, Cutter

KINDS = ["word", "sentence", "line", "paragraph"]
TEXT = st.text(st.sampled_from('ab.? \n\t")。'), max_size=40) | st.text(max_size=40)


def cut(kind: str, pieces: list[str]) -> list[Chunk]:
    cutter = Cutter(kind)
    return [chunk for piece in pieces for chunk in cutter.feed(piece)] + cutter.flush()


@st.composite
def cut_up(draw: st.DrawFn) -> tuple[str, list[str]]:
    text = draw(TEXT)
    at = sorted(draw(st.sets(st.integers(0, len(text)), max_size=8)))
    return text, [text[a:b] for a, b in zip([0, *at], [*at, len(text)], strict=True)]


@pytest.mark.parametrize("kind", KINDS)
@given(both=cut_up())
def test_where_a_chunk_closes_does_not_depend_on_the_deltas(kind, both):
    text, pieces = both
    assert cut(kind, pieces) == cut(kind, [text]) == cut(kind, list(text))


@pytest.mark.parametrize("kind", KINDS)
@given(both=cut_up())
def test_the_chunks_and_the_space_between_them_are_the_text(kind, both):
    text, pieces = both
    place = 0
    for number, chunk in enumerate(cut(kind, pieces)):
        found = text.index(chunk, place)
        assert text[place:found].strip() == ""
        assert chunk.number == number
        assert chunk.strip() == chunk != ""
        place = found + len(chunk)
        assert text.startswith(chunk.so_far)
        assert chunk.so_far.rstrip().endswith(chunk)
    assert text[place:].strip() == ""


@pytest.mark.parametrize(
    ("kind", "text", "chunks"),
    [
        ("word", "one  two\nthree", ["one", "two", "three"]),
        (
            "sentence",
            'He said "no." Then? Dr. Who left at 3.5 p.m',
            ['He said "no."', "Then?", "Dr. Who left at 3.5 p.m"],
        ),
        ("sentence", "はい。いいえ。", ["はい。", "いいえ。"]),
        ("line", "a b\n\n c\n", ["a b", "c"]),
        ("paragraph", "a\nb\n \nc", ["a\nb", "c"]),
        ("word", "", []),
        ("line", " \n ", []),
    ],
)
def test_chunks(kind, text, chunks):
    assert cut(kind, [text]) == cut(kind, list(text)) == chunks


def test_a_chunk_comes_with_the_character_that_closes_it():
    cutter = Cutter("sentence")
    assert cutter.feed("One.") == []  # it might go on: 1.5, …
    assert cutter.feed(" Two") == ["One."]
    assert cutter.flush() == ["Two"]
    assert cutter.flush() == []


def test_an_unknown_chunking_lists_the_known_ones():
    with pytest.raises(UnknownName, match=r"no chunking 'sentense'. Did you mean 'sentence'"):
        Cutter("sentense")
