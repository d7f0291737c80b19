"""The real `openai` and `huggingface_hub` clients get from the server what they get from OpenAI's."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import openai
import pytest
from huggingface_hub import AsyncInferenceClient, InferenceClient

from mellea_like import Answer, BackendUnavailable, Finished, RateLimited, Thinking, ToolCallEvent, Usage, start_session
from mellea_like.options import ModelOption

from .conftest import Served

HI: list[Any] = [{"role": "user", "content": "hi"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tell the weather.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
CALL = [
    ToolCallEvent(index=0, id="c1", name="weather", arguments='{"ci'),
    ToolCallEvent(index=0, id="c1", name="weather", arguments='{"city": "Rome"}', complete=True),
    Finished(finish_reason="tool_calls", usage=Usage(input_tokens=3, output_tokens=4)),
]


def client_of(served: Served) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{served.url}/v1", api_key="any", max_retries=0, timeout=10)


def test_a_whole_answer(echo: Served) -> None:
    with client_of(echo) as client:
        answer = client.chat.completions.create(model="script", messages=HI, temperature=0.5, max_tokens=10)
    assert answer.choices[0].message.content == "You said: hi"
    assert (answer.object, answer.model, answer.choices[0].finish_reason) == ("chat.completion", "script", "stop")
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (1, 3, 4)


def test_a_stream_is_the_backends_own_deltas_and_its_usage(echo: Served) -> None:
    with client_of(echo) as client:
        stream = client.chat.completions.create(
            model="script", messages=HI, stream=True, stream_options={"include_usage": True}
        )
        chunks = list(stream)
    first, *deltas, end, usage = chunks
    assert (first.choices[0].delta.role, first.choices[0].delta.content) == ("assistant", "")
    assert [chunk.choices[0].delta.content for chunk in deltas] == ["You", " said:", " hi"]
    assert end.choices[0].finish_reason == "stop"
    assert usage.choices == []
    assert usage.usage is not None
    assert usage.usage.total_tokens == 4
    assert len({chunk.id for chunk in chunks}) == 1
    assert {chunk.usage for chunk in chunks[:-1]} == {None}


async def test_the_asynchronous_client_streams_too(echo: Served) -> None:
    async with openai.AsyncOpenAI(base_url=f"{echo.url}/v1", api_key="any", max_retries=0) as client:
        stream = await client.chat.completions.create(model="script", messages=HI, stream=True)
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    assert text == "You said: hi"


@pytest.mark.parametrize("stream", [False, True])
def test_several_answers_to_one_question(serve: Callable[..., Served], stream: bool) -> None:
    served = serve(["one two", "three four", "five six"])
    with client_of(served) as client:
        if stream:
            texts = ["", "", ""]
            total = 0
            for chunk in client.chat.completions.create(
                model="m", messages=HI, n=3, stream=True, stream_options={"include_usage": True}
            ):
                total = chunk.usage.completion_tokens if chunk.usage else total
                for choice in chunk.choices:
                    texts[choice.index] += choice.delta.content or ""
        else:
            answer = client.chat.completions.create(model="m", messages=HI, n=3)
            texts = [choice.message.content or "" for choice in answer.choices]
            assert answer.usage is not None
            total = answer.usage.completion_tokens
    assert sorted(texts) == ["five six", "one two", "three four"]
    assert total == 6


@pytest.mark.parametrize("stream", [False, True])
def test_several_answers_come_one_after_the_other_where_places_are_few(
    serve: Callable[..., Served], stream: bool
) -> None:
    answer = serve(["a b", "c d", "e f"], running=1).chat(n=3, stream=stream)
    assert [word in answer.text for word in ('"a', '"c', '"e')] == [True] * 3


@pytest.mark.parametrize("stream", [False, True])
def test_tool_calls_are_whole(serve: Callable[..., Served], stream: bool) -> None:
    session = start_session("fake", answers=Answer(["Let me look. ", *CALL]))
    with client_of(serve(session)) as client:
        if stream:
            *_, called, end = client.chat.completions.create(model="m", messages=HI, tools=[WEATHER], stream=True)
            calls: Any = called.choices[0].delta.tool_calls
            reason = end.choices[0].finish_reason
        else:
            choice = client.chat.completions.create(model="m", messages=HI, tools=[WEATHER]).choices[0]
            calls, reason = choice.message.tool_calls, choice.finish_reason
    assert [(call.id, call.function.name, json.loads(call.function.arguments)) for call in calls] == [
        ("c1", "weather", {"city": "Rome"})
    ]
    assert reason == "tool_calls"
    assert session.backend.calls[0].tools[0]["function"]["name"] == "weather"


@pytest.mark.parametrize(("parallel", "names"), [(None, ["one", "two"]), (True, ["one", "two"]), (False, ["one"])])
@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_takes_one_call_at_a_time_gets_one(
    serve: Callable[..., Served], parallel: bool | None, names: list[str], stream: bool
) -> None:
    calls = [
        ToolCallEvent(index=i, id=f"c{i}", name=name, arguments="{}", complete=True) for i, name in enumerate(names)
    ]
    served = serve([Answer([*calls, CALL[-1]]) for _ in range(2)])
    chat, response = (ask(parallel_tool_calls=parallel, stream=stream).text for ask in (served.chat, served.respond))
    assert [f'"name":"{name}"' in chat for name in ("one", "two")] == [True, len(names) == 2]
    assert [f'"name":"{name}"' in response for name in ("one", "two")] == [True, len(names) == 2]


def test_a_tools_result_goes_back_to_the_model(serve: Callable[..., Served]) -> None:
    session = start_session("fake", answers="Sunny.")
    served = serve(session)
    called = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    messages: Any = [
        *HI,
        {"role": "assistant", "content": None, "tool_calls": [called]},
        {"role": "tool", "tool_call_id": "c1", "content": "sun"},
    ]
    with client_of(served) as client:
        client.chat.completions.create(model="m", messages=messages)
    _, asked, said = session.backend.calls[0].messages
    assert (asked.tool_calls[0].name, said.role, said.content, said.tool_call_id) == ("weather", "tool", "sun", "c1")


def test_options_reach_the_backend_under_their_portable_names(serve: Callable[..., Served]) -> None:
    session = start_session("fake")
    with client_of(serve(session)) as client:
        client.chat.completions.create(
            model="m",
            messages=HI,
            temperature=0.2,
            top_p=0.9,
            seed=7,
            stop="END",
            max_completion_tokens=5,
            reasoning_effort="none",
            tools=[WEATHER],
            tool_choice="required",
            frequency_penalty=0,
            user="ana",
        )
    assert session.backend.calls[0].options == {
        ModelOption.TEMPERATURE: 0.2,
        ModelOption.TOP_P: 0.9,
        ModelOption.SEED: 7,
        ModelOption.STOP_SEQUENCES: ["END"],
        ModelOption.MAX_NEW_TOKENS: 5,
        ModelOption.THINKING: False,
        ModelOption.TOOL_CHOICE: "required",
    }


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        ("auto", None),
        ("none", None),
        ("required", "required"),
        ({"type": "function", "function": {"name": "weather"}}, {"type": "function", "function": {"name": "weather"}}),
    ],
)
def test_a_choice_of_tool_reaches_the_backend(serve: Callable[..., Served], choice: Any, told: Any) -> None:
    session = start_session("fake")
    with client_of(serve(session)) as client:
        client.chat.completions.create(model="m", messages=HI, tools=[WEATHER], tool_choice=choice)
    (call,) = session.backend.calls
    assert call.options.get(ModelOption.TOOL_CHOICE) == told
    assert bool(call.tools) is (choice != "none")


def test_a_schema_reaches_the_backend_and_pydantic_reads_the_answer(serve: Callable[..., Served]) -> None:
    from pydantic import BaseModel

    class Person(BaseModel):
        name: str
        age: int

    session = start_session("fake", answers='{"name": "Ana", "age": 3}')
    with client_of(serve(session)) as client:
        answer = client.chat.completions.parse(model="m", messages=HI, response_format=Person)
    assert answer.choices[0].message.parsed == Person(name="Ana", age=3)
    schema = session.backend.calls[0].schema
    assert schema is not None
    assert schema["properties"]["age"]["type"] == "integer"


def test_an_answer_that_is_cut_off_says_so(echo: Served) -> None:
    with client_of(echo) as client:
        answer = client.chat.completions.create(model="m", messages=HI, max_tokens=2)
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("You said:", "length")


def test_reasoning_goes_beside_the_text(serve: Callable[..., Served]) -> None:
    served = serve(Answer([Thinking(text="hm"), "Yes."]))
    message = served.chat().json()["choices"][0]["message"]
    assert (message["reasoning_content"], message["content"]) == ("hm", "Yes.")
    with client_of(served) as client:
        chunks = list(client.chat.completions.create(model="m", messages=HI, stream=True))
    assert [getattr(c.choices[0].delta, "reasoning_content", None) for c in chunks][1] == "hm"


def test_models_are_listed_and_found(echo: Served) -> None:
    with client_of(echo) as client:
        assert [model.id for model in client.models.list()] == ["script"]
        assert client.models.retrieve("script").owned_by == "mellea-like"
        with pytest.raises(openai.NotFoundError, match=r"There is no model 'other'\. Valid: 'script'"):
            client.models.retrieve("other")


def test_a_refusal_that_is_given_back_is_what_the_model_said(serve: Callable[..., Served]) -> None:
    session = start_session("fake")
    messages: Any = [*HI, {"role": "assistant", "content": None, "refusal": "I will not."}, *HI]
    with client_of(serve(session)) as client:
        client.chat.completions.create(model="m", messages=messages)
    assert session.backend.calls[0].messages[1].content == "I will not."


def test_images_and_the_developers_turn_are_understood(serve: Callable[..., Served]) -> None:
    session = start_session("fake")
    url = "data:image/png;base64,iVBORw0KGgo="
    parts = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": url}}]
    messages: Any = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": parts}]
    with client_of(serve(session)) as client:
        client.chat.completions.create(model="m", messages=messages)
    system, user = session.backend.calls[0].messages
    assert (system.role, system.content) == ("system", "Be brief.")
    assert (user.content, user.images[0].as_url()) == ("What is this?", url)


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (RateLimited("Slow down.", backend="fake", retry_after=7), openai.RateLimitError, "Slow down"),
        (BackendUnavailable("Nothing answers.", backend="fake"), openai.InternalServerError, "Nothing answers"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_failure_before_the_first_token_has_a_fitting_status(
    serve: Callable[..., Served], error: Exception, kind: type[openai.APIStatusError], words: str, stream: bool
) -> None:
    with client_of(serve(Answer([error]))) as client, pytest.raises(kind, match=words) as raised:
        client.chat.completions.create(model="m", messages=HI, stream=stream)
    assert raised.value.response.headers.get("retry-after") == ("7" if kind is openai.RateLimitError else None)


def test_a_failure_in_the_middle_comes_after_the_text(serve: Callable[..., Served]) -> None:
    served = serve(Answer(["Half ", BackendUnavailable("It went away.", backend="fake")]))
    with client_of(served) as client:
        stream = client.chat.completions.create(model="m", messages=HI, stream=True)
        assert [next(stream).choices[0].delta.content for _ in range(2)] == ["", "Half "]
        with pytest.raises(openai.APIError, match="It went away"):
            next(stream)


def test_a_stream_that_is_cut_off_is_not_a_success(serve: Callable[..., Served]) -> None:
    with client_of(serve(Answer(["Half"], truncated=True))) as client, pytest.raises(openai.APIError, match="without"):
        list(client.chat.completions.create(model="m", messages=HI, stream=True))


def test_an_option_that_the_backend_does_not_know_is_refused_by_name(serve: Callable[..., Served]) -> None:
    session = start_session("fake")
    session.backend.options = frozenset()  # type: ignore[misc]  # of this one only
    with client_of(serve(session)) as client, pytest.raises(openai.BadRequestError, match=r"cannot honour.*seed"):
        client.chat.completions.create(model="m", messages=HI, seed=1)


# --- huggingface_hub --------------------------------------------------------------------------------------------------


def test_huggingface_whole_and_streamed(echo: Served) -> None:
    client = InferenceClient(base_url=echo.url)
    assert client.chat_completion(HI).choices[0].message.content == "You said: hi"
    stream = client.chat_completion(HI, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "You said: hi"


async def test_huggingface_asynchronously(echo: Served) -> None:
    async with AsyncInferenceClient(base_url=echo.url) as client:
        stream = await client.chat_completion(HI, stream=True)
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == "You said: hi"


# --- the embedded model -----------------------------------------------------------------------------------------------


@pytest.mark.model
def test_the_embedded_model_streams_and_is_cut_off(model: Served) -> None:
    with client_of(model) as client:
        stream = client.chat.completions.create(
            model="m",
            messages=[{"role": "user", "content": "Count from one to twenty in words."}],
            max_tokens=8,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = list(stream)
    assert sum(bool(c.choices and c.choices[0].delta.content) for c in chunks) >= 4
    assert chunks[-2].choices[0].finish_reason == "length"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 8


@pytest.mark.model
def test_the_embedded_model_keeps_to_a_schema(model: Served) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    wanted: Any = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    with client_of(model) as client:
        answer = client.chat.completions.create(model="m", messages=HI, response_format=wanted, max_tokens=60)
    assert isinstance(json.loads(answer.choices[0].message.content or "")["n"], int)
