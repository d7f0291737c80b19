"""Replies that are not the stream that was asked for: refusals, pages, and good answers in odd clothes."""

from __future__ import annotations

import asyncio
import email.utils
import json
import time

import pytest

from mellea_like import (
    BackendTimeout,
    BackendUnavailable,
    ContextOverflow,
    MalformedReply,
    ModelNotFound,
    RateLimited,
    RequestRefused,
    Truncated,
)
from mellea_like.backends import _http
from mellea_like.engine import block_on_engine

from .conftest import Wire
from .server import CLOSE, LAST, RESET, Flood, Hold, begun, chunk, event, finish, refusal, whole, zipped

TOO_LONG = "This model's maximum context length is 4096 tokens."

REFUSALS = [
    (400, "bad temperature", RequestRefused),
    (400, TOO_LONG, ContextOverflow),
    (400, "the request exceeds the available context size, try increasing it", ContextOverflow),
    (401, "wrong key", RequestRefused),
    (403, "not for you", RequestRefused),
    (404, "model 'small' not found", ModelNotFound),
    (405, "method not allowed", RequestRefused),
    (408, "too slow", BackendUnavailable),
    (413, "payload too large", ContextOverflow),
    (418, "a teapot", RequestRefused),
    (422, "no such field", RequestRefused),
    (422, "`inputs` tokens + `max_new_tokens` must be <= 4096: too many tokens", ContextOverflow),
    (429, "slow down", RateLimited),
    (500, "crashed", BackendUnavailable),
    (502, "bad gateway", BackendUnavailable),
    (503, "overloaded", BackendUnavailable),
    (529, "overloaded", BackendUnavailable),
]


def refused(wire: Wire, kind, **options):
    thunk = wire.session(**options).instruct("go", await_result=False)
    with pytest.raises(kind) as caught:
        thunk.result()
    assert type(caught.value) is kind
    assert caught.value.backend == wire.name
    assert thunk.partial_text == ""
    return caught.value


@pytest.mark.parametrize(("status", "message", "kind"), REFUSALS)
def test_a_refusal(wire: Wire, status: int, message: str, kind):
    wire.server.plays([refusal(status, message)])
    error = refused(wire, kind)
    assert f"Backend '{wire.name}' at {wire.url!r} answered {status}: {message.rstrip('.')}." in str(error)
    assert getattr(error, "status", status) == status


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, r"key right\?"),
        (403, r"key right\?"),
        (404, "Model 'small': "),
        (413, "Shorten"),
        (429, "max_concurrency"),
    ],
)
def test_a_refusal_says_what_to_do(wire: Wire, status: int, words: str):
    wire.server.plays([refusal(status)])
    with pytest.raises((RequestRefused, ModelNotFound, RateLimited), match=words):
        wire.session().instruct("go")


def test_a_model_that_ollama_does_not_have_says_how_to_get_it(ollama: Wire):
    ollama.server.plays([whole('{"error": "model \'small\' not found"}', status=404)])
    error = refused(ollama, ModelNotFound)
    assert error.model == "small"
    assert "`ollama pull small`" in str(error)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('{"error": "plain"}', "plain."),
        ('{"error": {"message": "inner"}}', "inner."),
        ('{"message": "outer"}', "outer."),
        ('{"detail": "elsewhere"}', '{"detail": "elsewhere"}.'),
        ('{"error": null}', '{"error": null}.'),
        ('["odd"]', '["odd"].'),
        ("<html>Bad Gateway</html>", "<html>Bad Gateway</html>."),
        (b"\xff\xfe", "\ufffd\ufffd."),
        ("", "no reason given."),
    ],
)
def test_a_refusal_in_any_form_is_quoted(wire: Wire, body, words: str):
    wire.server.plays([whole(body, status=400)])
    assert f"answered 400: {words}" in str(refused(wire, RequestRefused))


AGO, AHEAD = (email.utils.formatdate(time.time() + shift, usegmt=True) for shift in (-60, 3600))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry_after": "7"}, 7.0),
        ({"retry_after": "0.25"}, 0.25),
        ({"retry_after_ms": "250"}, 0.25),
        ({"retry_after_ms": "250", "retry_after": "7"}, 0.25),
        ({"retry_after_ms": "soon", "retry_after": "7"}, 7.0),
        ({"retry_after": AGO}, 0.0),
        ({"retry_after": "-5"}, 0.0),
        ({"retry_after": "soon"}, None),
        ({"retry_after": "nan"}, 0.0),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_readable(openai: Wire, headers, seconds, status: int):
    openai.server.plays([refusal(status, **headers)])
    assert refused(openai, RateLimited if status == 429 else BackendUnavailable).retry_after == seconds


def test_retry_after_as_a_date_is_readable(wire: Wire):
    wire.server.plays([refusal(429, retry_after=AHEAD)])
    assert 3000 < (refused(wire, RateLimited).retry_after or 0) <= 3600


@pytest.mark.parametrize("kind", ["text/html", "text/html; charset=utf-8"])
def test_a_web_page(wire: Wire, kind: str):
    page = "<!doctype html><title>Welcome to nginx</title>" + "x" * 1000
    wire.server.plays([whole(page, content_type=kind)])
    error = refused(wire, MalformedReply)
    assert f"answered with '{kind}' instead of a stream" in str(error)
    assert error.head == page.encode()[:200]


@pytest.mark.parametrize("kind", ["text/plain", "application/octet-stream", "image/png", ""])
def test_a_wrong_content_type(wire: Wire, kind: str):
    wire.server.plays([whole("hello", content_type=kind)])
    assert refused(wire, MalformedReply).head == b"hello"


def test_a_web_page_that_never_ends(wire: Wire):
    wire.server.plays([begun("text/html"), Flood(chunk(b"x" * 1000))])
    assert refused(wire, MalformedReply, timeout=5).head == b"x" * 200


def test_an_error_object_instead_of_a_stream(wire: Wire):
    wire.server.plays([whole(json.dumps({"error": {"message": "no room", "code": 503}}))])
    assert "no room" in str(refused(wire, BackendUnavailable))


def test_an_empty_body(wire: Wire):
    wire.server.plays([whole(b"", content_type=wire.speech.content_type)])
    refused(wire, Truncated)


def test_success_without_content(wire: Wire):
    wire.server.plays([b"HTTP/1.1 204 No Content\r\n\r\n"])
    refused(wire, RequestRefused)


def test_an_empty_answer_is_an_answer(wire: Wire):
    wire.server.plays(wire.speech.answer())
    answer = wire.session().instruct("go")
    assert (answer.value, answer.finish_reason, list(answer)) == ("", "stop", [])


# --- good answers in odd clothes --------------------------------------------------------------------------------------


def test_a_proxy_that_buffers(wire: Wire):
    hold = Hold()
    body = b"".join([*map(wire.speech.text, ["Hel", "lo"]), wire.speech.end])
    wire.server.plays([hold, whole(body, content_type=wire.speech.content_type)])
    thunk = wire.session().instruct("go", await_result=False)
    assert hold.reached()
    hold.release()
    assert list(thunk) == ["Hel", "lo"]


def test_a_compressed_answer(wire: Wire):
    body = zipped([wire.speech.text("Hel"), wire.speech.text("lo"), wire.speech.end])
    pieces = [chunk(body[i : i + 7]) for i in range(0, len(body), 7)]
    wire.server.plays([begun(wire.speech.content_type, content_encoding="gzip"), *pieces, LAST])
    assert list(wire.session().instruct("go")) == ["Hel", "lo"]


def test_an_answer_without_length_or_chunks(wire: Wire):
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {wire.speech.content_type}\r\n\r\n".encode()
    wire.server.plays([head, wire.speech.text("Hello"), wire.speech.end, CLOSE])
    assert wire.session().instruct("go").value == "Hello"


@pytest.mark.parametrize("last", [LAST, CLOSE, RESET, Hold(), Flood(chunk(b"\n\n" * 50))], ids=repr)
@pytest.mark.parametrize("more", ["nothing", "text", "garbage"])
def test_a_body_that_goes_on_after_the_end(wire: Wire, more: str, last):
    extra = {"nothing": [], "text": [chunk(wire.speech.text("more"))], "garbage": [chunk(b"data: {\n\n")]}[more]
    wire.server.plays([*wire.speech.start("Hello"), chunk(wire.speech.end), *extra, last])
    m = wire.session()
    answer = m.instruct("go")
    assert (answer.value, answer.finish_reason) == ("Hello", "stop")
    assert answer.usage is not None
    assert answer.usage.output_tokens == 2


@pytest.mark.parametrize("status", [307, 308])
def test_a_redirect_is_followed(wire: Wire, status: int):
    there = wire.server.url + "/elsewhere"
    wire.server.plays([whole(status=status, location=there)], wire.speech.answer("Hello"))
    assert wire.session().instruct("go").value == "Hello"
    assert [asked.path for asked in wire.server.asked][1:] == ["/elsewhere"]
    assert wire.server.asked[1].body == wire.server.asked[0].body


def test_a_redirect_in_a_circle(wire: Wire):
    wire.server.always_plays(lambda asked: [whole(status=308, location=asked.path)])
    assert "redirect" in str(refused(wire, BackendUnavailable))


# --- sessions that live longer than their connections -----------------------------------------------------------------


def test_a_connection_that_is_closed_between_calls(wire: Wire):
    wire.server.always_plays(wire.speech.answer("Hello"))
    m = wire.session(retries=1)  # the next call may be on its way before the client has heard of the end
    for _ in range(3):
        assert m.instruct("go").value == "Hello"
        wire.server.drop_all()
    assert len(wire.server.asked) == 3


def test_a_connection_that_is_closed_while_the_next_request_is_on_its_way(wire: Wire):
    wire.server.plays(wire.speech.answer("one"), [CLOSE], wire.speech.answer("two"))
    m = wire.session(retries=1)
    assert m.instruct("go").value == "one"
    assert m.instruct("go").value == "two"
    assert len(wire.server.asked) == 3


def test_a_server_that_restarts_during_a_session(wire: Wire):
    from .server import Server

    wire.server.plays(wire.speech.answer("one"))
    with Server() as first:
        first.always_plays(wire.speech.answer("one"))
        m = wire.session(base_url=first.url)
        assert m.instruct("go").value == "one"
        running_text = [*wire.speech.start("cut "), Hold()]
        first.plays(running_text)
        cut = m.instruct("go", await_result=False)
        assert next(iter(cut)) == "cut "
    with pytest.raises(Truncated):
        cut.result()
    with pytest.raises(BackendUnavailable, match="Nothing answers"):
        m.instruct("go")
    with Server(port=first.port) as second:
        second.always_plays(wire.speech.answer("two"))
        assert m.instruct("go").value == "two"
        m.close()
        assert second.all_closed()
    assert cut.partial_text == "cut "


def test_silence_is_measured_from_the_last_piece(wire: Wire, later):
    hold = Hold()
    wire.server.plays([*wire.speech.start("Hel"), hold, chunk(wire.speech.text("lo")), Hold()])
    thunk = wire.session(timeout=None).instruct("go", model_options={"stream_timeout": 60}, await_result=False)
    reader = iter(thunk)
    assert next(reader) == "Hel"
    later(40)
    hold.release()
    assert next(reader) == "lo"
    later(40)
    block_on_engine(asyncio.sleep(0))
    assert thunk.state == "running"
    later(40)
    with pytest.raises(BackendTimeout, match="for 60 s, after 2 pieces"):
        next(reader)


@pytest.mark.parametrize("last", [RESET, CLOSE, LAST, Hold(), Flood(chunk(b": ping\n\n"))], ids=repr)
@pytest.mark.parametrize("wire", ["openai"], indirect=True)
@pytest.mark.parametrize("text", ["Hello", ""])
def test_a_break_after_the_finish_reason_costs_nothing(wire: Wire, text: str, last, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_http, "_LAST_BYTES", 0.6)
    wire.server.plays([*wire.speech.start(text), chunk(event(finish("length"))), last])
    answer = wire.session(timeout=0.5).instruct("go")
    assert (answer.value, answer.finish_reason, answer.usage) == (text, "length", None)
