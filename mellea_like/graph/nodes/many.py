"""The nodes `map` and `foreach`: the same work for each item of a list, all at once, collected in the list's order."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from ...errors import GraphInvalid, InvalidUpdate
from ..calling import asked, bound, joined, known
from ..now import Now
from ..outcomes import Outcome, writing
from ..spec import NodeSpec
from ..state import StateForm


async def many(now: Now, form: StateForm) -> Outcome:
    """Do the node's work for each item.

    Settings: `over` (a state key, a dotted path, or a function of the state), `item` (what an item is called in the
    state that the work is given; `"item"`), `node` (the work: a function, a compiled graph, or the name of a node),
    `collect` (the key that the list of results is written to; `"results"`), `max_items`.
    """
    config = now.spec.config
    items = await _items(now, form)
    if (most := config.get("max_items")) is not None:
        items = items[:most]
    work = _work(now)
    name = config.get("item") or config.get("as") or config.get("item_var") or "item"
    before = dict(now.state) if isinstance(now.state, Mapping) else {}
    jobs = [
        asyncio.create_task(now.level.once(now, work, {**before, name: item, "index": i}, number=i))
        for i, item in enumerate(items)
    ]
    try:
        outcomes = await asyncio.gather(*jobs)
    finally:
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)
    if waiting := tuple(question for one in outcomes for question in one.waiting):
        return Outcome(waiting=waiting)
    key = config.get("collect") or config.get("state_key") or "results"
    return writing(form, now.spec.name, {key: [_result(one) for one in outcomes]})


async def _items(now: Now, form: StateForm) -> Sequence[Any]:
    over = now.spec.config.get("over") or now.spec.config.get("array_path")
    if over is None:
        found = joined(now)
    elif callable(over):
        found = await asked(now, over, bound(over, known(now, form), {}))
    else:
        found = _at(now, str(over))
    if not isinstance(found, Sequence) or isinstance(found, str):
        raise InvalidUpdate(
            f"Node {now.spec.name!r} goes over {over!r}, which is {found!r}, no list.", node=now.spec.name
        )
    return found


def _at(now: Now, path: str) -> Any:
    found: Any = now.state
    for name in path.removeprefix("$.").removesuffix("[*]").split("."):
        if not isinstance(found, Mapping) or name not in found:
            valid = ", ".join(map(repr, found)) if isinstance(found, Mapping) else "nothing"
            raise InvalidUpdate(
                f"Node {now.spec.name!r} goes over {path!r}, and {name!r} is not there. There is: {valid}.",
                node=now.spec.name,
            )
        found = found[name]
    return found


def _work(now: Now) -> NodeSpec:
    work = now.spec.function or now.spec.config.get("node") or now.spec.config.get("child")
    if isinstance(work, str):
        found: NodeSpec | None = now.level.spec.nodes.get(work)
        if found is None:
            raise GraphInvalid(f"Node {now.spec.name!r} is to run {work!r}, and there is no such node.")
        return found
    if isinstance(work, NodeSpec):
        return work
    if work is None:
        raise GraphInvalid(f"Node {now.spec.name!r} has no work to do for each item: give it a function, or `node=…`.")
    kind = "subgraph" if hasattr(work, "spec") else "function"
    return NodeSpec(name=now.spec.name, type=kind, function=work)


def _result(outcome: Outcome) -> Any:
    update = outcome.update
    return next(iter(update.values())) if update is not None and len(update) == 1 else update
