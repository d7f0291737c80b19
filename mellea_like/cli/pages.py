"""The screen of a chat: finished rows go to the terminal for good, the open ones are redrawn below them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import IO, TypeAlias

from rich.console import Console

from .blocks import Block, MarkdownBlocks, PlainLines
from .markdown import Pen, Row
from .region import Region

Cutting: TypeAlias = MarkdownBlocks | PlainLines

_BLANK = Row("", 0)


class Sheet:
    """A text that grows, as rows: those that are finished, until they are taken, and those that are open."""

    def __init__(self, pen: Pen, blocks: Cutting) -> None:
        self._pen = pen
        self._blocks = blocks
        self._done: list[Row] = []
        self._any = False

    def feed(self, text: str) -> None:
        """Take new text."""
        self._draw(self._blocks.feed(text))

    def end(self) -> None:
        """Finish what is open."""
        self._draw(self._blocks.end())

    def take(self) -> list[Row]:
        """Take the finished rows."""
        done, self._done = self._done, []
        return done

    @property
    def finished(self) -> Sequence[Row]:
        """The finished rows that were not taken."""
        return self._done

    def open_rows(self) -> list[Row]:
        """Draw the block that is open."""
        block = self._blocks.open
        return [] if block is None else self._spaced(block, is_open=True)

    def _draw(self, blocks: Sequence[Block]) -> None:
        for block in blocks:
            self._done += self._spaced(block)
            self._any = True

    def _spaced(self, block: Block, *, is_open: bool = False) -> list[Row]:
        rows = self._pen.rows(block, is_open=is_open)
        return [_BLANK, *rows] if rows and self._any and not block.glued else rows


class Page:
    """A terminal, as a place to put rows.

    Args:
        color: Whether there may be colours; None asks the environment, as NO_COLOR says.
        console: The terminal; None for the one on standard output.
    """

    def __init__(self, *, color: bool | None = None, console: Console | None = None) -> None:
        no_color = None if color is None else not color
        self.console = console or Console(file=sys.stdout, force_terminal=True, no_color=no_color, highlight=False)
        self._file: IO[str] = self.console.file
        self.pen = Pen(self.console)
        self._region = Region(self._write, self._size)

    def sheet(self, *, markdown: bool = True) -> Sheet:
        """Begin a text that grows."""
        return Sheet(self.pen, MarkdownBlocks() if markdown else PlainLines())

    def update(self, done: Sequence[Row], live: Sequence[Row]) -> None:
        """Put finished rows on the page, and below them those that may still change."""
        self._region.update(done, live)

    def say(self, text: str, style: str = "") -> None:
        """Put text on the page, for good."""
        self.update(self.pen.text(text, style), [])

    def _size(self) -> tuple[int, int]:
        return self.console.size

    def _write(self, codes: str) -> None:
        self._file.write(codes)
        self._file.flush()
