"""The verbs without a session: each takes a context and a backend, and gives its thunk with the next context.

Public as `mfuncs`. Nothing is kept between calls, so that a program may hold any number of conversations at once, go
back to an earlier context, or follow two from one.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Literal, overload

from ..backends import Backend
from ..content import Message
from ..context import Context
from ..parts import Sayable
from ..requirement import requirements_of
from ..samples import ValidationResult
from ..sampling import SamplingResult
from ..thunk import ModelOutputThunk
from ..waiting import blocking
from .functional import (
    Requirements,
    awaited,
    begin,
    expect,
    given,
    instruction,
    judging,
    prepare,
    question,
    sampled,
    transformation_of,
    transformed,
    turn,
)

mfuncs = sys.modules[__name__]

_INSTRUCTING = ("icl_examples", "grounding_context", "user_variables", "prefix", "images")
"""What belongs to the instruction itself, of what `ainstruct` takes."""


@overload
async def aact(
    action: Sayable, context: Context, backend: Backend, *, return_sampling_results: Literal[True], **rest: Any
) -> tuple[SamplingResult[Any], Context]: ...
@overload
async def aact(
    action: Sayable, context: Context, backend: Backend, *, await_result: bool = ..., **rest: Any
) -> tuple[ModelOutputThunk[Any], Context]: ...
async def aact(
    action: Sayable, context: Context, backend: Backend, *, await_result: bool = True, **rest: Any
) -> tuple[ModelOutputThunk[Any] | SamplingResult[Any], Context]:
    """Say `action` to the backend's model, after what the context holds.

    Args:
        action: What to say; see `MelleaSession.aact`.
        context: What was said before.
        backend: Whose model is asked.
        await_result: False returns the running thunk at once, to be streamed.
        rest: As for `MelleaSession.aact`.

    Returns:
        The thunk (with `return_sampling_results=True` the `SamplingResult`), and the context that also holds this
        exchange; the given one is left as it was.

    Raises:
        WrongUse: the call is mistaken.
        BackendError: the backend failed.

    Example:
        ```python
        from mellea_like import ChatContext, mfuncs, start_backend

        context, backend = start_backend("fake", ctx=ChatContext(), answers=["Hello!", "Bye!"])
        hello, after = mfuncs.act("Hi", context, backend)
        bye, _ = mfuncs.act("Thank you.", after, backend)
        print(hello, bye, len(context.view()), len(after.view()))
        ```

    Source: Mellea's functional interface, https://mellea.ai
    """
    expect("act", rest)
    return await _answered(action, context, backend, await_result=await_result, **rest)


async def _answered(
    said: Sayable,
    context: Context,
    backend: Backend,
    *,
    return_sampling_results: bool = False,
    await_result: bool = True,
    **rest: Any,
) -> tuple[Any, Context]:
    samples = sampled(return_sampling_results=return_sampling_results, await_result=await_result)
    thunk, after = begin(prepare(said, context, backend, samples=samples, **rest))
    return await given(thunk, samples=samples, await_result=await_result), after


@overload
async def ainstruct(
    description: str,
    context: Context,
    backend: Backend,
    *,
    requirements: Requirements = ...,
    return_sampling_results: Literal[True],
    **rest: Any,
) -> tuple[SamplingResult[Any], Context]: ...
@overload
async def ainstruct(
    description: str,
    context: Context,
    backend: Backend,
    *,
    requirements: Requirements = ...,
    await_result: bool = ...,
    **rest: Any,
) -> tuple[ModelOutputThunk[Any], Context]: ...
async def ainstruct(
    description: str,
    context: Context,
    backend: Backend,
    *,
    requirements: Requirements = (),
    await_result: bool = True,
    **rest: Any,
) -> tuple[ModelOutputThunk[Any] | SamplingResult[Any], Context]:
    """Ask the backend's model to carry out `description`; see `aact`, and `MelleaSession.ainstruct` for `rest`."""
    expect("instruct", rest)
    wanted = requirements_of(requirements)
    parts = {name: rest.pop(name) for name in _INSTRUCTING if name in rest}
    said = instruction(description, requirements=wanted, **parts)
    return await _answered(said, context, backend, requirements=wanted, await_result=await_result, **rest)


async def achat(
    content: str, context: Context, backend: Backend, *, await_result: bool = True, **rest: Any
) -> tuple[ModelOutputThunk[Message], Context]:
    """Say one turn of a chat; see `aact`, and `MelleaSession.achat` for `rest`. `parsed` is the answer's `Message`."""
    expect("chat", rest)
    parts = {name: rest.pop(name) for name in ("role", "images", "user_variables") if name in rest}
    said = turn(content, **parts)
    return await _answered(said, context, backend, reply=True, await_result=await_result, **rest)


async def aquery(
    obj: object, query: str, context: Context, backend: Backend, *, await_result: bool = True, **rest: Any
) -> tuple[ModelOutputThunk[Any], Context]:
    """Ask a question about an object; see `aact`, and `MelleaSession.aquery`."""
    expect("query", rest)
    return await _answered(question(obj, query), context, backend, await_result=await_result, **rest)


async def atransform(
    obj: object, transformation: str, context: Context, backend: Backend, **rest: Any
) -> tuple[Any, Context]:
    """Have an object changed; see `MelleaSession.atransform` for what comes back, with the next context."""
    expect("transform", rest)
    wish = transformation_of(obj, transformation)
    answer, after = await _answered(wish, context, backend, tool_calls=True, **rest)
    if not answer.tool_calls:
        return answer, after
    return (await awaited(transformed(wish, answer.tool_calls[0]))).parsed, after


async def avalidate(
    requirements: Requirements,
    context: Context,
    backend: Backend,
    *,
    output: str | ModelOutputThunk[Any] | None = None,
    model_options: Mapping[str, Any] | None = None,
) -> list[ValidationResult]:
    """Judge an answer by requirements; see `MelleaSession.avalidate`."""
    source = judging(requirements, context, backend, output=output, model_options=model_options)
    return (await awaited(ModelOutputThunk[list[ValidationResult]].start(source))).parsed


act = blocking(aact)
instruct = blocking(ainstruct)
chat = blocking(achat)
query = blocking(aquery)
transform = blocking(atransform)
validate = blocking(avalidate)
