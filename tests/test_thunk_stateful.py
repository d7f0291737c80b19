"""One thunk, step by step: a model that speaks on command, read at any moment, against a list of what was said."""

from __future__ import annotations

import asyncio
import threading

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mellea_like import (
    Backend,
    Finished,
    MelleaSession,
    RateLimited,
)

HANGS = 60
"""Seconds after which a wait has hung."""

texts = st.text(min_size=1, max_size=6) | st.sampled_from(["\n", "a\n\nb", "\N{PARTY POPPER}", "e\u0301", "\u2028"])
errors = st.sampled_from([ValueError("no", 1), KeyError("k"), OSError(2, "gone"), RateLimited("slow", retry_after=2.0)])


class Dictated(Backend):
    """A backend that says what it is told, when it is told."""

    name = "dictated"

    async def stream(self, request):
        self.loop, self.queue = asyncio.get_running_loop(), asyncio.Queue()
        self.ready.set()
        while (said := await self.queue.get()) is not None:
            if isinstance(said, BaseException):
                raise said
            yield said

    def tell(self, said):
        self.loop.call_soon_threadsafe(self.queue.put_nowait, said)


class ReadingStepByStep(RuleBasedStateMachine):
    """A model that speaks on command, read at any moment by any number of readers, against a list of what was said."""

    @initialize()
    def start(self):
        self.backend = Dictated("dictated")
        self.backend.ready = threading.Event()
        self.session = MelleaSession(self.backend)
        self.thunk = self.session.instruct("go", await_result=False)
        assert self.backend.ready.wait(HANGS)
        self.said, self.end = [], None
        self.readers, self.polled = [], 0
        self.runner = asyncio.Runner()

    @precondition(lambda self: self.end is None)
    @rule(texts=st.lists(texts, min_size=1, max_size=3))
    def say(self, texts):
        self.said += texts
        for text in texts:
            self.backend.tell(text)

    @precondition(lambda self: self.end is None)
    @rule(error=errors | st.none())
    def finish(self, error):
        self.end = Finished() if error is None else error
        self.backend.tell(self.end)
        if error is None:
            self.backend.tell(None)

    @rule(asynchronous=st.booleans())
    def open_reader(self, asynchronous):
        self.readers.append([asynchronous, iter(self.thunk), 0])

    @precondition(lambda self: self.readers)
    @rule(which=st.randoms(use_true_random=False))
    def drop_reader(self, which):
        self.readers.pop(which.randrange(len(self.readers)))

    @precondition(lambda self: self.readers)
    @rule(which=st.randoms(use_true_random=False))
    def read_on(self, which):
        reader = which.choice(self.readers)
        asynchronous, iterator, position = reader
        if position < len(self.said):
            assert self._next(asynchronous, iterator) == self.said[position]
            reader[2] += 1
        elif self.end is not None:
            stop = StopAsyncIteration if asynchronous else StopIteration
            with pytest.raises(type(self.end) if isinstance(self.end, Exception) else stop):
                self._next(asynchronous, iterator)

    def _next(self, asynchronous, iterator):
        return self.runner.run(_step(iterator)) if asynchronous else next(iterator)

    @rule()
    def poll(self):
        if self.polled == len(self.said):  # not a precondition: how much one poll returns is a matter of time
            return
        text = self.runner.run(self.thunk.astream())
        assert len(text) > len("".join(self.said[: self.polled]))
        assert "".join(self.said).startswith(text)
        while len("".join(self.said[: self.polled])) < len(text):
            self.polled += 1
        assert "".join(self.said[: self.polled]) == text

    @invariant()
    def what_has_come_is_a_beginning(self):
        if hasattr(self, "thunk"):
            assert "".join(self.said).startswith(self.thunk.partial_text)
            assert repr(self.thunk)

    def teardown(self):
        if hasattr(self, "session"):
            self.session.close()
            self.runner.close()
            assert not self.thunk._log._waiters


async def _step(iterator):
    return await anext(iterator)


TestReadingStepByStep = ReadingStepByStep.TestCase
TestReadingStepByStep.settings = settings(max_examples=80, stateful_step_count=25, deadline=None, database=None)
