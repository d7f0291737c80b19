"""The clients that browsers use, in a process of Node's own."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).parent / "node"


@pytest.fixture(scope="session")
def read_in_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str, bytes], Any]]:
    """Read a stream with the real client of a format: `read_in_node("ai-sdk", stream)`."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node and npm are not installed: the real clients of AI SDK and AG-UI cannot run")
    place = tmp_path_factory.mktemp("node")
    for name in ("package.json", "read.mjs"):
        shutil.copy(PROGRAM / name, place)
    install = [npm, "install", "--no-package-lock", "--no-audit", "--no-fund", "--silent"]
    done = subprocess.run(install, cwd=place, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    reader = subprocess.Popen(
        [node, "read.mjs"], cwd=place, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )

    def read(wire: str, stream: bytes) -> Any:
        assert reader.stdin is not None
        assert reader.stdout is not None
        reader.stdin.write(json.dumps({"format": wire, "body": stream.decode()}).encode() + b"\n")
        reader.stdin.flush()
        return json.loads(reader.stdout.readline())

    yield read
    reader.communicate(timeout=10)
