"""The examples of streams to others serve themselves, show what a client receives, and stop by themselves."""

from __future__ import annotations

import re

import pytest
from example_runs import BACKENDS, run


@pytest.mark.parametrize("backend", BACKENDS)
def test_server_sent_events_arrive_are_resumed_and_end(backend: str | None) -> None:
    text, cut, rest, after = re.split(r"# \d\. [^\n]*\n", run("streaming/streaming_sse.py", backend))[1:]
    assert text.strip()
    numbers = [int(number) for number in re.findall(r"^ *(\d+) \w+ ", cut + rest, re.MULTILINE)]
    assert numbers == list(range(len(numbers)))
    assert re.findall(r"^ *\d+ (\w+)", cut, re.MULTILINE) == ["started", "delta"]
    assert re.findall(r"^ *\d+ (\w+)", rest, re.MULTILINE)[-1] == "finished"
    assert after == "204\n"


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_client_of_a_websocket_stops_an_answer(backend: str | None) -> None:
    first, second = run("streaming/streaming_websocket.py", backend).split("# Now")
    assert re.search(r"\n\S.*\n\(finished\)\n", first, re.DOTALL)
    assert second.endswith("\n(cancelled)\n")
