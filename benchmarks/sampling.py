"""Judged calls over the `fake` backend: what requirements and strategies cost beside their models."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from measure import Effort, Row, acpu

from mellea_like import MelleaSession, Requirement, check, simple_validate, start_session
from mellea_like.chunking import Cutter
from mellea_like.sampling.best_of_n import BestofNSamplingStrategy

RULES = [Requirement(f"rule {i}", simple_validate(lambda text: len(text) > 3)) for i in range(10)]
VARIABLES = {"who": "Ana", "tone": "kind", "words": 20}
CALLS = 300
WORDS = 2000


async def many(m: MelleaSession, calls: int, **rest: Any) -> None:
    """Make calls one after the other."""
    for _ in range(calls):
        await m.ainstruct(
            "Write to {{ who }} in {{ words }} words, in a {{ tone }} tone.", user_variables=VARIABLES, **rest
        )


def per_call(calls: int, **rest: Any) -> float:
    """Return the CPU milliseconds per call."""
    with start_session("fake", answers="Hello, Ana!") as m:
        return asyncio.run(acpu(lambda: many(m, calls, **rest))) / calls * 1e3


def judged(effort: Effort) -> Iterator[Row]:
    """CPU per call with variables: without requirements, and with ten that are judged by functions."""
    calls = effort.size(CALLS)
    bare = effort.median(lambda: per_call(calls))
    yield Row(name="ainstruct, variables", figure=bare, unit="ms CPU")
    figure = effort.median(lambda: per_call(calls, requirements=RULES))
    yield Row(name="ainstruct, variables, 10 requirements", figure=figure, unit="ms CPU", at_most=0.3)
    figure = effort.median(lambda: per_call(calls, requirements=RULES, strategy=None))
    yield Row(name="the same, strategy=None", figure=figure, unit="ms CPU")
    strategy = BestofNSamplingStrategy(loop_budget=8, key=len)
    figure = effort.median(lambda: per_call(max(2, calls // 8), strategy=strategy)) / 8
    yield Row(name="best of 8, per sample", figure=figure, unit="ms CPU")


def watched(effort: Effort) -> Iterator[Row]:
    """CPU per delta of an answer that is judged word by word while it grows, against one that is not."""
    words = effort.size(WORDS)
    answers = ["word " * words]
    fine = check("fine", lambda chunk: True, chunking="word")

    def once(**rest: Any) -> float:
        with start_session("fake", answers=answers * 2) as m:
            return asyncio.run(acpu(lambda: m.ainstruct("go", **rest))) / words * 1e6

    bare = effort.median(lambda: once(strategy=None))
    figure = effort.median(lambda: once(requirements=[fine]))
    yield Row(name="judged word by word, per delta", figure=figure, unit="us CPU", against=f"{bare:.2g} us, unjudged")

    def cutting() -> float:
        cutter = Cutter("sentence")

        async def cut() -> None:
            for _ in range(words):
                cutter.feed("word. ")

        return asyncio.run(acpu(cut)) / words * 1e6

    yield Row(name="cutting into sentences, per delta", figure=effort.median(cutting), unit="us CPU")


MEASURES = (judged, watched)
