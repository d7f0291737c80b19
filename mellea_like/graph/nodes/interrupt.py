"""The node `interrupt`: asks somebody, and writes the answer."""

from __future__ import annotations

from ...template import render
from ..now import Now
from ..outcomes import Outcome, writing
from ..state import StateForm


async def ask(now: Now, form: StateForm) -> Outcome:
    """Ask `message` (a Jinja template of the state), and write the answer under `state_key` or `resume_key`."""
    config = now.spec.config
    question = config.get("message") or config.get("prompt") or f"{now.spec.name}?"
    if callable(now.spec.function):
        question = await now.ask(now.spec.function, form.view(now.state))
    elif isinstance(question, str) and "{" in question:
        question = await now.ask(render, question, dict(now.state))
    answer = now.answer(question)
    key = config.get("resume_key") or config.get("state_key") or "answer"
    return writing(form, now.spec.name, {key: answer})
