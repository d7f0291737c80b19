"""A run, and a node of it at work, as those see them who run inside: what is said goes to the run's log.

Everything is written on the library's loop; what other threads have to say goes through an outbox.
"""

from __future__ import annotations

import asyncio
import copy
import itertools
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import Context, ContextVar
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, TypeVar

from ..backends import Backend
from ..errors import GraphError, Interrupted
from ..events import Event, Usage
from ..home import Home
from ..log import Log
from ..telemetry import listening
from .checkpoints import Checkpoint, StateBackend
from .events import CustomSaid, Namespace, Place
from .outbox import Outbox
from .settings import Settings
from .spec import NodeSpec

R = TypeVar("R")


class Running:
    """One run of a graph, shared by everything at work in it."""

    def __init__(
        self,
        *,
        log: Log,
        home: Home,
        settings: Settings,
        checkpointer: StateBackend | None,
        backend: Backend | None,
        limit: int,
    ) -> None:
        self.id = uuid.uuid4().hex
        self.log = log
        self.home = home
        self.settings = settings
        self.checkpointer = checkpointer
        self.backend = backend
        self.limit = limit
        self.outer = at_work.get()
        self.inside = None if checkpointer is not None else _inside(self.outer)
        self.usage: Usage | None = None
        self.thunk_numbers = itertools.count(1)
        self._ear = _Ear(self)
        # Entered for good: the variables are the run's own, and end with it.
        home.variables.run(listening(self._ear).__enter__)
        self._outbox: Outbox | None = None

    def begin(self) -> None:
        """Take up work, on the library's loop."""
        self._outbox = Outbox(asyncio.get_running_loop())

    def end(self) -> None:
        """Hear no more; this also unties the circle of the run, its variables and its sink."""
        self._ear.running = None

    @property
    def kept(self) -> bool:
        """Whether one can go on with it later: it is kept under a name, or with the node that it runs inside."""
        return self.inside is not None or (self.checkpointer is not None and self.settings.thread_id is not None)

    @property
    def outbox(self) -> Outbox:
        """Where other threads say something; while the run is at work."""
        assert self._outbox is not None
        return self._outbox

    def say(self, event: Event) -> None:
        """Write an event, on the library's loop."""
        self.log.append(event)

    def used(self, usage: Usage | None) -> None:
        """Add up what generations took."""
        if usage is not None:
            self.usage = usage if self.usage is None else self.usage + usage


def _inside(outer: Now | None) -> Inside | None:
    return Inside(outer, f"run {next(outer.nested_numbers)}") if outer is not None and outer.running.kept else None


class Inside:
    """Where a graph that runs inside a node is kept: with that node, under `key`."""

    def __init__(self, now: Now, key: str) -> None:
        self._nested, self._key = now.nested, key

    def load(self) -> Checkpoint | None:
        """Return where it stopped, None where it begins."""
        return self._nested.get(self._key)

    def save(self, checkpoint: Checkpoint) -> None:
        """Keep where it is; what is through is not kept, and would begin again."""
        if checkpoint.pending:
            self._nested[self._key] = checkpoint
        else:
            self._nested.pop(self._key, None)


class _Ear:
    """The run's sink: every generation that starts inside one of its nodes is told to that node."""

    def __init__(self, running: Running) -> None:
        self.running: Running | None = running

    def opened(self, log: Log) -> None:
        now = at_work.get()
        while now is not None and now.running is not self.running:
            now = now.running.outer
        if now is not None:
            now.running.outbox.post(partial(now.heard, log))


class Telling(Protocol):
    """What tells the events of one generation."""

    log: Log

    def tell(self) -> None:
        """Tell what has come since."""
        ...

    async def follow(self) -> None:
        """Tell everything, to the end."""
        ...

    def passes_on(self, text: str) -> bool:
        """Whether `text` is what the generation said next."""
        ...


class Now:
    """One attempt of a node at work: what it is given, and what it may do.

    `state` is the graph's (or what a `Send` gave it), `inputs` what the nodes before it came to, by their names.
    """

    __slots__ = (
        *("_answers", "_asked", "_followers", "_heard", "_teller", "_tellers", "attempt", "home", "inputs", "level"),
        *("live", "nested", "nested_numbers", "ns", "place", "running", "spec", "spoke", "state", "step", "task"),
    )

    def __init__(
        self,
        running: Running,
        level: Any,
        spec: NodeSpec,
        *,
        ns: Namespace,
        step: int,
        task: str,
        attempt: int,
        state: Any,
        inputs: Mapping[str, Any],
        answers: Sequence[Any],
        nested: dict[str, Checkpoint],
        teller: Callable[[Running, Log, Place], Telling],
    ) -> None:
        self.running, self.level, self.spec = running, level, spec
        self.ns, self.step, self.task, self.attempt = ns, step, task, attempt
        self.state, self.inputs = state, inputs
        self._answers, self._asked = answers, 0
        self.nested, self.nested_numbers = nested, itertools.count(1)
        self._teller = teller
        self._tellers: list[Telling] = []
        self._followers: list[asyncio.Task[None]] = []
        self._heard: set[int] = set()
        self.live, self.spoke = True, False
        self.place = Place(run_id=running.id, ns=ns, node_id=spec.name, attempt=attempt, metadata={"step": step})
        self.home = copy.copy(running.home)
        self.home.variables = running.home.variables.copy()
        self.home.variables.run(at_work.set, self)

    @classmethod
    def aside(cls, running: Running, level: Any, spec: NodeSpec) -> Now:
        """Return what a choice at START sees; what it starts is nobody's, and not told."""
        now = cls.__new__(cls)
        now.running, now.level, now.spec, now.state, now.inputs, now.home = running, level, spec, {}, {}, running.home
        return now

    def seeing(self, state: Any) -> Now:
        """Return the same with another state."""
        now = copy.copy(self)
        now.state = state
        return now

    async def ask(self, function: Callable[..., R | Awaitable[R]], *args: Any) -> R:
        """Call a function of the user's where the run was called from, and await what it returns."""
        return await self.home.ask(function, *args)

    async def made(self, make: Callable[[], Any]) -> Any:
        """Call a function of no arguments where synchronous code runs, and return what it gives as it is: no awaiting.

        A thunk is awaitable too, and would be waited for there, where nobody could stop it.
        """
        return (await self.home.ask(lambda: (make(),)))[0]

    # --- from any thread --------------------------------------------------------------------------------------------

    def write(self, payload: Any) -> None:
        """Say something to readers of the mode `custom`."""
        self.running.outbox.post(partial(self._say_custom, payload))

    def _say_custom(self, payload: Any) -> None:
        self.running.say(CustomSaid(place=self.place, attempt=self.attempt, payload=payload))

    def answer(self, question: Any) -> Any:
        """Return what the next question of this node was answered.

        Raises:
            Interrupted: it was not answered yet.
            GraphError: nobody could ever answer, because the run is not kept.
        """
        number = self._asked
        self._asked += 1
        if number < len(self._answers):
            return self._answers[number]
        if not self.running.kept:
            raise GraphError(
                f"Node {self.spec.name!r} asks {question!r}, but the run is not kept, so nobody could answer. Compile "
                "with a store, and call with a thread: `compile(checkpointer=MemoryBackend())`, "
                "`config={'thread_id': '…'}`.",
                node=self.spec.name,
            )
        raise Interrupted(f"Node {self.spec.name!r} waits for an answer to {question!r}.", value=question)

    # --- on the library's loop --------------------------------------------------------------------------------------

    def heard(self, log: Log) -> None:
        """Follow a generation that has started inside this node."""
        if not self.live or id(log) in self._heard:
            return
        self._heard.add(id(log))
        telling = self._teller(self.running, log, self.numbered())
        self._tellers.append(telling)
        self._followers.append(asyncio.get_running_loop().create_task(telling.follow(), context=Context()))

    def numbered(self) -> Place:
        """Return the place of a new generation in this node."""
        self.spoke = True
        return replace(self.place, thunk_id=f"t{next(self.running.thunk_numbers)}", metadata=dict(self.place.metadata))

    def passes_on(self, text: str) -> bool:
        """Whether `text` is what a generation inside this node has said; all of that is told then."""
        for telling in self._tellers:  # before what the node makes of it
            telling.tell()
        return any(telling.passes_on(text) for telling in self._tellers)

    async def drained(self) -> None:
        """Wait until everything that generations of this node said is in the run's log."""
        self.running.outbox.empty()
        while self._followers:
            following = self._followers
            self._followers = []
            await asyncio.gather(*following)
            self.running.outbox.empty()

    def stop(self) -> None:
        """Stop the generations of this node, whoever holds them."""
        self.running.outbox.empty()
        for telling in self._tellers:
            telling.log.stop()

    def leave(self) -> None:
        """Listen no more; what was said until now is told first, before what the node failed with."""
        self.running.outbox.empty()
        self.live = False
        for telling in self._tellers:
            telling.tell()
        for follower in self._followers:
            follower.cancel()
        # Its own variables name it, and it them: a circle, which would keep the log until somebody collects.
        self.home.variables = self.running.home.variables


at_work: ContextVar[Now | None] = ContextVar("mellea_like_node_at_work", default=None)
"""The node whose code runs here."""


def current(what: str) -> Now:
    """Return the node whose code runs here.

    Raises:
        GraphError: none does.
    """
    now = at_work.get()
    if now is None:
        raise GraphError(f"`{what}` works inside a node of a graph that runs, and this is none.")
    return now


def get_stream_writer() -> Callable[[Any], None]:
    """Return a function that says something to readers of the mode `custom`; for code inside a node, at any depth.

    Raises:
        GraphError: no node's code runs here.

    Example:
        ```python
        from mellea_like import StateGraph, get_stream_writer

        def work(state):
            write = get_stream_writer()
            write({"progress": 0.5})
            return {"done": True}

        graph = StateGraph()
        graph.add_node(work)
        graph.set_entry_point("work")
        print(list(graph.compile().stream({}, stream_mode="custom")))
        ```

    Source: LangGraph's `get_stream_writer`.
    """
    return current("get_stream_writer()").write


def interrupt(value: Any) -> Any:
    """Ask somebody, inside a node: the run stops, and `Command(resume=answer)` goes on with it.

    The node then runs again from its beginning, and this returns the answer. So what stands before it runs twice.

    Args:
        value: The question, for whoever reads the run: `"__interrupt__"` in `values`, `updates` and `invoke`.

    Returns:
        The answer.

    Raises:
        Interrupted: there is no answer yet; let it pass, the graph keeps it.
        GraphError: the run is not kept (no checkpointer, or no `thread_id`), or no node's code runs here.

    Example:
        ```python
        from mellea_like import Command, MemoryBackend, StateGraph, interrupt

        graph = StateGraph()
        graph.add_node("ask", lambda state: {"name": interrupt("Who are you?")})
        graph.set_entry_point("ask")
        compiled = graph.compile(checkpointer=MemoryBackend())
        thread = {"thread_id": "1"}
        print(compiled.invoke({}, thread)["__interrupt__"][0].value)
        print(compiled.invoke(Command(resume="Ana"), thread)["name"])
        ```

    Source: LangGraph's `interrupt`.
    """
    return current("interrupt(…)").answer(value)
