"""What every request passes: who may ask, from where; and what is told of it: headers, one log line, no error unsaid.

A log line has method, path and status, never a query, a body, a key or the text of an error: a prompt may be in each.
"""

from __future__ import annotations

import hmac
import logging
import time
from collections.abc import Sequence
from hashlib import sha256

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import RequestRejected
from .limits import Access
from .refusals import refusal

logger = logging.getLogger("mellea_like.server")

OPEN_PATHS = ("/", "/healthz", "/page/")
"""What is shown without a key: the page asks for one."""

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
}


class Guard:
    """The outermost layer of the server.

    Args:
        app: What is inside.
        access: Who may ask.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access
        self._keys = [_digest(key) for key in access.keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or turn it away; see ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.monotonic(), 0

        async def tell(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            self._check(scope["path"], Headers(scope=scope))
            await self._app(scope, receive, tell)
        except RequestRejected as error:
            await refusal(error, told=True)(scope, receive, tell)
        except Exception as error:  # whatever it is: its text is for nobody's log
            logger.error("%s %s failed: %s", scope["method"], scope["path"], type(error).__name__)
            logger.debug("%s %s failed", scope["method"], scope["path"], exc_info=error)
            if not status:
                await refusal(error, told=False)(scope, receive, tell)
        finally:
            logger.info("%s %s %s %.0f ms", scope["method"], scope["path"], status, 1000 * (time.monotonic() - began))

    def _check(self, path: str, headers: Headers) -> None:
        """Check who asks.

        Raises:
            RequestRejected: whoever it is may not.
        """
        access, host = self._access, headers.get("host", "")
        if access.hosts and _name_of(host) not in access.hosts:
            raise RequestRejected(
                f"This server is not asked as {_name_of(host)[:100]!r}. Ask it by an address that it was given.",
                status=403,
                code="host_not_allowed",
            )
        if path in OPEN_PATHS or path.startswith(OPEN_PATHS[-1]):
            return
        if headers.get("sec-fetch-site", "none") not in {"none", "same-origin"} and not _is_allowed(
            headers.get("origin", ""), access.origins
        ):
            raise RequestRejected(
                "Web pages of other origins may not ask this server. Start it with `--cors ORIGIN` to let one.",
                status=403,
                code="origin_not_allowed",
            )
        if self._keys and not self._knows(headers.get("authorization", "")):
            raise RequestRejected(
                "The API key is missing or wrong. Send it as `Authorization: Bearer …`.",
                status=401,
                code="invalid_api_key",
            )

    def _knows(self, authorization: str) -> bool:
        scheme, _, key = authorization.partition(" ")
        given = _digest(key.strip())
        # Digests are of one length, and all keys are compared, so that the time says nothing of any of them.
        found = [hmac.compare_digest(given, own) for own in self._keys]
        return any(found) and scheme.lower() == "bearer"


def _digest(key: str) -> bytes:
    return sha256(key.encode("utf-8", "surrogateescape")).digest()


def _name_of(host: str) -> str:
    """Return the name in a Host header, without its port: `localhost:8000`, `[::1]:8000`."""
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdigit() else host).strip("[]").lower()


def _is_allowed(origin: str, allowed: Sequence[str]) -> bool:
    return "*" in allowed or origin in allowed
