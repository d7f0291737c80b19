"""Markdown cut into blocks while it comes: a finished block never changes again, and only the last one is open.

A list is given item by item and a fence line by line, so that what is open stays small however long the answer is. This
file decides where blocks end, and knows nothing of how they look.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["text", "heading", "rule", "quote", "table", "indented", "item", "fence", "code", "plain"]

_FENCE = re.compile(r" {0,3}(?P<mark>`{3,}|~{3,})[ \t]*(?P<info>[^\s`]*)(?P<rest>.*)$")
_ITEM = re.compile(r"(?P<indent> {0,3})(?P<marker>[-*+]|(?P<number>\d{1,9})[.)])(?P<gap>[ \t]+(?=\S)|[ \t]*$)")
_EMPTY_ITEM = re.compile(r"[ \t]*(?:[-*+]|\d{1,9}[.)])[ \t]*$")
_HEADING = re.compile(r" {0,3}#{1,6}(?:[ \t]|$)")
_RULE = re.compile(r" {0,3}(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,})$")
_UNDERLINE = re.compile(r" {0,3}(?:=+|-+)[ \t]*$")
_QUOTE = re.compile(r" {0,3}>")
_COLUMNS = re.compile(r" {0,3}\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$")
_INDENTED = re.compile(r" {4}| {0,3}\t")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A piece of Markdown that can be shown by itself.

    Args:
        kind: What it is; `"fence"` is the line before or after `"code"`, `"plain"` no Markdown at all.
        source: Its lines.
        glued: Whether it follows the block before without a blank line.
        number: Of an item in a numbered list, its number.
        language: Of a line of code, the language that its fence names.
    """

    kind: Kind
    source: str
    glued: bool = False
    number: int | None = None
    language: str = ""


class PlainLines:
    """Cuts text that is no Markdown into lines; takes what `MarkdownBlocks` takes."""

    def __init__(self) -> None:
        self._rest = ""
        self._first = True

    def feed(self, text: str) -> list[Block]:
        """Take new text, and return the lines that it finished."""
        *lines, self._rest = (self._rest + text).split("\n")
        return [self._block(line) for line in lines]

    def end(self) -> list[Block]:
        """Say that no more text comes, and return what was open."""
        rest, self._rest = self._rest, ""
        return [self._block(rest)] if rest else []

    @property
    def open(self) -> Block | None:
        """The line that is not finished."""
        return Block(kind="plain", source=self._rest, glued=not self._first) if self._rest else None

    def _block(self, line: str) -> Block:
        first, self._first = self._first, False
        return Block(kind="plain", source=line, glued=not first)


class MarkdownBlocks:
    """Cuts Markdown into blocks, as it comes.

    Example:
        ```python
        from mellea_like.cli.blocks import MarkdownBlocks

        blocks = MarkdownBlocks()
        print([block.source for block in blocks.feed("# Title\\n\\nSome te")], blocks.open)
        ```

    Source: where blocks begin and end, https://spec.commonmark.org/0.31.2/#blocks-and-inlines
    """

    def __init__(self) -> None:
        self._partial = ""
        self._lines: list[str] = []
        self._kind: Kind | None = None
        self._glued = False
        self._done: list[Block] = []
        # Of a fence: what closes it, and its language.
        self._mark = self._language = ""
        # Of an item: the column of its text, its list's kind of marker, its number, blank lines that may belong to it.
        self._offset = self._blanks = 0
        self._marker = ""
        self._number: int | None = None
        self._rules: dict[Kind, Callable[[str], None]] = {
            "code": self._in_code,
            "item": self._in_item,
            "indented": self._in_indented,
            "quote": self._in_rows,
            "table": self._in_rows,
        }

    def feed(self, text: str) -> list[Block]:
        """Take new text, and return the blocks that it finished."""
        head, newline, tail = text.partition("\n")
        # What has no line's end only makes the last line longer: nothing can have been finished.
        while newline:
            self._line(self._partial + head)
            self._partial = ""
            head, newline, tail = tail.partition("\n")
        self._partial += head
        return self._taken()

    def end(self) -> list[Block]:
        """Say that no more text comes, and return what was open."""
        if self._partial:
            self._line(self._partial)
            self._partial = ""
        self._close()
        return self._taken()

    @property
    def open(self) -> Block | None:
        """The block that is not finished, None where there is none."""
        if self._kind == "code":
            closing = self._partial.strip() and not self._partial.strip().strip(self._mark[0])
            return None if closing or not self._partial else self._code(self._partial)
        lines = [*self._lines, *[""] * self._blanks, self._partial] if self._partial else self._lines
        if not any(line.strip() for line in lines):
            return None
        return self._block(self._kind or "text", lines)

    # --- lines ------------------------------------------------------------------------------------------------------

    def _line(self, line: str) -> None:
        if self._kind is None:
            self._begin(line)
        else:
            self._rules.get(self._kind, self._in_text)(line)

    def _begin(self, line: str) -> None:
        self._glued = False
        if not line.strip():
            self._kind = None
        elif fence := _fence(line):
            self._kind, self._mark, self._language = "code", fence["mark"], fence["info"]
            self._done.append(Block(kind="fence", source=line.rstrip()))
        elif _HEADING.match(line) or _RULE.match(line):
            self._open("heading" if _HEADING.match(line) else "rule", line)
            self._close()
        elif item := _ITEM.match(line):
            self._begin_item(line, item)
        elif _QUOTE.match(line):
            self._open("quote", line)
        else:
            self._open("indented" if _INDENTED.match(line) else "text", line)

    def _begin_item(self, line: str, item: re.Match[str], *, after: int | None = None) -> None:
        gap = len(item["gap"])
        self._open("item", line)
        self._offset = len(item["indent"]) + len(item["marker"]) + (gap if 1 <= gap <= 4 else 1)
        self._marker = item["marker"][-1]
        self._number = None if item["number"] is None else int(item["number"]) if after is None else after + 1

    def _in_text(self, line: str) -> None:
        if not line.strip():
            self._close()
        elif _COLUMNS.match(line) and "|" in line and _cells(line) == _cells(self._lines[-1]):
            self._kind = "table"
            self._lines.append(line)
        elif _UNDERLINE.match(line):
            self._lines.append(line)
            self._close()
        elif _interrupts(line):
            self._finish()
            self._begin(line)
        else:
            self._lines.append(line)

    def _in_rows(self, line: str) -> None:
        """Take a line below a quotation or a table, which a list ends whatever its number."""
        quoted = self._kind == "quote" and _QUOTE.match(line)
        if not line.strip():
            self._close()
        elif not quoted and (_interrupts(line) or _ITEM.match(line) or self._ends_table(line)):
            self._finish()
            self._begin(line)
        else:
            self._lines.append(line)

    def _ends_table(self, line: str) -> bool:
        return self._kind == "table" and bool(_INDENTED.match(line))

    def _in_indented(self, line: str) -> None:
        if not line.strip():
            self._blanks += 1
        elif _INDENTED.match(line):
            self._go_on(line)
        else:
            self._finish()
            self._begin(line)

    def _in_item(self, line: str) -> None:
        indent = len(line) - len(line.lstrip(" "))
        item = _ITEM.match(line)
        if not line.strip():
            self._blanks += 1
        elif indent >= self._offset or line.startswith("\t"):
            self._go_on(line)
        elif item and not _RULE.match(line):
            same, number = item["marker"][-1] == self._marker, self._number
            self._finish()
            self._begin_item(line, item, after=number if same else None)
            self._glued = same
        elif self._blanks or _interrupts(line) or not _says_something(self._lines):
            self._finish()
            self._begin(line)
        else:
            self._go_on(line)

    def _in_code(self, line: str) -> None:
        closing = _fence(line)
        if closing and closing["mark"].startswith(self._mark) and not closing["info"] + closing["rest"].strip():
            self._done.append(Block(kind="fence", source=line.rstrip(), glued=True))
            self._kind = None
        else:
            self._done.append(self._code(line))

    # --- blocks -----------------------------------------------------------------------------------------------------

    def _open(self, kind: Kind, line: str) -> None:
        self._kind, self._lines, self._blanks = kind, [line], 0
        self._number = None

    def _go_on(self, line: str) -> None:
        self._lines += [*[""] * self._blanks, line]
        self._blanks = 0

    def _finish(self) -> None:
        if self._kind is not None and self._lines:
            self._done.append(self._block(self._kind, self._lines))
        self._lines, self._blanks, self._number = [], 0, None

    def _close(self) -> None:
        self._finish()
        self._kind = None

    def _block(self, kind: Kind, lines: list[str]) -> Block:
        return Block(kind=kind, source="\n".join(lines), glued=self._glued, number=self._number)

    def _code(self, line: str) -> Block:
        return Block(kind="code", source=line, glued=True, language=self._language)

    def _taken(self) -> list[Block]:
        done, self._done = self._done, []
        return done


def _fence(line: str) -> re.Match[str] | None:
    found = _FENCE.match(line)
    return None if found and found["mark"][0] == "`" and "`" in found["rest"] else found


def _cells(row: str) -> int:
    return row.strip().removeprefix("|").removesuffix("|").replace("\\|", "").count("|")


def _says_something(item: list[str]) -> bool:
    """Whether an item ends in words, which a line that is not indented goes on with; code and headings end."""
    last = item[-1].strip()
    fences = sum(_fence(line.strip()) is not None for line in item)
    return not (fences % 2 or _fence(last) or _HEADING.match(last) or _RULE.match(last) or _EMPTY_ITEM.match(last))


def _interrupts(line: str) -> bool:
    """Whether a line begins a block of its own, even right below a paragraph."""
    if _HEADING.match(line) or _RULE.match(line) or _QUOTE.match(line) or _fence(line):
        return True
    item = _ITEM.match(line)
    return bool(item and line[item.end() :].strip() and item["number"] in {None, "1"})
