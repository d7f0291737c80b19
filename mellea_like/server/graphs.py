"""Graphs that are served: what a conversation is to a graph, and what of its run is the answer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ..content import Message
from ..encoding.json_form import JSONForm
from ..errors import InvalidArgument, RequestRejected, WrongUse
from ..events import Cancelled, Delta, Event, Failed, Finished
from ..graph.compiled import CompiledGraph
from ..graph.events import ExecutionComplete, Token
from ..graph.spec import END, START, GraphSpec
from ..graph.state import MESSAGES
from ..thunk import ModelOutputThunk
from .asked import Asked

_JSON = JSONForm()


class GraphAnswerer:
    """A compiled graph. It is given the conversation as the state's `messages`, and the last turn's text as `input`.

    Where its state has a form, only the keys that the form has are given.

    Args:
        graph: The graph.
        name: What `/v1/models` lists.
        input_key: The key that gets the last turn's text in place of `input`, for a graph about a `topic`, say; None
            for `input`.

    Raises:
        InvalidArgument: the state has none of these keys.
    """

    def __init__(self, graph: CompiledGraph, *, name: str, input_key: str | None = None) -> None:
        form = graph.spec.form
        wanted = (input_key,) if input_key is not None else (MESSAGES, "input")
        self._keys = [key for key in wanted if form.keys is None or form.has(key)]
        if not self._keys:
            raise InvalidArgument(
                f"The state of the graph {name!r} has no key {' or '.join(map(repr, wanted))}, so it cannot be given "
                f"what a chat says. Name the key for it, `--input-key KEY`: {', '.join(map(repr, form.names))}."
            )
        self._compiled = graph
        self.models = (name,)
        self.graph: Mapping[str, Any] = drawn(graph.spec)

    async def answer(self, asked: Asked) -> ModelOutputThunk[Any]:
        """Start a run; see `Answerer.answer`."""
        given = {key: list(asked.messages) if key == MESSAGES else asked.last for key in self._keys}
        try:
            return self._compiled.start(given)
        except WrongUse as error:  # the graph's mistake, not its client's
            raise RequestRejected(
                f"The graph that is served cannot run ({type(error).__name__}).", status=500, code="program_failed"
            ) from error

    async def aclose(self) -> None:
        """Do nothing: the graph opened nothing for the server."""


def drawn(spec: GraphSpec) -> dict[str, Any]:
    """Describe a graph for a page: its nodes and edges, and the node whose text is the answer while it grows."""
    pairs = [(source, target, False) for name in (START, *spec.nodes) for source, target in _leaving(spec, name)]
    edges = [(s, edge.target, edge.loop) for edge in spec.edges for s in edge.sources]
    listed = {(s, t): loop for s, t, loop in (*pairs, *edges)}
    return {
        "name": spec.name,
        "nodes": [{"name": node.name, "type": node.type} for node in spec.nodes.values()],
        "edges": [{"source": s, "target": t, "loop": loop} for (s, t), loop in listed.items()],
        "answer": answering_node(spec),
    }


def _leaving(spec: GraphSpec, name: str) -> list[tuple[str, str]]:
    return [(name, target) for target in spec.targets(name)]


def answering_node(spec: GraphSpec) -> str | None:
    """Return the node whose text can be sent while it grows; None where text has to wait for the run's end.

    It is the one node that the graph ends with, if nothing can make it take back what it said: a retry.
    """
    last = [name for name in spec.nodes if set(spec.targets(name)) <= {END}]
    return last[0] if len(last) == 1 and spec.nodes[last[0]].retry is None else None


class GraphText:
    """A run's events as a chat's: text as `Delta`, and the end. What was not sent while it grew is sent at the end.

    Args:
        live: The node whose text is sent while it grows; None sends all at the end.
    """

    def __init__(self, live: str | None) -> None:
        self._live = live
        self._sent = False

    def told(self, batch: Sequence[Event]) -> list[Event]:
        """Return what a chat is told of these events."""
        return [told for event in batch for told in self._of(event)]

    def _of(self, event: Event) -> list[Event]:
        if isinstance(event, Token):
            if self._live is None or (*event.ns, event.node_id)[0] != self._live:
                return []
            self._sent = True
            return [Delta(text=event.content, seq=event.seq)]
        if isinstance(event, ExecutionComplete) and not self._sent:
            return [Delta(text=answer_text(event), seq=event.seq), event]
        return [event] if isinstance(event, Finished | Failed | Cancelled) else []


def answer_text(end: ExecutionComplete) -> str:
    """Return what a run answers: what it asks somebody, else its last message, else what its last node came to."""
    if end.interrupts:
        return "\n".join(_as_text(asked.value) for asked in end.interrupts)
    messages = end.state.get(MESSAGES) or ()
    if messages and isinstance(messages[-1], Message) and messages[-1].role == "assistant":
        return messages[-1].content
    output = end.output
    if isinstance(output, Mapping) and len(output) == 1:
        output = next(iter(output.values()))
    return _as_text(output)


def _as_text(value: object) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, Message):
        return value.content
    return json.dumps(json.loads(_JSON.value(value)), ensure_ascii=False)
