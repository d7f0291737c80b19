"""Requirements: what an answer must satisfy, as a sentence, a function, or a model's judgement. They run nothing."""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Self, TypeAlias

from .arguments import listed
from .backends import Backend
from .chunking import Chunking, Cutter
from .context import Context
from .errors import InvalidArgument
from .home import is_async
from .samples import ValidationResult
from .template import render

Verdict: TypeAlias = "bool | tuple[bool | None, str] | ValidationResult | None"
"""What a requirement's function may return: the verdict, or the verdict with its reason."""

ValidationFn: TypeAlias = "Callable[[Any], Verdict | Awaitable[Verdict]]"
"""Judges an answer, given the context that ends with it; see `Requirement`."""

Growing: TypeAlias = Callable[[], Callable[[str], str | None]]
"""Makes what watches one growing answer: given new text, it says why the answer cannot pass any more."""

Requirements: TypeAlias = "Requirement | str | ValidationFn | Iterable[Requirement | str | ValidationFn] | None"
"""What an answer must satisfy: `Requirement`s, sentences that a model judges by, or functions of the answer's text."""


class Requirement:
    """Something that an answer must satisfy.

    Args:
        description: The requirement as a sentence. It is told to the model unless `check_only`, names the requirement
            in verdicts, and is what a model judges by where there is no function. In a call with `user_variables`, a
            Jinja template.
        validation_fn: Judges an answer: it is given the context, whose `last_output()` is the answer, and returns a
            bool, `(bool, reason)`, or a `ValidationResult`; None where it cannot tell. Synchronous (it runs in a worker
            thread) or asynchronous (it runs on the loop that made the call). `simple_validate` makes one that is
            given the answer's text. None lets a model judge.
        check_only: Judge by it, but never tell it to the model.
        chunking: Judge each `"word"`, `"sentence"`, `"line"` or `"paragraph"` while the answer grows, and stop the
            attempt at the first that fails; the answer passes when each of them does. The function is given the
            `Chunk`: its text, with its `number` from 0 and the text `so_far`.
        growing: Stops hopeless attempts early: makes, for each attempt, a function that is given the text as it grows
            (new text only) and returns why the answer cannot pass any more, None while it may. Synchronous; it runs in
            a worker thread. `validation_fn` judges the whole.
        judge: The backend of the model that judges; None takes the call's own.

    Raises:
        InvalidArgument: there is neither a description nor a function, the description is no text, or there are both
            `chunking` and `growing`.
        UnknownName: there is no such chunking.

    Example:
        ```python
        from mellea_like import Requirement, simple_validate, start_session

        short = Requirement("at most five words", simple_validate(lambda text: len(text.split()) <= 5))
        with start_session("fake", answers=["One two three four five six.", "Short."]) as m:
            answer = m.instruct("Say something.", requirements=[short])
            print(answer.value, answer.success)
        ```

    Source: Mellea's `Requirement`, https://mellea.ai; judging by a model: Zheng et al. 2023, arXiv:2306.05685
    """

    __slots__ = ("awaits", "check_only", "chunking", "description", "growing", "judge", "passed", "validation_fn")

    def __init__(
        self,
        description: str | None = None,
        validation_fn: ValidationFn | None = None,
        *,
        check_only: bool = False,
        chunking: Chunking | None = None,
        growing: Growing | None = None,
        judge: Backend | None = None,
    ) -> None:
        if description is None and validation_fn is None:
            raise InvalidArgument("A requirement needs a description, a validation function, or both.")
        if description is not None and not isinstance(description, str):
            raise InvalidArgument(
                f"A requirement's description is a sentence, not {description!r}. A function goes second: "
                "`req('…', function)`; one of the answer's text may stand alone: `requirements=[function]`."
            )
        if validation_fn is not None and not callable(validation_fn):
            raise InvalidArgument(f"validation_fn must be a function, not {validation_fn!r}.")
        if chunking is not None:
            Cutter(chunking)
            if growing is not None:
                raise InvalidArgument("Give either chunking or growing: both say how a growing answer is judged.")
        self.description = description if description is not None else _name_of(validation_fn)
        self.validation_fn = validation_fn
        # A function without a sentence has nothing that could be told.
        self.check_only = check_only or description is None
        self.chunking = chunking
        self.growing = growing
        self.judge = judge
        self.awaits = validation_fn is None or is_async(innermost(validation_fn))
        """Whether judging by it has to be awaited: by a model, or by an asynchronous function."""

        self.passed = verdict(self, result=True)
        """The verdict on an answer that passes."""

    @property
    def told(self) -> object:
        """What the model is told: the sentence; as a component where it is no template."""
        return self.description

    def filled(self, variables: Mapping[str, object]) -> Self:
        """Return the requirement with the template that its sentence is filled, so that the judge reads what was told.

        Raises:
            TemplateError: the template is wrong, or names a variable that was not given.
        """
        sentence = render(self.description, variables)
        if sentence == self.description:
            return self
        twin = copy.copy(self)
        twin.description = sentence
        twin.passed = verdict(twin, result=True)
        return twin

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.description!r})"


class simple_validate:  # noqa: N801  # used as a function
    """Make a validation function of one that is given the answer's text.

    Args:
        fn: Given the text; returns a bool, or `(bool, reason)`. Synchronous or asynchronous.
        reason: The reason where `fn` gives none and the answer fails.

    Returns:
        What `Requirement` takes as `validation_fn`.

    Example:
        ```python
        from mellea_like import req, simple_validate

        lower = req("all in lower case", simple_validate(lambda text: text == text.lower()))
        ```

    Source: Mellea's `simple_validate`, https://mellea.ai
    """

    __slots__ = ("fn", "reason")

    def __init__(self, fn: Callable[[str], Any], *, reason: str | None = None) -> None:
        self.fn = fn
        self.reason = reason

    def __call__(self, judged: Context | str) -> Any:
        return self.fn(judged if isinstance(judged, str) else _text(judged))


def _text(ctx: Context) -> str:
    answer = ctx.last_output()
    if answer is None:
        raise InvalidArgument(f"{ctx!r} holds no answer that could be judged.")
    return answer.partial_text


def req(description: str | None = None, validation_fn: ValidationFn | None = None, **rest: Any) -> Requirement:
    """Build a `Requirement`; see there.

    Args:
        description: The requirement as a sentence, told to the model.
        validation_fn: Judges an answer; None lets a model judge.
        rest: What else a `Requirement` takes.

    Example:
        ```python
        from mellea_like import req

        polite = req("The answer is polite.")
        ```
    """
    return Requirement(description, validation_fn, **rest)


def check(description: str | None = None, validation_fn: ValidationFn | None = None, **rest: Any) -> Requirement:
    """Build a `Requirement` that is judged and never told to the model; see there.

    Telling a model what not to say may make it say that ("do not think of an elephant").

    Args:
        description: The requirement as a sentence; a model that judges is told it.
        validation_fn: Judges an answer; None lets a model judge.
        rest: What else a `Requirement` takes.

    Example:
        ```python
        from mellea_like import check, simple_validate

        quiet = check("no shouting", simple_validate(lambda text: text != text.upper()))
        ```
    """
    return Requirement(description, validation_fn, check_only=True, **rest)


def reqify(requirement: Requirement | str | ValidationFn) -> Requirement:
    """Make a requirement of what may stand for one: a sentence, or a function of the answer's text.

    Args:
        requirement: What stands for one; a `Requirement` is returned as it is.

    Raises:
        InvalidArgument: it is none of these.

    Example:
        ```python
        from mellea_like import reqify

        print(reqify("The answer is polite."))
        ```
    """
    if isinstance(requirement, Requirement):
        return requirement
    if isinstance(requirement, str):
        return Requirement(requirement)
    if isinstance(requirement, simple_validate):
        return Requirement(validation_fn=requirement)
    if callable(requirement):
        return Requirement(_name_of(requirement), simple_validate(requirement), check_only=True)
    raise InvalidArgument(
        f"{requirement!r} is not a requirement. Give a Requirement, a sentence, or a function of the answer's text."
    )


def requirements_of(given: Requirements) -> tuple[Requirement, ...]:
    """List what a verb or a strategy was given as requirements: None, one, or any iterable of them; see `reqify`.

    Raises:
        InvalidArgument: one of them is none.
    """
    return tuple(map(reqify, listed(given)))


def verdict_of(requirement: Requirement, said: Any) -> ValidationResult:
    """Make the verdict of what a requirement's function returned, or raised.

    A function that raises has not passed the answer: the exception is in the verdict, and the others are judged.
    """
    if said is True:  # nearly always, and it costs ten times less
        return requirement.passed
    if isinstance(said, ValidationResult):
        name = said.requirement or requirement.description
        return replace(said, requirement=name, check_only=said.check_only or requirement.check_only)
    fn = requirement.validation_fn
    reason = fn.reason if isinstance(fn, simple_validate) else None
    if isinstance(said, BaseException):
        return verdict(
            requirement,
            result=False,
            reason=f"The validation function raised {type(said).__name__}: {said}",
            error=said,
        )
    if isinstance(said, tuple) and len(said) == 2:
        said, given = said
        reason = str(given) if given is not None else reason
    if said is None or isinstance(said, bool):
        return verdict(requirement, result=said, reason=None if said else reason)
    wrong = InvalidArgument(
        f"The validation function of {requirement.description!r} returned {said!r} ({type(said).__name__}); "
        "it must return a bool, (bool, reason) or a ValidationResult."
    )
    return verdict(requirement, result=False, reason=str(wrong), error=wrong)


def verdict(
    requirement: Requirement, *, result: bool | None, reason: str | None = None, error: BaseException | None = None
) -> ValidationResult:
    """Build a verdict by a requirement."""
    return ValidationResult(
        result, reason=reason, error=error, requirement=requirement.description, check_only=requirement.check_only
    )


def innermost(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function that a `simple_validate` wraps; any other as it is."""
    return fn.fn if isinstance(fn, simple_validate) else fn


def _name_of(function: Any) -> str:
    inner = innermost(function)
    name: str = getattr(inner, "__name__", type(inner).__name__)
    return "check" if name == "<lambda>" else name.replace("_", " ").strip()
