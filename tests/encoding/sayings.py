"""What is said to encoders that open and close things: calls as they happen, runs, and events in any order at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st

from mellea_like import (
    Answer,
    Cancelled,
    Checked,
    Custom,
    Delta,
    Failed,
    Finished,
    MelleaError,
    MelleaSession,
    Retried,
    Started,
    Thinking,
    ToolCallEvent,
    ToolResult,
    Usage,
    req,
)
from mellea_like.encoding.blocks import BlockEncoder
from mellea_like.events import Event
from mellea_like.graph import events as said_by_runs
from mellea_like.graph.events import Place

from .reading import by_client

Start = Callable[..., MelleaSession]


@dataclass(frozen=True, slots=True, kw_only=True)
class Held(Started):
    """The start of an attempt whose text is held back until one is accepted."""

    held: bool = True


def numbered(said: Iterable[Event]) -> list[Event]:
    return [replace(event, seq=seq) for seq, event in enumerate(said)]


def stream(encoder: BlockEncoder, said: Iterable[Any], *, broken_by: BaseException | None = None) -> bytes:
    """Encode what is said from beginning to end."""
    frames = [encoder.begin()]
    frames += [encoder.encode(one, number) for number, one in enumerate(said)]
    frames += [] if broken_by is None else [encoder.fail(broken_by, len(frames))]
    return b"".join([*frames, encoder.end()])


def frames_in(whole: bytes) -> list[Any]:
    """Read the JSON of a stream's frames, without `[DONE]`."""
    return [json.loads(event.data) for event in by_client(whole) if event.data != "[DONE]"]


def events_of(m: MelleaSession, **options: Any) -> list[Event]:
    """Make a call and return all that it says."""
    return list(m.instruct("Say it.", await_result=False, **options).events())


def judged_call(fake: Start) -> list[Event]:
    """A call whose first attempt is given up; its text is held back."""
    m = fake([Answer(["too ", "long"]), Answer(["sh", "ort"])])
    check = req("be short", validation_fn=lambda ctx: ctx.last_output().value == "short")
    return [
        Held(seq=e.seq, model=e.model, attempt=e.attempt) if isinstance(e, Started) else e
        for e in events_of(m, requirements=[check])
    ]


def wish(arguments: str = '{"a": 1}', **about: Any) -> ToolCallEvent:
    return ToolCallEvent(**{"name": "add", "id": "c1", "complete": True, **about}, arguments=arguments)


def at(node: str, thunk: str = "", *, ns: tuple[str, ...] = ()) -> Place:
    return Place(run_id="run", ns=ns, node_id=node, thunk_id=thunk)


words = st.sampled_from(["", "a", "two words", "\n\n", "[DONE]", "data: x", "half \ud83c", "\u2028", "ünï"])
names = st.sampled_from(["add", "", "weather"])
ids = st.sampled_from([None, "c1", "c2"])
places = st.sampled_from([at("poet", "t1"), at("poet", "t2"), at("critic", "t3"), at("poet", ns=("sub",)), Place()])
tasks = st.sampled_from(["1", "2"])
attempts = st.integers(1, 3)
errors = st.sampled_from([None, MelleaError("secret"), ValueError("secret")])
usages = st.sampled_from([None, Usage(input_tokens=1, output_tokens=2, cached_tokens=1)])


def _of(kind: type[Event], **fields: Any) -> st.SearchStrategy[Any]:
    return st.builds(kind, **fields)


@st.composite
def _in_runs(draw: st.DrawFn) -> Event:
    run, place = said_by_runs, draw(places)
    fields: dict[Any, dict[str, Any]] = {
        run.ExecutionStart: {"state": st.just({"x": object()})},
        run.NodeStart: {"task": tasks},
        run.NodeComplete: {"task": tasks},
        run.NodeError: {"task": tasks, "error": errors, "will_retry": st.booleans()},
        run.NodeRetry: {"task": tasks, "discard_from_seq": st.integers(0, 9)},
        run.Token: {"content": words},
        run.Draft: {"content": words},
        run.DraftDiscarded: {"reason": words},
        run.ReasoningToken: {"content": words},
        run.MessageStart: {},
        run.MessageComplete: {"content": words},
        run.ToolCallStart: {"call_id": ids, "name": names, "arguments": words},
        run.ToolCallComplete: {
            "call_id": ids,
            "name": names,
            "output": st.one_of(words, st.just([1])),
            "ok": st.booleans(),
        },
        run.Validation: {"requirement": words},
        run.StateUpdate: {"state": st.just({"x": 1})},
        run.InterruptEvent: {"id": names, "value": words},
        run.CheckpointSaved: {},
        run.Resumed: {},
        run.CustomSaid: {"payload": st.just(object())},
        run.ExecutionComplete: {"usage": usages, "interrupts": st.just((run.InterruptEvent(id="i", value="?"),))},
        run.ExecutionCancelled: {},
        run.ExecutionError: {"error": errors.filter(bool)},
    }
    kind = draw(st.sampled_from(list(fields)))
    return draw(_of(kind, place=st.just(place), **fields[kind]))


generations = st.one_of(
    _of(Started, attempt=attempts),
    _of(Held, attempt=attempts),
    _of(Delta, text=words, attempt=attempts),
    _of(Thinking, text=words, attempt=attempts),
    _of(
        ToolCallEvent,
        index=st.integers(0, 1),
        id=ids,
        name=st.one_of(st.none(), names),
        arguments=words,
        complete=st.booleans(),
        attempt=attempts,
    ),
    _of(ToolResult, name=names, id=ids, text=words, ok=st.booleans(), attempt=attempts),
    _of(Checked, requirement=words, passed=st.sampled_from([True, False, None])),
    _of(Retried, reason=words, void=attempts),
    _of(Custom, name=words, payload=words),
    _of(Finished, attempt=attempts, usage=usages),
    _of(Failed, error=errors.filter(bool)),
    _of(Cancelled),
)

anything: st.SearchStrategy[Sequence[Any]] = st.lists(
    st.one_of(generations, _in_runs(), words, st.none()), max_size=30
).map(lambda said: [replace(one, seq=seq) if isinstance(one, Event) else one for seq, one in enumerate(said)])
