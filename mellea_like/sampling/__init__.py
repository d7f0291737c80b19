"""The seam to strategies: how many attempts a call is given, and which of them is its answer.

A strategy is one file with one class and one method, `plan`: a plain generator, without `await`, that yields attempts
and is sent judged samples. The driver does the rest: generation, checks, concurrency, events, cancellation.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Generic, TypeAlias, TypeVar

from ..arguments import whole
from ..backends import Backend
from ..content import Message
from ..display.attempts import attempts_html, attempts_markdown
from ..errors import OutputParseError
from ..events import Finished
from ..parts import Sayable
from ..requirement import Requirements, requirements_of
from ..samples import UNPARSED, Sample, Usage, ValidationResult
from ..thunk import ComputedModelOutputThunk

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt that a strategy wants: what to say, and how it differs from the call.

    Args:
        said: What to say: what the call says, or something made from it.
        repair: Why the answer before was not accepted; it is told with what is said.
        remark: What else is told with it, at the end of its last turn.
        follow_up: Turns after it, such as a failed answer and what was wrong with it.
        backend: Another backend than the call's.
        options: Model options over the call's; those that its backend cannot honour are left out.
        judged: Whether its answer is checked; one that is not passes.
        thinking: Its text is reasoning: shown as such, not judged, never the answer. It belongs to the next attempt
            that is an answer, and has the number of that.
    """

    said: Sayable
    repair: str | None = None
    remark: str | None = None
    follow_up: tuple[Message, ...] = ()
    backend: Backend | None = None
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    judged: bool = True
    thinking: bool = False


Plan: TypeAlias = Generator[Sequence[Attempt], Sample, Sample]
"""Yields attempts to start, at once and side by side; is sent the next sample that was judged; returns the answer's."""


class SamplingStrategy(ABC):
    """How many attempts a call is given, and which of them is its answer. Subclasses write `plan`.

    Args:
        loop_budget: How many attempts there may be, at least 1.
        requirements: Requirements of the strategy's own; they are judged after those of the call.

    Raises:
        InvalidArgument: the budget is not a positive whole number.

    Example:
        ```python
        from mellea_like import Attempt, SamplingStrategy, start_session

        class UntilShort(SamplingStrategy):
            def plan(self, first):
                sample = yield [first]
                while len(sample.text) > 10:
                    sample = yield [first]
                return sample

        with start_session("fake", answers=["much too long", "short"]) as m:
            print(m.instruct("Say something.", strategy=UntilShort()))
        ```

    Source: the shape is that of httpx's authentication flows; what it does, of Mellea's strategies.
    """

    steps_in_place: bool = False
    """Whether `plan` calls no function of the user's, so that it may be stepped on the library's own loop."""

    def __init__(self, *, loop_budget: int = 1, requirements: Requirements = ()) -> None:
        self.loop_budget = whole("loop_budget", loop_budget)
        self.requirements = requirements_of(requirements)

    @abstractmethod
    def plan(self, first: Attempt) -> Plan:
        """Yield attempts, beginning with `first` or something made from it, and return the sample that is the answer.

        Each `yield` starts the attempts that it gives, which may be none, and is sent the next sample that was judged;
        samples come in the order in which they are ready. Attempts that still run at the return are stopped.
        """

    def __repr__(self) -> str:
        return f"{type(self).__name__}(loop_budget={self.loop_budget})"


def answer_of(sample: Sample) -> Any:
    """Return what a user's function is given of a sample: the text, with `format=` the object."""
    parsed = sample.parsed.parsed if isinstance(sample.parsed, Message) else sample.parsed
    return sample.text if parsed is UNPARSED else parsed


def usable(samples: Sequence[Sample]) -> list[Sample]:
    """Choose, of samples that are all not good enough, those with which a caller can do most.

    The answers that are whole, and of the type that was asked for; where there is none, those that were broken off;
    where there is none of those either, those that failed in an error.
    """

    def flaws(sample: Sample) -> tuple[bool, bool, bool]:
        unreadable = any(isinstance(verdict.error, OutputParseError) for verdict in sample.validations)
        return sample.error is not None, unreadable, sample.stopped

    least = min(map(flaws, samples))
    return [sample for sample in samples if flaws(sample) == least]


class SamplingResult(Generic[T]):
    """All attempts of a call, with their verdicts; `return_sampling_results=True` asks for it.

    Example:
        ```python
        from mellea_like import check, simple_validate, start_session

        short = check("short", simple_validate(lambda text: len(text) < 6, reason="It is too long."))
        with start_session("fake", answers=["too long", "short"]) as m:
            result = m.instruct("Say something.", requirements=[short], return_sampling_results=True)
            print(result.success, result.result, [str(answer) for answer in result.sample_generations])
        ```

    Source: Mellea's `SamplingResult`, https://mellea.ai
    """

    __slots__ = ("result",)

    def __init__(self, result: ComputedModelOutputThunk[T]) -> None:
        self.result = result

    @property
    def samples(self) -> tuple[Sample, ...]:
        """The attempts that ended, in their order."""
        return self.result.samples

    @property
    def success(self) -> bool:
        """Whether the answer passed every requirement."""
        return self.result.success is not False

    @property
    def value(self) -> str:
        """The answer's text."""
        return self.result.value

    @property
    def usage(self) -> Usage | None:
        """Tokens of all attempts, and of the models that judged them, together."""
        return self.result.usage

    @property
    def result_index(self) -> int:
        """Which of `samples` is the answer, counted from 0."""
        return next(i for i, sample in enumerate(self.samples) if sample.attempt == self.result.attempt)

    @property
    def sample_generations(self) -> list[ComputedModelOutputThunk[str]]:
        """The attempts as computed thunks, in their order."""
        return [thunk_of(sample) for sample in self.samples]

    @property
    def sample_validations(self) -> list[list[tuple[str, ValidationResult]]]:
        """Each attempt's verdicts, with the requirement that each is about."""
        return [[(verdict.requirement, verdict) for verdict in sample.validations] for sample in self.samples]

    @property
    def result_validations(self) -> list[tuple[str, ValidationResult]]:
        """The answer's verdicts."""
        return self.sample_validations[self.result_index]

    def __str__(self) -> str:
        return self.value

    def __repr__(self) -> str:
        word = "success" if self.success else "failure"
        return f"<SamplingResult {word} after {len(self.samples)} attempts: {self.result!r}>"

    def _repr_markdown_(self) -> str:
        return attempts_markdown(self.samples, answer=self.result.attempt)

    def _repr_html_(self) -> str:
        return attempts_html(self.samples, answer=self.result.attempt)


def thunk_of(sample: Sample) -> ComputedModelOutputThunk[str]:
    """Build the computed thunk of a sample, as if it were the answer."""
    end = Finished(
        finish_reason=sample.finish_reason or "stop",
        usage=sample.usage,
        model=sample.model,
        raw=sample.raw,
        parsed=sample.parsed,
    )
    return ComputedModelOutputThunk.of(sample.text, thinking=sample.thinking, tool_calls=sample.tool_calls, end=end)
