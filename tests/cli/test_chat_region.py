"""The part of a terminal that is redrawn: whatever is drawn, what is finished is in the terminal once, in order."""

from __future__ import annotations

from unicodedata import normalize

import pyte
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from mellea_like.cli.markdown import Row
from mellea_like.cli.region import Region, reflows

COLUMNS, ROWS = 20, 5


class Glass:
    """A terminal that only shows."""

    def __init__(self, columns: int = COLUMNS, rows: int = ROWS, *, wraps: bool = False) -> None:
        self.screen = pyte.HistoryScreen(columns, rows, history=10000, ratio=1.0)
        self.stream = pyte.Stream(self.screen)
        self.codes: list[str] = []
        self.region = Region(self._write, lambda: (self.screen.columns, self.screen.lines), wraps=wraps)

    def _write(self, codes: str) -> None:
        self.codes.append(codes)
        self.stream.feed(codes)

    @property
    def lines(self) -> list[str]:
        away = ["".join(line[i].data for i in range(self.screen.columns)) for line in self.screen.history.top]
        lines = [line.rstrip() for line in [*away, *self.screen.display]]
        while lines and not lines[-1]:
            lines.pop()
        return lines


def rows(*texts: str) -> list[Row]:
    return [Row(text, cell_len(text)) for text in texts]


texts = st.text(st.sampled_from("ab 日é"), max_size=9).map(lambda text: normalize("NFC", text.strip()) or "x")
updates = st.lists(st.tuples(st.lists(texts, max_size=4), st.lists(texts, max_size=9)), max_size=12)


@given(updates)
@settings(deadline=None)
def test_what_is_finished_is_there_once_and_what_is_open_below_it(said: list[tuple[list[str], list[str]]]) -> None:
    glass, finished, live = Glass(), [], []
    for done, live in said:
        glass.region.update(rows(*done), rows(*live))
        finished += done
        assert glass.lines == [*finished, *live[-(ROWS - 1) :]]


def test_what_stays_is_not_written_again() -> None:
    glass = Glass()
    glass.region.update([], rows("one", "two"))
    glass.region.update([], rows("one", "two three"))
    assert glass.codes[-1] == " three"
    glass.region.update(rows("one"), rows("two three", "four"))
    assert "three" not in glass.codes[-1]
    glass.region.update(rows("two three", "four"), [])
    assert glass.codes[-1] == "\r\n"


def test_nothing_new_writes_nothing() -> None:
    glass = Glass()
    glass.region.update([], rows("one"))
    glass.region.update([], rows("one"))
    assert len(glass.codes) == 1


@pytest.mark.parametrize("columns", [11, 30])
def test_a_resize_neither_loses_nor_doubles(columns: int) -> None:
    glass = Glass()
    glass.region.update(rows("done one", "done two"), rows("open", "ended"))
    glass.screen.resize(ROWS, columns)
    glass.region.update([], rows("open", "ended", "more"))
    assert glass.lines == ["done one", "done two", "open", "ended", "more"]


def test_a_terminal_that_wraps_anew_has_its_wrapped_rows_taken_back() -> None:
    glass = Glass(wraps=True)
    glass.region.update(rows("done"), rows("0123456789abcde"))
    # What such a terminal shows after it was narrowed to ten columns.
    glass.screen.resize(ROWS, 10)
    glass.screen.reset()
    glass.stream.feed("done\r\n0123456789abcde")
    glass.region.update([], rows("01234567", "89abcde"))
    assert glass.lines == ["done", "01234567", "89abcde"]


def test_a_terminal_is_known_by_its_environment() -> None:
    assert reflows({"TMUX": "/tmp/tmux"})
    assert not reflows({"TERM": "xterm"})
