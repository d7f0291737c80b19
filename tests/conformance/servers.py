"""Real servers with the real model behind them, started when the first check asks: OpenAI's wire and Ollama's."""

from __future__ import annotations

import atexit
import json
import os
import socket
import subprocess
import sys
import urllib.request
from functools import cache
from pathlib import Path
from typing import Any

from mellea_like.backends._weights import resolve_weights

WINDOW = 1024
SLOTS = 4


@cache
def engine() -> Any:
    """Start the engine's own HTTP server, which speaks OpenAI's wire; return its `xllamacpp.Server`."""
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(resolve_weights(""))
    parameters.n_ctx, parameters.n_parallel = WINDOW * SLOTS, SLOTS
    parameters.n_batch = parameters.n_ubatch = 64
    parameters.cpuparams.n_threads = 1
    parameters.verbosity = 0
    parameters.warmup = parameters.fit_params = False
    server = xllamacpp.Server(parameters)
    # Its native threads must not outlive the interpreter.
    atexit.register(engine.cache_clear)
    return server


def openai_url() -> str:
    """Return where OpenAI's wire is spoken."""
    return f"{engine().listening_address}/v1"


def idle() -> bool:
    """Wait until no slot of the engine generates; False when that does not come.

    A server notices that its client has gone with the next token that it wants to send. Each question waits for the
    engine to answer between two tokens, so the questions themselves pass the time.
    """
    return any(_idle_now() for _ in range(500))


def _idle_now() -> bool:
    with urllib.request.urlopen(f"{engine().listening_address}/slots") as reply:
        return not any(slot["is_processing"] for slot in json.load(reply))


@cache
def ollama_url() -> str:
    """Start a server that speaks Ollama's wire, with the engine behind it; return its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = Path(sys.executable).with_name("ollama-proxy")
    settings = {"PROVIDERS_LLAMA_API_KEY": "EMPTY", "PROVIDERS_LLAMA_BASE_URL": openai_url()}
    proxy = subprocess.Popen(
        [program, "serve", "--host", "127.0.0.1", "--port", str(port)],
        env={**os.environ, **settings},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    atexit.register(proxy.kill)
    assert proxy.stderr is not None
    for line in proxy.stderr:
        if "running on" in line:
            break
    else:
        raise AssertionError("the Ollama server did not start")
    # Nobody reads on: the pipe is closed, and the server's log goes nowhere.
    proxy.stderr.close()
    return f"http://127.0.0.1:{port}"


if __name__ == "__main__":  # stand-ins for the live suite, until Enter is pressed
    ABILITIES = "schema seed stop length system logprobs"
    print(f"export OPENAI_BASE_URL={openai_url()} OPENAI_API_KEY=none MELLEA_LIKE_LIVE_OPENAI_CAN='{ABILITIES}'")
    print(f"export MELLEA_LIKE_LIVE_HUGGINGFACE_URL={openai_url()} MELLEA_LIKE_LIVE_HUGGINGFACE_CAN='{ABILITIES}'")
    print(f"export OLLAMA_HOST={ollama_url()} MELLEA_LIKE_LIVE_OLLAMA=llama/smol")
    print("export MELLEA_LIKE_LIVE_OLLAMA_CAN='schema stop system images'", flush=True)
    sys.stdin.readline()
