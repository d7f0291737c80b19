"""The thunk: a value that a model is still computing, or has computed.

A thunk is a set of views on one log. Readers are plain iterator classes that hold a position in the log, so any number
of them read live or replay, and dropping one takes effect at once. When neither a thunk nor a reader of it can be
reached any more, its generation is stopped.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, NoReturn, Self, TypeAlias, TypeVar, cast

from .closing import Closing
from .content import ToolCall
from .display.shown import Shown
from .engine import Run
from .errors import AlreadyComputed, AlreadyPolled, NotComputed, ResultTimeout, fresh_copy
from .events import Cancelled, Failed, Finished, FinishReason, Said, Started, Thinking, ToolCallEvent, Usage
from .home import Home
from .log import Log
from .partial.json_tree import Shape
from .partial.structured import Structured
from .readers import EventReader, TextReader
from .samples import UNPARSED, Sample, ValidationResult
from .telemetry import announce
from .waiting import give_turn

if TYPE_CHECKING:
    from typing_extensions import TypeVar as TypeVarWithDefault

    T = TypeVarWithDefault("T", default=str)
else:  # the default is for type checkers only, and the package that offers it is slow to import
    T = TypeVar("T")
K = TypeVar("K", bound="ModelOutputThunk[Any]")

State: TypeAlias = Literal["running", "finished", "failed", "cancelled"]
"""How far a generation is: at work, or how it ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationMetadata:
    """What is known about a generation besides its text.

    Args:
        model: The model's name, as the provider gives it.
        provider: The backend's name.
        usage: Tokens used; None where the backend does not say.
        finish_reason: Why it ended; None while it runs.
        ttft: Seconds from the call to the first text or thought; None before it.
        seconds: Seconds from the call to the end; None while it runs.
        raw: The provider's reply, where `ModelOption.KEEP_RAW` asked for it.
    """

    model: str = ""
    provider: str = ""
    usage: Usage | None = None
    finish_reason: FinishReason | None = None
    ttft: float | None = None
    seconds: float | None = None
    raw: Any = None


class ModelOutputThunk(Closing, Structured[T], Shown, Generic[T]):
    """A future-like value whose text grows while a backend fills it; `T` is the type of `parsed`.

    ```python
    import asyncio
    from mellea_like import start_session

    async def main():
        with start_session("fake", answers="Hello, world!") as m:
            thunk = await m.ainstruct("Say hello", await_result=False)
            async for delta in thunk:            # only the new text; any number of readers
                print(delta, end="", flush=True)
            print((await thunk).value)           # the computed thunk

    asyncio.run(main())
    ```

    Every reader gets the whole sequence, live or replayed, and after a failure the text that came and then the error.
    A thunk may be read on any event loop and any thread. Session verbs make thunks; see `MelleaSession.ainstruct`.
    """

    __slots__ = ("__weakref__", "_delivered", "_log", "_polled", "_polling", "_position", "_run", "_shape", "_so_far")

    def __init__(self, log: Log, run: Run | None = None, *, shape: Shape | None = None) -> None:
        self._log = log
        self._run = run
        self._shape = shape
        # What `astream` has delivered: up to which position, and as which text.
        self._position = 0
        self._so_far = ""
        self._polled = self._polling = False
        self._delivered = False

    @classmethod
    def start(
        cls,
        source: AsyncGenerator[Said, None],
        *,
        held: bool = False,
        among: set[Run] | None = None,
        shape: Shape | None = None,
        home: Home | None = None,
    ) -> Self:
        """Start a generation from `source`, at once, on the library's own event loop.

        Args:
            source: Yields `str` for new text, events for the rest, `Finished` last.
            held: Keep text from plain readers until an attempt is accepted.
            among: A set that holds the run while it works.
            shape: What the text is to become, for readers of it; None for plain text.
            home: Where the functions of the user's are called that it waits for; None where it waits for none.
        """
        log = Log(held=held)
        if home is not None:
            home.fills(log)
        thunk = cls(log, Run(log, source, among=among), shape=shape)
        announce(log)
        return thunk

    # --- what it is now ---------------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """`"running"`, `"finished"`, `"failed"` or `"cancelled"`."""
        match self._log.end:
            case None:
                return "running"
            case Finished():
                return "finished"
            case Failed():
                return "failed"
            case Cancelled():
                return "cancelled"

    def done(self) -> bool:
        """Whether the backend has ended, in whatever way; from then on nothing waits."""
        return self._log.end is not None

    def is_computed(self) -> bool:
        """Whether the end has been delivered to you: by `astream()` once you have polled, else by any reading.

        So `while not thunk.is_computed(): text = await thunk.astream()` sees the whole text, whatever the timing.
        """
        return self._delivered

    @property
    def value(self) -> str | None:
        """The whole text, None unless the generation has finished."""
        return self._log.text() if isinstance(self._log.end, Finished) else None

    @property
    def parsed(self) -> T | None:
        """The answer as `T`, which may be None; and None unless the generation has finished."""
        end = self._log.end
        if not isinstance(end, Finished):
            return None
        return cast("T", self._log.text() if end.parsed is UNPARSED else end.parsed)

    @property
    def partial_text(self) -> str:
        """The text that has come so far, however the generation went on."""
        return self._log.text()

    @property
    def thinking(self) -> str:
        """The reasoning text that has come so far; empty for models that show none."""
        return self._log.thinking()

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tool calls that are complete so far."""
        return tuple(
            e.as_tool_call()
            for e in self._log.others()
            if isinstance(e, ToolCallEvent) and e.complete and e.attempt == self._log.accepted
        )

    @property
    def samples(self) -> tuple[Sample, ...]:
        """The attempts of a judged call, in their order; none while it runs, and where nothing was judged."""
        end = self._log.end
        return end.samples if isinstance(end, Finished | Failed) else ()

    @property
    def attempt(self) -> int | None:
        """Which attempt the text is from, counted from 1; None while no attempt is accepted."""
        return self._log.accepted

    @property
    def validations(self) -> tuple[ValidationResult, ...]:
        """The verdicts on the answer, in the order of the requirements; none where nothing was judged."""
        return next((sample.validations for sample in self.samples if sample.attempt == self.attempt), ())

    @property
    def success(self) -> bool | None:
        """Whether the answer meets its requirements; None while it runs, and where nothing was judged."""
        if not self.validations:
            return None if self.error is None or not self.samples else False
        return self.error is None and all(self.validations)

    @property
    def error(self) -> BaseException | None:
        """What the generation failed with; None while it runs, and where it finished or was cancelled."""
        return self._log.end.error if isinstance(self._log.end, Failed) else None

    @property
    def usage(self) -> Usage | None:
        """Tokens used; None while it runs and where the backend does not say."""
        return self._log.end.usage if self._log.end is not None else None

    @property
    def finish_reason(self) -> FinishReason | None:
        """Why it ended, None while it runs."""
        return self._log.end.finish_reason if self._log.end is not None else None

    @property
    def generation(self) -> GenerationMetadata:
        """Model, provider, usage, finish reason and times, as far as they are known now."""
        end = self._log.end
        others = self._log.others()
        accepted = self._log.accepted
        started = next((e for e in others if isinstance(e, Started) and e.attempt == (accepted or 1)), Started())
        finished = end if isinstance(end, Finished) else Finished()
        return GenerationMetadata(
            model=finished.model or started.model,
            provider=started.provider,
            usage=self.usage,
            finish_reason=self.finish_reason,
            ttft=self._log.first_text_at(),
            seconds=None if end is None else others[-1].seconds,
            raw=finished.raw,
        )

    # --- reading ----------------------------------------------------------------------------------------------------

    async def astream(self) -> str:
        """Wait for more text than the previous call returned, and return all of it so far.

        The end is delivered by the call that returns the last text or by the one after it; then `is_computed()` is
        true, and further calls return the whole text. Cancelling a call loses nothing: the next one has it.

        Raises:
            AlreadyPolled: another task is in this method now; one poller per thunk, any number of iterators.
            MelleaError: what the generation failed with, after the text that came has been returned.
        """
        if self._polling:
            raise AlreadyPolled(
                "Another task is polling this thunk with `astream()`. Iterate instead, in as many tasks as you like: "
                "`async for delta in thunk`."
            )
        self._delivered = self._delivered and self._polled
        self._polled = self._polling = True
        try:
            if len(self._log) > self._position:
                await give_turn()
            while True:
                # In this order: whoever sees the end sees everything that was said before it.
                end, seen = self._log.end, len(self._log)
                fresh, position = self._log.text_from(self._position)
                if fresh or end is not None:
                    break
                await self._log.grown(seen)
            error = self._log.reader_error() if end is not None else None
            self._delivered = end is not None and (error is None or not fresh)
            self._position = position
            self._so_far = self._log.text() if end is not None else self._so_far + fresh
            if error is None or fresh:
                return self._so_far
        finally:
            self._polling = False
            del self  # a kept traceback keeps its frames, and they would keep the thunk
        raise fresh_copy(error)

    async def avalue(self) -> str:
        """Wait for the end and return the whole text.

        Raises:
            MelleaError: what the generation failed with.
            GenerationCancelled: it was cancelled.
        """
        reading = self._computed()
        del self  # a kept traceback keeps its frames, and they would keep the thunk
        return (await reading).value

    def __await__(self) -> Generator[Any, Any, ComputedModelOutputThunk[T]]:
        return self._computed().__await__()

    async def _computed(self) -> ComputedModelOutputThunk[T]:
        log, shape = self._log, self._shape
        try:
            await _ended(log)
            self._mark_delivered()
        finally:
            del self
        return _outcome(log, shape)

    async def ended(self) -> None:
        """Wait for the end, in whatever way it comes, without counting as a reading: what the library itself uses."""
        await _ended(self._log)

    def result(self, timeout: float | None = None) -> ComputedModelOutputThunk[T]:
        """Wait for the end, blocking this thread, and return the computed thunk; for synchronous code.

        Args:
            timeout: Seconds to wait; None waits for the end.

        Raises:
            ResultTimeout: the generation still runs after `timeout` seconds; it goes on.
            MelleaError: what the generation failed with.
        """
        log, shape = self._log, self._shape
        deadline = None if timeout is None else time.monotonic() + timeout
        while log.end is None:
            left = None if deadline is None else deadline - time.monotonic()
            if not log.wait_grown(None, left) and log.end is None:
                del self
                raise ResultTimeout(
                    f"The generation still runs after {timeout} s, with {len(log.text())} characters so far. "
                    "It goes on: wait again, or stop it with `thunk.close()`."
                )
        self._mark_delivered()
        del self
        return _outcome(log, shape)

    def __aiter__(self) -> AsyncIterator[str]:
        return TextReader(self._log, self._mark_delivered)

    def __iter__(self) -> Iterator[str]:
        return TextReader(self._log, self._mark_delivered)

    def events(self) -> EventReader:
        """Iterate, with `for` or `async for`, over every event from the start: text as `Delta`, the end included.

        Nothing is raised for a failed generation: `Failed`, with its error, is its last event.
        """
        return EventReader(self._log, self._mark_delivered)

    def _mark_delivered(self) -> None:
        # Once somebody has polled, only polling delivers: an iteration elsewhere must not cut the poller's text short.
        if not self._polled:
            self._delivered = True

    # --- stopping ---------------------------------------------------------------------------------------------------

    def cancel(self) -> _Stopping:
        """Stop the generation at its source; what came stays readable. Nothing happens where it has ended.

        The request is made at once; `await thunk.cancel()` also waits until the backend has stopped. Other readers
        get the text, then `GenerationCancelled`.
        """
        if self._run is not None and self._log.end is None:
            self._run.stop()
        return _Stopping(self._log)

    async def aclose(self) -> None:
        """Cancel, and wait until it has stopped; what `async with thunk:` does at its end."""
        await self.cancel()

    def close(self) -> None:
        """Cancel, and wait until it has stopped, blocking; what `with thunk:` does at its end."""
        self.cancel()
        while self._log.end is None:
            self._log.wait_grown(None)

    def __del__(self) -> None:
        # No reader is left, for they hold it. This may run anywhere, inside a held lock too, so it only schedules.
        run = getattr(self, "_run", None)
        if run is not None and run.log.end is None:
            run.stop()

    # --- as an object -----------------------------------------------------------------------------------------------

    def __str__(self) -> str:
        log = self._log
        del self
        if log.end is None:
            raise NotComputed(
                f"This thunk is still being computed ({len(log.text())} characters so far), so it has no text "
                "yet. Write `await thunk` (or `thunk.result()` in synchronous code) first; `thunk.partial_text` is "
                "what has come."
            )
        return _outcome(log).value

    def __contains__(self, text: str) -> bool:
        # Without it Python would compare each delta.
        return text in str(self)

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    def __repr__(self) -> str:
        text = self._log.text()
        shown = text if len(text) <= 60 else f"{text[:57]}..."
        error = f", {type(self.error).__name__}" if self.error is not None else ""
        return f"<{type(self).__name__} {self.state}{error}: {shown!r}>"

    def __copy__(self) -> Self:
        return self if self._log.end is None else _unpickled(type(self), self._log, self._delivered, self._shape)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self.__copy__()

    def __reduce__(self) -> tuple[Any, ...]:
        if self._log.end is None:
            raise NotComputed(
                "This thunk is still being computed and lives in this process only. Write `await thunk` before you "
                "pickle it."
            )
        return (_unpickled, (type(self), self._log, self._delivered, self._shape))


class ComputedModelOutputThunk(ModelOutputThunk[T]):
    """A thunk whose text is there: what `await thunk` and the awaiting verbs give. It can be read, not streamed.

    Iterating replays the deltas exactly as they came.
    """

    __slots__ = ()

    def __init__(self, log: Log, run: Run | None = None, *, shape: Shape | None = None) -> None:
        if log.end is None:
            raise NotComputed("A computed thunk can only be made of one that has ended. Write `await thunk` instead.")
        super().__init__(log, shape=shape)
        self._delivered = True

    @classmethod
    def of(
        cls, text: str, *, thinking: str = "", tool_calls: Iterable[ToolCall] = (), end: Finished | None = None
    ) -> ComputedModelOutputThunk[str]:
        """Build a computed thunk of a text that is there already: in tests, in contexts read from a file.

        Args:
            text: The answer.
            thinking: The reasoning before it.
            tool_calls: The tools that it wants called.
            end: How it ended, with usage and the like; None for an end that says nothing.
        """
        log = Log()
        if thinking:
            log.append(Thinking(text=thinking))
        log.append(text)
        for i, call in enumerate(tool_calls):
            log.append(ToolCallEvent(index=i, id=call.id, name=call.name, arguments=call.arguments, complete=True))
        log.append(end or Finished())
        return cast("ComputedModelOutputThunk[str]", cls(log))

    @property
    def value(self) -> str:
        """The whole text."""
        return self._log.text()

    @property
    def parsed(self) -> T:
        """The answer as `T`."""
        return cast("T", super().parsed)

    async def astream(self) -> NoReturn:
        """Raise: there is nothing to wait for.

        Raises:
            AlreadyComputed: always.
        """
        raise AlreadyComputed(
            "This thunk is already computed and cannot be streamed. Its text is in `.value`, and iterating replays it; "
            "to stream, ask for `await_result=False`."
        )


class _Stopping:
    """The awaitable half of `cancel()`: waiting is optional, stopping is not."""

    __slots__ = ("_log",)

    def __init__(self, log: Log) -> None:
        self._log = log

    def __await__(self) -> Generator[Any, Any, None]:
        return _ended(self._log).__await__()


async def _ended(log: Log) -> None:
    while log.end is None:
        await log.grown(None)


def _outcome(log: Log, shape: Shape | None = None) -> ComputedModelOutputThunk[Any]:
    """Return the computed thunk of a log that has ended, or raise what it failed with."""
    if (error := log.reader_error()) is not None:
        raise fresh_copy(error)
    return ComputedModelOutputThunk(log, shape=shape)


def _unpickled(kind: type[K], log: Log, delivered: bool, shape: Shape | None = None) -> K:
    thunk = kind(log, shape=shape)
    thunk._delivered = delivered
    return thunk
