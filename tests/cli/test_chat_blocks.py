"""Markdown is cut into blocks while it comes: at the same places however it comes, and where CommonMark cuts it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from mellea_like.cli.blocks import Block, MarkdownBlocks, PlainLines

PIECES = [
    *(
        "# Title\n",
        "Title\n===\n",
        "---\n",
        "***\n",
        "\n",
        "\n\n",
        "text\n",
        "two\nlines\n",
        "> quoted\n",
        "> a\nlazy\n",
    ),
    *(
        "- one\n",
        "- one\n- two\n",
        "* star\n",
        "1. one\n",
        "2. two\n",
        "1. a\n\n   more\n\n2. b\n",
        "- a\n  - b\n",
        "-\n",
    ),
    *("```py\nx = 1\n\n# no\n```\n", "~~~\n```\n~~~\n", "- a\n\n  ```\n  - no\n  ```\n", "    indented\n\n    more\n"),
    *("| a | b |\n|---|---|\n| 1 | 2 |\n", "1) one\n2) two\n", "`code` **b", "end", "10. ten\n11. eleven\n"),
]
documents = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)
PARSER = MarkdownIt("commonmark", {"html": False}).enable(["strikethrough", "table"])


def cut(*deltas: str) -> list[Block]:
    blocks = MarkdownBlocks()
    return [block for delta in deltas for block in blocks.feed(delta)] + blocks.end()


def kinds(source: str) -> list[str]:
    """List what CommonMark sees at the top of a document, its lists as items, its fences left out."""
    found = []
    for token in PARSER.parse(source):
        top = token.level == 0 and token.nesting >= 0 and not token.type.endswith("_list_open")
        if top or (token.level == 1 and token.type == "list_item_open"):
            found.append(token.type)
    return [kind for kind in found if kind != "fence"]


@given(documents, st.data())
@settings(deadline=None)
def test_the_cut_of_the_deltas_does_not_matter(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=6)))
    deltas = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert cut(*deltas) == cut(text) == cut(*text)


@given(documents)
@settings(deadline=None, max_examples=120)
def test_no_line_is_lost_or_doubled(text: str) -> None:
    written = [line.rstrip() for block in cut(text) for line in block.source.split("\n")]
    assert [line for line in written if line] == [line.rstrip() for line in text.split("\n") if line.strip()]


@given(documents)
@settings(deadline=None, max_examples=200)
def test_blocks_by_themselves_are_what_they_are_together(text: str) -> None:
    alone = [kind for block in cut(text) if block.kind not in {"fence", "code"} for kind in kinds(block.source)]
    assert alone == kinds(text)


@given(documents)
@settings(deadline=None)
def test_what_is_finished_and_what_is_open_is_all_that_came(text: str) -> None:
    blocks = MarkdownBlocks()
    done = [block.source for delta in text for block in blocks.feed(delta)]
    shown = [*done, *([blocks.open.source] if blocks.open else [])]
    lines = [line for source in shown for line in source.split("\n") if line.strip()]
    wanted = [line for line in text.split("\n") if line.strip()]
    # The line that may become a fence's end is not shown before it is one.
    assert [line.strip() for line in lines] in (
        [line.strip() for line in wanted],
        [line.strip() for line in wanted[:-1]],
    )


def test_numbers_go_on_from_item_to_item() -> None:
    items = cut("3. a\n3. b\n\n3. c\n")
    assert [(item.number, item.glued) for item in items] == [(3, False), (4, True), (5, True)]


def test_a_fence_is_given_line_by_line() -> None:
    blocks = MarkdownBlocks()
    assert [block.kind for block in blocks.feed("```python\nx = 1\ny =")] == ["fence", "code"]
    assert blocks.open == Block(kind="code", source="y =", glued=True, language="python")


@pytest.mark.parametrize("unit", ["- item of a list\n", "line of code\n", "A paragraph.\n\n", "word "])
def test_what_is_kept_does_not_grow_with_the_answer(unit: str) -> None:
    blocks = MarkdownBlocks()
    blocks.feed("```\n" if "code" in unit else "")
    for _ in range(1000):
        blocks.feed(unit)
    kept = blocks.open.source if blocks.open else ""
    assert len(kept) < 100 or unit == "word "


def test_plain_lines_come_whole() -> None:
    lines = PlainLines()
    assert [block.source for block in lines.feed("one\n\ntw")] == ["one", ""]
    assert lines.open is not None
    assert [block.source for block in (*lines.feed("o"), *lines.end())] == ["two"]
