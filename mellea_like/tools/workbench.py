"""How what a model asked for is carried out: its tool calls, all at once, each to a text that the model is told.

Arguments are checked before the call. The user's functions run where the caller is, never on the library's loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, Literal, overload

from ..content import Message, ToolCall
from ..errors import FunctionFailed, InvalidArgument, ToolError, ToolRefused, ToolTimeout, UnknownTool, unknown_name
from ..events import Finished, Said, ToolResult
from ..home import Home
from ..thunk import ModelOutputThunk
from ..waiting import blocking
from . import Confirm, Tools, tools_by_name


class Workbench:
    """Tools at hand for one caller: carries out what a model asks for.

    Made where the call is made; `carry_out` runs on the library's loop.

    Args:
        tools: The tools, or plain functions; one or several.
        confirm: Who is asked before a tool marked so runs.
        home: Where the tools are called; None for here.

    Raises:
        InvalidArgument: two tools have one name, or one has to be confirmed and nobody can be asked.
    """

    def __init__(
        self,
        tools: Tools,
        *,
        confirm: Confirm | None = None,
        home: Home | None = None,
    ) -> None:
        self.tools = tools_by_name(tools)
        self._confirm = confirm
        self._home = home or Home()
        self._asking = asyncio.Lock()
        unsafe = [name for name, one in self.tools.items() if one.confirm]
        if unsafe and confirm is None:
            raise InvalidArgument(
                f"The tool {unsafe[0]!r} runs only after it was confirmed. Say who is asked: `confirm=ask`, where "
                "`ask(call)` returns whether it may run."
            )

    @property
    def as_json_tools(self) -> list[dict[str, Any]]:
        """What a model is told of them."""
        return [one.as_json_tool for one in self.tools.values()]

    async def carry_out(self, calls: Sequence[ToolCall]) -> AsyncGenerator[tuple[int, ToolResult], None]:
        """Carry out calls, all at once; give the result of each, with its place among the calls, as it comes.

        Raises:
            UnsupportedEventLoop: a tool is asynchronous, and the loop that made the call has ended.
        """
        tasks = [asyncio.create_task(self._placed(i, call)) for i, call in enumerate(calls)]
        try:
            for done in asyncio.as_completed(tasks):
                yield await done
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _placed(self, place: int, call: ToolCall) -> tuple[int, ToolResult]:
        begun = time.monotonic()
        error = None
        try:
            text = await self._answer(call)
        except ToolError as refused:
            error, text = refused, str(refused)
        took = time.monotonic() - begun
        return place, ToolResult(name=call.name, id=call.id, text=text, ok=error is None, took=took, error=error)

    async def _answer(self, call: ToolCall) -> str:
        wanted = self.tools.get(call.name)
        if wanted is None:
            raise UnknownTool(
                str(unknown_name("tool", call.name, self.tools)), tool=call.name, valid=tuple(sorted(self.tools))
            )
        if wanted.confirm:
            await wanted.check(call.arguments, self._home)
            await self._ask(call)
        try:
            async with asyncio.timeout(wanted.timeout):
                return await wanted.answer(call.arguments, self._home)
        except TimeoutError as error:
            raise ToolTimeout(
                f"Tool {call.name!r} did not answer within {wanted.timeout} s. It may have done its work all the same.",
                tool=call.name,
            ) from error

    async def _ask(self, call: ToolCall) -> None:
        assert self._confirm is not None
        try:
            async with self._asking:  # one question at a time, or two prompts would share a terminal
                agreed = await self._home.ask(self._confirm, call)
        except Exception as error:  # the user's own function: whatever it raises, the tool was not confirmed
            why = error.__cause__ if isinstance(error, FunctionFailed) else error
            raise ToolRefused(f"Tool {call.name!r} was not run: asking failed ({why!r}).", tool=call.name) from why
        if not agreed:
            raise ToolRefused(
                f"Tool {call.name!r} was not run: the user did not allow it. Do not ask for it again; go on without.",
                tool=call.name,
            )


@overload
async def acall_tools(
    result: ModelOutputThunk[Any] | Message,
    tools: Tools,
    *,
    confirm: Confirm | None = ...,
    await_result: Literal[True] = ...,
) -> list[Message]: ...
@overload
async def acall_tools(
    result: ModelOutputThunk[Any] | Message,
    tools: Tools,
    *,
    confirm: Confirm | None = ...,
    await_result: Literal[False],
) -> ModelOutputThunk[list[Message]]: ...
async def acall_tools(
    result: ModelOutputThunk[Any] | Message,
    tools: Tools,
    *,
    confirm: Confirm | None = None,
    await_result: bool = True,
) -> list[Message] | ModelOutputThunk[list[Message]]:
    """Carry out the tool calls of an answer, all at once.

    What goes wrong with one (no such tool, wrong arguments, a tool that raises or takes too long) is told to the model
    in its message, and the others go on.

    Args:
        result: The answer that asks for them; a thunk that still runs is awaited.
        tools: The tools, or plain functions; one or several.
        confirm: Asked before a tool marked `confirm=True` runs, with its `ToolCall`; sync or async.
        await_result: False returns the running thunk at once; its events are a `ToolResult` as each tool ends.

    Returns:
        One `Message` of role `"tool"` for each call, in the order of the calls.

    Raises:
        InvalidArgument: two tools have one name, or one has to be confirmed and `confirm` is None.
        UnsupportedEventLoop: a tool is asynchronous, and the loop that made the call has ended.

    Example:
        ```python
        from mellea_like import Message, ToolCall, call_tools

        def add(a: int, b: int) -> int:
            return a + b

        wish = Message("assistant", "", tool_calls=(ToolCall(name="add", arguments='{"a": 1, "b": 2}'),))
        print(call_tools(wish, [add]))
        ```

    Source: Mellea's `call_tools`, https://mellea.ai
    """
    bench = Workbench(tools, confirm=confirm)
    wish = await result if isinstance(result, ModelOutputThunk) else result
    thunk = ModelOutputThunk[list[Message]].start(_carried_out(bench, wish.tool_calls))
    if not await_result:
        return thunk
    async with thunk:  # when the waiting ends early, so do the tools
        return (await thunk).parsed


call_tools = blocking(acall_tools)


async def _carried_out(bench: Workbench, calls: Sequence[ToolCall]) -> AsyncGenerator[Said, None]:
    told: dict[int, Message] = {}
    async with aclosing(bench.carry_out(calls)) as results:
        async for place, result in results:
            told[place] = Message("tool", result.text, tool_call_id=result.id)
            yield result
    yield Finished(parsed=[told[place] for place in sorted(told)])
