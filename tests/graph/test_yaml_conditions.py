"""Conditions in graph files: what they say of a state, what they refuse, and that they can do nothing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mellea_like import InvalidArgument
from mellea_like.graph.yaml_conditions import read_condition

STATE: dict[str, Any] = {
    "score": 0.5,
    "name": "Ana",
    "done": False,
    "tags": ["a", "b"],
    "critique": SimpleNamespace(score=0.9, notes={"first": "ok"}),
    "nothing": None,
}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("score < 0.8", True),
        ("score >= 0.8", False),
        ("0.2 < score <= 0.5", True),
        ("0.2 < score <= 0.3", False),
        ("score == 0.5 and name == 'Ana'", True),
        ('name == "Bo" or critique.score > 0.8', True),
        ("not done", True),
        ("done", False),
        ("done == false and nothing == null", True),
        ("nothing is None", True),
        ("nothing is not None", False),
        ("'a' in tags", True),
        ("'c' not in tags", True),
        ("name in ['Ana', 'Bo']", True),
        ("tags[0] == 'a'", True),
        ("critique.notes.first == 'ok'", True),
        ("critique['notes']['first'] == 'ok'", True),
        ("score > -1", True),
        ("(score < 1) and (done or not done)", True),
        ("missing == null", True),
        ("missing < 3", False),
        ("missing.deep >= 3", False),
        ("'a' in missing", False),
        ("'a' not in missing", True),
        ("score != 0.5", False),
        ("true", True),
    ],
)
def test_a_condition_says_whether_it_holds(text: str, holds: bool) -> None:
    assert read_condition(text).holds(STATE) is holds


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os')",
        "name.upper()",
        "[x for x in tags]",
        "lambda: 1",
        "score + 1 > 2",
        "f'{name}'",
        "score := 3",
        "score = 3",
        "a b",
        "",
        "score <",
        "name && done",
        "(" * 400,
        "x" * 2000,
        "b'bytes' == name",
        "tags[score]",
        "1 if done else 2",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        read_condition(text)


@pytest.mark.parametrize("text", ["name.__class__ == null", "critique.__dict__ == null", "name._x == null"])
def test_pythons_own_names_are_out_of_reach(text: str) -> None:
    assert read_condition(text).holds(STATE)


def test_values_that_cannot_be_compared_are_an_error_that_shows_them() -> None:
    with pytest.raises(InvalidArgument, match="asks for 'Ana' < 3"):
        read_condition("name < 3").holds(STATE)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a.b < 1 and not c", {"a", "c"}),
        ("'x' in tags", {"tags"}),
        ("true or null == 3", set()),
        ("a[0].b == c", {"a", "c"}),
    ],
)
def test_the_keys_that_a_condition_looks_at_are_known(text: str, names: set[str]) -> None:
    assert read_condition(text).names == names


@pytest.mark.parametrize(
    ("one", "other", "covers"),
    [
        ("x < 0.8", "x >= 0.8", True),
        ("x < 0.8", "x > 0.8", False),
        ("x < 0.8", "x >= 0.9", False),
        ("x == 'a'", "x != 'a'", True),
        ("x == 'a'", "x == 'b'", False),
        ("done", "not done", True),
        ("done == true", "done == false", True),
        ("not (x < 1)", "x < 1", True),
        ("x < 1", "y >= 1", False),
        ("x < 1 and y", "x >= 1", False),
    ],
)
def test_opposite_conditions_are_known_as_such(one: str, other: str, covers: bool) -> None:
    assert read_condition(one).covers([read_condition(other)]) is covers


_numbers = st.integers(-3, 3)


@given(_numbers, _numbers, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), st.sampled_from(["and", "or"]))
def test_conditions_mean_what_python_means(a: int, b: int, sign: str, word: str) -> None:
    text = f"a {sign} b {word} not (b {sign} {a})"
    assert read_condition(text).holds({"a": a, "b": b}) is bool(eval(text, {"a": a, "b": b}))
