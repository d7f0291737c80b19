"""Which models of an Ollama server are at hand: how a session without a name finds one. Imports nothing heavy."""

from __future__ import annotations

import os
import socket
from urllib.parse import urlsplit

USUAL_PLACE = "http://127.0.0.1:11434"


def ollama_models(*, patience: float = 0.25) -> list[str]:
    """List the models of the Ollama server at `OLLAMA_HOST` or its usual port, newest first; empty where none answers.

    Args:
        patience: Seconds to wait for a connection.
    """
    host = os.environ.get("OLLAMA_HOST") or USUAL_PLACE
    place = urlsplit(host if "://" in host else f"//{host}")
    try:
        # The client's package takes a third of a second to import: only where somebody listens.
        socket.create_connection((place.hostname or "127.0.0.1", place.port or 11434), timeout=patience).close()
    except (OSError, ValueError):
        return []
    import httpx
    import ollama

    with ollama.Client(host=host, timeout=2.0) as client:
        try:
            return [model.model for model in client.list().models if model.model]
        except (httpx.HTTPError, ollama.ResponseError, ConnectionError, ValueError):
            return []  # somebody else listens there
