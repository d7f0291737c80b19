"""From a call to events: wait for what it depends on, render it, let the backend speak, judge what it said.

Without a strategy this is straight through. A strategy makes several attempts of one call; each is this again.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from contextvars import Context as Variables
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from typing import Any

from ..backends import Backend
from ..component import Sayable, said_messages, thunks_in
from ..content import Message, Request
from ..context import Turn
from ..engine import in_worker
from ..errors import OutputParseError
from ..events import Failed, Finished, Said, Started, ToolCallEvent
from ..formats import Format
from ..options import ModelOption
from ..thunk import ModelOutputThunk


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """All that a session's verb decided: what to say, after which turns, to whom, with which options.

    `reply` makes the answer's `parsed` a `Message`; `format` makes it a type of the caller's.
    """

    said: Sayable
    view: tuple[Turn, ...]
    backend: Backend
    options: dict[str, Any]
    format: Format[Any] | None = None
    reply: bool = False
    variables: Variables = field(default_factory=copy_context)

    def pending(self) -> list[ModelOutputThunk[Any]]:
        """List the thunks that must have ended before this call can be rendered."""
        needed: Iterator[ModelOutputThunk[Any]] = thunks_in(self.said)
        running = {id(thunk): thunk for thunk in needed if not thunk.done()}
        for turn in self.view:
            answer = turn.answer
            if answer is not None and not answer.done():
                running[id(answer)] = answer
            elif answer is None:
                running |= {id(thunk): thunk for thunk in thunks_in(turn.said) if not thunk.done()}
        return list(running.values())

    def request(self) -> Request:
        """Render what is sent.

        Raises:
            TemplateError: a template is wrong.
            DependencyFailed: a thunk that is needed failed.
        """
        said = [message for turn in self.view for message in turn.messages()]
        said += said_messages(self.said)
        system = self.options.get(ModelOption.SYSTEM_PROMPT)
        if system is not None:
            said = [Message("system", system), *(message for message in said if message.role != "system")]
        options = {name: value for name, value in self.options.items() if name is not ModelOption.SYSTEM_PROMPT}
        return Request(
            messages=tuple(said),
            options=options,
            schema=None if self.format is None else self.format.schema,
            tools=options.pop(ModelOption.TOOLS, ()),
        )


def generate(call: Call) -> AsyncGenerator[Said, None]:
    """Give the events of a call.

    A call that waits for nothing is rendered here and now, so that a mistake in it is raised where it was made.

    Raises:
        WrongUse: the call cannot be rendered.
    """
    pending = call.pending()
    return _deferred(call, pending) if pending else _attempt(call, call.request())


async def _deferred(call: Call, pending: list[ModelOutputThunk[Any]]) -> AsyncGenerator[Said, None]:
    for thunk in pending:  # they all run already; the slowest decides
        await thunk.ended()
    pending.clear()
    # Rendering calls the user's `__str__` and components, and user code never runs on this loop.
    request = await in_worker(call.request, context=call.variables)
    async with aclosing(_attempt(call, request)) as attempt:
        async for said in attempt:
            yield said


async def _attempt(call: Call, request: Request) -> AsyncGenerator[Said, None]:
    yield Started(model=call.backend.model_id, provider=call.backend.name)
    async with aclosing(call.backend.stream(request)) as stream:
        if call.format is None and not call.reply:
            async for said in stream:
                yield said
            return
        texts: list[str] = []
        calls: list[ToolCallEvent] = []
        async for said in stream:
            if isinstance(said, str):
                texts.append(said)
            elif isinstance(said, ToolCallEvent) and said.complete:
                calls.append(said)
            elif isinstance(said, Finished):
                said = _parsed(call, "".join(texts), calls, said)
            yield said


def _parsed(call: Call, text: str, calls: list[ToolCallEvent], end: Finished) -> Finished | Failed:
    """Give the end its parsed answer, or make it a failure that keeps usage and finish reason."""
    if call.format is None:
        tool_calls = tuple(event.as_tool_call() for event in calls)
        return replace(end, parsed=Message("assistant", text, tool_calls=tool_calls))
    try:
        if end.finish_reason == "length":
            raise OutputParseError(
                f"The answer was cut off by its token limit after {len(text)} characters, so it is not the whole "
                "object. Raise `max_new_tokens`.",
                text=text,
            )
        return replace(end, parsed=call.format.parse(text))
    except OutputParseError as error:
        return Failed(error=error, usage=end.usage, finish_reason=end.finish_reason)
