"""The picture of a graph's run: what its nodes say while they say it, and the state that it comes to.

A fold over the run's log, for a notebook; like the picture of a single generation, plain HTML and Markdown in which a
model's text is only text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from reprlib import Repr
from typing import Any

from ..content import Message
from ..display.attempts import VERDICTS
from ..display.picture import FAINT, TAIL, WRAP, tail_html
from ..events import Cancelled, Event, Failed
from ..log import Log
from ..markup import fenced, html_text, markdown_text, safe_markdown
from .events import (
    Draft,
    DraftDiscarded,
    ExecutionComplete,
    ExecutionError,
    ExecutionStart,
    GraphEvent,
    MessageComplete,
    NodeComplete,
    NodeError,
    NodeRetry,
    NodeStart,
    ReasoningToken,
    StateUpdate,
    Token,
    ToolCallStart,
)

_MOST_TURNS = 20
"""Turns of a running graph that are drawn, and messages of a state: the last of them."""
_MORE = "\N{HORIZONTAL ELLIPSIS}"

_shortly = Repr()
_shortly.maxlevel, _shortly.maxstring, _shortly.maxother = 4, 500, 500
_shortly.maxdict = _shortly.maxlist = _shortly.maxtuple = _shortly.maxset = 30


@dataclass(slots=True, kw_only=True)
class _Turn:
    """What one generation says, or that a node which said nothing is through.

    It is `done` when the generation has ended, and `kept` when its node is through.
    """

    path: tuple[str, ...]
    since: int
    text: str = ""
    thinking: str = ""
    drafts: dict[int, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    done: bool = False
    kept: bool = False

    @property
    def shown(self) -> str:
        """The text, or, as long as none is accepted, the last attempt at it."""
        return self.text or (self.drafts[max(self.drafts)] if self.drafts else "")


class RunPicture:
    """What can be drawn of a run so far; `look` takes in what is new.

    Args:
        log: The run's.
        events: Whether text is drawn that a strategy has not accepted yet.
    """

    def __init__(self, log: Log, *, events: bool = True) -> None:
        self._log, self._events = log, events
        self._position = 0
        self._turns: list[_Turn] = []
        self._speaking: dict[str, _Turn] = {}
        # Nodes at work, by path and task, with the position in the log at which they began.
        self._at_work: dict[tuple[tuple[str, ...], str], int] = {}
        self._state: Mapping[str, Any] = {}

    def look(self) -> bool:
        """Take in what the log says by now; return whether there was anything new."""
        begin, self._position = self._position, len(self._log)
        for i in range(begin, self._position):
            event = self._log.event(i)
            take = _TAKES.get(type(event))
            if take is not None:
                take(self, event)
        return self._position > begin

    # --- events -----------------------------------------------------------------------------------------------------

    def _take_state(self, event: ExecutionStart | StateUpdate) -> None:
        if not event.ns:
            self._state = event.state

    def _take_start(self, event: NodeStart) -> None:
        self._at_work[_path(event), event.task] = event.seq

    def _take_end(self, event: NodeComplete | NodeError) -> int:
        return self._at_work.pop((_path(event), event.task), event.seq)

    def _take_complete(self, event: NodeComplete) -> None:
        since, path = self._take_end(event), _path(event)
        said = [turn for turn in self._turns if turn.since >= since and _within(turn.path, path)]
        if not said:
            self._turns.append(_Turn(path=path, since=since, done=True, kept=True))
        for turn in said:
            turn.kept = True

    def _take_retry(self, event: NodeRetry) -> None:
        path = _path(event)
        self._turns = [
            turn for turn in self._turns if turn.since < event.discard_from_seq or not _within(turn.path, path)
        ]

    def _turn(self, event: Any) -> _Turn:
        turn = self._speaking.get(event.thunk_id)
        if turn is None:
            turn = self._speaking[event.thunk_id] = _Turn(path=_path(event), since=event.seq)
            self._turns.append(turn)
        return turn

    def _take_token(self, event: Token) -> None:
        turn = self._turn(event)
        turn.text = _grown(turn.text, event.content)

    def _take_thought(self, event: ReasoningToken) -> None:
        turn = self._turn(event)
        turn.thinking = _grown(turn.thinking, event.content)

    def _take_draft(self, event: Draft) -> None:
        if self._events:
            drafts = self._turn(event).drafts
            drafts[event.draft] = _grown(drafts.get(event.draft, ""), event.content)

    def _take_discarded(self, event: DraftDiscarded) -> None:
        if self._events:
            turn = self._turn(event)
            turn.drafts.pop(event.draft, None)
            turn.notes.append(f"attempt {event.draft}, given up: {event.reason}")

    def _take_call(self, event: ToolCallStart) -> None:
        self._turn(event).notes.append(f"tool call: {event.name}({event.arguments})")

    def _take_spoken(self, event: MessageComplete) -> None:
        self._turn(event).done = True

    # --- while it runs ----------------------------------------------------------------------------------------------

    def live_html(self) -> str:
        """Draw what the nodes say, each under its name, and which are at work and say nothing yet."""
        left, drawn = TAIL, list[str]()
        for turn in reversed(self._turns[-_MOST_TURNS:]):
            drawn.append(_turn_html(turn, left))
            left = max(left - len(turn.shown), 0)
        before = len(self._turns) - len(drawn)
        if before:
            drawn.append(f'<div style="{FAINT}">{_MORE} and {before} before</div>')
        drawn.reverse()
        drawn += [_head_html(path, f" {_MORE}") for path in self._silent()]
        return "".join(drawn) or f'<div style="{FAINT}">{_MORE}</div>'

    def live_text(self) -> str:
        """Write the same as plain text."""
        said = [f"[{_name(turn.path)}] {turn.shown}".rstrip() for turn in self._turns[-_MOST_TURNS:]]
        return "\n".join([*said, *(f"[{_name(path)}]" for path in self._silent())])

    def _working(self) -> list[tuple[str, ...]]:
        """List the nodes at work, those that only hold others left out."""
        paths = dict.fromkeys(path for path, _ in self._at_work)
        return [path for path in paths if not any(other != path and _within(other, path) for other in paths)]

    def _silent(self) -> list[tuple[str, ...]]:
        """List the nodes at work of which nothing is heard."""
        heard = [turn.path for turn in self._turns if not turn.done]
        return [path for path in self._working() if not any(_within(other, path) for other in heard)]

    # --- when it has ended ------------------------------------------------------------------------------------------

    def markdown(self) -> str:
        """Draw the state, key by key, and how the run ended; of one that broke off, what was being said as well."""
        keys = [f"**{markdown_text(key)}**\n\n{_value_markdown(value)}" for key, value in self._values().items()]
        cut = [f"*{markdown_text(_unfinished(turn))}*\n\n{safe_markdown(turn.shown)}" for turn in self._cut()]
        return "\n\n".join([*keys, *cut, *(f"*{markdown_text(line)}*" for line in self._end_lines())])

    def html(self) -> str:
        """Draw the same as HTML, all text as it was written."""
        top = 'style="text-align: left; vertical-align: top"'
        rows = [*self._values().items(), *((_unfinished(turn), turn.shown) for turn in self._cut())]
        drawn = "".join(
            f'<tr><th {top}>{html_text(key)}</th><td {top}><div style="{WRAP}">{html_text(_value_text(value))}</div>'
            "</td></tr>"
            for key, value in rows
        )
        table = f"<table><tbody>{drawn}</tbody></table>" if rows else ""
        return table + "".join(f"<div><em>{html_text(line)}</em></div>" for line in self._end_lines())

    def bundle(self) -> dict[str, str]:
        """Give the picture of a run that has ended in the forms that a notebook chooses from."""
        plain = [f"{key}: {_value_text(value)}" for key, value in self._values().items()]
        plain += [f"{_unfinished(turn)}: {turn.shown}" for turn in self._cut()]
        return {"text/plain": "\n".join([*plain, *self._end_lines()]), "text/markdown": self.markdown()}

    def live_bundle(self) -> dict[str, str]:
        """Give the picture of a run that goes on, likewise."""
        return {"text/plain": self.live_text(), "text/html": self.live_html()}

    def line(self) -> str:
        """Say in a line how far it is: the nodes at work; or the questions that it waits with, its error, its keys."""
        if self._log.end is None:
            names = ", ".join(repr(_name(path)) for path in self._working())
            return f"at {names}" if names else ""
        return "; ".join([*self._told(), f"state: {', '.join(map(repr, self._values())) or 'empty'}"])

    def _values(self) -> dict[str, Any]:
        """Return the state as far as it is known, without the keys that are a graph's own."""
        end = self._log.end
        state = end.state if isinstance(end, ExecutionComplete | ExecutionError) else self._state
        return {str(key): value for key, value in state.items() if not str(key).startswith("_")}

    def _cut(self) -> list[_Turn]:
        """List the turns that broke off."""
        if not isinstance(self._log.end, Failed | Cancelled):
            return []
        return [turn for turn in self._turns if turn.shown and not turn.kept]

    def _told(self) -> list[str]:
        """Say what a run that has ended waits with, or failed with."""
        match self._log.end:
            case ExecutionComplete(interrupts=asked):
                return [f"waits for an answer to {_shortly.repr(one.value)}: Command(resume=…)" for one in asked]
            case Failed(error=error):
                return [f"{type(error).__name__}: {error}"]
        return []

    def _end_lines(self) -> list[str]:
        """Say in lines how the run ended, where the state does not say it all."""
        if isinstance(self._log.end, Cancelled):
            return ["cancelled"]
        if isinstance(self._log.end, Failed):
            return [f"{VERDICTS[False]} {line}" for line in self._told()]
        return self._told() or ([] if self._values() else ["the state is empty"])


_TAKES: Mapping[type[Event], Callable[[RunPicture, Any], object]] = {
    ExecutionStart: RunPicture._take_state,
    StateUpdate: RunPicture._take_state,
    NodeStart: RunPicture._take_start,
    NodeComplete: RunPicture._take_complete,
    NodeError: RunPicture._take_end,
    NodeRetry: RunPicture._take_retry,
    Token: RunPicture._take_token,
    ReasoningToken: RunPicture._take_thought,
    Draft: RunPicture._take_draft,
    DraftDiscarded: RunPicture._take_discarded,
    ToolCallStart: RunPicture._take_call,
    MessageComplete: RunPicture._take_spoken,
}


# --- pieces -----------------------------------------------------------------------------------------------------------


def _path(event: GraphEvent) -> tuple[str, ...]:
    return (*event.ns, event.node_id or "")


def _within(path: tuple[str, ...], outer: tuple[str, ...]) -> bool:
    return path[: len(outer)] == outer


def _name(path: tuple[str, ...]) -> str:
    return " / ".join(path)


def _unfinished(turn: _Turn) -> str:
    return f"{_name(turn.path)}, unfinished"


def _grown(text: str, more: str) -> str:
    """Add to a text of which only the end is drawn."""
    text += more
    return text if len(text) <= 2 * TAIL else f"{_MORE}{text[-TAIL:]}"


def _head_html(path: tuple[str, ...], mark: str) -> str:
    return f'<div style="{FAINT}"><em>{html_text(_name(path))}</em>{mark}</div>'


def _turn_html(turn: _Turn, most: int) -> str:
    head = _head_html(turn.path, f" {VERDICTS[True]}" if turn.done else "")
    notes = "".join(f'<div style="{FAINT}">{html_text(note)}</div>' for note in turn.notes)
    if turn.shown:
        return f'{head}{notes}<div style="{WRAP}">{tail_html(turn.shown, most)}</div>'
    if turn.thinking and not turn.done:
        return f'{head}{notes}<div style="{WRAP}; {FAINT}"><em>thinking</em>: {tail_html(turn.thinking, most)}</div>'
    return head + notes


def _value_markdown(value: Any) -> str:
    match value:
        case str():
            return safe_markdown(_beginning(value))
        case Message():
            return value._repr_markdown_()
        case [Message(), *_] if all(isinstance(one, Message) for one in value):
            return "\n\n".join(one._repr_markdown_() for one in value[-_MOST_TURNS:])
        case bool() | int() | float() | None:
            return markdown_text(repr(value))
    return fenced(_shortly.repr(value))


def _value_text(value: Any) -> str:
    match value:
        case str():
            return _beginning(value)
        case Message():
            return f"{value.role}: {value.content}"
        case [Message(), *_] if all(isinstance(one, Message) for one in value):
            return "\n".join(f"{one.role}: {one.content}" for one in value[-_MOST_TURNS:])
    return _shortly.repr(value)


def _beginning(text: str) -> str:
    return text if len(text) <= TAIL else f"{text[:TAIL]}{_MORE}"
