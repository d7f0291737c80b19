"""Cuts growing text into chunks (words, sentences, lines, paragraphs) as they close. Pure: text in, chunks out.

Where a chunk closes depends on the text alone, never on how it was cut into deltas.
"""

from __future__ import annotations

import re
from typing import Literal, TypeAlias, get_args

from .errors import unknown_name

Chunking: TypeAlias = Literal["word", "sentence", "line", "paragraph"]
"""What a growing answer is cut into."""

# Each matches where a chunk closes; what it matches still belongs to the chunk.
_CLOSES = {
    "word": re.compile(r"(?<=\S)\s"),
    "sentence": re.compile(
        r"(?<!\bMr)(?<!\bMrs)(?<!\bMs)(?<!\bDr)(?<!\bSt)(?<!\be\.g)(?<!\bi\.e)(?<!\bvs)"
        r"[.!?…][\"'”’)\]]*\s|[。！？]"  # noqa: RUF001  # the sentence ends of Chinese and Japanese
    ),
    "line": re.compile(r"\n"),
    "paragraph": re.compile(r"\n[ \t]*\n"),
}
_MAY_FOLLOW = "\"'”’)] \t"  # noqa: RUF001  # typographic quotes
"""What may stand between the first character of such a match and its last."""


class Chunk(str):
    """A closed piece of an answer, without the space around it; `number` counts from 0."""

    __slots__ = ("_before", "_pieces", "number")

    number: int
    _pieces: list[str]
    _before: int

    @classmethod
    def of(cls, piece: str, *, number: int, pieces: list[str]) -> Chunk:
        """Build the chunk of `piece`, the last of the `pieces` that the answer so far consists of."""
        chunk = cls(piece.strip())
        # The list grows on; the chunk remembers how much of it was there.
        chunk.number, chunk._pieces, chunk._before = number, pieces, len(pieces)
        return chunk

    @property
    def so_far(self) -> str:
        """The answer up to the end of this chunk."""
        return "".join(self._pieces[: self._before])


class Cutter:
    """Cuts one text that comes in pieces.

    Args:
        chunking: `"word"`, `"sentence"`, `"line"` or `"paragraph"`.

    Raises:
        UnknownName: it is none of these.
    """

    def __init__(self, chunking: Chunking) -> None:
        if chunking not in _CLOSES:
            raise unknown_name("chunking", chunking, get_args(Chunking))
        self._closes = _CLOSES[chunking]
        self._pieces: list[str] = []
        self._open = ""
        self._count = 0

    def feed(self, text: str) -> list[Chunk]:
        """Take more text, and return the chunks that it closes."""
        # A match may begin in what was there before: at its last characters that may stand inside one.
        start = len(self._open)
        while start and self._open[start - 1] in _MAY_FOLLOW:
            start -= 1
        self._open += text
        closed, at = [], 0
        for match in self._closes.finditer(self._open, max(start - 1, 0)):
            closed += self._cut(self._open[at : match.end()])
            at = match.end()
        self._open = self._open[at:]
        return closed

    def flush(self) -> list[Chunk]:
        """Return the last chunk, which the end of the text closes."""
        last, self._open = self._open, ""
        return self._cut(last)

    def _cut(self, piece: str) -> list[Chunk]:
        self._pieces.append(piece)
        if not piece.strip():
            return []
        self._count += 1
        return [Chunk.of(piece, number=self._count - 1, pieces=self._pieces)]
