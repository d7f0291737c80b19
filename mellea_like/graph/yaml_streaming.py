"""`create_streaming_node`: a node as a function whose call can be iterated over, token by token."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, MutableMapping
from inspect import isawaitable
from typing import Any, TypedDict

from ..backends import Backend
from ..errors import InvalidArgument, unknown_name
from ..prompts.asking import PromptStream, execute_prompt_streaming
from .yaml_reading import resolved


class StreamingNodeConfig(TypedDict, total=False):
    """What `create_streaming_node` is given about the node (`max_tokens` in tokens); see there."""

    prompt: str
    state_key: str
    variables: Mapping[str, Any]
    on_token: Callable[[str], Any]
    provider: str
    model: str
    temperature: float
    max_tokens: int
    prompts_dir: str
    graph_path: str
    backend: Backend
    output_model: type[Any]
    stream: bool
    type: str


_PASSED = ("provider", "model", "temperature", "prompts_dir", "graph_path", "backend", "output_model")


class StreamingNode:
    """A node that is called with a state and streams its answer; `create_streaming_node` makes one."""

    def __init__(self, name: str, config: StreamingNodeConfig) -> None:
        unknown = config.keys() - StreamingNodeConfig.__annotations__.keys()
        if unknown:
            raise unknown_name(f"key of the node {name!r} called", min(unknown), StreamingNodeConfig.__annotations__)
        if "prompt" not in config:
            raise InvalidArgument(f"The node {name!r} needs a `prompt`.")
        self.name = self.__name__ = name
        self.config = config

    def __call__(self, state: Mapping[str, Any]) -> NodeTokens:
        """Start the answer, and return an iterator over its tokens."""
        config = self.config
        variables = resolved(config["variables"], state, ()) if "variables" in config else state
        passed: dict[str, Any] = {name: value for name, value in config.items() if name in _PASSED}
        if "max_tokens" in config:
            passed["model_options"] = {"max_tokens": config["max_tokens"]}
        stream = execute_prompt_streaming(config["prompt"], dict(variables), **passed)
        return NodeTokens(stream, state, state_key=config.get("state_key"), on_token=config.get("on_token"))

    async def run(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Run to the end, and return what changes: what a graph does with the node, `graph.add_node(node)`."""
        async with self(state) as tokens:
            async for _ in tokens:
                pass
        return tokens.update

    def __repr__(self) -> str:
        return f"StreamingNode({self.name!r})"


class NodeTokens(PromptStream[Any]):
    """The tokens of a node's answer, while it is written.

    When the last one is read, the answer is in `update`, and in the state that the node was called with.
    """

    __slots__ = ("_on_token", "_state", "_state_key", "update")

    def __init__(
        self,
        stream: PromptStream[Any],
        state: Mapping[str, Any],
        *,
        state_key: str | None,
        on_token: Callable[[str], Any] | None,
    ) -> None:
        super().__init__(stream.thunk)
        self._state, self._state_key, self._on_token = state, state_key, on_token
        self.update: dict[str, Any] = {}

    def __aiter__(self) -> AsyncIterator[str]:
        return self

    def __iter__(self) -> Iterator[str]:
        return self

    async def __anext__(self) -> str:
        try:
            token = await self._reader.__anext__()
            if self._on_token is not None and isawaitable(said := self._on_token(token)):
                await said
        except StopAsyncIteration:
            self._write()
            raise
        finally:
            del self  # a kept traceback keeps its frames, and they would keep the thunk
        return str(token)

    def __next__(self) -> str:
        try:
            token = next(self._reader)
            if self._on_token is not None:
                self._on_token(token)
        except StopIteration:
            self._write()
            raise
        finally:
            del self
        return str(token)

    def _write(self) -> None:
        if self._state_key is None:
            return
        self.update = {self._state_key: self.thunk.parsed}
        if isinstance(self._state, MutableMapping):
            self._state.update(self.update)


def create_streaming_node(name: str, config: StreamingNodeConfig) -> StreamingNode:
    """Make a node that streams: call it with a state, and iterate over the tokens of its answer.

    When the last token is read, the answer is written into the state that it was called with, where that can be
    written to, under `state_key`; it is also in `update`, a dict such as a graph's node returns.

    Args:
        name: The node's name.
        config: The node as a graph file has it: `prompt`; `state_key`; `variables`, such as `{"name": "{state.user}"}`
            (without them the whole state fills the prompt); `provider`, `model`, `temperature`, `max_tokens` in
            tokens. Besides, `on_token` is a function that is called with each token before it is given on;
            `prompts_dir`, `graph_path`, `backend` and `output_model` are as for `execute_prompt_streaming`.

    Returns:
        A function of the state whose result is an iterator, for `async for` and for `for`.

    Raises:
        UnknownName: there is no such key.
        InvalidArgument: there is no `prompt`.

    Example:
        ```python
        import tempfile
        from pathlib import Path
        from mellea_like import FakeBackend, create_streaming_node

        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "greet.yaml").write_text("user: Greet {name}.")
            config = {"prompt": "greet", "state_key": "greeting", "prompts_dir": folder}
            node = create_streaming_node("generate", {**config, "backend": FakeBackend(answers="Hello, World!")})
            state = {"name": "World"}
            print(list(node(state)), state["greeting"])
        ```

    Source: yamlgraph's `create_streaming_node`.
    """
    return StreamingNode(name, config)
