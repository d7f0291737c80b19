"""Fixtures that every test may use: sessions that close themselves, readers of every kind, nothing left running."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from mellea_like import Backend, Context, MelleaSession, ModelOutputThunk, Request, engine, start_session

# The tests are about the model in the process, whatever server this machine runs.
os.environ.setdefault("MELLEA_LIKE_MODEL", "llamacpp")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files first that the real model runs in: they take longest, and workers take one file after the other."""
    slow = {item.path for item in items if item.get_closest_marker("model")}
    items.sort(key=lambda item: item.path not in slow)


PATIENCE = 10.0
"""Seconds after which a wait has failed; no test waits that long unless something hangs."""


@pytest.fixture(scope="session")
def fetched_weights() -> None:
    """Have the model's weights on this machine; the first that needs them fetches them, and says so on stderr."""
    from mellea_like.backends._weights import resolve_weights

    resolve_weights("")


@pytest.fixture(autouse=True)
def weights_where_the_model_runs(request: pytest.FixtureRequest) -> None:
    """Fetch the weights before a test of the real model begins, so that no test sees that happen."""
    if request.node.get_closest_marker("model"):
        request.getfixturevalue("fetched_weights")


@pytest.fixture(scope="module", autouse=True)
def no_backends_kept() -> Iterator[None]:
    """Close what graphs and prompts have opened for the whole process, so that each file begins with nothing loaded."""
    yield
    if "mellea_like.providers" in sys.modules:
        asyncio.run(sys.modules["mellea_like.providers"].aclose_providers())


@pytest.fixture(autouse=True)
def nothing_left_running() -> Iterator[None]:
    """Fail a test that leaves a generation running on the library's loop."""
    yield
    if any(thread.name == "mellea-like" for thread in threading.enumerate()):
        left = asyncio.run_coroutine_threadsafe(_left_running(), engine.loop()).result(PATIENCE)
        assert not left, "this generation was left running; close its session"


async def _left_running() -> list[str]:
    fills = {task for task in asyncio.all_tasks() if getattr(task.get_coro(), "__qualname__", "") == "_fill"}
    if not fills:
        return []
    gc.collect()  # a thunk in a circle of frames is stopped when it is collected
    _, left = await asyncio.wait(fills, timeout=PATIENCE / 4)
    for task in left:
        task.cancel()
    return [repr(task) for task in left]


@pytest.fixture
def ran() -> Callable[[str], str]:
    """Run a program in a Python of its own and return what it printed; it must leave well, with nothing on stderr."""

    def run(program: str) -> str:
        # Newer Pythons warn of every fork beside threads; that the library stands it is what is tested.
        quietly = ("-W", "ignore:This process:DeprecationWarning")
        command = [sys.executable, *quietly, "-c", textwrap.dedent(program)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=6 * PATIENCE, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    return run


@pytest.fixture
def fake() -> Iterator[Callable[..., MelleaSession]]:
    """Start sessions on the `fake` backend: `fake(answers, **options)`."""
    opened: list[MelleaSession] = []

    def start(answers: Any = None, **options: Any) -> MelleaSession:
        opened.append(start_session("fake", answers=answers, **options))
        return opened[-1]

    yield start
    for session in opened:
        session.close()


class Talker(Backend):
    """A backend that says one word, never ends, and reports when it was stopped."""

    name = "talker"

    def __init__(self) -> None:
        super().__init__("talker")
        self.flowing, self.stopped = threading.Event(), threading.Event()
        self.session = MelleaSession(self)

    async def stream(self, request: Request) -> AsyncGenerator[str, None]:
        try:
            yield "word "
            self.flowing.set()
            await asyncio.Event().wait()
        finally:
            self.stopped.set()

    def start(self, ctx: Context | None = None) -> ModelOutputThunk[str]:
        """Start a generation and wait until its first word is there."""
        if ctx is not None:
            self.session.ctx = ctx
        thunk = self.session.instruct("Talk.", await_result=False)
        assert self.flowing.wait(PATIENCE)
        return thunk

    def is_stopped(self) -> bool:
        """Wait until the model was told to stop; False when it was not."""
        return self.stopped.wait(PATIENCE)

    def is_running(self) -> bool:
        """Whether the model still talks after the library's loop has done everything that it was asked to."""
        for _ in range(3):
            asyncio.run_coroutine_threadsafe(asyncio.sleep(0), engine.loop()).result(PATIENCE)
        return not self.stopped.is_set()


@pytest.fixture
def talker() -> Iterator[Talker]:
    """A model that talks until it is stopped."""
    backend = Talker()
    yield backend
    backend.session.close()


@dataclass
class Seen:
    """What a reader got: the text, and the error at its end."""

    text: str = ""
    error: BaseException | None = None


async def _poll(thunk: ModelOutputThunk[Any], seen: Seen) -> None:
    seen.text = await thunk.astream()
    while not thunk.is_computed():
        seen.text = await thunk.astream()


async def _iterate(thunk: ModelOutputThunk[Any], seen: Seen) -> None:
    async for delta in thunk:
        seen.text += delta


async def _iterate_in_a_thread(thunk: ModelOutputThunk[Any], seen: Seen) -> None:
    def read() -> None:
        for delta in thunk:
            seen.text += delta

    await asyncio.to_thread(read)


async def _await(thunk: ModelOutputThunk[Any], seen: Seen) -> None:
    try:
        await thunk
    finally:
        seen.text = thunk.partial_text


async def _avalue(thunk: ModelOutputThunk[Any], seen: Seen) -> None:
    try:
        assert await thunk.avalue() == thunk.value
    finally:
        seen.text = thunk.partial_text


async def _result(thunk: ModelOutputThunk[Any], seen: Seen) -> None:
    try:
        await asyncio.to_thread(thunk.result)
    finally:
        seen.text = thunk.partial_text


_READERS = {
    "astream": _poll,
    "async-for": _iterate,
    "for": _iterate_in_a_thread,
    "await": _await,
    "avalue": _avalue,
    "result": _result,
}


@pytest.fixture(params=_READERS)
def read(request: pytest.FixtureRequest) -> Callable[[ModelOutputThunk[Any]], Awaitable[Seen]]:
    """Read a thunk to its end, in each way that there is; a test that asks for this runs once per way."""
    reader = _READERS[request.param]

    async def reading(thunk: ModelOutputThunk[Any]) -> Seen:
        seen = Seen()
        try:
            await reader(thunk, seen)
        except Exception as error:  # what the generation failed with is what the tests compare
            seen.error = error
        return seen

    return reading
