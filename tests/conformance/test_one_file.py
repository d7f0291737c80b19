"""Adding a backend is adding one file, or registering one class from outside; nothing else has to know."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mellea_like import InvalidArgument, UnknownName, backends, start_session

PROBE = """
from mellea_like import Backend, Finished

class Probe(Backend):
    name = "probe"

    def __init__(self, model_id=None, *, loud=False, model_options=None):
        super().__init__(model_id, model_options=model_options)
        self.loud = loud

    async def stream(self, request):
        said = request.messages[-1].content
        yield f"{self.model_id} heard {said.upper() if self.loud else said}"
        yield Finished()

nothing = object()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for the probe, whose modules are forgotten after the test."""
    for name in ("probe", f"{backends.__name__}.probe"):
        monkeypatch.setitem(sys.modules, name, None)  # remembered as absent, so that it is taken away again
        del sys.modules[name]
    return tmp_path


@pytest.fixture
def in_a_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "probe.py").write_text(PROBE, "utf-8")
    monkeypatch.setattr(backends, "__path__", [*backends.__path__, str(folder)])


def register(folder: Path, monkeypatch: pytest.MonkeyPatch, *, found: str) -> None:
    """Install a distribution that registers `found` as the backend `probe`."""
    (folder / "probe.py").write_text(PROBE, "utf-8")
    metadata = folder / "probe-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: probe\nVersion: 1.0\n", "utf-8")
    (metadata / "entry_points.txt").write_text(f"[{backends.ENTRY_POINTS}]\nprobe = probe:{found}\n", "utf-8")
    monkeypatch.syspath_prepend(str(folder))


@pytest.fixture
def in_a_package(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    register(folder, monkeypatch, found="Probe")


@pytest.mark.parametrize("added", ["in_a_file", "in_a_package"])
def test_a_backend_that_was_added_can_be_named(request: pytest.FixtureRequest, added: str) -> None:
    request.getfixturevalue(added)
    with start_session("probe:small", loud=True) as m:
        thunk = m.instruct("hello")
    assert thunk.value == "small heard HELLO"
    assert thunk.generation.provider == "probe"
    assert "probe" in backends.backend_names()
    with pytest.raises(UnknownName, match="'loud'"):
        start_session("probe", lout=True)


def test_a_registered_thing_that_is_no_backend_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    register(folder, monkeypatch, found="nothing")
    with pytest.raises(InvalidArgument, match=r"entry point 'probe' .* not a Backend class"):
        start_session("probe")


def test_a_name_that_nobody_added_is_refused_with_those_that_are_there() -> None:
    with pytest.raises(UnknownName, match=r"no backend 'probe'.*'fake'.*'replay'"):
        start_session("probe")
