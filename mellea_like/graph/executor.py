"""Graphs run as Mesh runs them: an executor, a context that it takes up and leaves changed, events with plain words.

What is iterated over is a view of the run's own log: without what Mesh does not show, and with its START node.
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..closing import Closing
from ..errors import InvalidArgument
from ..events import Cancelled, Event, Failed, Finished
from ..readers import NOTHING, Nothing, Reader
from ..waiting import drive
from .checkpoints import StateBackend
from .commands import NOTHING as NO_ANSWER
from .commands import Command
from .compiled import CompiledGraph
from .events import (
    CheckpointSaved,
    Draft,
    DraftDiscarded,
    ExecutionComplete,
    ExecutionError,
    ExecutionStart,
    MessageComplete,
    MessageStart,
    NodeComplete,
    NodeStart,
    Place,
    StateUpdate,
    Token,
    text_said,
)
from .run import GraphRun
from .sessions import Afterwards, SessionStore
from .stores import MemoryBackend


@dataclass(slots=True, kw_only=True)
class ExecutionContext:
    """What a run begins with, and how it leaves it: one conversation with one graph.

    A run that has ended has added the turn to `chat_history`, the state that it came to to `state`, and its nodes to
    `executed_data`. One that failed leaves the history as it was; one that was stopped adds what came.

    Args:
        graph_id: The graph's name, under which a run is kept.
        session_id: The session's name, under which its state is kept.
        chat_history: What was said before, which models are told: messages, or dicts with `role` and `content`. What a
            run adds is of the same kind as the last; dicts where there is none.
        variables: Values for prompts and tools.
        state: State keys; they count for more than what is kept under the session's name.
        trace_id: For logs; chosen by chance where it is left out.
        executed_data: `{"node_id": …, "output": …}` for each node that ran, in order.

    Example:
        ```python
        from mellea_like import ExecutionContext

        print(ExecutionContext(graph_id="poems", session_id="session-1").chat_history)
        ```

    Source: Mesh's `ExecutionContext`.
    """

    graph_id: str
    session_id: str
    chat_history: list[Any] = field(default_factory=list)
    variables: dict[str, Any] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)
    trace_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    executed_data: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        empty: dict[str, Any] = {"chat_history": [], "variables": {}, "state": {}, "executed_data": []}
        for name, nothing in empty.items():
            if getattr(self, name) is None:
                setattr(self, name, nothing)


class Executor:
    """Runs a graph for sessions whose states are kept.

    Args:
        graph: The compiled graph.
        state_backend: Where states are kept; None keeps them in memory, for this executor.
        max_iterations: How many steps a run may take.

    Raises:
        InvalidArgument: the graph is not compiled, or `max_iterations` is below 1.

    Example:
        ```python
        import asyncio
        from mellea_like import ExecutionContext, Executor, FakeBackend, MemoryBackend, StateGraph

        graph = StateGraph()
        graph.add_node("poet", node_type="llm", system_prompt="You are a poet.")
        graph.set_entry_point("poet")
        executor = Executor(graph.compile(backend=FakeBackend(answers="Roses are red.")), MemoryBackend())

        async def main():
            context = ExecutionContext(graph_id="poems", session_id="session-1")
            async for event in executor.execute("A poem, please.", context):
                if event.type == "token":
                    print(event.content, end="", flush=True)

        asyncio.run(main())
        ```

    Source: Mesh's `Executor`.
    """

    def __init__(
        self, graph: CompiledGraph, state_backend: StateBackend | None = None, *, max_iterations: int = 1000
    ) -> None:
        if not isinstance(graph, CompiledGraph):
            raise InvalidArgument(f"Executor takes a compiled graph, not {graph!r}. Write `Executor(graph.compile())`.")
        if max_iterations < 1:
            raise InvalidArgument(f"max_iterations is {max_iterations!r}; a run takes at least 1 step.")
        self.graph = graph
        self.state_backend = MemoryBackend() if state_backend is None else state_backend
        self.max_iterations = max_iterations

    def execute(self, input: str | Mapping[str, Any], context: ExecutionContext) -> Execution:  # noqa: A002  # Mesh's name
        """Run the graph on an input, beginning with the session's state.

        Nothing runs before the first step of the iteration; whatever stops the iteration stops the model.

        Args:
            input: Text, which becomes the state key `input`, or a dict of state keys.
            context: The conversation; see `ExecutionContext`. Models are told what it holds when the run begins.

        Returns:
            The run's events, for `async for` or `for`: `execution_start`, `node_start`, `token`, `node_complete`, …,
            `execution_complete`. Each has `type`, `node_id`, `content`, `output`, `error` and `metadata`. After a
            failure come all events, `execution_error` last, and then the error is raised.
        """
        return self._execution(input, context, fresh=True)

    def resume(self, context: ExecutionContext, answer: Any = NO_ANSWER) -> Execution:
        """Go on with the session's run after its last completed step: one that failed, was stopped, or waits.

        Args:
            context: The conversation; `session_id` and `graph_id` say which run.
            answer: What a node that waits is answered; see `interrupt`.

        Returns:
            The run's events, as `execute` gives them.

        Raises:
            NothingToResume: no unfinished run of the session is kept; raised to the reader.
        """
        return self._execution(None if answer is NO_ANSWER else Command(resume=answer), context, fresh=False)

    def _execution(self, given: Any, context: ExecutionContext, *, fresh: bool) -> Execution:
        if not isinstance(context, ExecutionContext):
            raise InvalidArgument(f"execute takes an ExecutionContext, not {context!r}.")

        def begin() -> GraphRun:
            config = {
                "thread_id": context.session_id,
                "checkpointer": SessionStore(self.state_backend, context, fresh=fresh),
                "recursion_limit": self.max_iterations,
                "variables": context.variables,
                "chat_history": context.chat_history,
            }
            return self.graph.start(given, config, context=context)

        return Execution(begin, context, Afterwards(given, context))


class Execution(Closing):
    """One execution of a graph: an iterator over its events, for `async for` and for `for`.

    It begins with the first step of the iteration. Closing it stops the run, and so does dropping it; `async with`
    closes it at its end.
    """

    __slots__ = ("_afterwards", "_begin", "_context", "_reader", "_run")

    def __init__(self, begin: Callable[[], GraphRun], context: ExecutionContext, afterwards: Afterwards) -> None:
        self._begin = begin
        self._context = context
        self._afterwards = afterwards
        self._run: GraphRun | None = None
        self._reader: ExecutionReader | None = None

    def _began(self) -> GraphRun:
        if self._run is None:
            self._run = self._begin()
            self._run._log.when_ended(self._afterwards.settle)
        return self._run

    async def _began_blocking(self) -> GraphRun:
        return self._began()

    @property
    def run(self) -> GraphRun | None:
        """The graph's run, None before the first step."""
        return self._run

    def events(self) -> ExecutionReader:
        """Begin, and read from the beginning: one more reader, such as one that was cut off and comes again."""
        return ExecutionReader(self._began(), View(self._context), self._afterwards)

    def _mine(self) -> ExecutionReader:
        if self._reader is None:
            self._reader = self.events()
        return self._reader

    def __aiter__(self) -> AsyncIterator[Event]:
        return self._mine()

    def __iter__(self) -> Iterator[Event]:
        # Said to be synchronous, so that nothing of the user's is sent to an event loop that this blocks.
        drive(self._began_blocking())
        return self._mine()

    async def __anext__(self) -> Event:
        return await self._mine().__anext__()

    def __next__(self) -> Event:
        return next(iter(self))

    async def aclose(self) -> None:
        """Stop the run, and wait until it has stopped."""
        if self._run is not None:
            await self._run.aclose()

    def close(self) -> None:
        """Stop the run, and wait until it has stopped, blocking."""
        if self._run is not None:
            self._run.close()


class ExecutionReader(Reader[Event]):
    """A reader of an execution's events from the beginning; it keeps the run going, and raises its error at the end."""

    __slots__ = ("_afterwards", "_ready", "_run", "_view")

    def __init__(self, run: GraphRun, view: View, afterwards: Afterwards) -> None:
        super().__init__(run._log, run._mark_delivered)
        self._run = run
        self._view = view
        self._afterwards = afterwards
        self._ready: deque[Event] = deque()

    def _take(self) -> Event | Nothing:
        ready, log, shown = self._ready, self._log, self._view.shown
        while not ready:
            if self._position == len(log):
                return NOTHING
            event = log.event(self._position)
            self._position += 1
            if isinstance(event, Finished | Failed | Cancelled):
                self._afterwards.settle(log)  # whoever sees the end finds the context as the run left it
            shown(event, ready)
        return ready.popleft()

    async def aclose(self) -> None:
        """Stop the run, and wait until it has stopped."""
        await self._run.aclose()

    def close(self) -> None:
        """Stop the run, and wait until it has stopped, blocking."""
        self._run.close()


_HIDDEN = (CheckpointSaved, Draft, DraftDiscarded, MessageStart, StateUpdate)
"""What a run says besides; `graph.astream(…, stream_mode="events")` shows all of it."""

START_NAME = "START"


class View:
    """What is shown of a run's events, numbered anew from 0, because some are left out and the START node's are added.

    A fold of the log: the same for every reader, live and replayed.
    """

    __slots__ = ("_asked", "_context", "_count", "_nodes")

    def __init__(self, context: ExecutionContext) -> None:
        self._context = context
        self._count = 0
        self._nodes = 0
        self._asked: dict[tuple[object, ...], dict[str, Any]] = {}

    def shown(self, event: Event, onto: deque[Event]) -> None:
        """Put what is shown of one event onto `onto`."""
        if type(event) is Token:  # nearly always
            token: Event = text_said(Token, event.content, event.place)
            self._number(token, event.seconds, onto)
        elif isinstance(event, ExecutionStart):
            self._begin(event, onto)
        elif isinstance(event, MessageComplete):
            self._asked[event.ns, event.node_id] = {
                **{name: event.metadata[name] for name in ("model", "provider") if name in event.metadata},
                "tokens": None if event.usage is None else event.usage.output_tokens,
            }
        elif isinstance(event, NodeComplete):
            self._nodes += 1
            asked = self._asked.pop((event.ns, event.node_id), {})
            self._number(replace(event, place=_with(event.place, asked)), event.seconds, onto)
        elif isinstance(event, ExecutionComplete | ExecutionError):
            known = {"iterations": self._nodes, "trace_id": self._context.trace_id}
            self._number(replace(event, place=_with(event.place, known)), event.seconds, onto)
        elif not isinstance(event, _HIDDEN):
            self._number(event, event.seconds, onto)

    def _begin(self, event: ExecutionStart, onto: deque[Event]) -> None:
        about = {"graph_id": self._context.graph_id, "trace_id": self._context.trace_id}
        self._number(replace(event, place=_with(event.place, about)), event.seconds, onto)
        given = event.input if isinstance(event.input, Mapping) else {"input": event.input}
        start = replace(event.place, node_id=START_NAME)
        self._nodes += 1
        self._number(NodeStart(place=start), event.seconds, onto)
        known = _with(start, {"node_type": "start"})
        self._number(NodeComplete(place=known, output=given), event.seconds, onto)

    def _number(self, event: Event, seconds: float, onto: deque[Event]) -> None:
        if event.seq not in {-1, self._count}:
            event = replace(event, seq=-1)
        onto.append(event.stamped(seq=self._count, seconds=seconds, attempt=event.attempt))
        self._count += 1


def _with(place: Place, metadata: Mapping[str, Any]) -> Place:
    return replace(place, metadata={**place.metadata, **metadata})
