"""How a command ends: exit codes that scripts can use, and failures as one line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from io import TextIOWrapper
from typing import Any

from ..errors import BackendError, InvalidArgument, MelleaError, NodeFailed, OutputError, WrongUse

ANSWERED = 0
NOT_MET = 1
WRONG = 2
FAILED = 3
INTERRUPTED = 130
NO_READER = 141

EXIT_CODES = """\
exit codes:
  0    answered
  1    answered, but the requirements are not met, or the answer does not fit the format
  2    wrong use: a mistake in the command line, a missing file, an unknown model or option
  3    the model's side failed: nothing answers, refused, timed out, cut off
  130  interrupted with Ctrl-C
  141  nobody reads the output any more
"""


def ending_well(command: Callable[[], int]) -> int:
    """Run a command and return its exit code; a failure is one line on stderr."""
    _prepare_streams()
    try:
        try:
            return command()
        finally:
            sys.stdout.flush()  # here, where it can still be said that nobody reads, or that the disk is full
    except KeyboardInterrupt:
        return INTERRUPTED
    except MelleaError as error:
        failure: BaseException = error
    except OSError as error:
        _let_go_of_output()
        if isinstance(error, BrokenPipeError):
            return NO_READER
        failure = error
    print(f"mellea-like: {one_line(failure)}", file=sys.stderr)
    return exit_code(failure)


def _prepare_streams() -> None:
    """Open the streams that were closed before Python began, and let none fail at a character that it cannot write."""
    if sys.stdin is None:
        sys.stdin = _nowhere("r")
    if sys.stdout is None:
        sys.stdout = _nowhere("w")
    if sys.stderr is None:
        sys.stderr = _nowhere("w")
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _nowhere(mode: str) -> Any:
    return open(os.open(os.devnull, os.O_RDWR), mode, encoding="utf-8", closefd=False)


def _let_go_of_output() -> None:
    """Send what cannot be written nowhere, or Python would complain about it when it leaves."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def exit_code(error: BaseException) -> int:
    """Return the exit code that an error stands for; a node's failure stands for what the node raised."""
    if isinstance(error, NodeFailed) and isinstance(error.raised, MelleaError):
        return exit_code(error.raised)
    if isinstance(error, OutputError):
        return NOT_MET
    if isinstance(error, BackendError):
        return FAILED
    return WRONG if isinstance(error, WrongUse | OSError) else FAILED


def one_line(error: BaseException) -> str:
    """Say an error in one line."""
    if isinstance(error, OSError) and error.strerror and not isinstance(error, MelleaError):
        return f"{error.filename!r}: {error.strerror}." if error.filename else f"{error.strerror}."
    return " ".join(str(error).split()) or type(error).__name__


def missing(error: ImportError) -> MelleaError:
    """Build the error for a package that the terminal needs."""
    from ..errors import MissingPackage

    return MissingPackage(
        f"The chat in the terminal needs packages that are not installed: {error}. Install them: "
        "pip install 'mellea-like[cli]'"
    )


def refused(path: str, error: OSError | UnicodeDecodeError) -> InvalidArgument:
    """Build the error for a file that cannot be read."""
    why = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
    return InvalidArgument(f"The file {path!r} cannot be read: {why}.")
