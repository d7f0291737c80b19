"""The picture of a generation: a fold over its log, to be drawn while it runs and when it has ended.

It reads a log and holds no thunk. What it draws is plain HTML and Markdown in which a model's text is only text.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from ..events import Cancelled, Checked, Delta, Event, Failed, Finished, Retried, Thinking, ToolCallEvent
from ..log import Log
from ..markup import fenced, html_text, markdown_text, safe_markdown
from ..partial import seen
from ..partial.growing_answer import GrowingAnswer
from ..partial.json_tree import Shape
from .attempts import VERDICTS
from .growing import growing_html

TAIL = 10_000
"""Characters of a running text that are drawn: the end of it, so that a long one costs no more with every update."""

WRAP = "white-space: pre-wrap"
"""The style of text that is drawn as it was written."""
FAINT = "opacity: 0.6"
"""The style of what is not the answer."""


class Drawing(Protocol):
    """What can be drawn of a log, while it grows and when it has ended."""

    def look(self) -> bool:
        """Take in what the log says by now; return whether there was anything new."""

    def live_html(self) -> str:
        """Draw what has come so far, as HTML."""

    def html(self) -> str:
        """Draw what it came to, as HTML."""

    def markdown(self) -> str:
        """Draw what it came to, as Markdown."""

    def live_bundle(self) -> dict[str, str]:
        """Give the picture of a log that still grows, in the forms that a notebook chooses from."""

    def bundle(self) -> dict[str, str]:
        """Give the picture of a log that has ended, likewise."""


@dataclass(slots=True, kw_only=True)
class _Attempt:
    number: int
    text: str = ""
    thinking: str = ""
    answer: GrowingAnswer | None = None
    verdicts: list[Checked] = field(default_factory=list)
    void: str | None = None

    def grow(self, text: str) -> None:
        self.text += text
        if self.answer is not None:
            self.answer.feed(text)


class Picture:
    """What can be drawn of a log so far; `look` takes in what is new.

    Args:
        log: What is drawn.
        shape: What the text is to become, where it is drawn as a growing object.
        events: Whether attempts and verdicts of a judged call are drawn before one attempt is accepted.
    """

    def __init__(self, log: Log, *, shape: Shape | None = None, events: bool = True) -> None:
        self._log, self._shape = log, shape
        self._open = events or log.accepted is not None
        self._judged = False
        self._attempts: dict[int, _Attempt] = {}
        self._calls: list[ToolCallEvent] = []
        self._position = 0

    def look(self) -> bool:
        """Take in what the log says by now; return whether there was anything new."""
        begin, self._position = self._position, len(self._log)
        texts: dict[int, list[str]] = {}
        thoughts: dict[int, list[str]] = {}
        for i in range(begin, self._position):
            event = self._log.event(i)
            if isinstance(event, Delta | Thinking):
                fresh = texts if isinstance(event, Delta) else thoughts
                fresh.setdefault(event.attempt, []).append(event.text)
            else:
                self._take(event)
        for number, pieces in thoughts.items():
            self._attempt(number).thinking += "".join(pieces)
        for number, pieces in texts.items():
            self._attempt(number).grow("".join(pieces))
        return self._position > begin

    def _attempt(self, number: int) -> _Attempt:
        if number not in self._attempts:
            answer = None if self._shape is None else GrowingAnswer(self._shape)
            self._attempts[number] = _Attempt(number=number, answer=answer)
        return self._attempts[number]

    def _take(self, event: Event) -> None:
        match event:
            case Checked():
                self._judged = True
                self._attempt(event.attempt).verdicts.append(event)
            case Retried():
                self._judged = True
                self._attempt(event.void).void = event.reason
            case ToolCallEvent(complete=True):
                self._calls.append(event)

    # --- while it runs ----------------------------------------------------------------------------------------------

    def live_html(self) -> str:
        """Draw what has come so far: the text, or, of a judged call, every attempt with its verdicts."""
        if not self._open:
            return f'<div style="{FAINT}">\N{HORIZONTAL ELLIPSIS}</div>'
        attempts = sorted(self._attempts.values(), key=lambda attempt: attempt.number)
        named = self._judged or self._log.accepted is None
        drawn = "".join(self._attempt_html(attempt, named=named) for attempt in attempts)
        return drawn + "".join(_call_html(call) for call in self._calls) + _waiting(attempts)

    def live_text(self) -> str:
        """Write what has come so far as plain text."""
        return self._log.text()

    def _attempt_html(self, attempt: _Attempt, *, named: bool) -> str:
        verdicts = "".join(f"<div>{html_text(_verdict(verdict))}</div>" for verdict in attempt.verdicts)
        if attempt.void is not None:
            told = verdicts or f"<div>{html_text(attempt.void)}</div>"
            return f'<div style="{FAINT}"><em>attempt {attempt.number}</em>, given up{told}</div>'
        head = f'<div style="{FAINT}"><em>attempt {attempt.number}</em></div>' if named else ""
        return head + self._text_html(attempt) + verdicts

    def _text_html(self, attempt: _Attempt) -> str:
        if attempt.answer is not None and attempt.text:
            return growing_html(seen(attempt.answer))
        if not attempt.text and attempt.thinking:
            return f'<div style="{WRAP}; {FAINT}"><em>thinking</em>: {tail_html(attempt.thinking)}</div>'
        return f'<div style="{WRAP}">{tail_html(attempt.text)}</div>' if attempt.text else ""

    # --- when it has ended ------------------------------------------------------------------------------------------

    def markdown(self) -> str:
        """Draw the text as Markdown, then how it ended where that is worth a word; while it runs, what has come."""
        text = self._log.text()
        body = safe_markdown(text) if self._shape is None or not text else fenced(text, "json")
        return "\n\n".join(filter(None, [body, *map(_call_markdown, self._calls), _end_markdown(self._log)]))

    def html(self) -> str:
        """Draw the same as HTML: a typed answer as a table, other text as it was written."""
        attempt = self._attempts.get(self._log.accepted or 0) or _Attempt(number=0)
        if attempt.answer is not None and isinstance(self._log.end, Finished):
            attempt.answer.finish()
        text = attempt.text
        body = growing_html(seen(attempt.answer)) if attempt.answer is not None and text else ""
        body = body or f'<div style="{WRAP}">{html_text(text)}</div>'
        end = "".join(f"<div><em>{html_text(line)}</em></div>" for line in _end_lines(self._log))
        return body + "".join(map(_call_html, self._calls)) + end

    def bundle(self) -> dict[str, str]:
        """Give the picture of a log that has ended in the forms that a notebook chooses from."""
        shown = {"text/plain": self._log.text(), "text/markdown": self.markdown()}
        # A page prefers HTML where it is offered, and Markdown is the better picture of text.
        return shown if self._shape is None else shown | {"text/html": self.html()}

    def live_bundle(self) -> dict[str, str]:
        """Give the picture of a log that still grows, likewise."""
        return {"text/plain": self.live_text(), "text/html": self.live_html()}


def tail_html(text: str, most: int = TAIL) -> str:
    """Draw the end of a text: at most `most` characters of it."""
    return html_text(text if len(text) <= most else f"\N{HORIZONTAL ELLIPSIS}{text[len(text) - most :]}")


def _waiting(attempts: list[_Attempt]) -> str:
    writes = any(a.void is None and (a.text or a.thinking) for a in attempts)
    return "" if writes else f'<div style="{FAINT}">\N{HORIZONTAL ELLIPSIS}</div>'


def _verdict(verdict: Checked) -> str:
    reason = f": {verdict.reason}" if verdict.reason else ""
    return f"{VERDICTS[verdict.passed]} {verdict.requirement}{reason}"


def _call_html(call: ToolCallEvent) -> str:
    return f"<div>tool call: <code>{html_text(f'{call.name}({call.arguments})')}</code></div>"


def _call_markdown(call: ToolCallEvent) -> str:
    return f"tool call: <code>{markdown_text(f'{call.name}({call.arguments})')}</code>"


def _end_markdown(log: Log) -> str:
    return "\n\n".join(f"*{markdown_text(line)}*" for line in _end_lines(log))


def _end_lines(log: Log) -> list[str]:
    """Say in a line how a log ended, where it is not simply the end of a text."""
    match log.end:
        case Failed(error=error):
            return [f"{VERDICTS[False]} {type(error).__name__}: {error}"]
        case Cancelled():
            count = len(log.text())
            return [f"cancelled after {count} character{'' if count == 1 else 's'}"]
        case Finished(samples=[_, *_] as samples, attempt=number):
            answer = next((sample for sample in samples if sample.attempt == number), samples[-1])
            passed, asked = sum(map(bool, answer.validations)), len(answer.validations)
            met = f": {passed} of {asked} requirements met" if asked else ""
            came = f"{VERDICTS[answer.success]} attempt {number} of {len(samples)}{met}"
            return [came, *(f"{VERDICTS[False]} {reason}" for reason in answer.reasons)]
        case Finished(finish_reason="length"):
            return ["cut off by its token limit"]
    return []
