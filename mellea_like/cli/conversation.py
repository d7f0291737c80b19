"""A chat without its screen: a session, what is required of its answers, the tools, and the way back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..agent import react
from ..backends import Backend
from ..content import Message
from ..context import ChatContext, Context
from ..errors import InvalidArgument
from ..options import ModelOption
from ..requirement import Requirement
from ..sampling.rejection import RejectionSamplingStrategy
from ..session import MelleaSession
from ..thunk import ModelOutputThunk
from ..tools import Confirm, MelleaTool
from .settings import opened


@dataclass(slots=True, kw_only=True)
class Totals:
    """What a chat took so far, in tokens and seconds."""

    answers: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    ttfts: list[float] = field(default_factory=list)
    speaking: float = 0.0

    def add(self, thunk: ModelOutputThunk[Any]) -> None:
        """Count an answer that has ended."""
        known = thunk.generation
        self.answers += 1
        if known.usage is not None:
            self.input_tokens += known.usage.input_tokens
            self.output_tokens += known.usage.output_tokens
        if known.ttft is not None and known.seconds is not None:
            self.ttfts.append(known.ttft)
            self.speaking += known.seconds - known.ttft


class Conversation:
    """What is said, to which model, under which requirements.

    Args:
        session: The session; its context is the conversation.
        attempts: How many attempts an answer is given at meeting the requirements.
        options: `NAME=VALUE`s, for the models that `use` opens.
    """

    def __init__(self, session: MelleaSession, *, attempts: int = 2, options: Sequence[str] = ()) -> None:
        self.session = session
        self.attempts = attempts
        self.requirements: list[Requirement] = []
        self.tools: dict[str, MelleaTool] = {}
        self.totals = Totals()
        self._options = options
        self._past: list[tuple[Context, str]] = []
        self.resume(session.ctx)

    async def ask(self, question: str, confirm: Confirm | None = None) -> ModelOutputThunk[Any]:
        """Start the answer to a question; with tools, an agent that may use them."""
        before = self.session.ctx
        if self.tools:
            thunk = await self._react(question, confirm)
        elif self.requirements:
            # The verb that tells the model what is required; a chat's turn is judged only.
            thunk = await self.session.ainstruct(
                question,
                requirements=self.requirements,
                strategy=RejectionSamplingStrategy(loop_budget=self.attempts),
                await_result=False,
            )
        else:
            thunk = await self.session.achat(question, await_result=False)
        self._past.append((before, question))
        return thunk

    async def _react(self, question: str, confirm: Confirm | None) -> ModelOutputThunk[Any]:
        session = self.session
        thunk, session.ctx = await react(
            Message("user", question),
            session.ctx,
            session.backend,
            tools=list(self.tools.values()),
            model_options=session.model_options,
            confirm=confirm,
            await_result=False,
        )
        return thunk

    # --- the way back -----------------------------------------------------------------------------------------------

    def undo(self) -> str:
        """Forget the last question and its answer, and return the question.

        Raises:
            InvalidArgument: nothing was said yet.
        """
        if not self._past:
            raise InvalidArgument("Nothing was said yet.")
        self.session.ctx, question = self._past.pop()
        return question

    def reset(self) -> None:
        """Forget the conversation."""
        self.session.reset()
        self._past = []

    def resume(self, ctx: Context) -> None:
        """Go on with a conversation that was saved."""
        window = ctx.window_size if isinstance(ctx, ChatContext) else None
        past: list[tuple[Context, str]] = []
        built: Context = ChatContext(window_size=window)
        for turn in ctx.all_turns():
            asked = [message.content for message in turn.messages() if message.role == "user"]
            past.append((built, asked[0] if asked else ""))
            built = built.add(turn.said, turn.answer)
        self.session.ctx, self._past = built, past

    @property
    def turns(self) -> int:
        """How many exchanges there were."""
        return len(self._past)

    def last_exchange(self) -> tuple[str, str] | None:
        """Return the last question and its answer; None where there is none."""
        answer = self.session.ctx.last_output()
        return (self._past[-1][1], answer.partial_text) if self._past and answer is not None else None

    # --- who answers ------------------------------------------------------------------------------------------------

    @property
    def model(self) -> str:
        """The model, and its backend."""
        backend: Backend = self.session.backend
        return f"{backend.model_id} ({backend.name})"

    def use(self, model: str) -> None:
        """Go on with another model, in the same conversation.

        Raises:
            WrongUse: there is no such backend, or it does not take the options of this chat.
        """
        old = self.session
        same = model.partition(":")[0] == old.backend.name
        # The options of the model are asked of every model; those of the backend (its address, say) are its own.
        self.session = opened(model, self._options if same else (), model_options=old.model_options, ctx=old.ctx)
        old.close()

    @property
    def system(self) -> str:
        """The system prompt; empty where there is none."""
        return str(self.session.model_options.get(ModelOption.SYSTEM_PROMPT, ""))

    @system.setter
    def system(self, text: str) -> None:
        """Set the system prompt; an empty one takes it away."""
        self.session.model_options.pop(ModelOption.SYSTEM_PROMPT, None)
        if text:
            self.session.model_options[ModelOption.SYSTEM_PROMPT] = text

    def close(self) -> None:
        """Stop what runs, and close the backend."""
        self.session.close()
