"""Faults before a server has said anything: nobody there, no such host, no secure connection, silence."""

from __future__ import annotations

import re
import socket

import pytest

from mellea_like import BackendTimeout, BackendUnavailable, InvalidArgument, RequestRefused, start_session

from .conftest import Wire
from .server import CLOSE, RESET, Flood, Hold, Server, begun


def failure(m, kind):
    """Ask, and return the error, which must be of exactly this kind and name the backend."""
    with pytest.raises(kind) as caught:
        m.instruct("go")
    assert type(caught.value) is kind
    assert caught.value.backend == m.backend.name
    assert m.backend.name in str(caught.value)
    return caught.value


def test_a_refused_connection(wire: Wire):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound and not listening: refuses
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        error = failure(wire.session(base_url=url), BackendUnavailable)
    assert str(error).startswith(f"Nothing answers at '{url}'")
    assert "llamacpp" in str(error)


def test_a_host_that_does_not_exist(wire: Wire):
    error = failure(wire.session(base_url="http://no-such-host.invalid/v1"), BackendUnavailable)
    assert str(error).startswith("There is no host of the name in 'http://no-such-host.invalid/v1'")


NO_ADDRESSES = [
    "http://127.0.0.1:no-port/v1",
    "http://[half/v1",
    "ftp://127.0.0.1/v1",
    "http://127.0.0.1:99999",
    "http://",
]


@pytest.mark.parametrize("url", NO_ADDRESSES)
def test_an_address_that_is_none(wire: Wire, url: str):
    with pytest.raises(
        InvalidArgument, match=f"{re.escape(repr(url))} is not an address for the backend '{wire.name}'"
    ):
        wire.session(base_url=url)


def test_an_address_that_is_none_in_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "127.0.0.1:8000/v1")
    with start_session("openai", api_key="key") as m, pytest.raises(InvalidArgument, match="must begin with"):
        m.instruct("go")


@pytest.mark.parametrize("url", ["http://a..b/v1", f"http://{'a' * 70}.invalid/v1"])
def test_a_host_that_cannot_exist(wire: Wire, url: str):
    with pytest.raises((RequestRefused, BackendUnavailable), match=re.escape(url)):
        wire.session(base_url=url).instruct("go")


@pytest.mark.parametrize("key", ["schlüssel", "line\nbreak"])
def test_a_key_that_cannot_be_sent(wire: Wire, key: str):
    error = failure(wire.session(api_key=key), RequestRefused)
    assert "cannot be written" in str(error)
    assert "api_key" in str(error)
    assert wire.server.asked == []


def test_tls_towards_a_server_without_it(wire: Wire):
    error = failure(wire.session(base_url=wire.url.replace("http:", "https:")), BackendUnavailable)
    assert str(error).startswith(f"No secure connection to 'https:{wire.url[5:]}' can be made")


def test_a_certificate_that_nobody_has_signed(wire: Wire):
    with Server(secure=True) as secure:
        error = failure(wire.session(base_url=secure.url), BackendUnavailable)
        assert secure.all_closed()
    assert str(error).startswith("No secure connection to")
    assert "CERTIFICATE_VERIFY_FAILED" in str(error)
    assert secure.asked == []


@pytest.mark.parametrize("last", [CLOSE, RESET])
def test_a_connection_that_ends_before_the_reply(wire: Wire, last):
    wire.server.plays([last])
    error = failure(wire.session(), BackendUnavailable)
    assert f"{wire.url!r} closed the connection before it answered" in str(error)


def test_something_that_does_not_speak_http(wire: Wire):
    wire.server.plays([b"SSH-2.0-OpenSSH_9.6\r\n\r\n", CLOSE])
    failure(wire.session(), BackendUnavailable)


@pytest.mark.parametrize("before", ["nothing", "head"])
def test_a_first_byte_that_does_not_come(wire: Wire, before: str):
    wire.server.always_plays([*([begun(wire.speech.content_type)] if before == "head" else []), Hold()])
    error = failure(wire.session(timeout=0.2), BackendTimeout)
    assert str(error).startswith("Nothing came for 0.2 s")


def test_a_first_byte_that_is_slow_but_comes(wire: Wire):
    hold = Hold()
    wire.server.plays([hold, *wire.speech.answer("late")])
    thunk = wire.session().instruct("go", await_result=False)
    assert hold.reached()
    hold.release()
    assert thunk.result().value == "late"


def test_a_reply_whose_head_never_ends(wire: Wire):
    wire.server.plays([b"HTTP/1.1 200 OK\r\n", Flood(b"X: " + b"x" * 1000 + b"\r\n")])
    failure(wire.session(timeout=5), BackendUnavailable)


def test_an_error_reply_whose_body_never_ends(wire: Wire):
    head = b"HTTP/1.1 500 No\r\nContent-Type: text/html\r\n\r\n"
    wire.server.plays([head, Flood(b"x" * 1000)])
    # Some clients read an error to its end by themselves; then time is what ends it.
    with pytest.raises((BackendTimeout, BackendUnavailable)):
        wire.session(timeout=0.3).instruct("go")
