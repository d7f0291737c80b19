"""The file behind `replay`: how calls become its lines, and lines calls.

Version 1: UTF-8, one JSON object per line. A header, then one line per call, written whole when the call has ended, so
after a crash the file is good up to its last whole line. One process at a time records into a file; any number play it.

    {"recording": "mellea_like", "version": 1}
    {"backend": "llamacpp", "model": "SmolLM2-135M-Instruct", "own": {"temperature": 0.2},
     "request": {"messages": [{"role": "user", "content": "Hi"}], "options": {"temperature": 0.2}},
     "events": [[0.021, "Hel"], [0.027, "lo!"], [0.031, {"type": "finished", "usage": {"output_tokens": 2}}]]}

- `own` holds the options that the backend added of its own accord: who plays the call need not ask for them.
- `request` is the `Request`, and an event's object is the `Event`, without the fields that have their default.
- `events` are pairs: seconds since the call began, and what was said then. Text is a string, cut as the backend cut it.
- The last event says how the call ended. `failed` is an error that was raised, with its `type`, `message` and `facts`
  (bytes as `{"base64": "…"}`); a call without `finished`, `failed` or `cancelled` broke off.
- What an event carries that JSON cannot say (a provider's own objects in `raw`, say) is left out.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, BinaryIO

from .. import errors
from ..content import Request
from ..errors import BackendError, BackendUnavailable, InvalidArgument, MalformedReply, MelleaError, ModelNotFound
from ..events import (
    Cancelled,
    Checked,
    Custom,
    Delta,
    Event,
    Failed,
    Finished,
    Retried,
    Said,
    Started,
    Thinking,
    ToolCallEvent,
    Usage,
)

_HEADER = b'{"recording": "mellea_like", "version": 1}\n'
_KINDS: dict[str, type[Event]] = {
    kind.type: kind
    for kind in (Started, Delta, Thinking, ToolCallEvent, Checked, Retried, Custom, Finished, Failed, Cancelled)
}
_ERRORS: dict[str, type[MelleaError]] = {
    name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, MelleaError)
}
_NOT_JSON = (TypeError, ValueError, RecursionError)
_NOT_A_CALL = (TypeError, ValueError, KeyError, AttributeError, RecursionError)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedCall:
    """One line of a recording: who was asked what, and what was said when. `request` and `own` are plain JSON."""

    backend: str
    model: str
    own: dict[str, Any]
    request: dict[str, Any]
    events: list[tuple[float, Said]]
    line: int = 0

    def completed(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Return what would have been sent, had `asked` been asked of the recorded backend."""
        return asked | {"options": self.own | asked["options"]}

    def answers(self, asked: dict[str, Any]) -> bool:
        """Whether this is a recording of `asked`."""
        return self.request in (asked, self.completed(asked))


def plain(thing: Request | Mapping[str, Any]) -> dict[str, Any]:
    """Return a request or a dict of options as plain JSON, which is what recordings hold and compare.

    Raises:
        InvalidArgument: something in it is not JSON.
    """
    try:
        written: dict[str, Any] = json.loads(_dumps(thing))
    except _NOT_JSON as error:
        raise InvalidArgument(f"This call cannot be recorded or played, because {error}: {thing!r}.") from error
    return written


def prepare(path: Path) -> None:
    """Make sure that calls can be recorded in `path`, before anybody is asked; see `append`."""
    append(path, None)


def append(path: Path, call: RecordedCall | None) -> None:
    """Write a call at the end of a recording, which is begun where there is none; a torn last line is taken away.

    Raises:
        MalformedReply: the file is something else than a recording; it is left as it is.
        BackendUnavailable: the file cannot be written.
    """
    try:
        with path.open("a+b") as file:
            _mend(path, file)
            if call is not None:
                file.write(_encode(call))
    except OSError as error:
        raise BackendUnavailable(f"Nothing can be recorded in {str(path)!r}: {error}.", backend="replay") from error


def read(path: Path) -> list[RecordedCall]:
    """Read the calls of a recording, in the order in which they ended.

    Raises:
        ModelNotFound: there is no such file.
        BackendUnavailable: it cannot be read.
        MalformedReply: it is not a recording, or one of its lines is broken; the message says which.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise ModelNotFound(
            f"There is no recording {str(path)!r}. Make one: `start_session('replay:{path}', record='llamacpp')`.",
            backend="replay",
            model=str(path),
        ) from error
    except OSError as error:
        raise BackendUnavailable(f"The recording {str(path)!r} cannot be read: {error}.", backend="replay") from error
    if _HEADER.startswith(content):  # nothing was recorded yet
        return []
    # Not `splitlines`, which would also split at characters that stand inside JSON strings.
    header, *lines = content.split(b"\n")
    _check_header(path, header + b"\n")
    if not _is_whole(lines[-1]):
        lines.pop()
    return [_decode(path, number, line) for number, line in enumerate(lines, start=2) if line.strip()]


# --- writing --------------------------------------------------------------------------------------------------------


def _mend(path: Path, file: BinaryIO) -> None:
    """Leave `file` with a header and without a torn last line."""
    file.seek(0)
    header = file.readline()
    if header != _HEADER and _HEADER.startswith(header):  # a new file, or one that was begun when the process died
        file.truncate(0)
        file.write(_HEADER)
        return
    _check_header(path, header)
    file.seek(-1, 2)
    if file.read(1) == b"\n":
        return
    content = path.read_bytes()
    last = content.rfind(b"\n") + 1
    if _is_whole(content[last:]):  # an editor took the newline away, not a crash
        file.write(b"\n")
    else:
        file.truncate(last)


def _check_header(path: Path, header: bytes) -> None:
    if header != _HEADER:
        raise MalformedReply(
            f"{str(path)!r} is not a recording of version 1: its first line is {header[:80]!r}, not {_HEADER!r}.",
            backend="replay",
            head=header[:200],
        )


def _is_whole(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _encode(call: RecordedCall) -> bytes:
    try:
        line = _dumps(call).encode()
    except UnicodeEncodeError:  # half a character pair: some backends cut there, and only an escape can say it
        line = _dumps(call, ensure_ascii=True).encode()
    return line + b"\n"


class _Encoder(json.JSONEncoder):
    def default(self, o: Any) -> Any:
        if isinstance(o, Event):
            return {"type": o.type} | _told(o)
        if isinstance(o, BaseException):
            return _written_error(o)
        if isinstance(o, Mapping):
            return dict(o)
        if is_dataclass(o) and not isinstance(o, type):
            return _told(o)
        return super().default(o)


def _dumps(thing: object, *, ensure_ascii: bool = False) -> str:
    return json.dumps(thing, cls=_Encoder, ensure_ascii=ensure_ascii, allow_nan=False)


def _told(thing: Any) -> dict[str, Any]:
    """Return the fields of a dataclass that do not have their default; what JSON cannot say of an event is left out."""
    told = {f.name: value for f in fields(thing) if (value := getattr(thing, f.name)) != f.default}
    return _sayable(told) if isinstance(thing, Custom | Finished) else told


def _sayable(facts: Mapping[str, Any]) -> dict[str, Any]:
    said = {}
    for name, value in facts.items():
        try:
            _dumps(value)
        except _NOT_JSON:
            continue
        said[name] = value
    return said


def _written_error(error: BaseException) -> dict[str, Any]:
    # A class from outside is played as the nearest one of ours: its own constructor and module may be gone by then.
    ours = next((kind for kind in type(error).__mro__ if kind in _ERRORS.values()), BackendError)
    facts = {
        name: {"base64": b64encode(fact).decode("ascii")} if isinstance(fact, bytes) else fact
        for name, fact in vars(error).items()
    }
    return {"type": ours.__name__, "message": str(error), "facts": _sayable(facts)}


# --- reading --------------------------------------------------------------------------------------------------------


def _decode(path: Path, number: int, line: bytes) -> RecordedCall:
    try:
        told = json.loads(line)
        told["events"] = [(float(seconds), _said(said)) for seconds, said in told["events"]]
        return RecordedCall(line=number, **told)
    except _NOT_A_CALL as error:
        raise MalformedReply(
            f"Line {number} of {str(path)!r} is not a recorded call ({type(error).__name__}: {error}): {line[:80]!r}. "
            "Take the line out, or record the file anew.",
            backend="replay",
            head=line[:200],
        ) from error


def _said(told: Any) -> Said:
    if isinstance(told, str):
        return told
    kind = _KINDS[told.pop("type")]
    if told.get("usage") is not None:
        told["usage"] = Usage(**told["usage"])
    if "error" in told:
        told["error"] = _read_error(told["error"])
    return kind(**told)


def _read_error(told: dict[str, Any]) -> MelleaError:
    facts = {
        name: b64decode(fact["base64"]) if isinstance(fact, dict) and fact.keys() == {"base64"} else fact
        for name, fact in told["facts"].items()
    }
    return _ERRORS[told["type"]](told["message"], **facts)
