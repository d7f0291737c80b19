"""SSEAdapter behind a real server: all that is said arrives, in order; whoever leaves stops it, or comes again."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from httpx2 import EventSource, ServerSentEvent
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from mellea_like import Answer, FakeBackend, Gate, InvalidArgument, MelleaSession, MissingPackage
from mellea_like.graph.building import StateGraph
from mellea_like.graph.executor import ExecutionContext, Executor
from mellea_like.responses.adapter import SSEAdapter

from .serving import client, served

Endpoint = Callable[[Request], Response]


def app(endpoint: Endpoint) -> Starlette:
    async def answer(request: Request) -> Response:
        return endpoint(request)

    return Starlette(routes=[Route("/", answer, methods=["GET", "POST"])])


async def heard(response: Any) -> list[ServerSentEvent]:
    return [event async for event in EventSource(response)]


async def asked(address: str, **headers: str) -> tuple[int, list[ServerSentEvent]]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with client(address) as http, http.stream("GET", "/", headers=named) as response:
        return response.status_code, (await heard(response) if response.status_code == 200 else [])


def sse(events: Any, **options: Any) -> StreamingResponse:
    return SSEAdapter(**options).to_streaming_response(events)


# --- what arrives -----------------------------------------------------------------------------------------------------


async def test_every_event_of_a_thunk_arrives_in_order(fake: Callable[..., MelleaSession]) -> None:
    thunk = fake("Hello, big world!").instruct("Say it.", await_result=False)
    with served(app(lambda request: sse(thunk.events()))) as address:
        _, events = await asked(address)
    said = list(thunk.events())
    assert [event.event for event in events] == [event.type for event in said]
    assert [event.id for event in events] == [str(event.seq) for event in said]
    assert "".join(json.loads(e.data)["text"] for e in events if e.event == "delta") == "Hello, big world!"


async def test_the_stream_is_kept_by_no_cache_and_held_by_no_proxy() -> None:
    with served(app(lambda request: sse(words()))) as address:
        async with client(address) as http:
            response = await http.get("/")
    assert response.headers["content-type"] == "text/event-stream"
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["x-accel-buffering"] == "no"


async def words() -> AsyncIterator[str]:
    for word in ("one ", "\n", "two\n", "[DONE]", "", " three"):
        yield word


async def test_text_alone_ends_with_done_and_nothing_in_it_breaks_the_framing() -> None:
    with served(app(lambda request: sse(words(), data_only=True))) as address:
        _, events = await asked(address)
    assert "".join(event.data for event in events[:-1]) == "one \ntwo\n[DONE] three"
    assert events[-1].data == "[DONE]"
    assert {event.event for event in events} == {"message"}


async def test_a_thunk_itself_is_its_text(fake: Callable[..., MelleaSession]) -> None:
    m = fake("Hello, world!")
    with served(app(lambda request: sse(m.instruct("Hi", await_result=False), data_only=True))) as address:
        _, events = await asked(address)
    assert "".join(event.data for event in events[:-1]) == "Hello, world!"


async def test_a_graph_streams_its_events() -> None:
    graph = poet(FakeBackend(answers="Roses are red."))
    with served(app(lambda request: sse(graph.astream("Go", stream_mode="events")))) as address:
        _, events = await asked(address)
    assert "".join(json.loads(e.data)["content"] for e in events if e.event == "token") == "Roses are red."
    assert events[-1].event == "execution_complete"


def talk() -> ExecutionContext:
    return ExecutionContext(graph_id="g", session_id="s")


def poet(backend: Any) -> Any:
    graph = StateGraph()
    graph.add_node("llm", node_type="llm")
    graph.set_entry_point("llm")
    return graph.compile(backend=backend)


async def test_each_event_arrives_before_the_next_is_made(fake: Callable[..., MelleaSession]) -> None:
    gate = Gate()
    m = fake(Answer(["one ", gate, "two"]))
    with served(app(lambda request: sse(m.instruct("Count.", await_result=False), data_only=True))) as address:
        async with client(address) as http, http.stream("GET", "/") as response:
            events = aiter(EventSource(response))
            assert (await anext(events)).data == "one "
            gate.open()
            assert [event.data async for event in events] == ["two", "[DONE]"]


async def test_a_silent_stream_is_kept_alive(fake: Callable[..., MelleaSession]) -> None:
    gate = Gate()
    m = fake(Answer([gate, "at last"]))
    with served(app(lambda request: sse(m.instruct("?", await_result=False), data_only=True, ping=0.01))) as address:
        async with client(address) as http, http.stream("GET", "/") as response:
            lines = response.aiter_lines()
            assert [await anext(lines) for _ in range(3)] == [": keep-alive"] * 3
            gate.open()
            assert "data: at last" in [line async for line in lines]


async def test_a_head_request_starts_nothing() -> None:
    started = []

    async def words() -> AsyncIterator[str]:
        started.append(True)
        yield "word"

    with served(app(lambda request: sse(words()))) as address:
        async with client(address) as http:
            response = await http.head("/")
    assert (response.status_code, response.headers["content-type"], response.content) == (200, "text/event-stream", b"")
    assert started == []


async def test_how_long_to_wait_before_coming_again_is_said_first_and_once() -> None:
    with served(app(lambda request: sse(words(), retry=2.5))) as address:
        async with client(address) as http:
            text = (await http.get("/")).text
    assert text.startswith("retry: 2500\nid: 0\n")
    assert text.count("retry:") == 1


async def test_more_headers_and_another_status() -> None:
    def endpoint(request: Request) -> Response:
        own = {"cache-control": "no-store", "X-Own": "1"}
        return SSEAdapter().to_streaming_response(words(), status_code=202, headers=own)

    with served(app(endpoint)) as address:
        async with client(address) as http:
            response = await http.get("/")
    assert response.status_code == 202
    assert response.headers.get_list("cache-control") == ["no-store"]
    assert response.headers["x-own"] == "1"


# --- errors -----------------------------------------------------------------------------------------------------------


async def failing() -> AsyncIterator[str]:
    yield "half"
    raise ValueError("the secret is 42")


@pytest.mark.parametrize("options", [{}, {"data_only": True}])
async def test_an_error_is_the_last_event_and_tells_strangers_its_kind_alone(
    options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with served(app(lambda request: sse(failing(), **options))) as address:
        _, events = await asked(address)
    assert "half" in events[0].data
    error = events[1]
    assert (error.event, error.id) == ("error", "1")
    assert "ValueError" in error.data
    assert "secret" not in error.data
    assert [event.data for event in events[2:]] == (["[DONE]"] if options else [])
    (record,) = [record for record in caplog.records if record.name == "mellea_like"]
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None


async def test_what_is_told_of_an_error_can_be_chosen() -> None:
    with served(app(lambda request: sse(failing(), error_text=str))) as address:
        _, events = await asked(address)
    assert json.loads(events[-1].data) == {"type": "error", "error": "the secret is 42"}


async def test_an_error_that_is_an_event_already_is_told_once() -> None:
    graph = poet(FakeBackend(answers=Answer(["half", ValueError("the secret is 42")])))
    context = talk()
    with served(app(lambda request: sse(Executor(graph).execute("Go", context)))) as address:
        _, events = await asked(address)
    assert [event.event for event in events[-3:]] == ["token", "node_error", "execution_error"]
    assert "secret" not in "".join(event.data for event in events)


# --- whoever leaves ---------------------------------------------------------------------------------------------------


async def left_after(text: str, address: str) -> None:
    """Read until some text has come, and close the connection."""
    async with client(address) as http, http.stream("GET", "/") as response:
        async for event in EventSource(response):
            if text in event.data:
                break


SOURCES: dict[str, Callable[[Any], Any]] = {
    "events of a thunk": lambda talker: talker.session.instruct("Talk.", await_result=False).events(),
    "a thunk": lambda talker: talker.session.instruct("Talk.", await_result=False),
    "a graph": lambda talker: poet(talker).astream("Talk.", stream_mode="events"),
    "an executor": lambda talker: Executor(poet(talker)).execute("Talk.", talk()),
}


@pytest.mark.parametrize("source", SOURCES)
async def test_a_disconnect_stops_a_model_that_says_nothing_more(source: str, talker: Any) -> None:
    with served(app(lambda request: sse(SOURCES[source](talker)))) as address:
        await left_after("word ", address)
        assert await asyncio.to_thread(talker.is_stopped)


async def test_a_disconnect_stops_a_stream_that_never_waits() -> None:
    closed = threading.Event()

    async def endless() -> AsyncIterator[str]:
        try:
            while True:
                yield "word "
        finally:
            closed.set()

    with served(app(lambda request: sse(endless()))) as address:
        await left_after("word ", address)
        assert await asyncio.to_thread(closed.wait, 10)


async def test_a_server_that_leaves_disconnects_to_the_sender_is_listened_to_all_the_same(talker: Any) -> None:
    response, gone = sse(talker.session.instruct("Talk.", await_result=False)), asyncio.Event()

    async def receive() -> dict[str, Any]:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message.get("body"):
            gone.set()

    await response({"type": "http", "method": "GET", "asgi": {"spec_version": "2.4"}}, receive, send)
    assert await asyncio.to_thread(talker.is_stopped)


async def test_a_slow_reader_holds_the_source_back() -> None:
    given, full, room = [], asyncio.Event(), asyncio.Event()

    async def source() -> AsyncIterator[str]:
        for number in range(100):
            given.append(number)
            yield f"{number} "

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Any) -> None:
        if message.get("body"):
            full.set()
            await room.wait()

    response = asyncio.create_task(sse(source())({"type": "http", "method": "GET"}, receive, send))
    await full.wait()
    assert given == [0]
    room.set()
    await response
    assert len(given) == 100


async def test_a_reader_that_takes_nothing_and_leaves_stops_the_model(talker: Any) -> None:
    response, full = sse(talker.session.instruct("Talk.", await_result=False).events()), asyncio.Event()

    async def receive() -> dict[str, Any]:
        await full.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message.get("body"):
            full.set()
            await asyncio.Event().wait()

    await response({"type": "http", "method": "GET"}, receive, send)
    assert await asyncio.to_thread(talker.is_stopped)
    assert response.status_code == 200  # it is still there, and holds nothing


async def test_another_reader_goes_on_when_one_leaves(fake: Callable[..., MelleaSession]) -> None:
    gate = Gate()
    thunk = fake(Answer(["one ", gate, "two"])).instruct("Count.", await_result=False)
    with served(app(lambda request: sse(thunk.events()))) as address:
        await left_after("one ", address)
        gate.open()
        assert (await thunk).value == "one two"


# --- coming again -----------------------------------------------------------------------------------------------------


def replayed(thunk: Any, **options: Any) -> Starlette:
    def endpoint(request: Request) -> Response:
        last = request.headers.get("last-event-id")
        return SSEAdapter(**options).to_streaming_response(thunk.events(), last_event_id=last)

    return app(endpoint)


@pytest.mark.parametrize("options", [{}, {"data_only": True}])
async def test_whoever_was_cut_off_gets_the_rest_and_nothing_twice(
    options: dict[str, Any], fake: Callable[..., MelleaSession]
) -> None:
    thunk = fake("one [DONE] two three four").instruct("Count.", await_result=False)
    with served(replayed(thunk, **options)) as address:
        _, whole = await asked(address)
        for cut in whole[:-1]:
            if cut.id:
                _, rest = await asked(address, last_event_id=cut.id)
                before = [event for event in whole if event.id and int(event.id) <= int(cut.id)]
                assert [e.data for e in before] + [e.data for e in rest] == [e.data for e in whole]


async def test_whoever_comes_again_while_it_runs_hears_the_rest_live(fake: Callable[..., MelleaSession]) -> None:
    gate = Gate()
    thunk = fake(Answer(["one ", gate, "two"])).instruct("Count.", await_result=False)
    with served(replayed(thunk)) as address:
        async with client(address) as http, http.stream("GET", "/") as response:
            reading = aiter(EventSource(response))
            first = [await anext(reading) for _ in range(2)]
        headers = {"last-event-id": first[-1].id}
        async with client(address) as http, http.stream("GET", "/", headers=headers) as response:
            gate.open()
            rest = await heard(response)
    assert [event.event for event in [*first, *rest]] == ["started", "delta", "delta", "finished"]


@pytest.mark.parametrize("options", [{}, {"data_only": True}])
async def test_whoever_has_had_everything_is_told_to_ask_no_more(
    options: dict[str, Any], fake: Callable[..., MelleaSession]
) -> None:
    thunk = fake("done").instruct("?", await_result=False)
    with served(replayed(thunk, **options)) as address:
        _, whole = await asked(address)
        assert await asked(address, last_event_id="99") == (204, [])
        assert await asked(address, last_event_id="nonsense") == (200, whole)
        assert await asked(address, last_event_id="") == (200, whole)


async def test_an_executor_is_read_again_from_where_it_was() -> None:
    execution = Executor(poet(FakeBackend(answers="one two three"))).execute("Go", talk())
    whole = [event async for event in execution]
    with served(replayed(execution)) as address:
        _, rest = await asked(address, last_event_id="5")
    assert [event.id for event in rest] == [str(event.seq) for event in whole[6:]]


# --- mistakes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [{"ping": 0}, {"ping": -1}, {"data_only": True, "event_name": "x"}, {"json": True}, {"event_name": "a\nb"}],
)
def test_options_that_cannot_work_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        SSEAdapter(**wrong)


@pytest.mark.parametrize("wrong", ["text", ["a"], words, None])
def test_what_is_no_stream_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidArgument, match="asynchronous iterable"):
        SSEAdapter().to_streaming_response(wrong)


def test_without_starlette_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "mellea_like.responses.events", raising=False)
    monkeypatch.setitem(sys.modules, "starlette.responses", None)
    with pytest.raises(MissingPackage, match=r"mellea-like\[serve\]"):
        SSEAdapter().to_streaming_response(words())


def test_no_web_framework_is_imported_until_it_is_needed(ran: Callable[[str], str]) -> None:
    program = """
        import sys
        from mellea_like.responses.adapter import SSEAdapter

        SSEAdapter()
        print("starlette" in sys.modules)
    """
    assert ran(program) == "False\n"


async def test_a_client_of_fastapis_reads_it_too() -> None:
    from fastapi import FastAPI

    page = FastAPI()

    @page.post("/")
    async def stream(request: dict[str, str]) -> Response:
        graph = poet(FakeBackend(answers=f"You said {request['input']}."))
        return sse(Executor(graph).execute(request["input"], talk()))

    with served(page) as address:
        async with client(address) as http, http.stream("POST", "/", json={"input": "hello"}) as response:
            events = await heard(response)
    assert "".join(json.loads(e.data)["content"] for e in events if e.event == "token") == "You said hello."
