"""What attempts came to: tokens, verdicts with reasons, and samples: attempts that have ended. Pure data."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Literal, TypeAlias

from .content import ToolCall

FinishReason: TypeAlias = Literal["stop", "length", "tool_calls", "content_filter", "cancelled", "error"]
"""Why a generation ended: by itself, out of tokens, to have tools called, at a filter, from outside, or in an error."""


class Unparsed(Enum):
    """The type of `UNPARSED`, which is false."""

    UNPARSED = "unparsed"

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return self.name


UNPARSED: Final = Unparsed.UNPARSED
"""Stands where an answer is its text and nothing else; None may be what an answer was parsed to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens that a generation took; `a + b` adds two generations up.

    Args:
        input_tokens: Tokens of the prompt.
        output_tokens: Tokens of the answer, reasoning included.
        cached_tokens: Tokens of the prompt that the backend had at hand; None where it does not say.
        estimated: Whether the library counted by itself, because the generation ended before the backend gave a count.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int | None = None
    estimated: bool = False

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens

    def __add__(self, other: Usage) -> Usage:
        cached = (self.cached_tokens, other.cached_tokens)
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cached_tokens=None if cached == (None, None) else sum(c or 0 for c in cached),
            estimated=self.estimated or other.estimated,
        )


@dataclass(frozen=True, slots=True)
class ValidationResult:
    """A verdict on an answer: True it passes, False it fails, None it could not be told.

    Only True is true: `bool(verdict)` fails closed.

    Args:
        result: The verdict.
        reason: Why; a strategy that repairs tells it to the model.
        score: How well, where the requirement measures; higher is better.
        error: What the requirement's function raised, where it did.
        requirement: The requirement's description.
        check_only: Whether that may not be told to the model; the reason may.

    Example:
        ```python
        from mellea_like import ValidationResult

        verdict = ValidationResult(False, reason="There are 7 words; at most 5 are allowed.")
        print(bool(verdict), verdict.reason)
        ```
    """

    result: bool | None
    reason: str | None = field(default=None, kw_only=True)
    score: float | None = field(default=None, kw_only=True)
    error: BaseException | None = field(default=None, kw_only=True, compare=False)
    requirement: str = field(default="", kw_only=True)
    check_only: bool = field(default=False, kw_only=True)

    def __bool__(self) -> bool:
        return self.result is True

    @property
    def complaint(self) -> str:
        """The requirement, and why the answer does not meet it."""
        return f"{self.requirement.rstrip('.')}: {self.reason}" if self.reason else self.requirement

    def as_bool(self) -> bool:
        """Return whether it passes; what `bool` gives."""
        return bool(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """An attempt that has ended: what it said, how it was judged, what it cost.

    Args:
        attempt: Its number, from 1.
        text: What it said; of one that failed or was stopped, what had come by then.
        thinking: The reasoning before it.
        tool_calls: The tools that it wants called.
        parsed: The answer as the type that was asked for; `UNPARSED` where it is none, or none was asked for.
        validations: The verdicts, in the order of the requirements.
        usage: Tokens that it took, without those of models that judged it.
        finish_reason: Why it ended.
        error: What it failed with: its backend's error.
        stopped: Whether it was ended before its own end: by a verdict, or because another attempt was the answer.
        model: The model's name.
        raw: The provider's reply, where `ModelOption.KEEP_RAW` asked for it.
    """

    attempt: int
    text: str = ""
    thinking: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    parsed: Any = field(default=UNPARSED, repr=False, compare=False)
    validations: tuple[ValidationResult, ...] = ()
    usage: Usage | None = None
    finish_reason: FinishReason | None = None
    error: BaseException | None = field(default=None, compare=False)
    stopped: bool = False
    model: str | None = None
    raw: Any = field(default=None, repr=False, compare=False)

    @property
    def success(self) -> bool:
        """Whether it came to its end and every requirement passed."""
        return self.error is None and not self.stopped and all(self.validations)

    @property
    def reasons(self) -> list[str]:
        """List why it is not good enough, one sentence per requirement that did not pass; empty on success."""
        failed = [verdict.complaint for verdict in self.validations if not verdict]
        return failed if self.error is None else [*failed, str(self.error)]

    @property
    def complaints(self) -> list[str]:
        """List what a model may be told of why its answer is not good enough; empty where that is nothing.

        Of a requirement that the model is not to know of, only the reason is told.
        """
        failed = [verdict for verdict in self.validations if not verdict]
        return [told for v in failed if (told := v.reason if v.check_only else v.complaint)]

    @property
    def score(self) -> float:
        """The sum of the scores that its requirements gave; one that gives none counts 1 where it passed, else 0."""
        return sum(float(bool(v)) if v.score is None else v.score for v in self.validations)
