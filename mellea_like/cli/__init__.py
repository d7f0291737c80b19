"""The `mellea-like` command: one file here per subcommand, each with a function `add_to`.

This file knows how a command line is read; it does not know what a command does.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from . import ask, chat, models, prompt, run, serve
from .endings import ending_well

COMMANDS = (chat, ask, models, run, prompt, serve)

_EXAMPLES = """\
examples:
  mellea-like chat                              talk to the model that runs on this machine
  mellea-like ask "Why is the sky blue?"        one answer, in a script or a pipe
  mellea-like chat --model ollama:llama3.2      another model
  mellea-like models list                       which models have been fetched

Each command has its own: mellea-like ask --help
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (the process's own where None) and return its exit code.

    A failure is one line on stderr, and its exit code says which kind it is; Ctrl-C is exit code 130.

    Example:
        ```python
        from mellea_like.cli import main

        main(["models", "list"])
        ```
    """
    return ending_well(lambda: _obeyed(argv))


def _obeyed(argv: Sequence[str] | None) -> int:
    parser = argparse.ArgumentParser(
        prog="mellea-like",
        description="Generative programming in Python.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", metavar="command", required=True)
    for command in COMMANDS:
        command.add_to(commands)
    arguments = parser.parse_args(argv)
    code: int = arguments.run(arguments)
    return code
