"""The node `router`: chooses where it goes on, by a function, or by asking a model to choose."""

from __future__ import annotations

from typing import Any, Literal

from ...content import Message
from ...context import SimpleContext
from ...errors import GraphInvalid
from ...session.functional import begin, prepare
from ...thunk import ModelOutputThunk
from ..now import Now
from ..outcomes import Outcome, computed
from ..state import StateForm
from .function import chosen, condition
from .llm import Conversation, backend_of, conversation, options_of, started


async def router(now: Now, form: StateForm) -> Outcome:
    """Choose one of the node's `routes` (choices to nodes): by its function, else by asking the model of the node."""
    if callable(now.spec.function):
        return await condition(now, form)
    routes = now.spec.config.get("routes")
    if not routes:
        raise GraphInvalid(f"The router {now.spec.name!r} has neither a function nor `routes`.", node=now.spec.name)
    thunk = await started(now, lambda: _begun(now, form, tuple(routes)))
    choice = (await computed(now, thunk)).parsed
    return chosen(now, choice)


def _begun(now: Now, form: StateForm, routes: tuple[str, ...]) -> ModelOutputThunk[Any]:
    choice: Any = Literal[routes]
    messages = [
        *conversation(now, form),
        Message("user", f"Answer with one of these words, as JSON, and nothing else: {', '.join(routes)}."),
    ]
    call = prepare(
        Conversation(messages), SimpleContext(), backend_of(now), format=choice, model_options=options_of(now)
    )
    return begin(call)[0]
