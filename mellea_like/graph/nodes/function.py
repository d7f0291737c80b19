"""Nodes that are functions of the user's: of the state, of what tools take, and those that choose where it goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ...errors import GraphInvalid, unknown_name
from ...tools import MelleaTool
from ..calling import asked, bound, called, joined, known
from ..commands import Command, Send
from ..events import ToolCallComplete, ToolCallStart
from ..hearing import tell_returned
from ..now import Now
from ..outcomes import Outcome, outcome_of, writing
from ..spec import canonical
from ..state import StateForm


async def function(now: Now, form: StateForm) -> Outcome:
    """Call the node's function with the state, or with what its parameters name."""
    outcome = await outcome_of(now, form, await _returned(now, form))
    now.running.outbox.empty()
    tell_returned(now, outcome.update)
    return outcome


async def _returned(now: Now, form: StateForm) -> Any:
    work = now.spec.function
    if not callable(work):
        raise GraphInvalid(f"Node {now.spec.name!r} has no function: {work!r} cannot be called.", node=now.spec.name)
    extra = now.spec.config.get("bindings") or {}
    return await called(now, form, work, bound(work, known(now, form), extra))


async def tool(now: Now, form: StateForm) -> Outcome:
    """Call a tool: parameters are what they name, keys of the input, keys of the state, or the node's `bindings`.

    What is no dict is written as `output`, or under the node's `state_key`.
    """
    work = now.spec.function
    work = work.function if isinstance(work, MelleaTool) else work
    if not callable(work):
        raise GraphInvalid(f"The tool node {now.spec.name!r} has no function: {work!r}.", node=now.spec.name)
    given, extra = joined(now), dict(now.spec.config.get("bindings") or {})
    if isinstance(now.state, Mapping):
        extra |= now.state
    if isinstance(given, Mapping):
        extra |= given
    name = getattr(work, "__name__", now.spec.name)
    call_id = f"call_{now.task}"
    now.running.say(
        ToolCallStart(place=now.place, attempt=now.attempt, call_id=call_id, name=name, arguments=_json(given))
    )
    result = await called(now, form, work, bound(work, known(now, form), extra, positional=("input",)))
    key = now.spec.config.get("state_key")
    if result is not None and not isinstance(result, Outcome) and (key or not isinstance(result, Mapping)):
        result = {key or "output": result}
    outcome = await outcome_of(now, form, result)
    now.running.say(
        ToolCallComplete(place=now.place, attempt=now.attempt, call_id=call_id, name=name, output=outcome.output)
    )
    return outcome


def _json(given: Any) -> str:
    try:
        return json.dumps(given, default=str)
    except (TypeError, ValueError):  # keys that are no text, or a circle: it is for display only
        return "{}"


async def condition(now: Now, form: StateForm) -> Outcome:
    """Choose by a function where it goes on: it gives a key of the node's `routes` (or `mapping`), or a node's name.

    A `Command` may say what is written besides.
    """
    choice = await _returned(now, form)
    if isinstance(choice, Command):
        return replace(await outcome_of(now, form, choice), exclusive=True)
    return chosen(now, choice)


def chosen(now: Now, choice: Any) -> Outcome:
    """Return the outcome of a choice.

    Raises:
        GraphInvalid: the node's routes do not know it, and there is no `default`.
    """
    config = now.spec.config
    routes = config.get("routes") or config.get("mapping")
    default = config.get("default_route") or config.get("default")
    choices = choice if isinstance(choice, list | tuple) else [choice]
    goto = tuple(one if isinstance(one, Send) else _route(now, one, routes, default) for one in choices)
    return Outcome(output=joined(now), goto=goto, exclusive=True)


def _route(now: Now, choice: Any, routes: Mapping[Any, str] | None, default: str | None) -> str:
    if routes is None:
        return canonical(str(choice))
    if choice in routes:
        return canonical(routes[choice])
    if default is not None:
        return canonical(default)
    raise GraphInvalid(
        f"Node {now.spec.name!r} chose {choice!r}. {unknown_name('route', choice, map(str, routes))} "
        "Or give it a `default`.",
        node=now.spec.name,
    )


async def loop(now: Now, form: StateForm) -> Outcome:
    """Go back to `loop_back_to` while `condition(state, output)` is true, at most `max_iterations` times."""
    config = now.spec.config
    back = config.get("loop_back_to")
    if back is None:
        raise GraphInvalid(
            f"The loop node {now.spec.name!r} does not say where it goes back to. Give it `loop_back_to='…'`; to do "
            "something for each of a list, take `node_type='foreach'`.",
            node=now.spec.name,
        )
    outcome = Outcome(output=joined(now))
    if callable(now.spec.function):
        outcome = await function(now, form)
    wanted = config.get("condition") or config.get("loop_condition")
    limit, times = config.get("max_iterations"), now.level.loops.get(now.spec.name, 0)
    again = limit is None or times < limit
    if again and wanted is not None:
        given = known(now, form, output=outcome.output)
        again = bool(await asked(now, wanted, bound(wanted, given, {}, positional=("state", "output"))))
    if not again:
        now.level.loops.pop(now.spec.name, None)
        return outcome
    now.level.loops[now.spec.name] = times + 1
    return Outcome(
        output=outcome.output, writes=outcome.writes, update=outcome.update, goto=(canonical(back),), exclusive=True
    )


async def passthrough(now: Now, form: StateForm) -> Outcome:
    """Do nothing, or write the node's `output`: a dict of state keys, whose callables are asked with the state."""
    wanted = now.spec.config.get("output")
    if wanted is None:
        return Outcome(output=joined(now))
    update = {}
    for name, value in wanted.items():
        update[name] = await asked(now, value, bound(value, known(now, form), {})) if callable(value) else value
    return writing(form, now.spec.name, update)
