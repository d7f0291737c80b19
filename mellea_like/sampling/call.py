"""A call: all that a verb decided, and how it is rendered into the request that a backend is given."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from ..backends import Backend
from ..component import Instruction
from ..content import Message, Request, ToolCall
from ..context import Context
from ..engine import in_worker
from ..errors import OutputParseError
from ..events import Started
from ..formats import Format
from ..home import Home
from ..options import ModelOption
from ..parts import Sayable, Saying, said_messages, settled, thunks_in
from ..requirement import Requirement
from ..samples import UNPARSED, FinishReason, ValidationResult
from ..telemetry import prompts_wanted
from ..template import render_file
from ..thunk import ModelOutputThunk
from . import Attempt, SamplingStrategy


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """All that a verb decided: what to say, after which turns, to whom, with which options, and how it is judged.

    `format` makes the answer's `parsed` a type of the caller's, `parse` what a component makes of it; `reply` makes it
    a `Message` that holds that. `said` is read once (see `Saying`); a strategy is given what is `inside` that. `shown`
    lets the first event hold what was sent; `prompt` is filled with it.
    """

    said: Sayable
    ctx: Context
    backend: Backend
    options: dict[str, Any]
    format: Format[Any] | None = None
    parse: Callable[[str], Any] | None = None
    reply: bool = False
    requirements: tuple[Requirement, ...] = ()
    strategy: SamplingStrategy | None = None
    raises: bool = False
    home: Home = field(default_factory=Home)
    shown: bool = field(default_factory=prompts_wanted)
    prompt: list[Message] = field(default_factory=list)

    @property
    def typed(self) -> bool:
        """Whether the answer becomes something else than its text."""
        return self.format is not None or self.reply or self.parse is not None

    async def parsed(
        self, text: str, calls: tuple[ToolCall, ...], finish_reason: FinishReason | None
    ) -> tuple[Any, ValidationResult | None]:
        """Make of an answer what was asked for; where it cannot be, say what is wrong with it."""
        if self.reply and calls:  # a turn that calls tools is not the answer yet
            return Message("assistant", text, tool_calls=calls), None
        parsed, wrong = await self._read(text, finish_reason)
        if self.reply and wrong is None:
            parsed = Message("assistant", text, parsed=None if parsed is UNPARSED else parsed)
        return parsed, wrong

    async def _read(self, text: str, finish_reason: FinishReason | None) -> tuple[Any, ValidationResult | None]:
        read = self.format.parse if self.format is not None else self.parse
        if read is None:
            return UNPARSED, None
        try:
            if finish_reason == "length" and self.format is not None:
                raise OutputParseError(
                    f"The answer was cut off by its token limit after {len(text)} characters, so it is not the whole "
                    "object. Raise `max_new_tokens`.",
                    text=text,
                )
            # Types and components of the user's have code of their own, and that never runs on this loop.
            return await in_worker(partial(read, text), context=self.home.variables.copy()), None
        except OutputParseError as error:
            return UNPARSED, ValidationResult(result=False, reason=str(error), error=error, requirement="format")

    def started(self, request: Request, *, backend: Backend | None = None, attempt: int = 1) -> Started:
        """Build the event that an attempt begins with."""
        backend = backend or self.backend
        shown = request if self.shown else None
        return Started(model=backend.model_id, provider=backend.name, request=shown, attempt=attempt)

    @property
    def judged(self) -> bool:
        """Whether there is anything to judge, or a strategy that wants to."""
        return self.strategy is not None or bool(self.requirements)

    @property
    def inside(self) -> Sayable:
        """What is said, as the caller gave it."""
        return self.said.said if isinstance(self.said, Saying) else self.said

    def filled(self) -> Call:
        """Return the call with the sentences of its requirements filled with what it says with; see `Requirement`.

        Raises:
            TemplateError: one of them is wrong.
        """
        said = self.inside
        if not self.requirements or not isinstance(said, Instruction) or said.user_variables is None:
            return self
        variables = settled(said.user_variables)
        return replace(self, requirements=tuple(each.filled(variables) for each in self.requirements))

    def pending(self) -> list[ModelOutputThunk[Any]]:
        """List the thunks that must have ended before this call can be rendered.

        A call that is made inside a function of the user's belongs to the answer that waits for the function: it is
        sent what came before that answer, and what was said inside; not that answer, nor what waits for it.

        Raises:
            InvalidArgument: it is to say an answer that waits for it.
        """
        needed: Iterator[ModelOutputThunk[Any]] = thunks_in(self.said)
        running = {id(thunk): thunk for thunk in needed if not thunk.done()}
        for thunk in running.values():
            self.home.refuse(thunk._log)
        inside, behind = self.home.inside, False
        for turn in self.ctx.view():
            answer = turn.answer
            if answer is None:
                running |= {id(thunk): thunk for thunk in thunks_in(turn.said) if not thunk.done()}
            elif not answer.done():
                log = answer._log
                behind = behind or log in inside
                if not behind or log.inside[: len(inside)] == inside:
                    running[id(answer)] = answer
        return list(running.values())

    def request(self, attempt: Attempt | None = None, *, number: int = 1) -> Request:
        """Render what is sent; an attempt's own way of it where one is given.

        Raises:
            TemplateError: a template is wrong.
            DependencyFailed: a thunk that is needed failed.
        """
        options, backend = self.options, self.backend
        messages = [message for turn in self.ctx.view() for message in turn.messages()]
        if attempt is None:
            messages += said_messages(self.said)
        else:
            backend = attempt.backend or backend
            options = self._options(attempt, number)
            messages += self._said_by(attempt)
        system = options.get(ModelOption.SYSTEM_PROMPT)
        if system is not None:
            messages = [Message("system", system), *(message for message in messages if message.role != "system")]
        rest = {name: value for name, value in options.items() if name is not ModelOption.SYSTEM_PROMPT}
        free = self.format is None or (attempt is not None and attempt.thinking)
        schema = None if free or self.format is None else self.format.schema
        if schema is not None and not backend.constrains(schema):
            messages = _told(messages, schema)
        if number == 1:
            self.prompt[:] = messages
        return Request(messages=tuple(messages), options=rest, schema=schema, tools=rest.pop(ModelOption.TOOLS, ()))

    def _said_by(self, attempt: Attempt) -> list[Message]:
        said = self.said if attempt.said is self.inside else attempt.said
        remarks = [attempt.remark] if attempt.remark else []
        if attempt.repair:
            if isinstance(attempt.said, Instruction):
                said = replace(attempt.said, repair=attempt.repair)
            else:
                remarks.insert(0, render_file("repair.jinja2", {"repair": attempt.repair}).rstrip("\n"))
        messages = list(said_messages(said))
        return [*(_remarked(messages, "\n\n".join(remarks)) if remarks else messages), *attempt.follow_up]

    def _options(self, attempt: Attempt, number: int) -> dict[str, Any]:
        options = self.options
        if attempt.options or attempt.backend is not None:
            backend = attempt.backend or self.backend
            kept = options if attempt.backend is None else _portable(options, backend)
            options = backend.resolve(kept, _portable(attempt.options, backend))
        seed = options.get(ModelOption.SEED)
        # The same seed would give the same answer again.
        return options if seed is None or number == 1 else options | {ModelOption.SEED: seed + number - 1}


def _portable(options: Mapping[str, Any], backend: Backend) -> dict[str, Any]:
    """Keep the options that a backend honours."""
    return {name: value for name, value in options.items() if backend.honours(name)}


def _told(messages: list[Message], schema: Mapping[str, Any]) -> list[Message]:
    """Tell the model the schema that its backend cannot hold it to."""
    return _remarked(messages, f"Answer with JSON alone, following this JSON schema:\n{json.dumps(schema)}")


def _remarked(messages: list[Message], remark: str) -> list[Message]:
    """Add a remark to the last of the user's turns where it is the last turn, else as one more turn."""
    *before, last = messages
    if last.role != "user":
        return [*messages, Message("user", remark)]
    return [*before, replace(last, content=f"{last.content}\n\n{remark}")]
