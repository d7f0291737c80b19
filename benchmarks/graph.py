"""What a graph costs: per token, per node, many at once, and in memory per token that nobody has read.

`peer_graphs.py` measures the same of other libraries, beside this one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from graph_builders import Ours
from graph_runner import nodes, token, unread
from measure import Effort, Row


def messages(effort: Effort) -> Iterator[Row]:
    """CPU per token, from a source that never waits to the reader."""
    count = effort.size(20_000)
    figure = effort.median(lambda: asyncio.run(token(Ours().model, count)))
    yield Row(name="graph: a token, mode messages", figure=figure, unit="us", at_most=5.0)


def chain(effort: Effort) -> Iterator[Row]:
    """Wall time per node of a chain."""
    length = 200
    for work, kind in (("at once", "asynchronous"), ("plain", "synchronous, each in a thread")):
        run = Ours().chain(work, length)
        figure = effort.median(lambda run=run: asyncio.run(nodes(run, length)))  # type: ignore[misc]
        yield Row(name=f"graph: a node of a chain, {kind}", figure=figure, unit="ms", at_most=0.3)


def parallel(effort: Effort) -> Iterator[Row]:
    """Wall time of a step of many nodes, and of many runs at once."""
    count = effort.size(1000)
    step, short = Ours().step("at once", count), Ours().chain("at once", 10)
    figure = effort.median(lambda: asyncio.run(nodes(step, count)))
    yield Row(name=f"graph: a node of {count} in one step", figure=figure, unit="ms", at_most=0.3)
    figure = effort.median(lambda: asyncio.run(nodes(short, 10, runs=100)))
    yield Row(name="graph: a node, 100 runs of 10 at once", figure=figure, unit="ms", at_most=0.3)


def backlog(effort: Effort) -> Iterator[Row]:
    """Memory per token, its text included, of a run whose reader has read one and then reads no more."""
    held = asyncio.run(unread(Ours().model, effort.size(50_000)))
    yield Row(name="graph: a token that nobody has read", figure=held, unit="B", at_most=400)


MEASURES = (messages, chain, parallel, backlog)
