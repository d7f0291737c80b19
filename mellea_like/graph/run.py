"""A graph's run as a value: one log, of which any number of readers show what they are asked for.

A run is a thunk whose `parsed` is the state that the graph came to: it can be awaited, read from any loop and thread,
cancelled, and it stops when nobody can read it any more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Sequence
from typing import Any, Self

from ..closing import Closing
from ..engine import Run
from ..events import Said
from ..log import Log
from ..readers import NOTHING, Nothing, Reader
from ..thunk import ModelOutputThunk
from .events import ExecutionComplete, InterruptEvent
from .modes import View


class GraphRun(ModelOutputThunk[dict[str, Any]]):
    """A run of a graph: `await run` for its end, `run.parsed` for the state, `run.stream(mode)` for what happens.

    Example:
        ```python
        from mellea_like import StateGraph

        graph = StateGraph()
        graph.add_node("greet", lambda state: {"greeting": f"Hello, {state['name']}!"})
        graph.set_entry_point("greet")
        run = graph.compile().start({"name": "Ana"})
        print(list(run.stream("updates")), run.result().parsed)
        ```
    """

    __slots__ = ()

    @classmethod
    def of(cls, log: Log, source: AsyncGenerator[Said, None]) -> Self:
        """Start a run that writes `log` from `source`."""
        return cls(log, Run(log, source))

    @property
    def interrupts(self) -> tuple[InterruptEvent, ...]:
        """The questions that the run waits with; none while it runs, and where it is through."""
        end = self._log.end
        return end.interrupts if isinstance(end, ExecutionComplete) else ()

    def stream(self, stream_mode: str | Sequence[str] = "updates", *, subgraphs: bool = False) -> StreamReader:
        """Read the run from its beginning; see `CompiledGraph.stream`. Any number of readers, of whichever modes.

        Args:
            stream_mode: One mode, or several.
            subgraphs: Whether what subgraphs do is shown too, tagged with its namespace.

        Raises:
            UnknownName: there is no such mode.
        """
        return StreamReader(self, View(stream_mode, subgraphs=subgraphs))


class StreamReader(Reader[Any], Closing):
    """What a graph's run shows: an iterator for `for` and for `async for`, from the beginning.

    Closing it stops the run, and so does dropping the last reader. After everything that came, the run's error is
    raised.
    """

    __slots__ = ("_ready", "_view", "run")

    def __init__(self, run: GraphRun, view: View) -> None:
        super().__init__(run._log, run._mark_delivered)
        self.run = run
        self._view = view
        self._ready: deque[Any] = deque()

    def _take(self) -> Any | Nothing:
        if self._ready:
            return self._ready.popleft()
        log, shown = self._log, self._view.shown
        while self._position < len(log):
            event = log.event(self._position)
            self._position += 1
            if items := shown(event):
                first, *rest = items
                self._ready.extend(rest)
                return first
        return NOTHING

    async def aclose(self) -> None:
        """Stop the run, and wait until it has stopped; what `async with reader:` does at its end."""
        await self.run.aclose()

    def close(self) -> None:
        """Stop the run, and wait until it has stopped, blocking; what `with reader:` does at its end."""
        self.run.close()
