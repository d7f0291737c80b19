"""A graph that can be run: streamed, awaited, resumed and drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from ..backends import Backend
from ..home import Home
from ..log import Log
from ..session.functional import awaited
from ..session.keeping import Keeping
from ..waiting import blocking
from .checkpoints import StateBackend
from .commands import Interrupt
from .drawing import mermaid
from .execution import events_of
from .modes import INTERRUPT, View
from .now import Running
from .run import GraphRun, StreamReader
from .settings import Settings
from .spec import GraphSpec

P = ParamSpec("P")
R = TypeVar("R")


def _synchronous(verb: Callable[P, R]) -> Callable[P, R]:
    """Derive the verb for synchronous code: asynchronous functions of its nodes then run in threads of their own.

    So it works inside a running event loop (a notebook's), which it blocks.
    """

    @wraps(verb)
    async def called(*args: P.args, **rest: P.kwargs) -> R:
        return verb(*args, **rest)

    return blocking(called)


class CompiledGraph:
    """A graph, checked and ready; `StateGraph.compile` and YAML files make one. Any number of runs may go on at once.

    Args:
        spec: The graph.
        checkpointer: Where runs are kept; None keeps none.
        backend: What nodes ask that name no model; None for the default one.
        recursion_limit: How many steps a run may take.
    """

    def __init__(
        self,
        spec: GraphSpec,
        *,
        checkpointer: StateBackend | None = None,
        backend: Backend | Keeping | None = None,
        recursion_limit: int = 1000,
    ) -> None:
        self.spec = spec
        self.checkpointer = checkpointer
        self.backend = backend.backend if isinstance(backend, Keeping) else backend
        self.recursion_limit = recursion_limit

    # --- running ----------------------------------------------------------------------------------------------------

    def start(self, given: Any, config: Mapping[str, Any] | None = None, *, context: Any = None) -> GraphRun:
        """Start a run and return it at once, to be awaited or read; see `stream`.

        Asynchronous functions in nodes run on the event loop that makes this call.
        """
        settings = Settings.of(config, context=context)
        log = Log()
        running = Running(
            log=log,
            home=Home(),
            settings=settings,
            checkpointer=settings.checkpointer or self.checkpointer,
            backend=settings.backend or self.backend,
            limit=settings.recursion_limit or self.recursion_limit,
        )
        return GraphRun.begun(log, events_of(running, self.spec, given))

    def astream(
        self,
        input: Any,  # noqa: A002  # LangGraph's name
        config: Mapping[str, Any] | None = None,
        *,
        stream_mode: str | Sequence[str] = "updates",
        subgraphs: bool = False,
        context: Any = None,
    ) -> StreamReader:
        """Run the graph, and show what happens while it does.

        Args:
            input: What the run begins with: a dict of state keys, or text, which becomes the key `input`. A
                `Command(resume=…)` answers a run that waits; None goes on with one that failed.
            config: `thread_id` (under which a run is kept; `{"configurable": {"thread_id": …}}` too),
                `recursion_limit`, `max_concurrency` (nodes at once), `backend`, `checkpointer`, `variables` and
                `chat_history`; whatever else is there, nodes can ask for.
            stream_mode: `"values"` (the whole state: the input, then after every step), `"updates"` (what each node
                wrote), `"messages"` (the text of models as it comes, as `("messages", chunk)` with `chunk.content`),
                `"custom"` (what nodes write with `get_stream_writer()`), `"tasks"`, `"debug"`, or `"events"`. Several,
                in a list, come as `(mode, what is shown)`.
            subgraphs: Whether what subgraphs do is shown in every mode, all tagged with its namespace. Their text and
                custom writing are shown without it too.
            context: Any object, for nodes that have a parameter `context` or `runtime`.

        Returns:
            An iterator for `async for` and for `for`. Closing or dropping it stops the run.

        Raises:
            UnknownName: there is no such mode.
            GraphError: a node failed, or the run came to nothing; raised to the reader, after everything that came.

        Example:
            ```python
            import asyncio
            from mellea_like import FakeBackend, StateGraph

            graph = StateGraph()
            graph.add_node("poet", node_type="llm", system_prompt="You are a poet.")
            graph.set_entry_point("poet")
            compiled = graph.compile(backend=FakeBackend(answers="Roses are red."))

            async def main():
                async for mode, chunk in compiled.astream("A poem, please.", stream_mode="messages"):
                    print(chunk.content, end="")

            asyncio.run(main())
            ```

        Source: LangGraph's `astream`.
        """
        view = View(stream_mode, subgraphs=subgraphs)
        return StreamReader(self.start(input, config, context=context), view)

    stream = _synchronous(astream)

    async def ainvoke(
        self,
        input: Any,  # noqa: A002  # LangGraph's name
        config: Mapping[str, Any] | None = None,
        *,
        context: Any = None,
    ) -> dict[str, Any]:
        """Run the graph and return the state that it comes to; see `astream` for the arguments.

        Returns:
            The state. Where the run waits for somebody, its questions are under `"__interrupt__"`.

        Raises:
            GraphError: a node failed, or the run came to nothing.
        """
        run = self.start(input, config, context=context)
        end = await awaited(run)
        waiting = tuple(Interrupt(value=asked.value, id=asked.id) for asked in run.interrupts)
        return {**end.parsed, INTERRUPT: waiting} if waiting else dict(end.parsed)

    invoke = blocking(ainvoke)

    # --- drawing ----------------------------------------------------------------------------------------------------

    def mermaid(self, *, direction: str = "TD") -> str:
        """Draw the graph as Mermaid text, which Markdown viewers show as a picture.

        Args:
            direction: `"TD"` (downwards), `"LR"` (to the right), `"BT"` or `"RL"`.
        """
        return mermaid(self.spec, direction=direction)

    def _repr_markdown_(self) -> str:
        return f"```mermaid\n{self.mermaid()}\n```"

    def __repr__(self) -> str:
        return f"<CompiledGraph {self.spec.name!r}: {', '.join(self.spec.nodes)}>"
