"""What type checkers make of the verbs; checked by mypy, not run."""

from typing import Any, assert_type

from pydantic import BaseModel

from mellea_like import ComputedModelOutputThunk, Message, ModelOutputThunk, generative, start_session


class Person(BaseModel):
    name: str


async def asynchronous() -> None:
    m = start_session("fake")
    assert_type(await m.ainstruct("x"), ComputedModelOutputThunk[str])
    assert_type((await m.ainstruct("x")).value, str)
    assert_type(await m.ainstruct("x", await_result=False), ModelOutputThunk[str])
    assert_type((await m.ainstruct("x", await_result=False)).value, str | None)
    assert_type(await m.ainstruct("x", format=Person), ComputedModelOutputThunk[Person])
    assert_type((await m.ainstruct("x", format=Person, prefix="{")).parsed, Person)
    assert_type(await m.ainstruct("x", format=Person, await_result=False), ModelOutputThunk[Person])
    assert_type(await (await m.ainstruct("x", format=Person, await_result=False)), ComputedModelOutputThunk[Person])
    assert_type(await m.aact("x", format=Person), ComputedModelOutputThunk[Person])
    assert_type(await m.achat("x"), Message)
    assert_type(await m.achat("x", await_result=False), ModelOutputThunk[Message])
    async for delta in await m.ainstruct("x", await_result=False):
        assert_type(delta, str)


def synchronous() -> None:
    m = start_session("fake")
    assert_type(m.instruct("x"), ComputedModelOutputThunk[str])
    assert_type(m.instruct("x", await_result=False, user_variables={"a": 1}), ModelOutputThunk[str])
    assert_type(m.instruct("x", format=Person), ComputedModelOutputThunk[Person])
    assert_type(m.instruct("x", format=Person, await_result=False), ModelOutputThunk[Person])
    assert_type(m.instruct("x", await_result=False).result(timeout=1), ComputedModelOutputThunk[str])
    assert_type(m.chat("x"), Message)
    assert_type(m.chat("x", await_result=False), ModelOutputThunk[Message])
    for delta in m.instruct("x", await_result=False):
        assert_type(delta, str)


class Reader:
    @generative
    def title(self, text: str) -> str:  # type: ignore[empty-body]
        """Find a title."""


def arguments() -> None:
    m = start_session("fake")
    assert_type(m.chat("x", "user", images="cat.png"), Message)
    assert_type(m.chat("x", format=Person), Message)
    m.instruct("x", requirements="short", images=b"", icl_examples="as so")
    m.instruct("x", requirements=(word for word in ("short", "sweet")))
    m.react("x", tools=len)
    assert_type(m.transform("x", "y", format=Person), Any)
    assert_type(Reader().title(m, "x"), str)
    assert_type(Reader.title(m, Reader(), "x"), str)
    assert_type(Reader().title.using(requirements="short")(m, text="x"), str)
