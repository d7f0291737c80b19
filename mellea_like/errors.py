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
    │   ├── PreconditionFailed       (ValueError) arguments that a generative function does not take; has `validations`
    │   ├── TemplateError            (ValueError) a template that cannot be rendered
    │   ├── UnreadableContext        (ValueError) a saved context that is damaged, foreign or of another version
    │   ├── InvalidFile              (ValueError) a prompt or graph file with mistakes; has `path`, `line`, `faults`
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
    │   ├── OutputParseError         (ValueError) it does not parse as the wanted type
    │   └── RequirementsNotMet       no attempt met the requirements; has `samples`
    ├── ToolError                    a tool call came to nothing; has `tool`
    │   ├── UnknownTool              there is no such tool; has `valid`
    │   ├── WrongToolArguments       (ValueError) they do not fit the tool's schema; has `schema`
    │   ├── ToolFailed               the tool raised
    │   ├── ToolTimeout              (TimeoutError) the tool took longer than it may
    │   ├── ToolRefused              it was to be confirmed, and was not
    │   └── ToolServerUnavailable    (ConnectionError) a server of tools cannot be started or reached, or went away
    ├── GraphError                   a graph cannot be built, or its run came to nothing
    │   ├── GraphInvalid             (ValueError) a graph that cannot work; names what is wrong with it
    │   ├── NodeFailed               (RuntimeError) a node raised; has `node`, and what it raised as its cause
    │   ├── NodeTimeout              (TimeoutError) a node took longer than it may; has `node`
    │   ├── RecursionLimit           (RecursionError) the run took all its steps without an end
    │   ├── InvalidUpdate            (ValueError) a node's result does not fit the state; has `node`
    │   ├── NothingToResume          (LookupError) no run is kept under this thread id, or it waits for nothing
    │   └── Interrupted              a node waits for somebody; the run stops and can be resumed
    ├── RequestRejected              this library's server turns a request away; has `status`, `code`, `retry_after`
    ├── FunctionFailed               (RuntimeError) a function of yours raised what an event loop cannot carry
    ├── LoopBudgetExhausted          (RuntimeError) an agent took all its turns without an answer; has `messages`
    ├── ResultTimeout                (TimeoutError) `result(timeout=…)` gave up waiting; the thunk goes on
    ├── DependencyFailed             a call needed the text of a thunk that failed; has `thunk`
    └── GenerationCancelled          the generation was stopped; what came is in `partial_text`

asyncio's own `CancelledError` is not among them, and a cancellation is never converted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
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


class PreconditionFailed(WrongUse, ValueError):
    """Raised when the arguments of a generative function do not meet its preconditions; `validations` says which."""

    validations: tuple[Any, ...] = ()


class TemplateError(WrongUse, ValueError):
    """Raised when a template has a syntax error or names a variable that was not given."""


class UnreadableContext(WrongUse, ValueError):
    """Raised when a saved context cannot be read: not JSON, not a context, damaged, or of another version."""


class InvalidFile(WrongUse, ValueError):
    """Raised when a prompt or graph file has mistakes; `faults` are all of them, `line` that of the first, from 1."""

    path: str = ""
    line: int = 1
    faults: tuple[Any, ...] = ()


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


class ToolError(MelleaError):
    """Raised when a tool call comes to nothing; `tool` is the tool's name. The model is told the message."""

    tool: str = ""


class UnknownTool(ToolError):
    """Raised when a model asks for a tool that does not exist; `valid` lists those that do."""

    valid: tuple[str, ...] = ()


class WrongToolArguments(ToolError, ValueError):
    """Raised when the arguments of a tool call do not fit; `schema` is the JSON schema of those that do."""

    schema: Mapping[str, Any] = MappingProxyType({})


class ToolFailed(ToolError):
    """Raised when a tool raised, or returned what cannot be told to a model; what it raised is the cause."""


class ToolTimeout(ToolError, TimeoutError):
    """Raised when a tool takes longer than its timeout allows."""


class ToolRefused(ToolError):
    """Raised when a tool that has to be confirmed was not."""


class ToolServerUnavailable(ToolError, ConnectionError):
    """Raised when a server of tools cannot be started or reached, or went away in the middle of a call."""


class GraphError(MelleaError):
    """Raised when a graph cannot be built, or its run comes to nothing; `node` is a node's name, where it is one's."""

    node: str = ""


class GraphInvalid(GraphError, ValueError):
    """Raised when a graph cannot work: an unknown node, no entry, a circle without an end."""


class NodeFailed(GraphError, RuntimeError):
    """Raised when a node fails; what it raised is the cause, and in `raised`."""

    raised: BaseException | None = None


class NodeTimeout(GraphError, TimeoutError):
    """Raised when a node takes longer than its timeout allows."""


class RecursionLimit(GraphError, RecursionError):
    """Raised when a run takes all its steps without coming to an end."""


class InvalidUpdate(GraphError, ValueError):
    """Raised when what a node returns does not fit the state."""


class NothingToResume(GraphError, LookupError):
    """Raised when a run is to go on and none is kept under its thread id, or the one that is waits for nothing."""


class Interrupted(GraphError):
    """Raised when a node asks somebody, by `interrupt(…)`; `value` is the question. The graph keeps it."""

    value: Any = None


class RequestRejected(MelleaError):
    """Raised when this library's server turns a request away, with the HTTP status code `status`.

    `code` is OpenAI's word for why, `param` what of the request it is about, and `retry_after` in seconds.
    """

    status: int = 400
    code: str | None = None
    param: str | None = None
    retry_after: float | None = None


class FunctionFailed(MelleaError, RuntimeError):
    """Raised when a function of yours raises what no event loop can carry, such as `SystemExit`; that is its cause."""


class LoopBudgetExhausted(MelleaError, RuntimeError):
    """Raised when an agent has taken all its turns without an answer; `messages` is what was said until then."""

    messages: tuple[Any, ...] = ()


class RequirementsNotMet(OutputError):
    """Raised when no attempt met the requirements and `on_failure` is `"raise"`; `samples` are the attempts."""

    samples: tuple[Any, ...] = ()


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
