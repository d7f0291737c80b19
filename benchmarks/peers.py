"""Measure this library beside its peers: `uv run --isolated --group peers benchmarks/peers.py` prints the table.

Each peer has a process of its own, and all read from one server, in another process, on the loopback. They take turns;
`turns.py` says what becomes of the figures. Graphs have a program of their own, `peer_graphs.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from measure import Row
from run import machine, table
from turns import Measure, Peer, Subject, asked_for, blocks, facts, measured, started
from wire_clients import Server, room_for_sockets

# The client alone that a peer is compared with, and this library on the same wire.
OPENAI = ("openai", "this library")
OLLAMA = ("ollama", "this library, Ollama")
HUGGING_FACE = ("huggingface_hub", "this library, Hugging Face")
PEERS = (
    Peer("this library", ("mellea-like",), OPENAI),
    Peer("openai", ("openai",), OPENAI),
    Peer("openai, aiohttp", ("openai", "aiohttp"), OPENAI),
    Peer("httpx2 + json", ("httpx2",), OPENAI),
    Peer("Mellea", ("mellea", "openai"), OPENAI),
    Peer("pydantic-ai", ("pydantic-ai-slim", "openai"), OPENAI),
    Peer("LangGraph, messages", ("langgraph", "langchain-openai", "openai"), OPENAI),
    Peer("litellm", ("litellm", "openai"), OPENAI, alone=True),
    Peer("this library, Ollama", ("mellea-like", "ollama"), OLLAMA),
    Peer("ollama", ("ollama",), OLLAMA),
    Peer("this library, Hugging Face", ("mellea-like",), HUGGING_FACE),
    Peer("huggingface_hub", ("huggingface-hub",), HUGGING_FACE),
)
CALLS = frozenset(
    {"this library", "openai", "openai, aiohttp", "Mellea", "pydantic-ai", "LangGraph, messages", "litellm"}
)
MEASURES = (
    Measure("8,000", {"do": "chunk", "count": 8_000, "how": "burst"}),
    Measure("2,000", {"do": "chunk", "count": 2_000, "how": "burst"}),
    Measure("MB", {"do": "memory"}, 1, at_once=True),
    Measure("call", {"do": "call", "calls": 40}),
    Measure("200 calls", {"do": "calls", "calls": 200, "count": 20}, of=CALLS),
    Measure("200 streams", {"do": "streams", "calls": 200, "count": 20}, times=20),
    Measure("paced", {"do": "chunk", "count": 2_000, "how": "paced"}, 2),
    Measure("32,000", {"do": "chunk", "count": 32_000, "how": "burst"}),
    Measure("1,000 streams", {"do": "streams", "calls": 1_000, "count": 20}, times=20),
    Measure("MB, 1,000", {"do": "memory"}, 1, at_once=True),
)
"""In the order of their weight: on a busy machine the last may find the time spent."""
COLUMNS = [
    next(measure for measure in MEASURES if measure.name == name)
    for name in (
        "2,000",
        "8,000",
        "32,000",
        "paced",
        "call",
        "MB",
        "200 calls",
        "200 streams",
        "1,000 streams",
        "MB, 1,000",
    )
]
LEGEND = """\
2,000, 8,000, 32,000: us of CPU per chunk of a stream of so many, which come as fast as they can; paced: the same, 2,000
chunks of which one comes each millisecond. call: ms of CPU of a stream of one chunk. MB: the most memory that the
process held after streams of 8,000 chunks; MB, 1,000: at the end. 200 calls: whole answers of 20 tokens per second, 200
at once. 200 and 1,000 streams: chunks per second, in so many streams of 20 at once."""


def targets(subjects: Sequence[Subject]) -> Iterator[Row]:
    """Write the ratios that have a target."""
    by_name = {subject.peer.name: subject for subject in subjects}
    columns = {measure.name: measure for measure in MEASURES}

    def row(name: str, column: str, ours: str, other: str, **target: float) -> Iterator[Row]:
        pair = by_name.get(ours), by_name.get(other)
        if pair[0] is not None and (figure := pair[0].ratio(pair[1], columns[column])) is not None:
            yield Row(name=name, figure=figure, unit="times", against=other, **target)

    yield from row("chunk, burst of 8,000", "8,000", "this library", "openai", at_most=0.15)
    yield from row("line of Ollama's, burst of 8,000", "8,000", "this library, Ollama", "ollama", at_most=1.0)
    yield from row("200 calls at once, per second", "200 calls", "this library", "Mellea", at_least=5.0)


def main() -> int:
    """Measure what the command line asks for."""
    peers, quick = asked_for(PEERS, "Measure this library beside its peers, and print one table.")
    found_on = machine()
    room_for_sockets()
    with Server() as server, started(peers, "peer_runner.py", server.address) as subjects:
        measured(subjects, MEASURES, quick=quick)
    ratios = blocks(subjects, COLUMNS, "times the client alone", "times this library")
    print(found_on, *ratios, table(list(targets(subjects))), LEGEND, sep="\n\n")
    print(*facts(subjects), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
