"""`mellea-like chat`: talk to a model, at a terminal or through a pipe."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from . import endings
from .flags import add_settings

if TYPE_CHECKING:
    from .conversation import Conversation

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

_EXAMPLES = """\
examples:
  mellea-like chat
  mellea-like chat --model ollama:llama3.2 --system "You answer in one sentence."
  mellea-like chat --model openai:qwen3 -o base_url=http://localhost:8000/v1 -o temperature=0
  mellea-like chat --require "The answer is polite." --attempts 3
  mellea-like chat --tools tools.py --load yesterday.json
  printf 'My name is Ana.\\nWho am I?\\n' | mellea-like chat

in the chat:
  /help lists the commands. Alt-Enter, or \\ at a line's end, goes to the next line. Ctrl-C stops an answer and keeps
  what came; once more leaves, as Ctrl-D does. In a pipe, each line is one turn and the answers are plain text.

"""


def add_to(commands: Commands) -> None:
    """Add the command `chat` to the command line."""
    parser = commands.add_parser(
        "chat",
        help="talk to a model in the terminal",
        description="Talk to a model: answers stream, and the model sees the whole conversation.",
        epilog=_EXAMPLES + endings.EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_settings(parser)
    parser.add_argument("-l", "--load", metavar="FILE", help="go on with a conversation that /save kept")
    parser.set_defaults(run=_chat)


def _chat(arguments: argparse.Namespace) -> int:
    from .talking import PipeChat, TerminalChat

    conversation, opening = _conversation(arguments)
    color = False if arguments.no_color else None
    try:
        if not (sys.stdin.isatty() and sys.stdout.isatty()) or os.environ.get("TERM") == "dumb":
            return PipeChat(conversation).run()
        try:
            chat = TerminalChat(conversation, color=color, opening=opening)
        except ImportError as error:
            raise endings.missing(error) from error
        return chat.run()
    finally:
        conversation.close()


def _conversation(arguments: argparse.Namespace) -> tuple[Conversation, str]:
    from ..context import Context
    from .commands import resumed
    from .conversation import Conversation
    from .settings import checked_attempts, opened, requirement, tools_in

    ctx = Context.load(arguments.load) if arguments.load else None
    attempts = checked_attempts(arguments.attempts)
    required = [requirement(each) for each in arguments.require]
    session = opened(arguments.model, arguments.option, system=arguments.system, ctx=ctx)
    conversation = Conversation(session, attempts=attempts, options=arguments.option)
    conversation.requirements = required
    for path in arguments.tools:
        conversation.tools |= tools_in(path)
    return conversation, resumed(conversation, arguments.load) if arguments.load else ""
