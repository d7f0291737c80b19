"""The turns of an agent: what is asked, what the model wants, what its tools say, until a turn is the answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from contextvars import Context as Variables
from dataclasses import dataclass, field, replace
from functools import partial

from ..backends import Backend
from ..component import Sayable, said_messages
from ..content import Message, Request, ToolCall
from ..engine import in_worker
from ..errors import ContextOverflow, LoopBudgetExhausted, OutputParseError, RequestRefused
from ..events import Delta, Event, Failed, Finished, Said, ToolCallEvent, Usage
from ..options import ModelOption
from ..samples import UNPARSED
from ..sampling.call import Call
from ..tools.workbench import Workbench
from . import moves

_TYPED = "Now give that answer as JSON, and nothing else."


class Transcript:
    """A goal and what was said on the way to it: what a context remembers of an agent."""

    def __init__(self, goal: Sayable) -> None:
        self.goal = goal
        self.said: list[Message] = []

    def parts(self) -> Iterable[object]:
        """Give the goal: the rest is text."""
        return (self.goal,)

    def messages(self) -> Sequence[Message]:
        """Render the goal, and every exchange that is whole."""
        return (*said_messages(self.goal), *self.said)


@dataclass(slots=True, kw_only=True)
class Turn:
    """One generation while it comes: its text, the calls that it wants, and how it ended."""

    number: int
    pieces: list[str] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    end: Finished | None = None

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self.pieces)

    def heard(self, said: Said) -> Said | None:
        """Note what the backend said; return it as an event of this turn, None for its end."""
        if isinstance(said, Finished):
            self.end = said
            return None
        if isinstance(said, str):
            self.pieces.append(said)
            return Delta(text=said, attempt=self.number)
        if isinstance(said, ToolCallEvent) and said.complete:
            # Some providers give no ids, and a result must say which call it answers.
            said = replace(said, id=said.id or f"call_{self.number}_{len(self.calls)}")
            self.calls.append(said.as_tool_call())
        return replace(said, attempt=self.number)


class Loop:
    """The loop itself: turns, tools, and the budget of both."""

    def __init__(
        self, call: Call, transcript: Transcript, bench: Workbench, *, budget: int, native: bool | None
    ) -> None:
        self._call, self._transcript, self._bench, self._budget = call, transcript, bench, budget
        self._tools = list(bench.tools.values())
        self._format = call.format
        self._may_switch = native is None
        self._native = _calls_tools(call.backend) if native is None else native
        self._wrapping_up = False
        self._usage: Usage | None = None
        self._called: list[str] = []
        # A mistake in the goal is raised where the call is made, if it waits for nothing.
        self._asked = None if call.pending() else call.request()

    async def run(self) -> AsyncGenerator[Said, None]:
        """Give the events of all turns, and one end."""
        for thunk in self._call.pending():
            await thunk.ended()
        if self._asked is None:
            self._asked = await in_worker(self._call.request, context=self._variables())
        turn = Turn(number=1)
        for number in range(1, self._budget + 1):
            turn = Turn(number=number)
            async with aclosing(self._spoken(turn)) as events:
                async for said in events:
                    yield said
            if turn.end is None:
                return  # the stream broke off; whoever reads is told so
            self._note(turn.end)
            # A type of the user's may have validators of the user's, and user code never runs on this loop.
            judged = partial(self._judged, turn)
            answer = judged() if self._format is None else await in_worker(judged, context=self._variables())
            if answer is not None:
                for said in answer:
                    yield said
                return
            async with aclosing(self._carried_out(turn)) as results:
                async for result in results:
                    yield result
        yield Failed(error=self._exhausted(), usage=self._usage, attempt=turn.number)

    def _variables(self) -> Variables:
        return self._call.home.variables.copy()

    def _note(self, end: Finished) -> None:
        if end.usage is not None:
            self._usage = end.usage if self._usage is None else self._usage + end.usage

    # --- asking -----------------------------------------------------------------------------------------------------

    async def _spoken(self, turn: Turn) -> AsyncGenerator[Said, None]:
        """Give a turn's events; a model that turns out to know no tools is asked again, in JSON."""
        backend = self._call.backend
        while True:
            request = self._request()
            yield self._call.started(request, attempt=turn.number)
            try:
                async with aclosing(backend.stream(request)) as stream:
                    async for said in stream:
                        if (event := turn.heard(said)) is not None:
                            yield event
                return
            except ContextOverflow:
                raise
            except RequestRefused:
                if not (self._native and self._may_switch and turn.number == 1 and not turn.pieces):
                    raise
                self._native = False

    def _request(self) -> Request:
        assert self._asked is not None
        said = (*self._asked.messages, *self._transcript.said)
        schema = None if self._format is None else self._format.schema
        if not self._native:
            return replace(
                self._asked,
                messages=moves.with_rules(said, self._tools, typed=schema is not None),
                schema=moves.moves_schema(self._tools, schema),
                tools=(),
            )
        if self._wrapping_up:
            return replace(self._asked, messages=said, schema=schema, tools=())
        return replace(self._asked, messages=said, schema=None, tools=self._bench.as_json_tools)

    # --- judging ----------------------------------------------------------------------------------------------------

    def _judged(self, turn: Turn) -> Sequence[Said] | None:
        """Return the end, where the turn is the answer; else note what the model is told next."""
        assert turn.end is not None
        try:
            return self._answered(turn, turn.end) if self._native else self._moved(turn, turn.end)
        except OutputParseError as error:
            self._transcript.said += [Message("assistant", turn.text), Message("user", f"{error} Try again.")]
            return None

    def _answered(self, turn: Turn, end: Finished) -> Sequence[Said] | None:
        if turn.calls:
            return None
        if self._format is not None:
            try:
                return [self._finished(end, turn.number, turn.text)]
            except OutputParseError:
                if self._wrapping_up:
                    raise
            self._wrapping_up = True
            self._transcript.said += [Message("assistant", turn.text), Message("user", _TYPED)]
            return None
        return [self._finished(end, turn.number, turn.text)]

    def _moved(self, turn: Turn, end: Finished) -> Sequence[Said] | None:
        move = moves.read_move(turn.text, typed=self._format is not None)
        if move.call is not None:
            turn.calls.append(replace(move.call, id=f"call_{turn.number}_0"))
            return None
        answer = move.answer or ""
        # The JSON around it is no part of the answer: that is told by itself, as what is accepted.
        number = turn.number + 1
        return [Delta(text=answer, attempt=number), self._finished(end, number, answer)]

    def _finished(self, end: Finished, number: int, answer: str) -> Finished:
        parsed = UNPARSED if self._format is None else self._format.parse(answer)
        return replace(end, parsed=parsed, usage=self._usage, attempt=number)

    # --- doing ------------------------------------------------------------------------------------------------------

    async def _carried_out(self, turn: Turn) -> AsyncGenerator[Event, None]:
        self._called += [call.name for call in turn.calls]
        if not self._native:
            for call in turn.calls:
                yield ToolCallEvent(
                    id=call.id, name=call.name, arguments=call.arguments, complete=True, attempt=turn.number
                )
        told: dict[int, str] = {}
        async with aclosing(self._bench.carry_out(turn.calls)) as results:
            async for place, result in results:
                told[place] = result.text
                yield replace(result, attempt=turn.number)
        texts = [told[place] for place in sorted(told)]
        if turn.calls:  # all at once, so that nobody ever reads a wish without what came of it
            self._transcript.said += self._exchange(turn, texts)

    def _exchange(self, turn: Turn, texts: Sequence[str]) -> list[Message]:
        if not self._native:
            return [Message("assistant", turn.text), moves.results(zip(turn.calls, texts, strict=True))]
        wish = Message("assistant", turn.text, tool_calls=tuple(turn.calls))
        answers = zip(turn.calls, texts, strict=True)
        return [wish, *(Message("tool", text, tool_call_id=call.id) for call, text in answers)]

    def _exhausted(self) -> LoopBudgetExhausted:
        said = tuple(self._transcript.said)
        done = ", ".join(self._called) or "none"
        return LoopBudgetExhausted(
            f"The agent has no answer after {self._budget} turns; tools called: {done}. Raise `loop_budget`, ask for "
            "less, or take a larger model; what was said is in `messages`.",
            messages=said,
        )


def _calls_tools(backend: Backend) -> bool:
    return backend.calls_tools and backend.honours(ModelOption.TOOLS)
