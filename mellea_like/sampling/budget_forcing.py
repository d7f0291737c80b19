"""Budget forcing: the model thinks for a budget of tokens, then it has to answer."""

from __future__ import annotations

from dataclasses import replace

from ..content import Message
from ..errors import InvalidArgument
from ..options import ModelOption
from ..requirement import Requirements
from ..samples import Sample
from . import Attempt, Plan, SamplingStrategy, usable

THINK = "First think it through, step by step. Write down your thoughts only; you will be asked for the answer after."
WAIT = "Wait. Check what you have thought so far, and think on."
ANSWER = "That is enough thinking. Give the answer now, and nothing else."


class BudgetForcingSamplingStrategy(SamplingStrategy):
    """Let the model think for a budget of tokens before it answers: no longer, and no shorter than it is told to.

    The thoughts are `Thinking` events, and `thinking` of the thunk; the answer is what comes after them. Where the
    budget is used up, the thoughts are cut off there and the answer is asked for. Where the model ends them by itself,
    it is told to wait and think on, `waits` times, while tokens are left. Works with any model: the thoughts are turns
    of the conversation, which only the model sees. A model that thinks by itself is told not to while it answers.

    Args:
        think_max_tokens: Tokens that the thoughts may take, all together.
        answer_max_tokens: Tokens that the answer may take; None leaves that to the call's options.
        waits: How many times the model is told to think on.
        think_more_suffix: What it is told then.
        answer_suffix: What it is told when it is to answer.
        loop_budget: How many answers there may be: where one does not pass, the model thinks and answers again.
        requirements: Requirements of the strategy's own; they are judged after those of the call.

    Raises:
        InvalidArgument: a number is out of range.

    Example:
        ```python
        from mellea_like import BudgetForcingSamplingStrategy, start_session

        with start_session("fake", answers=["9 is 3 * 3.", "And 3 > 1, so yes.", "No, 9 is not prime."]) as m:
            strategy = BudgetForcingSamplingStrategy(think_max_tokens=200, waits=1)
            answer = m.instruct("Is 9 prime?", strategy=strategy)
            print(answer.value)
            print(answer.thinking)
        ```

    Source: s1, Muennighoff et al. 2025, arXiv:2501.19393; Mellea's strategy of this name, https://mellea.ai
    """

    steps_in_place = True

    def __init__(
        self,
        *,
        think_max_tokens: int = 4096,
        answer_max_tokens: int | None = None,
        waits: int = 1,
        think_more_suffix: str = WAIT,
        answer_suffix: str = ANSWER,
        loop_budget: int = 1,
        requirements: Requirements = (),
    ) -> None:
        super().__init__(loop_budget=loop_budget, requirements=requirements)
        limits = {"think_max_tokens": (think_max_tokens, 1), "answer_max_tokens": (answer_max_tokens, 1)}
        for name, (value, least) in {**limits, "waits": (waits, 0)}.items():
            if value is not None and (type(value) is not int or value < least):
                raise InvalidArgument(f"{name} is {value!r}; it must be a whole number from {least}.")
        self.think_max_tokens = think_max_tokens
        self.answer_max_tokens = answer_max_tokens
        self.waits = waits
        self.think_more_suffix = think_more_suffix
        self.answer_suffix = answer_suffix

    def plan(self, first: Attempt) -> Plan:
        """Think, think on, and answer; again where the answer does not pass."""
        tried: list[Sample] = []
        while len(tried) < self.loop_budget and not (tried and tried[-1].success):
            thoughts, left = "", self.think_max_tokens
            for _ in range(self.waits + 1):
                if left <= 0:
                    break
                thought = yield [self._thinking(first, thoughts, left)]
                thoughts = "\n".join(filter(None, (thoughts, thought.thinking, thought.text)))
                left = 0 if _cut_off(thought) else left - _tokens(thought)
            tried.append((yield [self._answering(first, thoughts, native=bool(thought.thinking))]))
        return tried[-1] if tried[-1].success else usable(tried)[0]

    def _thinking(self, first: Attempt, thoughts: str, left: int) -> Attempt:
        options = {**first.options, ModelOption.MAX_NEW_TOKENS: left}
        so_far = _said(thoughts, self.think_more_suffix)
        return replace(first, remark=THINK, follow_up=so_far, options=options, thinking=True)

    def _answering(self, first: Attempt, thoughts: str, *, native: bool) -> Attempt:
        options = dict(first.options)
        if self.answer_max_tokens is not None:
            options[ModelOption.MAX_NEW_TOKENS] = self.answer_max_tokens
        if native:
            options[ModelOption.THINKING] = False
        return replace(first, remark=THINK, follow_up=_said(thoughts, self.answer_suffix), options=options)


def _said(thoughts: str, then: str) -> tuple[Message, ...]:
    return (Message("assistant", thoughts), Message("user", then)) if thoughts.strip() else ()


def _cut_off(thought: Sample) -> bool:
    """Whether the budget is used up, or there is no use in thinking on."""
    return thought.finish_reason == "length" or thought.error is not None


def _tokens(thought: Sample) -> int:
    return max(1, thought.usage.output_tokens) if thought.usage is not None else 1
