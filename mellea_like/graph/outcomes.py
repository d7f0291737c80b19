"""What a node came to: which keys it writes, where it goes on; made of whatever a node may return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..content import Message, ToolCall
from ..errors import InvalidUpdate
from ..parts import settled, thunks_in
from ..roles import AIMessage
from ..samples import UNPARSED
from ..thunk import ModelOutputThunk
from .commands import Command, Send, gotos
from .events import InterruptEvent
from .now import Now
from .state import MESSAGES, StateForm, Writes


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one attempt of a node came to.

    `output` is for the nodes after it, `writes` for the state, `update` is what readers see of those. It goes on at
    `goto`, and `exclusive` says: nowhere else. Where it waits for answers, it came to nothing yet.
    """

    output: Any = None
    writes: Writes = ()
    update: Mapping[str, Any] | None = None
    goto: tuple[str | Send, ...] = ()
    exclusive: bool = False
    waiting: tuple[InterruptEvent, ...] = ()

    def kept(self) -> dict[str, Any]:
        """Return it as it is kept, until the nodes beside it are through too."""
        return {
            "output": self.output,
            "writes": list(self.writes),
            "goto": list(self.goto),
            "exclusive": self.exclusive,
        }

    @classmethod
    def restored(cls, kept: Mapping[str, Any]) -> Outcome:
        """Return the outcome that was kept."""
        writes = tuple((name, value) for name, value in kept["writes"])
        named = {"output": kept["output"], "goto": tuple(kept["goto"]), "exclusive": kept["exclusive"]}
        return cls(writes=writes, update=dict(writes) or None, **named)


def writing(form: StateForm, node: str, update: Mapping[str, Any] | None, *, output: Any = None) -> Outcome:
    """Return the outcome of a node that writes `update`.

    Raises:
        InvalidUpdate: it does not fit the state.
    """
    writes = form.writes(update, node=node)
    return Outcome(output=update if output is None else output, writes=writes, update=dict(writes) if writes else None)


async def outcome_of(now: Now, form: StateForm, result: Any) -> Outcome:
    """Make an outcome of what a node returned: None, a dict, a thunk, a `Command`, or any value for its `state_key`.

    A thunk is waited for; inside a dict, too, where its text takes its place.

    Raises:
        InvalidUpdate: it does not fit the state.
        MelleaError: a thunk failed; with what that failed with.
    """
    if isinstance(result, Outcome):
        return result
    if isinstance(result, Command):
        written = await outcome_of(now, form, result.update)
        return replace(written, goto=gotos(result.goto))
    if isinstance(result, list) and result and all(isinstance(one, Command | Send) for one in result):
        return await _several(now, form, result)
    if isinstance(result, Send):
        return Outcome(goto=(result,))
    if isinstance(result, ModelOutputThunk):
        end = await computed(now, result)
        update = text_update(now, form, end.value, parsed=end.parsed, tool_calls=end.tool_calls)
        return writing(form, now.spec.name, update, output={"content": end.value})
    if result is None:
        return Outcome()
    key = now.spec.config.get("state_key")
    if isinstance(result, Mapping):
        return writing(form, now.spec.name, await _without_thunks(now, result))
    if form.is_whole(result):
        return writing(form, now.spec.name, result)
    if key is not None or form.keys is None:
        return writing(form, now.spec.name, {key or "output": result})
    raise InvalidUpdate(
        f"Node {now.spec.name!r} returned {result!r}, which is no update. Return a dict of state keys ("
        f"{', '.join(map(repr, form.names))}), a thunk, a Command or None; or give the node a `state_key`.",
        node=now.spec.name,
    )


async def _several(now: Now, form: StateForm, results: list[Any]) -> Outcome:
    whole = Outcome()
    for result in results:
        one = await outcome_of(now, form, result)
        whole = replace(whole, writes=whole.writes + one.writes, goto=whole.goto + one.goto)
    return replace(whole, update=await joined_update(now, form, whole.writes))


async def joined_update(now: Now, form: StateForm, writes: Writes) -> dict[str, Any] | None:
    """Return what readers see of several writes: of those to one key what they come to together."""
    if len({name for name, _ in writes}) == len(writes):
        return dict(writes) or None
    if form.foreign(name for name, _ in writes):  # a reducer of the user's
        return await now.ask(form.applied, {}, [(now.spec.name, writes)])
    return form.applied({}, [(now.spec.name, writes)])


async def computed(now: Now, thunk: ModelOutputThunk[Any]) -> Any:
    """Wait for a thunk's end, telling what it says; stop it where the node is stopped.

    Raises:
        MelleaError: it failed; with what it failed with.
    """
    now.heard(thunk._log)
    try:
        return await thunk
    except BaseException:  # what it failed with, or a cancellation; both go on as they are
        await thunk.cancel()
        raise


async def _without_thunks(now: Now, update: Mapping[str, Any]) -> Mapping[str, Any]:
    if not any(isinstance(value, ModelOutputThunk | list | dict | tuple) for value in update.values()):
        return update
    running = list(thunks_in({name: value for name, value in update.items() if not isinstance(value, Message)}))
    if not running:
        return update
    for thunk in running:
        await computed(now, thunk)
    return {name: _said(value) if name == MESSAGES else _value(value) for name, value in update.items()}


def _said(value: Any) -> Any:
    """Return messages with an answer in place of each thunk; text would be taken for the user's."""
    if isinstance(value, list | tuple):
        return [_said(one) for one in value]
    if not isinstance(value, ModelOutputThunk):
        return settled(value)
    if isinstance(value.parsed, Message):
        return value.parsed
    return AIMessage(value.value or "", tool_calls=value.tool_calls)


def _value(value: Any) -> Any:
    return value.parsed if isinstance(value, ModelOutputThunk) else settled(value)


def text_update(
    now: Now, form: StateForm, text: str, *, parsed: Any = UNPARSED, tool_calls: tuple[ToolCall, ...] = ()
) -> dict[str, Any]:
    """Return what an answer writes: under the node's `state_key`; else a message, where the state has `messages`.

    Else it is `output`. An answer of a type is written as what it was parsed to, except as a message.
    """
    key = now.spec.config.get("state_key")
    value = text if parsed is UNPARSED or isinstance(parsed, Message) else parsed
    if key is not None and key != MESSAGES:
        return {key: value}
    if key == MESSAGES or has_messages(now, form):
        return {MESSAGES: [AIMessage(text, tool_calls=tool_calls)]}
    return {"output": value}


def has_messages(now: Now, form: StateForm) -> bool:
    """Whether the state is a conversation: it has the key `messages`."""
    return form.has(MESSAGES) or (form.keys is None and isinstance(now.state, Mapping) and MESSAGES in now.state)
