"""Every error of the library, under one root.

    MelleaError
    ├── WrongUse                     the call itself is mistaken; nothing was sent
    │   ├── InvalidArgument          (ValueError) a value that cannot work
    │   ├── UnknownName              (ValueError) a name that does not exist; lists those that do
    │   ├── NotComputed              (RuntimeError) an unfinished thunk was used as text
    │   ├── AlreadyComputed          (RuntimeError) a computed thunk was streamed
    │   ├── AlreadyPolled            (RuntimeError) a second poller on one thunk
    │   ├── SessionClosed            (RuntimeError) a call on a closed session
    │   ├── UnsupportedEventLoop     (RuntimeError) trio, or a blocking call on the library's own loop
    │   ├── WrongProcess             (RuntimeError) a thunk or model inherited through a fork
    │   ├── TemplateError            (ValueError) a template that cannot be rendered
    │   └── MissingPackage           (ImportError) an optional package is not installed
    ├── BackendError                 the model's side failed; has `backend`
    │   ├── BackendUnavailable       (ConnectionError) nothing answers
    │   ├── BackendTimeout           (TimeoutError) silence for too long
    │   ├── RateLimited              told to slow down; has `retry_after`
    │   ├── ModelNotFound            the backend does not have this model
    │   ├── RequestRefused           the backend says no; has `status`
    │   │   └── ContextOverflow      the prompt does not fit the model's context window
    │   ├── MalformedReply           not what the protocol promises; has `head`
    │   ├── Truncated                the stream ended without its terminal event
    │   ├── ScriptExhausted          the `fake` backend has no answer left
    │   └── ReplayMismatch           the `replay` backend was asked something that was not recorded
    ├── OutputError                  the model answered, and the answer is no good
    │   └── OutputParseError         (ValueError) it does not parse as the wanted type
    ├── ResultTimeout                (TimeoutError) `result(timeout=…)` gave up waiting; the thunk goes on
    ├── DependencyFailed             a call needed the text of a thunk that failed; has `thunk`
    └── GenerationCancelled          the generation was stopped; what came is in `partial_text`

asyncio's own `CancelledError` is not among them and is never converted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

E = TypeVar("E", bound=BaseException)


class MelleaError(Exception):
    """Raised when anything in this library fails; catch it to catch every other error of the library.

    Keyword arguments become attributes, so an error carries the values that explain it, and copies and pickles.
    """

    def __init__(self, message: str = "", /, **facts: Any) -> None:
        super().__init__(message)
        self.__dict__.update(facts)

    def __reduce__(self) -> tuple[Any, ...]:
        # `Exception.__reduce__` would give the keyword facts to nobody; the state restores them without `__init__`.
        return (_rebuilt, (type(self), self.args, self.__dict__.copy()))


class WrongUse(MelleaError):
    """Raised when a call is mistaken in itself; the base of every error that a change to the caller's code mends."""


class InvalidArgument(WrongUse, ValueError):
    """Raised when an argument's value cannot work."""


class UnknownName(WrongUse, ValueError):
    """Raised when a backend, model, option, context type or public name does not exist; `valid` lists those that do."""

    valid: tuple[str, ...] = ()


class NotComputed(WrongUse, RuntimeError):
    """Raised when a thunk that is still running is used as if its text were there."""


class AlreadyComputed(WrongUse, RuntimeError):
    """Raised when a computed thunk is asked to stream."""


class AlreadyPolled(WrongUse, RuntimeError):
    """Raised when two tasks call `astream()` on one thunk at once; iterate instead, any number of readers can."""


class SessionClosed(WrongUse, RuntimeError):
    """Raised when a closed session is called."""


class UnsupportedEventLoop(WrongUse, RuntimeError):
    """Raised when the library is awaited under trio, or blocked upon from its own loop."""


class WrongProcess(WrongUse, RuntimeError):
    """Raised when a running thunk or a loaded model is used in a process that only inherited it through a fork."""


class TemplateError(WrongUse, ValueError):
    """Raised when a template has a syntax error or names a variable that was not given."""


class MissingPackage(WrongUse, ImportError):
    """Raised when a feature needs a package that is not installed."""


class BackendError(MelleaError):
    """Raised when the model's side of a call fails; `backend` is the backend's name."""

    backend: str = ""


class BackendUnavailable(BackendError, ConnectionError):
    """Raised when nothing answers at the backend's address, or the model cannot be fetched or loaded.

    `status` is the server's status code and `retry_after` the seconds that it asks for, where it answered at all.
    """

    status: int | None = None
    retry_after: float | None = None


class BackendTimeout(BackendError, TimeoutError):
    """Raised when the backend is silent for longer than the timeout allows."""


class RateLimited(BackendError):
    """Raised when the backend asks to slow down; `retry_after` is in seconds, None where the server did not say."""

    retry_after: float | None = None


class ModelNotFound(BackendError):
    """Raised when the backend does not have the model; `model` is its name."""

    model: str = ""


class RequestRefused(BackendError):
    """Raised when the backend refuses the request; `status` is its status code, where it has one."""

    status: int | None = None


class ContextOverflow(RequestRefused):
    """Raised when prompt and context do not fit; `input_tokens` were sent, `context_window` tokens fit."""

    input_tokens: int | None = None
    context_window: int | None = None


class MalformedReply(BackendError):
    """Raised when a reply is not what the protocol promises; `head` holds its first 200 bytes."""

    head: bytes = b""


class Truncated(BackendError):
    """Raised when a stream ends without its terminal event; the text that came is kept in the thunk."""


class ScriptExhausted(BackendError):
    """Raised when the `fake` backend is called more often than its script has answers."""


class ReplayMismatch(BackendError):
    """Raised when the `replay` backend is asked for something that its file does not hold."""


class OutputError(MelleaError):
    """Raised when the model answered and the answer is not usable; `text` is that answer."""

    text: str = ""


class OutputParseError(OutputError, ValueError):
    """Raised when an answer does not parse as the wanted type, or was cut off by its token limit."""


class ResultTimeout(MelleaError, TimeoutError):
    """Raised when `result(timeout=…)` has waited long enough; the generation goes on and can be read later."""


class DependencyFailed(MelleaError):
    """Raised when a call needs the text of a thunk that failed or was cancelled; `thunk` shows which."""

    thunk: str = ""


class GenerationCancelled(MelleaError):
    """Raised when a reader reaches the end of a generation that was cancelled; `partial_text` is what had come."""

    partial_text: str = ""


def unknown_name(kind: str, name: object, valid: Iterable[str], *, hint: str = "") -> UnknownName:
    """Build the error for a name that does not exist, with the valid names and the closest of them."""
    import difflib  # 4 ms, and only to explain a mistake

    names = tuple(sorted(map(str, valid)))
    close = difflib.get_close_matches(str(name), names, n=1)
    guess = f" Did you mean {close[0]!r}?" if close else ""
    listing = ", ".join(map(repr, names)) or "none"
    return UnknownName(f"There is no {kind} {name!r}.{guess} Valid: {listing}.{' ' if hint else ''}{hint}", valid=names)


def fresh_copy(error: E) -> E:
    """Copy an error for one reader: same type, arguments and attributes, and the original as its cause.

    One instance raised to many readers would grow its traceback with each of them and tie their frames together.
    """
    # Not the class's own constructor: it may want other arguments than `args`, or change them once more.
    builtin: Any = next(kind for kind in type(error).__mro__ if kind.__module__ == "builtins")
    twin: E = builtin.__new__(type(error), *error.args)
    builtin.__init__(twin, *error.args)
    twin.args = error.args
    twin.__dict__.update(error.__dict__)
    twin.__cause__ = error
    return twin


def _rebuilt(kind: type[MelleaError], args: tuple[Any, ...], facts: Mapping[str, Any]) -> MelleaError:
    error = kind.__new__(kind, *args)
    error.args = args  # an OSError among the bases sets them in `__init__` only
    error.__dict__.update(facts)
    return error
