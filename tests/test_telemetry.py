"""Sinks: who hears of a generation, what they hear, and that hearing changes nothing for the call."""

from __future__ import annotations

import asyncio
import logging
import re
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mellea_like import (
    Answer,
    BackendUnavailable,
    Checked,
    Event,
    Gate,
    InvalidArgument,
    MelleaSession,
    Retried,
    Thinking,
    start_session,
)
from mellea_like.log import Log
from mellea_like.telemetry import Sink, add_sink, listening, on_event, remove_sink
from mellea_like.telemetry.telling import flush_sinks, follow

Start = Callable[..., MelleaSession]
PATIENCE = 10.0


class Recorder:
    """A sink that keeps the logs that it hears of."""

    def __init__(self) -> None:
        self.logs: list[Log] = []

    def opened(self, log: Log) -> None:
        self.logs.append(log)

    @property
    def texts(self) -> list[str]:
        return [log.text() for log in self.logs]


class Equal(Recorder):
    """A sink that equals every other of its kind."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Equal)


@pytest.fixture
def everywhere() -> Iterator[Callable[[Any], Any]]:
    """Add sinks to the process, and take them back."""
    added: list[Sink] = []

    def add(sink: Any) -> Any:
        added.append(add_sink(sink))
        return sink

    yield add
    for sink in added:
        remove_sink(sink)


def told(sink_of: Callable[[Callable[[Event, int], object]], Sink] = on_event) -> tuple[Sink, list[tuple[int, Event]]]:
    """Make a sink that lists what it is told."""
    heard: list[tuple[int, Event]] = []
    return sink_of(lambda event, number: heard.append((number, event))), heard


# --- who hears ------------------------------------------------------------------------------------------------------


def test_a_sink_hears_the_calls_inside_its_block_only(fake: Start) -> None:
    m = fake(["before", "inside", "after"])
    m.instruct("1")
    with listening(Recorder()) as sink:
        m.instruct("2")
    m.instruct("3")
    assert sink.texts == ["inside"]


def test_inner_and_outer_sinks_both_hear(fake: Start) -> None:
    m = fake(["one", "two", "three"])
    with listening(Recorder()) as outer:
        m.instruct("1")
        with listening(Recorder()) as inner:
            m.instruct("2")
        m.instruct("3")
    assert (outer.texts, inner.texts) == (["one", "two", "three"], ["two"])


async def test_tasks_that_were_begun_inside_are_heard_too(fake: Start) -> None:
    m = fake("yes")

    async def deep() -> None:
        await m.ainstruct("?")

    with listening(Recorder()) as sink:
        task = asyncio.create_task(deep())
    await task
    assert sink.texts == ["yes"]


def test_a_sink_of_a_block_is_not_heard_by_another_thread_and_one_of_the_process_is(
    fake: Start, everywhere: Callable[[Any], Any]
) -> None:
    m, process = fake("yes"), everywhere(Recorder())
    with listening(Recorder()) as block:
        thread = threading.Thread(target=m.instruct, args=("?",))
        thread.start()
        thread.join()
    assert (block.texts, process.texts) == ([], ["yes"])


def test_a_sink_that_was_removed_hears_nothing(fake: Start) -> None:
    sink = add_sink(Recorder())
    remove_sink(sink)
    remove_sink(sink)
    fake("yes").instruct("?")
    assert sink.logs == []


def test_an_equal_sink_replaces_the_one_that_is_there(fake: Start, everywhere: Callable[[Any], Any]) -> None:
    first, second = everywhere(Equal()), everywhere(Equal())
    fake("yes").instruct("?")
    assert (first.texts, second.texts) == ([], ["yes"])


def test_a_sink_hears_once_however_often_it_listens(fake: Start, everywhere: Callable[[Any], Any]) -> None:
    sink = everywhere(Recorder())
    with listening(sink), listening(sink):
        fake("yes").instruct("?")
    assert sink.texts == ["yes"]


async def test_a_block_may_be_left_in_another_context(fake: Start) -> None:
    async def fixture() -> AsyncIterator[Recorder]:
        with listening(Recorder()) as sink:
            yield sink

    block = fixture()
    await asyncio.create_task(anext(block))  # type: ignore[arg-type]  # `anext` of a generator is a coroutine
    await block.aclose()


@pytest.mark.parametrize("listen", [lambda sink: listening(sink).__enter__(), add_sink], ids=["listening", "add_sink"])
@pytest.mark.parametrize("wrong", [print, Recorder, None])
def test_what_is_no_sink_is_refused(listen: Callable[[Any], object], wrong: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"is not a sink: it needs a method `opened\(log\)`.*on_event"):
        listen(wrong)


# --- what a sink may do ---------------------------------------------------------------------------------------------


def test_a_sink_is_called_at_once_in_the_callers_thread_and_context(fake: Start) -> None:
    node = ContextVar("node", default="")

    class Where:
        def opened(self, log: Log) -> None:
            self.seen = (node.get(), threading.current_thread(), log.end)

    gate, sink = Gate(), Where()
    with listening(sink):
        node.set("writer")
        thunk = fake(Answer([gate, "text"])).instruct("?", await_result=False)
        assert sink.seen == ("writer", threading.current_thread(), None)
    gate.open()
    thunk.result()


def test_a_sink_that_raises_fails_no_call_and_silences_no_other(fake: Start, caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def opened(self, log: Log) -> None:
            raise ValueError("broken sink")

    with listening(Broken()), listening(Recorder()) as sink:
        assert fake("yes").instruct("?").value == "yes"
    assert sink.texts == ["yes"]
    assert "ValueError: broken sink" in caplog.text


def test_an_interrupt_in_a_sink_goes_on_and_stops_the_generation(talker: Any) -> None:
    class Interrupted:
        def opened(self, log: Log) -> None:
            assert talker.flowing.wait(PATIENCE)
            raise KeyboardInterrupt

    with listening(Interrupted()), pytest.raises(KeyboardInterrupt):
        talker.session.instruct("Talk.", await_result=False)
    assert talker.is_stopped()


async def test_who_follows_a_log_reads_every_event_live_and_again(fake: Start) -> None:
    gate = Gate()
    m = fake(Answer(["one ", Thinking(text="hm"), gate, "two", BackendUnavailable("gone", backend="fake")]))
    with listening(Recorder()) as sink:
        thunk = m.instruct("?", await_result=False)
    live = follow(sink.logs[0])
    first = [await anext(live) for _ in range(3)]
    gate.open()
    rest = [event async for event in live]
    assert [event.type for event in first] == ["started", "delta", "thinking"]
    assert [event.type for event in rest] == ["delta", "failed"]
    assert first + rest == list(follow(sink.logs[0])) == list(thunk.events())


def test_following_does_not_count_as_reading(fake: Start) -> None:
    with listening(Recorder()) as sink:
        thunk = fake("yes").instruct("?", await_result=False)
    list(follow(sink.logs[0]))
    assert not thunk.is_computed()


async def _follow(log: Log) -> None:
    async for _ in follow(log):
        pass


@pytest.mark.parametrize("listener", ["follower", "on_event", "line"])
async def test_a_listener_does_not_keep_an_abandoned_generation_running(
    listener: str, talker: Any, caplog: pytest.LogCaptureFixture
) -> None:
    tasks = []

    class Follower:
        def opened(self, log: Log) -> None:
            tasks.append(asyncio.create_task(_follow(log)))

    caplog.set_level(logging.INFO if listener == "line" else logging.WARNING, "mellea_like")
    with listening(Follower() if listener == "follower" else told()[0]):
        thunk = talker.start()
    await asyncio.sleep(0)
    del thunk
    assert talker.is_stopped()
    await asyncio.gather(*tasks)


# --- functions of events --------------------------------------------------------------------------------------------


def test_a_function_is_told_every_event_in_order_with_the_generations_number(fake: Start) -> None:
    sink, heard = told()
    m = fake(["a b c", "d"])
    with listening(sink):
        thunks = [m.instruct(str(i), await_result=False) for i in range(2)]
        [thunk.result() for thunk in thunks]
    assert flush_sinks()
    for number, thunk in enumerate(thunks, 1):
        assert [event for which, event in heard if which == number] == list(thunk.events())


@given(steps=st.lists(st.text(min_size=1, max_size=3) | st.builds(Thinking, text=st.text(min_size=1)), max_size=20))
def test_what_a_function_is_told_is_what_the_thunk_replays(steps: list[Any]) -> None:
    sink, heard = told()
    with listening(sink), start_session("fake", answers=Answer(steps)) as m:
        thunk = m.instruct("?", await_result=False)
        thunk.result()
    assert flush_sinks()
    assert [event for _, event in heard] == list(thunk.events())


def test_a_function_runs_in_one_thread_of_its_own_with_the_callers_variables(fake: Start) -> None:
    node, seen = ContextVar("node", default=""), set()
    sink = on_event(lambda event, number: seen.add((node.get(), threading.current_thread().name)))
    with listening(sink):
        for name in ("first", "second"):
            node.set(name)
            fake("yes").instruct("?")
    assert flush_sinks()
    assert seen == {("first", "mellea-like listeners"), ("second", "mellea-like listeners")}


def test_a_function_that_blocks_delays_no_answer(fake: Start) -> None:
    let_go = threading.Event()
    with listening(on_event(lambda event, number: let_go.wait(PATIENCE))):
        assert fake("yes " * 50).instruct("?").value == "yes " * 50
    assert not flush_sinks(timeout=0)
    let_go.set()
    assert flush_sinks()


def test_a_function_that_raises_is_logged_and_told_the_rest(fake: Start, caplog: pytest.LogCaptureFixture) -> None:
    heard = []

    def show(event: Event, number: int) -> None:
        heard.append(event.type)
        if event.type == "delta":
            raise SystemExit("broken function")

    with listening(on_event(show)):
        assert fake("yes").instruct("?").value == "yes"
    assert flush_sinks()
    assert heard == ["started", "delta", "finished"]
    assert "broken function" in caplog.text


def test_what_a_function_asks_of_a_model_is_not_told_to_itself(fake: Start, everywhere: Callable[[Any], Any]) -> None:
    heard, other = [], Recorder()

    def summarize(event: Event, number: int) -> None:
        heard.append(number)
        if event.type == "finished":
            m.instruct("Summarize.")

    m, sink = fake(["answer", "summary"]), everywhere(on_event(summarize))
    with listening(other):
        m.instruct("?")
    assert flush_sinks()
    assert flush_sinks()
    assert (set(heard), other.texts) == ({1}, ["answer", "summary"])
    assert isinstance(sink, Sink)


def test_an_asynchronous_function_is_refused() -> None:
    async def show(event: Event, number: int) -> None: ...

    with pytest.raises(InvalidArgument, match=r"plain function.*follow\(log\)"):
        on_event(show)  # type: ignore[arg-type]  # what is tested


def test_who_waits_for_the_listeners_waits_for_all_of_a_long_answer(fake: Start) -> None:
    sink, heard = told()
    with listening(sink):
        fake("word " * 2000).instruct("?")
    assert flush_sinks()
    assert heard[-1][1].type == "finished"


def test_a_function_that_waits_for_itself_is_told_that_it_cannot(fake: Start) -> None:
    answers = []
    with listening(on_event(lambda event, number: answers.append(flush_sinks()))):
        fake("yes").instruct("?")
    assert flush_sinks()
    assert answers == [False] * 3


# --- processes ------------------------------------------------------------------------------------------------------


def test_at_exit_functions_are_told_what_is_left(ran: Callable[[str], str]) -> None:
    printed = ran("""
        import time
        from mellea_like import start_session
        from mellea_like.telemetry import add_sink, on_event

        add_sink(on_event(lambda event, number: (time.sleep(0.05), print(event.type))))
        with start_session("fake", answers="yes") as m:
            m.instruct("?")
    """)
    assert printed.split() == ["started", "delta", "finished"]


def test_after_a_fork_the_child_hears_its_own_calls(ran: Callable[[str], str]) -> None:
    printed = ran("""
        import os
        from mellea_like import start_session
        from mellea_like.telemetry import add_sink, on_event
        from mellea_like.telemetry.telling import flush_sinks

        add_sink(on_event(lambda event, number: print(number, event.type, flush=True)))
        with start_session("fake", answers="yes") as m:
            m.instruct("?")
        assert flush_sinks()
        if (child := os.fork()) == 0:
            with start_session("fake", answers="yes") as m:
                m.instruct("?")
            assert flush_sinks()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    """)
    assert printed.splitlines() == [f"{n} {kind}" for n in (1, 2) for kind in ("started", "delta", "finished")]


def test_without_listeners_nothing_is_printed_and_no_thread_is_started(ran: Callable[[str], str]) -> None:
    printed = ran("""
        import threading
        from mellea_like import MelleaError, start_session

        with start_session("fake", answers=["yes"]) as m:
            m.instruct("?")
            try:
                m.instruct("?")
            except MelleaError:
                pass
            print(any(thread.name == "mellea-like listeners" for thread in threading.enumerate()))
    """)
    assert printed == "False\n"


def test_what_fails_in_a_sink_is_not_printed_unless_logging_is_set_up(ran: Callable[[str], str]) -> None:
    printed = ran("""
        from mellea_like import start_session
        from mellea_like.telemetry import listening

        class Broken:
            def opened(self, log):
                raise ValueError("broken sink")

        with listening(Broken()), start_session("fake", answers="yes") as m:
            print(m.instruct("?"))
    """)
    assert printed == "yes\n"


# --- the logger -----------------------------------------------------------------------------------------------------


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    assert flush_sinks()
    return [record.getMessage() for record in caplog.records if record.name == "mellea_like"]


TIME = r"\d+\.\d{3} s"


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        ("secret answer", rf"fake:script finished \(stop\) after {TIME}, first text after {TIME}, 2 \+ 2 tokens"),
        (BackendUnavailable("secret"), rf"fake:script failed \(BackendUnavailable\) after {TIME}, 0 \+ 0 tokens"),
        (Answer(["secret", Retried(reason="secret", void=1, attempt=2)]), r".*, 2 attempts"),
    ],
    ids=["finished", "failed", "attempts"],
)
def test_a_generation_is_one_line_that_quotes_nothing(
    answer: Any, line: str, fake: Start, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "mellea_like")
    thunk = fake([answer]).instruct("secret prompt", await_result=False)
    list(thunk.events())
    (written,) = lines(caplog)
    assert "secret" not in written
    assert re.fullmatch(line, written), written


def test_a_cancelled_generation_is_a_line_too(talker: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "mellea_like")
    talker.start().close()
    (written,) = lines(caplog)
    assert written.startswith("talker:talker cancelled after ")


def test_verdicts_and_retries_are_lines_at_debug(fake: Start, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "mellea_like")
    checked = Checked(requirement="be brief", passed=False, reason="secret")
    fake(Answer(["long", checked, Retried(reason="secret", void=1, attempt=2)])).instruct("?")
    assert lines(caplog)[:2] == ["attempt 1: requirement be brief failed", "attempt 1 was given up"]


def test_the_logger_is_quiet_by_default(fake: Start, caplog: pytest.LogCaptureFixture) -> None:
    fake("yes").instruct("?")
    assert lines(caplog) == []
