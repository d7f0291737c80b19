"""Asking with prompt files: streamed, awaited, at once; what is sent, to whom, and how it fails and stops."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from mellea_like import (
    Answer,
    BackendUnavailable,
    FakeBackend,
    Gate,
    GenerationCancelled,
    InvalidArgument,
    OutputParseError,
    RequestRefused,
    TemplateError,
    UnknownName,
)
from mellea_like.prompts.asking import (
    execute_prompt,
    execute_prompt_async,
    execute_prompt_streaming,
    execute_prompts_concurrent,
)
from mellea_like.providers import serving

Writer = Callable[[str, str], Path]


class Person(BaseModel):
    name: str
    age: int


@pytest.fixture
def greet(write: Writer) -> str:
    write("greet", "system: Be kind.\nuser: Greet {name}.\ntemperature: 0.2\nmax_tokens: 50\nmodel: small")
    return "greet"


async def test_tokens_come_as_the_backend_cuts_them_and_never_empty(greet: str) -> None:
    backend = FakeBackend(answers=Answer(["Hel", "", "lo, ", "", "World!"]))
    tokens = [token async for token in execute_prompt_streaming(greet, {"name": "World"}, backend=backend)]
    assert tokens == ["Hel", "lo, ", "World!"]


def test_tokens_can_be_read_without_async(greet: str) -> None:
    backend = FakeBackend(answers=Answer(["Hel", "lo"]))
    assert list(execute_prompt_streaming(greet, {"name": "World"}, backend=backend)) == ["Hel", "lo"]


async def test_the_first_token_comes_while_the_model_still_writes(greet: str) -> None:
    gate = Gate()
    stream = execute_prompt_streaming(greet, {"name": "W"}, backend=FakeBackend(answers=Answer(["one ", gate, "two"])))
    assert await anext(stream) == "one "
    assert (stream.text, stream.thunk.done()) == ("one ", False)
    gate.open()
    assert [token async for token in stream] == ["two"]


def test_what_is_sent_is_the_files_and_the_calls(greet: str) -> None:
    backend = FakeBackend(answers="Hi")
    execute_prompt(greet, {"name": "A"}, backend=backend)
    execute_prompt(greet, {"name": "A"}, backend=backend, temperature=0.9, model_options={"seed": 1, "max_tokens": 9})
    first, second = backend.calls
    assert [(m.role, m.content) for m in first.messages] == [("system", "Be kind."), ("user", "Greet A.")]
    assert dict(first.options) == {"temperature": 0.2, "max_new_tokens": 50}
    assert dict(second.options) == {"temperature": 0.9, "max_new_tokens": 9, "seed": 1}


def test_the_usual_temperature_is_that_of_the_page(write: Writer) -> None:
    write("p", "user: Hi")
    backend = FakeBackend(answers="Hi")
    execute_prompt("p", backend=backend)
    assert backend.calls[0].options["temperature"] == 0.7


async def test_an_error_comes_after_the_tokens_before_it_and_keeps_them(greet: str) -> None:
    backend = FakeBackend(answers=Answer(["Hel", "lo", BackendUnavailable("gone", backend="fake")]))
    stream = execute_prompt_streaming(greet, {"name": "A"}, backend=backend)
    assert [await anext(stream), await anext(stream)] == ["Hel", "lo"]
    for _ in range(2):  # every time it is asked
        with pytest.raises(BackendUnavailable, match="gone"):
            await anext(stream)
    assert stream.text == "Hello"


@pytest.mark.parametrize(("name", "error"), [("greet", TemplateError), ("gret", UnknownName)])
def test_a_mistake_is_raised_by_the_call(greet: str, name: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        execute_prompt_streaming(name, {})


@pytest.fixture
def plain(write: Writer) -> str:
    write("plain", "user: Greet {name}.")
    return "plain"


async def test_leaving_the_loop_stops_the_model(plain: str, talker: Any) -> None:
    async for _ in execute_prompt_streaming(plain, {"name": "A"}, backend=talker):
        break
    gc.collect()
    assert await asyncio.to_thread(talker.is_stopped)


async def test_closing_stops_the_model_and_keeps_what_came(plain: str, talker: Any) -> None:
    async with execute_prompt_streaming(plain, {"name": "A"}, backend=talker) as stream:
        await anext(stream)
    assert talker.is_stopped()
    assert (stream.text, stream.thunk.state) == ("word ", "cancelled")
    with pytest.raises(GenerationCancelled):
        await anext(stream)


def test_closing_works_without_async(plain: str, talker: Any) -> None:
    with execute_prompt_streaming(plain, {"name": "A"}, backend=talker) as stream:
        assert next(stream) == "word "
    assert talker.is_stopped()


async def test_a_cancelled_call_stops_the_model(plain: str, talker: Any) -> None:
    asking = asyncio.create_task(execute_prompt_async(plain, {"name": "A"}, backend=talker))
    await asyncio.to_thread(talker.flowing.wait, 10)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await asking
    assert await asyncio.to_thread(talker.is_stopped)
    del caught  # kept until here, with all that its frames keep


async def test_a_thunk_among_the_variables_is_awaited_first(greet: str, fake: Any) -> None:
    gate = Gate()
    name = await fake(Answer([gate, "Ada"])).ainstruct("Who?", await_result=False)
    backend = FakeBackend(answers="Hi")
    stream = execute_prompt_streaming(greet, {"name": name}, backend=backend)
    gate.open()
    assert [token async for token in stream] == ["Hi"]
    assert backend.calls[0].messages[-1].content == "Greet Ada."


async def test_a_schema_streams_and_is_validated(write: Writer) -> None:
    write("who", "user: Who?\nschema: {name: P, fields: {name: {type: str}, age: {type: int}}}")
    backend = FakeBackend(answers=Answer(['{"name": "A', 'da", "age": 3', "6}"]))
    stream = execute_prompt_streaming("who", backend=backend)
    seen = [partial.so_far async for partial in stream.partials()]
    assert seen[0] == {"name": "A"}
    assert seen[-1] == {"name": "Ada", "age": 36}
    assert (await stream.thunk).parsed.age == 36
    assert "properties" in (backend.calls[0].schema or {})


async def test_an_output_model_goes_before_the_files_schema(write: Writer) -> None:
    write("who", "user: Who?\nschema: {fields: {other: {type: str}}}")
    backend = FakeBackend(answers='{"name": "Ada", "age": 36}')
    ada = await execute_prompt_async("who", output_model=Person, backend=backend)
    assert ada == Person(name="Ada", age=36)


def test_an_answer_of_the_wrong_type_says_what_is_wrong(write: Writer) -> None:
    write("who", "user: Who?")
    with pytest.raises(OutputParseError, match="age"):
        execute_prompt("who", output_model=Person, backend=FakeBackend(answers='{"name": "Ada"}'))


def test_partials_of_plain_text_are_refused(greet: str) -> None:
    stream = execute_prompt_streaming(greet, {"name": "A"}, backend=FakeBackend(answers="Hi"))
    with pytest.raises(InvalidArgument, match="plain text"):
        stream.partials()
    stream.close()


async def test_answers_of_several_prompts_come_in_the_order_of_the_calls(greet: str) -> None:
    gates = {"A": Gate(), "B": Gate()}

    def answer(request: Any) -> Answer:
        name = request.messages[-1].content[-2]
        return Answer([gates[name], name])

    calls: Any = [
        {"prompt_name": greet, "variables": {"name": n}, "backend": FakeBackend(answers=answer)} for n in "AB"
    ]
    asking = asyncio.create_task(execute_prompts_concurrent(calls))
    for name in "BA":  # both wait before either may go on: they run at once
        assert await asyncio.to_thread(gates[name].reached, 10)
    gates["B"].open()
    gates["A"].open()
    assert await asking == ["A", "B"]


async def test_where_one_of_several_fails_the_others_are_stopped(plain: str, talker: Any) -> None:
    gate = Gate()
    failing = FakeBackend(answers=Answer([gate, BackendUnavailable("gone")]))
    calls: Any = [
        {"prompt_name": plain, "variables": {"name": "A"}, "backend": failing},
        {"prompt_name": plain, "variables": {"name": "B"}, "backend": talker},
    ]
    running = asyncio.create_task(execute_prompts_concurrent(calls))
    assert await asyncio.to_thread(talker.flowing.wait, 10)
    gate.open()
    with pytest.raises(BackendUnavailable) as caught:
        await running
    assert await asyncio.to_thread(talker.is_stopped)
    del caught  # kept until here, with all that its frames keep


@pytest.mark.parametrize(
    ("call", "words"), [({"prompt_name": "greet", "variabels": {}}, "variables"), ({"variables": {}}, "prompt_name")]
)
async def test_a_mistaken_call_among_several_is_named(greet: str, call: Any, words: str) -> None:
    with pytest.raises((UnknownName, InvalidArgument), match=words):
        await execute_prompts_concurrent([call])


# --- who is asked -----------------------------------------------------------------------------------------------------


@pytest.fixture
def no_names(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in (
        "PROVIDER",
        "MELLEA_LIKE_OVERRIDE",
        "OPENAI_API_KEY",
        "OPENAI_BASE_URL",
        "MISTRAL_API_KEY",
        "MISTRAL_BASE_URL",
    ):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_a_model_alone_means_openai(greet: str, no_names: pytest.MonkeyPatch) -> None:
    with pytest.raises(RequestRefused, match=r"'openai' wants a key.*OPENAI_API_KEY.*MELLEA_LIKE_OVERRIDE=llamacpp"):
        execute_prompt_streaming(greet, {"name": "A"})


def test_a_provider_is_the_calls_then_the_files_then_the_environments(
    write: Writer, no_names: pytest.MonkeyPatch
) -> None:
    write("own", "user: Hi\nprovider: anthropic")
    write("open", "user: Hi")
    no_names.setenv("PROVIDER", "mistral")
    for call, wanted in (
        ({"prompt_name": "own", "provider": "deepseek"}, "deepseek"),
        ({"prompt_name": "own"}, "anthropic"),
        ({"prompt_name": "open"}, "mistral"),
    ):
        with pytest.raises(RequestRefused, match=f"'{wanted}' wants a key"):
            execute_prompt_streaming(**call)  # type: ignore[arg-type]  # what each case gives


def test_the_override_serves_every_name(write: Writer, no_names: pytest.MonkeyPatch) -> None:
    write("own", "user: Hi\nprovider: anthropic\nmodel: claude")
    no_names.setenv("MELLEA_LIKE_OVERRIDE", "fake")
    assert execute_prompt("own", provider="mistral") == "You said: Hi"


def test_another_provider_is_not_asked_for_the_files_model(write: Writer, no_names: pytest.MonkeyPatch) -> None:
    write("own", "user: Hi\nprovider: anthropic\nmodel: claude")
    no_names.setenv("MISTRAL_API_KEY", "k")
    no_names.setenv("ANTHROPIC_API_KEY", "k")
    no_names.setenv("MISTRAL_MODEL", "mistral-small")
    with execute_prompt_streaming("own", provider="mistral") as mistral, execute_prompt_streaming("own") as claude:
        pass
    assert mistral.thunk.generation.model != "claude"
    assert claude.thunk.state == "cancelled"


def test_one_backend_can_serve_everything_for_a_while(greet: str) -> None:
    with serving(FakeBackend(answers="served")):
        assert execute_prompt(greet, {"name": "A"}) == "served"


@pytest.mark.model
async def test_a_real_model_streams_a_prompt(greet: str, no_names: pytest.MonkeyPatch) -> None:
    no_names.setenv("MELLEA_LIKE_OVERRIDE", "llamacpp")
    stream = execute_prompt_streaming(greet, {"name": "World"}, provider="anthropic")
    tokens = [token async for token in stream]
    assert len(tokens) > 2
    assert "".join(tokens) == stream.text == (await stream.thunk).value


@pytest.mark.model
async def test_a_real_model_is_held_to_a_schema(write: Writer, no_names: pytest.MonkeyPatch) -> None:
    no_names.setenv("MELLEA_LIKE_OVERRIDE", "llamacpp")
    write("who", "user: Who wrote Hamlet?\nmax_tokens: 200\nschema: {fields: {name: {constraints: {max_length: 30}}}}")
    stream = execute_prompt_streaming("who")
    states = [partial["name"].state async for partial in stream.partials()]
    assert states[-1] == "done"
    assert isinstance((await stream.thunk).parsed.name, str)
