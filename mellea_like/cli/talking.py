"""The chat's loop, at a terminal and in a pipe: read a line, obey it or answer it, until there is no more."""

from __future__ import annotations

import asyncio
import sys
from typing import IO, TYPE_CHECKING, Any

from ..content import ToolCall
from ..errors import MelleaError
from ..thunk import ModelOutputThunk
from .commands import Desk, obey
from .conversation import Conversation
from .endings import ANSWERED, INTERRUPTED, NOT_MET, exit_code, one_line

if TYPE_CHECKING:
    from .pages import Page


class TerminalChat:
    """A chat with somebody who types and looks.

    Args:
        conversation: What is said.
        color: Whether there may be colours; None asks the environment.
        opening: What is said first.
    """

    def __init__(self, conversation: Conversation, *, color: bool | None = None, opening: str = "") -> None:
        from .keyboard import keyboard
        from .pages import Page

        self._desk = Desk(conversation=conversation)
        self._color = color
        self._page: Page = Page(color=color)
        self._keyboard = keyboard(color=color)
        self._opening = opening

    def run(self) -> int:
        """Talk until the user leaves, and return the exit code."""
        talk = self._desk.conversation
        self._page.say(f"{talk.model}. /help lists the commands, Ctrl-D leaves.", "dim")
        if self._opening:
            self._page.say(self._opening, "dim")
        # One loop for the whole chat: what the user's tools keep open stays usable from one answer to the next.
        with asyncio.Runner() as runner:
            return self._talk(runner)

    def _talk(self, runner: asyncio.Runner) -> int:
        warned = False
        while not self._desk.leaving:
            try:
                line = self._keyboard.prompt()
            except EOFError:
                break
            except KeyboardInterrupt:
                if warned:
                    return INTERRUPTED
                warned = True
                self._page.say("Ctrl-C once more leaves, and so does Ctrl-D.", "dim")
                continue
            try:
                warned = not self._turn(runner, line)
            except KeyboardInterrupt:
                return INTERRUPTED
        return ANSWERED

    def _turn(self, runner: asyncio.Runner, line: str) -> bool:
        """Obey or answer a line; return False where the user stopped it."""
        try:
            if line.startswith("/"):
                self._page.say(obey(self._desk, line))
                line, self._desk.again = self._desk.again or "", None
            return runner.run(self._answer(line)) if line else True
        except (MelleaError, OSError) as error:
            self._page.say(one_line(error), "red")
            return True

    async def _answer(self, question: str) -> bool:
        from .showing import Showing
        from .view import AnswerView

        talk = self._desk.conversation
        begun: asyncio.Future[Showing] = asyncio.get_running_loop().create_future()

        async def confirm(call: ToolCall) -> bool:
            return await (await begun).aside(call, lambda: self._agreed(call))

        thunk = await talk.ask(question, confirm=confirm)
        view = AnswerView(self._page, held=bool(talk.tools or talk.requirements), tools=bool(talk.tools))
        begun.set_result(Showing(thunk, view))
        finished = await begun.result().run()
        talk.totals.add(thunk)
        told = timing(thunk)
        self._page.say(f"{told}\n" if told else "", "dim")
        return finished

    async def _agreed(self, call: ToolCall) -> bool:
        from .keyboard import agreed

        self._page.update([], [])
        return await agreed(f"Run {call.name} {call.arguments}?")


def timing(thunk: ModelOutputThunk[Any]) -> str:
    """Say how long an answer took: to its first token, and how many tokens a second came then."""
    known = thunk.generation
    if known.ttft is None or known.seconds is None:
        return ""
    told = [f"{known.ttft:.2f} s to the first token"]
    tokens = known.usage.output_tokens if known.usage is not None else 0
    if tokens:
        # The first token came after `ttft`; the others in the rest of the time.
        rest = known.seconds - known.ttft
        told.append(f"{tokens} tokens" + (f", {(tokens - 1) / rest:.0f} a second" if tokens > 1 and rest > 0 else ""))
    return " · ".join(told)


class PipeChat:
    """A chat with a program: each line is one turn, answers are plain text, failures go to stderr.

    Args:
        conversation: What is said.
        lines: Where lines come from; None for standard input.
    """

    def __init__(self, conversation: Conversation, lines: IO[str] | None = None) -> None:
        self._desk = Desk(conversation=conversation)
        self._lines = lines or sys.stdin
        self._code = ANSWERED

    def run(self) -> int:
        """Talk until there are no more lines, and return the exit code of the worst turn."""
        while not self._desk.leaving and (line := self._next()) is not None:
            try:
                self._turn(line)
            except (MelleaError, OSError) as error:
                if isinstance(error, BrokenPipeError) and not isinstance(error, MelleaError):
                    raise
                complain(one_line(error))
                self._code = max(self._code, exit_code(error))
        return self._code

    def _next(self) -> str | None:
        """Read a line; one that ends in a backslash goes on in the next."""
        read: list[str] = []
        while line := self._lines.readline():
            line = line.rstrip("\r\n")
            read.append(line.removesuffix("\\"))
            if not line.endswith("\\"):
                break
        return "\n".join(read) if read else None

    def _turn(self, line: str) -> None:
        if line.startswith("/"):
            if told := obey(self._desk, line):
                print(told, flush=True)
            line, self._desk.again = self._desk.again or "", None
        if line.strip():
            with asyncio.Runner() as runner:
                runner.run(self._answer(line))

    async def _answer(self, question: str) -> None:
        talk = self._desk.conversation
        thunk = await talk.ask(question, confirm=_nobody)
        async with thunk:
            await stream(thunk)
        talk.totals.add(thunk)
        if not_met(thunk):
            self._code = max(self._code, NOT_MET)


async def stream(thunk: ModelOutputThunk[Any]) -> None:
    """Write an answer to standard output as it comes; under requirements, when one is accepted.

    Raises:
        MelleaError: what it failed with, after the text that came.
    """
    text = "\n"
    try:
        async for text in thunk:
            sys.stdout.write(text)
            sys.stdout.flush()
    finally:
        if not text.endswith("\n"):
            print(flush=True)


def not_met(thunk: ModelOutputThunk[Any]) -> bool:
    """Whether an answer was judged and did not pass; its reasons are then on stderr."""
    if thunk.success is not False:
        return False
    for verdict in thunk.validations:
        if not verdict:
            complain(f"not met: {verdict.requirement}" + (f": {verdict.reason}" if verdict.reason else ""))
    return True


def complain(line: str) -> None:
    """Say on stderr what went wrong."""
    print(f"mellea-like: {line}", file=sys.stderr, flush=True)


def _nobody(call: ToolCall) -> bool:
    """Refuse: in a pipe there is nobody who could be asked."""
    return False
