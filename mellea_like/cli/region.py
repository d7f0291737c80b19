"""The part of a terminal that is still changing: some rows at its end, redrawn where they differ.

What is finished stays above and is never touched again, so that the terminal's scrollback has all of it, once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .markdown import Row

_REFLOWING = (
    *("TMUX", "VTE_VERSION", "KITTY_WINDOW_ID", "WT_SESSION", "ALACRITTY_WINDOW_ID", "KONSOLE_VERSION"),
    *("WEZTERM_PANE", "GHOSTTY_RESOURCES_DIR", "ITERM_SESSION_ID", "VSCODE_INJECTION"),
)


def reflows(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the terminal is known to wrap its rows anew when it is made narrower; none can be asked."""
    return any(name in environment for name in _REFLOWING)


class Region:
    """Rows at the end of a terminal.

    Args:
        write: Writes to the terminal, and flushes.
        size: Asks for the terminal's columns and rows.
        wraps: Whether the terminal wraps its rows anew when it is made narrower.
    """

    def __init__(
        self, write: Callable[[str], object], size: Callable[[], tuple[int, int]], *, wraps: bool | None = None
    ) -> None:
        self._write = write
        self._size = size
        self._wraps = reflows() if wraps is None else wraps
        self._rows: list[Row] = []
        self._width = 0

    def update(self, done: Sequence[Row], live: Sequence[Row]) -> None:
        """Show finished rows, which stay, and below them the rows that may still change.

        Of those, only as many as the terminal can take back: all but one of its rows.
        """
        width, height = self._size()
        codes = self._after_resize(width, height)
        shown = list(live[-max(1, height - 1) :]) if live else []
        codes += self._redrawn([*done, *shown])
        if done and not shown:
            codes += "\r\n"
        self._rows, self._width = shown, width
        if codes:
            self._write(codes)

    def _redrawn(self, rows: list[Row]) -> str:
        """Return the codes that turn the rows that are drawn into others; the cursor is in the last of them."""
        old = self._rows
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(old, rows, strict=False)))
        if same == len(old) == len(rows):
            return ""
        if same == len(old):
            return ("\r\n" if old else "") + _written(rows[same:])
        codes = _up(len(old) - 1 - same)
        if same == len(rows):
            # Only shorter: the last row that stays is above.
            return f"{codes}\r\x1b[J" + (f"{_up(1)}\x1b[{rows[-1].cells + 1}G" if rows else "")
        if same == len(old) - 1 and rows[same].text.startswith(old[same].text):
            added = rows[same].text[len(old[same].text) :]
            rest = rows[same + 1 :]
            return added + ("\r\n" + _written(rest) if rest else "")
        return f"{codes}\r{_written(rows[same:])}" + ("\x1b[J" if len(old) > len(rows) else "")

    def _after_resize(self, width: int, height: int) -> str:
        """Return the codes that take the old rows away, where the terminal has another width now."""
        if width == self._width or not self._rows:
            return ""
        drawn = len(self._rows)
        if self._wraps and width < self._width:
            drawn = sum(max(1, -(-row.cells // width)) for row in self._rows)
        self._rows = []
        return f"{_up(min(drawn, height) - 1)}\r\x1b[J"


def _up(rows: int) -> str:
    return f"\x1b[{rows}A" if rows > 0 else ""


def _written(rows: Sequence[Row]) -> str:
    return "\r\n".join(f"{row.text}\x1b[K" for row in rows)
