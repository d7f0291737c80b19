"""From a call to events: wait for what it depends on, render it, let backends speak, judge what they said.

A call with nothing to judge is straight through. Otherwise a strategy's plan is carried out: each attempt in a task of
its own, its events as they come, its verdicts, and one end for all.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias, TypeVar

from ..content import Request, ToolCall
from ..engine import in_worker
from ..errors import InvalidArgument, OutputParseError, RequirementsNotMet
from ..events import Failed, Finished, Retried, Said, Thinking, ToolCallEvent, Usage
from ..samples import Sample
from ..thunk import ModelOutputThunk
from . import Attempt, Plan, SamplingStrategy
from .attempt import Speaking
from .call import Call
from .once import Once

Rendered: TypeAlias = tuple[Attempt, Request]
R = TypeVar("R")


def generate(call: Call) -> AsyncGenerator[Said, None]:
    """Give the events of a call.

    A call that waits for nothing is rendered here and now, so that a mistake in it is raised where it was made.

    Raises:
        WrongUse: the call cannot be rendered.
    """
    pending = call.pending()
    if pending:
        return _deferred(call, pending)
    if not call.judged:
        return _straight(call, call.request())
    call = call.filled()
    strategy = call.strategy or Once()
    plan = strategy.plan(Attempt(said=call.inside))
    wanted = _sent(plan, None)
    if isinstance(wanted, Sample) or not wanted:
        raise InvalidArgument(f"The plan of {strategy!r} began with no attempt; it must yield at least one.")
    sampling = _Sampling(call, strategy, plan)
    return sampling.events(sampling.rendered(wanted))


async def _deferred(call: Call, pending: list[ModelOutputThunk[Any]]) -> AsyncGenerator[Said, None]:
    for thunk in pending:  # they all run already; the slowest decides
        await thunk.ended()
    pending.clear()
    # Rendering calls the user's `__str__` and components, and user code never runs on this loop.
    source = await in_worker(partial(generate, call), context=call.home.variables)
    async with aclosing(source) as events:
        async for said in events:
            yield said


async def _straight(call: Call, request: Request) -> AsyncGenerator[Said, None]:
    yield call.started(request)
    async with aclosing(call.backend.stream(request)) as stream:
        if not call.typed:
            async for said in stream:
                yield said
            return
        texts: list[str] = []
        calls: list[ToolCall] = []
        async for said in stream:
            if isinstance(said, str):
                texts.append(said)
            elif isinstance(said, ToolCallEvent) and said.complete:
                calls.append(said.as_tool_call())
            elif isinstance(said, Finished):
                said = await _parsed(call, "".join(texts), tuple(calls), said)
            yield said


async def _parsed(call: Call, text: str, calls: tuple[ToolCall, ...], end: Finished) -> Finished | Failed:
    """Give the end its parsed answer, or make it a failure that keeps usage and finish reason."""
    parsed, wrong = await call.parsed(text, calls, end.finish_reason)
    if wrong is None:
        return replace(end, parsed=parsed)
    assert wrong.error is not None
    return Failed(error=wrong.error, usage=end.usage, finish_reason=end.finish_reason)


class _Sampling:
    """The attempts of one call at work, as their strategy's plan wants them."""

    def __init__(self, call: Call, strategy: SamplingStrategy, plan: Plan) -> None:
        self._call, self._strategy, self._plan = call, strategy, plan
        self._said: deque[Said] = deque()
        self._grown = asyncio.Event()
        self._at_work: set[asyncio.Task[None]] = set()
        # One sample at a time is sent to the plan, in the order in which they are ready.
        self._turn = asyncio.Lock()
        self._started = self._due = 0
        self._samples: list[Sample] = []
        self._thoughts: list[str] = []
        self._usage = Usage()
        self._outcome: Sample | BaseException | None = None

    async def events(self, first: list[Rendered]) -> AsyncGenerator[Said, None]:
        """Give what the attempts say, as they say it, and the end."""
        self._start(first)
        try:
            while self._said or self._outcome is None:
                while self._said:
                    yield self._said.popleft()
                if self._outcome is None:
                    self._grown.clear()
                    await self._grown.wait()
        finally:
            await self._stop()
        while self._said:  # what the others said while they were stopped
            yield self._said.popleft()
        outcome = self._outcome
        if isinstance(outcome, BaseException):
            raise outcome
        assert outcome is not None
        yield self._end(outcome)

    def rendered(self, wanted: Iterable[Attempt]) -> list[Rendered]:
        """Render attempts; this calls the user's components."""
        numbered = enumerate(wanted, self._started + 1)
        return [(attempt, self._call.request(attempt, number=number)) for number, attempt in numbered]

    def _tell(self, said: Said) -> None:
        self._said.append(said)
        self._grown.set()

    def _start(self, wanted: list[Rendered]) -> None:
        for attempt, request in wanted:
            speaking = Speaking(self._call, attempt, self._started + 1, self._tell)
            self._started += not attempt.thinking
            self._due += 1
            task = asyncio.create_task(self._attempt(attempt, speaking, request))
            self._at_work.add(task)
            task.add_done_callback(self._at_work.discard)

    async def _attempt(self, attempt: Attempt, speaking: Speaking, request: Request) -> None:
        try:
            try:
                sample = self._taken(attempt, speaking, await speaking.sample(request))
            except asyncio.CancelledError:
                self._taken(attempt, speaking, speaking.broken_off())
                raise
            async with self._turn:
                if self._outcome is None:
                    self._due -= 1
                    await self._step(attempt, sample)
        except asyncio.CancelledError:  # where nobody stopped it, its backend did; a new one, which holds no frames
            self._outcome = self._outcome or asyncio.CancelledError()
        except BaseException as error:  # whatever it is, it is what the call fails with
            self._outcome = self._outcome or error
        self._grown.set()

    def _taken(self, attempt: Attempt, speaking: Speaking, sample: Sample) -> Sample:
        """Take note of a sample and of what it cost."""
        for usage in (sample.usage, speaking.judging_usage):
            self._usage = self._usage if usage is None else self._usage + usage
        if attempt.thinking:
            self._thoughts += [sample.thinking, sample.text, "\n"]
            self._tell(Thinking(text="\n", attempt=sample.attempt))
            return sample
        if self._thoughts:
            sample = replace(sample, thinking="".join([*self._thoughts, sample.thinking]))
            self._thoughts.clear()
        self._samples.append(sample)
        return sample

    async def _step(self, attempt: Attempt, sample: Sample) -> None:
        """Send the plan its sample: it returns the answer's, or wants more attempts."""
        step = partial(_sent, self._plan, sample)
        told = step() if self._strategy.steps_in_place else await self._off_loop(step)
        if isinstance(told, Sample):
            self._outcome = told
            return
        if told and not sample.success and not attempt.thinking:
            self._tell(Retried(void=sample.attempt, reason="; ".join(sample.reasons), attempt=sample.attempt))
        if told:
            self._start(await self._off_loop(partial(self.rendered, told)))
        if not self._due:
            raise InvalidArgument(f"The plan of {self._strategy!r} waits for a sample, but none of its attempts runs.")

    async def _off_loop(self, work: Callable[[], R]) -> R:
        return await in_worker(work, context=self._call.home.variables.copy())

    async def _stop(self) -> None:
        """Stop what still runs, and wait until it has."""
        tasks = [task for task in self._at_work if not task.done()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _end(self, chosen: Sample) -> Finished | Failed:
        samples = tuple(sorted(self._samples, key=lambda sample: sample.attempt))
        error = chosen.error or _parse_error(chosen)
        if error is None and self._call.raises and not chosen.success:
            error = RequirementsNotMet(
                f"No answer met the requirements in {len(samples)} attempts. The one that was kept: "
                f"{'; '.join(chosen.reasons)}. Loosen a requirement, give the strategy more attempts, or take the "
                "answer as it is with on_failure='return'.",
                text=chosen.text,
                samples=samples,
            )
        reason = chosen.finish_reason or "stop"
        if error is not None:
            return Failed(error=error, usage=self._usage, finish_reason=reason, samples=samples, attempt=chosen.attempt)
        return Finished(
            finish_reason=reason,
            usage=self._usage,
            model=chosen.model,
            raw=chosen.raw,
            parsed=chosen.parsed,
            samples=samples,
            attempt=chosen.attempt,
        )


def _parse_error(sample: Sample) -> BaseException | None:
    """Return what is wrong with an answer that is not of the type that was asked for."""
    return next((v.error for v in sample.validations if isinstance(v.error, OutputParseError)), None)


def _sent(plan: Plan, sample: Sample | None) -> Sample | list[Attempt]:
    """Step a plan: None begins it."""
    try:
        return list(next(plan) if sample is None else plan.send(sample))
    except StopIteration as done:
        if not isinstance(done.value, Sample):
            raise InvalidArgument(f"The plan {plan!r} returned {done.value!r}; it must return a sample.") from None
        return done.value
