"""Faults after the answer has begun: what came is kept, the error says what happened, nothing is asked again."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mellea_like import (
    BackendTimeout,
    BackendUnavailable,
    ContextOverflow,
    MalformedReply,
    MelleaError,
    RateLimited,
    Truncated,
    sse,
)

from .conftest import Wire
from .server import CLOSE, LAST, RESET, Flood, Hold, begun, chunk, whole, zipped


def broken(
    wire: Wire, kind: type[MelleaError], *, kept: str = "Hello", then: Callable[[], object] = bool, **options
) -> MelleaError:
    """Ask, and return the error; the text that came before it must be there, for every reader.

    `then` is called when all of that text has been read.
    """
    thunk = wire.session(**{"retries": 2, **options}).instruct("go", await_result=False)
    reader, seen = iter(thunk), ""
    while len(seen) < len(kept):
        seen += next(reader)
    then()
    for _ in range(2):
        seen: list[str] = []
        with pytest.raises(kind) as caught:
            seen.extend(thunk)
        assert "".join(seen) == thunk.partial_text == kept
        assert type(caught.value) is kind
    assert thunk.state == "failed"
    assert len(wire.server.asked) == 1
    return caught.value


def test_a_stall_in_the_middle(wire: Wire, later):
    wire.server.plays([*wire.speech.start("Hel", "lo"), Hold()])
    error = broken(wire, BackendTimeout, timeout=60, then=lambda: later(61))
    assert str(error).startswith("Nothing came for 60 s, after 2 pieces of the answer")


def test_an_answer_that_takes_too_long_altogether(wire: Wire, later):
    wire.server.plays([*wire.speech.start("Hello"), Hold()])
    error = broken(wire, BackendTimeout, timeout=None, total_timeout=60, then=lambda: later(61))
    assert str(error).startswith("The answer took longer than 60 s altogether")


def test_an_endless_answer_that_takes_too_long_altogether(wire: Wire, later):
    wire.server.plays([*wire.speech.start(), Flood(chunk(wire.speech.text("a")))])
    thunk = wire.session(timeout=None, total_timeout=60).instruct("go", await_result=False)
    assert next(iter(thunk)) == "a"
    later(61)
    with pytest.raises(BackendTimeout, match="took longer than"):
        thunk.result()
    assert set(thunk.partial_text) == {"a"}


@pytest.mark.parametrize("at_once", [True, False], ids=["in one read", "alone"])
def test_a_reset_in_the_middle(wire: Wire, at_once: bool):
    hold = Hold()
    pieces = wire.speech.start("Hel", "lo")
    wire.server.plays([*([b"".join(pieces)] if at_once else pieces), hold, RESET])
    m = wire.session(retries=2)
    thunk = m.instruct("go", await_result=False)
    reader = iter(thunk)
    assert [next(reader), next(reader)] == ["Hel", "lo"]
    assert hold.reached()
    hold.release()
    with pytest.raises(Truncated, match="broke off in the middle of the answer"):
        next(reader)
    assert thunk.partial_text == "Hello"
    assert len(wire.server.asked) == 1


def test_a_close_in_the_middle(wire: Wire):
    wire.server.plays([*wire.speech.start("Hel", "lo"), CLOSE])
    assert "broke off in the middle of the answer" in str(broken(wire, Truncated))


def test_a_close_before_the_length_that_was_promised(wire: Wire):
    body = wire.speech.text("Hello")
    wire.server.plays([whole(body + b" " * 100, content_type=wire.speech.content_type)[:-90], CLOSE])
    broken(wire, Truncated)


def test_a_close_behind_more_than_one_read(wire: Wire):
    texts = [f"{n} " for n in range(5_000)]
    wire.server.plays([b"".join(wire.speech.start(*texts)), CLOSE])
    broken(wire, Truncated, kept="".join(texts))


@pytest.mark.parametrize("texts", [["Hel", "lo"], []])
def test_a_clean_end_without_a_terminal_message(wire: Wire, texts: list[str]):
    wire.server.plays([*wire.speech.start(*texts), LAST])
    assert "without a finish reason" in str(broken(wire, Truncated, kept="".join(texts)))


def test_a_clean_end_inside_a_message(wire: Wire):
    wire.server.plays([*wire.speech.start("Hel", "lo"), chunk(wire.speech.text("lost")[:-9]), LAST])
    broken(wire, Truncated)


@pytest.mark.parametrize("at_once", [True, False], ids=["in one read", "alone"])
@pytest.mark.parametrize("garbage", ['{"choices": [', "null", '{"choices": 1, "message": 1}', "[]", '"\\ud800', "€"])
def test_json_that_is_none(wire: Wire, garbage: str, at_once: bool):
    prefix = "data: " if wire.name != "ollama" else ""
    bad = f"{prefix}{garbage}\n\n".encode()
    pieces = [wire.speech.text("Hello"), bad, wire.speech.end]
    chunks = [chunk(b"".join(pieces))] if at_once else [chunk(piece) for piece in pieces]
    wire.server.plays([begun(wire.speech.content_type), *chunks, LAST])
    error = broken(wire, MalformedReply)
    assert error.head.decode() == garbage
    assert error.backend == wire.name


TOLD = [
    ({"message": "the model crashed"}, BackendUnavailable, "the model crashed"),
    ("the model crashed", BackendUnavailable, "the model crashed"),
    ({"message": "busy", "code": 429}, RateLimited, "busy"),
    ({"message": "busy", "code": "503"}, BackendUnavailable, "busy"),
    ({"message": "exceeds the maximum context length", "code": 400}, ContextOverflow, "maximum context"),
    ({"message": None, "code": None}, BackendUnavailable, "failed in the middle"),
    (["odd"], BackendUnavailable, "odd"),
]


@pytest.mark.parametrize("at_once", [True, False], ids=["in one read", "alone"])
@pytest.mark.parametrize(("told", "kind", "words"), TOLD)
def test_an_error_object_inside_the_stream(wire: Wire, told, kind, words: str, at_once: bool):
    pieces = [wire.speech.text("Hel"), wire.speech.text("lo"), wire.speech.failure(told), wire.speech.end]
    chunks = [chunk(b"".join(pieces))] if at_once else [chunk(piece) for piece in pieces]
    wire.server.plays([begun(wire.speech.content_type), *chunks, LAST])
    error = broken(wire, kind)
    assert words in str(error)
    assert wire.name in str(error)


def test_a_gigantic_line(wire: Wire, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sse, "LONGEST_LINE", 100_000)
    wire.server.plays([*wire.speech.start("Hello"), Flood(chunk(b"x" * 10_000))])
    error = broken(wire, MalformedReply)
    assert "A line of the stream is longer than 100000 bytes" in str(error)
    assert error.head == b"x" * 200
    assert error.backend == wire.name


def test_a_gigantic_event(openai: Wire, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sse, "LONGEST_LINE", 100_000)
    openai.server.plays([*openai.speech.start("Hello"), Flood(chunk(b"data: x\n" * 1000))])
    assert "longer than 100000 bytes" in str(broken(openai, MalformedReply))


def test_a_flood_of_comments(openai: Wire, later):
    openai.server.plays([*openai.speech.start("Hello"), Flood(chunk(b": ping\n\n" * 50))])
    error = broken(openai, BackendTimeout, timeout=60, then=lambda: later(61))
    assert str(error).startswith("Nothing came for 60 s, after 1 pieces")


@pytest.mark.parametrize("kind", ["silence", "empty line"])
def test_a_flood_without_text(wire: Wire, kind: str, later):
    piece = {"silence": wire.speech.silence, "empty line": b"\n"}[kind]
    wire.server.plays([*wire.speech.start("Hello"), Flood(chunk(piece * 50))])
    error = broken(wire, BackendTimeout, timeout=60, then=lambda: later(61))
    assert str(error).startswith("Nothing came for 60 s, after 1 pieces")


def test_a_flood_without_any_text(wire: Wire):
    wire.server.plays([*wire.speech.start(), Flood(chunk(wire.speech.silence))])
    broken(wire, BackendTimeout, kept="", timeout=0.2)


def test_compressed_bytes_that_are_none(wire: Wire):
    wire.server.plays([begun(wire.speech.content_type, content_encoding="gzip"), chunk(b"not gzip at all"), LAST])
    broken(wire, MalformedReply, kept="")


def test_compressed_bytes_that_break_off(wire: Wire):
    body = zipped([wire.speech.text("Hello"), b"\n" * 100_000])
    wire.server.plays([begun(wire.speech.content_type, content_encoding="gzip"), chunk(body[:-20]), CLOSE])
    broken(wire, Truncated)
