"""Measure graphs beside those of other libraries: `uv run --isolated --group peers benchmarks/peer_graphs.py`.

Each library has a process of its own, with a source of tokens in it that never waits, and nodes that do next to
nothing: what is measured is what the library adds. A token costs CPU, in all threads, until the reader has its text; a
node costs wall time, and one that waits has its millisecond in the figure. A token is unread when everything is said
and the reader has taken one; its text counts. The libraries take turns; `turns.py` says what becomes of the figures.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from run import machine
from turns import Measure, Peer, Subject, aligned, asked_for, facts, measured, started, written

PEERS = (
    Peer("this library", ("mellea-like",)),
    Peer("LangGraph", ("langgraph", "langchain-core")),
    Peer("Mesh", ("agentmesh-py",)),
    Peer("yamlgraph", ("yamlgraph", "langgraph")),
)
TOKENS, UNREAD = {"do": "token", "count": 20_000}, {"do": "unread", "count": 10_000}
CHAIN, STEP = {"do": "chain", "count": 200}, {"do": "step", "count": 1000}
RUNS = {"do": "chain", "count": 10, "runs": 100}
MEASURES = (
    Measure("token that a model says in a node, us", TOKENS | {"how": "model"}),
    Measure("token that the code of a node says, us", TOKENS | {"how": "node"}),
    Measure("token of an answer to a prompt file, us", TOKENS | {"how": "prompt"}),
    Measure("node of a chain of 200, asynchronous, ms", CHAIN | {"work": "at once"}),
    Measure("node of a chain of 200 that waits 1 ms, ms", CHAIN | {"work": "waiting"}),
    Measure("node of a chain of 200, synchronous, ms", CHAIN | {"work": "plain"}),
    Measure("node of 1,000 at once, asynchronous, ms", STEP | {"work": "at once"}),
    Measure("node of 1,000 at once that waits 1 ms, ms", STEP | {"work": "waiting"}),
    Measure("node of 1,000 at once, synchronous, ms", STEP | {"work": "plain"}),
    Measure("node, 100 runs of 10 at once, asynchronous, ms", RUNS | {"work": "at once"}),
    Measure("node, 100 runs of 10 at once, synchronous, ms", RUNS | {"work": "plain"}),
    Measure("unread token of a model, B", UNREAD | {"how": "model"}, 1),
    Measure("unread token of the code of a node, B", UNREAD | {"how": "node"}, 1),
)


def lines(subjects: Sequence[Subject]) -> Iterator[list[str]]:
    """Write a line for each measure: the figures, and how many times that of this library the others' are."""
    ours = next((subject for subject in subjects if subject.peer is PEERS[0]), None)
    others = [subject for subject in subjects if subject is not ours]
    yield ["", *(subject.peer.name for subject in subjects), *(f"{other.peer.name}, times" for other in others)]
    for measure in MEASURES:
        figures = [subject.median(measure) for subject in subjects]
        yield [measure.name, *map(written, (*figures, *(other.ratio(ours, measure) for other in others)))]


def main() -> int:
    """Measure what the command line asks for."""
    peers, quick = asked_for(PEERS, "Measure graphs beside those of other libraries, and print one table.")
    found_on = machine()
    with started(peers, "graph_runner.py") as subjects:
        measured(subjects, MEASURES, quick=quick)
    print(found_on, aligned(list(lines(subjects))), sep="\n\n", end="\n\n")
    print(*facts(subjects), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
