"""The agent: a model that may use tools until it knows the answer, as one thunk whose events show every turn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Required, TypedDict, TypeVar, Unpack, overload

from ..arguments import whole
from ..backends import Backend
from ..component import Sayable
from ..context import Context
from ..engine import Run
from ..formats import format_of
from ..sampling.call import Call
from ..thunk import ComputedModelOutputThunk, ModelOutputThunk
from ..tools import Confirm, Tools
from ..tools.workbench import Workbench
from .turns import Loop, Transcript

if TYPE_CHECKING:
    from typing_extensions import TypeForm

T = TypeVar("T")


def start_react(
    goal: Sayable,
    context: Context,
    backend: Backend,
    *,
    tools: Tools,
    loop_budget: int = 10,
    wanted: TypeForm[Any] | None = None,
    model_options: Mapping[str, Any] | None = None,
    defaults: Mapping[str, Any] | None = None,
    confirm: Confirm | None = None,
    native: bool | None = None,
    among: set[Run] | None = None,
) -> tuple[ModelOutputThunk[Any], Context]:
    """Start an agent and return its running thunk, with the context that holds it; see `react`.

    `wanted` is what `react` calls `format`; `defaults` are a session's options; the run is a member of `among` while it
    works.
    """
    budget = whole("loop_budget", loop_budget)
    transcript = Transcript(goal)
    call = Call(
        said=goal,
        ctx=context,
        backend=backend,
        options=backend.resolve(defaults, model_options),
        format=None if wanted is None else format_of(wanted),
    )
    shape = None if call.format is None else call.format.shape
    bench = Workbench(tools, confirm=confirm, home=call.home)
    loop = Loop(call, transcript, bench, budget=budget, native=native)
    thunk = ModelOutputThunk[Any].start(loop.run(), held=True, among=among, shape=shape, home=call.home)
    return thunk, context.add(transcript, thunk)


class Reacting(TypedDict, total=False):
    """What `react` takes besides its subject and its format; see there."""

    tools: Required[Tools]
    loop_budget: int
    model_options: Mapping[str, Any] | None
    confirm: Confirm | None
    native: bool | None


@overload
async def react(
    goal: Sayable, context: Context, backend: Backend, *, await_result: Literal[True] = ..., **rest: Unpack[Reacting]
) -> tuple[ComputedModelOutputThunk[str], Context]: ...
@overload
async def react(
    goal: Sayable, context: Context, backend: Backend, *, await_result: Literal[False], **rest: Unpack[Reacting]
) -> tuple[ModelOutputThunk[str], Context]: ...
@overload
async def react(
    goal: Sayable,
    context: Context,
    backend: Backend,
    *,
    format: TypeForm[T],
    await_result: Literal[True] = ...,
    **rest: Unpack[Reacting],
) -> tuple[ComputedModelOutputThunk[T], Context]: ...
@overload
async def react(
    goal: Sayable,
    context: Context,
    backend: Backend,
    *,
    format: TypeForm[T],
    await_result: Literal[False],
    **rest: Unpack[Reacting],
) -> tuple[ModelOutputThunk[T], Context]: ...
async def react(
    goal: Sayable,
    context: Context,
    backend: Backend,
    *,
    tools: Tools,
    loop_budget: int = 10,
    format: TypeForm[Any] | None = None,  # noqa: A002  # Mellea's name
    model_options: Mapping[str, Any] | None = None,
    confirm: Confirm | None = None,
    native: bool | None = None,
    await_result: bool = True,
) -> tuple[ModelOutputThunk[Any], Context]:
    """Let a model use tools, turn by turn, until it has an answer.

    Plain readers of the thunk see the answer. Its events show every turn as it happens, with the turn's number as
    `attempt`: `Started`, the model's deltas, its tool calls, a `ToolResult` as each tool ends. Calls of one turn run at
    once. What goes wrong with one is told to the model, which may mend it.

    Args:
        goal: What is to be found out or done; all that can be said to a model.
        context: What was said before.
        backend: Whose model it is.
        tools: `MelleaTool`s or plain functions.
        loop_budget: How many turns the model may take, its answer included.
        format: A type that the answer is to have, as for `instruct`.
        model_options: `ModelOption` names or plain keys, for every turn.
        confirm: Asked before a tool marked `confirm=True` runs, with its `ToolCall`; sync or async. Where the answer is
            not true, the model is told so.
        native: Whether the model calls tools by itself. False has it write JSON instead, one call per turn, to which
            it is held by a schema. None decides: JSON for models in this process, and where the backend refuses tools.
        await_result: False returns the running thunk at once.

    Returns:
        The thunk of the answer, and the context with goal, tool calls, results and answer added.

    Raises:
        InvalidArgument: the budget is below 1, two tools have one name, a tool has to be confirmed and nobody is asked.
        LoopBudgetExhausted: all turns are taken; `messages` holds what was said.
        BackendError: the backend failed.
        UnsupportedEventLoop: a tool is asynchronous, and the loop that made the call has ended.

    Example:
        ```python
        import asyncio
        from mellea_like import Answer, ChatContext, FakeBackend, ToolCallEvent, react

        def add(a: int, b: int) -> int:
            return a + b

        wish = ToolCallEvent(name="add", arguments='{"a": 1, "b": 2}', complete=True)
        backend = FakeBackend(answers=[Answer([wish], finish_reason="tool_calls"), "It is 3."])
        answer, context = asyncio.run(react("What is 1 + 2?", ChatContext(), backend, tools=[add]))
        print(answer.value)
        ```

    Source: Mellea's `react`, https://mellea.ai; ReAct, https://arxiv.org/abs/2210.03629
    """
    thunk, after = start_react(
        goal,
        context,
        backend,
        tools=tools,
        loop_budget=loop_budget,
        wanted=format,
        model_options=model_options,
        confirm=confirm,
        native=native,
    )
    if not await_result:
        return thunk, after
    async with thunk:  # when the waiting ends early, so does the agent
        return await thunk, after
