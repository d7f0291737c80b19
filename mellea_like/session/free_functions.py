"""The verbs without a session: each takes a context and a backend, and gives its thunk with the next context.

Public as `mfuncs`. Nothing is kept between calls, so that a program may hold any number of conversations at once, go
back to an earlier context, or follow two from one.
"""

from __future__ import annotations

import sys
from typing import Any

from ..backends import Backend
from ..content import Message
from ..context import Context
from ..parts import Sayable
from ..samples import ValidationResult
from ..thunk import ModelOutputThunk
from ..waiting import blocking
from .functional import (
    Requirements,
    awaited,
    begin,
    instruction,
    judging,
    prepare,
    question,
    transformation_of,
    transformed,
    turn,
)

mfuncs = sys.modules[__name__]

INSTRUCTING = ("icl_examples", "grounding_context", "user_variables", "prefix", "images")
"""What belongs to the instruction itself, of what `ainstruct` takes."""


async def aact(
    action: Sayable, context: Context, backend: Backend, *, await_result: bool = True, **rest: Any
) -> tuple[ModelOutputThunk[Any], Context]:
    """Say `action` to the backend's model, after what the context holds.

    Args:
        action: What to say; see `MelleaSession.aact`.
        context: What was said before.
        backend: Whose model is asked.
        await_result: False returns the running thunk at once, to be streamed.
        rest: As for `MelleaSession.aact`.

    Returns:
        The thunk, and the context that also holds this exchange; the given one is left as it was.

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
    thunk, after = begin(prepare(action, context, backend, **rest))
    return (await awaited(thunk) if await_result else thunk), after


async def ainstruct(
    description: str,
    context: Context,
    backend: Backend,
    *,
    requirements: Requirements = (),
    await_result: bool = True,
    **rest: Any,
) -> tuple[ModelOutputThunk[Any], Context]:
    """Ask the backend's model to carry out `description`; see `aact`, and `MelleaSession.ainstruct` for `rest`."""
    parts = {name: rest.pop(name) for name in INSTRUCTING if name in rest}
    said = instruction(description, requirements=requirements, **parts)
    return await aact(said, context, backend, requirements=requirements, await_result=await_result, **rest)


async def achat(
    content: str, context: Context, backend: Backend, *, await_result: bool = True, **rest: Any
) -> tuple[ModelOutputThunk[Message], Context]:
    """Say one turn of a chat; see `aact`, and `MelleaSession.achat` for `rest`. `parsed` is the answer's `Message`."""
    parts = {name: rest.pop(name) for name in ("role", "images", "user_variables") if name in rest}
    return await aact(turn(content, **parts), context, backend, reply=True, await_result=await_result, **rest)


async def aquery(
    obj: object, query: str, context: Context, backend: Backend, *, await_result: bool = True, **rest: Any
) -> tuple[ModelOutputThunk[Any], Context]:
    """Ask a question about an object; see `aact`, and `MelleaSession.aquery`."""
    return await aact(question(obj, query), context, backend, await_result=await_result, **rest)


async def atransform(
    obj: object, transformation: str, context: Context, backend: Backend, **rest: Any
) -> tuple[Any, Context]:
    """Have an object changed; see `MelleaSession.atransform` for what comes back, with the next context."""
    wish = transformation_of(obj, transformation)
    answer, after = await aact(wish, context, backend, tool_calls=True, **rest)
    if not answer.tool_calls:
        return answer, after
    return (await awaited(transformed(wish, answer.tool_calls[0]))).parsed, after


async def avalidate(
    requirements: Requirements,
    context: Context,
    backend: Backend,
    *,
    output: str | ModelOutputThunk[Any] | None = None,
) -> list[ValidationResult]:
    """Judge an answer by requirements; see `MelleaSession.avalidate`."""
    source = judging(requirements, context, backend, output=output)
    return (await awaited(ModelOutputThunk[list[ValidationResult]].start(source))).parsed


act = blocking(aact)
instruct = blocking(ainstruct)
chat = blocking(achat)
query = blocking(aquery)
transform = blocking(atransform)
validate = blocking(avalidate)
