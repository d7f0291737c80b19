"""When a notebook's cells begin and end: what is drawn in between is not lost to a page that nobody looks at.

A program that runs a notebook hears the kernel while a cell runs, and not after its end. So a cell lasts until the
displays of what has ended are whole, and what was drawn between two cells is drawn again as the next one begins.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

_PATIENCE = 1.0
"""Seconds that the end of a cell waits for a last update."""


class Drawing(Protocol):
    """A display at work."""

    @property
    def due(self) -> bool:
        """Whether only its last update is still to come."""

    def wait(self, timeout: float | None = None, /) -> bool:
        """Wait for that, at most `timeout` seconds."""


class _Cells:
    runs = True
    """Whether a cell runs now, as far as this file has been told: it is first asked from within one."""


_at_work: set[Drawing] = set()
_again: list[Callable[[], object]] = []


def begin(drawing: Drawing) -> None:
    """Take note of a display that was put into the cell that runs."""
    from IPython.core.interactiveshell import InteractiveShell

    _at_work.add(drawing)
    events = InteractiveShell.instance().events  # which take a function only once
    events.register("pre_run_cell", _before_cell)
    events.register("post_run_cell", _after_cell)


def finish(draw: Callable[[], object]) -> None:
    """Draw for the last time, and once more with the next cell where none runs now."""
    if not _Cells.runs:
        _again.append(draw)
    draw()


def forget(drawing: Drawing) -> None:
    """Take note that a display is whole, or has failed."""
    _at_work.discard(drawing)


def _before_cell(*_: object) -> None:
    _Cells.runs = True
    while _again:
        _again.pop(0)()


def _after_cell(*_: object) -> None:
    _Cells.runs = False  # first: what ends while this waits for others may come too late
    for drawing in list(_at_work):
        if drawing.due:
            drawing.wait(_PATIENCE)
