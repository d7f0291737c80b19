"""A growing object as HTML: its fields in a table, with what is missing, open and done. A pure function."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from ..markup import html_text

MARKS = {"missing": "\N{MIDDLE DOT}", "open": "\N{HORIZONTAL ELLIPSIS}", "done": "\N{CHECK MARK}"}
WRONG = "\N{BALLOT X}"
_FAINT = "opacity: 0.55"


class Grown(Protocol):
    """What a value looks like that is being written; see `Partial`."""

    @property
    def state(self) -> str:
        """`"missing"`, `"open"` or `"done"`."""

    @property
    def so_far(self) -> Any:
        """What has been written, as plain JSON."""

    @property
    def error(self) -> str | None:
        """What is wrong with it."""

    def fields(self) -> Mapping[str, Any]:
        """Return the members by name."""

    def __getitem__(self, key: int, /) -> Any: ...

    def __len__(self) -> int: ...


def growing_html(value: Grown) -> str:
    """Render a value as far as it has been written: a table for an object, a list for a list, text for the rest."""
    error = f" <em>{WRONG} {html_text(value.error)}</em>" if value.error else ""
    return f"{_inside(value)}{error}"


def _inside(value: Grown) -> str:
    so_far = value.so_far
    if isinstance(so_far, dict):
        rows = "".join(_row(name, member) for name, member in value.fields().items())
        return f"<table><tbody>{rows}</tbody></table>"
    if isinstance(so_far, list):
        items = "".join(f"<li>{growing_html(value[i])}</li>" for i in range(len(value)))
        return f'<ol style="margin: 0">{items}</ol>'
    if so_far is None:
        return "null" if value.state == "done" else ""
    shown = so_far if isinstance(so_far, str) else repr(so_far)
    return f'<span style="white-space: pre-wrap">{html_text(shown)}</span>'


def _row(name: str, member: Grown) -> str:
    mark = WRONG if member.error else MARKS[member.state]
    faint = f' style="{_FAINT}"' if member.state == "missing" else ""
    top, left = 'style="vertical-align: top"', 'style="text-align: left; vertical-align: top"'
    return (
        f'<tr{faint}><td {top} title="{member.state}">{mark}</td><th {left}>{html_text(name)}</th>'
        f"<td {left}>{growing_html(member)}</td></tr>"
    )
