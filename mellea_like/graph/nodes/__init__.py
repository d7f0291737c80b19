"""The types of nodes: what each does with its function and its settings. One table, from a type's name to its work."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

from ..now import Now
from ..outcomes import Outcome
from ..state import StateForm
from .agent import agent
from .function import condition, function, loop, passthrough, tool
from .interrupt import ask
from .llm import llm
from .many import many
from .router import router
from .subgraph import subgraph

Work: TypeAlias = Callable[[Now, StateForm], Awaitable[Outcome | Any]]
"""What a node does: gives an outcome, or whatever `outcome_of` makes one of."""

WORK: Mapping[str, Work] = {
    "agent": agent,
    "condition": condition,
    "foreach": many,
    "function": function,
    "interrupt": ask,
    "llm": llm,
    "loop": loop,
    "map": many,
    "passthrough": passthrough,
    "router": router,
    "subgraph": subgraph,
    "tool": tool,
}
