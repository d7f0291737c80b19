"""Partials and items of a thunk: live or replayed, any number of readers, errors after what came."""

from __future__ import annotations

import asyncio
import copy
import pickle
from collections.abc import AsyncGenerator, Callable
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from mellea_like import (
    BackendUnavailable,
    Finished,
    InvalidArgument,
    MelleaSession,
    ModelOutputThunk,
    OutputParseError,
    start_session,
)
from mellea_like.events import Said
from mellea_like.formats import format_of


class Pet(BaseModel):
    name: str
    age: int


PETS = [Pet(name="Tom", age=3), Pet(name="Jerry", age=2)]
TEXT = '[{"name": "Tom", "age": 3}, {"name": "Jerry", "age": 2}]'


def started(kind: Any, *steps: Any) -> ModelOutputThunk[Any]:
    """Start a generation that says these steps: text, an error to raise, or an event to wait for."""

    async def source() -> AsyncGenerator[Said, None]:
        for step in steps:
            if isinstance(step, BaseException):
                raise step
            if isinstance(step, asyncio.Event):
                await step.wait()
            else:
                yield step
        yield Finished()

    return ModelOutputThunk[Any].start(source(), shape=format_of(kind).shape)


def listed(partials: Any) -> list[tuple[str, Any]]:
    return [(partial.state, partial.so_far) for partial in partials]


async def test_partials_come_live_one_per_delta_that_shows_and_the_last_is_done() -> None:
    thunk = started(Pet, "{", '"name"', ": ", '"T', "om", '", ', '"age": ', "3", "}")
    seen = [partial async for partial in thunk.partials()]
    assert listed(seen) == [
        ("open", {}),
        ("open", {"name": "T"}),
        ("open", {"name": "Tom"}),
        ("open", {"name": "Tom"}),
        ("open", {"name": "Tom"}),
        ("done", {"name": "Tom", "age": 3}),
    ]
    assert seen[-1].value == PETS[0]


async def test_every_reader_gets_the_same_live_and_replayed_asynchronous_and_not() -> None:
    thunk = started(list[Pet], *TEXT)

    async def live() -> list[tuple[str, Any]]:
        return listed([partial async for partial in thunk.partials()])

    first, second, third = await asyncio.gather(live(), live(), asyncio.to_thread(lambda: listed(thunk.partials())))
    assert first == second == third == listed(thunk.partials()) == listed((await thunk).partials())
    assert thunk.is_computed()


async def test_an_item_is_there_when_it_closes_and_the_rest_is_not() -> None:
    gate = asyncio.Event()
    thunk = started(list[Pet], TEXT[:26], gate, TEXT[26:])
    items = aiter(thunk.items())
    assert await anext(items) == PETS[0]
    assert not thunk.done()
    asyncio.run_coroutine_threadsafe(_set(gate), _engine_loop())
    assert [item async for item in items] == PETS[1:]


async def _set(event: asyncio.Event) -> None:
    event.set()


def _engine_loop() -> asyncio.AbstractEventLoop:
    from mellea_like import engine

    return engine.loop()


@pytest.mark.parametrize(
    ("kind", "text", "items"),
    [
        (list[int], "[1, 22, 333]", [1, 22, 333]),
        (list[int | None], "[null, 1, null]", [None, 1, None]),
        (tuple[int, str], '[1, "a"]', [1, "a"]),
        (set[str], '["a", "b", "a"]', ["a", "b", "a"]),
        (list[Pet | int], '[{"name": "Tom", "age": 3}, 4]', [PETS[0], 4]),
        (list[int], " [ ] ", []),
        (list[list[int]], "[[1], [2, 3]]", [[1], [2, 3]]),
    ],
)
def test_items_of_every_kind_of_list(kind: Any, text: str, items: list[Any]) -> None:
    assert list(started(kind, *text).items()) == items


def test_the_error_comes_after_what_came_every_time() -> None:
    thunk = started(list[Pet], TEXT[:26], BackendUnavailable("gone"))
    for _ in range(2):
        seen: list[Any] = []
        with pytest.raises(BackendUnavailable):
            seen.extend(partial for partial in thunk.partials())
        assert seen[-1][0].value == PETS[0]
        reader = thunk.items()
        assert next(reader) == PETS[0]
        for _ in range(2):
            with pytest.raises(BackendUnavailable, match="gone"):
                next(reader)


def test_a_wrong_item_is_raised_after_those_before_it_every_time() -> None:
    reader = started(list[Pet], TEXT[:26], ', {"name": "Jerry", "age": "old"}, {"name": "x", "age": 1}]').items()
    assert next(reader) == PETS[0]
    for _ in range(2):
        with pytest.raises(OutputParseError, match=r"Item 1 .*age: Input should be a valid integer") as caught:
            next(reader)
        assert caught.value.text.startswith("[{")


def test_an_answer_that_is_no_list_is_raised_by_items() -> None:
    with pytest.raises(OutputParseError, match="not a valid list"):
        list(started(list[int], "none of it").items())


def test_a_text_answer_has_no_partials(fake: Callable[..., MelleaSession]) -> None:
    thunk = fake("hello").instruct("Hi")
    for view in (thunk.partials, thunk.items):
        with pytest.raises(InvalidArgument, match="Pass `format=`"):
            view()  # type: ignore[operator]


def test_items_are_read_of_lists_only() -> None:
    with pytest.raises(InvalidArgument, match="format=Pet is none"):
        started(Pet, "{}").items()


def test_a_copied_and_a_pickled_thunk_keep_their_type() -> None:
    computed = started(list[Pet], *TEXT).result()
    for twin in (copy.copy(computed), copy.deepcopy(computed), pickle.loads(pickle.dumps(computed))):
        assert list(twin.items()) == PETS
        assert listed(twin.partials()) == listed(computed.partials())


def test_a_reader_keeps_the_generation_running() -> None:
    reader = started(list[Pet], *TEXT).partials()
    *_, last = reader
    assert last.value == PETS


def test_a_session_call_with_a_format_has_partials_and_items(fake: Callable[..., MelleaSession]) -> None:
    thunk = fake([[*TEXT]]).instruct("Which pets?", format=list[Pet], await_result=False)
    *_, last = thunk.partials()
    assert last.value == thunk.result().parsed == list(thunk.items()) == list(thunk.result().items()) == PETS


@pytest.mark.model
def test_the_embedded_model_gives_partials_of_what_it_is_held_to() -> None:
    with start_session("llamacpp", model_options={"max_new_tokens": 120, "temperature": 0}) as m:
        pet = m.instruct("Name a pet.", format=Pet, await_result=False)
        *before, last = pet.partials()
        assert last.value == pet.result().parsed
        assert {partial["name"].state for partial in before} == {"missing", "open", "done"}
        word = m.instruct("Is the sky blue?", format=Literal["yes", "no"], await_result=False)
        assert [partial.value for partial in word.partials()][-1] == word.result().parsed
        number = m.instruct("What is one and one?", format=Annotated[int, Field(ge=0, le=9)], await_result=False)
        assert [partial.value for partial in number.partials()][-1] == number.result().parsed
