"""Tools: what a model is told of a function, how its arguments are checked, and how calls are carried out."""

import functools
import json
import threading
import warnings
from enum import Enum
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AfterValidator, BaseModel, Field

from mellea_like.content import Message, ToolCall
from mellea_like.errors import (
    InvalidArgument,
    WrongToolArguments,
)
from mellea_like.events import ToolResult
from mellea_like.tools import MelleaTool, tool
from mellea_like.tools.workbench import acall_tools, call_tools

PATIENCE = 10.0


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Place(BaseModel):
    city: str
    zip: int | None = None


def google(a: int, b: str = "x") -> str:
    """Do a thing.

    In two parts.

    Args:
        a: the first
        b: the second, which
            goes on
    """
    return f"{a}{b}"


def numpy(a: int, b: str = "x") -> str:
    """Do a thing.

    In two parts.

    Parameters
    ----------
    a : int
        the first
    b : str
        the second, which
        goes on
    """
    return f"{a}{b}"


def rest(a: int, b: str = "x") -> str:
    """Do a thing.

    In two parts.

    :param a: the first
    :param b: the second, which
        goes on
    """
    return f"{a}{b}"


def add(a: int, b: int) -> int:
    """Add."""
    return a + b


async def aadd(a: int, b: int) -> int:
    """Add."""
    return a + b


def wish(*calls: tuple[str, str]) -> Message:
    wanted = (ToolCall(name=name, arguments=arguments, id=f"id{i}") for i, (name, arguments) in enumerate(calls))
    return Message("assistant", "", tool_calls=tuple(wanted))


async def result(name: str, arguments: str, tools: Any) -> ToolResult:
    thunk = await acall_tools(wish((name, arguments)), tools, await_result=False)
    return next(event for event in [e async for e in thunk.events()] if isinstance(event, ToolResult))


# --- what a model is told --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [google, numpy, rest])
def test_docstrings_of_every_style_describe_the_tool_and_its_arguments(function: Any) -> None:
    described = MelleaTool.from_callable(function)
    assert described.description == "Do a thing.\n\nIn two parts."
    assert described.parameters["properties"] == {
        "a": {"type": "integer", "description": "the first"},
        "b": {"type": "string", "default": "x", "description": "the second, which goes on"},
    }


def test_a_json_tool_has_name_description_and_schema() -> None:
    assert MelleaTool.from_callable(add, name="plus").as_json_tool == {
        "type": "function",
        "function": {
            "name": "plus",
            "description": "Add.",
            "parameters": {
                "type": "object",
                "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
                "required": ["a", "b"],
                "additionalProperties": False,
            },
        },
    }


def test_the_users_own_field_is_said_last() -> None:
    def look(
        a: Annotated[int, Field(ge=0, description="mine")], b: int = Field(default=3, description="of the default")
    ) -> int:
        """Look.

        Args:
            a: the docstring's
            b: the docstring's
        """
        return a + b

    found = MelleaTool(look).parameters["properties"]
    assert found["a"] == {"type": "integer", "minimum": 0, "description": "mine"}
    assert (found["b"]["default"], found["b"]["description"]) == (3, "of the default")
    assert call_tools(wish(("look", '{"a": 1}')), [look])[0].content == "4"


def test_keyword_only_positional_only_and_any_other_keyword_are_taken() -> None:
    def mix(a: int, /, b: int, *, c: int = 3, **more: int) -> list[int]:
        return [a, b, c, *more.values()]

    assert call_tools(wish(("mix", '{"a": 1, "b": 2, "z": 9}')), [mix])[0].content == "[1,2,3,9]"


def test_a_method_and_a_decorated_method_are_tools_of_their_object() -> None:
    class Counter:
        def __init__(self) -> None:
            self.n = 0

        def up(self, by: int) -> int:
            self.n += by
            return self.n

        @tool(name="down_by", timeout=3)
        def down(self, by: int) -> int:
            self.n -= by
            return self.n

    counter = Counter()
    assert [m.content for m in call_tools(wish(("up", '{"by": 5}')), [counter.up])] == ["5"]
    assert [m.content for m in call_tools(wish(("down_by", '{"by": 2}')), [counter.down])] == ["3"]
    assert (counter.down.timeout, list(counter.down.parameters["properties"])) == (3, ["by"])


def test_what_a_partial_fills_is_not_shown_to_the_model() -> None:
    def ask(question: str, key: str) -> str:
        return f"{question} {key}"

    secret = functools.partial(ask, key="secret")
    assert "key" not in MelleaTool(secret).parameters["properties"]
    assert call_tools(wish(("ask", '{"question": "who"}')), [secret])[0].content == "who secret"
    assert "no such argument" in call_tools(wish(("ask", '{"question": "who", "key": "mine"}')), [secret])[0].content


def test_an_object_that_can_be_called_is_a_tool() -> None:
    class Adder:
        """Add one."""

        async def __call__(self, a: int) -> int:
            return a + 1

    assert MelleaTool(Adder()).description == "Add one."
    assert call_tools(wish(("Adder", '{"a": 1}')), [Adder()])[0].content == "2"


def test_a_default_that_is_not_json_is_left_out_without_a_warning() -> None:
    def pick(a: Any = object()) -> str:
        return "picked"

    with warnings.catch_warnings(record=True) as seen:
        assert "default" not in MelleaTool(pick).parameters["properties"]["a"]
    assert seen == []


def test_a_tool_is_called_like_its_function() -> None:
    plus = tool(add)
    assert (plus(1, b=2), plus.run(a=1, b=2), plus.__doc__, repr(plus)) == (3, 3, "Add.", "MelleaTool('add')")


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: tool(lambda *several: 1), "'<lambda>' cannot be a tool's name"),
        (lambda: MelleaTool(lambda *several: 1, name="sum_up"), r"'sum_up' takes \*several.*`several: list"),
        (lambda: MelleaTool(max), "'max' does not say what it takes: no signature.*give its `parameters`"),
        (lambda: MelleaTool(add, timeout=0), "timeout is 0"),
        (lambda: MelleaTool(add, name="no blanks"), "'no blanks' cannot be a tool's name"),
        (lambda: call_tools(wish(), [add, MelleaTool(google, name="add")]), "Two tools are called 'add'.*Rename one"),
        (lambda: call_tools(wish(), [3]), "A tool is a function or a MelleaTool, not int"),
        (lambda: call_tools(wish(), [MelleaTool(add, confirm=True)]), "'add' runs only after it was confirmed"),
    ],
)
def test_what_cannot_be_a_tool_says_why(made: Any, said: str) -> None:
    with pytest.raises(InvalidArgument, match=f"(?s){said}"):
        made()


def test_a_type_that_no_schema_describes_is_named() -> None:
    def lock(with_: threading.Event) -> None: ...

    with pytest.raises(InvalidArgument, match=r"An argument of tool 'lock' cannot be described.*Event"):
        _ = MelleaTool(lock).parameters


def test_an_annotation_that_cannot_be_found_is_named() -> None:
    def lost(a: "Nowhere") -> None: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(InvalidArgument, match=r"An annotation of tool 'lost' cannot be resolved.*Nowhere"):
        MelleaTool(lost)


# --- arguments -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ('{"a": 1}', "b: is missing"),
        ('{"a": "one", "b": 2}', "a: Input should be a valid integer.*not 'one'"),
        ('{"a": 1, "b": 2, "c": 3}', "c: there is no such argument"),
        ('{"a": 1,', "they are not JSON"),
        ("[1, 2]", "not a JSON object"),
        ("", "a: is missing; b: is missing"),
    ],
)
@pytest.mark.parametrize("function", [add, aadd])
async def test_wrong_arguments_say_which_what_and_the_schema(function: Any, arguments: str, said: str) -> None:
    told = await result(function.__name__, arguments, [function])
    assert not told.ok
    assert isinstance(told.error, WrongToolArguments)
    assert told.error.tool == function.__name__
    with pytest.raises(WrongToolArguments, match=rf"{said}.*It takes .*\"required\": \[\"a\", \"b\"\]"):
        raise told.error
    assert told.text == str(told.error)


async def test_arguments_become_the_types_of_the_signature() -> None:
    taken: list[Any] = []

    def go(place: Place, colour: Colour, tags: set[str]) -> None:
        taken.extend([place, colour, tags])

    said = {"place": {"city": "Oslo"}, "colour": "blue", "tags": ["a", "a"]}
    assert (await result("go", json.dumps(said), [go])).text == "null"
    assert taken == [Place(city="Oslo"), Colour.BLUE, {"a"}]


async def test_a_validator_of_the_users_that_raises_anything_is_told_and_runs_off_the_librarys_loop() -> None:
    threads: list[str] = []

    def check(value: int) -> int:
        threads.append(threading.current_thread().name)
        raise LookupError("no such thing")

    def go(a: Annotated[int, AfterValidator(check)]) -> None: ...

    told = await result("go", '{"a": 1}', [go])
    assert told.text == "Tool 'go' failed: LookupError: no such thing"
    assert threads == ["mellea-like worker"]


@given(st.dictionaries(st.text(max_size=6), st.none() | st.integers() | st.text(max_size=6), max_size=5))
def test_whatever_the_arguments_the_tool_runs_with_valid_ones_or_not_at_all(arguments: dict[str, Any]) -> None:
    ran: list[Any] = []

    def note(a: int, b: str = "") -> str:
        ran.append((a, b))
        return "ok"

    said = call_tools(wish(("note", json.dumps(arguments))), [note])[0].content
    assert bool(ran) == (said == "ok")
    assert all(type(a) is int and type(b) is str for a, b in ran)
