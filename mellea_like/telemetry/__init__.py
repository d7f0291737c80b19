"""How a generation is heard by those that did not make it: sinks, and the announcement of every new log to them.

A sink hears of a generation in the context of the call that starts it, and reads its log without holding its thunk.
This file knows logs; it knows no graph, exporter or session.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar, copy_context
from itertools import count
from typing import Protocol, TypeVar, runtime_checkable

from ..errors import InvalidArgument
from ..events import Checked, Event, Failed, Finished, Retried, Started
from ..log import Log
from .telling import logger, tell_end, tell_events


@runtime_checkable
class Sink(Protocol):
    """What hears of generations: anything with a method `opened`.

    Example:
        ```python
        from mellea_like import listening, start_session

        class Counter:
            started = 0

            def opened(self, log):
                self.started += 1

        counter = Counter()
        with listening(counter), start_session("fake") as m:
            m.instruct("Say hello.")
        print(counter.started)
        ```
    """

    def opened(self, log: Log) -> None:
        """Hear that a generation has started; called at once, in the caller's thread and context.

        Be brief: the caller waits. Read the log elsewhere: `follow(log)` iterates over its events, on any event loop
        and any thread. Holding the log holds its text, not its generation: one that nobody reads is still stopped.
        What is raised here is logged, and the call goes on.
        """
        ...


S = TypeVar("S", bound=Sink)

_here: ContextVar[tuple[Sink, ...]] = ContextVar("mellea_like_sinks", default=())
_deaf: ContextVar[tuple[Sink, ...]] = ContextVar("mellea_like_deaf_sinks", default=())
"""Sinks whose own code runs here: what that code asks of a model is not told to them, or they would never end."""

_everywhere: list[Sink] = []


@contextmanager
def listening(sink: S) -> Iterator[S]:
    """Let `sink` hear every generation that is started inside the `with` block, at any depth, tasks included.

    Blocks nest: inner and outer sinks both hear. A generation that was started inside is heard to its end, after the
    block too.

    Args:
        sink: Anything with a method `opened`; `on_event(function)` makes one of a function.

    Returns:
        The sink, for `with listening(…) as sink:`.

    Raises:
        InvalidArgument: it has no such method.

    Example:
        ```python
        from mellea_like import listening, on_event, start_session

        def show(event, number):
            print(number, event.type)

        with listening(on_event(show)), start_session("fake") as m:
            m.instruct("Say hello.")
        ```
    """
    before = _here.set((*_here.get(), _checked(sink)))
    try:
        yield sink
    finally:
        with suppress(ValueError):  # left in another context than it was entered in: there, nothing was set
            _here.reset(before)


def add_sink(sink: S) -> S:
    """Let `sink` hear every generation of this process, from now on; an equal one that is there already is replaced.

    Args:
        sink: As for `listening`.

    Returns:
        The sink, for `remove_sink`.

    Raises:
        InvalidArgument: it has no method `opened`.

    Example:
        ```python
        from mellea_like import add_sink, flush_sinks, on_event, remove_sink, start_session

        sink = add_sink(on_event(lambda event, number: print(number, event.type)))
        with start_session("fake", answers="Hello!") as m:
            m.instruct("Say hello.")
        flush_sinks()
        remove_sink(sink)
        ```
    """
    _checked(sink)
    remove_sink(sink)
    _everywhere.append(sink)
    return sink


def remove_sink(sink: Sink) -> None:
    """Take back `add_sink`; generations that it has heard of are heard to their end. Nothing happens without it.

    Args:
        sink: The sink, or an equal one.
    """
    with suppress(ValueError):
        _everywhere.remove(sink)


def _checked(sink: object) -> Sink:
    if not isinstance(sink, Sink) or isinstance(sink, type):
        raise InvalidArgument(
            f"{sink!r} is not a sink: it needs a method `opened(log)`. For a function that takes events, give "
            "`on_event(function)`."
        )
    return sink


def announce(log: Log) -> None:
    """Tell all sinks of the calling context, and those of the process, that a generation has started."""
    here = _here.get()
    if here or _everywhere or logger.isEnabledFor(logging.INFO):
        _tell_sinks(log, here)


def prompts_wanted() -> bool:
    """Whether a sink that hears the calling context wants to see prompts: it says so with `sees_prompts = True`.

    Else a thunk does not keep what it was asked: that may be a whole conversation.
    """
    return any(getattr(sink, "sees_prompts", False) for sink in (*_everywhere, *_here.get()))


def _tell_sinks(log: Log, here: tuple[Sink, ...]) -> None:
    told = list(_deaf.get())
    for sink in (*_everywhere, *here, *([_LINES] if logger.isEnabledFor(logging.INFO) else [])):
        if any(sink is other for other in told):
            continue
        told.append(sink)
        try:
            sink.opened(log)
        except Exception:  # a sink's mistake must not fail the call that it listens to
            logger.exception("A sink failed; the generation that it listens to goes on.")


def on_event(callback: Callable[[Event, int], object]) -> Sink:
    """Make a sink that calls `callback(event, number)` for every event of every generation that it hears.

    Generations are numbered from 1, in the order in which they start. The function runs in a daemon thread of the
    library's own, one call at a time, each generation's events in order, with the context variables of the call that
    started it; so it may block, which delays other listeners but no model. What it asks of a model itself it does not
    hear. What it raises is logged. `flush_sinks()` waits until it has caught up.

    Args:
        callback: A plain function.

    Raises:
        InvalidArgument: the callback is asynchronous; it would never be awaited.

    Example:
        ```python
        from mellea_like import flush_sinks, listening, on_event, start_session

        with listening(on_event(lambda event, number: print(number, event.type))):
            with start_session("fake", answers="Hello!") as m:
                m.instruct("Say hello.")
        flush_sinks()
        ```
    """
    import inspect

    if inspect.iscoroutinefunction(callback):
        raise InvalidArgument(
            f"on_event takes a plain function of an event and a number, not {callback!r}. In asynchronous code, write "
            "a sink that starts a task of yours over `follow(log)`."
        )
    return _EventCaller(callback)


class _EventCaller:
    """A sink that calls a function with every event."""

    def __init__(self, callback: Callable[[Event, int], object]) -> None:
        self._callback = callback
        self._numbers = count(1)

    def opened(self, log: Log) -> None:
        number, context = next(self._numbers), copy_context()
        context.run(_deaf.set, (*_deaf.get(), self))
        tell_events(log, lambda event: context.run(self._callback, event, number))


class _Lines:
    """The sink behind the logger `mellea_like`: one line per generation at INFO, verdicts and retries at DEBUG.

    At INFO nothing of a prompt or an answer is written, and of an error only its kind, because its message may quote
    either.
    """

    def opened(self, log: Log) -> None:
        tell_end(log, _write_lines)


_LINES = _Lines()


def _write_lines(log: Log) -> None:
    others = log.others()
    for event in others:
        if isinstance(event, Checked):
            verdict = {True: "passed", False: "failed", None: "is open"}[event.passed]
            logger.debug("attempt %d: requirement %s %s", event.attempt, event.requirement, verdict)
        elif isinstance(event, Retried):
            logger.debug("attempt %d was given up", event.void)
    logger.info("%s", summary(log))


def summary(log: Log) -> str:
    """Say in a line what became of a generation that has ended: model, outcome, seconds, tokens; nothing that was said.

    For example `fake:script finished (stop) after 0.412 s, first text after 0.008 s, 5 + 120 tokens`.
    """
    others = log.others()
    began, end, first = beginning(others), others[-1], log.first_text_at()
    said = [f"{began.provider}:{began.model} {_outcome(end)} after {end.seconds:.3f} s"]
    if first is not None:
        said.append(f"first text after {first:.3f} s")
    usage = log.end.usage if log.end is not None else None
    if usage is not None:
        said.append(f"{usage.input_tokens} + {usage.output_tokens} tokens")
    if (attempts := max(event.attempt for event in others)) > 1:
        said.append(f"{attempts} attempts")
    return ", ".join(said)


def _outcome(end: Event) -> str:
    if isinstance(end, Finished):
        return f"finished ({end.finish_reason})"
    return f"failed ({type(end.error).__name__})" if isinstance(end, Failed) else end.type


def beginning(others: Sequence[Event]) -> Started:
    """Find which model was asked; an empty `Started` where a generation ended before it was."""
    return next((event for event in others if isinstance(event, Started)), Started())
