"""The `replay` backend: what another backend said, recorded to a file and played back from it.

`RecordingBackend` stands before a backend, passes everything on and records it; `ReplayBackend` plays a recording, and
is strict: a request that was not recorded is an error. Same deltas, same usage, same errors, same early ends. What a
recording looks like on disk is the affair of `_tape`.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from contextvars import Context
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any, ClassVar

from ..content import Request
from ..engine import in_worker
from ..errors import InvalidArgument, MelleaError, ReplayMismatch
from ..events import Cancelled, Failed, Finished, Said
from ..options import ModelOption
from . import Backend, _tape, backend_class


class RecordingBackend(Backend):
    """A backend that passes everything on to another one, and records each call in a file.

    A call is written when it ends: just before its end is told, so whoever has seen the end finds the call in the file.
    What was cancelled, cut off or failed is recorded as that. An error that is not the library's own (a mistake in the
    program) is passed on and its call is not recorded.

    Args:
        inner: The backend to ask. `aclose` closes it.
        path: The file, which is added to where it exists.

    Example:
        ```python
        import tempfile
        from pathlib import Path
        from mellea_like import FakeBackend, MelleaSession, RecordingBackend

        calls = Path(tempfile.mkdtemp()) / "calls.jsonl"
        with MelleaSession(RecordingBackend(FakeBackend(answers="Hi!"), calls)) as m:
            m.instruct("Say hi.")
        print(calls.read_text())
        ```
    """

    def __init__(self, inner: Backend, path: str | os.PathLike[str]) -> None:
        self.inner = inner
        self.path = Path(path)
        super().__init__(inner.model_id)
        self.name = inner.name  # type: ignore[misc]  # it stands for what it wraps, in metadata and messages too
        self.options = inner.options  # type: ignore[misc]  # as above

    def resolve(self, *layers: Mapping[str, Any] | None) -> dict[str, Any]:
        """Merge layers of options as the inner backend does."""
        return self.inner.resolve(*layers)

    async def stream(self, request: Request) -> AsyncGenerator[Said, None]:
        """Pass on what the inner backend says, and record it; see `Backend.stream`.

        Raises:
            InvalidArgument: the request holds something that is not JSON; nothing was sent.
            BackendUnavailable: the file cannot be written.
            MalformedReply: the file is something else than a recording.
        """
        take = _Take(self, request)
        _tape.prepare(self.path)
        try:
            async with aclosing(self.inner.stream(request)) as stream:
                async for said in stream:
                    take.add(said)
                    yield said
            take.write()
        except MelleaError as error:
            take.add(Failed(error=error))
            raise
        except (asyncio.CancelledError, GeneratorExit):
            take.add(Cancelled())
            raise

    async def aclose(self) -> None:
        """Close the inner backend."""
        await self.inner.aclose()

    def __repr__(self) -> str:
        return f"RecordingBackend({self.inner!r}, {str(self.path)!r})"


class _Take:
    """One call while it is recorded; whatever comes after its end is not part of it."""

    def __init__(self, backend: RecordingBackend, request: Request) -> None:
        own = {
            name: value
            for name, value in backend.resolve().items()
            if name not in {ModelOption.SYSTEM_PROMPT, ModelOption.TOOLS}  # these are sent as messages and tools
        }
        self._call = _tape.RecordedCall(
            backend=backend.name,
            model=backend.model_id,
            own=_tape.plain(own),
            request=_tape.plain(request),
            events=[],
        )
        self._path = backend.path
        self._begun = time.monotonic()
        self._written = False

    def add(self, said: Said) -> None:
        self._call.events.append((round(time.monotonic() - self._begun, 6), said))
        if isinstance(said, Finished | Failed | Cancelled):
            self.write()

    def write(self) -> None:
        if not self._written:
            self._written = True
            # On the loop, 0.4 ms for 200 deltas: so no call writes between, and no cancellation can cut it short.
            _tape.append(self._path, self._call)


class ReplayBackend(Backend):
    """A backend that plays a recording back: same deltas, same usage, same errors, same early ends.

    The same request, asked several times, gets its recorded calls in the order in which they ended. A request that is
    not in the file, or has been asked more often than it was recorded, is a `ReplayMismatch`; with `record` it is asked
    of that backend instead, and recorded for the next time. The file is read by the first call.

    Args:
        model_id: The path of the recording.
        record: A backend, or its name or `"backend:model"`, to ask what the file does not hold of it. `aclose` closes
            it.
        speed: 1 plays at the recorded times, 2 twice as fast; 0 plays without pauses.
        model_options: As for every backend.

    Raises:
        InvalidArgument: there is no path, or the speed is negative.
        UnknownName: there is no backend of the name in `record`.

    Example:
        ```python
        import tempfile
        from pathlib import Path
        from mellea_like import start_session

        calls = Path(tempfile.mkdtemp()) / "calls.jsonl"
        with start_session(f"replay:{calls}", record="fake") as m:
            print(m.instruct("Hello").value)
        with start_session(f"replay:{calls}") as m:
            print(m.instruct("Hello").value)
        ```
    """

    name: ClassVar[str] = "replay"
    options: ClassVar[frozenset[str]] = frozenset(ModelOption)

    def __init__(
        self,
        model_id: str | os.PathLike[str] | None = None,
        *,
        record: Backend | str | None = None,
        speed: float = 0.0,
        model_options: Mapping[str, Any] | None = None,
    ) -> None:
        if not model_id:
            raise InvalidArgument("The backend 'replay' needs a file to play: `start_session('replay:calls.jsonl')`.")
        if not speed >= 0:
            raise InvalidArgument(f"speed is {speed!r}; it must be a number from 0.")
        self._path = Path(model_id)
        self._speed = speed
        self._recorder = None if record is None else RecordingBackend(_opened(record), self._path)
        self._recording: _Recording | None = None
        self._reading = asyncio.Lock()
        super().__init__(os.fspath(model_id), model_options=model_options)

    def resolve(self, *layers: Mapping[str, Any] | None) -> dict[str, Any]:
        """Merge layers of options; with `record`, over and as that backend's own."""
        if self._recorder is None:
            return super().resolve(*layers)
        return self._recorder.resolve(self.model_options, *layers)

    async def stream(self, request: Request) -> AsyncGenerator[Said, None]:
        """Play the recorded answer to `request`, or record it; see `Backend.stream`.

        Raises:
            ReplayMismatch: the request was not recorded, or not so often.
            ModelNotFound: there is no such file.
            MalformedReply: the file is not a recording, or one of its lines is broken.
        """
        recording, asked = await self._loaded(), _tape.plain(request)
        call = recording.take(asked, self._recorder)
        if call is not None:
            source = self._played(call)
        elif self._recorder is not None:
            source = self._recorder.stream(request)
        else:
            raise recording.mismatch(asked)
        async with aclosing(source) as stream:
            async for said in stream:
                yield said

    async def aclose(self) -> None:
        """Close the backend that was recorded."""
        if self._recorder is not None:
            await self._recorder.aclose()

    async def _loaded(self) -> _Recording:
        async with self._reading:
            if self._recording is None:
                new = self._recorder is not None and not self._path.exists()
                calls = [] if new else await in_worker(partial(_tape.read, self._path), context=Context())
                self._recording = _Recording(self._path, calls)
        return self._recording

    async def _played(self, call: _tape.RecordedCall) -> AsyncGenerator[Said, None]:
        begun = time.monotonic()
        for seconds, said in call.events:
            if self._speed:
                await asyncio.sleep(begun + seconds / self._speed - time.monotonic())
            if isinstance(said, Failed):
                error = said.error
                raise error
            yield said


class _Recording:
    """The calls of one recording; `left` of them have not been played."""

    def __init__(self, path: Path, calls: list[_tape.RecordedCall]) -> None:
        self.path = path
        self.calls = calls
        self.left = list(calls)

    def take(self, asked: dict[str, Any], recorder: Backend | None) -> _tape.RecordedCall | None:
        """Return the first call left that answers `asked`, and is the recorder's own where there is one."""
        for i, call in enumerate(self.left):
            own = recorder is None or (call.backend, call.model) == (recorder.name, recorder.model_id)
            if own and call.answers(asked):
                return self.left.pop(i)
        return None

    def mismatch(self, asked: dict[str, Any]) -> ReplayMismatch:
        """Build the error for a request that no call left answers."""
        played = [str(call.line) for call in self.calls if call.answers(asked)]
        if played:
            what = f"has been played as often as it was recorded (line {', '.join(played)})"
        elif self.calls:
            nearest = max(self.calls, key=lambda call: _likeness(call.request, asked))
            field, *values = next(_differences(nearest.request, nearest.completed(asked)))
            recorded, now = _excerpts(*values)
            what = f"was not recorded. The nearest, on line {nearest.line}, has {recorded} as {field}; now it is {now}"
        else:
            what = "was not recorded; nothing was"
        return ReplayMismatch(
            f"In {str(self.path)!r} this request {what}. Give `record=` the name of a backend to record it.",
            backend="replay",
        )


class _Absent:
    def __repr__(self) -> str:
        return "nothing"


_ABSENT = _Absent()


def _opened(record: Backend | str) -> Backend:
    if isinstance(record, Backend):
        return record
    name, _, model = record.partition(":")
    return backend_class(name)(model or None)


def _likeness(recorded: dict[str, Any], asked: dict[str, Any]) -> float:
    """Return how alike two requests are, from 0 to 1, by the words that they share."""
    one, other = (Counter(json.dumps(request, sort_keys=True).split()) for request in (recorded, asked))
    return 2 * (one & other).total() / (one.total() + other.total())


def _differences(recorded: Any, asked: Any, field: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Give each place where two pieces of JSON differ: what it is called, and both values."""
    if isinstance(recorded, dict) and isinstance(asked, dict):
        for name in recorded | asked:
            inner = f"{field}.{name}".lstrip(".")
            yield from _differences(recorded.get(name, _ABSENT), asked.get(name, _ABSENT), inner)
    elif isinstance(recorded, list) and isinstance(asked, list):
        for i, (one, other) in enumerate(zip_longest(recorded, asked, fillvalue=_ABSENT)):
            yield from _differences(one, other, f"{field}[{i}]")
    elif recorded != asked:
        yield field, recorded, asked


def _excerpts(recorded: Any, asked: Any) -> tuple[str, str]:
    """Show two values; long texts from a little before the place where they part."""
    if isinstance(recorded, str) and isinstance(asked, str):
        pairs = enumerate(zip(recorded, asked, strict=False))
        common = next((i for i, (one, other) in pairs if one != other), min(len(recorded), len(asked)))
        start = max(0, common - 20)
        recorded, asked = recorded[start:], asked[start:]
    return _short(recorded), _short(asked)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
