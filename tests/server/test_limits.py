"""What the server allows: clients that leave, places and queues, sizes and times, and its own end."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from conftest import Talker

from mellea_like import Answer, Gate, start_session
from mellea_like.server.running import bound_socket

from .conftest import PATIENCE, Served


def read_until(asking: socket.socket, wanted: bytes) -> bytes:
    found = b""
    while wanted not in found:
        piece = asking.recv(65536)
        assert piece, found
        found += piece
    return found


def has_ended(asking: socket.socket) -> bool:
    while asking.recv(65536):
        pass
    return True


# --- clients that leave -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
def test_when_the_client_leaves_the_model_is_stopped(
    serve: Callable[..., Served], talker: Talker, stream: bool
) -> None:
    served = serve(talker.session)
    with served.begin(stream=stream):
        assert talker.flowing.wait(PATIENCE)
    assert talker.is_stopped()
    assert served.reaches(running=0)


def test_when_the_client_leaves_before_the_first_token_the_model_is_stopped(serve: Callable[..., Served]) -> None:
    gate = Gate()
    served = serve(Answer([gate, "late"]))
    with served.begin(stream=True):
        assert gate.reached(PATIENCE)
    assert served.reaches(running=0)


def test_a_client_that_leaves_the_queue_makes_room(serve: Callable[..., Served]) -> None:
    gate = Gate()
    session = start_session("fake", answers=Answer([gate, "done"]))
    served = serve(session, running=1)
    with served.begin():
        assert served.reaches(running=1, waiting=0)
        with served.begin():
            assert served.reaches(waiting=1)
        assert served.reaches(running=1, waiting=0)
    assert served.reaches(running=0)
    assert len(session.backend.calls) == 1


def test_one_client_that_leaves_disturbs_no_other(serve: Callable[..., Served]) -> None:
    gate = Gate()
    served = serve(Answer(["one ", gate, "two"]))
    with served.begin(stream=True) as staying:
        read_until(staying, b'"one "')
        with served.begin(stream=True) as leaving:
            read_until(leaving, b'"one "')
        assert served.reaches(running=1)
        gate.open()
        assert b'"two"' in read_until(staying, b"[DONE]")


def test_of_several_answers_all_are_stopped(serve: Callable[..., Served]) -> None:
    gate = Gate()
    served = serve(Answer(["one ", gate, "two"]))
    with served.begin(stream=True, n=3):
        assert served.reaches(running=3)
    assert served.reaches(running=0)


def test_a_slow_reader_holds_back_nobody_and_gets_everything(serve: Callable[..., Served]) -> None:
    words = [f"{i:06d} " + "x" * 100 for i in range(20_000)]
    served = serve(Answer(words))
    with served.begin(stream=True) as slow:
        assert served.reaches(running=0), "the model waits for nobody"
        answer = served.chat(max_tokens=1).json()["choices"][0]["message"]["content"]
        assert answer == words[0]
        found = read_until(slow, b"[DONE]")
    lines = [line[6:] for line in found.decode().splitlines() if line.startswith("data: {")]
    deltas = [json.loads(line)["choices"][0]["delta"].get("content") for line in lines]
    assert [delta for delta in deltas if delta] == words


# --- places -----------------------------------------------------------------------------------------------------------


def test_beyond_places_and_queue_a_request_is_told_when_to_come_again(serve: Callable[..., Served]) -> None:
    gate = Gate()
    served = serve(Answer([gate, "done"]), running=1, waiting=1)
    with served.begin() as first, served.begin() as second:
        assert served.reaches(running=1, waiting=1)
        refused = served.chat()
        gate.open()
        assert b"done" in read_until(first, b"done")
        assert b"done" in read_until(second, b"done")
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "2")
    assert refused.json()["error"]["type"] == "rate_limit_error"


def test_those_that_wait_are_served_in_their_order(serve: Callable[..., Served]) -> None:
    gate = Gate()
    session = start_session("fake", answers=Answer([gate, "done"]))
    served = serve(session, running=1)
    asked = []
    for i in range(4):
        asked.append(served.begin(str(i)))
        assert served.reaches(running=1, waiting=i)
    gate.open()
    for asking in asked:
        with asking:
            read_until(asking, b"done")
    assert [call.messages[0].content for call in session.backend.calls] == ["0", "1", "2", "3"]


def test_several_answers_are_refused_together_where_there_is_no_room(serve: Callable[..., Served]) -> None:
    served = serve(None, running=1, waiting=2)
    assert served.chat(n=3).status_code == 200
    assert served.chat(n=4).status_code == 429


def test_more_answers_than_the_server_gives_are_refused(serve: Callable[..., Served]) -> None:
    refused = serve(None, choices=2).chat(n=3)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "n")


def test_a_place_is_free_again_after_every_kind_of_end(serve: Callable[..., Served]) -> None:
    served = serve([Answer("fine"), Answer(["x", ValueError("no")]), Answer(["cut"], truncated=True)], running=1)
    codes = [served.chat().status_code for _ in range(4)]
    assert codes == [200, 500, 502, 502]  # the last: the script has no more
    assert served.reaches(running=0, waiting=0)


# --- sizes and times --------------------------------------------------------------------------------------------------


def test_a_body_that_is_too_large_is_refused(serve: Callable[..., Served]) -> None:
    served = serve(None, body_bytes=1000)
    assert served.chat("x" * 500).status_code == 200
    refused = served.chat("x" * 1000)
    assert (refused.status_code, refused.json()["error"]["code"]) == (413, "body_too_large")


def test_a_body_that_hides_its_size_is_refused_when_it_is_too_large(serve: Callable[..., Served]) -> None:
    served = serve(None, body_bytes=1000)

    def pieces() -> Any:
        for _ in range(20):
            yield b" " * 100

    headers = {"Content-Type": "application/json"}
    assert served.client.post("/v1/chat/completions", content=pieces(), headers=headers).status_code == 413


def test_a_body_that_does_not_come_is_given_up(serve: Callable[..., Served]) -> None:
    served = serve(None, body_timeout=0.1)
    with socket.create_connection(served.socket.getsockname(), timeout=PATIENCE) as asking:
        asking.sendall(
            b"POST /v1/runs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
        )
        assert b"408 Request Timeout" in read_until(asking, b"body_timeout")


@pytest.mark.parametrize("stream", [False, True])
def test_a_generation_that_takes_too_long_is_stopped(
    serve: Callable[..., Served], talker: Talker, stream: bool
) -> None:
    answer = serve(talker.session, timeout=0.2).chat(stream=stream)
    assert talker.is_stopped()
    if stream:
        assert answer.text.index('"word "') < answer.text.index("The generation was stopped")
    else:
        assert (answer.status_code, answer.json()["error"]["code"]) == (504, "timeout")


def test_a_silent_stream_says_that_it_is_alive(serve: Callable[..., Served]) -> None:
    gate = Gate()
    served = serve(Answer(["one ", gate, "two"]), ping=0.05)
    with served.begin(stream=True) as asking:
        read_until(asking, b"\n: keep-alive\n")
        gate.open()
        read_until(asking, b"[DONE]")


def test_whoever_knows_the_address_can_connect() -> None:
    with bound_socket("127.0.0.1", 0) as bound:
        socket.create_connection(bound.getsockname(), timeout=PATIENCE).close()


# --- the end ----------------------------------------------------------------------------------------------------------


def test_at_its_end_the_server_lets_streams_end_and_takes_no_more(serve: Callable[..., Served]) -> None:
    gate = Gate()
    served = serve(Answer(["one ", gate, "two"]))
    with served.begin(stream=True) as asking:
        read_until(asking, b'"one "')
        served.client.close()
        served.tell_to_stop()
        while True:  # until it listens no more
            try:
                socket.create_connection(served.socket.getsockname(), timeout=PATIENCE).close()
            except OSError:
                break
            threading.Event().wait(0.02)
        gate.open()
        assert b'"two"' in read_until(asking, b"[DONE]")
    assert served.stopped()


def test_what_nobody_reads_is_stopped_at_the_end(serve: Callable[..., Served], talker: Talker) -> None:
    served = serve(talker.session)
    body = {"messages": [{"role": "user", "content": "talk"}]}
    assert served.client.post("/v1/runs", json=body).status_code == 201
    assert talker.flowing.wait(PATIENCE)
    served.close()
    assert talker.is_stopped()


def test_clients_killed_at_random_leave_nothing_behind(serve: Callable[..., Served]) -> None:
    served = serve(Answer("word " * 300, delay=0.002), running=50)
    asked = [served.begin(stream=True) for _ in range(40)]
    begun = [read_until(asking, b"word") if i % 3 else b"" for i, asking in enumerate(asked)]
    for asking in asked[1::2]:
        asking.close()
    whole = [begun[i] + read_until(asked[i], b"[DONE]") for i in range(0, 40, 2)]
    assert {text.count(b"word") for text in whole} == {300}
    for asking in asked:
        asking.close()
    assert served.reaches(running=0, waiting=0)


def test_httpx_and_keep_alive_connections_are_reused_after_a_stream(echo: Served) -> None:
    with httpx.Client(base_url=echo.url, timeout=PATIENCE) as client:
        for _ in range(3):
            body = {"messages": [{"role": "user", "content": "hi"}], "stream": True}
            assert client.post("/v1/chat/completions", json=body).text.endswith("data: [DONE]\n\n")
