"""An answer on a screen while it comes: its thoughts, its attempts with their verdicts, its tools, and its end.

A view is fed events and draws; it reads nothing and waits for nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..errors import GenerationCancelled
from ..events import (
    Cancelled,
    Checked,
    Delta,
    Event,
    Failed,
    Finished,
    Retried,
    Started,
    Thinking,
    ToolCallEvent,
    ToolResult,
)
from .endings import one_line
from .markdown import Row
from .pages import Page, Sheet

_VOID_ROWS = 6
"""Rows that are kept on the screen of an attempt that came to nothing."""
_TOLD = 200
"""Characters of a tool's arguments, and of its result, that are shown."""
_SIGNS = {True: ("✓", "green"), False: ("✗", "red"), None: ("?", "yellow")}


@dataclass(slots=True, kw_only=True)
class _Attempt:
    """One attempt, whole on the screen until it is accepted or void."""

    number: int
    sheet: Sheet
    pieces: list[str] = field(default_factory=list)
    verdicts: list[Row] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.pieces)


class AnswerView:
    """Draws one answer on a page.

    Args:
        page: Where.
        held: Whether its text counts only when an attempt is accepted: there are requirements, or tools.
        tools: Whether it is an agent's, whose attempts are turns.
    """

    def __init__(self, page: Page, *, held: bool = False, tools: bool = False) -> None:
        self._page = page
        self._held = held
        self._tools = tools
        self._text = page.sheet()
        self._thoughts: Sheet | None = None
        self._attempts: dict[int, _Attempt] = {}
        self._void: dict[int, _Attempt] = {}
        self._waiting = self._begun = False
        self._done: list[Row] = []
        self._feeders: dict[type[Event], Callable[[Any], None]] = {
            Started: self._started,
            Delta: self._delta,
            Thinking: self._thinking,
            ToolCallEvent: self._tool_call,
            ToolResult: self._tool_result,
            Checked: self._checked,
            Retried: self._retried,
            Finished: self._finished,
            Failed: self._failed,
            Cancelled: self._cancelled,
        }

    def feed(self, event: Event) -> None:
        """Take an event; `draw` shows it."""
        feeder = self._feeders.get(type(event))
        if feeder is not None:
            if not isinstance(event, Started):
                self._begun, self._waiting = True, False
            feeder(event)

    def wait(self) -> None:
        """Note that the answer is waited for, where nothing of it has come; `draw` shows it."""
        self._waiting = not self._begun

    def draw(self) -> None:
        """Bring the page up to date."""
        done, self._done = self._done, []
        self._page.update(done, self._live())

    # --- what is on the page ----------------------------------------------------------------------------------------

    def _live(self) -> list[Row]:
        rows: list[Row] = [] if self._thoughts is None else self._thoughts.open_rows()
        if not self._held:
            rows += self._text.open_rows()
        for attempt in self._attempts.values():
            rows += [*self._label(attempt), *attempt.sheet.finished, *attempt.sheet.open_rows(), *attempt.verdicts]
        return rows or (self._say("…", "dim") if self._waiting else [])

    def _label(self, attempt: _Attempt) -> list[Row]:
        return [] if self._tools else self._say(f"attempt {attempt.number}", "dim")

    def _say(self, text: str, style: str = "") -> list[Row]:
        return self._page.pen.text(text, style)

    # --- events -----------------------------------------------------------------------------------------------------

    def _started(self, event: Started) -> None:
        if self._held:
            self._end_thoughts()
            self._attempts[event.attempt] = self._attempt(event.attempt)

    def _attempt(self, number: int) -> _Attempt:
        return self._attempts.get(number) or _Attempt(number=number, sheet=self._page.sheet())

    def _delta(self, event: Delta) -> None:
        self._end_thoughts()
        if self._held:
            attempt = self._attempts[event.attempt] = self._attempt(event.attempt)
            attempt.pieces.append(event.text)
            attempt.sheet.feed(event.text)
        else:
            self._text.feed(event.text)
            self._done += self._text.take()

    def _thinking(self, event: Thinking) -> None:
        if self._thoughts is None:
            self._thoughts = self._page.sheet(markdown=False)
        self._thoughts.feed(event.text)
        self._done += self._thoughts.take()

    def _end_thoughts(self) -> None:
        if self._thoughts is not None:
            self._thoughts.end()
            self._done += [*self._thoughts.take(), Row("", 0)]
            self._thoughts = None

    def _tool_call(self, event: ToolCallEvent) -> None:
        if not event.complete:
            return
        self._end_thoughts()
        turn = self._attempts.pop(event.attempt, None)
        # A model that is held to JSON writes its call as its answer, which says the same once more.
        if turn is not None and turn.text.strip() and not turn.text.lstrip().startswith("{"):
            self._done += self._say(turn.text.strip(), "dim")
        self._done += self._say(f"⚙ {event.name} {_short(event.arguments)}", "cyan")

    def _tool_result(self, event: ToolResult) -> None:
        self._done += self._say(f"  {'→' if event.ok else '✗'} {_short(event.text)}", "dim" if event.ok else "yellow")

    def _checked(self, event: Checked) -> None:
        attempt = self._attempts[event.attempt] = self._attempt(event.attempt)
        attempt.verdicts += self._verdict(event)

    def _verdict(self, event: Checked) -> list[Row]:
        sign, style = _SIGNS[event.passed]
        told = event.requirement
        if event.reason and not event.passed:
            told = f"{told.rstrip('.')}: {event.reason}"
        return self._say(f"{sign} {told}", style)

    def _retried(self, event: Retried) -> None:
        attempt = self._attempts.pop(event.void, None)
        if attempt is not None:
            self._void[event.void] = attempt
            self._done += self._struck(attempt)
            if not attempt.verdicts:
                self._done += self._say(f"✗ {event.reason}", "red")
            self._done.append(Row("", 0))

    def _struck(self, attempt: _Attempt) -> list[Row]:
        rows = self._say(attempt.text.strip(), "dim strike") if attempt.text.strip() else []
        more = len(rows) - _VOID_ROWS
        shown = rows if more <= 1 else [*rows[:_VOID_ROWS], *self._say(f"… {more} more lines", "dim")]
        return [*self._label(attempt), *shown, *attempt.verdicts]

    def _finished(self, event: Finished) -> None:
        self._end()
        if not self._held:
            return
        accepted = self._attempts.pop(event.attempt, None)
        self._give_up_the_rest()
        if accepted is None and (accepted := self._void.get(event.attempt)) is not None:
            self._done += self._say(f"No attempt meets the requirements. This is attempt {event.attempt}:", "yellow")
            accepted = _Attempt(number=0, sheet=self._resheeted(accepted.text))
        if accepted is not None:
            accepted.sheet.end()
            self._done += [*accepted.sheet.take(), *accepted.verdicts]

    def _resheeted(self, text: str) -> Sheet:
        sheet = self._page.sheet()
        sheet.feed(text)
        return sheet

    def _give_up_the_rest(self) -> None:
        for attempt in self._attempts.values():
            if attempt.text or attempt.verdicts:
                self._void[attempt.number] = attempt
                self._done += [*self._struck(attempt), Row("", 0)]
        self._attempts = {}

    def _failed(self, event: Failed) -> None:
        self._end()
        self._give_up_the_rest()
        if not isinstance(event.error, GenerationCancelled):
            self._done += self._say(one_line(event.error), "red")

    def _cancelled(self, event: Cancelled) -> None:
        self._end()
        for attempt in self._attempts.values():
            attempt.sheet.end()
            self._done += [*self._label(attempt), *attempt.sheet.take()]
        self._attempts = {}
        self._done += self._say("(stopped)", "dim")

    def _end(self) -> None:
        self._end_thoughts()
        self._text.end()
        self._done += self._text.take()


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _TOLD else f"{line[: _TOLD - 1]}…"
