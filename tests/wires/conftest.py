"""Fixtures for the wires: a server of the project's own, and sessions on it that close and leave nothing open."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trustme

from mellea_like import MelleaSession, engine, start_session

from .server import CHAT, LINES, PATIENCE, Server, Speech


@dataclass(kw_only=True)
class Wire:
    """A backend and the server that it speaks to."""

    name: str
    speech: Speech
    path: str
    server: Server
    usual: dict[str, Any] = field(default_factory=dict)
    opened: list[MelleaSession] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where the backend looks for the server."""
        return self.server.url + self.path

    def session(self, **options: Any) -> MelleaSession:
        """Start a session on this backend, without retries and with little patience."""
        usual = {"base_url": self.url, "api_key": "key", "retries": 0, "timeout": PATIENCE, **self.usual}
        self.opened.append(start_session(self.name, "small", **{**usual, **options}))
        return self.opened[-1]


SPEECHES = {"openai": (CHAT, "/v1"), "ollama": (LINES, ""), "huggingface": (CHAT, "/v1")}
AIOHTTP = "openai over aiohttp"


@pytest.fixture(scope="session")
def one_authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of some authority, which signed nothing here."""
    path = tmp_path_factory.mktemp("authority") / "authority.pem"
    trustme.CA().cert_pem.write_to_path(str(path))
    return path


@pytest.fixture(autouse=True)
def no_address_from_outside(monkeypatch: pytest.MonkeyPatch, one_authority: Path) -> None:
    """Take the machine's keys, addresses and proxies away."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OLLAMA_HOST", "OLLAMA_API_KEY", "HF_TOKEN", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    # One authority instead of the usual hundred and more: reading those is most of what a client costs.
    monkeypatch.setenv("SSL_CERT_FILE", str(one_authority))


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let seconds pass on the library's own loop, at once: what is due by then happens now."""

    def move(seconds: float) -> None:
        home = engine.loop()
        clock = home.time
        monkeypatch.setattr(home, "time", lambda: clock() + seconds)
        home.call_soon_threadsafe(lambda: None)

    return move


@pytest.fixture
def server() -> Iterator[Server]:
    """The server, which must have seen every connection closed when the sessions on it are."""
    with Server() as running:
        yield running


def wired(title: str, server: Server) -> Iterator[Wire]:
    """Connect a backend with a server, and check that nothing is left open behind them."""
    name, _, transport = title.partition(" over ")
    speech, path = SPEECHES[name]
    usual = {"transport": transport} if transport else {}
    wire = Wire(name=name, speech=speech, path=path, server=server, usual=usual)
    yield wire
    for session in wire.opened:
        session.close()
    assert server.all_closed(), "a connection was left open"


@pytest.fixture(params=[*SPEECHES, AIOHTTP])
def wire(request: pytest.FixtureRequest, server: Server) -> Iterator[Wire]:
    """Each of the backends, in turn, and each of their transports."""
    yield from wired(request.param, server)


@pytest.fixture
def openai(server: Server) -> Iterator[Wire]:
    """The backend `openai`."""
    yield from wired("openai", server)


@pytest.fixture
def ollama(server: Server) -> Iterator[Wire]:
    """The backend `ollama`."""
    yield from wired("ollama", server)


@pytest.fixture
def huggingface(server: Server) -> Iterator[Wire]:
    """The backend `huggingface`."""
    yield from wired("huggingface", server)
