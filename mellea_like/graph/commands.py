"""What a node may say besides an update of the state: where it goes on, and what it waits for. Pure data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, TypeAlias


class _Nothing(Enum):
    NOTHING = "nothing"


NOTHING: Final = _Nothing.NOTHING
"""Where None would be a value."""


@dataclass(frozen=True, slots=True)
class Send:
    """Run `node` with `arg` as its state, beside the others of the next step; several of one node run side by side.

    Args:
        node: The node's name.
        arg: What it is given instead of the graph's state.

    Example:
        ```python
        from mellea_like import END, Send, StateGraph

        graph = StateGraph()
        graph.add_node("double", lambda state: {str(state["n"]): 2 * state["n"]})
        graph.add_conditional_edges("START", lambda state: [Send("double", {"n": n}) for n in state["numbers"]])
        graph.add_edge("double", END)
        print(graph.compile().invoke({"numbers": [1, 2]}))
        ```

    Source: LangGraph's `Send`.
    """

    node: str
    arg: Any


Goto: TypeAlias = "str | Send | Sequence[str | Send]"
"""Where it goes on: a node's name, a `Send`, or several of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What a node returns that also says where it goes on; and what resumes a run that waits.

    Args:
        update: As if the node had returned it.
        goto: Where it goes on, besides the node's edges.
        resume: The answer to `interrupt(…)`; the input of a run that goes on. Where it waits with several questions, it
            answers the first; a dict of answers by the questions' ids answers them all.

    Example:
        ```python
        from mellea_like import Command, StateGraph

        graph = StateGraph()
        graph.add_node("first", lambda state: Command(update={"seen": True}, goto="second"))
        graph.add_node("second", lambda state: {"done": state["seen"]})
        graph.set_entry_point("first")
        print(graph.compile().invoke({}))
        ```

    Source: LangGraph's `Command`.
    """

    update: Mapping[str, Any] | None = None
    goto: Goto = ()
    resume: Any = NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class Interrupt:
    """A question that a run waits with, as `invoke` and the stream modes show it under `"__interrupt__"`.

    Args:
        value: What `interrupt(value)` was given; None where the run was to stop there, and nothing is asked.
        id: Which question of the run it is: the subgraphs that it is in, the step and the node.
    """

    value: Any
    id: str = ""


def gotos(goto: Goto) -> tuple[str | Send, ...]:
    """List where it goes on."""
    return (goto,) if isinstance(goto, str | Send) else tuple(goto)
