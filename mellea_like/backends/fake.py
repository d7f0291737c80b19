"""The `fake` backend: scripted answers, for tests and demonstrations. Nothing is random and nothing is sent."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, TypeAlias

from ..content import Request
from ..errors import InvalidArgument, ScriptExhausted, fresh_copy
from ..events import Event, Finished, FinishReason, Said, Usage
from ..options import ModelOption
from . import Backend

_PIECES = re.compile(r"\s*\S+|\s+")


class Gate:
    """A place in a script where the fake model waits until the test opens it; `reached` tells that it waits there.

    Example:
        ```python
        from mellea_like import Answer, Gate, start_session

        gate = Gate()
        with start_session("fake", answers=Answer(["one ", gate, "two"])) as m:
            thunk = m.instruct("count", await_result=False)
            reader = iter(thunk)
            print(next(reader))          # "one " is here, the rest is not
            gate.open()
            print(next(reader))
        ```
    """

    def __init__(self) -> None:
        import threading

        self._open = threading.Event()
        self._reached = threading.Event()
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    def open(self) -> None:
        """Let the model go on; from any thread."""
        self._open.set()
        for loop, event in self._waiting:
            loop.call_soon_threadsafe(event.set)

    def reached(self, timeout: float | None = None) -> bool:
        """Block this thread until the model waits here; False when `timeout` seconds passed first."""
        return self._reached.wait(timeout)

    async def passed(self) -> None:
        """Wait, as the model does, until the gate is open."""
        event = asyncio.Event()
        self._waiting.append((asyncio.get_running_loop(), event))
        self._reached.set()
        if not self._open.is_set():
            await event.wait()


Step: TypeAlias = "str | Event | float | BaseException | Gate"
"""One step of a script: text, an event, a pause in seconds, an error to raise, or a gate to wait at."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One scripted answer.

    Args:
        steps: Text (cut into words), or a list of steps: each `str` is one delta, a number pauses for that many
            seconds, an exception is raised, an `Event` is passed on, a `Gate` is waited at.
        delay: Seconds before each delta.
        finish_reason: How the answer ends.
        truncated: End without a terminal event, as a dropped connection does.
        usage: Tokens to report; None counts words and deltas.
    """

    steps: str | Sequence[Step]
    _: KW_ONLY
    delay: float = 0.0
    finish_reason: FinishReason = "stop"
    truncated: bool = False
    usage: Usage | None = None

    def script(self) -> Sequence[Step]:
        """List the steps."""
        return _PIECES.findall(self.steps) if isinstance(self.steps, str) else self.steps


Scripted: TypeAlias = "str | Answer | Sequence[Step]"
"""What one call may be answered with: text, an `Answer`, or the steps of one."""


class FakeBackend(Backend):
    """A backend that answers from a script.

    Args:
        model_id: Any name.
        answers: What to answer. Text or one `Answer` answers every call; a list answers one call after the other; a
            function is asked with each `Request`. None repeats the last message back.
        delay: Seconds before each delta of every answer.
        model_options: As for every backend.

    Attributes:
        calls: The requests that were made, in order.

    Example:
        ```python
        from mellea_like import start_session

        with start_session("fake", answers=["first", "second"]) as m:
            print(m.instruct("a"), m.instruct("b"))
            print(m.backend.calls[1].messages[0].content)
        ```
    """

    name: ClassVar[str] = "fake"
    default_model: ClassVar[str] = "script"
    options: ClassVar[frozenset[str]] = frozenset(
        {
            ModelOption.TEMPERATURE,
            ModelOption.TOP_P,
            ModelOption.TOP_K,
            ModelOption.MAX_NEW_TOKENS,
            ModelOption.SEED,
            ModelOption.STOP_SEQUENCES,
            ModelOption.LOGPROBS,
            ModelOption.TOOLS,
            ModelOption.TOOL_CHOICE,
            ModelOption.THINKING,
        }
    )

    def __init__(
        self,
        model_id: str | None = None,
        *,
        answers: Scripted | list[Scripted] | Callable[[Request], Scripted] | None = None,
        delay: float = 0.0,
        model_options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(model_id, model_options=model_options)
        self.calls: list[Request] = []
        self._delay = delay
        self._answers = answers
        self._queue = deque(answers) if isinstance(answers, list) else None

    def _answer(self, request: Request) -> Answer:
        scripted: Any = self._answers
        if self._queue is not None:
            if not self._queue:
                raise ScriptExhausted(
                    f"The fake backend's script has no answer for call {len(self.calls)}: {request.messages[-1]!r}. "
                    "Give `answers` more entries, or one text for every call.",
                    backend=self.name,
                )
            scripted = self._queue.popleft()
        elif callable(scripted):
            scripted = scripted(request)
        elif scripted is None:
            scripted = f"You said: {request.messages[-1].content}"
        if isinstance(scripted, Answer):
            return scripted
        if isinstance(scripted, BaseException):
            return Answer([scripted])
        if isinstance(scripted, str | Iterable):
            return Answer(scripted if isinstance(scripted, str) else list(scripted))
        raise InvalidArgument(f"A scripted answer is text, an Answer or a list of steps, not {scripted!r}.")

    async def stream(self, request: Request) -> AsyncGenerator[Said, None]:
        """Play the next answer; see `Backend.stream`."""
        self.calls.append(request)
        answer = self._answer(request)
        told = _Told(request)
        for step in answer.script():
            if not isinstance(step, str):
                said = await _taken(step)
                if said is not None:
                    yield said
                if isinstance(said, Finished):
                    return
                continue
            if told.over():
                break
            if pause := answer.delay or self._delay:
                await asyncio.sleep(pause)
            if text := told.take(step):
                yield text
        if told.held:
            yield told.held
        if not answer.truncated:
            yield self._end(answer, request, told)

    def _end(self, answer: Answer, request: Request, told: _Told) -> Finished:
        words = sum(len(message.content.split()) for message in request.messages)
        return Finished(
            finish_reason="length" if told.cut else answer.finish_reason,
            usage=answer.usage or Usage(input_tokens=words, output_tokens=told.count),
            model=self.model_id,
            raw=list(answer.script()) if request.options.get(ModelOption.KEEP_RAW) else None,
        )


class _Told:
    """What of an answer's text has been told: a limit cuts it, and a stop sequence ends it before itself."""

    def __init__(self, request: Request) -> None:
        self.count = 0
        self.held = ""
        self.cut = self._stopped = False
        self._limit = request.options.get(ModelOption.MAX_NEW_TOKENS)
        self._stops: Sequence[str] = request.options.get(ModelOption.STOP_SEQUENCES, ())

    def over(self) -> bool:
        """Whether nothing more is told."""
        self.cut = not self._stopped and self.count == self._limit
        return self.cut or self._stopped

    def take(self, step: str) -> str:
        """Take a delta; return what can be told, holding back what may be the beginning of a stop sequence."""
        self.count += 1
        text = self.held + step
        found = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            self.held, self._stopped = "", True
            return text[: min(found)]
        begun = max((n for stop in self._stops for n in range(1, len(stop)) if text.endswith(stop[:n])), default=0)
        self.held = text[len(text) - begun :]
        return text[: len(text) - begun]


async def _taken(step: Step) -> Event | None:
    """Do a step that is not text; return the event that it is."""
    if isinstance(step, BaseException):
        raise fresh_copy(step)
    if isinstance(step, Gate):
        await step.passed()
        return None
    if isinstance(step, int | float):
        await asyncio.sleep(step)
        return None
    if isinstance(step, Event):
        return step
    raise InvalidArgument(f"A script's step is text, an event, seconds, an error or a Gate, not {step!r}.")
