"""The nodes of graph files, as functions of the state; one for each type.

What all of them share (`requires`, `skip_if_exists`, `on_error`, `state_key`) is in `YamlNode`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import partial
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ..agent import start_react
from ..backends import Backend
from ..context import SimpleContext
from ..engine import in_worker
from ..errors import Interrupted, InvalidArgument, InvalidUpdate, MelleaError, OutputParseError, unknown_name
from ..home import is_async
from ..partial.growing_answer import json_in
from ..prompts.asking import execute_prompt_streaming, options_for, served
from ..prompts.loading import Prompt
from ..session.functional import awaited
from .commands import Command
from .now import interrupt
from .yaml_reading import GraphFile, resolved

if TYPE_CHECKING:
    from .yaml_form import NodeForm

State: TypeAlias = Mapping[str, Any]
Work: TypeAlias = Callable[[State], Awaitable[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """What the nodes of one file are made with: the file, a backend over what it names, its tools and subgraphs."""

    file: GraphFile
    backend: Backend | None = None
    tools: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    graphs: Mapping[str, Any] = field(default_factory=dict)
    known: frozenset[str] = frozenset()

    def tool(self, name: str) -> Callable[..., Any]:
        """Return a tool of the file's by its name."""
        if name not in self.tools:
            raise unknown_name("tool", name, self.tools)
        return self.tools[name]

    def resolve(self, value: Any, state: State) -> Any:
        """Return a value with what it names in the state."""
        return resolved(value, state, self.known)


class YamlNode:
    """A node of a graph file, as the function that the graph runs."""

    def __init__(self, name: str, form: NodeForm, shop: Shop) -> None:
        self.name, self.form, self.shop = name, form, shop
        self._work: Work = _MAKERS[form.type](self)

    async def __call__(self, state: State) -> Any:
        """Run on a state and return what of it changes."""
        if self._is_done(state):
            return self._done_before(state)
        if self.form.on_error != "skip":
            return self._update(await self._work(state))
        try:
            return self._update(await self._work(state))
        except Interrupted:
            raise
        except Exception as error:  # the file says that whatever fails here, tools of the user's too, is passed over
            passed = {"errors": [f"{self.name}: {type(error).__name__}: {error}"]}
            if self.form.type != "router":
                return passed
            if self.form.default_route is None:  # it would go nowhere
                raise
            return Command(update=passed, goto=self.form.default_route)

    def _done_before(self, state: State) -> Any:
        """Change nothing; a router goes where the answer that is there leads."""
        if self.form.type != "router" or self.form.state_key is None:
            return {}
        return Command(goto=_route_named(self, state[self.form.state_key], self.form.routes or {}))

    @property
    def function(self) -> Callable[[State], Any]:
        """What the graph runs: where a node only asks a model, what starts that and leaves the waiting to the graph."""
        form = self.form
        plain = form.type == "llm" and form.state_key is not None and not form.parse_json
        return self._started if plain and form.fallback is None and form.on_error != "skip" else self

    def _started(self, state: State) -> Any:
        """Start the answer; its thunk takes the place of the value in what changes."""
        if self._is_done(state):
            return {}
        prompt = self.prompt()
        stream = execute_prompt_streaming(prompt, self.variables(state), **self.asked(prompt))
        return {self.form.state_key: stream.thunk}

    def _is_done(self, state: State) -> bool:
        """Whether there is nothing left to do; what the node requires is there."""
        key = self.form.state_key
        if self.form.skip_if_exists and key is not None and state.get(key) is not None:
            return True
        missing = [name for name in self.form.requires if state.get(name) is None]
        if missing:
            raise InvalidArgument(f"The node {self.name!r} requires {missing[0]!r}, which the state does not hold.")
        return False

    def _update(self, result: Any) -> Any:
        if isinstance(result, _Update):
            return result.said
        key = self.form.state_key
        if key is not None and not (isinstance(result, Mapping) and key in result):
            return {key: result}
        if result is None or isinstance(result, Mapping):
            return result
        raise InvalidUpdate(
            f"The node {self.name!r} came to {result!r}, and has no `state_key` to write it to.", node=self.name
        )

    # --- what several types do ------------------------------------------------------------------------------------

    def variables(self, state: State) -> Mapping[str, Any]:
        """Return what the node's prompt or tool is given: its `variables`, or the whole state."""
        if self.form.variables is None:
            return {key: value for key, value in state.items() if not key.startswith("_")}
        return dict(self.shop.resolve(self.form.variables, state))

    def prompt(self) -> Prompt:
        """Return the node's prompt."""
        return self.shop.file.prompt(self.form.prompt or "")

    def asked(self, prompt: Prompt) -> dict[str, Any]:
        """Return whom the prompt asks, and how: what the node says, else its prompt, else the file's defaults."""
        node, usual = self.form, self.shop.file.form.defaults
        open_to_all = node.provider is None and node.model is None and prompt.provider is None and prompt.model is None
        tokens = node.max_tokens or (usual.max_tokens if "max_tokens" not in prompt.model_options else None)
        return {
            "provider": usual.provider if open_to_all else node.provider,
            "model": usual.model if open_to_all else node.model,
            "temperature": _first(node.temperature, prompt.temperature, usual.temperature),
            "model_options": None if tokens is None else {"max_tokens": tokens},
            "backend": self.shop.backend,
        }

    async def answered(self, state: State, output_model: Any = None) -> Any:
        """Ask with the node's prompt; where that fails and the node has a `fallback`, ask that one."""
        prompt = self.prompt()
        ask = partial(execute_prompt_streaming, prompt, self.variables(state), output_model=output_model)
        asked = self.asked(prompt)
        try:
            answer = await awaited(ask(**asked).thunk)
        except MelleaError:
            fallback = self.form.fallback
            if fallback is None or self.form.on_error not in {None, "fallback"}:
                raise
            answer = await awaited(ask(**asked | {"provider": fallback.provider, "model": fallback.model}).thunk)
        return _as_json(answer.value) if self.form.parse_json else answer.parsed


@dataclass(frozen=True, slots=True, kw_only=True)
class _Update:
    """What goes into the state as it is, whatever the node's `state_key`."""

    said: Any


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _as_json(text: str) -> Any:
    try:
        return json.loads(json_in(text, words=False))
    except ValueError as error:
        raise OutputParseError(f"The answer is not JSON, as `parse_json` wants it: {error}.", text=text) from error


async def called(function: Callable[..., Any], *args: Any, **named: Any) -> Any:
    """Call one of the user's functions: an asynchronous one here, a synchronous one in a worker thread."""
    call = partial(function, *args, **named)
    result = call() if is_async(function) else await in_worker(call, context=copy_context())
    return await result if isawaitable(result) else result


# --- one maker for each type ------------------------------------------------------------------------------------------


def _llm(node: YamlNode) -> Work:
    return node.answered


def _router(node: YamlNode) -> Work:
    routes = node.form.routes or {}

    async def route(state: State) -> _Update:
        prompt = node.prompt()
        choice = Literal[tuple(routes)] if prompt.format is None else None
        answer = await node.answered(state, choice)
        update = {} if node.form.state_key is None else {node.form.state_key: answer}
        return _Update(said=Command(update=update, goto=_route_named(node, answer, routes)))

    return route


def _route_named(node: YamlNode, answer: Any, routes: Mapping[str, str]) -> str:
    """Return the node that an answer leads to."""
    field_name = node.form.route_field
    fields = answer if isinstance(answer, Mapping) else getattr(answer, "__dict__", {})
    names = [field_name] if field_name else ["intent", "tone", "route"]
    said = next((fields[name] for name in names if name in fields), None) if fields else answer
    key = str(said).strip()
    if key in routes:
        return routes[key]
    if node.form.default_route is not None:
        return node.form.default_route
    raise unknown_name(f"route of the router {node.name!r} called", key, routes, hint="Or give it a `default_route`.")


def _agent(node: YamlNode) -> Work:
    tools = [node.shop.tool(name) for name in node.form.tools or ()]

    async def act(state: State) -> Any:
        prompt = node.prompt()
        asked = node.asked(prompt)
        backend = asked["backend"] or served(prompt, asked["provider"], asked["model"])
        goal = prompt.filled(node.variables(state))
        how = {"temperature": asked["temperature"], "model_options": asked["model_options"]}
        budget = node.form.max_iterations
        thunk, _ = start_react(
            goal,
            SimpleContext(),
            backend,
            tools=tools,
            loop_budget=budget,
            wanted=prompt.format,
            model_options=options_for(prompt, backend, **how),
        )
        answer = await awaited(thunk)
        return _as_json(answer.value) if node.form.parse_json else answer.parsed

    return act


def _tool(node: YamlNode) -> Work:
    named, args = node.form.tool or "", node.form.args

    async def call(state: State) -> Any:
        function = node.shop.tool(str(node.shop.resolve(named, state)))
        if args is None and node.form.variables is None:
            return await called(function, dict(state))
        given = node.variables(state) if args is None else node.shop.resolve(args, state)
        if not isinstance(given, Mapping):
            raise InvalidArgument(f"`args` of the node {node.name!r} is {given!r}; it must be arguments by name.")
        return await called(function, **given)

    return call


def _map(node: YamlNode) -> Work:
    form = node.form
    inner_form, item_key, collect = form.node, form.as_, form.collect
    if inner_form is None or item_key is None or collect is None:  # the form has checked that
        raise InvalidArgument(f"The map {node.name!r} needs `node`, `as` and `collect`.")
    inner = YamlNode(f"{node.name}.node", inner_form, node.shop)
    result_key = inner_form.state_key

    async def one(state: State, item: Any, at: int) -> Any:
        update = await inner({**state, item_key: item, "_map_index": at})
        return update[result_key] if result_key is not None and result_key in (update or {}) else update

    async def each(state: State) -> _Update:
        items = node.shop.resolve(form.over, state)
        if not isinstance(items, list | tuple):
            raise InvalidArgument(f"The map {node.name!r} goes over {form.over!r}, which is {items!r} and no list.")
        try:
            async with asyncio.TaskGroup() as group:
                taken = items[: form.max_items]
                running = [group.create_task(one(state, item, at)) for at, item in enumerate(taken)]
        except BaseExceptionGroup as several:  # the first that failed; the others were stopped for it
            first = several.exceptions[0]
            raise first from None
        return _Update(said={collect: [task.result() for task in running]})

    return each


def _subgraph(node: YamlNode) -> Work:
    graph = node.shop.graphs[node.form.graph or ""]
    inside, outside = node.form.input_mapping, node.form.output_mapping

    async def descend(state: State) -> Any:
        given = {k: v for k, v in state.items() if not k.startswith("_")} if inside is None else None
        result = await graph.ainvoke(node.shop.resolve(inside, state) if given is None else given)
        shown = {key: value for key, value in result.items() if not key.startswith("_")}
        if outside is not None:
            return _Update(said={key: shown.get(inner) for key, inner in outside.items()})
        return shown if node.form.state_key is not None else _Update(said=_changed(shown, state, node.shop.known))

    return descend


def _changed(result: State, state: State, known: frozenset[str]) -> dict[str, Any]:
    """Return what a subgraph changed of the keys that its caller has too."""
    return {key: value for key, value in result.items() if key in known and state.get(key) != value}


def _interrupt(node: YamlNode) -> Work:
    form = node.form

    async def ask(state: State) -> _Update:
        question = node.shop.resolve(form.message, state) if form.prompt is None else await node.answered(state)
        answer = interrupt(question)
        key = form.resume_key or form.state_key
        written = {} if key is None else {key: answer}
        if form.state_key is not None and form.state_key != key:
            written[form.state_key] = question
        return _Update(said=written)

    return ask


def _passthrough(node: YamlNode) -> Work:
    async def passed(state: State) -> _Update:
        return _Update(said=node.shop.resolve(node.form.output or {}, state))

    return passed


_MAKERS: Mapping[str, Callable[[YamlNode], Work]] = {
    "llm": _llm,
    "router": _router,
    "agent": _agent,
    "python": _tool,
    "tool": _tool,
    "tool_call": _tool,
    "map": _map,
    "subgraph": _subgraph,
    "interrupt": _interrupt,
    "passthrough": _passthrough,
}
