"""The options that `chat` and `ask` share, as the command line writes them; `settings` says what they stand for."""

from __future__ import annotations

import argparse


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add the options that `chat` and `ask` share."""
    add = parser.add_argument
    add(
        "-m",
        "--model",
        metavar="MODEL",
        help="a backend, or backend:model; default: $MELLEA_LIKE_MODEL, else a local one",
    )
    add("-s", "--system", metavar="TEXT", help="a system prompt")
    add(
        "-r",
        "--require",
        metavar="REQUIREMENT",
        action="append",
        default=[],
        help="what the answer must satisfy: a sentence, which the model judges by, or FILE.py:FUNCTION of the answer's "
        "text; can be repeated",
    )
    add("--attempts", metavar="N", type=int, default=2, help="attempts at meeting the requirements (default: 2)")
    add("-t", "--tools", metavar="FILE.py", action="append", default=[], help="tools that the model may use")
    add(
        "-o",
        "--option",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="an option of the model (temperature=0) or of its backend (base_url=http://…); can be repeated",
    )
    add("--no-color", action="store_true", help="no colours; the same as NO_COLOR=1 in the environment")
