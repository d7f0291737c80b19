"""The node `subgraph`: another graph, which shares the keys that both have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...errors import GraphInvalid
from ..now import Now
from ..outcomes import Outcome
from ..spec import GraphSpec
from ..state import StateForm, Writes


async def subgraph(now: Now, form: StateForm) -> Outcome:
    """Run a compiled graph with the keys of the state that it has, and write what it wrote of those that both have.

    `input_mapping` and `output_mapping` (names there to names here) share keys of different names.
    """
    config = now.spec.config
    spec = getattr(now.spec.function or config.get("graph"), "spec", None)
    if not isinstance(spec, GraphSpec):
        raise GraphInvalid(
            f"Node {now.spec.name!r} is a subgraph and has no compiled graph: give one, `add_node(name, "
            "inner.compile())`.",
            node=now.spec.name,
        )
    wanted: Mapping[str, str] = config.get("input_mapping") or {}
    state = now.state if isinstance(now.state, Mapping) else {"input": now.state}
    begin = {key: value for key, value in state.items() if spec.form.keys is None or spec.form.has(key)}
    begin |= {there: state[here] for there, here in wanted.items() if here in state}
    inner = await now.level.inside(now, spec, begin)
    if inner.questions:
        return Outcome(waiting=tuple(inner.questions))
    after = inner.state
    back: Mapping[str, str] = config.get("output_mapping") or {}
    named = {there: back.get(there, there) for there in inner.wrote}
    shared = {there: here for there, here in named.items() if form.keys is None or form.has(here)}
    writes: list[tuple[str, Any]] = []
    for there, here in shared.items():
        # What both join is written again piece by piece; a whole value would be joined to what it begins with.
        if form.reducer(here) is not None and spec.form.reducer(there) is not None:
            writes += [(here, value) for value in inner.wrote[there]]
        else:
            writes.append((here, after[there]))
    written: Writes = tuple(writes)
    update = {here: after[there] for there, here in shared.items()}
    return Outcome(output=inner.last_output, writes=written, update=update or None)
