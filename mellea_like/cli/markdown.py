"""How a block of an answer looks: rows of text with terminal codes, made with rich, at the terminal's width."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable
from typing import ClassVar, NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich.console import COLOR_SYSTEMS, Console, ConsoleOptions, JustifyMethod, RenderableType, RenderResult
from rich.markdown import CodeBlock, Heading, ListElement, Markdown, MarkdownElement
from rich.segment import Segment
from rich.style import Style
from rich.syntax import Syntax
from rich.text import Text
from rich.theme import Theme

from .blocks import Block

_CONTROLS = {code: None for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}
_MARKER = re.compile(r"( {0,3})\d{1,9}")
_CONTEXT = 12
"""Lines of code that a line is coloured with: a string or a comment that began before it."""
_LONG, _STEP = 3000, 1500
"""Characters of an open block that are shown, at most, and by how many fewer at times; finished, it is shown whole."""
_TABLE_ROWS = 24
"""Rows of an open table that are shown."""
_THEME = Theme({"markdown.code": "bold cyan", "markdown.item.number": "cyan"})
"""Where rich's own would put a black background into a light terminal."""


class Row(NamedTuple):
    """One row of the screen: its text with terminal codes, and how many cells it is wide."""

    text: str
    cells: int


class _Code(CodeBlock):
    """Code within an item or a quotation, as it was written."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(str(self.text).rstrip("\n"), style="cyan", overflow="fold", no_wrap=False)


class _List(ListElement):
    """A list whose numbers are aligned though its items are shown one by one."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self.list_type == "bullet_list_open":
            yield from super().__rich_console__(console, options)
            return
        for number, item in enumerate(self.items, 1 if self.list_start is None else self.list_start):
            yield from item.render_number(console, options, number, max(number, 10))


class _Heading(Heading):
    """A heading where an answer's text begins: at the left."""

    LEVEL_ALIGN: ClassVar[dict[str, JustifyMethod]] = {**Heading.LEVEL_ALIGN, "h1": "left"}


class _Answer(Markdown):
    elements: ClassVar[dict[str, type[MarkdownElement]]] = {
        **Markdown.elements,
        "fence": _Code,
        "code_block": _Code,
        "bullet_list_open": _List,
        "ordered_list_open": _List,
        "heading_open": _Heading,
    }
    # Tags are shown as they are: an answer about `list<int>` must not lose half of it.
    parser: ClassVar[MarkdownIt] = MarkdownIt("commonmark", {"html": False}).enable(["strikethrough", "table"])

    def __init__(self, source: str) -> None:
        super().__init__("", hyperlinks=False)
        self.parsed = self.parser.parse(source)
        for token in self.parsed:
            _keep_line_ends(token.children or ())


def _keep_line_ends(tokens: Iterable[Token]) -> None:
    # A poem has its lines; models write them with single line ends.
    for token in tokens:
        if token.type == "softbreak":
            token.type = "hardbreak"


class Pen:
    """Turns blocks into rows for one console."""

    def __init__(self, console: Console) -> None:
        self._console = console
        console.push_theme(_THEME)
        self._code: deque[str] = deque(maxlen=_CONTEXT)
        self._syntax: dict[str, Syntax] = {}

    @property
    def width(self) -> int:
        """Cells that a row may have: one less than the terminal's, which may think a sign wider than rich does."""
        return max(1, self._console.width - 1)

    def rows(self, block: Block, *, is_open: bool = False) -> list[Row]:
        """Draw a block; of a long one that is open, only its end."""
        source = block.source.translate(_CONTROLS)
        if is_open and block.kind == "table":
            source = _end_of_table(source)
        elif is_open and len(source) > _LONG:
            source = _end_of(source)
        match block.kind:
            case "plain":
                return self.text(source, "dim italic")
            case "fence":
                self._code.clear()
                return self.text(source.strip(), "dim")
            case "code":
                return self._code_line(source, block.language, is_open=is_open)
        if block.number is not None:
            source = _MARKER.sub(rf"\g<1>{block.number}", source, count=1)
        rows = self.render(_Answer(source))
        while rows and not rows[-1].text:
            rows.pop()
        # Lists and tables begin with an empty row; where one belongs is decided by whoever puts blocks together.
        return rows[next((i for i, row in enumerate(rows) if row.text), 0) :]

    def text(self, text: str, style: str = "") -> list[Row]:
        """Draw text that is no Markdown."""
        return self.render(Text(text.translate(_CONTROLS), style=style, overflow="fold"))

    def render(self, what: RenderableType) -> list[Row]:
        """Draw anything that rich can draw."""
        options = self._console.options.update(width=self.width, height=None)
        return [self._row(line) for line in self._console.render_lines(what, options, pad=False)]

    def _row(self, line: list[Segment]) -> Row:
        # Rich pads rows with spaces, which are in the way when text is copied, and wrap when the terminal is narrowed.
        while line and not line[-1].text.strip() and not (line[-1].style and line[-1].style.bgcolor):
            line = line[:-1]
        if line and not (line[-1].style and line[-1].style.bgcolor):
            line = [*line[:-1], Segment(line[-1].text.rstrip(), line[-1].style)]
        coloured = Segment.remove_color(line) if self._console.no_color else line
        system = COLOR_SYSTEMS.get(self._console.color_system or "")
        text = "".join(style.render(text, color_system=system) if style else text for text, style, _ in coloured)
        return Row(text, sum(segment.cell_length for segment in line))

    def _code_line(self, line: str, language: str, *, is_open: bool) -> list[Row]:
        coloured = self._coloured(line, language)
        if not is_open:
            self._code.append(line)
        coloured.overflow, coloured.no_wrap = "fold", False
        return self.render(coloured)

    def _coloured(self, line: str, language: str) -> Text:
        if not language or self._console.no_color or len(line) > _LONG:
            return Text(line)
        if language not in self._syntax:
            self._syntax[language] = Syntax("", language, theme="ansi_dark", background_color="default")
        code = "\n".join([*self._code, line])
        text = self._syntax[language].highlight(code)
        coloured = text.split("\n", allow_blank=True)[len(self._code)]
        # The theme has no background, and says so in a style that would be written out for every word.
        return Text(coloured.plain, spans=[span for span in coloured.spans if isinstance(span.style, Style)])


def _end_of(source: str) -> str:
    """Return the end of a block that is long."""
    # In steps: were the window moved with every word, every row would be another one, and be written again.
    start = ((len(source) - _LONG) // _STEP + 1) * _STEP
    end = source[start:]
    return end.partition("\n" if "\n" in end else " ")[2] or end


def _end_of_table(source: str) -> str:
    """Return a table's head and its last rows: rich measures every cell of a table for each of its rows."""
    lines = source.split("\n")
    return "\n".join([*lines[:2], *lines[2:][-_TABLE_ROWS:]])
