"""A model's text on a page: as HTML that is only text, and as Markdown that cannot become HTML. Pure functions."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from itertools import groupby

_FENCE = re.compile(r"^(\s*)(`{3,}|~{3,})(.*)$")
_SPAN = re.compile(r"(?<![`\\])(`+)(?!`)(.+?)(?<!`)\1(?!`)")
_AUTOLINK = re.compile(r"<(https?://[^\s<>]+)>")
_TAG = re.compile(r"\\?<(?=[A-Za-z/!?])")
_ENTITY = re.compile(r"&(?=#?\w+;)")
_SCRIPT = re.compile(r"(\](?:\(|:)\s*)(javascript|vbscript|data)\\?:", re.IGNORECASE)
_RISKY_CODE = re.compile(r"<[A-Za-z/!?]|\](?:\(|:)\s*\S*&")
"""Code that would be more than text for a reader of Markdown that takes it for prose: a tag, a link in disguise."""
_MARKS = re.compile(r"[^\w\s]|_")


def html_text(text: str) -> str:
    """Escape text for HTML, so that it is nothing but text, between tags and in attributes."""
    return html.escape(text).replace("\r", "").replace("\0", "\N{REPLACEMENT CHARACTER}")


def markdown_text(text: str) -> str:
    """Escape text for one line of Markdown, so that it is nothing but text, in a table's cell too."""
    return _MARKS.sub(lambda mark: f"&#{ord(mark[0])};", " ".join(text.split()))


def fenced(text: str, language: str = "") -> str:
    """Wrap text as a code block of Markdown that nothing inside can end."""
    longest = max((len(ticks) for ticks in re.findall(r"`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def safe_markdown(text: str) -> str:
    """Make a model's Markdown safe to be rendered by whatever renders it: it looks the same, and no HTML is left.

    Tags become text, links that would run a script lead nowhere, and a code block that was broken off is closed.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\N{REPLACEMENT CHARACTER}")
    parts = ("\n".join(_rewritten(is_code, lines)) for is_code, lines in _parts(text.split("\n")))
    return _SCRIPT.sub(r"\1\2%3A", "\n".join(parts))


def _parts(lines: list[str]) -> Iterator[tuple[bool, list[str]]]:
    """Cut lines into blocks of code, with their fences, and what stands between them."""
    numbered, block, fence = [], 0, ""
    for line in lines:
        found = _FENCE.match(line)
        opens = found is not None and not fence and not ("`" in found[2] and "`" in found[3])
        closes = bool(found and fence and found[2].startswith(fence) and not found[3].strip())
        block += opens
        numbered.append((block if opens or fence else -block, line))
        if opens and found is not None:
            fence = found[2]
        elif closes:
            fence, block = "", block + 1
    if fence:  # it was broken off, and what comes after it is not code
        numbered.append((block, fence))
    for number, group in groupby(numbered, key=lambda pair: pair[0]):
        yield number > 0, [line for _, line in group]


def _rewritten(is_code: bool, lines: list[str]) -> list[str]:
    if not is_code:
        return _prose("\n".join(lines)).split("\n")
    opening, *code, _ = lines
    found = _FENCE.fullmatch(opening)
    assert found is not None
    indent, _, said = found.groups()
    if not _RISKY_CODE.search("\n".join(code)) and len(indent) < 4 and re.fullmatch(r"[\w+#. -]*", said):
        return lines
    # Written as HTML of our own, in which everything of the model's is spelled out.
    first, *rest = code or [""]
    spelled_out = [_spelled_out(line) for line in (first.removeprefix(indent), *rest)]
    return [f"{indent}<pre><code>" + "\n".join(spelled_out) + "</code></pre>", ""]


def _prose(text: str) -> str:
    out, at = [], 0
    for span in _SPAN.finditer(text):
        out += [_outside_code(text[at : span.start()]), _span(span)]
        at = span.end()
    return "".join([*out, _outside_code(text[at:])])


def _span(span: re.Match[str]) -> str:
    return f"<code>{_spelled_out(span[2].strip())}</code>" if _RISKY_CODE.search(span[2]) else span[0]


def _outside_code(text: str) -> str:
    plain = html.unescape(_AUTOLINK.sub(r"\1", text))
    return _TAG.sub("&lt;", _ENTITY.sub("&amp;", plain))


def _spelled_out(code: str) -> str:
    return _MARKS.sub(lambda mark: f"&#{ord(mark[0])};", code)
