"""Runs: the library's own events over HTTP, read again where a reader was cut off; and `EventSource`'s plain stream."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from conftest import Talker

from mellea_like import Answer, Gate, Requirement, simple_validate, start_session
from mellea_like.server.answering import ModelAnswerer
from mellea_like.sse import EventDecoder

from .conftest import PATIENCE, Served

QUIET = Requirement("quiet", validation_fn=simple_validate(str.islower))
HI = {"messages": [{"role": "user", "content": "hi"}], "stream": True}


def frames(text: str) -> list[dict[str, str]]:
    """Read frames: their ids, names and data."""
    found = []
    for frame in text.split("\n\n"):
        lines = [line.partition(": ") for line in frame.splitlines() if line and not line.startswith(":")]
        if lines:
            found.append({name: value for name, _, value in lines})
    return found


def said(text: str) -> str:
    return "".join(json.loads(f["data"])["text"] for f in frames(text) if f.get("event") == "delta")


def test_a_run_shows_every_event(echo: Served) -> None:
    answer = echo.client.post("/v1/runs", json=HI)
    found = frames(answer.text)
    assert [frame["event"] for frame in found] == ["started", "delta", "delta", "delta", "finished"]
    assert [int(frame["id"]) for frame in found] == [0, 1, 2, 3, 4]
    assert said(answer.text) == "You said: hi"
    assert answer.headers["x-run-id"].startswith("run_")


def test_a_run_that_has_ended_can_be_read_again_from_any_event(echo: Served) -> None:
    first = echo.client.post("/v1/runs", json=HI)
    url = f"/v1/runs/{first.headers['x-run-id']}/events"
    assert echo.client.get(url).text == first.text
    for last in range(5):
        rest = echo.client.get(url, headers={"Last-Event-ID": str(last)})
        assert [int(frame["id"]) for frame in frames(rest.text)] == list(range(last + 1, 5))


@pytest.mark.parametrize("last", ["", "x", "-1", "1e3", "٣", "9" * 50])
def test_a_strange_last_event_begins_at_the_beginning(echo: Served, last: str) -> None:
    run = echo.client.post("/v1/runs", json=HI).headers["x-run-id"]
    again = echo.client.get(f"/v1/runs/{run}/events", headers={"Last-Event-ID": last.encode()})
    assert len(frames(again.text)) == 5


def test_a_reader_that_was_cut_off_comes_back_and_misses_nothing(serve: Callable[..., Served]) -> None:
    gate = Gate()
    served = serve(Answer(["one ", gate, "two"]))
    with served.client.stream("POST", "/v1/runs", json=HI) as answer:
        run = answer.headers["x-run-id"]
        lines = answer.iter_lines()
        begun = []
        while "one " not in "".join(begun):
            begun.append(next(lines))
    assert served.client.get(f"/v1/runs/{run}").json()["state"] == "running"
    gate.open()
    rest = served.client.get(f"/v1/runs/{run}/events", headers={"Last-Event-ID": "1"})
    assert said(rest.text) == "two"


def test_a_run_that_nobody_reads_is_stopped_after_a_while(serve: Callable[..., Served], talker: Talker) -> None:
    served = serve(talker.session, linger=0.05)
    with served.begin(path="/v1/runs", stream=True):
        assert talker.flowing.wait(PATIENCE)
    assert talker.is_stopped()
    assert served.reaches(running=0)


def test_a_run_without_a_stream_is_read_later(echo: Served) -> None:
    created = echo.client.post("/v1/runs", json={**HI, "stream": False})
    assert created.status_code == 201
    assert said(echo.client.get(f"{created.headers['location']}/events").text) == "You said: hi"
    assert echo.client.get(created.headers["location"]).json() == {
        "id": created.json()["id"],
        "object": "run",
        "state": "finished",
        "attempt": 1,
        "success": None,
    }


def test_a_run_can_be_stopped(serve: Callable[..., Served], talker: Talker) -> None:
    served = serve(talker.session)
    run = served.client.post("/v1/runs", json={**HI, "stream": False}).json()["id"]
    assert talker.flowing.wait(PATIENCE)
    assert served.client.delete(f"/v1/runs/{run}").json()["state"] == "cancelled"
    assert talker.is_stopped()
    assert frames(served.client.get(f"/v1/runs/{run}/events").text)[-1]["event"] == "cancelled"


def test_only_the_newest_runs_are_kept(serve: Callable[..., Served]) -> None:
    served = serve(None, kept_runs=2)
    runs = [served.client.post("/v1/runs", json=HI).headers["x-run-id"] for _ in range(4)]
    codes = [served.client.get(f"/v1/runs/{run}").status_code for run in runs]
    assert (codes[0], codes[-2:]) == (404, [200, 200])


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_run_that_there_is_not_is_404(echo: Served, method: str) -> None:
    answer = echo.client.request(method, "/v1/runs/run_123")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "run_not_found")


# --- judged answers ---------------------------------------------------------------------------------------------------


@pytest.fixture
def judged(serve: Callable[..., Served]) -> Served:
    """A server that judges: its model's first answer is in capitals, which may not be."""
    session = start_session("fake", answers=["LOUD WORDS", "quiet words"])
    return serve(ModelAnswerer(session, requirements=[QUIET]))


def test_a_runs_events_show_every_attempt_and_verdict(judged: Served) -> None:
    events = [json.loads(frame["data"]) for frame in frames(judged.client.post("/v1/runs", json=HI).text)]
    deltas = [(e["attempt"], e["text"]) for e in events if e["type"] == "delta"]
    assert deltas == [(1, "LOUD"), (1, " WORDS"), (2, "quiet"), (2, " words")]
    assert [(e["requirement"], e["passed"]) for e in events if e["type"] == "checked"] == [
        ("quiet", False),
        ("quiet", True),
    ]
    assert [e["void"] for e in events if e["type"] == "retried"] == [1]


@pytest.mark.parametrize("stream", [False, True])
def test_a_chat_completion_is_the_accepted_attempt_alone(judged: Served, stream: bool) -> None:
    answer = judged.chat(stream=stream).text
    assert "LOUD" not in answer
    assert "quiet" in answer


def test_an_event_source_gets_the_accepted_attempt_alone(judged: Served) -> None:
    assert data_of(judged.client.get("/stream?prompt=hi").content) == [b"quiet", b" words", b"[DONE]"]


def test_while_attempts_are_judged_the_stream_is_kept_alive(serve: Callable[..., Served]) -> None:
    gate = Gate()
    session = start_session("fake", answers=Answer(["quiet", gate]))
    served = serve(ModelAnswerer(session, requirements=[QUIET]), ping=0.05)
    with served.client.stream("POST", "/v1/chat/completions", json=HI) as answer:
        lines = answer.iter_lines()
        begun = [next(lines)]
        while not begun[-1].startswith(":"):
            begun.append(next(lines))
        gate.open()
        assert "quiet" not in "".join(begun)
        assert "quiet" in "".join(lines)


# --- EventSource ------------------------------------------------------------------------------------------------------


def data_of(content: bytes) -> list[bytes]:
    decoder = EventDecoder()
    return decoder.feed(content) + decoder.flush()


def test_a_prompt_in_the_address_streams_text_and_done(echo: Served) -> None:
    answer = echo.client.get("/stream", params={"prompt": "hello\nthere"})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert data_of(answer.content) == [b"You", b" said:", b" hello", b"\nthere", b"[DONE]"]


def test_an_event_source_that_was_cut_off_goes_on_where_it_was(serve: Callable[..., Served]) -> None:
    gate = Gate()
    session = start_session("fake", answers=Answer(["one ", gate, "two"]))
    served = serve(session)
    with served.client.stream("GET", "/stream?prompt=count") as answer:
        first = next(answer.iter_raw())
    last = frames(first.decode())[0]["id"]
    gate.open()
    rest = served.client.get("/stream?prompt=count", headers={"Last-Event-ID": last})
    assert data_of(rest.content) == [b"two", b"[DONE]"]
    assert len(session.backend.calls) == 1


def test_an_event_source_that_has_had_everything_is_told_not_to_come_again(echo: Served) -> None:
    whole = echo.client.get("/stream?prompt=hi").text
    after_end = {"Last-Event-ID": [frame["id"] for frame in frames(whole) if "id" in frame][-1]}
    assert echo.client.get("/stream?prompt=hi", headers=after_end).status_code == 204
    unknown = {"Last-Event-ID": str(12345 << 32)}
    assert echo.client.get("/stream?prompt=hi", headers=unknown).status_code == 204


def test_a_stream_without_a_prompt_is_refused(echo: Served) -> None:
    assert echo.client.get("/stream").json()["error"]["param"] == "prompt"


async def test_many_streams_at_once_keep_their_own_order(serve: Callable[..., Served]) -> None:
    import asyncio

    served = serve(
        start_session("fake", answers=lambda r: [f"{r.messages[0].content}.{i} " for i in range(50)]), running=100
    )
    async with httpx.AsyncClient(
        base_url=served.url, timeout=PATIENCE, limits=httpx.Limits(max_connections=60)
    ) as client:

        async def one(name: str) -> Any:
            body = {"messages": [{"role": "user", "content": name}], "stream": True}
            return said((await client.post("/v1/runs", json=body)).text)

        texts = await asyncio.gather(*(one(str(n)) for n in range(60)))
    assert texts == ["".join(f"{n}.{i} " for i in range(50)) for n in range(60)]
