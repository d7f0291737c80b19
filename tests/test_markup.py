"""A model's text on a page: it looks as it was meant, and nothing in it becomes HTML of the model's."""

from __future__ import annotations

import re
from html import unescape

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from mellea_like.markup import fenced, html_text, markdown_text, safe_markdown

BITS = [
    *("<script>", "</script>", "<img src=x onerror=alert(1)>", "<!--", "<?x", "&lt;", "&#60;b>", "&#106;", "&"),
    *("`", "``", "```", "~~~", "````", "\n", "\n\n", "\\", "|", "- ", "   ", "    ", "> ", "1. ", "[x](", "](", ")"),
    *(
        "javascript:alert(1)",
        "java",
        "script:",
        "data:text/html,x",
        "[y]: ",
        "![i](",
        "word",
        " ",
        "<",
        "<https://a.b>",
    ),
    *("$$", "*", "#", "\t", "\r", "\0", "```html\n", "|--|\n"),
]
TEXTS = st.lists(st.sampled_from(BITS), max_size=14).map("".join) | st.text(max_size=40)
OURS = {"code", "pre", "p", "em", "strong", "a", "ul", "ol", "li", "blockquote", "hr", "br", "img", "table", "thead"}
OURS |= {"tbody", "tr", "th", "td", "h1", "h2", "h3", "h4", "h5", "h6"}


@given(TEXTS)
@example("~~~\n<script>")
@example("| `a | <img src=x onerror=alert(1)>` |\n|--|--|\n")
@example("[x](&#106;avascript:alert(1))")
@example("[x](java\\script:alert(1))")
@example("    ```\n[x](&#106;avascript:alert(1))")
def test_no_markdown_becomes_html_of_the_models(text: str) -> None:
    # The renderer passes raw HTML through and follows every link: what is safe in it is so by itself.
    render = MarkdownIt("commonmark", {"html": True}).enable("table")
    render.validateLink = lambda url: True
    drawn = render.render(safe_markdown(text))
    assert {tag.lower() for tag in re.findall(r"</?([A-Za-z!?][^\s/>]*)", drawn)} <= OURS
    assert not re.search(r"<[^>]*\son\w+=", re.sub(r'"[^"]*"', '""', drawn))
    assert not re.search(r'(href|src)="\s*(javascript|vbscript|data):', drawn, re.IGNORECASE)


@given(st.text())
def test_escaped_text_is_text(text: str) -> None:
    assert not set("<>\"'") & set(html_text(text))
    drawn = MarkdownIt("commonmark").renderInline(f"x{markdown_text(text)}x")
    assert not re.search(r"<(?!br)", drawn)


@given(st.text(alphabet="`ab\n~"))
def test_a_block_of_code_is_ended_by_nothing_inside(text: str) -> None:
    tokens = MarkdownIt("commonmark").parse(fenced(text, "json"))
    assert [token.type for token in tokens] == ["fence"]


@pytest.mark.parametrize(
    "text",
    [
        "# Title\n\n*a* **b** `c`\n\n- 1\n- 2\n\n> quoted\n\n| a | b |\n|--|--|\n| 1 | 2 |",
        "```python\nif a < b and c > d:\n    print({'x': [1]})\n```\n\nafter",
        "a < b && c & d, R&D, $x < 1$, https://a.b/c?d=1&e=2",
        "[link](https://a.b/c_(d)) ![picture](https://a.b/c.png)",
    ],
)
def test_ordinary_markdown_is_left_as_it_is(text: str) -> None:
    assert safe_markdown(text) == text


def test_entities_mean_what_they_meant() -> None:
    drawn = MarkdownIt("commonmark").renderInline(safe_markdown("&copy; 1 &lt;b&gt; &amp;amp; <https://a.b>"))
    assert drawn == "© 1 &lt;b&gt; &amp;amp; https://a.b"


def test_a_block_that_was_broken_off_is_closed() -> None:
    assert safe_markdown("```py\nx = 1") == "```py\nx = 1\n```"


def test_code_with_tags_is_shown_as_it_was_written() -> None:
    drawn = MarkdownIt("commonmark").render(safe_markdown("```html\n<b>x</b>\n\n&amp; [a](b)\n```\nand `List<String>`"))
    assert "<code><b>x</b>\n\n&amp; [a](b)</code>" in unescape(drawn)
    assert "<code>List<String></code>" in unescape(drawn)
