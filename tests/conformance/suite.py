"""The checks that every backend must pass, and how a backend is described to them.

A check is a function of a `Bench`. It asks through sessions, as users do, and through `backend.stream` for what a log
would hide. It knows no provider: what a backend cannot do is said by its `Subject`, and the check is left out.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import pytest
from pydantic import BaseModel

from mellea_like import (
    Backend,
    ContextOverflow,
    Finished,
    GenerationCancelled,
    ImageBlock,
    MelleaError,
    MelleaSession,
    Message,
    ModelOption,
    ModelOutputThunk,
    Request,
    SessionClosed,
    UnknownName,
)
from mellea_like.engine import block_on_engine
from mellea_like.events import Event, Said

Ability: TypeAlias = Literal["schema", "seed", "stop", "length", "system", "images", "logprobs"]

STORY = "Tell me a story."
"""Whatever answers this must do it at length."""
BRIEF = "Say hi."
"""Whatever answers this must end by itself within 200 tokens."""

STEADY: dict[str, Any] = {ModelOption.TEMPERATURE: 0.0, ModelOption.SEED: 7, ModelOption.MAX_NEW_TOKENS: 12}
FOREIGN = "grüß 你好 🎉"
PIXEL = ImageBlock.from_bytes(b"\x89PNG\r\n\x1a\n" + bytes(16))
PATIENCE = 60.0
"""Seconds after which a wait has failed; nothing that works takes as long."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A backend to be checked.

    Args:
        name: What the tests call it.
        takes: How to make it; each is given a path of its own for every backend that a check makes. A check runs once
            per take, so an earlier take can leave behind what a later one needs.
        can: What it is able to do.
        silence: Options that make it answer with nothing, None where there are none.
        window: Tokens that fit into its context, None where there is no limit to check.
        idle: Whether nothing is being generated at the source; None where that cannot be seen.
        marks: pytest's marks for its tests.
    """

    name: str
    takes: Sequence[Callable[[Path], Backend]]
    can: Collection[Ability] = ()
    silence: Mapping[str, Any] | None = None
    window: int | None = None
    idle: Callable[[], bool] | None = None
    marks: Collection[pytest.MarkDecorator] = ()


@dataclass
class Bench(ExitStack):
    """What one take of a check works with; everything that was opened is closed when it is left."""

    subject: Subject
    make: Callable[[Path], Backend]
    folder: Path
    made: int = field(default=0)

    def __post_init__(self) -> None:
        super().__init__()

    def backend(self) -> Backend:
        """Make another backend."""
        self.made += 1
        backend = self.make(self.folder / f"backend-{self.made}")
        self.callback(lambda: block_on_engine(backend.aclose()))
        return backend

    def session(self, **options: Any) -> MelleaSession:
        """Start a session on a backend of its own, with answers that are short and the same every time."""
        return self.enter_context(MelleaSession(self.backend(), model_options={**self.steady(), **options}))

    def steady(self) -> dict[str, Any]:
        """Return the options that make answers short, and the same every time where the subject can."""
        return {name: value for name, value in STEADY.items() if name != "seed" or "seed" in self.subject.can}


Check: TypeAlias = Callable[[Bench], None]
CHECKS: list[tuple[Check, Callable[[Subject], object]]] = []
"""Every check, with the question whether it concerns a subject."""


def check(found: Check) -> Check:
    """Add a check that concerns every backend."""
    CHECKS.append((found, lambda subject: True))
    return found


def check_if(concerns: Callable[[Subject], object]) -> Callable[[Check], Check]:
    """Add a check that concerns the backends of which `concerns` is true."""

    def add(found: Check) -> Check:
        CHECKS.append((found, concerns))
        return found

    return add


def cases(subjects: Sequence[Subject]) -> list[Any]:
    """List the pairs of a check and a subject that it concerns, as pytest's parameters."""
    return [
        pytest.param(found, subject, id=f"{subject.name}-{found.__name__}", marks=list(subject.marks))
        for subject in subjects
        for found, concerns in CHECKS
        if concerns(subject)
    ]


def run(found: Check, subject: Subject, folder: Path) -> None:
    """Run a check on a subject, once per take."""
    for make in subject.takes:
        with Bench(subject, make, folder) as bench:
            found(bench)


def streamed(bench: Bench, prompt: str) -> list[Said]:
    """Drain a backend's `stream`, which sessions keep behind a log, and list everything that it said."""
    backend = bench.backend()
    said: list[Said] = []

    async def drain() -> None:
        request = Request(messages=(Message("user", prompt),), options=backend.resolve(bench.steady()))
        said.extend([one async for one in backend.stream(request)])

    block_on_engine(drain())
    return said


# --- text -----------------------------------------------------------------------------------------------------------


@check
def text_arrives_in_several_deltas_that_join_to_the_text(bench: Bench) -> None:
    thunk = bench.session().instruct(STORY, await_result=False)
    live = list(thunk)
    computed = thunk.result()
    assert len(live) > 2
    assert all(live)
    assert "".join(live) == computed.value
    assert list(computed) == live


@check
def the_stream_says_text_and_then_finished_once_and_last(bench: Bench) -> None:
    said = streamed(bench, STORY)
    assert isinstance(said[-1], Finished)
    assert sum(isinstance(one, Finished) for one in said) == 1
    assert all(isinstance(one, str | Event) for one in said)
    assert sum(isinstance(one, str) for one in said) > 2


@check
def a_prompt_in_any_script_is_answered(bench: Bench) -> None:
    answer = bench.session().instruct(f"Repeat after me: {FOREIGN}")
    assert answer.value
    assert "\ufffd" not in answer.value


@check
def a_long_prompt_is_read_to_its_end(bench: Bench) -> None:
    answer = bench.session().instruct("word " * 500 + BRIEF)
    assert answer.usage is not None
    assert answer.usage.input_tokens > 500


@check_if(lambda subject: subject.silence)
def an_empty_answer_is_an_answer(bench: Bench) -> None:
    thunk = bench.session().instruct(BRIEF, model_options=bench.subject.silence, await_result=False)
    assert list(thunk) == []
    assert (thunk.result().value, thunk.finish_reason) == ("", "stop")


# --- metadata -------------------------------------------------------------------------------------------------------


@check
def usage_model_provider_and_times_are_known(bench: Bench) -> None:
    m = bench.session()
    known = m.instruct(BRIEF).generation
    assert known.usage is not None
    assert known.usage.input_tokens > 0
    assert known.usage.output_tokens > 0
    assert not known.usage.estimated
    assert known.model
    assert known.provider == m.backend.name
    assert known.ttft is not None
    assert known.seconds is not None
    assert 0 < known.ttft <= known.seconds


@check
def an_answer_that_ends_by_itself_says_stop(bench: Bench) -> None:
    assert bench.session(max_new_tokens=200).instruct(BRIEF).finish_reason == "stop"


@check_if(lambda subject: "length" in subject.can)
def an_answer_that_is_cut_off_says_length(bench: Bench) -> None:
    answer = bench.session(max_new_tokens=3).instruct(STORY)
    assert answer.finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.output_tokens == 3


@check_if(lambda subject: "logprobs" in subject.can)
def log_probabilities_are_in_the_raw_reply(bench: Bench) -> None:
    answer = bench.session(logprobs=True, keep_raw=True).instruct(BRIEF)
    assert "logprob" in repr(answer.generation.raw)


# --- options --------------------------------------------------------------------------------------------------------


@check
def an_unknown_option_is_refused_with_the_names_that_are_valid(bench: Bench) -> None:
    m = bench.session()
    with pytest.raises(UnknownName, match=r"temprature.*Did you mean 'temperature'") as caught:
        m.instruct(BRIEF, model_options={"temprature": 1})
    assert ModelOption.TEMPERATURE in caught.value.valid


@check_if(lambda subject: "seed" in subject.can)
def at_temperature_zero_or_with_a_seed_an_answer_is_repeatable(bench: Bench) -> None:
    m = bench.session()
    assert m.instruct(STORY).value == m.instruct(STORY).value
    seeded = {"temperature": 1.0, "seed": 3}
    assert m.instruct(STORY, model_options=seeded).value == m.instruct(STORY, model_options=seeded).value


@check_if(lambda subject: "stop" in subject.can)
def a_stop_sequence_ends_the_answer_before_it(bench: Bench) -> None:
    m = bench.session()
    whole = m.instruct(STORY).value
    word = whole.split()[4]
    stopped = m.instruct(STORY, model_options={"stop_sequences": [word]})
    assert stopped.value == whole[: whole.index(word)]
    assert stopped.finish_reason == "stop"


@check_if(lambda subject: "system" in subject.can)
def a_system_prompt_is_sent(bench: Bench) -> None:
    m = bench.session()
    plain, ruled = (m.instruct(BRIEF, model_options={"system_prompt": p}).usage for p in ("Obey.", "Obey. " * 40))
    assert plain is not None
    assert ruled is not None
    assert ruled.input_tokens > plain.input_tokens


# --- structured output ----------------------------------------------------------------------------------------------


class Person(BaseModel):
    """What a model is asked to fill in."""

    name: str
    age: int


@check_if(lambda subject: "schema" in subject.can)
def a_schema_gives_a_valid_object(bench: Bench) -> None:
    m = bench.session(max_new_tokens=100)
    assert isinstance(m.instruct("Ana is 30 years old.", format=Person).parsed, Person)


@check_if(lambda subject: "schema" in subject.can)
def text_in_any_script_arrives_whole(bench: Bench) -> None:
    m = bench.session(max_new_tokens=60)
    kind: Any = Literal[FOREIGN]
    thunk = m.instruct("Greet me.", format=kind, await_result=False)
    deltas = list(thunk)
    assert thunk.result().parsed == FOREIGN
    assert len(deltas) > 2


# --- stopping -------------------------------------------------------------------------------------------------------


def started(m: MelleaSession) -> tuple[ModelOutputThunk[str], str]:
    """Start an answer that is much too long, and wait for its first delta."""
    thunk = m.instruct(STORY, model_options={"max_new_tokens": 2000}, await_result=False)
    return thunk, next(iter(thunk))


@check
def cancelling_stops_the_source_and_keeps_the_text(bench: Bench) -> None:
    m = bench.session()
    thunk, first = started(m)
    thunk.close()
    assert bench.subject.idle is None or bench.subject.idle()
    assert thunk.state == "cancelled"
    assert thunk.partial_text.startswith(first)
    with pytest.raises(GenerationCancelled) as caught:
        thunk.result()
    assert caught.value.partial_text == thunk.partial_text
    assert m.instruct(BRIEF).value


@check
def a_call_that_is_cancelled_before_its_first_text_ends(bench: Bench) -> None:
    m = bench.session()
    thunk = m.instruct(STORY, await_result=False)
    thunk.close()
    assert thunk.done()
    assert bench.subject.idle is None or bench.subject.idle()
    assert m.instruct(BRIEF).value


@check
def closing_a_session_stops_what_runs_and_refuses_more(bench: Bench) -> None:
    m = bench.session()
    thunk, _ = started(m)
    m.close()
    assert thunk.state == "cancelled"
    assert bench.subject.idle is None or bench.subject.idle()
    with pytest.raises(SessionClosed):
        m.instruct(BRIEF)


@check
def a_backend_can_be_closed_unused_used_and_twice(bench: Bench) -> None:
    backend = bench.backend()
    block_on_engine(backend.aclose())
    backend = bench.backend()
    MelleaSession(backend).instruct(BRIEF, model_options=bench.steady())
    block_on_engine(backend.aclose())
    block_on_engine(backend.aclose())


# --- many at once, and anywhere -------------------------------------------------------------------------------------


@check
def concurrent_calls_do_not_mix(bench: Bench) -> None:
    m = bench.session()
    thunks = [m.instruct("word " * 10 * n + BRIEF, await_result=False) for n in range(6)]
    answers = [thunk.result() for thunk in thunks]
    assert all(answer.value == "".join(answer) for answer in answers)
    asked = [answer.usage.input_tokens for answer in answers if answer.usage is not None]
    assert len(asked) == 6
    assert asked == sorted(set(asked))


@check_if(lambda subject: "schema" in subject.can)
def concurrent_answers_do_not_mix(bench: Bench) -> None:
    m = bench.session()
    kinds: list[Any] = [Literal[f"answer {n}"] for n in range(6)]
    thunks = [m.instruct("Answer.", format=kind, await_result=False) for kind in kinds]
    assert [thunk.result().parsed for thunk in thunks] == [f"answer {n}" for n in range(6)]


@check
def one_backend_serves_several_event_loops_and_threads(bench: Bench) -> None:
    m = bench.session()

    async def ask() -> str:
        return (await m.ainstruct(BRIEF)).value

    answers = [asyncio.run(ask()), asyncio.run(ask())]
    thread = threading.Thread(target=lambda: answers.append(m.instruct(BRIEF).value))
    thread.start()
    thread.join(PATIENCE)
    assert len(answers) == 3
    assert all(answers)


# --- refusing -------------------------------------------------------------------------------------------------------


@check
def a_constructor_opens_nothing(bench: Bench) -> None:
    block_on_engine(asyncio.sleep(0))  # the library's own thread and sockets are there
    before = opened(bench.folder)
    bench.backend()
    assert opened(bench.folder) <= before


def opened(folder: Path) -> set[object]:
    """List what this process has open: threads, the files of a folder, and where the system shows them, all files."""
    shown = Path("/proc/self/fd")
    files = [os.readlink(link) for link in shown.iterdir() if link.exists()] if shown.is_dir() else []
    return {*threading.enumerate(), *folder.iterdir(), *files}


@check_if(lambda subject: "images" not in subject.can)
def an_image_is_refused_and_not_left_out(bench: Bench) -> None:
    m = bench.session()
    with pytest.raises(MelleaError, match=r"(?i)image"):
        m.chat("What is this?", images=[PIXEL])
    assert m.instruct(BRIEF).value


@check_if(lambda subject: subject.window)
def a_prompt_that_does_not_fit_is_refused_with_numbers(bench: Bench) -> None:
    m, window = bench.session(), bench.subject.window or 0
    with pytest.raises(ContextOverflow) as caught:
        m.instruct("word " * 2 * window)
    assert caught.value.context_window == window
    assert (caught.value.input_tokens or 0) > window
    assert m.instruct(BRIEF).value
