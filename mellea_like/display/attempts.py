"""Attempts and their verdicts as a table, in HTML and in Markdown. Pure functions of samples."""

from __future__ import annotations

from collections.abc import Sequence

from ..markup import html_text, markdown_text
from ..samples import Sample, ValidationResult

VERDICTS = {True: "\N{CHECK MARK}", False: "\N{BALLOT X}", None: "?"}
"""How a verdict is written."""
_SHORT = 200
"""Characters of an attempt's text that a table of Markdown shows; one of HTML unfolds the rest."""


def attempts_html(samples: Sequence[Sample], *, answer: int | None) -> str:
    """Render attempts as a table: their text, each verdict with its reason; `answer` is the number of the answer's."""
    rows = "".join(_html_row(sample, is_answer=sample.attempt == answer) for sample in samples)
    heads = "".join(f'<th style="text-align: left">{head}</th>' for head in _HEADS)
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"


_HEADS = ("attempt", "verdicts", "text")


def _html_row(sample: Sample, *, is_answer: bool) -> str:
    verdicts = "<br>".join(html_text(line) for line in verdict_lines(sample))
    number = f"<strong>{sample.attempt} (answer)</strong>" if is_answer else str(sample.attempt)
    cells = (number, verdicts, _html_text(sample.text))
    left = '<td style="text-align: left; vertical-align: top">'
    return "<tr>" + "".join(f"{left}{cell}</td>" for cell in cells) + "</tr>"


def _html_text(text: str) -> str:
    wrapped = '<div style="white-space: pre-wrap; max-width: 40em">'
    if len(text) <= _SHORT:
        return f"{wrapped}{html_text(text)}</div>"
    return f"<details><summary>{html_text(_cut(text, 80))}</summary>{wrapped}{html_text(text)}</div></details>"


def attempts_markdown(samples: Sequence[Sample], *, answer: int | None) -> str:
    """Render attempts as `attempts_html` does, as a table of Markdown; long texts are cut."""
    rows = [_HEADS, ("---",) * len(_HEADS)]
    for sample in samples:
        number = f"**{sample.attempt} (answer)**" if sample.attempt == answer else str(sample.attempt)
        verdicts = "<br>".join(markdown_text(line) for line in verdict_lines(sample))
        rows.append((number, verdicts, markdown_text(_cut(sample.text, _SHORT))))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def verdict_lines(sample: Sample) -> list[str]:
    """List an attempt's verdicts with their reasons, then how it ended where that was not by itself."""
    lines = [verdict_line(verdict) for verdict in sample.validations]
    if sample.error is not None:
        return [*lines, f"{VERDICTS[False]} {type(sample.error).__name__}: {sample.error}"]
    return [*lines, "stopped early"] if sample.stopped else lines


def verdict_line(verdict: ValidationResult) -> str:
    """Write a verdict as its mark, what it is about, and why."""
    reason = f": {verdict.reason}" if verdict.reason else ""
    return f"{VERDICTS[verdict.result]} {verdict.requirement}{reason}"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}\N{HORIZONTAL ELLIPSIS}"
