"""What verbs and strategies are given: nothing, one thing or any iterable; and what they refuse in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mellea_like import (
    BestofNSamplingStrategy,
    BudgetForcingSamplingStrategy,
    ChatContext,
    EscalationStrategy,
    FakeBackend,
    ImageBlock,
    Instruction,
    InvalidArgument,
    MajorityVotingStrategy,
    MajorityVotingStrategyForMath,
    MelleaSession,
    Message,
    ModelOption,
    MultiTurnStrategy,
    RejectionSamplingStrategy,
    RepairTemplateStrategy,
    ToolCall,
    UnknownName,
    call_tools,
    check,
    generative,
    mfuncs,
    req,
    simple_validate,
    start_backend,
    start_session,
)

Fake = Callable[..., MelleaSession]

WISH = "The answer is short."
BLOCK = ImageBlock(url="https://example.org/cat.png")


def is_short(text: str) -> bool:
    return len(text) < 5


def each(*things: Any) -> Iterator[Any]:
    yield from things


ONE = [WISH, req(WISH), is_short, simple_validate(is_short)]
WAYS = [lambda one: one, lambda one: [one], lambda one: (one,), lambda one: {one}, each]


def prompts(m: MelleaSession) -> list[str]:
    assert isinstance(m.backend, FakeBackend)
    return [request.messages[-1].content for request in m.backend.calls]


# --- requirements -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS, ids=["alone", "list", "tuple", "set", "iterator"])
@pytest.mark.parametrize("one", ONE, ids=["sentence", "requirement", "function", "validation"])
@pytest.mark.parametrize("verb", ["instruct", "act", "chat", "query", "validate", "mfuncs.instruct"])
def test_a_requirement_may_be_given_in_any_way(fake: Fake, verb: str, one: Any, way: Callable[[Any], Any]) -> None:
    m = fake("yes")
    if verb == "mfuncs.instruct":
        verdicts = mfuncs.instruct("Go.", m.ctx, m.backend, requirements=way(one))[0].validations
    elif verb == "validate":
        verdicts = m.validate(way(one), output="yes")
    elif verb == "query":
        verdicts = m.query([1], "Which?", requirements=way(one)).validations
    elif verb == "chat":
        verdicts = m.chat("Go.", requirements=way(one), await_result=False).result().validations
    else:
        verdicts = getattr(m, verb)("Go.", requirements=way(one)).validations
    assert [verdict.result for verdict in verdicts] == [True]


def test_one_sentence_is_one_requirement_that_the_model_is_told(fake: Fake) -> None:
    m = fake("yes")
    m.instruct("Go.", requirements=WISH)
    assert prompts(m)[0].endswith(f"- {WISH}")
    assert len(prompts(m)) == 2


@pytest.mark.parametrize(
    "strategy",
    [
        RejectionSamplingStrategy,
        RepairTemplateStrategy,
        MultiTurnStrategy,
        BestofNSamplingStrategy,
        MajorityVotingStrategy,
        MajorityVotingStrategyForMath,
        BudgetForcingSamplingStrategy,
        lambda **rest: EscalationStrategy(solvers=[FakeBackend("a"), FakeBackend("b")], **rest),
    ],
)
def test_a_strategy_takes_them_in_any_way_too(strategy: Callable[..., Any]) -> None:
    for one in (WISH, [WISH], each(WISH), None, ()):
        told = [requirement.description for requirement in strategy(requirements=one).requirements]
        assert told == ([WISH] if one else [])


def test_a_generative_function_keeps_its_requirements_for_every_call(fake: Fake) -> None:
    @generative(requirements=each(is_short), preconditions=each(lambda told: "secret" not in told))
    def title(text: str) -> str:
        """Find a title."""

    m = fake(["much too long", "On", "much too long", "In"])
    assert [title(m, "x"), title(m, "x")] == ["On", "In"]
    for _ in range(2):
        with pytest.raises(ValueError, match="was not carried out"):
            title(m, "a secret")


@pytest.mark.parametrize("verb", ["instruct", "act", "chat"])
def test_none_is_none_of_them(fake: Fake, verb: str) -> None:
    m = fake("yes")
    images = {} if verb == "act" else {"images": None}
    getattr(m, verb)("Go.", requirements=None, **images)
    assert prompts(m) == ["Go."]
    assert m.validate(None, output="yes") == []


@pytest.mark.parametrize("make", [req, check])
@pytest.mark.parametrize("description", [is_short, simple_validate(is_short), 3, ["a", "b"]])
def test_a_description_that_is_no_sentence_is_refused(make: Callable[..., Any], description: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"A function goes second: `req\('…', function\)`"):
        make(description)


# --- examples, images, tools ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS, ids=["alone", "list", "tuple", "set", "iterator"])
def test_examples_and_images_may_be_given_in_any_way(fake: Fake, way: Callable[[Any], Any]) -> None:
    m = fake(["no", "yes", "yes", "yes"])
    m.instruct("Go.", icl_examples=way("as so"), images=way(BLOCK), requirements=[lambda text: text == "yes"])
    m.chat("Go.", images=way(BLOCK))
    m.act(Message("user", "Go.", images=way(BLOCK)))
    assert isinstance(m.backend, FakeBackend)
    sent = [request.messages[-1] for request in m.backend.calls]
    assert [message.images for message in sent] == [(BLOCK,)] * 4
    assert ["1. as so" in message.content and "2." not in message.content for message in sent[:2]] == [True, True]


def test_an_example_may_be_a_thunk(fake: Fake) -> None:
    m = fake(["an earlier answer", "yes"])
    m.instruct("Go.", icl_examples=m.instruct("First."))
    assert prompts(m)[1].endswith("1. an earlier answer")


def test_an_address_alone_is_an_image(fake: Fake) -> None:
    m = fake("a cat")
    m.chat("Look.", images=BLOCK.url)
    assert isinstance(m.backend, FakeBackend)
    assert m.backend.calls[0].messages[0].images == (BLOCK,)


def add(a: int, b: int) -> int:
    """Add."""
    return a + b


@pytest.mark.parametrize("way", WAYS, ids=["alone", "list", "tuple", "set", "iterator"])
def test_a_tool_may_be_given_in_any_way(fake: Fake, way: Callable[[Any], Any]) -> None:
    m = fake("3")
    m.instruct("Go.", model_options={ModelOption.TOOLS: way(add)})
    m.react("Go.", tools=way(add), native=True)
    assert isinstance(m.backend, FakeBackend)
    assert [[tool["function"]["name"] for tool in request.tools] for request in m.backend.calls] == [["add"]] * 2
    wish = Message("assistant", "", tool_calls=[ToolCall(name="add", arguments='{"a": 1, "b": 2}')])
    assert [message.content for message in call_tools(wish, way(add))] == ["3"]


def test_a_described_tool_may_stand_alone_or_among_others(fake: Fake) -> None:
    described = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    m = fake("3")
    for tools in (described, each(described, add)):
        m.instruct("Go.", model_options={"tools": tools})
    assert isinstance(m.backend, FakeBackend)
    names = [[tool["function"]["name"] for tool in request.tools] for request in m.backend.calls]
    assert names == [["look"], ["look", "add"]]
    with pytest.raises(InvalidArgument, match="not dict"):
        m.instruct("Go.", model_options={"tools": {"add": add}})


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["act", "chat", "query", "transform"])
def test_a_keyword_that_a_verb_does_not_take_is_named_with_those_it_takes(fake: Fake, verb: str) -> None:
    m = fake("yes")
    said = ("x", "y") if verb in {"query", "transform"} else ("x",)
    ask: Callable[..., Any]
    for ask in (getattr(m, verb), lambda *a, **k: getattr(mfuncs, verb)(*a, m.ctx, m.backend, **k)):
        with pytest.raises(UnknownName, match=rf"of {verb}\(\) called 'formt'\. Did you mean 'format'\?.*'strategy'"):
            ask(*said, formt=int)
        with pytest.raises(UnknownName, match=r"go in a dict: `model_options=\{'temperature': …\}`"):
            ask(*said, temperature=1)
    assert prompts(m) == []


def test_a_keyword_that_a_generative_function_does_not_take_is_told_with_its_settings(fake: Fake) -> None:
    @generative
    def title(text: str) -> str:
        """Find a title."""

    with pytest.raises(InvalidArgument, match=r"'temperature'.*a call takes model_options, preconditions, requirem"):
        title(fake("x"), "a", temperature=1)  # type: ignore[call-arg]


@pytest.mark.parametrize("number", ["3", True, 1.5, 0, -1])
def test_a_number_that_is_not_whole_is_refused_by_name(fake: Fake, number: Any) -> None:
    with pytest.raises(InvalidArgument, match=f"window_size is {number!r}; it must be a whole number from 1, or None"):
        ChatContext(window_size=number)
    with pytest.raises(InvalidArgument, match=f"loop_budget is {number!r}; it must be a whole number from 1"):
        fake("x").react("Go.", tools=[], loop_budget=number)
    with pytest.raises(InvalidArgument, match=f"concurrency_budget is {number!r}; it must be a whole number from 1"):
        RejectionSamplingStrategy(concurrency_budget=number)


@pytest.mark.parametrize("ctx", [ChatContext, [Message("user", "x")], "chat"])
def test_what_is_no_context_is_refused_where_it_is_given(ctx: Any) -> None:
    for start in (start_session, start_backend):
        with pytest.raises(InvalidArgument, match=r"must be a context, such as `ChatContext\(\)`"):
            start("fake", ctx=ctx)


@pytest.mark.parametrize("content", [None, 7, b"x", ["x"], Message("user", "x"), Instruction(description="x")])
def test_a_turn_whose_content_is_no_text_is_refused(fake: Fake, content: Any) -> None:
    m = fake("yes")
    with pytest.raises(InvalidArgument, match=r"content is text, not .*`m\.act\(…\)`"):
        m.chat(content)
    with pytest.raises(InvalidArgument, match="ModelOutputThunk"):
        m.chat(m.act("x"))  # type: ignore[call-overload]
    with pytest.raises(InvalidArgument, match="content is text"):
        Message("assistant", content)


@pytest.mark.parametrize("option", [float("inf"), float("nan"), -1, True, "1"])
def test_a_temperature_is_a_finite_number(option: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"'temperature' is .* must be a finite number from 0"):
        start_session("fake", model_options={"temperature": option})


@pytest.mark.parametrize("options", [["temperature"], "temperature", 3])
def test_options_that_are_no_dict_are_refused(fake: Fake, options: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"model_options is .* must be a dict"):
        fake("x").instruct("x", model_options=options)
