"""A real server on a real socket, in a thread of its own, for tests that ask it as clients do."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import uvicorn

from mellea_like import asgi_app, start_session
from mellea_like.server.limits import Access, ServerLimits
from mellea_like.server.loading import answerer_of
from mellea_like.server.running import address_of, bound_socket, server_of

PATIENCE = 10.0


class Served:
    """A running server: its address, and an httpx client for it."""

    def __init__(self, served: Any, *, access: Access | None = None, **limits: Any) -> None:
        answerer = served if hasattr(served, "answer") else answerer_of(served)
        self.app = asgi_app(answerer, limits=ServerLimits(**{"ping": 5.0, **limits}), access=access)
        self.socket = bound_socket("127.0.0.1", 0)
        self.url = address_of(self.socket)
        self.server: uvicorn.Server = server_of(self.app, log_level=logging.INFO)
        self._thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.socket]}, daemon=True)
        self._thread.start()
        self.client = httpx.Client(base_url=self.url, timeout=PATIENCE, headers={"Accept-Encoding": "identity"})

    def chat(self, text: str = "hi", **more: Any) -> httpx.Response:
        """Ask for a chat completion."""
        body = {"messages": [{"role": "user", "content": text}], **more}
        return self.client.post("/v1/chat/completions", json=body)

    def respond(self, said: Any = "hi", **more: Any) -> httpx.Response:
        """Ask for a response."""
        return self.client.post("/v1/responses", json={"input": said, **more})

    def begin(self, text: str = "hi", path: str = "/v1/chat/completions", **more: Any) -> socket.socket:
        """Ask on a bare socket, and read nothing: closing it is a client that leaves."""
        body = json.dumps({"messages": [{"role": "user", "content": text}], "input": text, **more}).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        asking = socket.create_connection(self.socket.getsockname(), timeout=PATIENCE)
        asking.sendall(head.encode() + body)
        return asking

    def reaches(self, **wanted: int) -> bool:
        """Wait until `running` or `waiting` are as wanted; False when they never are."""
        for _ in range(int(PATIENCE / 0.02)):
            health = self.client.get("/healthz").json()
            if all(health[name] == value for name, value in wanted.items()):
                return True
            threading.Event().wait(0.02)
        return False

    def tell_to_stop(self) -> None:
        """Tell the server to stop, as Ctrl-C does."""
        self.server.should_exit = True

    def stopped(self) -> bool:
        """Wait until it has stopped; False when it has not."""
        self._thread.join(PATIENCE)
        return not self._thread.is_alive()

    def close(self) -> None:
        """Stop it."""
        self.client.close()
        self.tell_to_stop()
        assert self.stopped(), "the server did not stop"


@pytest.fixture
def serve() -> Iterator[Callable[..., Served]]:
    """Serve something: `serve(answers, running=1)`; a session, graph or function is served as it is."""
    running: list[Served] = []

    def start(served: Any = None, **settings: Any) -> Served:
        plain = served is None or isinstance(served, str | list) or type(served).__name__ == "Answer"
        running.append(Served(start_session("fake", answers=served) if plain else served, **settings))
        return running[-1]

    yield start
    for one in running:
        one.close()


@pytest.fixture(scope="module")
def echo() -> Iterator[Served]:
    """A server whose model repeats what it is told; one for all tests of a file."""
    served = Served(start_session("fake"))
    yield served
    served.close()


@pytest.fixture(scope="module")
def model() -> Iterator[Served]:
    """A server over the embedded model."""
    served = Served(start_session("llamacpp"))
    yield served
    served.close()
