"""The node `llm`: asks a model, and writes its answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ...backends import Backend
from ...content import Message
from ...context import SimpleContext
from ...errors import UnsupportedEventLoop
from ...options import ModelOption
from ...parts import text_of
from ...providers import provider_backend
from ...session.functional import begin, prepare
from ...template import render
from ...thunk import ModelOutputThunk
from ..calling import joined
from ..now import Now
from ..outcomes import has_messages
from ..spec import START
from ..state import MESSAGES, StateForm


class Conversation:
    """Messages, said as they are."""

    def __init__(self, messages: Sequence[Message]) -> None:
        self._messages = tuple(messages)

    def parts(self) -> Iterable[object]:
        """Give the messages."""
        return self._messages

    def messages(self) -> Sequence[Message]:
        """Give the messages."""
        return self._messages


async def llm(now: Now, form: StateForm) -> ModelOutputThunk[Any]:
    """Start the node's generation; see `StateGraph.add_node` for `model`, `provider` and `system_prompt`.

    Further settings: `prompt` (a Jinja template of the state, in place of the conversation), `temperature`,
    `max_tokens`, `model_options`, `format`, `requirements`, `strategy`, `on_failure`, `state_key`.
    """
    return await started(now, lambda: _begun(now, form))


def _begun(now: Now, form: StateForm) -> ModelOutputThunk[Any]:
    config = now.spec.config
    judged = {key: config[key] for key in ("format", "requirements", "strategy", "on_failure") if key in config}
    backend = backend_of(now)
    said = Conversation(conversation(now, form))
    return begin(prepare(said, SimpleContext(), backend, model_options=options_of(now), **judged))[0]


async def started(now: Now, start: Callable[[], ModelOutputThunk[Any]]) -> ModelOutputThunk[Any]:
    """Start a generation where the run was called from: what it calls of the user's later runs there too."""
    begun: list[ModelOutputThunk[Any]] = []

    def starting() -> None:
        begun.append(start())

    async def astarting() -> None:
        starting()

    try:
        try:
            await now.ask(astarting if now.home.awaits else starting)
        except UnsupportedEventLoop:  # it was blocked, or ended, just then
            await now.ask(starting)
    except BaseException:  # a mistake in the call, or a cancellation; both go on as they are
        for thunk in begun:
            await thunk.cancel()
        raise
    return begun[0]


def backend_of(now: Now) -> Backend:
    """Return the backend of a node: that of its provider and model; without either, the run's, or the default one."""
    model, provider = now.spec.config.get("model"), now.spec.config.get("provider")
    backend = now.spec.config.get("backend")
    if isinstance(backend, Backend):
        return backend
    if model is None and provider is None and now.running.backend is not None:
        return now.running.backend
    return provider_backend(provider, model)


def options_of(now: Now) -> Mapping[str, Any]:
    """Return the model options that a node's settings say."""
    config = now.spec.config
    options = dict(config.get("model_options") or {})
    if config.get("temperature") is not None:
        options[ModelOption.TEMPERATURE] = config["temperature"]
    if config.get("max_tokens") is not None:
        options[ModelOption.MAX_NEW_TOKENS] = config["max_tokens"]
    system = config.get("system_prompt")
    if system:
        options[ModelOption.SYSTEM_PROMPT] = system
    return options


def conversation(now: Now, form: StateForm) -> list[Message]:
    """Return what a model is told: the chat so far, then the node's `prompt`, the state's messages, or the input."""
    return [*now.running.settings.chat_history, *_said(now, form)]


def _said(now: Now, form: StateForm) -> Sequence[Message]:
    state = now.state if isinstance(now.state, Mapping) else {}
    prompt = now.spec.config.get("prompt")
    if prompt is not None:
        return (Message("user", render(prompt, {**now.running.settings.variables, **state})),)
    if has_messages(now, form) and state.get(MESSAGES):
        messages: Sequence[Message] = state[MESSAGES]
        return messages
    before = {name: came for name, came in now.inputs.items() if name != START}
    if before:
        return (Message("user", _text(joined(now))),)
    return (Message("user", _text(state.get("input", now.state))),)


def _text(came: Any) -> str:
    """Return what a node came to as text: an answer's own, else as a dict reads."""
    if isinstance(came, Mapping):
        for name in ("content", "output", "input"):
            if isinstance(came.get(name), str):
                return str(came[name])
        return "\n\n".join(f"{name}:\n{_text(value)}" for name, value in came.items())
    return text_of(came)
