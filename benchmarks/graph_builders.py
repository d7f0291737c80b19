"""How each library makes and runs the graphs that are measured, in the way that its own documentation shows.

The nodes are the same functions everywhere, and so are the words that are said; the source of the words is each
library's own: here a thunk, in LangChain's libraries a chat model, in Mesh a node that emits. A library is imported by
its own class alone. What one does not have is `Absent`.
"""

from __future__ import annotations

import asyncio
import operator
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, NamedTuple, NoReturn, TypedDict

from answering import Absent

State = dict[str, Any]
Run = Callable[[], Awaitable[int]]
"""Runs a graph once, and returns how many nodes ran."""
PROMPT = Path(__file__).with_name("say.yaml")
LIMIT = 10_000
"""More steps than any graph here takes."""


class Reading(NamedTuple):
    """How the words of a graph are read: what begins it, and the text of each thing that comes."""

    begin: Callable[[], AsyncIterator[Any]]
    text: Callable[[Any], str]


async def at_once(state: State) -> State:
    """A node that does next to nothing."""
    return {"x": 1}


async def waiting(state: State) -> State:
    """The same, but it waits a millisecond, as for a server that is near."""
    await asyncio.sleep(0.001)
    return {"x": 1}


def plain(state: State) -> State:
    """The same, not asynchronous."""
    return {"x": 1}


WORK: dict[str, Callable[..., Any]] = {"at once": at_once, "waiting": waiting, "plain": plain}


class Graphs:
    """What a library does here."""

    def chain(self, work: str, length: int) -> Run:
        """Make a chain of nodes, each after the one before."""
        names = [f"n{i}" for i in range(length)]
        return self.graph(work, names, [names[0]], pairwise(names))

    def step(self, work: str, count: int) -> Run:
        """Make a graph of so many nodes that all may run at once."""
        names = [f"n{i}" for i in range(count)]
        return self.graph(work, names, names, ())

    def graph(self, work: str, names: Sequence[str], first: Sequence[str], edges: Iterable[tuple[str, str]]) -> Run:
        """Make a graph of nodes that do the same work; `first` are those at the start."""
        raise NotImplementedError

    def model(self, words: Iterable[str]) -> Reading:
        """Make a graph in which a model says the words."""
        raise NotImplementedError

    def node(self, words: Iterable[str]) -> Reading:
        """Make a graph in which the code of a node says the words."""
        raise NotImplementedError

    def prompt(self, words: Iterable[str]) -> Reading:
        """Ask a model with a prompt file, without a graph."""
        raise NotImplementedError


# --- this library, and LangGraph ------------------------------------------------------------------------------------


class Kept(TypedDict, total=False):
    """How many nodes ran, and what a model said."""

    x: Annotated[int, operator.add]
    output: str


class Verbs(Graphs):
    """Graphs that are made with LangGraph's verbs: its own, and this library's."""

    def __init__(
        self, state_graph: Callable[[Any], Any], get_stream_writer: Callable[[], Callable[[Any], None]]
    ) -> None:
        self._state_graph, self._get_stream_writer = state_graph, get_stream_writer

    def graph(self, work: str, names: Sequence[str], first: Sequence[str], edges: Iterable[tuple[str, str]]) -> Run:
        graph = self._state_graph(Kept)
        for name in names:
            graph.add_node(name, WORK[work])
        for name in first:
            graph.add_edge("__start__", name)
        for before, after in edges:
            graph.add_edge(before, after)
        compiled = graph.compile()

        async def run() -> int:
            return int((await compiled.ainvoke({}, {"recursion_limit": LIMIT}))["x"])

        return run

    def node(self, words: Iterable[str]) -> Reading:
        async def say(state: State) -> State:
            write = self._get_stream_writer()
            for word in words:
                write(word)
            return {}

        return self._said(say, "custom", str)

    def _said(self, say: Callable[..., Any], mode: str, text: Callable[[Any], str]) -> Reading:
        graph = self._state_graph(Kept)
        graph.add_node("say", say)
        graph.add_edge("__start__", "say")
        compiled = graph.compile()
        return Reading(lambda: compiled.astream({}, stream_mode=mode), text)


class Ours(Verbs):
    """This library."""

    def __init__(self) -> None:
        from mellea_like import StateGraph, get_stream_writer

        super().__init__(StateGraph, get_stream_writer)

    def model(self, words: Iterable[str]) -> Reading:
        from measure import said

        from mellea_like import ModelOutputThunk

        return self._said(lambda state: ModelOutputThunk[str].start(said(words)), "messages", lambda c: c[1].content)

    def prompt(self, words: Iterable[str]) -> Reading:
        from measure import said

        from mellea_like import Backend, Request, execute_prompt_streaming
        from mellea_like.events import Said

        class Speaking(Backend):
            name = "speaking"

            def stream(self, request: Request) -> AsyncGenerator[Said, None]:
                return said(words)

        return Reading(lambda: execute_prompt_streaming(PROMPT, backend=Speaking()), str)


class LangGraph(Verbs):
    """LangGraph; its model is LangChain's."""

    def __init__(self) -> None:
        from langgraph.config import get_stream_writer
        from langgraph.graph import StateGraph

        super().__init__(StateGraph, get_stream_writer)

    def model(self, words: Iterable[str]) -> Reading:
        speaking = chat_model(words)

        async def say(state: State) -> State:
            await speaking.ainvoke("Say something.")
            return {}

        return self._said(say, "messages", lambda shown: shown[0].content)

    def prompt(self, words: Iterable[str]) -> NoReturn:
        raise Absent("it has no prompt files")


def chat_model(words: Iterable[str]) -> Any:
    """Make a chat model of LangChain's that says the words as fast as they are taken."""
    from langchain_core.language_models.chat_models import BaseChatModel
    from langchain_core.messages import AIMessageChunk
    from langchain_core.outputs import ChatGenerationChunk

    class Speaking(BaseChatModel):
        _llm_type = "speaking"

        def _stream(self, *asked: Any, **more: Any) -> Iterator[ChatGenerationChunk]:
            return (ChatGenerationChunk(message=AIMessageChunk(content=word)) for word in words)

        async def _astream(self, *asked: Any, **more: Any) -> AsyncIterator[ChatGenerationChunk]:
            for word in words:
                yield ChatGenerationChunk(message=AIMessageChunk(content=word))

        def _generate(self, *asked: Any, **more: Any) -> NoReturn:
            raise AssertionError("it was not asked to stream")

    return Speaking()


# --- Mesh -----------------------------------------------------------------------------------------------------------


class Mesh(Graphs):
    """Mesh, which runs one node at a time, and looks each 10 ms whether a node that says nothing has ended."""

    def graph(self, work: str, names: Sequence[str], first: Sequence[str], edges: Iterable[tuple[str, str]]) -> Run:
        from mesh import StateGraph

        graph = StateGraph()
        for name in names:
            graph.add_node(name, WORK[work], node_type="tool")
        graph.set_entry_point(first[0])
        for before, after in (*(("START", name) for name in first[1:]), *edges):
            graph.add_edge(before, after)
        begin = self._begin(graph)

        async def run() -> int:
            return sum([event.output == {"x": 1} async for event in begin() if event.type == "data-node-complete"])

        return run

    def model(self, words: Iterable[str]) -> NoReturn:
        raise Absent("its models need `vel`, which is not among its packages")

    def node(self, words: Iterable[str]) -> Reading:
        from mesh import StateGraph
        from mesh.core.events import EventType, ExecutionEvent
        from mesh.nodes.base import BaseNode, NodeResult

        class Saying(BaseNode):
            async def _execute_impl(self, input: Any, context: Any) -> NodeResult:  # noqa: A002  (its name)
                for word in words:
                    await context.emit_event(ExecutionEvent(type=EventType.TEXT_DELTA, node_id=self.id, delta=word))
                return NodeResult(output={})

        graph = StateGraph()
        graph.add_node("say", Saying("say"))
        graph.set_entry_point("say")
        return Reading(self._begin(graph), lambda event: event.delta or "")

    def prompt(self, words: Iterable[str]) -> NoReturn:
        raise Absent("it has no prompt files")

    def _begin(self, graph: Any) -> Callable[[], AsyncIterator[Any]]:
        from mesh import ExecutionContext, Executor

        executor = Executor(graph.compile(), max_iterations=LIMIT)
        return lambda: executor.execute("", ExecutionContext(graph_id="graph", session_id="session"))


# --- yamlgraph ------------------------------------------------------------------------------------------------------


class Yamlgraph(Graphs):
    """yamlgraph, which compiles YAML to LangGraph; the functions of its nodes are synchronous."""

    def __init__(self) -> None:
        import yaml

        self._dump = yaml.safe_dump
        self._folder = TemporaryDirectory()
        self._files = 0

    def graph(self, work: str, names: Sequence[str], first: Sequence[str], edges: Iterable[tuple[str, str]]) -> Run:
        from yamlgraph import load_and_compile
        from yamlgraph.executor_async import run_graph_async

        if work != "plain":
            raise Absent("the functions of its nodes are synchronous")
        path = self._written(
            state={"x": {"type": "int", "reducer": "add"}},
            tools={"work": {"type": "python", "module": __name__, "function": plain.__name__}},
            nodes={name: {"type": "python", "tool": "work"} for name in names},
            edges=[{"from": "START", "to": list(first)}, *({"from": a, "to": b} for a, b in edges)],
        )
        compiled = load_and_compile(path).compile()

        async def run() -> int:
            return int((await run_graph_async(compiled, {}, {"recursion_limit": LIMIT}))["x"])

        return run

    def model(self, words: Iterable[str]) -> Reading:
        from yamlgraph.executor_async import run_graph_streaming_native

        self._serve(words)
        path = self._written(
            prompts_dir=str(PROMPT.parent),
            nodes={"say": {"type": "llm", "prompt": PROMPT.stem, "state_key": "said"}},
            edges=[{"from": "START", "to": "say"}],
        )
        return Reading(lambda: run_graph_streaming_native(path, {}, yield_events=False), str)

    def node(self, words: Iterable[str]) -> NoReturn:
        raise Absent("what the code of a node says is not streamed")

    def prompt(self, words: Iterable[str]) -> Reading:
        from yamlgraph.executor_async import execute_prompt_streaming

        self._serve(words)
        return Reading(lambda: execute_prompt_streaming(PROMPT.stem, prompts_dir=PROMPT.parent), str)

    def _serve(self, words: Iterable[str]) -> None:
        """Let a model that says the words stand in for every provider's."""
        from yamlgraph.utils import llm_factory

        llm_factory.dispatch_provider = lambda *asked, **more: chat_model(words)
        llm_factory.clear_cache()

    def _written(self, **graph: Any) -> str:
        self._files += 1
        path = Path(self._folder.name, f"{self._files}.yaml")
        path.write_text(self._dump({"version": "1.0", "name": path.stem, **graph}))
        return str(path)


OPENINGS: dict[str, Callable[[], Graphs]] = {
    "this library": Ours,
    "LangGraph": LangGraph,
    "Mesh": Mesh,
    "yamlgraph": Yamlgraph,
}
