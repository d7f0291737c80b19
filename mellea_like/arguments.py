"""Reading what callers give: nothing, one thing or several; whole numbers. What the things are is their own affair."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .errors import InvalidArgument


def listed(given: object, *kinds: type) -> tuple[Any, ...]:
    """List what may be None, one thing, or any iterable of things; an iterator is read here, once and for all.

    Text, bytes, a dict and whatever is not iterable are one thing.

    Args:
        given: What was given.
        kinds: Types that are one thing, though they can be iterated.
    """
    if isinstance(given, tuple | list):  # nearly always, and asked fast
        return tuple(given)
    if given is None:
        return ()
    if isinstance(given, (str, bytes, bytearray, Mapping, *kinds)) or not isinstance(given, Iterable):
        return (given,)
    return tuple(given)


def whole(name: str, value: Any, *, least: int = 1, otherwise: str = "") -> int:
    """Return a whole number, for which True, 1.0 and text do not pass.

    Args:
        name: What the argument is called, for the message.
        value: What was given.
        least: The smallest that will do.
        otherwise: What else will do, for the message.

    Raises:
        InvalidArgument: it is none, or smaller.
    """
    if type(value) is not int or value < least:
        raise InvalidArgument(f"{name} is {value!r}; it must be a whole number from {least}{otherwise}.")
    return value
