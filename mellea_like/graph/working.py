"""One node at work: its attempts, its timeout, what it says before it is through, and what its failure is called."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..errors import GraphError, Interrupted, NodeFailed, NodeTimeout
from .checkpoints import Checkpoint, Pending
from .events import InterruptEvent, Namespace, NodeComplete, NodeError, NodeRetry, NodeStart
from .hearing import Teller
from .nodes import WORK
from .now import Now, Running
from .outcomes import Outcome, outcome_of
from .spec import GraphSpec, NodeSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A node that is to run: on which state, after which nodes, and what its questions were answered before.

    `nested` are graphs inside it that a run before this one stopped in; `done` is what it came to, here or then.
    """

    node: NodeSpec
    id: str
    arg: tuple[Any, ...] = ()
    triggers: tuple[str, ...] = ()
    answers: tuple[Any, ...] = ()
    nested: dict[str, Checkpoint] = field(default_factory=dict)
    done: Outcome | None = None

    def pending(self) -> Pending:
        """Return what is kept of it, for a run that goes on with this step later."""
        waiting = () if self.done is None else self.done.waiting
        done = None if waiting else self.done
        return Pending(
            node=self.node.name,
            id=self.id,
            arg=self.arg,
            triggers=self.triggers,
            answers=self.answers,
            # What a graph inside it asks is kept with that graph.
            question=(waiting[0].value,) if waiting and not self.nested else (),
            ids=tuple(event.id for event in waiting),
            # In the order of their numbers, whichever came first: answers go to them in this order.
            nested=dict(sorted(self.nested.items(), key=_number)) if done is None else {},
            done=None if done is None else done.kept(),
        )

    @classmethod
    def kept(cls, node: NodeSpec, pending: Pending) -> Task:
        """Return the task that `pending` was made of."""
        return cls(
            node=node,
            id=pending.id,
            arg=pending.arg,
            triggers=pending.triggers,
            answers=pending.answers,
            nested=dict(pending.nested),
            done=None if pending.done is None else Outcome.restored(pending.done),
        )


def _number(nested: tuple[str, Checkpoint]) -> tuple[int, str]:
    return len(nested[0]), nested[0]


class Workplace(Protocol):
    """What a node's work sees of the level that it runs on."""

    running: Running
    spec: GraphSpec
    ns: Namespace
    step: int
    loops: dict[str, int]
    parent: Now | None

    async def led_on(self, now: Now, outcome: Outcome) -> Outcome:
        """Add where it goes on."""
        ...


async def worked(level: Workplace, task: Task, state: Any, inputs: Mapping[str, Any]) -> Outcome:
    """Run a node, with as many attempts as its policy gives it.

    Raises:
        GraphError: it failed; everything that it said before is in the log.
    """
    running, spec = level.running, task.node
    attempt = 1
    while True:
        since = len(running.log)
        now = _now(level, task, attempt, state, inputs)
        running.say(NodeStart(place=now.place, attempt=attempt, task=task.id, input=now.state, triggers=task.triggers))
        try:
            outcome = await _attempt(level, now)
        except Interrupted as asked:
            name = "/".join((*level.ns, task.id))
            return Outcome(waiting=(InterruptEvent(place=now.place, task=task.id, id=name, value=asked.value),))
        except Exception as error:  # the user's code: whatever it raised, the node failed with it
            delay = await _delay(level, spec, attempt, error)
            running.say(
                NodeError(place=now.place, attempt=attempt, task=task.id, error=error, will_retry=delay is not None)
            )
            if delay is None:
                failure = _failure(spec.name, error)
                raise failure from failure.__cause__
        else:
            if outcome.waiting:
                return outcome
            running.say(
                NodeComplete(
                    place=now.place, attempt=attempt, task=task.id, output=outcome.output, update=outcome.update
                )
            )
            return outcome
        running.say(NodeRetry(place=now.place, attempt=attempt, task=task.id, discard_from_seq=since, delay=delay))
        await asyncio.sleep(delay)
        attempt += 1
        task.nested.clear()


async def _delay(level: Workplace, spec: NodeSpec, attempt: int, error: Exception) -> float | None:
    """Return the seconds until the next attempt, None for no other; `retry_on` may be the user's own function."""
    if spec.retry is None:
        return None
    try:
        return await level.running.home.ask(spec.retry.delay, attempt, error)
    except Exception as unsure:  # the user's code: the node failed with the first error, whatever this one is
        error.add_note(f"Whether it is worth another attempt cannot be said: `retry_on` raised {unsure!r}.")
        return None


def _now(level: Workplace, task: Task, attempt: int, state: Any, inputs: Mapping[str, Any]) -> Now:
    return Now(
        level.running,
        level,
        task.node,
        ns=level.ns,
        step=level.step,
        task=task.id,
        attempt=attempt,
        state=task.arg[0] if task.arg else state,
        inputs=inputs,
        answers=task.answers,
        nested=task.nested,
        teller=Teller,
    )


async def _attempt(level: Workplace, now: Now) -> Outcome:
    """Do a node's work once; what was said meanwhile is told before this returns or raises."""
    timeout = now.spec.timeout
    try:
        try:
            async with asyncio.timeout(timeout) as clock:
                result = await WORK[now.spec.type](now, level.spec.form)
                outcome = await level.led_on(now, await outcome_of(now, level.spec.form, result))
                await now.drained()
                return outcome
        except TimeoutError as error:
            if not clock.expired():
                raise
            raise NodeTimeout(
                f"Node {now.spec.name!r} took longer than its timeout of {timeout} s.", node=now.spec.name
            ) from error
    except asyncio.CancelledError:
        now.stop()
        raise
    finally:
        now.leave()


def _failure(node: str, error: Exception) -> GraphError:
    if isinstance(error, GraphError):  # it says by itself what is wrong, here or in a subgraph
        error.node = error.node or node
        return error
    # Line numbers stay; the frames' variables would keep thunks, and the log itself, alive in a circle.
    traceback.clear_frames(error.__traceback__)
    failure = NodeFailed(f"Node {node!r} failed: {type(error).__name__}: {error}", node=node, raised=error)
    failure.__cause__ = error
    return failure
