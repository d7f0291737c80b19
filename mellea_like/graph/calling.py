"""How functions of the user's are called: with what their parameters name, or with the state.

A function may return, or be a generator, synchronous or asynchronous; what it yields is told while it runs.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, closing
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

from ..errors import GraphInvalid
from ..home import is_async
from ..thunk import ModelOutputThunk
from .events import MessageComplete, MessageStart, Place, Token, text_said
from .now import Now
from .outbox import Outbox
from .outcomes import Outcome, joined_update, outcome_of, text_update
from .state import StateForm

NAMES = ("state", "input", "output", "inputs", "context", "config", "runtime", "writer", "variables", "chat_history")
"""What a parameter of a node's function may be called, to be given that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """What a node's function is given as `runtime`.

    Args:
        context: The `context` that the run was called with.
        config: The config that it was called with.
        stream_writer: Says something to readers of the mode `custom`; see `get_stream_writer`.
    """

    context: Any
    config: Mapping[str, Any]
    stream_writer: Callable[[Any], None]


@lru_cache(maxsize=1024)
def _parameters(function: Callable[..., Any]) -> tuple[inspect.Parameter, ...]:
    try:
        return tuple(inspect.signature(function).parameters.values())
    except (ValueError, TypeError):  # written in C, and says nothing of itself
        return (inspect.Parameter("state", inspect.Parameter.POSITIONAL_ONLY),)


def parameters(function: Callable[..., Any]) -> tuple[inspect.Parameter, ...]:
    """List the parameters of a function."""
    try:
        return _parameters(function)
    except TypeError:  # not hashable
        return _parameters.__wrapped__(function)


def known(now: Now, form: StateForm, *, output: Any = None) -> dict[str, Callable[[], Any]]:
    """Say what parameters may be given by their names; each is made only where it is asked for."""
    settings = now.running.settings
    return {
        "state": lambda: form.view(now.state),
        "input": lambda: joined(now),
        "inputs": lambda: dict(now.inputs),
        "output": lambda: joined(now) if output is None else output,
        "context": lambda: settings.context,
        "config": lambda: settings.config,
        "runtime": lambda: Runtime(context=settings.context, config=settings.config, stream_writer=now.write),
        "writer": lambda: now.write,
        "variables": lambda: settings.variables,
        "chat_history": lambda: list(settings.chat_history),
    }


def joined(now: Now) -> Any:
    """Return what the nodes before came to: of one what it came to, of several a dict by their names."""
    values = list(now.inputs.values())
    return values[0] if len(values) == 1 else dict(now.inputs)


def bound(
    function: Callable[..., Any],
    given: Mapping[str, Callable[[], Any]],
    extra: Mapping[str, Any],
    positional: tuple[str, ...] = ("state",),
) -> Callable[[], Any]:
    """Bind a function to what its parameters name, in `given` or in `extra`; others by position, as `positional` names.

    Raises:
        GraphInvalid: a parameter is neither.
    """
    args: list[Callable[[], Any]] = []
    kwargs: dict[str, Callable[[], Any]] = {}
    left = list(positional)
    for parameter in parameters(function):
        name, kind = parameter.name, parameter.kind
        if kind is parameter.VAR_POSITIONAL or kind is parameter.VAR_KEYWORD:
            continue
        found = given.get(name) or (partial(extra.__getitem__, name) if name in extra else None)
        if found is None and left and kind is not parameter.KEYWORD_ONLY and parameter.default is parameter.empty:
            found = given[left[0]]
        if found is None:
            if parameter.default is parameter.empty:
                raise _unknown_parameter(function, name, (*given, *extra))
            continue
        left = left[1:]
        if kind is parameter.POSITIONAL_ONLY:
            args.append(found)
        else:
            kwargs[name] = found
    return partial(_call, function, args, kwargs)


def _call(function: Callable[..., Any], args: list[Callable[[], Any]], kwargs: dict[str, Callable[[], Any]]) -> Any:
    # Here, where the user's code runs, because a schema's own code may be needed to make the state.
    return function(*(make() for make in args), **{name: make() for name, make in kwargs.items()})


def _unknown_parameter(function: Callable[..., Any], name: str, valid: tuple[str, ...]) -> GraphInvalid:
    called = getattr(function, "__qualname__", repr(function))
    return GraphInvalid(
        f"{called} has a parameter {name!r}, and nothing here is called so. A node's function takes the state, or "
        f"parameters of these names: {', '.join(dict.fromkeys(valid))}."
    )


async def asked(now: Now, function: Callable[..., Any], begin: Callable[[], Any]) -> Any:
    """Call a bound function where the run was called from, and await what it returns."""
    # Said to be asynchronous where the function is, so that its coroutine is made on the loop that awaits it.
    return await now.ask(partial(_awaited, begin) if is_async(function) else begin)


async def called(now: Now, form: StateForm, function: Callable[..., Any], begin: Callable[[], Any]) -> Any:
    """Call a bound function where the run was called from, and return what it gives; of a generator, its outcome."""
    target = function
    while isinstance(target, partial):
        target = target.func
    if inspect.isasyncgenfunction(target):
        return await _generated(now, form, _opened(begin))
    if is_async(target):
        return await asked(now, target, begin)
    result = await now.made(begin)
    if inspect.isgenerator(result) or (isinstance(result, AsyncIterator) and not isinstance(result, ModelOutputThunk)):
        return await _generated(now, form, result)
    if inspect.isawaitable(result) and not isinstance(result, ModelOutputThunk):
        return await now.ask(partial(_awaited, lambda: result))
    return result


async def _opened(begin: Callable[[], AsyncGenerator[Any, None]]) -> AsyncGenerator[Any, None]:
    # Made where the user's code runs, because making what it is given may need a schema's own code.
    async with aclosing(begin()) as items:
        async for item in items:
            yield item


async def _awaited(begin: Callable[[], Awaitable[Any]]) -> Any:
    return await begin()


# --- generators -------------------------------------------------------------------------------------------------------


class Yielded:
    """What a generator has yielded so far: text is told as tokens at once, the rest becomes the outcome.

    Text of a generation that it only passes on is told already.
    """

    def __init__(self, now: Now) -> None:
        self._now = now
        self._place: Place | None = None
        self._texts: list[str] = []
        self._own: list[str] = []
        self.others: list[Any] = []

    def take(self, item: Any) -> None:
        """Take what was yielded; on the library's loop."""
        if isinstance(item, str):
            self._text(item)
        else:
            if isinstance(item, ModelOutputThunk):
                self._now.heard(item._log)
            self.others.append(item)

    def _text(self, text: str) -> None:
        self._texts.append(text)
        if not text or self._now.passes_on(text):
            return
        running = self._now.running
        if self._place is None:
            self._place = self._now.numbered()
            running.say(MessageStart(place=self._place, attempt=self._place.attempt))
        self._own.append(text)
        running.say(text_said(Token, text, self._place))

    def close(self) -> str | None:
        """Tell the end of the node's own text; return all of the text, None where there was none."""
        if (place := self._place) is not None:
            said = "".join(self._own)
            complete = MessageComplete(place=place, attempt=place.attempt, content=said, finish_reason="stop")
            self._now.running.say(complete)
        return "".join(self._texts) if self._texts else None


async def _generated(now: Now, form: StateForm, source: Any) -> Outcome:
    yielded = Yielded(now)

    def take(item: Any) -> None:
        now.running.outbox.post(partial(yielded.take, item))

    async def drain() -> None:
        async with aclosing(source) as items:
            count = 0
            async for item in items:
                take(item)
                count += 1
                if not count % Outbox.AT_ONCE:  # one that never waits could not be stopped
                    await asyncio.sleep(0)

    def pump() -> None:
        with closing(source):
            for number, item in enumerate(source, 1):
                if not now.live:  # nobody could stop it from outside
                    return
                take(item)
                if not number % Outbox.AT_ONCE:
                    now.running.outbox.caught_up()

    try:
        await now.ask(pump if inspect.isgenerator(source) else drain)
    finally:
        now.running.outbox.empty()
        text = yielded.close()
    return await _merged(now, form, yielded.others, text)


async def _merged(now: Now, form: StateForm, others: list[Any], text: str | None) -> Outcome:
    """Make one outcome of all that was yielded; text counts by itself, or where a `state_key` says so."""
    if text is not None and (not others or "state_key" in now.spec.config):
        others = [*others, text_update(now, form, text)]
    whole = Outcome()
    for item in others:
        one = await outcome_of(now, form, item)
        whole = replace(whole, writes=whole.writes + one.writes, goto=whole.goto + one.goto)
    update = await joined_update(now, form, whole.writes)
    return replace(whole, update=update, output={"content": text} if text is not None else update)
