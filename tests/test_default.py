"""What a session without a name runs on."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from mellea_like import UnknownName, model_ids, start_session


class Tags(BaseHTTPRequestHandler):
    """Answers as an Ollama server lists its models; `reply` is what it sends."""

    reply = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-length", str(len(self.reply)))
        self.end_headers()
        self.wfile.write(self.reply)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def ollama_host(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("MELLEA_LIKE_MODEL", raising=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), Tags) as server:
        monkeypatch.setenv("OLLAMA_HOST", f"127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield
        server.shutdown()
        thread.join()


@pytest.mark.usefixtures("ollama_host")
@pytest.mark.parametrize(
    ("reply", "chosen"),
    [
        (json.dumps({"models": [{"model": "newest:1b"}, {"model": "older:7b"}]}), "OllamaModelBackend('newest:1b')"),
        (json.dumps({"models": []}), "LlamaCppBackend('SmolLM2-135M-Instruct')"),
        ("<html>something else listens here</html>", "LlamaCppBackend('SmolLM2-135M-Instruct')"),
    ],
)
def test_an_ollama_server_that_has_a_model_is_taken(reply: str, chosen: str) -> None:
    Tags.reply = reply.encode()
    assert repr(start_session().backend) == chosen


@pytest.mark.parametrize("host", ["127.0.0.1:9", "http://127.0.0.1:9", "nonsense://:port"])
def test_where_nobody_listens_the_model_in_the_process_is_taken(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.delenv("MELLEA_LIKE_MODEL", raising=False)
    monkeypatch.setenv("OLLAMA_HOST", host)
    assert repr(start_session().backend) == "LlamaCppBackend('SmolLM2-135M-Instruct')"


def test_the_name_in_the_environment_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MELLEA_LIKE_MODEL", "fake:named")
    assert repr(start_session().backend) == "FakeBackend('named')"


def test_a_common_model_is_named_once_for_every_backend() -> None:
    assert repr(start_session("ollama", model_ids.META_LLAMA_3_2_3B).backend) == "OllamaModelBackend('llama3.2:3b')"
    with pytest.raises(UnknownName, match=r"'ollama' as 'llama3\.2:3b'"):
        start_session("openai", model_ids.META_LLAMA_3_2_3B)
