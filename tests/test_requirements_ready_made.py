"""The ready-made requirements: what passes, what they say, and where they stop an attempt."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from mellea_like import Answer, Gate, InvalidArgument, ToolCallEvent, UnknownName
from mellea_like.ready_made import requires, uses_tool


class Person(BaseModel):
    name: str
    age: int


SCHEMA = {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}}


def judged(requirement, text):
    """Judge a text; return the reason where it does not pass."""
    passed, reason = requirement.validation_fn(text), None
    if isinstance(passed, tuple):
        passed, reason = passed
    return None if passed else reason or requirement.validation_fn.reason


@pytest.mark.parametrize(
    ("requirement", "text"),
    [
        (requires.json(), "[1, 2]"),
        (requires.json(), 'Here:\n```json\n{"a": 1}\n```\nDone.'),
        (requires.json(Person), '{"name": "Ana", "age": 3}'),
        (requires.json(SCHEMA), '{"a": 1}'),
        (requires.length(max=3), "one two three"),
        (requires.length(min=3, max=3), " one two\nthree "),
        (requires.length(max=5, unit="characters"), "  12 45 \n"),
        (requires.length(min=2, max=2, unit="sentences"), "One. Two"),
        (requires.length(max=2, unit="lines"), "a\n\nb\n"),
        (requires.length(min=2, unit="paragraphs"), "a\n\nb"),
        (requires.matches(r"\d{4}"), "in 1984"),
        (requires.matches(re.compile("^ok$", re.IGNORECASE)), "OK"),
        (requires.excludes("bad"), "good"),
        (requires.contains("Paris", "rome"), "paris and ROME"),
        (requires.one_of("yes", "no"), " Yes\n"),
        (requires.one_of("Yes", ignore_case=False), "Yes"),
    ],
)
def test_passes(requirement, text):
    assert judged(requirement, text) is None


@pytest.mark.parametrize(
    ("requirement", "text", "reason"),
    [
        (requires.json(), "[1, 2", "The answer is not JSON: "),
        (requires.json(), "", "The answer is not JSON: "),
        (requires.json(Person), '{"name": "Ana"}', "not a valid Person. age: Field required"),
        (requires.json(SCHEMA), '{"a": "x"}', "does not follow the schema. $.a: 'x' is not of type 'integer'"),
        (requires.json(SCHEMA), "[", "The answer is not JSON: "),
        (requires.length(max=3), "one two three four", "has 4 words; at most 3 are allowed"),
        (requires.length(min=3), "one two", "has 2 words; at least 3 are needed"),
        (requires.length(max=3, unit="characters"), "1 345", "has 5 characters; at most 3"),
        (requires.matches(r"\d{4}"), "in 84", r"Nothing in the answer matches '\\d{4}'"),
        (requires.excludes("b.d"), "so bad", "'bad' must not be in the answer"),
        (requires.contains("Paris", "Rome"), "Paris", "Not in the answer: 'Rome'"),
        (requires.contains("Paris", ignore_case=False), "paris", "Not in the answer: 'Paris'"),
        (requires.one_of("yes", "no"), "yes, sir", "'yes, sir' is none of 'yes', 'no'"),
    ],
)
def test_fails_and_says_why(requirement, text, reason):
    assert reason in judged(requirement, text)


@pytest.mark.parametrize(
    ("requirement", "begun"),
    [
        (requires.json(), "[1]]"),
        (requires.json(Person), '{"name": 3, '),
        (requires.length(max=2), "one two three "),
        (requires.length(max=2, unit="characters"), "123"),
        (requires.length(max=1, unit="sentences"), "One. Two. "),
        (requires.excludes("bad"), "so bad"),
        (requires.excludes(r"\bbad\b"), "so bad "),
        (requires.one_of("yes", "no"), "yes, "),
    ],
)
def test_stops_an_attempt_that_cannot_pass_any_more(fake, requirement, begun):
    never = Gate()
    m = fake([Answer([begun, never, "more"])])
    answer = m.instruct("?", requirements=[requirement], strategy=None)
    assert (answer.value, answer.samples[0].stopped, answer.success) == (begun, True, False)
    assert answer.validations[0].reason


@pytest.mark.parametrize(
    ("requirement", "steps"),
    [
        (requires.json(), ["[1", ", 2]"]),
        (requires.length(max=2), ["one tw", "o "]),
        (requires.length(max=3, unit="characters"), ["12", " ", " ", "\n"]),
        (requires.length(max=4, unit="characters"), ["12 4 ", "\n"]),
        (requires.excludes("bad$"), ["bad", "minton"]),
        (requires.excludes("bad(?!minton)"), ["bad", "minton"]),
        (requires.excludes(r"bad\b"), ["bad", "minton"]),
        (requires.one_of("no", "nothing else"), ["no", "thing ", "else"]),
    ],
)
def test_does_not_stop_an_attempt_that_may_yet_pass(fake, requirement, steps):
    gate = Gate()
    thunk = fake([Answer([steps[0], gate, *steps[1:]])]).instruct("?", requirements=[requirement], await_result=False)
    assert gate.reached(10)
    gate.open()
    assert thunk.result().success


TEXTS = st.text(st.sampled_from('ab. \n1,[]"c'), max_size=40)


@given(text=TEXTS, cuts=st.lists(st.integers(0, 40), max_size=6), most=st.integers(0, 6))
@pytest.mark.parametrize("unit", ["words", "characters", "sentences", "lines", "paragraphs"])
def test_whoever_is_stopped_would_not_have_passed(unit, text, cuts, most):
    pieces = [text[a:b] for a, b in zip([0, *sorted(cuts)], [*sorted(cuts), None], strict=True)]
    wanted = [requires.length(max=most, unit=unit), requires.excludes(r"a\.|b +c"), requires.one_of("ab", "a b"),
              requires.json(list[int])]  # fmt: skip
    for requirement in wanted:
        fed = requirement.growing()
        if any(fed(piece) for piece in pieces if piece):
            assert judged(requirement, text) is not None


def test_they_are_told_as_sentences(fake):
    m = fake("x")
    rules = [
        requires.length(min=2, max=5),
        requires.length(max=1, min=1, unit="lines"),
        requires.contains("a"),
        requires.one_of("a", "b"),
        requires.json(),
        requires.excludes("secret"),
        requires.matches("x", description="Say x."),
    ]
    m.instruct("Go.", requirements=rules, strategy=None)
    told = m.backend.calls[0].messages[0].content
    assert told.splitlines()[3:] == [
        "- Use 2 to 5 words.",
        "- Use exactly 1 line.",
        "- Include 'a'.",
        "- Answer with one of these and nothing else: 'a', 'b'.",
        "- Answer with JSON alone.",
        "- Say x.",
    ]


@pytest.mark.parametrize("tool", ["weather", lambda: None])
def test_uses_tool(fake, tool):
    name = tool if isinstance(tool, str) else tool.__name__
    call = ToolCallEvent(name=name, arguments="{}", complete=True)
    thunk = fake(["It rains.", [call]]).instruct("?", requirements=[uses_tool(tool)])
    assert thunk.success
    assert thunk.samples[0].validations[0].reason == f"The answer must call the tool {name!r}; it calls no tool."


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (lambda: requires.length(), InvalidArgument, "min=None and max=None words are no limits"),
        (lambda: requires.length(min=3, max=2), InvalidArgument, "no limits that an answer can keep"),
        (lambda: requires.length(max=2, unit="word"), UnknownName, "Did you mean 'words'"),
        (lambda: requires.matches("("), InvalidArgument, "is no regular expression"),
        (lambda: requires.json({"type": "no such"}), InvalidArgument, "not a JSON schema"),
        (lambda: requires.one_of(), InvalidArgument, "needs choices"),
        (lambda: requires.contains(""), InvalidArgument, "not empty"),
    ],
)
def test_a_wrong_argument_is_told_at_once(wrong, error, message):
    with pytest.raises(error, match=message):
        wrong()
