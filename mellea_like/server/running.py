"""Running the server: a socket, uvicorn, and an end that lets running streams end. Knows no route."""

from __future__ import annotations

import ipaddress
import logging
import socket

import uvicorn
from starlette.types import ASGIApp

from ..errors import BackendUnavailable, InvalidArgument

_BACKLOG = 2048
"""Connections that wait to be accepted."""

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server at `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def refuse_public(host: str, *, has_key: bool, forced: bool) -> None:
    """Raise where a server would answer anybody on the network without a key.

    Raises:
        InvalidArgument: it would, and nobody said that it may.
    """
    if is_loopback(host) or has_key or forced:
        return
    raise InvalidArgument(
        f"At {host!r} everybody on the network could use this server, and it has no API key. Set one (the environment "
        "variable MELLEA_LIKE_API_KEY, or `--api-key-file`), keep to 127.0.0.1, or say `--allow-public`."
    )


def bound_socket(host: str, port: int) -> socket.socket:
    """Open the server's socket; port 0 takes a free one.

    Raises:
        BackendUnavailable: the address cannot be bound, because it is in use, say.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
    except OSError as error:
        raise _unbound(host, port, error) from error
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(_BACKLOG)  # now, so that whoever is told of the address can connect
    except OSError as error:
        bound.close()
        raise _unbound(host, port, error) from error
    return bound


def _unbound(host: str, port: int, error: OSError) -> BackendUnavailable:
    return BackendUnavailable(
        f"The server cannot listen at {host}:{port}: {error.strerror or error}. Choose another `--port` (0 takes a "
        "free one) or `--host`."
    )


def address_of(bound: socket.socket) -> str:
    """Return the server's address as it is typed into a browser."""
    host, port = bound.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def server_of(app: ASGIApp, *, grace: float | None = None, log_level: int = logging.WARNING) -> uvicorn.Server:
    """Build the uvicorn server of an application; `server.run(sockets=[…])` runs it until it is told to stop.

    When it is told so, it takes no more connections and lets running streams end.

    Args:
        app: The application.
        grace: Seconds that running streams have to end; None waits for them.
        log_level: What uvicorn logs of its own. Its access log is off: it would show queries, which hold prompts.
    """
    config = uvicorn.Config(
        app,
        log_level=log_level,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        timeout_graceful_shutdown=None if grace is None else max(1, round(grace)),
        ws="none",
    )
    return uvicorn.Server(config)
