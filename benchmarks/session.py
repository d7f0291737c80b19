"""The session's verbs over the `fake` backend: what a call costs beside its model."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from typing import Any

from measure import Effort, Row, acpu, cpu

from mellea_like import Backend, ChatContext, Finished, MelleaSession, Request, start_session
from mellea_like.events import Said

RICH: dict[str, Any] = {
    "user_variables": {"who": "Ana", "tone": "kind", "words": 20},
    "grounding_context": {
        "letter": "Dear all, the meeting is moved to Friday. " * 5,
        "rule": "Answer in one sentence.",
    },
    "icl_examples": ["Dear Bo, thank you for your letter.", "Dear Cy, see you on Monday."],
    "prefix": "Dear {{ who }}",
}
CALLS = 400
MELLEA_CALLS_PER_SECOND = 183


def session(**options: Any) -> MelleaSession:
    """Start a session on a fresh backend: the `fake` one keeps every request that it was asked."""
    return start_session("fake", answers="Hello, Ana!", **options)


def per_call(calls: int, repeated: Callable[[MelleaSession, int], Awaitable[object]]) -> float:
    """Return the CPU milliseconds per call of `calls` calls on one event loop."""
    with session() as m:
        return asyncio.run(acpu(lambda: repeated(m, calls))) / calls * 1e3


async def plain(m: MelleaSession, calls: int) -> None:
    for _ in range(calls):
        await m.ainstruct("Say hello to Ana.")


async def rich(m: MelleaSession, calls: int) -> None:
    for _ in range(calls):
        await m.ainstruct("Write to {{ who }} in {{ words }} words, in a {{ tone }} tone.", **RICH)


async def together(m: MelleaSession, calls: int) -> None:
    await asyncio.gather(*(m.ainstruct("Say hello to Ana.") for _ in range(calls)))


def call(effort: Effort) -> Iterator[Row]:
    """CPU per call: one after the other, with all that an instruction can have, and blocking."""
    calls = effort.size(CALLS)
    figure = effort.median(lambda: per_call(calls, plain))
    yield Row(name="ainstruct", figure=figure, unit="ms CPU", at_most=0.3)
    figure = effort.median(lambda: per_call(calls, rich))
    yield Row(name="ainstruct, variables, grounding, examples", figure=figure, unit="ms CPU", at_most=0.3)

    def blocking() -> float:
        with session() as m:
            return cpu(lambda: [m.instruct("Say hello to Ana.") for _ in range(calls)]) / calls * 1e3

    yield Row(name="instruct", figure=effort.median(blocking), unit="ms CPU", at_most=0.3)


def concurrent(effort: Effort) -> Iterator[Row]:
    """Two hundred calls at once."""
    yield Row(
        name="200 concurrent calls, per call",
        figure=effort.median(lambda: per_call(200, together)),
        unit="ms CPU",
        at_most=0.3,
    )

    def rate() -> float:
        with session() as m:
            began = time.perf_counter()
            asyncio.run(together(m, 200))
            return 200 / (time.perf_counter() - began)

    target = 5 * MELLEA_CALLS_PER_SECOND
    against = f"5 x Mellea's {MELLEA_CALLS_PER_SECOND}, with a server"
    yield Row(name="200 concurrent calls", figure=effort.median(rate), unit="calls/s", at_least=target, against=against)


class Brief(Backend):
    """A backend that says one word and neither keeps nor counts what it is asked, which would grow with the chat."""

    name = "brief"

    async def stream(self, request: Request) -> AsyncGenerator[Said, None]:
        yield "Indeed."
        yield Finished()


def chat(effort: Effort) -> Iterator[Row]:
    """What turn 200 of a chat costs, against turn 2."""
    with MelleaSession(Brief(), ChatContext()) as m:
        contexts = [m.ctx]
        for number in range(200):
            m.chat(f"This is turn {number + 1}; what do you say?")
            contexts.append(m.ctx)

        def turn(number: int) -> float:
            m.ctx = contexts[number - 1]
            return cpu(lambda: m.chat("And now?")) * 1e3

        both = [(turn(2), turn(200)) for _ in range(effort.size(100))]
    early, late = (statistics.median(column) for column in zip(*both, strict=True))
    yield Row(name="chat, turn 2", figure=early, unit="ms CPU")
    yield Row(name="chat, turn 200", figure=late, unit="ms CPU")
    yield Row(name="chat, turn 200, ratio", figure=late / early, unit="times", at_most=2, against="turn 2")


MEASURES = (call, concurrent, chat)
