"""`/v1/responses`: the real `openai` client gets from it what it gets from OpenAI's, whole and as a stream."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import openai
import pytest
from conftest import Talker
from pydantic import BaseModel

from mellea_like import (
    Answer,
    BackendUnavailable,
    Gate,
    Message,
    RateLimited,
    Requirement,
    Thinking,
    simple_validate,
    start_session,
)
from mellea_like.graph.building import StateGraph
from mellea_like.server.answering import ModelAnswerer
from mellea_like.server.limits import Access

from .conftest import PATIENCE, Served
from .test_clients import CALL, client_of
from .test_programs import poem
from .test_response_requests import NESTED, WEATHER


class Person(BaseModel):
    name: str
    age: int


# --- answers ----------------------------------------------------------------------------------------------------------


def test_a_whole_answer(echo: Served) -> None:
    with client_of(echo) as client:
        response = client.responses.create(model="m", input="hi", metadata={"trace": "7"}, instructions="Be brief.")
    assert response.output_text == "You said: hi"
    assert (response.object, response.status, response.model) == ("response", "completed", "script")
    assert (response.metadata, response.instructions) == ({"trace": "7"}, "Be brief.")
    assert (response.tools, response.tool_choice, response.temperature) == ([], "auto", None)
    assert response.usage is not None
    usage = response.usage
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (3, 3, 6)


def test_a_stream_is_the_backends_own_deltas(echo: Served) -> None:
    with client_of(echo) as client:
        events = list(client.responses.create(model="m", input="hi", stream=True))
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert deltas == ["You", " said:", " hi"]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[-1].type == "response.completed"
    assert events[-1].response.output_text == "You said: hi"
    assert len({event.response.id for event in events if hasattr(event, "response")}) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_the_client_gets_the_same_items_whole_and_accumulated(serve: Callable[..., Served], stream: bool) -> None:
    grown = []
    with client_of(serve(Answer([Thinking(text="hm"), "Let me ", "look.", *CALL]))) as client:
        if stream:
            with client.responses.stream(model="m", input="hi", tools=[WEATHER]) as events:
                grown = [event.snapshot for event in events if event.type == "response.output_text.delta"]
                response: Any = events.get_final_response()
        else:
            response = client.responses.create(model="m", input="hi", tools=[WEATHER])
    reasoning, message, called = response.output
    assert (reasoning.type, reasoning.content[0].text) == ("reasoning", "hm")
    assert (message.type, message.content[0].text) == ("message", "Let me look.")
    assert (called.type, called.call_id, called.name) == ("function_call", "c1", "weather")
    assert json.loads(called.arguments) == {"city": "Rome"}
    assert grown == (["Let me ", "Let me look."] if stream else [])


async def test_the_asynchronous_client_streams_too(echo: Served) -> None:
    async with openai.AsyncOpenAI(base_url=f"{echo.url}/v1", api_key="any", max_retries=0) as client:
        async with client.responses.stream(model="m", input="hi") as stream:
            text = "".join([event.delta async for event in stream if event.type == "response.output_text.delta"])
            final = await stream.get_final_response()
        whole = await client.responses.create(model="m", input="hi")
    assert text == final.output_text == whole.output_text == "You said: hi"


def test_pydantic_reads_an_answer_that_follows_a_schema(serve: Callable[..., Served]) -> None:
    session = start_session("fake", answers='{"name": "Ana", "age": 3}')
    with client_of(serve(session)) as client:
        response = client.responses.parse(model="m", input="hi", text_format=Person)
        with client.responses.stream(model="m", input="hi", text_format=Person) as stream:
            streamed = stream.get_final_response()
    assert response.output_parsed == streamed.output_parsed == Person(name="Ana", age=3)
    schema = session.backend.calls[0].schema
    assert schema is not None
    assert schema["properties"]["age"]["type"] == "integer"
    told = response.to_dict()["text"]
    assert told["format"]["schema"] == schema  # type: ignore[index]  # typed as an object


@pytest.mark.parametrize(("kind", "schema"), [("text", None), ("json_object", {"type": "object"})])
def test_other_forms_of_text(serve: Callable[..., Served], kind: Any, schema: Any) -> None:
    session = start_session("fake", answers="{}")
    assert serve(session).respond(text={"format": {"type": kind}}).status_code == 200
    assert session.backend.calls[0].schema == schema


def test_an_answer_that_is_cut_off_says_so(echo: Served) -> None:
    with client_of(echo) as client:
        response = client.responses.create(model="m", input="hi", max_output_tokens=2)
    assert (response.output_text, response.status, response.output[0].status) == (  # type: ignore[union-attr]  # a message
        *("You said:", "incomplete"),
        "incomplete",
    )
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"
    assert "\nevent: response.incomplete\n" in echo.respond(stream=True, max_output_tokens=2).text


# --- what is served ---------------------------------------------------------------------------------------------------


def test_rejected_attempts_are_not_shown(serve: Callable[..., Served]) -> None:
    quiet = Requirement("quiet", validation_fn=simple_validate(str.islower))

    def judging() -> ModelAnswerer:
        return ModelAnswerer(start_session("fake", answers=["LOUD", "quiet"]), requirements=[quiet])

    assert [item["content"][0]["text"] for item in serve(judging()).respond().json()["output"]] == ["quiet"]
    streamed = serve(judging()).respond(stream=True).text
    assert "quiet" in streamed
    assert "LOUD" not in streamed


def test_a_graphs_answer_is_the_text_of_its_last_node_as_it_comes(serve: Callable[..., Served]) -> None:
    gate = Gate()
    served = serve(poem(["a plan", Answer(["Roses ", gate, "are red."])]))
    with client_of(served) as client:
        stream = client.responses.create(model="poem", input="A poem", stream=True)
        for event in stream:
            if event.type == "response.output_text.delta":
                gate.open()
        assert event.type == "response.completed"
    assert event.response.output_text == "Roses are red."


def test_a_graph_that_writes_no_text_answers_with_what_it_came_to(serve: Callable[..., Served]) -> None:
    graph = StateGraph()
    graph.add_node("count", lambda state: {"count": len(state["input"])})
    graph.set_entry_point("count")
    served = serve(graph)
    assert served.respond("four").json()["output"][0]["content"][0]["text"] == "4"
    assert '"delta":"4"' in served.respond("four", stream=True).text


def test_a_program_is_given_what_its_parameters_name(serve: Callable[..., Served]) -> None:
    seen: dict[str, Any] = {}

    def program(messages: list[Message], model_options: Any, tools: Any) -> str:
        seen.update(messages=messages, options=model_options, tools=tools)
        return "done"

    with client_of(serve(program)) as client:
        response = client.responses.create(model="m", input="hi", temperature=0.5, tools=[WEATHER])
    assert (response.output_text, response.model) == ("done", "program")
    assert seen == {"messages": [Message("user", "hi")], "options": {"temperature": 0.5}, "tools": [NESTED]}


# --- failures and limits ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RateLimited("Slow down.", backend="fake", retry_after=7), openai.RateLimitError),
        (BackendUnavailable("Nothing answers.", backend="fake"), openai.InternalServerError),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_failure_before_the_first_token_has_a_fitting_status(
    serve: Callable[..., Served], error: Exception, kind: type[openai.APIStatusError], stream: bool
) -> None:
    with client_of(serve(Answer([error]))) as client, pytest.raises(kind, match=str(error)):
        client.responses.create(model="m", input="hi", stream=stream)


def test_a_failure_in_the_middle_comes_after_the_text_and_is_raised(serve: Callable[..., Served]) -> None:
    served = serve(Answer(["Half ", BackendUnavailable("It went away.", backend="fake")]))
    seen: list[Any] = []
    with client_of(served) as client, pytest.raises(openai.APIError, match="It went away"):
        seen += client.responses.create(model="m", input="hi", stream=True)
    frames = [json.loads(line[6:]) for line in served.respond(stream=True).text.splitlines() if line[:6] == "data: "]
    assert [frame["type"] for frame in frames[-2:]] == ["error", "response.failed"]
    failed = frames[-1]["response"]
    assert failed["error"] == {"code": "server_error", "message": "It went away."}
    assert failed["output"][0]["content"][0]["text"] == "Half "


def test_a_stream_that_is_cut_off_is_not_a_success(serve: Callable[..., Served]) -> None:
    with client_of(serve(Answer(["Half"], truncated=True))) as client, pytest.raises(openai.APIError, match="without"):
        list(client.responses.create(model="m", input="hi", stream=True))


def test_strangers_are_told_the_kind_of_an_error_alone(serve: Callable[..., Served]) -> None:
    error = BackendUnavailable("At http://10.0.0.7 nothing answers.", backend="fake")
    served = serve(Answer(["Half ", error]), access=Access(told=False))
    for answer in (served.respond(), served.respond(stream=True)):
        assert "10.0.0.7" not in answer.text
        assert "BackendUnavailable" in answer.text


@pytest.mark.parametrize("stream", [False, True])
def test_when_the_client_leaves_the_model_is_stopped(
    serve: Callable[..., Served], talker: Talker, stream: bool
) -> None:
    served = serve(talker.session)
    with served.begin(path="/v1/responses", stream=stream):
        assert talker.flowing.wait(PATIENCE)
    assert talker.is_stopped()
    assert served.reaches(running=0)


@pytest.mark.parametrize("stream", [False, True])
def test_a_generation_that_takes_too_long_is_stopped(
    serve: Callable[..., Served], talker: Talker, stream: bool
) -> None:
    answer = serve(talker.session, timeout=0.2).respond(stream=stream)
    assert talker.is_stopped()
    if stream:
        assert answer.text.index('"word "') < answer.text.index("The generation was stopped")
    else:
        assert (answer.status_code, answer.json()["error"]["code"]) == (504, "timeout")


def test_places_and_keys_are_those_of_the_chat(serve: Callable[..., Served]) -> None:
    gate = Gate()
    served = serve(Answer([gate, "done"]), running=1, waiting=0)
    with served.begin(path="/v1/responses"):
        assert served.reaches(running=1)
        assert [served.respond().status_code, served.chat().status_code] == [429, 429]
    assert serve("x", access=Access(keys=["sk-1"])).respond().status_code == 401


def test_a_silent_stream_says_that_it_is_alive(serve: Callable[..., Served]) -> None:
    gate = Gate()
    served = serve(Answer(["one ", gate, "two"]), ping=0.05)
    with served.client.stream("POST", "/v1/responses", json={"input": "hi", "stream": True}) as answer:
        lines = answer.iter_lines()
        while next(lines) != ": keep-alive":
            pass
        gate.open()
        assert any('"two"' in line for line in lines)


# --- the embedded model -----------------------------------------------------------------------------------------------


@pytest.mark.model
def test_the_embedded_model_streams_and_is_cut_off(model: Served) -> None:
    asked = "Count from one to twenty in words."
    with client_of(model) as client:
        events = list(client.responses.create(model="m", input=asked, max_output_tokens=8, temperature=0, stream=True))
    assert sum(event.type == "response.output_text.delta" for event in events) >= 4
    assert events[-1].type == "response.incomplete"
    assert events[-1].response.usage is not None
    assert events[-1].response.usage.output_tokens == 8
