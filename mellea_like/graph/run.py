"""A graph's run as a value: one log, of which any number of readers show what they are asked for.

A run is a thunk whose `parsed` is the state that the graph came to: it can be awaited, read from any loop and thread,
cancelled, and it stops when nobody can read it any more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Generator, Sequence
from typing import TYPE_CHECKING, Any, Self

from ..closing import Closing
from ..engine import Run
from ..events import Said
from ..log import Log
from ..readers import NOTHING, Nothing, Reader
from ..thunk import ComputedModelOutputThunk, ModelOutputThunk
from .events import ExecutionComplete, InterruptEvent
from .modes import View

if TYPE_CHECKING:
    from .picture import RunPicture


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
    def begun(cls, log: Log, source: AsyncGenerator[Said, None]) -> Self:
        """Start a run that writes `log` from `source`."""
        return cls(log, Run(log, source))

    def __await__(self) -> Generator[Any, Any, ComputedGraphRun]:
        return self._computed().__await__()

    async def _computed(self) -> ComputedGraphRun:
        ending = super()._computed()
        del self  # a kept traceback keeps its frames, and they would keep the run
        return ComputedGraphRun((await ending)._log)

    def result(self, timeout: float | None = None) -> ComputedGraphRun:
        """Wait for the end, blocking this thread, and return the computed run; see `ModelOutputThunk.result`.

        Args:
            timeout: Seconds to wait; None waits for the end.

        Raises:
            ResultTimeout: it still runs after `timeout` seconds; it goes on.
            MelleaError: what the run failed with.
        """
        log = self._log
        try:
            super().result(timeout)
        finally:
            del self
        return ComputedGraphRun(log)

    def _picture(self, *, events: bool = True) -> RunPicture:
        from .picture import RunPicture

        picture = RunPicture(self._log, events=events)
        picture.look()
        return picture

    def __repr__(self) -> str:
        told = self._picture().line()
        return f"<{type(self).__name__} {self.state}{f': {told}' if told else ''}>"

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


class ComputedGraphRun(GraphRun, ComputedModelOutputThunk[dict[str, Any]]):
    """A run that has come to its end: what `await run` gives."""

    __slots__ = ()


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
