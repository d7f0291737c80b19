"""The graph examples run unattended, as a user would start them, and show what they promise."""

from __future__ import annotations

import pytest
from example_runs import BACKENDS, run


@pytest.mark.parametrize("backend", BACKENDS)
def test_stream_modes_shows_every_mode(backend: str | None) -> None:
    printed = run("graphs/stream_modes.py", backend)
    assert "chatbot wrote messages\ncount wrote words\n" in printed
    assert "1 messages, words: None\n2 messages, words: None\n2 messages, words: " in printed
    assert "custom {'progress': 'counting'}\nupdates ['count']\n" in printed
    assert "flowchart TD" in printed


@pytest.mark.parametrize("backend", BACKENDS)
def test_parallel_poets_take_turns_and_a_node_is_tried_again(backend: str | None) -> None:
    printed = run("graphs/parallel_poets.py", backend)
    assert "publish is tried again; events from " in printed
    assert "published: hills, sea" in printed
    assert int(printed.rpartition("took turns ")[2].split()[0]) >= 2


@pytest.mark.parametrize("backend", BACKENDS)
def test_human_in_the_loop_goes_on_with_the_answer(backend: str | None) -> None:
    printed = run("graphs/human_in_the_loop.py", backend)
    assert printed.startswith("Send this? ")
    assert "updates {'send': {'sent': True}}" in printed
