"""Generative functions: signature, types and docstring become a model call, and what comes back is what they say."""

import asyncio
import enum
import typing
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from mellea_like import (
    FakeBackend,
    Gate,
    GenerativeFunction,
    InvalidArgument,
    MelleaSession,
    OutputParseError,
    PreconditionFailed,
    RejectionSamplingStrategy,
    UnknownName,
    generative,
)

Fake = Callable[..., MelleaSession]


@dataclass
class Idea:
    title: str
    stars: int = 0


class Mood(enum.Enum):
    GOOD = "good"
    BAD = "bad"


@generative
def classify(text: str, *, strict: bool = False) -> Literal["good", "bad"]:
    """Say how the author of the text feels."""


@generative
async def mood(text: str) -> Mood:
    """Say how the author of the text feels."""


@generative
def ideas(topic: str) -> Iterator[Idea]:
    """Have ideas."""


@generative
def aideas(topic: str) -> AsyncIterator[Idea]:
    """Have ideas."""


@generative
async def awaited_ideas(topic: str) -> AsyncIterator[Idea]:
    """Have ideas."""


@generative
def title(text: str) -> str:
    """Find a title."""


LIST = ['[{"title": "a", "stars": 1}', ', {"title": "b"}', "]"]


def test_the_model_is_told_signature_purpose_and_arguments(fake: Fake) -> None:
    m = fake('"good"')
    assert classify(m, "What a day!") == "good"
    assert isinstance(m.backend, FakeBackend)
    (request,) = m.backend.calls
    told = request.messages[0].content
    assert "def classify(text: str, *, strict: bool = False) -> Literal['good', 'bad']" in told
    assert "Say how the author of the text feels." in told
    assert "- text: What a day!" in told
    assert "- strict: False" in told
    assert request.schema == {"enum": ["good", "bad"], "type": "string"}


async def test_an_async_function_is_awaited(fake: Fake) -> None:
    assert await mood(fake('"bad"'), text="Oh no.") is Mood.BAD


async def test_a_synchronous_function_works_inside_a_running_loop(fake: Fake) -> None:
    assert classify(fake('"bad"'), "Oh no.") == "bad"


def test_text_is_asked_for_without_a_schema(fake: Fake) -> None:
    m = fake("On Rivers")
    assert title(m, "…") == "On Rivers"
    assert isinstance(m.backend, FakeBackend)
    assert m.backend.calls[0].schema is None


def test_items_come_as_they_are_complete(fake: Fake) -> None:
    gate = Gate()
    reader = ideas(fake([[LIST[0], gate, *LIST[1:]]]), "x")
    assert next(reader) == Idea("a", 1)
    assert gate.reached(10)
    gate.open()
    assert list(reader) == [Idea("b")]


async def test_items_come_asynchronously(fake: Fake) -> None:
    gate = Gate()
    m = fake([[LIST[0], gate, *LIST[1:]], LIST])
    reader = aideas(m, "x")
    assert await anext(reader) == Idea("a", 1)
    gate.open()
    assert [idea async for idea in reader] == [Idea("b")]
    assert [idea.title async for idea in await awaited_ideas(m, "x")] == ["a", "b"]


def test_a_thunk_may_be_an_argument(fake: Fake) -> None:
    m = fake(["a river", "On Rivers"])
    subject = m.instruct("Name something.", await_result=False)
    assert title(m, subject) == "On Rivers"
    assert isinstance(m.backend, FakeBackend)
    assert "- text: a river" in m.backend.calls[1].messages[0].content


def test_a_started_call_streams_its_partial_value(fake: Fake) -> None:
    thunk = ideas.start(fake([LIST]), "x")
    assert [len(partial) for partial in thunk.partials()][-1] == 2
    assert thunk.result().parsed == [Idea("a", 1), Idea("b")]


def test_requirements_and_settings_of_its_own(fake: Fake) -> None:
    @generative(requirements=[str.istitle], model_options={"temperature": 0.0})
    def heading(text: str) -> str:
        """Find a heading."""

    m = fake(["no", "Yes", "no"])
    assert heading(m, "…") == "Yes"
    assert isinstance(m.backend, FakeBackend)
    assert m.backend.calls[0].options == {"temperature": 0.0}
    assert heading.using(requirements=())(m, "…") == "no"


def test_a_call_may_bring_requirements_and_settings(fake: Fake) -> None:
    @generative(requirements=[str.istitle], model_options={"temperature": 0.0, "seed": 1})
    def heading(text: str) -> str:
        """Find a heading."""

    m = fake(["yes", "YES", "Yes", "Yes", "yes"])
    strategy = RejectionSamplingStrategy(loop_budget=3)
    short = {"requirements": lambda text: len(text) < 5, "strategy": strategy, "model_options": {"seed": 2}}
    assert heading(m, text="…", **short) == "Yes"  # type: ignore[arg-type]
    assert isinstance(m.backend, FakeBackend)
    assert m.backend.calls[0].options == {"temperature": 0.0, "seed": 2}
    thunk = heading.start(m, "…", requirements="The heading is short.")  # type: ignore[call-arg]
    assert [verdict.requirement for verdict in thunk.result().validations] == ["istitle", "The heading is short."]
    with pytest.raises(PreconditionFailed):
        heading(m, "…", preconditions=[lambda told: False])  # type: ignore[call-arg]


def test_a_parameter_of_its_own_is_no_setting(fake: Fake) -> None:
    @generative
    def plan(requirements: str) -> str:
        """Make a plan."""

    @generative
    def sketch(**wishes: str) -> str:
        """Make a sketch."""

    m = fake("done")
    assert (plan(m, requirements="short"), sketch(m, strategy="bold")) == ("done", "done")
    assert isinstance(m.backend, FakeBackend)
    told = [call.messages[0].content for call in m.backend.calls]
    assert "- requirements: short" in told[0]
    assert "'strategy': 'bold'" in told[1]


class Reader:
    """Has generative methods."""

    @generative
    def title(self, text: str, *, words: int = 3) -> str:
        """Find a title."""

    @generative
    async def atitle(self, text: str) -> Mood:
        """Find a mood."""

    @generative
    @staticmethod
    def lead(text: str) -> str:
        """Find a lead."""


async def test_a_method_is_called_with_a_session_first_too(fake: Fake) -> None:
    m = fake(["On Rivers", '"good"', "Rivers.", "Rivers."])
    reader = Reader()
    assert reader.title(m, "…", words=2) == "On Rivers"
    assert await reader.atitle(m, "…") is Mood.GOOD
    assert reader.lead(m, "…") == Reader.lead(m, "…") == "Rivers."
    assert isinstance(m.backend, FakeBackend)
    told = m.backend.calls[0].messages[0].content
    assert "def title(text: str, *, words: int = 3) -> str" in told
    assert "self" not in told
    assert isinstance(Reader.title, GenerativeFunction)


def test_preconditions_are_judged_before_the_model_is_asked(fake: Fake) -> None:
    m = fake('"good"')
    careful = classify.using(preconditions=[lambda told: "secret" not in told])
    with pytest.raises(PreconditionFailed, match=r"classify\(\) was not carried out") as caught:
        careful(m, "a secret")
    assert [verdict.result for verdict in caught.value.validations] == [False]
    assert isinstance(m.backend, FakeBackend)
    assert m.backend.calls == []
    assert careful(m, "no news") == "good"


def test_a_setting_that_does_not_exist_is_named() -> None:
    with pytest.raises(UnknownName, match=r"'requirement'.*'requirements'"):
        classify.using(requirement=["x"])


def test_streams_of_items_have_no_preconditions(fake: Fake) -> None:
    with pytest.raises(InvalidArgument, match="ideas"):
        ideas.using(preconditions=[bool])(fake("[]"), "x")


@pytest.mark.parametrize(
    ("call", "wrong"),
    [
        (lambda m: classify("What a day!"), r"classify\(m, …\)"),
        (lambda m: classify(m), "missing a required argument: 'text'"),
        (lambda m: classify(m, "a", mood="b"), "mood"),
        (lambda m: classify(m, "a", True), "too many positional"),
    ],
)
def test_wrong_arguments_name_the_function(call: Callable[[Any], Any], wrong: str, fake: Fake) -> None:
    with pytest.raises(InvalidArgument, match=wrong) as caught:
        call(fake('"good"'))
    assert "classify" in str(caught.value)


def test_an_answer_of_another_type_names_the_function(fake: Fake) -> None:
    with pytest.raises(OutputParseError) as caught:
        classify(fake('"neither"'), "x")
    assert caught.value.__notes__ == ["In the generative function classify()."]


def test_a_function_that_does_not_say_what_it_returns_is_refused(fake: Fake) -> None:
    @generative
    def unclear(text: str):  # type: ignore[no-untyped-def]
        """Do something."""

    with pytest.raises(InvalidArgument, match=r"unclear.*Annotate"):
        unclear(fake("x"), "x")
    for kind in (Iterator, typing.Iterator, AsyncIterator):

        def items(text: str) -> kind:  # type: ignore[valid-type]
            """Do something."""

        with pytest.raises(InvalidArgument, match=r"items\(\) does not say which items .* -> Iterator\[str\]"):
            generative(items)(fake("[]"), "x")
    with pytest.raises(InvalidArgument, match="decorates a function"):
        generative(3)  # type: ignore[call-overload]


def test_it_looks_like_the_function_that_it_was(fake: Fake) -> None:
    assert isinstance(classify, GenerativeFunction)
    assert (classify.__name__, classify.__doc__) == ("classify", "Say how the author of the text feels.")
    assert repr(classify).startswith("<generative function classify(text: str")


async def test_a_cancelled_call_stops_its_model(talker: Any) -> None:
    task = asyncio.create_task(mood(talker.session, "x"))
    assert await asyncio.to_thread(talker.flowing.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(talker.is_stopped)


@pytest.mark.model
def test_on_the_embedded_model() -> None:
    from mellea_like import start_session

    with start_session("llamacpp") as m:
        assert classify(m, "I love this sunny day!") in {"good", "bad"}
