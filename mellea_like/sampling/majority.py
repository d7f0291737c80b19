"""Majority voting: several answers side by side, of which the one that most agree on is kept."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from ..errors import InvalidArgument
from ..requirement import Requirements
from ..samples import Sample
from . import Attempt, Plan, SamplingStrategy, answer_of, usable


class MajorityVotingStrategy(SamplingStrategy):
    """Let the model answer `number_of_samples` times at once, and keep an answer that most of them agree on.

    Answers agree when they are equal but for case, spaces and the full stop at the end; numbers when they are equal as
    numbers (`"1,000"` and `"1000.0"`). With `format=`, objects agree when they are equal. Answers that do not pass the
    requirements have no vote, nor have those without the field that is compared. As soon as the majority is decided,
    the answers that still run are stopped, at the server too. Of answers that agree the first is kept.

    Args:
        number_of_samples: How many answers vote.
        by: What the answers are compared by: the name of a field of an object (`format=`, or JSON text), or a function
            that is given the answer's text, with `format=` the object. None compares all of it.
        loop_budget: How many rounds there may be; there is another where no answer of a round passes.
        requirements: Requirements of the strategy's own; they are judged after those of the call.

    Raises:
        InvalidArgument: a number is not a positive whole one, or `by` is neither a name nor a function.

    Example:
        ```python
        from mellea_like import MajorityVotingStrategy, start_session

        with start_session("fake", answers=["Paris.", "London", "paris"]) as m:
            print(m.instruct("The capital of France?", strategy=MajorityVotingStrategy(number_of_samples=3)))
        ```

    Source: self-consistency, Wang et al. 2022, arXiv:2203.11171
    """

    def __init__(
        self,
        *,
        number_of_samples: int = 8,
        by: str | Callable[[Any], object] | None = None,
        loop_budget: int = 1,
        requirements: Requirements = (),
    ) -> None:
        super().__init__(loop_budget=loop_budget, requirements=requirements)
        if type(number_of_samples) is not int or number_of_samples < 1:
            raise InvalidArgument(f"number_of_samples is {number_of_samples!r}; it must be a whole number from 1.")
        if by is not None and not isinstance(by, str) and not callable(by):
            raise InvalidArgument(f"by is {by!r}; it must be the name of a field, or a function.")
        self.number_of_samples = number_of_samples
        self.by = by

    def plan(self, first: Attempt) -> Plan:
        """Make all attempts of a round at once, and count the votes."""
        samples: list[Sample] = []
        groups: list[_Group] = []
        for _ in range(self.loop_budget):
            wanted = [first] * self.number_of_samples
            for left in range(self.number_of_samples - 1, -1, -1):
                sample = yield wanted
                wanted = []
                samples.append(sample)
                if sample.success:
                    self._vote(sample, groups)
                if _decided(groups, left):
                    break
            if groups:
                return max(groups, key=_Group.rank).first
        samples.sort(key=lambda sample: sample.attempt)
        return next((sample for sample in samples if sample.success), usable(samples)[0])

    def _vote(self, sample: Sample, groups: list[_Group]) -> None:
        vote = self.vote(answer_of(sample))
        if vote is _NO_VOTE:
            return
        group = next((group for group in groups if group.vote == vote), None)
        if group is None:
            groups.append(_Group(vote=vote, samples=[sample]))
        else:
            group.samples.append(sample)

    def vote(self, answer: Any) -> object:
        """Return what an answer votes for; answers agree where this is equal."""
        if self.by is None:
            return normalised(answer)
        return normalised(_field(answer, self.by)) if isinstance(self.by, str) else self.by(answer)


class MajorityVotingStrategyForMath(MajorityVotingStrategy):
    r"""Majority voting over the number that each answer ends with: what is in `\boxed{…}`, else its last number.

    An answer without a number is compared as text.

    Args:
        number_of_samples: How many answers vote.
        float_rounding: Decimals to which numbers are rounded before they are compared.
        loop_budget: How many rounds there may be; there is another where no answer of a round passes.
        requirements: Requirements of the strategy's own; they are judged after those of the call.

    Raises:
        InvalidArgument: a number is not a positive whole one.

    Example:
        ```python
        from mellea_like import MajorityVotingStrategyForMath, start_session

        answers = ["2 + 2 is 4.", "It is 5.", r"So the answer is \boxed{4}"]
        with start_session("fake", answers=answers) as m:
            print(m.instruct("What is 2 + 2?", strategy=MajorityVotingStrategyForMath(number_of_samples=3)))
        ```

    Source: Wang et al. 2022, arXiv:2203.11171; Mellea's strategy of this name, https://mellea.ai
    """

    def __init__(
        self,
        *,
        number_of_samples: int = 8,
        float_rounding: int = 6,
        loop_budget: int = 1,
        requirements: Requirements = (),
    ) -> None:
        super().__init__(number_of_samples=number_of_samples, loop_budget=loop_budget, requirements=requirements)
        self.float_rounding = float_rounding

    def vote(self, answer: Any) -> object:
        """Return the number that an answer ends with."""
        text = answer if isinstance(answer, str) else str(answer)
        boxed = _BOXED.findall(text)
        found = _NUMBER.findall(boxed[-1] if boxed else text)
        number = _number(found[-1]) if found else None
        return normalised(text) if number is None else round(number, self.float_rounding)


_NO_VOTE = object()
"""What an answer votes for that has not got what votes are about."""


@dataclass(slots=True, kw_only=True)
class _Group:
    """Samples that agree."""

    vote: object
    samples: list[Sample] = field(default_factory=list)

    @property
    def first(self) -> Sample:
        return min(self.samples, key=lambda sample: sample.attempt)

    def rank(self) -> tuple[int, int]:
        """More votes first; where they are even, the earlier attempt."""
        return len(self.samples), -self.first.attempt


def _decided(groups: list[_Group], left: int) -> bool:
    """Whether no group can catch up with the leading one in `left` more votes."""
    counts = sorted((len(group.samples) for group in groups), reverse=True)
    return bool(counts) and counts[0] > (counts[1] if len(counts) > 1 else 0) + left


_BOXED = re.compile(r"\\boxed\s*\{([^{}]*(?:\{[^{}]*\}[^{}]*)*)\}")
_NUMBER = re.compile(
    r"(?:(?<!\w)[-+−])?(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)"  # noqa: RUF001  # the typographer's minus
    r"(?:[eE][-+]?\d{1,3})?(?:\s*/\s*\d+)?"
)
_WHOLE = re.compile(rf"\s*[$€£]?\s*({_NUMBER.pattern})\s*\.?\s*")


def _number(text: str) -> Fraction | None:
    try:
        above, _, below = text.replace(",", "").replace("−", "-").partition("/")  # noqa: RUF001  # as above
        return Fraction(above.strip()) / Fraction(below.strip() or 1)
    except (ValueError, ZeroDivisionError):
        return None


def normalised(answer: object) -> object:
    """Return what a text is compared by: its number, where it is one, else its words; anything else is itself."""
    if not isinstance(answer, str):
        return answer
    whole = _WHOLE.fullmatch(answer)
    number = _number(whole[1]) if whole else None
    return " ".join(answer.casefold().split()).rstrip(".!").strip("\"'` ") if number is None else number


def _field(answer: object, name: str) -> object:
    if isinstance(answer, str):
        try:
            answer = json.loads(answer)
        except ValueError:
            return _NO_VOTE
    if isinstance(answer, Mapping):
        return answer.get(name, _NO_VOTE)
    if not hasattr(answer, name):
        raise InvalidArgument(f"by={name!r} names a field, and {answer!r} has none of that name.")
    return getattr(answer, name)
