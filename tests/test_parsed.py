"""What an answer was parsed to: None is a value, a chat's reply keeps it, and a type that cannot be one is refused."""

from __future__ import annotations

import copy
import pickle
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from mellea_like import (
    Answer,
    BestofNSamplingStrategy,
    ChatContext,
    Finished,
    InvalidArgument,
    MajorityVotingStrategy,
    MelleaSession,
    Message,
    OutputParseError,
    Sample,
    StateGraph,
    ToolCallEvent,
    generative,
    mify,
)
from mellea_like.samples import UNPARSED

Fake = Callable[..., MelleaSession]


class Person(BaseModel):
    name: str


@generative
def find(text: str) -> Person | None:
    """Find a person in the text."""


class Silent:
    """A component whose answers mean nothing."""

    def parts(self) -> Iterable[object]:
        return ()

    def messages(self) -> tuple[Message, ...]:
        return (Message("user", "Go."),)

    def parse(self, text: str) -> None:
        return None


@mify(funcs_include={"clear"})
class Table:
    def clear(self) -> None:
        """Empty the table."""


# --- None is a value --------------------------------------------------------------------------------------------------


def test_an_answer_may_be_parsed_to_none(fake: Fake) -> None:
    m = fake("null")
    assert m.instruct("x", format=int | None).parsed is None
    assert m.instruct("x", format=int | None, requirements=[lambda text: True]).parsed is None
    assert m.react("x", tools=[], format=int | None, native=True).parsed is None
    assert m.act(Silent()).parsed is None
    assert find(m, "x") is None
    assert m.instruct("x").parsed == "null"


def test_a_method_that_returns_nothing_gives_none(fake: Fake) -> None:
    m = fake([[ToolCallEvent(id="1", name="clear", arguments="{}", complete=True)]])
    assert m.transform(Table(), "Clear it.") is None


def test_samples_may_be_parsed_to_none(fake: Fake) -> None:
    m = fake(["3", "null", "null"])
    voted = m.instruct("x", format=int | None, strategy=MajorityVotingStrategy(number_of_samples=3))
    assert voted.parsed is None
    assert [sample.parsed for sample in voted.samples] == [3, None, None]
    found = fake("null").instruct("x", format=int | None, return_sampling_results=True)
    assert [answer.parsed for answer in found.sample_generations] == [None]


def test_a_key_is_given_the_object_though_that_is_none(fake: Fake) -> None:
    given: list[Any] = []
    best = BestofNSamplingStrategy(loop_budget=2, key=lambda number: given.append(number) or 0)
    fake(["null", "3"]).instruct("x", format=int | None, strategy=best)
    assert sorted(given, key=str) == [3, None]


async def test_a_node_may_give_none(fake: Fake) -> None:
    m = fake("null")
    graph = StateGraph()
    graph.add_node("ask", lambda state: m.instruct("x", format=int | None, await_result=False), state_key="number")
    graph.add_node("ask within", lambda state: {"other": m.instruct("x", format=int | None, await_result=False)})
    graph.add_edge("START", "ask")
    graph.add_edge("ask", "ask within")
    assert await graph.compile().ainvoke({}) == {"number": None, "other": None}


def test_what_is_not_parsed_is_told_from_what_is_none(fake: Fake) -> None:
    sample = fake("text").instruct("x", requirements=[bool]).samples[0]
    assert sample.parsed is Sample(attempt=1).parsed is Finished().parsed is UNPARSED
    assert (repr(UNPARSED), bool(UNPARSED)) == ("UNPARSED", False)
    for twin in (copy.deepcopy(sample), pickle.loads(pickle.dumps(sample))):
        assert twin.parsed is UNPARSED
    null = fake("null").instruct("x", format=int | None)
    for again in (copy.copy(null), pickle.loads(pickle.dumps(null))):
        assert again.parsed is None


# --- a chat's reply ---------------------------------------------------------------------------------------------------


def test_a_reply_of_a_type_is_validated_and_keeps_the_object(fake: Fake) -> None:
    m = fake('{"name": "Ana"}', ctx=ChatContext())
    reply = m.chat("Who?", format=Person)
    assert reply == Message("assistant", '{"name": "Ana"}')
    assert reply.parsed == Person(name="Ana")
    assert m.chat("Who?").parsed is None
    thunk = m.chat("Who?", format=Person, await_result=False)
    assert [partial.state for partial in thunk.partials()][-1] == "done"
    assert thunk.result().parsed.parsed == Person(name="Ana")


def test_a_reply_that_is_not_of_the_type_raises_or_is_asked_for_again(fake: Fake) -> None:
    m = fake(["nope", "nope", '{"name": "Ana"}'])
    with pytest.raises(OutputParseError, match="not a valid Person"):
        m.chat("Who?", format=Person)
    assert m.chat("Who?", format=Person, requirements=[lambda text: True]).parsed == Person(name="Ana")


def test_a_reply_that_calls_a_tool_is_not_held_to_the_type(fake: Fake) -> None:
    call = ToolCallEvent(id="1", name="look", arguments="{}", complete=True)
    reply = fake([Answer([call])]).chat("Who?", format=Person)
    assert ([wish.name for wish in reply.tool_calls], reply.parsed) == (["look"], None)


def test_a_key_is_given_the_object_of_a_reply(fake: Fake) -> None:
    m = fake(['{"name": "Al"}', '{"name": "Anastasia"}'])
    longest = BestofNSamplingStrategy(loop_budget=2, key=lambda person: len(person.name))
    assert m.chat("Who?", format=Person, strategy=longest).parsed == Person(name="Anastasia")


# --- types ------------------------------------------------------------------------------------------------------------


def test_an_iterable_is_read_as_a_list_whose_items_are_validated(fake: Fake) -> None:
    m = fake(["[1, 2]", '[1, "x"]'])
    answer = m.instruct("x", format=Iterable[int])
    assert (answer.parsed, pickle.loads(pickle.dumps(answer)).parsed) == ([1, 2], [1, 2])
    with pytest.raises(OutputParseError, match="1: Input should be a valid integer"):
        m.instruct("x", format=Iterable[int])
    assert fake('[1, "x"]').instruct("x", format=Iterable).parsed == [1, "x"]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ({"type": "object"}, r"was given a dict\. .*`requirements=requires\.json\(schema\)`"),
        ([str], "cannot be described as a JSON schema.*Give a type, such as"),
        (Person(name="Ana"), "cannot be described"),
        (3, "cannot be described"),
        (Iterator[int], r"no type of a whole answer\. Give `list\[…\]`; `thunk\.items\(\)`"),
        (AsyncIterator[int], "no type of a whole answer"),
        (Generator[int, None, None], "no type of a whole answer"),
    ],
)
def test_what_is_no_type_of_an_answer_is_refused(fake: Fake, kind: Any, said: str) -> None:
    m = fake("1")
    with pytest.raises(InvalidArgument, match=f"(?s){said}"):
        m.instruct("x", format=kind)
    assert m.last_prompt() is None


def test_a_type_with_notes_that_cannot_be_hashed_is_one(fake: Fake) -> None:
    assert fake("1").instruct("x", format=Annotated[int, Field(gt=0), {"a": 1}]).parsed == 1
