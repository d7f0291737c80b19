"""Dotted paths into values: `state.customer.name`, `items.0`. They read, and can do nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Final, TypeAlias

NAME = r"[A-Za-z_]\w*"
PATH = rf"{NAME}(?:\.\w+)*"
"""How a path is written, as a regular expression."""


class _Missing(Enum):
    MISSING = "missing"


Missing: TypeAlias = _Missing
MISSING: Final = _Missing.MISSING
"""What is found where there is nothing; None may be a value."""


def found_at(path: str, names: Mapping[str, Any]) -> Any | Missing:
    """Follow a path from a name through keys, items and attributes; `MISSING` where it leads nowhere.

    Names that begin with `_` are never followed: they are Python's own.
    """
    first, *rest = path.split(".")
    value = names.get(first, MISSING)
    for step in rest:
        if value is MISSING or (step.startswith("_") and not isinstance(value, Mapping)):
            return MISSING
        value = _inside(value, step)
    return value


def _inside(value: Any, step: str) -> Any | Missing:
    if isinstance(value, Mapping):
        return value.get(step, MISSING)
    if step.isdecimal():
        at = int(step)
        return value[at] if isinstance(value, Sequence) and at < len(value) else MISSING
    # A field of a dataclass or a pydantic model; what a method is bound to is not for files to reach.
    found = getattr(value, step, MISSING)
    return MISSING if callable(found) else found
