"""The node `agent`: a model that uses tools until it knows the answer."""

from __future__ import annotations

from typing import Any

from ...agent import start_react
from ...content import Message
from ...context import SimpleContext
from ...thunk import ModelOutputThunk
from ..now import Now
from ..state import StateForm
from .llm import Conversation, backend_of, conversation, options_of, started


async def agent(now: Now, form: StateForm) -> ModelOutputThunk[Any]:
    """Start the node's agent: the settings of `llm`, with `tools`, `loop_budget` (turns), `confirm`; see `react`."""
    return await started(now, lambda: _begun(now, form))


def _begun(now: Now, form: StateForm) -> ModelOutputThunk[Any]:
    config = now.spec.config
    messages = conversation(now, form)
    if config.get("system_prompt"):
        messages = [Message("system", config["system_prompt"]), *messages]
    rest = {key: config[key] for key in ("loop_budget", "confirm", "native") if key in config}
    return start_react(
        Conversation(messages),
        SimpleContext(),
        backend_of(now),
        tools=config.get("tools") or (),
        wanted=config.get("format"),
        model_options={name: value for name, value in options_of(now).items() if "system" not in str(name)},
        **rest,
    )[0]
