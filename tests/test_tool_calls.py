"""Tool calls: all at once, each to a message; whatever goes wrong is told to the model and to the user."""

import asyncio
import contextvars
import json
import threading
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any

import pytest
from pydantic import AfterValidator, BaseModel

from mellea_like import engine
from mellea_like.content import Message, ToolCall
from mellea_like.errors import (
    ToolError,
    ToolFailed,
    ToolRefused,
    ToolTimeout,
    UnknownTool,
    UnsupportedEventLoop,
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


@dataclass
class Sum:
    total: int


def add(a: int, b: int) -> int:
    """Add."""
    return a + b


async def aadd(a: int, b: int) -> int:
    """Add."""
    return a + b


def wish(*calls: tuple[str, str]) -> Message:
    wanted = (ToolCall(name=name, arguments=arguments, id=f"id{i}") for i, (name, arguments) in enumerate(calls))
    return Message("assistant", "", tool_calls=tuple(wanted))


async def results(*calls: tuple[str, str], tools: Any, **rest: Any) -> list[ToolResult]:
    thunk = await acall_tools(wish(*calls), tools, await_result=False, **rest)
    return [event async for event in thunk.events() if isinstance(event, ToolResult)]


async def result(name: str, arguments: str, tools: Any, **rest: Any) -> ToolResult:
    return (await results((name, arguments), tools=tools, **rest))[0]


# --- carrying out ----------------------------------------------------------------------------------------------------


def test_messages_come_in_the_order_of_the_calls_with_their_ids() -> None:
    slow, fast = threading.Event(), threading.Event()

    def first() -> str:
        assert slow.wait(PATIENCE)
        return "first"

    def second() -> str:
        slow.set()
        fast.set()
        return "second"

    told = call_tools(wish(("first", "{}"), ("second", "{}")), [first, second])
    assert told == [
        Message("tool", "first", tool_call_id="id0"),
        Message("tool", "second", tool_call_id="id1"),
    ]


async def test_independent_calls_run_at_once_synchronous_and_asynchronous() -> None:
    together = threading.Barrier(2, timeout=PATIENCE)

    def one() -> str:
        together.wait()
        return "one"

    async def two() -> str:
        await asyncio.to_thread(together.wait)
        return "two"

    told = await acall_tools(wish(("one", ""), ("two", "")), [one, two])
    assert [m.content for m in told] == ["one", "two"]


async def test_events_tell_each_result_as_it_comes() -> None:
    last = asyncio.Event()

    async def slow() -> str:
        await last.wait()
        return "slow"

    thunk = await acall_tools(wish(("slow", ""), ("add", '{"a": 1, "b": 1}')), [slow, add], await_result=False)
    seen = []
    async for event in thunk.events():
        if isinstance(event, ToolResult):
            seen.append((event.type, event.name, event.id, event.text, event.ok))
            last.set()
    assert seen == [("tool_result", "add", "id1", "2", True), ("tool_result", "slow", "id0", "slow", True)]
    assert [m.content for m in (await thunk).parsed] == ["slow", "2"]


def boom() -> None:
    raise ZeroDivisionError("by nothing")


async def aboom() -> None:
    raise ZeroDivisionError("by nothing")


def leave() -> None:
    raise SystemExit(3)


def interrupted() -> None:
    raise KeyboardInterrupt


async def aleave() -> None:
    raise SystemExit(3)


def stopped() -> None:
    raise asyncio.CancelledError


async def astopped() -> None:
    raise asyncio.CancelledError


def word() -> None:
    raise ToolError("The library is closed on Mondays.")


def thing() -> object:
    return object()


def circle() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (boom, "Tool 'boom' failed: ZeroDivisionError: by nothing"),
        (aboom, "Tool 'aboom' failed: ZeroDivisionError: by nothing"),
        (leave, "Tool 'leave' failed: SystemExit: 3"),
        (aleave, "Tool 'aleave' failed: SystemExit: 3"),
        (interrupted, "Tool 'interrupted' failed: KeyboardInterrupt"),
        (stopped, "Tool 'stopped' failed: CancelledError"),
        (astopped, "Tool 'astopped' failed: CancelledError"),
        (word, "The library is closed on Mondays."),
        (thing, "Tool 'thing' ran, but its result, of type object, cannot be written as JSON"),
        (circle, "Tool 'circle' ran, but its result, of type list, cannot be written as JSON"),
    ],
)
async def test_a_tool_that_fails_is_told_and_the_others_go_on(function: Any, said: str) -> None:
    told = await results((function.__name__, ""), ("add", '{"a": 1, "b": 2}'), tools=[function, add])
    failed = next(one for one in told if not one.ok)
    assert failed.text.startswith(said)
    assert isinstance(failed.error, ToolError)
    assert failed.error.tool == function.__name__
    assert [one.text for one in told if one.ok] == ["3"]


def test_an_interrupt_in_an_asynchronous_tool_of_synchronous_code_is_told() -> None:
    async def ainterrupted() -> None:
        raise KeyboardInterrupt

    told = call_tools(wish(("ainterrupted", ""), ("add", '{"a": 1, "b": 2}')), [ainterrupted, add])
    assert [one.content for one in told] == ["Tool 'ainterrupted' failed: KeyboardInterrupt", "3"]


async def test_what_a_tool_raised_is_the_cause() -> None:
    told = await result("boom", "", [boom])
    assert isinstance(told.error, ToolFailed)
    assert isinstance(told.error.__cause__, ZeroDivisionError)


async def test_a_tools_own_error_is_passed_on_as_it_is() -> None:
    mine = ToolError("Closed.", tool="library")
    mine.__cause__ = LookupError("no key")

    def closed() -> None:
        raise mine

    told = await result("closed", "", [closed])
    assert told.error is mine
    assert isinstance(mine.__cause__, LookupError)


async def test_a_tool_that_does_not_exist_lists_those_that_do() -> None:
    told = await result("ad", "{}", [add, boom])
    assert told.text == "There is no tool 'ad'. Did you mean 'add'? Valid: 'add', 'boom'."
    assert isinstance(told.error, UnknownTool)
    assert told.error.valid == ("add", "boom")


async def test_a_synchronous_tool_that_hangs_is_given_up_and_its_thread_left_alone() -> None:
    free, left = threading.Event(), threading.Event()

    @tool(timeout=0.05)
    def hang() -> None:
        free.wait(PATIENCE)
        left.set()

    told = await results(("hang", ""), ("add", '{"a": 1, "b": 2}'), tools=[hang, add])
    assert [one.name for one in told] == ["add", "hang"]
    assert isinstance(told[1].error, ToolTimeout)
    assert "did not answer within 0.05 s" in told[1].text
    assert not left.is_set()
    free.set()
    assert left.wait(PATIENCE)


async def test_an_asynchronous_tool_that_hangs_is_cancelled() -> None:
    gone = asyncio.Event()

    @tool(timeout=0.05)
    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            gone.set()

    told = await result("hang", "", [hang])
    assert isinstance(told.error, ToolTimeout)
    await asyncio.wait_for(gone.wait(), PATIENCE)


async def test_a_timeout_that_the_tool_raises_itself_is_a_failure_of_the_tool() -> None:
    @tool(timeout=5)
    def impatient() -> None:
        raise TimeoutError("the far end")

    told = await result("impatient", "", [impatient])
    assert isinstance(told.error, ToolFailed)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is: ä", "as it is: ä"),
        ([1, "ä"], '[1,"ä"]'),
        (None, "null"),
        (Place(city="Oslo"), '{"city":"Oslo","zip":null}'),
        (Sum(total=3), '{"total":3}'),
        (Colour.RED, '"red"'),
    ],
)
def test_results_become_text(value: Any, text: str) -> None:
    assert call_tools(wish(("give", "")), [MelleaTool(lambda: value, name="give")])[0].content == text


# --- where the user's functions run ----------------------------------------------------------------------------------

who = contextvars.ContextVar("who", default="nobody")


async def test_tools_find_the_callers_loop_and_variables_and_never_run_on_the_librarys_loop() -> None:
    who.set("ana")
    seen: list[tuple[Any, ...]] = []

    def threaded() -> None:
        seen.append(("sync", who.get(), threading.current_thread().name))

    async def looped() -> None:
        seen.append(("async", who.get(), asyncio.get_running_loop()))

    await acall_tools(wish(("threaded", ""), ("looped", "")), [threaded, looped])
    assert set(seen) == {("sync", "ana", "mellea-like worker"), ("async", "ana", asyncio.get_running_loop())}


def test_from_synchronous_code_an_asynchronous_tool_has_a_loop_that_is_not_the_librarys() -> None:
    seen = []

    async def looped() -> None:
        seen.append(asyncio.get_running_loop() is not engine.loop())

    call_tools(wish(("looped", "")), [looped])
    assert seen == [True]


async def test_a_synchronous_call_inside_a_running_loop_does_not_wait_for_itself() -> None:
    assert [m.content for m in call_tools(wish(("aadd", '{"a": 1, "b": 2}')), [aadd])] == ["3"]


def test_a_tool_may_carry_out_tools_itself() -> None:
    def outer() -> str:
        return call_tools(wish(("aadd", '{"a": 1, "b": 2}')), [aadd])[0].content

    async def aouter() -> str:
        return (await acall_tools(wish(("add", '{"a": 1, "b": 2}')), [add]))[0].content

    assert [m.content for m in call_tools(wish(("outer", ""), ("aouter", "")), [outer, aouter])] == ["3", "3"]


async def test_an_asynchronous_tool_whose_loop_has_ended_says_so() -> None:
    def elsewhere() -> Any:
        async def start() -> Any:
            return await acall_tools(wish(("waits", "")), [waits], await_result=False)

        return asyncio.run(start())

    async def waits() -> None:
        await asyncio.Event().wait()

    thunk = await asyncio.to_thread(elsewhere)
    with pytest.raises(UnsupportedEventLoop, match="event loop that made the call"):
        await thunk


async def test_cancelling_the_call_cancels_its_tools() -> None:
    begun, gone = asyncio.Event(), asyncio.Event()

    async def hang() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            gone.set()

    calling = asyncio.create_task(acall_tools(wish(("hang", "")), [hang]))
    await asyncio.wait_for(begun.wait(), PATIENCE)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    await asyncio.wait_for(gone.wait(), PATIENCE)


# --- confirmation ----------------------------------------------------------------------------------------------------


@tool(confirm=True)
def erase(path: str) -> str:
    """Erase a file."""
    return f"erased {path}"


async def _agrees(call: ToolCall) -> bool:
    return True


@pytest.mark.parametrize("confirm", [lambda call: True, _agrees])
def test_a_tool_that_is_confirmed_runs(confirm: Any) -> None:
    assert call_tools(wish(("erase", '{"path": "a"}')), [erase], confirm=confirm)[0].content == "erased a"


async def test_a_tool_that_is_refused_does_not_run_and_the_model_is_told() -> None:
    asked = []

    def refuse(call: ToolCall) -> bool:
        asked.append((call.name, call.arguments))
        return False

    told = await result("erase", '{"path": "a"}', [erase], confirm=refuse)
    assert isinstance(told.error, ToolRefused)
    assert told.text.startswith("Tool 'erase' was not run: the user did not allow it.")
    assert asked == [("erase", '{"path": "a"}')]


async def test_nobody_is_asked_about_arguments_that_are_wrong() -> None:
    told = await result("erase", "{}", [erase], confirm=lambda call: pytest.fail("asked"))
    assert isinstance(told.error, WrongToolArguments)


@pytest.mark.parametrize("error", [LookupError("no such thing"), SystemExit("no such thing")])
async def test_nobody_is_asked_where_a_validator_of_the_users_fails(error: BaseException) -> None:
    def check(value: int) -> int:
        raise error

    @tool(confirm=True)
    def go(a: Annotated[int, AfterValidator(check)]) -> None: ...

    told = await result("go", '{"a": 1}', [go], confirm=lambda call: pytest.fail("asked"))
    assert told.text == f"Tool 'go' failed: {type(error).__name__}: no such thing"


@pytest.mark.parametrize("kind", [OSError, SystemExit, KeyboardInterrupt, StopIteration])
async def test_a_question_that_fails_is_a_refusal(kind: type[BaseException]) -> None:
    def broken(call: ToolCall) -> bool:
        raise kind("no terminal")

    told = await result("erase", '{"path": "a"}', [erase], confirm=broken)
    assert isinstance(told.error, ToolRefused)
    assert f"asking failed ({kind.__name__}('no terminal'))" in told.text


async def test_one_question_is_asked_at_a_time() -> None:
    asked: list[str] = []
    another = threading.Event()

    def ask(call: ToolCall) -> bool:
        asked.append(call.arguments)
        if len(asked) > 1:
            another.set()
            return True
        return not another.wait(0.2)  # nobody else asks while this question is open

    paths = [json.dumps({"path": str(i)}) for i in range(4)]
    told = await results(*(("erase", path) for path in paths), tools=[erase], confirm=ask)
    assert all(one.ok for one in told)
    assert sorted(asked) == sorted(paths)
