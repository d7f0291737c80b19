"""Any loop, any thread, any process: one session serves them all, and nothing is left behind."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import AIOHTTP, Wire
from .server import PATIENCE, Hold


def test_a_hundred_event_loops_and_one_session(wire: Wire):
    wire.server.always_plays(wire.speech.answer("Hel", "lo"))
    m = wire.session()

    async def ask(n: int) -> str:
        if n % 2:
            return (await m.ainstruct("go")).value
        return "".join([delta async for delta in await m.ainstruct("go", await_result=False)])

    for n in range(100):
        assert asyncio.run(ask(n)) == "Hello"
        if not n % 10:
            assert m.instruct("go").value == "Hello"
    assert len(wire.server.asked) == 110


def test_synchronous_calls_inside_a_running_loop(wire: Wire):
    wire.server.always_plays(wire.speech.answer("Hel", "lo"))
    m = wire.session()

    async def cell() -> list[str]:
        return [m.instruct("go").value, (await m.ainstruct("go")).value, *m.instruct("go", await_result=False)]

    for _ in range(3):
        assert asyncio.run(cell()) == ["Hello", "Hello", "Hel", "lo"]


def test_many_threads_and_one_session(wire: Wire):
    wire.server.always_plays(lambda asked: wire.speech.answer(asked.body["messages"][-1]["content"]))
    m = wire.session()
    seen: dict[int, list[str]] = {}

    def ask(n: int) -> None:
        async def twice() -> list[str]:
            return [(await m.ainstruct(f"{n}-{i}")).value for i in range(2)]

        seen[n] = [*asyncio.run(twice()), m.instruct(f"{n}-2").value]

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert seen == {n: [f"{n}-{i}" for i in range(3)] for n in range(16)}


def test_a_thunk_of_a_loop_that_has_ended_is_read_on_another(wire: Wire):
    hold = Hold()
    wire.server.plays([*wire.speech.start("Hel"), hold, *wire.speech.answer("lo")[1:]])
    m = wire.session()

    async def begin():
        thunk = await m.ainstruct("go", await_result=False)
        await thunk.astream()
        return thunk

    thunk = asyncio.run(begin())
    hold.release()
    assert asyncio.run(thunk.avalue()) == "Hello"


# --- processes --------------------------------------------------------------------------------------------------------

alone = pytest.mark.parametrize("wire", ["ollama", AIOHTTP], indirect=True)
"""Once for each family of clients is enough: each run starts a Python of its own."""


@pytest.fixture
def strictly_ran(wire: Wire) -> Callable[[str], str]:
    """Run a program with warnings as errors; it must leave well, with nothing on stderr."""

    def run(program: str) -> str:
        begin = f"""
            from mellea_like import start_session
            def start(**options):
                usual = dict(base_url={wire.url!r}, api_key="key", retries=0, timeout={PATIENCE}, **{wire.usual})
                return start_session({wire.name!r}, "small", **{{**usual, **options}})
        """
        text = textwrap.dedent(begin) + textwrap.dedent(program)
        command = [
            sys.executable,
            "-W",
            "error",
            "-W",
            "ignore:This process:DeprecationWarning",
            "-c",
            text,
        ]
        here = Path(__file__).parents[2]
        done = subprocess.run(command, capture_output=True, text=True, timeout=6 * PATIENCE, check=False, cwd=here)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    return run


def test_a_program_that_closes_its_session_is_quiet(wire: Wire, strictly_ran):
    wire.server.always_plays(wire.speech.answer("Hello"))
    out = strictly_ran(
        """
        import asyncio
        with start() as m:
            print(m.instruct("go"))
            async def main():
                async with start() as other:
                    print(await other.ainstruct("go"), await m.ainstruct("go"))
            for _ in range(3):
                asyncio.run(main())
        """
    )
    assert out == "Hello\n" + "Hello Hello\n" * 3
    assert wire.server.all_closed()


@alone
def test_a_program_that_does_not_close_its_session_is_quiet(wire: Wire, strictly_ran):
    wire.server.always_plays(wire.speech.answer("Hello"))
    assert strictly_ran("m = start()\nprint(m.instruct('go'))") == "Hello\n"
    assert wire.server.all_closed()


@alone
def test_a_program_that_leaves_in_the_middle_of_a_stream_is_quiet(wire: Wire, strictly_ran):
    wire.server.always_plays([*wire.speech.start("Hel"), Hold()])
    assert strictly_ran("m = start()\nt = m.instruct('go', await_result=False)\nprint(next(iter(t)))") == "Hel\n"
    assert wire.server.all_closed()


FORK = """
import os, sys
m = start({options})
print(m.instruct("parent, idle").value, flush=True)
running = m.instruct("parent, running", await_result=False)
assert next(iter(running)) == "Hel"
child = os.fork()
if not child:
    code = 1
    try:
        {child}
        code = 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        {leave}
{parent}
assert os.waitpid(child, 0)[1] == 0
print(m.instruct("parent, later").value)
m.close()
"""

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")


@pytest.fixture
def answering(wire: Wire) -> Wire:
    """A wire whose server answers with the prompt, and stops in the middle where it says `running`."""

    def script(asked):
        prompt = asked.body["messages"][-1]["content"]
        return [*wire.speech.start("Hel"), Hold()] if "running" in prompt else wire.speech.answer(prompt)

    wire.server.always_plays(script)
    return wire


@alone
@needs_fork
@pytest.mark.parametrize("options", ["max_concurrency=1, requests_per_second=1000"])
@pytest.mark.parametrize("leave", ["os._exit(code)", "sys.exit(code)"])
def test_a_forked_child_makes_calls_of_its_own(answering: Wire, strictly_ran, options: str, leave: str):
    child = "print([m.instruct(f'child {n}').value for n in range(3)], flush=True); m.close()"
    out = strictly_ran(FORK.format(options=options, child=child, parent="running.close()", leave=leave))
    assert out == "parent, idle\n['child 0', 'child 1', 'child 2']\nparent, later\n"
    asked = {a.body["messages"][-1]["content"]: a.connection for a in answering.server.asked}
    assert asked["child 0"] not in {asked["parent, idle"], asked["parent, running"]}
    assert answering.server.all_closed()


@alone
@needs_fork
def test_a_forked_child_does_not_hold_the_connections_of_its_parent(answering: Wire, strictly_ran):
    # The child is still there, and waits for the parent's word, when the server must see the parent close its end.
    child = "os.close(ours); os.read(theirs, 1)"
    parent = """
os.close(theirs)
running.close()
m.close()
print(m.backend, flush=True)
sys.stdin.readline()
os.close(ours)
"""
    begin = "import os\ntheirs, ours = os.pipe()\n"
    program = begin + FORK.format(options="", child=child, parent=parent, leave="os._exit(code)")
    program = program.replace('print(m.instruct("parent, later").value)\n', "")
    started = f"""
from mellea_like import start_session
def start(**options):
    return start_session({answering.name!r}, "small", base_url={answering.url!r}, api_key="key", **{answering.usual})
"""
    command = [sys.executable, "-W", "error", "-c", started + program]
    here = Path(__file__).parents[2]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=here, **pipes) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "parent, idle\n"
        assert "Backend" in running.stdout.readline()
        assert answering.server.all_closed(), "the child holds a connection of its parent"
        assert running.communicate("go\n", timeout=PATIENCE) == ("", "")
    assert running.returncode == 0
