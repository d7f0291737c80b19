"""Streams of bytes into whole messages: server-sent events, and one JSON object per line. Pure; reads nothing.

Bytes may be cut anywhere: inside a character, an escape, a line's end. Only whole lines are looked at, as bytes, so no
character is ever decoded in halves.
"""

from __future__ import annotations

from typing import Protocol

from .errors import MalformedReply

LONGEST_LINE = 16 * 1024 * 1024
"""Bytes that a line may have before it is taken for a fault: no model says this much at once."""


class Decoder(Protocol):
    """Cuts a stream of bytes into messages."""

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes; return the messages that are whole now."""
        ...

    def flush(self) -> list[bytes]:
        """Say that the stream has ended; return what its last line holds, where no line's end followed it."""
        ...


class LineDecoder:
    """Messages that are lines of their own (JSON lines); empty lines are passed over.

    Args:
        backend: The name of the backend that reads, for errors.
    """

    __slots__ = ("_backend", "_rest", "_size")

    def __init__(self, backend: str = "") -> None:
        self._backend = backend
        # The pieces of a line that is still open; joined once, so that a long line costs its length, not its square.
        self._rest: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes; return the lines that are whole now.

        Raises:
            MalformedReply: a line is longer than `LONGEST_LINE`.
        """
        return [line for line in self._lines(data) if line.strip()]

    def flush(self) -> list[bytes]:
        """Return the last line, where it has no end."""
        line, self._rest = b"".join(self._rest), []
        return [line] if line.strip() else []

    def _lines(self, data: bytes) -> list[bytes]:
        *lines, rest = data.split(b"\n")
        if lines:
            if self._rest:
                lines[0] = b"".join((*self._rest, lines[0]))
            self._rest, self._size = [rest] if rest else [], len(rest)
        elif rest:
            self._rest.append(rest)
            self._size += len(rest)
            if self._size > LONGEST_LINE:
                raise self._too_long(self._rest)
        return lines

    def _too_long(self, pieces: list[bytes]) -> MalformedReply:
        head = b"".join(pieces)[:200]
        return MalformedReply(
            f"A line of the stream is longer than {LONGEST_LINE} bytes (backend {self._backend!r}); it begins "
            f"{head[:60]!r}.",
            backend=self._backend,
            head=head,
        )


class EventDecoder(LineDecoder):
    """Server-sent events; the messages are their data. Comments, names, ids and retry times are passed over.

    Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
    """

    __slots__ = ("_after_cr", "_begun", "_data", "_length")

    def __init__(self, backend: str = "") -> None:
        super().__init__(backend)
        self._data: list[bytes] = []
        self._length = 0
        self._after_cr = False
        self._begun = False

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes; return the data of the events that are whole now; see `LineDecoder.feed`."""
        if self._after_cr or b"\r" in data:
            data = self._with_newlines(data)
        found = []
        lines = self._lines(data)
        if lines and not self._begun:
            self._begun = True
            lines[0] = lines[0].removeprefix(b"\xef\xbb\xbf")  # a byte order mark may stand before everything
        for line in lines:
            if not line:
                if self._data:
                    found.append(b"\n".join(self._data))
                    self._data, self._length = [], 0
            elif line.startswith(b"data:"):
                self._data.append(line[6:] if line[5:6] == b" " else line[5:])
                self._length += len(line)
                if self._length > LONGEST_LINE:
                    raise self._too_long(self._data)
        return found

    def flush(self) -> list[bytes]:
        """Return the data of an event that the stream's end cut short: many servers leave its last line end out."""
        return self.feed(b"\n\n")

    def _with_newlines(self, data: bytes) -> bytes:
        """Make every line's end a newline: CR, LF and CRLF are one, and a CRLF may be cut in two."""
        if self._after_cr and data.startswith(b"\n"):
            data = data[1:]
        self._after_cr = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
