"""A run from its beginning to its end: what it begins with, what is kept of it between steps, and how it goes on."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace
from typing import Any

from ..content import Message
from ..errors import GraphError, Interrupted, InvalidArgument, InvalidUpdate, MelleaError, NothingToResume
from ..events import Said
from .checkpoints import Checkpoint, from_plain, to_plain
from .commands import NOTHING, Command, gotos
from .events import CheckpointSaved, ExecutionCancelled, ExecutionComplete, ExecutionError, ExecutionStart, Resumed
from .now import Running
from .scheduling import Level
from .spec import GraphSpec
from .state import MESSAGES, StateForm


async def events_of(running: Running, spec: GraphSpec, given: Any) -> AsyncGenerator[Said, None]:
    """Run a graph: everything is written to the run's log as it happens, and the end is what this gives."""
    running.begin()
    level = Level(running, spec)
    level.kept = _keep
    try:
        await _begun(level, given)
        state = await level.go_on()
        if level.questions and running.inside is not None:
            # The node that it runs inside of waits with it; whatever the node's code does with a state, it must not.
            raise Interrupted(f"The graph {spec.name!r} waits for an answer.", value=level.questions[0].value)
        yield ExecutionComplete(
            place=level.place,
            state=state,
            parsed=state,
            output=level.last_output,
            usage=running.usage,
            interrupts=tuple(level.questions),
        )
    except asyncio.CancelledError as cancelled:
        # The task keeps this, and its frames would keep thunks that are to be stopped.
        traceback.clear_frames(cancelled.__traceback__)
        running.say(ExecutionCancelled(place=level.place, usage=running.usage))
        raise
    except Exception as error:  # a node's failure; or the user's code outside of nodes: reducers, stores, choices
        yield ExecutionError(place=level.place, error=_failure(error), state=level.state, usage=running.usage)
    finally:
        running.end()


def _failure(error: Exception) -> MelleaError:
    if isinstance(error, MelleaError):
        return error
    failure = GraphError(f"The run failed outside of its nodes: {type(error).__name__}: {error}")
    failure.__cause__ = error
    return failure


async def _begun(level: Level, given: Any) -> None:
    running = level.running
    kept = await _kept(running)
    resume = given.resume if isinstance(given, Command) else NOTHING
    if given is None or resume is not NOTHING or (running.inside is not None and kept is not None):
        if kept is None:
            raise NothingToResume(
                f"There is no run to go on with under thread_id {running.settings.thread_id!r}. Compile with a store "
                "(`compile(checkpointer=MemoryBackend())`) and name the thread of the run that stopped: "
                "`config={'thread_id': '…'}`."
            )
        if isinstance(given, Command) and given.update:
            writes = level.spec.form.writes(given.update, node="resume")
            kept = replace(kept, state=level.spec.form.applied(kept.state, [("resume", writes)]))
        if isinstance(given, Command) and gotos(given.goto):
            raise InvalidArgument(
                f"{given!r} answers a run that waits; it goes on where it waits, and nowhere else. Leave out `goto`, "
                "or `resume`: without that, a run begins at `goto`, on the state that is kept."
            )
        if not kept.pending:
            raise NothingToResume(
                f"The run kept under thread_id {running.settings.thread_id!r} is through: there is nothing to go on "
                "with. Call with an input to begin another one on its state."
            )
        level.restore(kept if resume is NOTHING else kept.answered(resume) or kept)
        running.say(ExecutionStart(place=level.place, input=given, state=level.state))
        running.say(Resumed(place=level.place, step=level.step))
        return
    state = _as_state(level.spec.form, given)
    await level.begin(state if isinstance(given, Command) else given, state, None if kept is None else kept.state)
    level.step = 0 if kept is None else kept.step
    running.say(ExecutionStart(place=level.place, input=given, state=level.state))
    await level.first(gotos(given.goto) if isinstance(given, Command) else ())


async def _kept(running: Running) -> Checkpoint | None:
    if running.inside is not None:
        return running.inside.load()
    store, thread = running.checkpointer, running.settings.thread_id
    if store is None or thread is None:
        return None
    saved: dict[str, Any] | None = await running.home.ask(store.load, thread)
    return None if saved is None else from_plain(saved)


def _as_state(form: StateForm, given: Any) -> Mapping[str, Any]:
    """Make a state of an input: text becomes a message where the state is a conversation, else the key `input`."""
    if isinstance(given, str):
        return {MESSAGES: [Message("user", given)]} if form.has(MESSAGES) else {"input": given}
    if isinstance(given, Command):
        return dict(given.update or {})
    if isinstance(given, Mapping) or form.is_whole(given):
        return dict(form.writes(given, node="input"))
    raise InvalidUpdate(
        f"The input of a graph is a dict of state keys, or text, not {type(given).__name__}: {given!r}."
    )


# --- keeping ----------------------------------------------------------------------------------------------------------


async def _keep(level: Level) -> None:
    """Keep the run as it is between two steps, where there is a store and the run has a name."""
    running = level.running
    if not running.kept:
        return
    if running.inside is not None:
        running.inside.save(level.checkpoint())
        return
    store, thread = running.checkpointer, running.settings.thread_id
    assert store is not None
    assert thread is not None
    save: Any = store.save
    await running.home.ask(save, thread, to_plain(level.checkpoint()))
    following = tuple(task.node.name for task in level.tasks)
    running.say(CheckpointSaved(place=level.place, thread_id=thread, step=level.step, next=following))
