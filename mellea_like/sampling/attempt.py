"""One attempt at work: it speaks, is judged while it grows and at its end, and becomes a sample."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace

from ..content import Request, ToolCall
from ..context import ChatContext, Context
from ..errors import (
    BackendError,
    ModelNotFound,
    OutputParseError,
    ReplayMismatch,
    RequestRefused,
    ScriptExhausted,
    Truncated,
)
from ..events import Checked, Delta, Event, Finished, Said, Thinking, ToolCallEvent, Usage
from ..formats import Format
from ..partial import PartialParser
from ..samples import Sample, ValidationResult
from ..waiting import EAGER
from . import Attempt, thunk_of
from .call import Call
from .judging import ChunkWatch, GrowthWatch, Judges, Watch, look, questions, watch_of

_FUTILE = (ModelNotFound, RequestRefused, ScriptExhausted, ReplayMismatch)
"""Errors that another attempt would meet again."""


class Speaking:
    """An attempt at work.

    Args:
        call: The call that it is an attempt of.
        attempt: What is special about it.
        number: Which attempt it is, from 1.
        tell: Is given everything that is said, at once.
    """

    def __init__(self, call: Call, attempt: Attempt, number: int, tell: Callable[[Said], None]) -> None:
        self._call, self._attempt, self._number, self._tell = call, attempt, number, tell
        self._backend = attempt.backend or call.backend
        self._text: list[str] = []
        self._thoughts: list[str] = []
        self._tool_calls: list[ToolCall] = []
        self._finished: Finished | None = None
        self._error: BackendError | None = None
        self._requirements = call.requirements if attempt.judged and not attempt.thinking else ()
        self._judges = Judges(call.home, self._backend)
        self._watches = [watch for r in self._requirements if (watch := watch_of(r)) is not None]
        if call.format is not None and not attempt.thinking:
            self._watches.append(self._format_watch(call.format))
        self._more = asyncio.Event()

    async def sample(self, request: Request) -> Sample:
        """Speak to the end, or to the first verdict that makes it hopeless, and judge.

        Raises:
            BackendError: one that another attempt would meet again.
            UnsupportedEventLoop: a requirement's function is asynchronous, and its loop cannot run it.
        """
        self._tell(self._call.started(request, backend=self._backend, attempt=self._number))
        try:
            await (self._speak_watched(request) if self._watches else self._speak(request))
        except _FUTILE:
            raise
        except BackendError as error:
            self._error = error
        return await self._judged()

    def broken_off(self) -> Sample:
        """Return the sample of an attempt that was stopped because it is no longer needed: what it has said so far."""
        return replace(self._ended(), stopped=True)

    @property
    def judging_usage(self) -> Usage | None:
        """Tokens that the models took that judged it."""
        return self._judges.usage

    # --- speaking ---------------------------------------------------------------------------------------------------

    async def _speak(self, request: Request) -> None:
        count = 0
        async with aclosing(self._backend.stream(request)) as stream:
            async for said in stream:
                self._take(said)
                count += 1
                if not count % EAGER:
                    await asyncio.sleep(0)
        if self._finished is None:
            raise Truncated("The stream ended without a finish reason; the text that came is kept.")

    async def _speak_watched(self, request: Request) -> None:
        """Speak in a task of its own, which is stopped, at the server too, at the first verdict that is not good."""
        speaking = asyncio.create_task(self._speak(request))
        speaking.add_done_callback(lambda _: self._more.set())
        try:
            await self._watch(speaking)
        finally:
            speaking.cancel()
            await asyncio.wait([speaking])
            error = asyncio.CancelledError() if speaking.cancelled() else speaking.exception()
        if error is not None and not self._hopeless():
            raise error

    def _take(self, said: Said) -> None:
        if isinstance(said, Delta):
            said = said.text
        if isinstance(said, str):
            self._take_text(said)
        elif isinstance(said, Finished):
            self._finished = said
        elif isinstance(said, Event):
            if isinstance(said, Thinking):
                self._thoughts.append(said.text)
            elif isinstance(said, ToolCallEvent) and said.complete:
                self._tool_calls.append(said.as_tool_call())
            self._tell(said.stamped(seq=-1, seconds=0.0, attempt=self._number))

    def _take_text(self, text: str) -> None:
        self._text.append(text)
        if self._attempt.thinking:
            self._tell(Thinking(text=text, attempt=self._number))
        else:
            # Plain text is that of the first attempt, and costs less.
            self._tell(text if self._number == 1 else Delta(text=text, attempt=self._number))
        if self._watches:
            for watch in self._watches:
                watch.feed(text)
            self._more.set()

    # --- judging ----------------------------------------------------------------------------------------------------

    def _format_watch(self, wanted: Format[object]) -> Watch:
        """Watch for the first part of a typed answer that is closed and wrong: no more text makes it valid."""

        def begin() -> Callable[[str], str | None]:
            parser: PartialParser[object] = PartialParser(wanted.shape)

            def fed(text: str) -> str | None:
                parser.feed(text)
                return parser.problem

            return fed

        def wrong(problem: str | BaseException) -> ValidationResult:
            error = OutputParseError(f"The answer is not a valid {wanted.shape.name}. {problem}.", text=self._so_far())
            return ValidationResult(result=False, reason=str(error), error=error, requirement="format")

        return GrowthWatch(begin, wrong)

    def _so_far(self) -> str:
        return "".join(self._text)

    def _hopeless(self) -> bool:
        return any(not watch.verdict for watch in self._watches)

    async def _watch(self, speaking: asyncio.Task[None]) -> None:
        """Judge what has grown, until the attempt has ended or is hopeless."""
        while not self._hopeless():
            self._more.clear()
            over = speaking.done()
            if over and self._finished is not None:
                for watch in self._watches:
                    watch.close()
            if not await look(self._watches, self._judges):
                if over:
                    return
                await self._more.wait()

    async def _judged(self) -> Sample:
        sample = self._ended()
        if sample.error is not None or self._hopeless() or self._attempt.thinking:
            # What was found while it grew is told; the rest has nothing to judge.
            return replace(sample, validations=self._told([w.verdict for w in self._watches if not w.verdict]))
        parsed, wrong = await self._call.parsed(sample.text, sample.tool_calls, sample.finish_reason)
        sample = replace(sample, parsed=parsed)
        verdicts = await self._verdicts(sample) if wrong is None else self._told([wrong])
        return replace(sample, validations=verdicts)

    async def _verdicts(self, sample: Sample) -> tuple[ValidationResult, ...]:
        watched = {id(w.requirement): w.verdict for w in self._watches if isinstance(w, ChunkWatch)}
        asked = questions(self._requirements, sample.text, lambda: self._context(sample))
        whole = iter(await self._judges.ask(asked, self._tell_verdict) if asked else ())
        self._told(list(watched.values()))
        return tuple([watched[id(r)] if id(r) in watched else next(whole) for r in self._requirements])

    def _told(self, verdicts: list[ValidationResult]) -> tuple[ValidationResult, ...]:
        for verdict in verdicts:
            self._tell_verdict(verdict)
        return tuple(verdicts)

    def _tell_verdict(self, verdict: ValidationResult) -> None:
        self._tell(
            Checked(requirement=verdict.requirement, passed=verdict.result, reason=verdict.reason, attempt=self._number)
        )

    def _context(self, sample: Sample) -> Context:
        """Build the context as it would be if this sample were the answer."""
        before = self._call.ctx if isinstance(self._call.ctx, ChatContext) else ChatContext()
        return before.add(self._attempt.said, thunk_of(sample))

    # --- ending -----------------------------------------------------------------------------------------------------

    def _ended(self) -> Sample:
        end = self._finished or Finished(finish_reason="error" if self._error else "cancelled")
        usage = end.usage
        if usage is None:
            usage = Usage(output_tokens=len(self._text) + len(self._thoughts), estimated=True)
        return Sample(
            attempt=self._number,
            text=self._so_far(),
            thinking="".join(self._thoughts),
            tool_calls=tuple(self._tool_calls),
            usage=usage,
            finish_reason=end.finish_reason,
            error=self._error,
            stopped=self._hopeless(),
            model=end.model,
            raw=end.raw,
        )
