"""Laws of thunks: whatever a model says, and whoever reads it when and where, everyone gets the same."""

from __future__ import annotations

import asyncio
import copy
import pickle
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mellea_like import (
    Answer,
    Cancelled,
    Custom,
    Delta,
    Failed,
    Finished,
    Gate,
    GenerationCancelled,
    RateLimited,
    Retried,
    Thinking,
    Truncated,
    start_session,
)
from mellea_like.log import Log

HANGS = 60
"""Seconds after which an example has hung; none takes one."""


def laws(examples, **more):
    """How often a law is tried; never by the clock."""
    quiet = [HealthCheck.too_slow]
    return settings(max_examples=examples, deadline=None, database=None, suppress_health_check=quiet, **more)


# --- what a model may say, and how it may end -------------------------------------------------------------------------

texts = st.text(max_size=6) | st.sampled_from(["", "\n", "a\n\nb", "\N{PARTY POPPER}", "e\u0301", " ", "\u2028"])
pauses = st.sampled_from([0.0, 0.0, 0.0005])
steps = st.lists(
    st.one_of(texts, texts, texts.map(lambda text: Thinking(text=text)), texts.map(lambda t: Delta(text=t)), pauses),
    max_size=25,
)
errors = st.sampled_from([ValueError("no", 1), KeyError("k"), OSError(2, "gone"), RateLimited("slow", retry_after=2.0)])
endings = st.one_of(
    st.just("finished"), st.just("truncated"), st.just("cancelled"), errors, st.sampled_from([Finished(), Cancelled()])
)


def scripted(said, ending, gate):
    """Build the answer that says `said` and then ends as `ending` tells; one to be cancelled waits at the gate."""
    last = [gate] if ending == "cancelled" else [] if isinstance(ending, str) else [ending]
    return Answer([*said, *last], truncated=ending == "truncated")


def expected_error(ending):
    """Return type and arguments of what readers raise after such an ending, None where they raise nothing."""
    if isinstance(ending, BaseException):
        return type(ending), ending.args
    if ending == "cancelled" or isinstance(ending, Cancelled):
        return GenerationCancelled, None
    return (Truncated, None) if ending == "truncated" else None


# --- who may read it --------------------------------------------------------------------------------------------------

KINDS = ["aiter", "iter", "events", "avalue", "await", "result"]


@dataclass
class Reader:
    """One reader: how it reads, where, how late it starts, after how many turns it is cancelled (None: never)."""

    kind: str
    elsewhere: bool
    late: bool
    dawdles: int
    cancelled_after: int | None
    impatient: bool
    said: list[Any] = field(default_factory=list)
    error: BaseException | None = None
    ended: bool = False


def readers_of(kinds):
    return st.builds(
        Reader,
        kind=kinds,
        elsewhere=st.booleans(),
        late=st.booleans(),
        dawdles=st.integers(0, 3),
        cancelled_after=st.none() | st.none() | st.integers(0, 5),
        impatient=st.booleans(),
    )


async def dawdle(turns):
    for _ in range(turns):
        await asyncio.sleep(0)


async def _poll(thunk, reader, *, at_least_once):
    # Another reader's end counts until somebody polls, so only a lone poller may ask before its first poll.
    while at_least_once or not thunk.is_computed():
        at_least_once = False
        try:
            text = await (asyncio.wait_for(thunk.astream(), 0.0003) if reader.impatient else thunk.astream())
        except TimeoutError:
            reader.impatient = len(reader.said) % 7 != 6
            reader.said.append("")
            at_least_once = reader.kind == "poll"
            continue
        shown = "".join(reader.said)
        assert text.startswith(shown)
        reader.said.append(text[len(shown) :])
        await dawdle(reader.dawdles)


async def _iterate(iterator, reader):
    async for said in iterator:
        reader.said.append(said)
        await dawdle(reader.dawdles)


def _iterate_here(thunk, reader):
    for said in thunk:
        reader.said.append(said)


async def _read(thunk, reader):
    match reader.kind:
        case "poll" | "lone poll":
            await _poll(thunk, reader, at_least_once=reader.kind == "poll")
        case "aiter":
            await _iterate(aiter(thunk), reader)
        case "events":
            await _iterate(thunk.events(), reader)
        case "iter":
            await asyncio.to_thread(_iterate_here, thunk, reader)
        case "avalue":
            reader.said.append(await thunk.avalue())
        case "await":
            reader.said.append((await thunk).value)
        case "result":
            reader.said.append((await asyncio.to_thread(thunk.result)).value)


async def reading(thunk, reader):
    """Be that reader to the end; what it got is in it."""
    if reader.late:
        await thunk.ended()
    try:
        if reader.elsewhere:
            await asyncio.to_thread(asyncio.run, _read(thunk, reader))
        else:
            await _read(thunk, reader)
    except Exception as error:  # compared with what the model failed with
        reader.error = error
    reader.ended = True


async def all_reading(answer, ending, gate, readers):
    """Let all readers read one generation, each as it is; return the thunk when nobody reads any more."""
    async with start_session("fake", answers=answer) as m:
        thunk = await m.ainstruct("go", await_result=False)
        tasks = [asyncio.create_task(reading(thunk, reader)) for reader in readers]
        for turn in range(6):
            await asyncio.sleep(0)
            for task, reader in zip(tasks, readers, strict=True):
                # A thread cannot be cancelled, so neither is a reader that lives in one.
                if reader.cancelled_after == turn and not reader.elsewhere and reader.kind not in {"iter", "result"}:
                    task.cancel()
        if ending == "cancelled":
            await asyncio.to_thread(gate.reached, HANGS)
            await thunk.cancel()
        await asyncio.wait_for(asyncio.gather(thunk.ended(), *tasks, return_exceptions=True), HANGS)
        return thunk


def replayed(iterator):
    """Collect what an iterator gives, and the error that it ends with."""
    said = []
    try:
        for item in iterator:
            said.append(item)  # noqa: PERF402  # `extend` would lose what came before an error
    except Exception as error:  # compared with what the readers got
        return said, error
    return said, None


def check(reader, thunk, deltas, ending):
    """Hold one reader against the law of its kind."""
    whole, events = "".join(deltas), list(thunk.events())
    if not reader.ended:  # it was cancelled, and what it got until then is a beginning
        beginning = events if reader.kind == "events" else deltas
        if reader.kind in {"aiter", "events"}:
            assert reader.said == beginning[: len(reader.said)]
        return
    wanted = expected_error(ending) if reader.kind != "events" else None
    if wanted is None:
        assert reader.error is None
    else:
        assert type(reader.error) is wanted[0]
        assert wanted[1] is None or reader.error.args == wanted[1]
        assert isinstance(reader.error, GenerationCancelled) or vars(reader.error) == vars(thunk.error)
    if reader.kind == "events":
        assert reader.said == events
    elif reader.kind in {"aiter", "iter"}:
        assert reader.said == deltas
    elif reader.kind == "poll" or wanted is None:
        assert "".join(reader.said) == whole


@laws(120)
@given(
    said=steps,
    ending=endings,
    poller=st.none() | readers_of(st.just("poll")),
    readers=st.lists(readers_of(st.sampled_from(KINDS)), max_size=5),
)
def test_every_reader_gets_the_same_whatever_happens(said, ending, poller, readers):
    gate = Gate()
    readers = [*readers, *([] if poller is None else [poller])]
    thunk = asyncio.run(all_reading(scripted(said, ending, gate), ending, gate, readers))
    deltas, _ = replayed(thunk)
    spoken = [getattr(step, "text", step) for step in said if isinstance(step, str | Delta)]
    assert [delta for delta in deltas if delta] == [text for text in spoken if text]
    assert thunk.partial_text == "".join(spoken)
    for reader in readers:
        check(reader, thunk, deltas, ending)
    assert not thunk._log._waiters


@laws(60)
@given(said=steps, ending=endings, impatient=st.booleans(), late=st.booleans())
def test_the_polling_loop_prints_exactly_the_text(said, ending, impatient, late):
    gate = Gate()
    poller = Reader("lone poll", elsewhere=False, late=late, dawdles=1, cancelled_after=None, impatient=impatient)
    thunk = asyncio.run(all_reading(scripted(said, ending, gate), ending, gate, [poller]))
    assert "".join(poller.said) == thunk.partial_text
    assert poller.ended
    assert thunk.is_computed()


@laws(60)
@given(said=steps, ending=endings)
def test_copies_and_pickles_read_as_the_thunk_does(said, ending):
    gate = Gate()
    thunk = asyncio.run(all_reading(scripted(said, ending, gate), ending, gate, []))
    deltas, error = replayed(thunk)
    for twin in [copy.copy(thunk), copy.deepcopy(thunk), pickle.loads(pickle.dumps(thunk))]:
        twin_deltas, twin_error = replayed(twin)
        assert (twin_deltas, type(twin_error)) == (deltas, type(error))
        assert list(twin.events()) == list(thunk.events())
        assert (twin.state, twin.value, twin.thinking, twin.generation) == (
            thunk.state,
            thunk.value,
            thunk.thinking,
            thunk.generation,
        )


entries = st.one_of(
    texts,
    st.builds(Delta, text=texts, attempt=st.integers(1, 3)),
    st.builds(Thinking, text=texts, attempt=st.integers(1, 3)),
    st.builds(Retried, reason=texts, void=st.integers(1, 3), attempt=st.integers(1, 3)),
    st.builds(Custom, name=texts),
)


@laws(80)
@given(said=st.lists(entries, max_size=40), end=st.sampled_from([Finished(), Cancelled(), Failed(error=KeyError())]))
def test_a_sealed_log_equals_the_growing_one_entry_by_entry(said, end):
    log = Log()
    for entry in said:
        log.append(entry)
    growing = [log.event(i) for i in range(len(log))]
    text, thinking, pieces = log.text(), log.thinking(), text_of(log)
    log.append(end)
    log.append("after the end")
    assert [log.event(i) for i in range(len(log) - 1)] == growing
    assert (log.text(), log.thinking(), text_of(log)) == (text, thinking, pieces)
    assert len(log) == len(growing) + 1
    assert [event.seq for event in growing] == list(range(len(growing)))


def text_of(log):
    """List the visible deltas."""
    pieces, position = [], 0
    while (found := log.next_text(position))[0] is not None:
        pieces.append(found[0])
        position = found[1]
    return pieces
