"""The embedded model: real generations through `stream()`, and what must hold when they are cut short."""

from __future__ import annotations

import asyncio
import gc
import json
import shutil
import subprocess
import sys
import textwrap
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from mellea_like.backends import _llama, _weights
from mellea_like.backends._llama import Call, Model
from mellea_like.backends.llamacpp import LlamaCppBackend, _cores, _refusal
from mellea_like.content import ImageBlock, Message, Request
from mellea_like.errors import (
    BackendUnavailable,
    ContextOverflow,
    InvalidArgument,
    ModelNotFound,
    RequestRefused,
    UnknownName,
)
from mellea_like.events import Finished, Said

LONG = "word " * 1500
"""A prompt of 25 batches: seconds of work before the first token."""
SMALL: dict[str, Any] = {"context_window": 2048, "slots": 4}
"""The settings that most tests share, so that they share one loaded model."""
PATIENCE = 30.0

model = pytest.mark.model


def asked(text: str = "Count from one to twenty in words.", *, system: str = "", **fields: Any) -> Request:
    options = fields.pop("options", {})
    messages = (Message("system", system),) if system else ()
    return Request(messages=(*messages, Message("user", text)), options={"temperature": 0, **options}, **fields)


async def said(backend: LlamaCppBackend, request: Request) -> tuple[list[str], Finished]:
    """Read a whole answer: its deltas and its end, which comes once and last."""
    everything = [item async for item in backend.stream(request)]
    *deltas, end = everything
    assert isinstance(end, Finished)
    assert all(isinstance(delta, str) and delta for delta in deltas)
    return [str(delta) for delta in deltas], end


async def first(stream: AsyncGenerator[Said, None]) -> Said:
    return await anext(stream)


@model
async def test_a_request_that_cannot_be_written_says_what_of_it() -> None:
    backend = LlamaCppBackend(**SMALL)
    with pytest.raises(InvalidArgument, match=r"Message 2 of the request \(role 'user'\) .* character 3 is"):
        await said(backend, asked("Hi \ud83d!", system="Be brief."))
    with pytest.raises(InvalidArgument, match=r"'extra' is .*object"):
        await said(backend, asked(options={"extra": {"x": object()}}))


def loaded() -> Model:
    (only,) = _llama.registry.models.values()
    return only


async def until(model: Model, *, running: int, waiting: int = 0) -> None:
    """Wait until so many calls run and wait."""
    async with asyncio.timeout(PATIENCE):
        while (len(model.running), len(model.waiting)) != (running, waiting):
            await asyncio.sleep(0.002)  # not 0: a busy loop would take the core that the engine computes on


@pytest.fixture(scope="module")
def kept() -> Iterator[None]:
    """Keep the model of `SMALL` loaded between tests."""
    others = set(_llama.registry.models)  # of sessions that other tests leave open on purpose
    keeper = LlamaCppBackend(**SMALL)
    asyncio.run(anext_and_close(keeper))
    yield
    asyncio.run(keeper.aclose())
    assert set(_llama.registry.models) <= others


async def anext_and_close(backend: LlamaCppBackend) -> None:
    async with aclosing(backend.stream(asked())) as stream:
        await first(stream)


@pytest.fixture
async def backend(kept: None) -> AsyncGenerator[LlamaCppBackend, None]:
    backend = LlamaCppBackend(**SMALL)
    yield backend
    await backend.aclose()


# Without a model.


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        ({"code": 400, "message": "no", "type": "invalid_request_error"}, RequestRefused),
        ({"code": 500, "message": "no", "type": "server_error"}, BackendUnavailable),
    ],
)
def test_what_the_engine_reports_becomes_an_error(told: dict[str, Any], kind: type[Exception]):
    with pytest.raises(kind, match="no"):
        raise _refusal(told)


def test_a_constructor_loads_nothing():
    code = (
        "from mellea_like.backends.llamacpp import *; import sys; LlamaCppBackend(); print('xllamacpp' in sys.modules)"
    )
    assert run(code).stdout == "False\n"


@pytest.mark.parametrize("name", ["context_window", "slots", "threads"])
def test_a_number_below_one_is_refused(name: str):
    with pytest.raises(InvalidArgument, match=name):
        LlamaCppBackend(**{name: 0})


def test_options_it_cannot_honour_are_refused():
    with pytest.raises(UnknownName, match="thinking"):
        LlamaCppBackend(model_options={"thinking": True})


def test_only_the_embedded_model_has_default_options():
    assert LlamaCppBackend().resolve({"top_p": None}) == {"temperature": 0.2, "max_new_tokens": 1024}
    assert LlamaCppBackend("smollm2", model_options={"temperature": 1}).resolve(None) == {
        "temperature": 1,
        "top_p": 0.9,
        "max_new_tokens": 1024,
    }
    assert LlamaCppBackend("other.gguf").resolve(None) == {}
    assert _cores() >= 1


async def test_a_missing_file_is_not_found(tmp_path: Path):
    with pytest.raises(ModelNotFound, match="far"):
        await first(LlamaCppBackend(str(tmp_path / "far.gguf")).stream(asked()))


async def test_closing_what_was_never_opened_is_nothing():
    await LlamaCppBackend().aclose()


async def test_a_reader_on_a_closed_loop_stops_the_call():
    async def begin() -> Call:
        return Call({})

    call = await asyncio.to_thread(asyncio.run, begin())
    assert call.receive({}) is True


async def test_a_second_cancellation_does_not_cut_the_wait_short():
    call = Call({})
    task = asyncio.create_task(call.stop())
    for _ in range(2):
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    await asyncio.to_thread(call.end)
    with pytest.raises(asyncio.CancelledError):
        await task


# With the model.


@model
async def test_text_comes_in_many_pieces_and_ends_once(backend: LlamaCppBackend):
    deltas, end = await said(backend, asked("Tell me a long story.", options={"max_new_tokens": 24}))
    assert len(deltas) > 15
    assert end.finish_reason == "length"
    assert end.model == "SmolLM2-135M-Instruct"
    assert end.raw is None
    assert end.usage is not None
    assert end.usage.output_tokens == 24
    assert end.usage.input_tokens > 10


@model
async def test_an_answer_ends_by_itself_or_at_a_stop_sequence(backend: LlamaCppBackend):
    deltas, end = await said(backend, asked("Say hi."))
    assert end.finish_reason == "stop"
    assert "".join(deltas)
    whole, _ = await said(backend, asked(options={"max_new_tokens": 20}))
    stop = "".join(whole).split()[3]
    cut, end = await said(backend, asked(options={"max_new_tokens": 20, "stop_sequences": [stop]}))
    assert end.finish_reason == "stop"
    assert "".join(cut) == "".join(whole).partition(stop)[0]


@model
async def test_the_same_seed_gives_the_same_text(backend: LlamaCppBackend):
    def drawn(seed: int) -> Request:
        return asked("Tell a story.", options={"temperature": 1.5, "seed": seed, "max_new_tokens": 16})

    one, two, other = [(await said(backend, drawn(seed)))[0] for seed in (1, 1, 2)]
    assert one == two != other


@model
async def test_a_schema_is_followed(backend: LlamaCppBackend):
    schema = {
        "type": "object",
        "properties": {"name": {"enum": ["Ana", "Bob"]}, "age": {"type": "integer", "minimum": 0, "maximum": 99}},
        "required": ["name", "age"],
        "additionalProperties": False,
    }
    deltas, end = await said(backend, asked("A person.", schema=schema, options={"max_new_tokens": 100}))
    assert end.finish_reason == "stop"
    assert json.loads("".join(deltas)).keys() == {"name", "age"}


@model
async def test_a_system_prompt_arrives(backend: LlamaCppBackend):
    _, plain = await said(backend, asked("Hi", options={"max_new_tokens": 1}))
    _, told = await said(backend, asked("Hi", system="You are a parrot. " * 20, options={"max_new_tokens": 1}))
    assert plain.usage is not None
    assert told.usage is not None
    assert told.usage.input_tokens > plain.usage.input_tokens + 40


@model
async def test_the_raw_reply_is_kept_on_request_with_its_probabilities(backend: LlamaCppBackend):
    options = {"max_new_tokens": 2, "keep_raw": True, "logprobs": 2, "extra": {"n_probs": 2}}
    _, end = await said(backend, asked(options=options))
    assert end.raw is not None
    with_probabilities = [c for c in end.raw if c["choices"] and c["choices"][0].get("logprobs")]
    assert len(with_probabilities[0]["choices"][0]["logprobs"]["content"][0]["top_logprobs"]) == 2


@model
async def test_a_prompt_that_is_too_long_says_its_numbers(backend: LlamaCppBackend):
    with pytest.raises(ContextOverflow, match="2048") as caught:
        await said(backend, asked("word " * 3000))
    assert caught.value.context_window == 2048
    assert caught.value.input_tokens is not None
    assert caught.value.input_tokens > 3000
    assert (await said(backend, asked(options={"max_new_tokens": 1})))[1]


@model
@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (asked(schema={"type": "nothing"}), RequestRefused),
        (asked(options={"extra": {"x": object()}}), InvalidArgument),
        (Request(messages=(Message("user", "look", images=(ImageBlock(value="AAAA"),)),)), RequestRefused),
    ],
)
async def test_what_the_engine_cannot_do_is_refused(
    backend: LlamaCppBackend, request_: Request, error: type[Exception]
):
    with pytest.raises(error):
        await said(backend, request_)
    assert not loaded().running


@model
@pytest.mark.parametrize("size", [4, 1000, 5_000_000])
async def test_a_cut_off_file_is_refused(tmp_path: Path, size: int):
    with _weights.fetch(_weights.EMBEDDED).open("rb") as whole:
        (tmp_path / "cut.gguf").write_bytes(whole.read(size))
    backend = LlamaCppBackend(str(tmp_path / "cut.gguf"))
    with pytest.raises(BackendUnavailable, match=r"cut\.gguf"):
        await said(backend, asked())
    await backend.aclose()


@model
async def test_a_load_that_failed_is_tried_again(tmp_path: Path):
    path = tmp_path / "mended.gguf"
    path.write_bytes(b"GGUF")
    backend = LlamaCppBackend(str(path), context_window=256, slots=1)
    for _ in range(2):
        with pytest.raises(BackendUnavailable, match="cannot be loaded"):
            await said(backend, asked())
    shutil.copyfile(_weights.fetch(_weights.EMBEDDED), path)
    assert (await said(backend, asked(options={"max_new_tokens": 1})))[1].model == str(path)
    await backend.aclose()


@model
async def test_eight_streams_share_four_slots(backend: LlamaCppBackend):
    answers = await asyncio.gather(*(said(backend, asked(options={"max_new_tokens": 8})) for _ in range(8)))
    assert len(answers) == 8
    assert all(end.usage is not None and end.usage.output_tokens == 8 for _, end in answers)


@model
async def test_no_more_calls_run_than_there_are_slots_and_the_rest_wait_in_order(backend: LlamaCppBackend):
    streams = [backend.stream(asked("Tell a long story.")) for _ in range(4)]
    for stream in streams:
        await first(stream)
    order: list[int] = []

    async def late(number: int) -> None:
        await said(backend, asked(options={"max_new_tokens": 1}))
        order.append(number)

    tasks = []
    for number in range(3):
        tasks.append(asyncio.create_task(late(number)))
        await until(loaded(), running=4, waiting=number + 1)
    await streams[0].aclose()
    await asyncio.gather(*tasks)
    assert order == [0, 1, 2]
    for stream in streams:
        await stream.aclose()
    assert not loaded().running


@model
@pytest.mark.parametrize("text", ["Tell a long story.", LONG], ids=["generating", "reading the prompt"])
async def test_a_cancelled_stream_has_left_the_engine(backend: LlamaCppBackend, text: str):
    task = asyncio.create_task(said(backend, asked(text)))
    await until(loaded(), running=1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not loaded().running
    assert (await said(backend, asked(options={"max_new_tokens": 1})))[1]


@model
async def test_a_cancelled_waiter_leaves_the_queue_at_once(backend: LlamaCppBackend):
    streams = [backend.stream(asked("Tell a long story.")) for _ in range(4)]
    for stream in streams:
        await first(stream)
    waiter = asyncio.create_task(said(backend, asked()))
    await until(loaded(), running=4, waiting=1)
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    assert (len(loaded().running), len(loaded().waiting)) == (4, 0)
    for stream in streams:
        await stream.aclose()


@model
async def test_backends_with_equal_settings_share_one_model(backend: LlamaCppBackend):
    other = LlamaCppBackend("smollm2", **SMALL)
    await said(other, asked(options={"max_new_tokens": 1}))
    assert len(_llama.registry.models) == 1


@model
async def test_closing_one_backend_does_not_disturb_another(backend: LlamaCppBackend):
    other = LlamaCppBackend(**SMALL)
    ours = backend.stream(asked(options={"max_new_tokens": 12}))
    await first(ours)
    await first(other.stream(asked()))
    await other.aclose()
    assert isinstance([item async for item in ours][-1], Finished)


@model
async def test_a_stream_keeps_the_model_that_its_backend_has_let_go():
    settings = {**SMALL, "context_window": 512, "slots": 1}
    backend = LlamaCppBackend(**settings)
    stream = backend.stream(asked(options={"max_new_tokens": 12}))
    await first(stream)
    before = set(_llama.registry.models)
    await backend.aclose()
    assert set(_llama.registry.models) == before
    assert isinstance([item async for item in stream][-1], Finished)
    await _llama.outcome(_llama.release(None))
    assert not {s for s in _llama.registry.models if s.context_window == 512}


@model
async def test_a_forgotten_backend_lets_its_model_go():
    backend = LlamaCppBackend(**{**SMALL, "context_window": 512, "slots": 1})
    await said(backend, asked(options={"max_new_tokens": 1}))
    assert {s for s in _llama.registry.models if s.context_window == 512}
    del backend
    gc.collect()
    await _llama.outcome(_llama.release(None))
    assert not {s for s in _llama.registry.models if s.context_window == 512}


@model
async def test_a_load_that_is_cancelled_is_there_for_the_others():
    settings = {**SMALL, "context_window": 512, "slots": 2}
    one, two = LlamaCppBackend(**settings), LlamaCppBackend(**settings)
    task = asyncio.create_task(said(one, asked()))
    other = asyncio.create_task(said(two, asked(options={"max_new_tokens": 1})))
    while not {s for s in _llama.registry.models if s.context_window == 512}:
        await asyncio.sleep(0.002)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await other)[1]
    await one.aclose()
    await two.aclose()


@model
def test_two_event_loops_share_one_model(kept: None):
    ends: list[Finished] = []
    barrier = threading.Barrier(2)

    def on_a_loop_of_its_own() -> None:
        async def several() -> None:
            backend = LlamaCppBackend(**SMALL)
            answers = await asyncio.gather(*(said(backend, asked(options={"max_new_tokens": 8})) for _ in range(4)))
            ends.extend(end for _, end in answers)
            await backend.aclose()

        barrier.wait()
        asyncio.run(several())

    threads = [threading.Thread(target=on_a_loop_of_its_own) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ends) == 8
    assert len(_llama.registry.models) == 1


# In a process of their own: memory, exit, fork.

PRELUDE = """
import asyncio, os, sys, threading
from mellea_like.backends.llamacpp import LlamaCppBackend
from mellea_like.backends import _llama
from mellea_like.content import Message, Request

def asked(text="Tell a long story.", **options):
    return Request(messages=(Message("user", text),), options=options)

async def said(backend, request):
    return [item async for item in backend.stream(request)]

backend = LlamaCppBackend(context_window=2048, slots=2)
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a Python of its own, which must end well and say nothing on stderr."""
    quietly = ("-W", "ignore:This process:DeprecationWarning")  # newer Pythons warn of every fork beside threads
    command = [sys.executable, *quietly, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done


@model
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_closing_the_last_backend_frees_the_memory():
    code = """
    def megabytes():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    async def main():
        await said(backend, asked(max_new_tokens=1))
        before = megabytes()
        await backend.aclose()
        print(before - megabytes() > 50, len(_llama.registry.models))

    asyncio.run(main())
    """
    assert run(PRELUDE + textwrap.dedent(code)).stdout == "True 0\n"


@model
@pytest.mark.parametrize("text", ["Tell a long story.", LONG], ids=["generating", "reading the prompt"])
def test_the_interpreter_exits_while_a_stream_runs(text: str):
    code = f"""
    running = threading.Event()
    heard = _llama.Call.receive

    def receive(call, chunk):
        running.set()
        return heard(call, chunk)

    _llama.Call.receive = receive
    threading.Thread(target=lambda: asyncio.run(said(backend, asked({text!r}))), daemon=True).start()
    running.wait()
    print("leaving")
    """
    assert run(PRELUDE + textwrap.dedent(code)).stdout == "leaving\n"


@model
def test_the_interpreter_exits_with_a_loaded_model():
    assert run(PRELUDE + "print(len(asyncio.run(said(backend, asked(max_new_tokens=2)))))").stdout == "3\n"


@model
def test_the_interpreter_exits_while_a_model_loads():
    code = """
    threading.Thread(target=lambda: asyncio.run(said(backend, asked())), daemon=True).start()
    while not _llama.registry.models:
        pass
    """
    run(PRELUDE + textwrap.dedent(code))


@model
@pytest.mark.skipif(sys.platform == "win32", reason="forks")
def test_a_forked_child_loads_its_own_model_and_both_end_well():
    code = """
    import warnings
    warnings.simplefilter("ignore", DeprecationWarning)
    print(len(asyncio.run(said(backend, asked(max_new_tokens=2)))), flush=True)
    inherited = next(iter(_llama.registry.models.values()))
    idle, busy = os.fork(), None
    if idle:
        busy = os.fork()
    if busy == 0:
        print(len(_llama.registry.models), len(asyncio.run(said(backend, asked(max_new_tokens=3)))), flush=True)
        asyncio.run(backend.aclose())
        print(len(_llama.registry.models), flush=True)
        sys.exit(4)
    if idle == 0:
        del backend
        inherited.free()  # takes the last reference away that Python knows of
        sys.exit(5)
    print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in (idle, busy)], flush=True)
    print(len(asyncio.run(said(backend, asked(max_new_tokens=2)))))
    """
    assert run(PRELUDE + textwrap.dedent(code)).stdout.splitlines() == ["3", "0 4", "0", "[5, 4]", "3"]


@model
@pytest.mark.skipif(sys.platform == "win32", reason="forks")
def test_a_fork_in_the_middle_of_a_stream_leaves_it_undisturbed():
    code = """
    import warnings
    warnings.simplefilter("ignore", DeprecationWarning)

    async def main():
        stream = backend.stream(asked(max_new_tokens=20))
        await anext(stream)
        child = os.fork()
        if child == 0:
            os._exit(0 if not _llama.registry.models else 1)
        print(os.waitpid(child, 0)[1])
        print(type([item async for item in stream][-1]).__name__)

    asyncio.run(main())
    """
    assert run(PRELUDE + textwrap.dedent(code)).stdout == "0\nFinished\n"
