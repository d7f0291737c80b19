"""Retries: before the first text only, as often as was said, as late as the server asks, in one place."""

from __future__ import annotations

import socket
import time

import pytest

from mellea_like import BackendTimeout, BackendUnavailable, MelleaError, RateLimited, Truncated
from mellea_like.backends import _retries
from mellea_like.backends._patience import Patience

from .conftest import Wire
from .server import CLOSE, PATIENCE, RESET, Hold, Server, begun, chunk, refusal

SOON = {"retry_after_ms": "1"}

PASSING = {
    "429": [refusal(429, **SOON)],
    "500": [refusal(500, **SOON)],
    "502": [refusal(502, **SOON)],
    "503": [refusal(503, **SOON)],
    "408": [refusal(408, **SOON)],
    "closed": [CLOSE],
    "reset": [RESET],
}


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the waits that no server asked for."""
    monkeypatch.setattr(_retries, "_backoff", lambda state: 0.001)


@pytest.mark.parametrize("fault", PASSING)
def test_a_fault_that_passes_is_not_seen(wire: Wire, fault: str):
    wire.server.plays(PASSING[fault], PASSING[fault], wire.speech.answer("Hello"))
    answer = wire.session(retries=2).instruct("go")
    assert (answer.value, len(wire.server.asked)) == ("Hello", 3)
    assert len({asked.content for asked in wire.server.asked}) == 1


@pytest.mark.parametrize("fault", PASSING)
@pytest.mark.parametrize("retries", [0, 1, 3])
def test_a_fault_that_stays_is_tried_as_often_as_was_said(openai: Wire, fault: str, retries: int):
    openai.server.always_plays(PASSING[fault])
    with pytest.raises((RateLimited, BackendUnavailable)):
        openai.session(retries=retries).instruct("go")
    assert len(openai.server.asked) == retries + 1


def test_the_clients_do_not_retry_by_themselves(wire: Wire):
    wire.server.always_plays([refusal(503, **SOON)])
    with pytest.raises(BackendUnavailable):
        wire.session().instruct("go")
    assert len(wire.server.asked) == 1


def test_a_session_tries_twice_again_if_nothing_was_said(wire: Wire):
    wire.server.always_plays([refusal(429, **SOON)])
    with pytest.raises(RateLimited):
        wire.session(retries=2).instruct("go")
    assert len(wire.server.asked) == 3


def test_nobody_there_and_then_somebody(wire: Wire, monkeypatch: pytest.MonkeyPatch):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
    late = Server(port=port)
    monkeypatch.setattr(_retries, "_backoff", lambda state: late.__enter__() and 0.001)
    try:
        late.always_plays(wire.speech.answer("Hello"))
        m = wire.session(base_url=late.url.replace(":0", f":{port}"), retries=1)
        assert m.instruct("go").value == "Hello"
        m.close()
        assert late.all_closed()
    finally:
        late.__exit__()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 413, 422])
def test_what_the_caller_must_mend_is_not_tried_again(wire: Wire, status: int):
    wire.server.always_plays([refusal(status, **SOON)])
    with pytest.raises(MelleaError):
        wire.session(retries=3).instruct("go")
    assert len(wire.server.asked) == 1


@pytest.mark.parametrize("last", [RESET, CLOSE], ids=str)
def test_nothing_is_tried_again_after_the_first_text(wire: Wire, last):
    hold = Hold()
    wire.server.plays([*wire.speech.start("H"), hold, last])
    thunk = wire.session(retries=3).instruct("go", await_result=False)
    assert next(iter(thunk)) == "H"
    hold.release()
    with pytest.raises(Truncated):
        thunk.result()
    assert (thunk.partial_text, len(wire.server.asked)) == ("H", 1)


@pytest.mark.parametrize("code", [429, 503])
def test_an_error_inside_the_stream_is_tried_again_only_before_text(wire: Wire, code: int):
    fault = chunk(wire.speech.failure({"message": "busy", "code": code}))
    head = begun(wire.speech.content_type)
    wire.server.plays([head, fault], [head + chunk(wire.speech.text("H")) + fault], wire.speech.answer("no"))
    thunk = wire.session(retries=3).instruct("go", await_result=False)
    with pytest.raises((RateLimited, BackendUnavailable)):
        thunk.result()
    assert (thunk.partial_text, len(wire.server.asked)) == ("H", 2)


def test_thinking_counts_as_the_first_text(ollama: Wire):
    from .server import line, said

    thought = chunk(line(said("", thinking="Hm")))
    ollama.server.plays([begun(ollama.speech.content_type), thought, RESET])
    with pytest.raises(Truncated):
        ollama.session(retries=3).instruct("go")
    assert len(ollama.server.asked) == 1


def test_a_silent_server_is_not_asked_again(wire: Wire):
    wire.server.always_plays([Hold()])
    with pytest.raises(BackendTimeout):
        wire.session(retries=3, timeout=0.1).instruct("go")
    assert len(wire.server.asked) <= 1


# --- when -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_asks_for_time_gets_it(wire: Wire, status: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_retries, "_backoff", lambda state: pytest.fail("the server said how long"))
    wire.server.plays([refusal(status, retry_after="0.2")], wire.speech.answer("Hello"))
    began = time.monotonic()
    assert wire.session(retries=1).instruct("go").value == "Hello"
    assert time.monotonic() - began >= 0.2


@pytest.mark.parametrize("asked", ["61", "86400", "inf"])
def test_a_server_that_asks_for_too_much_time_is_not_waited_for(wire: Wire, asked: str):
    wire.server.plays([refusal(429, retry_after=asked)])
    with pytest.raises(RateLimited) as caught:
        wire.session(retries=3).instruct("go")
    assert caught.value.retry_after == float(asked)
    assert len(wire.server.asked) == 1


def test_waiting_for_another_try_is_not_silence(openai: Wire):
    openai.server.plays([refusal(429, retry_after="0.9")], openai.speech.answer("Hello"))
    assert openai.session(retries=1, timeout=0.8).instruct("go").value == "Hello"


def test_no_try_begins_when_the_time_for_the_whole_would_be_over(wire: Wire):
    wire.server.plays([refusal(429, retry_after="30")])
    with pytest.raises(RateLimited):
        wire.session(retries=3, total_timeout=5).instruct("go")


def test_the_time_for_the_whole_counts_over_all_tries(wire: Wire, later):
    first, second = Hold(), Hold()
    wire.server.plays([first, refusal(429, **SOON)], [second])
    thunk = wire.session(retries=1, timeout=None, total_timeout=60).instruct("go", await_result=False)
    assert first.reached()
    later(40)
    first.release()
    assert second.reached()
    later(40)
    with pytest.raises(BackendTimeout, match="took longer than 60 s altogether"):
        thunk.result(PATIENCE)


def test_a_call_can_be_cancelled_while_it_waits_for_another_try(wire: Wire):
    wire.server.plays([refusal(429, retry_after="30")])
    thunk = wire.session(retries=1).instruct("go", await_result=False)
    assert wire.server.was_asked(1)
    thunk.close()
    assert thunk.state == "cancelled"


def test_waits_grow_and_differ(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.undo()
    policy = _retries.attempts(5, Patience(quiet=None, total=None, backend="x"))

    def waits(attempt: int) -> list[float]:
        state = type("State", (), {"attempt_number": attempt, "outcome": None})()
        return [policy.wait(state) for _ in range(200)]  # type: ignore[arg-type,operator]

    early, late = waits(1), waits(9)
    assert len(set(early)) > 100
    assert 0 <= min(early) <= max(early) <= 0.5 < max(late) <= 8
