"""One node at work: its attempts, its timeout, what it says before it is through, and what its failure is called."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ..errors import GraphError, Interrupted, NodeFailed, NodeTimeout
from .events import Namespace, NodeComplete, NodeError, NodeRetry, NodeStart
from .hearing import Teller
from .nodes import WORK
from .now import Now, Running
from .outcomes import Outcome, outcome_of
from .spec import GraphSpec, NodeSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A node that is to run: on which state, after which nodes, and what its questions were answered before.

    `done` is what it came to in a run before this one.
    """

    node: NodeSpec
    id: str
    arg: tuple[Any, ...] = ()
    triggers: tuple[str, ...] = ()
    answers: tuple[Any, ...] = ()
    done: Outcome | None = None


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
            return Outcome(question=(asked.value,))
        except Exception as error:  # the user's code: whatever it raised, the node failed with it
            delay = None if spec.retry is None else spec.retry.delay(attempt, error)
            running.say(
                NodeError(place=now.place, attempt=attempt, task=task.id, error=error, will_retry=delay is not None)
            )
            if delay is None:
                failure = _failure(spec.name, error)
                raise failure from failure.__cause__
        else:
            running.say(
                NodeComplete(
                    place=now.place, attempt=attempt, task=task.id, output=outcome.output, update=outcome.update
                )
            )
            return outcome
        running.say(NodeRetry(place=now.place, attempt=attempt, task=task.id, discard_from_seq=since, delay=delay))
        await asyncio.sleep(delay)
        attempt += 1


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
