"""The other transport of the backend `openai`: chosen by name, asked for where it is missing, quiet when forgotten."""

from __future__ import annotations

import gc
import sys

import pytest

from mellea_like import MissingPackage, UnknownName, start_session

from .conftest import AIOHTTP, Wire

over_aiohttp = pytest.mark.parametrize("wire", [AIOHTTP], indirect=True)


def test_a_transport_that_does_not_exist_is_refused_by_name():
    with pytest.raises(UnknownName, match=r"'aiohtp'.*Did you mean 'aiohttp'"):
        start_session("openai", "small", transport="aiohtp")


@over_aiohttp
def test_a_missing_package_is_named_with_the_way_to_get_it(wire: Wire, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    monkeypatch.delitem(sys.modules, "mellea_like.backends._aiohttp", raising=False)
    with pytest.raises(MissingPackage, match=r"pip install 'mellea-like\[aiohttp\]'"):
        wire.session().instruct("go")
    assert wire.server.asked == []


@over_aiohttp
def test_its_connections_close_when_a_session_is_forgotten(wire: Wire, caplog: pytest.LogCaptureFixture):
    wire.server.always_plays(wire.speech.answer("Hello"))
    assert wire.session().instruct("go").value == "Hello"
    wire.opened.clear()
    gc.collect()
    assert wire.server.all_closed()
    assert caplog.records == []
