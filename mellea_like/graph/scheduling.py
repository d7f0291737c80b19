"""The scheduler: supersteps. The nodes of a step run at once; their updates are applied in the order of the nodes.

It runs on the library's loop, and everything that it does is an event of the run's log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import replace
from typing import Any

from ..errors import GraphError, InvalidUpdate, RecursionLimit
from .calling import asked, bound, known
from .checkpoints import Checkpoint
from .commands import Send
from .events import InterruptEvent, Namespace, Place, StateUpdate
from .leading import Paths, Through, known_node, meant
from .now import Inside, Now, Running
from .outcomes import Outcome
from .spec import START, EdgeSpec, GraphSpec, NodeSpec
from .state import StateForm, Writes
from .working import Task, worked


class Level:
    """A graph at work: the one that was called, or a subgraph of a node of it (`parent`)."""

    def __init__(self, running: Running, spec: GraphSpec, *, ns: Namespace = (), parent: Now | None = None) -> None:
        self.running, self.spec, self.ns, self.parent = running, spec, ns, parent
        self.place = Place(run_id=running.id, ns=ns)
        self.step = 0
        self.state: dict[str, Any] = {}
        self.input: Any = None
        self.tasks: list[Task] = []
        self.loops: dict[str, int] = {}
        self.paths = Paths(spec)
        self.outputs: dict[str, Any] = {}
        self.last_output: Any = None
        self.wrote: dict[str, list[Any]] = {}
        self.questions: list[InterruptEvent] = []
        self.skip_interrupt = False
        self.kept: Callable[[Level], Awaitable[None]] | None = None
        # Two, because a node that goes over a list holds a place while its items wait for theirs.
        self._places, self._item_places = _places(running), _places(running)
        self._aggregators = {edge.target: edge for edge in spec.edges if edge.aggregator is not None}

    async def inside(self, now: Now, spec: GraphSpec, begin: Mapping[str, Any]) -> Level:
        """Run the subgraph that the node `now` stands for, or go on where it stopped; return its level."""
        again = f":{now.task.rpartition('#')[2]}" if "#" in now.task else ""
        level = Level(self.running, spec, ns=(*self.ns, now.spec.name + again), parent=now)
        store = Inside(now, "graph")

        async def keep(level: Level) -> None:
            store.save(level.checkpoint())

        level.kept = keep if self.running.kept else None
        before = store.load()
        if before is None:
            await level.begin(begin, begin)
            await level.first()
            level.say_state()
        else:
            level.restore(before)
        await level.go_on()
        return level

    async def once(self, now: Now, node: NodeSpec, state: Mapping[str, Any], *, number: int) -> Outcome:
        """Run a node by itself, for item `number` of what `now` goes over."""
        async with self._item_places:
            store, task = Inside(now, f"item {number}"), Task(node=node, id=f"{now.task}#{number}", arg=(state,))
            before = store.load()
            task = replace(task if before is None else Task.kept(node, before.pending[0]), triggers=(now.spec.name,))
            if task.done is None:
                outcome = await worked(self, task, state, {now.spec.name: state})
                task = replace(task, done=outcome)
                if self.running.kept:
                    store.save(Checkpoint(state={}, pending=(task.pending(),)))
            assert task.done is not None
            return task.done

    # --- beginning --------------------------------------------------------------------------------------------------

    async def begin(self, given: Any, state: Mapping[str, Any], before: Mapping[str, Any] | None = None) -> None:
        """Set the state that the run begins with: its input, on that of a run before it or on nothing."""
        form, self.input = self.spec.form, given
        self.state = form.empty() if before is None else dict(before)
        self.state = await self._written([("input", form.writes(state, node="input"))])
        self.outputs = {START: given}

    async def first(self, goto: tuple[str | Send, ...] = ()) -> None:
        """Find the nodes of the first step: those that START leads to, or those that the call names itself."""
        begun = Task(node=NodeSpec(name=START), id="0:START")
        outcome = Outcome(output=self.input, goto=goto, exclusive=bool(goto))
        if not goto:
            outcome = await self._led_on(Now.aside(self.running, self, begun.node), outcome)
        self.tasks = self.paths.following([(begun, outcome)], step=self.step + 1)
        await self._keep()

    # --- keeping ----------------------------------------------------------------------------------------------------

    def checkpoint(self) -> Checkpoint:
        """Return the run as it is, between two steps or where one was stopped."""
        return Checkpoint(
            state=self.state,
            step=self.step,
            pending=tuple(task.pending() for task in self.tasks),
            joined=dict(self.paths.joined),
            loops=dict(self.loops),
            runs=dict(self.paths.runs),
            outputs=dict(self.outputs),
            wrote={name: list(values) for name, values in self.wrote.items()},
            input=self.input,
        )

    def restore(self, kept: Checkpoint) -> None:
        """Take up a run where it was kept."""
        self.state, self.step, self.input = dict(kept.state), kept.step, kept.input
        self.paths.joined = {key: list(names) for key, names in kept.joined.items()}
        self.paths.runs, self.loops, self.outputs = dict(kept.runs), dict(kept.loops), dict(kept.outputs)
        self.wrote = {name: list(values) for name, values in kept.wrote.items()}
        self.tasks = [Task.kept(known_node(self.spec, one.node, "the run that was kept"), one) for one in kept.pending]
        self.skip_interrupt = True

    # --- steps ------------------------------------------------------------------------------------------------------

    async def go_on(self) -> dict[str, Any]:
        """Take steps until nothing is left to do, or a question stops the run; return the state.

        Raises:
            GraphError: a node failed, or all steps are taken.
        """
        taken = 0
        while self.tasks:
            if self._stops_before():
                break
            taken += 1
            if taken > self.running.limit:
                raise RecursionLimit(
                    f"The run took {self.running.limit} steps and is not at its end; next would be "
                    f"{', '.join(repr(task.node.name) for task in self.tasks)}. Mend the choice that leads back, or "
                    "raise `recursion_limit` in the run's config."
                )
            self.step += 1
            if not await self._take_step():
                break
        return self.state

    async def _take_step(self) -> bool:
        """Run the nodes of a step and apply what they came to; whether the run goes on."""
        try:
            await self._work()
        except GraphError:
            await self._keep()
            raise
        if self._asked():
            self.step -= 1
            await self._keep()
            return False
        through = [(task, task.done or Outcome()) for task in self.tasks]
        self.state = await self._applied(through)
        for task, outcome in through:
            self.outputs[task.node.name] = self.last_output = outcome.output
            if self.parent is not None:
                for name, value in outcome.writes:
                    self.wrote.setdefault(name, []).append(value)
        self.tasks = self.paths.following(through, step=self.step + 1)
        self.say_state()
        stops = self.spec.interrupt_after and any(task.node.name in self.spec.interrupt_after for task, _ in through)
        if stops and self.tasks:
            self._stop(None)
        await self._keep()
        return not (stops and self.tasks)

    def say_state(self) -> None:
        """Say the state, and what comes next."""
        following = tuple(task.node.name for task in self.tasks)
        place = replace(self.place, metadata={"step": self.step})
        self.running.say(StateUpdate(place=place, step=self.step, state=self.state, next=following))

    async def _work(self) -> None:
        """Run the tasks of this step that are not through yet; what each comes to is kept in `tasks`."""
        todo = [i for i, task in enumerate(self.tasks) if task.done is None]
        if len(todo) == 1:
            await self._do(todo[0])
            return
        jobs = [asyncio.create_task(self._do(i)) for i in todo]
        try:
            done, _ = await asyncio.wait(jobs, return_when=asyncio.FIRST_EXCEPTION)
            for job in jobs:  # in the order of the nodes, whichever failed first
                if job in done:
                    job.result()
        finally:
            for job in jobs:
                job.cancel()
            await asyncio.wait(jobs)

    async def _do(self, i: int) -> None:
        task = self.tasks[i]
        async with self._places:
            outcome = await worked(self, task, self.state, await self._inputs(task))
        self.tasks[i] = replace(task, done=outcome)

    async def _keep(self) -> None:
        if self.kept is not None:
            await self.kept(self)

    async def _inputs(self, task: Task) -> Mapping[str, Any]:
        inputs = {name: self.outputs.get(name) for name in task.triggers}
        edge = self._aggregators.get(task.node.name)
        if edge is None or edge.aggregator is None:
            return inputs
        return {"+".join(inputs): await self.running.home.ask(edge.aggregator, inputs)}

    async def _applied(self, through: Through) -> dict[str, Any]:
        form = self.spec.form
        writes = [(task.node.name, outcome.writes) for task, outcome in through]
        ids = len({name for name, _ in writes}) < len(writes)
        if ids and form.keys is not None:
            _refuse_twice(form, through)
        return await self._written(writes)

    async def _written(self, writes: list[tuple[str, Writes]]) -> dict[str, Any]:
        form = self.spec.form
        if form.foreign(name for _, pairs in writes for name, _ in pairs):
            # A reducer of the user's, and user code never runs on this loop.
            return await self.running.home.ask(form.applied, self.state, writes)
        return form.applied(self.state, writes)

    # --- where it goes on -------------------------------------------------------------------------------------------

    async def led_on(self, now: Now, outcome: Outcome) -> Outcome:
        """Add to what a node came to where loop edges and choices lead; they see the state with what it wrote."""
        name = now.spec.name
        if outcome.exclusive or not self._chooses(name):
            return outcome
        after = self.state
        if outcome.writes:
            after = await self._applied([(Task(node=now.spec, id=now.task), outcome)])
        return await self._led_on(now, outcome, after)

    def _chooses(self, name: str) -> bool:
        return name in self.spec.branching or any(edge.loop for edge in self.spec.leaving.get(name, ()))

    async def _led_on(self, now: Now, outcome: Outcome, after: Mapping[str, Any] | None = None) -> Outcome:
        given = known(now.seeing(self.state if after is None else after), self.spec.form, output=outcome.output)
        for edge in self.spec.leaving.get(now.spec.name, ()):
            if edge.loop and await self._loops(now, edge, given):
                return replace(outcome, goto=(*outcome.goto, edge.target), exclusive=True)
        goto = list(outcome.goto)
        for branch in self.spec.branching.get(now.spec.name, ()):
            choice = await asked(now, branch.choose, bound(branch.choose, given, {}))
            for one in choice if isinstance(choice, list | tuple) else [choice]:
                goto += [one] if isinstance(one, Send) else meant(branch, one)
        return replace(outcome, goto=tuple(goto))

    async def _loops(self, now: Now, edge: EdgeSpec, given: Mapping[str, Callable[[], Any]]) -> bool:
        key = f"{now.spec.name}->{edge.target}"
        times = self.loops.get(key, 0)
        again = edge.max_iterations is None or times < edge.max_iterations
        if again and edge.loop_condition is not None:
            begin = bound(edge.loop_condition, given, {}, ("state", "output"))
            again = bool(await asked(now, edge.loop_condition, begin))
        self.loops[key] = times + 1 if again else 0
        return again

    # --- stopping ---------------------------------------------------------------------------------------------------

    def _stops_before(self) -> bool:
        if not self.spec.interrupt_before or self.skip_interrupt:
            self.skip_interrupt = False
            return False
        named = [task.node.name for task in self.tasks if task.node.name in self.spec.interrupt_before]
        if named:
            self._stop(None)
        return bool(named)

    def _stop(self, value: Any) -> None:
        place = replace(self.place, node_id=self.tasks[0].node.name)
        self._ask(InterruptEvent(place=place, id="/".join((*self.ns, self.tasks[0].id)), value=value))

    def _ask(self, question: InterruptEvent) -> None:
        self.questions.append(question)
        if question.ns == self.ns:
            self.running.say(question)

    def _asked(self) -> bool:
        """Whether a node of this step waits for an answer; its question is told, unless a subgraph has told it."""
        waiting = [question for task in self.tasks if task.done is not None for question in task.done.waiting]
        for question in waiting:
            self._ask(question)
        return bool(waiting)


def _places(running: Running) -> AbstractAsyncContextManager[Any]:
    limit = running.settings.max_concurrency
    return nullcontext() if limit is None else asyncio.Semaphore(limit)


def _refuse_twice(form: StateForm, through: Through) -> None:
    """Refuse that two runs of one node write a key that holds one value."""
    seen: set[tuple[str, str]] = set()
    for task, outcome in through:
        for name in {name for name, _ in outcome.writes}:
            if form.reducer(name) is None and (task.node.name, name) in seen:
                raise InvalidUpdate(
                    f"Two runs of {task.node.name!r} wrote {name!r} in one step, and it holds one value. Say how two "
                    f"become one: `{name}: Annotated[list, operator.add]`, for example.",
                    node=task.node.name,
                )
            seen.add((task.node.name, name))
