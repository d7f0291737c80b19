"""Reading a request's body: JSON, not too large, not too slow."""

from __future__ import annotations

import asyncio

from starlette.requests import Request

from ..errors import RequestRejected
from .limits import ServerLimits


async def body_of(request: Request, limits: ServerLimits) -> bytes:
    """Read the body.

    Raises:
        RequestRejected: it is not said to be JSON (415), too large (413), or too slow (408).
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise RequestRejected(
            f"The body is {media_type[:60]!r}; send JSON, with `Content-Type: application/json`.",
            status=415,
            code="unsupported_media_type",
        )
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limits.body_bytes:
        raise _too_large(limits)
    try:
        async with asyncio.timeout(limits.body_timeout):
            return await _read(request, limits)
    except TimeoutError:
        raise RequestRejected(
            f"The body did not arrive within {limits.body_timeout:g} s.", status=408, code="body_timeout"
        ) from None


async def _read(request: Request, limits: ServerLimits) -> bytes:
    pieces, size = [], 0
    async for piece in request.stream():
        size += len(piece)
        if size > limits.body_bytes:
            raise _too_large(limits)
        pieces.append(piece)
    return b"".join(pieces)


def _too_large(limits: ServerLimits) -> RequestRejected:
    return RequestRejected(
        f"The body is larger than {limits.body_bytes} bytes, which is what this server takes.",
        status=413,
        code="body_too_large",
    )
