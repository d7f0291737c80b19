"""Decoders: the same messages at every cut, of every well-formed stream, at a cost that grows with its length."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mellea_like import MalformedReply, sse
from mellea_like.sse import EventDecoder, LineDecoder

FOREIGN = "grüß 你好 🎉 \u2028 \x85 \\n \\ud83c"


def decoded(decoder: LineDecoder, pieces: Iterable[bytes]) -> list[bytes]:
    found = [message for piece in pieces for message in decoder.feed(piece)]
    return found + decoder.flush()


def cut(body: bytes, at: Iterable[int]) -> list[bytes]:
    points = [0, *sorted({point % (len(body) + 1) for point in at}), len(body)]
    return [body[a:b] for a, b in pairwise(points)]


cuts = st.lists(st.integers(0, 10_000), max_size=30)
texts = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), min_size=1)
ends = st.sampled_from([b"\n", b"\r\n", b"\r"])
noise = st.sampled_from([b"", b": ping", b":", b"event: delta", b"id: 7", b"retry: 100", b"unknown: x", b"nothing"])


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    """A stream of events with one kind of line end, comments and fields between them, and what it says."""
    end, body, said = draw(ends), b"", list[bytes]()
    for lines in draw(st.lists(st.lists(texts, min_size=1, max_size=3), max_size=6)):
        body += draw(noise) + end
        for line in lines:
            space = b" " if line.startswith(" ") or draw(st.booleans()) else b""
            body += b"data:" + space + line.encode() + end
            body += b": keep-alive" + end if draw(st.booleans()) else b""
        body += end
        said.append("\n".join(lines).encode())
    return body, said


@given(streams(), cuts)
def test_events_are_the_same_at_every_cut(stream: tuple[bytes, list[bytes]], at: list[int]):
    body, said = stream
    assert decoded(EventDecoder(), cut(body, at)) == said


@given(streams())
def test_events_are_the_same_byte_by_byte(stream: tuple[bytes, list[bytes]]):
    body, said = stream
    assert decoded(EventDecoder(), [body[i : i + 1] for i in range(len(body))]) == said


@given(streams(), cuts, st.integers(0, 4))
def test_the_last_event_needs_no_end(stream: tuple[bytes, list[bytes]], at: list[int], missing: int):
    body, said = stream
    assert decoded(EventDecoder(), cut(body.rstrip(b"\r\n"), at)) == said


@given(
    st.lists(st.dictionaries(texts, texts, min_size=1)), cuts, st.sampled_from([b"\n", b"\r\n", b"\n\n"]), st.booleans()
)
def test_lines_are_the_same_at_every_cut(said: list[dict[str, str]], at: list[int], end: bytes, closed: bool):
    body = end.join(json.dumps(one, ensure_ascii=False).encode() for one in said) + (end if closed else b"")
    assert [json.loads(line) for line in decoded(LineDecoder(), cut(body, at))] == said


@given(st.binary(), cuts)
@pytest.mark.parametrize("decoder", [LineDecoder, EventDecoder])
def test_no_bytes_are_too_strange_and_no_cut_matters(decoder: type[LineDecoder], body: bytes, at: list[int]):
    assert decoded(decoder(), cut(body, at)) == decoded(decoder(), [body])


EXAMPLES: list[tuple[bytes, Sequence[bytes]]] = [
    (b"", []),
    (b"\n\n\n", []),
    (b"data: a\n\n", [b"a"]),
    (b"data: a", [b"a"]),
    (b"data:a\ndata: b\n\n", [b"a\nb"]),
    (b"data:  a\n\n", [b" a"]),
    (b"data\n\n", []),
    (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
    (b"data: a\r\rdata: b\r\r", [b"a", b"b"]),
    (b"data: a\n\r\n", [b"a"]),
    (b"data: a\r\n\n", [b"a"]),
    (b": c\n\ndata: a\n: c\n\n", [b"a"]),
    (b"database: x\n\n", []),
    (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
    (b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [b"a"]),
    (f"data: {FOREIGN}\n\n".encode(), [FOREIGN.encode()]),
    (b"data: [DONE]\n\n", [b"[DONE]"]),
]


@pytest.mark.parametrize(("body", "said"), EXAMPLES)
def test_examples_at_each_single_cut(body: bytes, said: list[bytes]):
    for at in range(len(body) + 1):
        assert decoded(EventDecoder(), cut(body, [at])) == said


@pytest.mark.parametrize("decoder", [LineDecoder, EventDecoder])
def test_a_line_without_end_is_an_error_and_shows_its_head(decoder, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sse, "LONGEST_LINE", 1000)
    reading = decoder("somebody")
    with pytest.raises(MalformedReply, match=r"longer than 1000 bytes .*'somebody'") as caught:
        decoded(reading, [b"0123456789"] * 200)
    assert caught.value.head == b"0123456789" * 20
    assert caught.value.backend == "somebody"


def test_an_event_without_end_is_an_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sse, "LONGEST_LINE", 1000)
    reading = EventDecoder()
    with pytest.raises(MalformedReply, match="longer than 1000 bytes"):
        decoded(reading, [b"data: 0123456789\n"] * 200)


def test_many_lines_are_not_one_long_line(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sse, "LONGEST_LINE", 1000)
    lines, events = LineDecoder(), EventDecoder()
    for _ in range(200):
        assert lines.feed(b"0123456789\n") == events.feed(b"data: 0123456789\n\n") == [b"0123456789"]


class Counted(bytes):
    """Bytes that count how many bytes were copied out of them or looked at."""

    looked_at = 0

    def split(self, *args):
        Counted.looked_at += len(self)
        return [Counted(piece) for piece in super().split(*args)]

    def __contains__(self, item):
        Counted.looked_at += len(self)
        return super().__contains__(item)


@pytest.mark.parametrize("decoder", [LineDecoder, EventDecoder])
def test_a_long_line_byte_by_byte_costs_its_length(decoder: type[LineDecoder]):
    # Counted, not timed: no byte is split or searched more often than a few times, however long the line is.
    Counted.looked_at, length = 0, 20_000
    reading = decoder()
    for _ in range(length):
        assert reading.feed(Counted(b"x")) == []
    assert Counted.looked_at <= 3 * length
    assert {len(piece) for piece in reading._rest} == {1}  # nothing was joined before its line's end
