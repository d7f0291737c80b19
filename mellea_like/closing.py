"""What can be closed, at the end of a `with` block: synchronous or asynchronous. Pure."""

from __future__ import annotations

from types import TracebackType
from typing import Self


class Closing:
    """A base for what has `aclose` and `close`: leaving its block, of either kind, calls the one that fits."""

    __slots__ = ()

    async def aclose(self) -> None:
        """Close it, and wait until that is done."""
        raise NotImplementedError

    def close(self) -> None:
        """Do what `aclose` does, blocking."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: object, error: object, trace: TracebackType | None) -> None:
        await self.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: TracebackType | None) -> None:
        self.close()
