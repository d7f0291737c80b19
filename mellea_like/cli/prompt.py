"""`mellea-like prompt`: asks a model with a prompt file, and prints the answer as it comes."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from . import endings
from .run import add_variables, as_json, variables

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add_to(commands: Commands) -> None:
    """Add the command `prompt` to the command line."""
    parser = commands.add_parser(
        "prompt",
        help="ask a model with a prompt file",
        epilog=endings.EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", help="the prompt's name, or its path")
    add_variables(parser)
    parser.add_argument("--prompts", metavar="FOLDER", help="a folder of prompts to look in first")
    parser.add_argument("--provider", help="who serves the model; default: the file's, else $PROVIDER")
    parser.add_argument("--model", help="the model; default: the file's, else $MELLEA_LIKE_MODEL")
    parser.add_argument("--temperature", type=float, help="default: the file's, else 0.7")
    parser.add_argument("--json", action="store_true", help="print the whole answer as JSON, at its end")
    parser.set_defaults(run=_ask)


def _ask(arguments: argparse.Namespace) -> int:
    from ..prompts.asking import execute_prompt_streaming

    stream = execute_prompt_streaming(
        arguments.name,
        variables(arguments.var),
        arguments.temperature,
        arguments.provider,
        model=arguments.model,
        prompts_dir=arguments.prompts,
    )
    with stream:
        if arguments.json:
            print(as_json(stream.thunk.result().parsed))
            return 0
        for token in stream:
            print(token, end="", flush=True)
    if not stream.text.endswith("\n"):
        print()
    return 0
