"""Ready-made requirements: JSON, length, patterns, words, choices, tools. Public as `requires`, and `uses_tool`."""

from __future__ import annotations

import json as _json
import re
from collections.abc import Callable, Mapping
from typing import Any, Self, get_args

from .component import CBlock
from .context import Context
from .errors import InvalidArgument, unknown_name
from .requirement import Requirement, simple_validate
from .rules import Limits, SchemaJson, TypedJson, Unit, compiled, excluded, shortened, watching


class _ReadyMade(Requirement):
    """A requirement whose sentence is the library's own: it is no template, whatever is quoted in it."""

    __slots__ = ()

    @property
    def told(self) -> object:
        """The sentence, as it is."""
        return CBlock(self.description)

    def filled(self, variables: Mapping[str, object]) -> Self:
        """Return the requirement as it is."""
        return self

    def __repr__(self) -> str:
        return f"Requirement({self.description!r})"


def uses_tool(tool: str | Callable[..., Any], *, check_only: bool = False) -> Requirement:
    """Build a requirement: the answer calls a tool.

    Args:
        tool: The tool, or its name.
        check_only: Judge by it, but never tell it to the model.

    Example:
        ```python
        from mellea_like import ToolCallEvent, start_session, uses_tool

        call = ToolCallEvent(name="weather", arguments='{"city": "Oslo"}', complete=True)
        with start_session("fake", answers=[[call]]) as m:
            print(m.instruct("How is the weather in Oslo?", requirements=[uses_tool("weather")]).success)
        ```

    Source: Mellea's `uses_tool`, https://mellea.ai
    """
    named = tool if isinstance(tool, str) else getattr(tool, "name", None) or getattr(tool, "__name__", tool)
    name = str(named)

    def called(ctx: Context) -> tuple[bool, str]:
        answer = ctx.last_output()
        names = [call.name for call in answer.tool_calls] if answer is not None else []
        told = f"it calls {', '.join(map(repr, names))}" if names else "it calls no tool"
        return name in names, f"The answer must call the tool {name!r}; {told}."

    return _ReadyMade(f"Call the tool {name!r}.", called, check_only=check_only)


class requires:  # noqa: N801  # a namespace
    """Ready-made requirements.

    Each is told to the model as a sentence, unless `check_only=True`; each gives a reason that a strategy can repair
    with. Those that can stop an attempt early, at the server too, while it grows: `json` at the first character that
    cannot be right, `length` and `excludes` at the first piece that is too much.

    Example:
        ```python
        from mellea_like import requires, start_session

        rules = [requires.length(max=5), requires.matches(r"^[A-Z]"), requires.excludes("banana")]
        with start_session("fake", answers=["One two three four five six seven.", "Short."]) as m:
            answer = m.instruct("Say something.", requirements=rules)
            print(answer.value, [sample.text for sample in answer.samples])
        ```
    """

    @staticmethod
    def json(schema: type[Any] | Mapping[str, Any] | None = None, *, check_only: bool = False) -> Requirement:
        """Build a requirement: the answer is JSON, alone or in a fenced block.

        `format=` does more: it constrains the model, and gives the object.

        Args:
            schema: What it must be: a type (a pydantic model, a dataclass, `list[int]`, …) or a JSON schema; None takes
                any JSON.
            check_only: Judge by it, but never tell it to the model.

        Raises:
            InvalidArgument: the schema is neither.

        Example:
            ```python
            from mellea_like import requires, start_session

            with start_session("fake", answers=['{"name": "A', '[1, 2]']) as m:
                print(m.instruct("Two numbers, please.", requirements=[requires.json(list[int])]))
            ```
        """
        judged = SchemaJson(schema) if isinstance(schema, Mapping) else TypedJson(schema)
        told = "" if schema is None else f" that follows this JSON schema: {_json.dumps(judged.schema)}"
        return _ReadyMade(
            f"Answer with JSON alone{told}.",
            simple_validate(judged.judge),
            growing=judged.growing,
            check_only=check_only,
        )

    @staticmethod
    def length(
        *,
        min: int | None = None,  # noqa: A002  # reads well
        max: int | None = None,  # noqa: A002
        unit: Unit = "words",
        check_only: bool = False,
    ) -> Requirement:
        """Build a requirement: the answer has at least `min` and at most `max` words, or other units.

        Args:
            min: The least; None for no limit.
            max: The most; None for no limit.
            unit: What is counted: `"words"`, `"characters"`, `"sentences"`, `"lines"` or `"paragraphs"`. Space around
                the answer does not count.
            check_only: Judge by it, but never tell it to the model.

        Raises:
            InvalidArgument: there is no limit, or they contradict each other.
            UnknownName: there is no such unit.

        Example:
            ```python
            from mellea_like import requires

            print(requires.length(min=2, max=3, unit="sentences").description)
            ```
        """
        if unit not in get_args(Unit):
            raise unknown_name("unit", unit, get_args(Unit))
        if (min is None and max is None) or (min or 0) < 0 or (max is not None and max < (min or 0)):
            raise InvalidArgument(f"min={min!r} and max={max!r} {unit} are no limits that an answer can keep.")
        limits = Limits(min, max, unit)
        growing = None if max is None else limits.growing
        return _ReadyMade(limits.sentence, simple_validate(limits.judge), growing=growing, check_only=check_only)

    @staticmethod
    def matches(
        pattern: str | re.Pattern[str], *, description: str | None = None, check_only: bool = False
    ) -> Requirement:
        """Build a requirement: a regular expression is found in the answer; use `^` and `$` for the whole of it.

        Args:
            pattern: The regular expression.
            description: The requirement as a sentence; None makes one of the pattern.
            check_only: Judge by it, but never tell it to the model.

        Raises:
            InvalidArgument: it is no regular expression.

        Example:
            ```python
            from mellea_like import requires

            year = requires.matches(r"\\b\\d{4}\\b", description="Name a year.")
            ```
        """
        wanted = compiled(pattern)
        told = description or f"Match the regular expression {wanted.pattern!r}."
        reason = f"Nothing in the answer matches {wanted.pattern!r}."
        return (Requirement if description else _ReadyMade)(
            told, simple_validate(lambda text: bool(wanted.search(text)), reason=reason), check_only=check_only
        )

    @staticmethod
    def excludes(
        pattern: str | re.Pattern[str], *, description: str | None = None, check_only: bool = True
    ) -> Requirement:
        """Build a requirement: a regular expression is not found in the answer.

        It stops an attempt at the first match that no further text can undo.

        Args:
            pattern: The regular expression. A plain word is one; `re.escape` makes one of any text.
            description: The requirement as a sentence; None makes one of the pattern.
            check_only: Judge by it, but never tell it to the model: what it must not say, it may not have thought of.

        Raises:
            InvalidArgument: it is no regular expression.

        Example:
            ```python
            from mellea_like import requires

            discreet = requires.excludes(r"(?i)password")
            ```
        """
        unwanted = compiled(pattern)

        def judged(text: str) -> tuple[bool, str | None]:
            found = unwanted.search(text)
            return found is None, None if found is None else excluded(found)

        return (Requirement if description else _ReadyMade)(
            description or f"Do not match the regular expression {unwanted.pattern!r}.",
            simple_validate(judged),
            growing=lambda: watching(unwanted),
            check_only=check_only,
        )

    @staticmethod
    def contains(*texts: str, ignore_case: bool = True, check_only: bool = False) -> Requirement:
        """Build a requirement: each of these texts is in the answer.

        Args:
            texts: What must be in it.
            ignore_case: Whether capitals count as small letters.
            check_only: Judge by it, but never tell it to the model.

        Raises:
            InvalidArgument: there is no text.

        Example:
            ```python
            from mellea_like import requires

            complete = requires.contains("Paris", "Rome")
            ```
        """
        if not texts or not all(texts):
            raise InvalidArgument(f"requires.contains needs texts that are not empty, not {texts!r}.")

        def judged(text: str) -> tuple[bool, str]:
            within = text.casefold() if ignore_case else text
            missing = [t for t in texts if (t.casefold() if ignore_case else t) not in within]
            return not missing, f"Not in the answer: {', '.join(map(repr, missing))}."

        wanted = ", ".join(map(repr, texts))
        return _ReadyMade(f"Include {wanted}.", simple_validate(judged), check_only=check_only)

    @staticmethod
    def one_of(*choices: str, ignore_case: bool = True, check_only: bool = False) -> Requirement:
        """Build a requirement: the answer is one of these, and nothing else. It stops an attempt that can be none.

        Args:
            choices: What it may be.
            ignore_case: Whether capitals count as small letters.
            check_only: Judge by it, but never tell it to the model.

        Raises:
            InvalidArgument: there is no choice.

        Example:
            ```python
            from mellea_like import requires, start_session

            with start_session("fake", answers=["I think it is positive", "positive"]) as m:
                mood = requires.one_of("positive", "negative")
                print(m.instruct("What is the mood of 'Hooray!'?", requirements=[mood]))
            ```
        """
        if not choices:
            raise InvalidArgument("requires.one_of needs choices.")
        folded = {choice.casefold() if ignore_case else choice for choice in choices}
        told = f"Answer with one of these and nothing else: {', '.join(map(repr, choices))}."

        def plain(text: str) -> str:
            return text.casefold() if ignore_case else text

        def judged(text: str) -> tuple[bool, str]:
            return plain(text.strip()) in folded, f"{shortened(text)} is none of {', '.join(map(repr, choices))}."

        def growing() -> Callable[[str], str | None]:
            so_far = ""

            def fed(text: str) -> str | None:
                nonlocal so_far
                so_far = (so_far + text).lstrip()
                begun = plain(so_far.rstrip())
                return None if any(choice.startswith(begun) for choice in folded) else judged(so_far)[1]

            return fed

        return _ReadyMade(told, simple_validate(judged), growing=growing, check_only=check_only)
