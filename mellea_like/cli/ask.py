"""`mellea-like ask`: one question, one answer, for scripts and pipes."""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import TYPE_CHECKING, Any

from . import endings
from .flags import add_settings

if TYPE_CHECKING:
    from ..session import MelleaSession
    from ..thunk import ModelOutputThunk

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

_EXAMPLES = """\
examples:
  mellea-like ask "Why is the sky blue?"
  git diff | mellea-like ask "Write a commit message for this." --require "One line."
  mellea-like ask "Invent a person." --format person.json | jq .name
  mellea-like ask "Invent a person." --format people.py:Person
  mellea-like ask "What is 17 * 23?" --tools calculator.py
  mellea-like ask "A haiku" --require checks.py:three_lines --attempts 5 || echo "no haiku"

Standard input, where it is not the terminal, goes with the question as its context; without a question, it is the
question. To a terminal the answer streams as Markdown, to a pipe as plain text.

"""


def add_to(commands: Commands) -> None:
    """Add the command `ask` to the command line."""
    parser = commands.add_parser(
        "ask",
        help="ask one question, in a script or a pipe",
        description="Ask one question and print the answer as it comes.",
        epilog=_EXAMPLES + endings.EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("question", nargs="*", help="what to ask; several words need no quotes")
    parser.add_argument(
        "-f", "--format", metavar="FILE", help="what the answer is to be: schema.json, or FILE.py:TYPE; it is then JSON"
    )
    add_settings(parser)
    parser.add_argument("--stats", action="store_true", help="tokens and times, on stderr")
    parser.set_defaults(run=_ask)


def _ask(arguments: argparse.Namespace) -> int:
    from ..errors import InvalidArgument
    from .settings import opened

    given = "" if sys.stdin.isatty() else sys.stdin.read()
    question = " ".join(arguments.question)
    if not (question or given).strip():
        raise InvalidArgument('There is no question. Write: mellea-like ask "…"')
    if arguments.tools and (arguments.format or arguments.require):
        raise InvalidArgument("--tools goes with neither --format nor --require: an agent's answer is not judged.")
    call = _call(arguments)
    session = opened(arguments.model, arguments.option, system=arguments.system)
    with session, asyncio.Runner() as runner:
        return runner.run(_answer(session, _asked(question, given), arguments, call))


def _asked(question: str, given: str) -> str:
    if not question.strip():
        return given
    return f"{question}\n\n{given}" if given.strip() else question


def _call(arguments: argparse.Namespace) -> dict[str, Any]:
    """Read what the command line says about the call, before anything is opened."""
    from ..sampling.rejection import RejectionSamplingStrategy
    from .settings import checked_attempts, format_in, requirement, tools_in

    call: dict[str, Any] = {}
    attempts = checked_attempts(arguments.attempts)
    if arguments.require:
        call["requirements"] = [requirement(each) for each in arguments.require]
        call["strategy"] = RejectionSamplingStrategy(loop_budget=attempts)
    if arguments.format:
        call["format"] = format_in(arguments.format)
    if arguments.tools:
        call["tools"] = [tool for path in arguments.tools for tool in tools_in(path).values()]
    return call


async def _answer(session: MelleaSession, asked: str, arguments: argparse.Namespace, call: dict[str, Any]) -> int:
    from .talking import complain, not_met, stream, timing

    thunk = await _started(session, asked, call)
    async with thunk:
        if not (sys.stdout.isatty() and not arguments.format and await _shown(thunk, arguments, call)):
            await stream(thunk)
        elif thunk.error is not None:
            return endings.exit_code(thunk.error)
        elif thunk.state == "cancelled":
            return endings.INTERRUPTED
    if arguments.stats:
        complain(timing(thunk))
    return endings.NOT_MET if not_met(thunk) else endings.ANSWERED


async def _started(session: MelleaSession, asked: str, call: dict[str, Any]) -> ModelOutputThunk[Any]:
    if "tools" not in call:
        thunk: ModelOutputThunk[Any] = await session.ainstruct(asked, await_result=False, **call)
        return thunk
    from ..agent import react
    from ..content import Message

    running, _ = await react(
        Message("user", asked),
        session.ctx,
        session.backend,
        tools=call["tools"],
        model_options=session.model_options,
        confirm=lambda _: False,
        await_result=False,
    )
    return running


async def _shown(thunk: ModelOutputThunk[Any], arguments: argparse.Namespace, call: dict[str, Any]) -> bool:
    """Show an answer on the terminal; return False where the packages for that are not installed."""
    try:
        from .pages import Page
        from .showing import Showing
        from .view import AnswerView
    except ImportError:
        return False
    held = bool(call.keys() & {"requirements", "tools"})
    view = AnswerView(Page(color=False if arguments.no_color else None), held=held, tools="tools" in call)
    await Showing(thunk, view).run()
    return True
