"""Where it goes on after a step: edges, joins, choices and what nodes say themselves, as the tasks of the next step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..errors import GraphInvalid, unknown_name
from .commands import Send
from .outcomes import Outcome
from .spec import END, BranchSpec, EdgeSpec, GraphSpec, NodeSpec, canonical
from .working import Task

Through = list[tuple[Task, Outcome]]
"""Tasks of a step with what each came to."""


class Paths:
    """What leads where, and which joins still wait."""

    def __init__(self, spec: GraphSpec) -> None:
        self.spec = spec
        self.joined: dict[str, list[str]] = {}
        self.runs: dict[str, int] = {}

    def following(self, through: Through, *, step: int) -> list[Task]:
        """Find the tasks of the next step: the nodes that are led to, in their order, then what is sent."""
        led: dict[str, list[str]] = {}
        sends: list[tuple[Send, str]] = []
        for task, outcome in through:
            name = task.node.name
            if task.node.loop_limit is not None:
                self.runs[name] = self.runs.get(name, 0) + 1
            if not outcome.exclusive:
                for edge in self.spec.leaving.get(name, ()):
                    if not edge.loop:
                        led.setdefault(edge.target, []).append(name)
                self._join(name)
            for goto in outcome.goto:
                if isinstance(goto, Send):
                    sends.append((goto, name))
                else:
                    led.setdefault(canonical(goto), []).append(name)
        self._fire(led)
        led = self._within_limits(led)
        if not sends and not (led.keys() - {END}):
            self._fire(led, patient=False)
            led = self._within_limits(led)
        led.pop(END, None)
        return [*self._pulled(led, step), *self._sent(sends, step)]

    def _within_limits(self, led: Mapping[str, list[str]]) -> dict[str, list[str]]:
        """Lead past the nodes that have run as often as they may, to where they say."""
        allowed: dict[str, list[str]] = {}
        for name, by in led.items():
            allowed.setdefault(self._allowed(name), []).extend(by)
        return allowed

    def _allowed(self, name: str) -> str:
        passed = set[str]()
        while name not in passed and self._is_spent(name):
            passed.add(name)
            name = self.spec.nodes[name].loop_exit
        return END if name in passed else name

    def _is_spent(self, name: str) -> bool:
        node = self.spec.nodes.get(name)
        return node is not None and node.loop_limit is not None and self.runs.get(name, 0) >= node.loop_limit

    def _join(self, name: str) -> None:
        for edge in self.spec.joins:
            if name in edge.sources:
                key = _join_key(edge)
                self.joined[key] = [*dict.fromkeys([*self.joined.get(key, []), name])]

    def _fire(self, led: dict[str, list[str]], *, patient: bool = True) -> None:
        """Take the edges whose sources are all through; with nothing else to do, also those that wait in vain."""
        for edge in self.spec.joins:
            here = self.joined.get(_join_key(edge), [])
            if here and (len(here) == len(edge.sources) or (edge.live and not patient)):
                led.setdefault(edge.target, []).extend(source for source in edge.sources if source in here)
                del self.joined[_join_key(edge)]

    def _pulled(self, led: Mapping[str, list[str]], step: int) -> Iterator[Task]:
        nodes = [(known_node(self.spec, name, by[0]), by) for name, by in led.items()]
        for node, by in sorted(nodes, key=lambda pair: self.spec.order[pair[0].name]):
            yield Task(node=node, id=f"{step}:{node.name}", triggers=tuple(dict.fromkeys(by)))

    def _sent(self, sends: Iterable[tuple[Send, str]], step: int) -> Iterator[Task]:
        for i, (send, by) in enumerate(sends):
            node = known_node(self.spec, canonical(send.node), by)
            yield Task(node=node, id=f"{step}:{node.name}#{i}", arg=(send.arg,), triggers=(by,))


def _join_key(edge: EdgeSpec) -> str:
    return f"{'+'.join(edge.sources)}->{edge.target}"


def meant(branch: BranchSpec, choice: Any) -> list[str]:
    """Return which nodes a choice means.

    Raises:
        GraphInvalid: the branch does not know it, and has no default.
    """
    if branch.mapping is None:
        return [canonical(str(choice))]
    if choice in branch.mapping:
        return [branch.mapping[choice]]
    if branch.default is not None:
        return [branch.default]
    raise GraphInvalid(
        f"The choice {branch.name!r} after {branch.source!r} gave {choice!r}. "
        f"{unknown_name('choice', choice, map(str, branch.mapping))} Or give it a `default`.",
        node=branch.source,
    )


def known_node(spec: GraphSpec, name: str, chosen_by: str) -> NodeSpec:
    """Return a node by its name.

    Raises:
        GraphInvalid: there is none.
    """
    node = spec.nodes.get(name)
    if node is None:
        raise GraphInvalid(f"{unknown_name('node', name, [*spec.nodes, 'END'])} It was chosen by {chosen_by!r}.")
    return node
