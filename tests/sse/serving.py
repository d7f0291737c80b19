"""A real server for the tests: an application behind a socket of this machine, in a thread of its own."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import uvicorn

PATIENCE = 10.0


@contextmanager
def served(app: Any) -> Iterator[str]:
    """Serve an application, and give its address; connections that are made before it listens wait for it."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        door.listen()
        config = uvicorn.Config(app, lifespan="off", ws="none", log_config=None, timeout_graceful_shutdown=2)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=asyncio.run, args=(server.serve([door]),), name="server")
        thread.start()
        try:
            yield f"http://127.0.0.1:{door.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(PATIENCE)


def client(address: str) -> httpx2.AsyncClient:
    """Open a client of that server; the machine's proxies are none of its business."""
    return httpx2.AsyncClient(base_url=address, trust_env=False, timeout=PATIENCE)
