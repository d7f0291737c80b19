"""What can be said to the chat itself: the commands that begin with a slash, each one function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..context import Context
from ..errors import InvalidArgument, unknown_name
from .conversation import Conversation
from .settings import requirement, tools_in

_OFF = {"off", "none", "clear"}


@dataclass(slots=True, kw_only=True)
class Desk:
    """What commands work on: the conversation; `again` is a question to be asked anew, `leaving` ends the chat."""

    conversation: Conversation
    again: str | None = None
    leaving: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command: how it is written, what it does in a few words, and what does it and returns what is shown."""

    usage: str
    about: str
    run: Callable[[Desk, str], str]

    @property
    def takes_files(self) -> bool:
        """Whether its argument is a file."""
        return "FILE" in self.usage


def obey(desk: Desk, line: str) -> str:
    """Carry out a command line, and return what is to be shown.

    Raises:
        UnknownName: there is no such command; it lists those that there are.
        MelleaError: the command came to nothing.
        OSError: a file cannot be read or written.
    """
    name, _, argument = line.strip().partition(" ")
    if name not in COMMANDS:
        raise unknown_name("command", name, COMMANDS)
    return COMMANDS[name].run(desk, argument.strip())


def _help(_: Desk, __: str) -> str:
    width = max(len(command.usage) for command in COMMANDS.values())
    lines = [f"{command.usage:{width}}  {command.about}" for command in COMMANDS.values()]
    return "\n".join([*lines, "", *_KEYS])


_KEYS = (
    "Enter sends; Alt-Enter, or \\ at a line's end, goes to the next line. Up and Down: what was said before.",
    "Ctrl-C stops an answer and keeps what came; once more leaves, as Ctrl-D does. Tab completes.",
)


def _model(desk: Desk, name: str) -> str:
    if name:
        desk.conversation.use(name)
    return f"The model is {desk.conversation.model}."


def _system(desk: Desk, text: str) -> str:
    if text:
        desk.conversation.system = "" if text in _OFF else text
    now = desk.conversation.system
    return f"The system prompt is: {now}" if now else "There is no system prompt."


def _save(desk: Desk, path: str) -> str:
    desk.conversation.session.save(_file(path, "/save"))
    return f"Saved {_turns(desk)} to {path}."


def _load(desk: Desk, path: str) -> str:
    desk.conversation.resume(Context.load(_file(path, "/load")))
    return resumed(desk.conversation, path)


def resumed(conversation: Conversation, path: str) -> str:
    """Say what a conversation that was loaded ends with."""
    last = conversation.last_exchange()
    told = f"\n> {last[0]}\n{last[1]}" if last else ""
    return f"Loaded {_count(conversation.turns)} from {path}.{told}"


def _file(path: str, command: str) -> Path:
    if not path:
        raise InvalidArgument(f"{command} needs a file: {command} chat.json")
    return Path(path).expanduser()


def _turns(desk: Desk) -> str:
    return _count(desk.conversation.turns)


def _count(turns: int) -> str:
    return "1 turn" if turns == 1 else f"{turns} turns"


def _reset(desk: Desk, _: str) -> str:
    desk.conversation.reset()
    return "Forgotten. The next question is the first."


def _retry(desk: Desk, _: str) -> str:
    desk.again = desk.conversation.undo()
    return f"Again: {desk.again}"


def _undo(desk: Desk, _: str) -> str:
    return f"Forgotten: {desk.conversation.undo()}"


def _tools(desk: Desk, path: str) -> str:
    talk = desk.conversation
    if path in _OFF:
        talk.tools = {}
    elif path:
        talk.tools |= tools_in(path)
    if not talk.tools:
        return "There are no tools. /tools FILE.py takes the functions in a file."
    return "\n".join(f"{tool.name}: {(tool.description or '').partition(chr(10))[0]}" for tool in talk.tools.values())


def _require(desk: Desk, text: str) -> str:
    talk = desk.conversation
    if text in _OFF:
        talk.requirements = []
    elif text:
        talk.requirements.append(requirement(text))
    if not talk.requirements:
        return "Nothing is required. /require TEXT adds a requirement."
    note = "\nWith tools, requirements are not judged: /tools off." if talk.tools else ""
    listing = "\n".join(f"- {each.description}" for each in talk.requirements)
    return f"Each answer has {talk.attempts} attempts at:\n{listing}{note}"


def _stats(desk: Desk, _: str) -> str:
    totals = desk.conversation.totals
    lines = [
        f"{desk.conversation.model}, {_turns(desk)}",
        f"{totals.answers} answers, {totals.input_tokens} tokens in, {totals.output_tokens} out",
    ]
    if totals.ttfts:
        mean = sum(totals.ttfts) / len(totals.ttfts)
        speed = totals.output_tokens / totals.speaking if totals.speaking > 0 else 0
        lines.append(f"{mean:.2f} s to the first token on average, {speed:.0f} tokens/s")
    return "\n".join(lines)


def _quit(desk: Desk, _: str) -> str:
    desk.leaving = True
    return ""


COMMANDS: Mapping[str, Command] = {
    usage.partition(" ")[0]: Command(usage=usage, about=about, run=run)
    for usage, about, run in (
        ("/help", "this list", _help),
        ("/model [NAME]", "the model; another one, as backend:model", _model),
        ("/system [TEXT|off]", "the system prompt", _system),
        ("/save FILE", "keep the conversation", _save),
        ("/load FILE", "go on with one that was kept", _load),
        ("/reset", "forget the conversation", _reset),
        ("/retry", "ask the last question again", _retry),
        ("/undo", "forget the last question", _undo),
        ("/tools [FILE.py|off]", "tools that it may use: functions in a file", _tools),
        ("/require [TEXT|off]", "what answers must satisfy; or FILE.py:FUNCTION", _require),
        ("/stats", "tokens and times so far", _stats),
        ("/quit", "leave", _quit),
    )
}
