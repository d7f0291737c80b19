"""Processes: forks, the interpreter's exit, interrupts."""

from __future__ import annotations

import os
import textwrap

import pytest

# --- fork -------------------------------------------------------------------------------------------------------------

FORK = """
import os, sys
from mellea_like import Answer, ChatContext, Gate, WrongProcess, start_session

gate = Gate()
m = start_session("fake", answers=["finished", Answer(["one ", gate, "two"]), "new"])
finished = m.instruct("a")
running = m.instruct("b", await_result=False)
assert next(iter(running)) == "one "
assert gate.reached(30)
child = os.fork()
if not child:
    code = 1
    try:
        {child}
        code = 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
gate.open()
assert running.result().value == "one two"
assert m.instruct("c").value == "new"
assert os.waitpid(child, 0)[1] == 0
print("parent")
"""

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")


@needs_fork
@pytest.mark.parametrize(
    "reading",
    [
        "running.result()",
        "list(running)",
        "asyncio.run(running.avalue())",
        "[asyncio.run(running.astream()) for _ in range(2)]",
    ],
)
def test_a_running_thunk_refuses_to_be_read_in_a_forked_child(ran, reading):
    child = f"""
        import asyncio
        try:
            {reading}
        except WrongProcess as error:
            assert str(os.getpid()) in str(error), error
            print("child")
    """
    assert ran(FORK.format(child=textwrap.indent(textwrap.dedent(child), " " * 8).strip())) == "child\nparent\n"


@needs_fork
@pytest.mark.parametrize(
    "child",
    [
        "assert (finished.value, list(finished), finished.result().value) == ('finished', ['finished'], 'finished')",
        "assert m.instruct('c').value == 'new'",
        "import asyncio; assert asyncio.run(m.ainstruct('c')).value == 'new'",
        "assert start_session('fake', answers='x').instruct('c').value == 'x'",
        "repr(running); assert running.partial_text == 'one '; del running",
        "running.cancel()",
        "m.close()",
        "import asyncio; asyncio.run(m.aclose())",
    ],
)
def test_a_forked_child_uses_what_is_its_own(ran, child):
    assert ran(FORK.format(child=child)) == "parent\n"


@needs_fork
def test_a_forked_child_leaves_a_with_block_and_the_interpreter_quietly(ran):
    out = ran(
        """
        import os
        from mellea_like import Answer, Gate, start_session

        gate = Gate()
        with start_session("fake", answers=Answer(["one ", gate, "two"])) as m:
            thunk = m.instruct("go", await_result=False)
            assert next(iter(thunk)) == "one "
            child = os.fork()
            if child:
                gate.open()
                print(thunk.result(), flush=True)
        if child:
            assert os.waitpid(child, 0)[1] == 0
        """
    )
    assert out == "one two\n"


# --- the interpreter's exit -------------------------------------------------------------------------------------------

SYNCHRONOUS = """
from mellea_like import Answer, Gate, start_session
m = start_session("fake", answers=Answer(["one ", Gate()]))
thunk = m.instruct("go", await_result=False)
print(next(iter(thunk)))
"""

ASYNCHRONOUS = """
import asyncio
from mellea_like import Answer, Gate, start_session
async def main():
    global thunk
    m = start_session("fake", answers=Answer(["one ", Gate()]))
    thunk = await m.ainstruct("go", await_result=False)
    reading = asyncio.create_task(thunk.avalue())
    print(await thunk.astream())
asyncio.run(main())
"""

DAEMON = """
import atexit, threading
atexit.register(lambda: thread.join(0.5))  # after the library's own: time in which a reader could complain
from mellea_like import Answer, Gate, start_session
m, first = start_session("fake", answers=Answer(["one ", Gate()])), threading.Event()
def read():
    for delta in m.instruct("go", await_result=False):
        print(delta)
        first.set()
thread = threading.Thread(target=read, daemon=True)
thread.start()
first.wait(30)
"""

BURSTING = """
from mellea_like import Answer, start_session
m = start_session("fake", answers=lambda request: Answer(["x"] * 100_000))
thunks = [m.instruct("go", await_result=False) for _ in range(5)]
next(iter(thunks[0]))
print("one ")
"""


@pytest.mark.parametrize("program", [SYNCHRONOUS, ASYNCHRONOUS, BURSTING], ids=["sync", "async", "bursting"])
@pytest.mark.parametrize("leave", ["", "import sys; sys.exit(0)", "m = thunk = None", "import gc; gc.collect()"])
def test_leaving_the_interpreter_in_the_middle_of_a_stream_is_quiet(ran, program, leave):
    assert ran(f"{program}\n{leave}").strip() == "one"


def test_leaving_the_interpreter_while_a_daemon_thread_reads_is_quiet(ran):
    assert ran(DAEMON).strip() == "one"


def test_leaving_the_interpreter_stops_the_model(ran):
    out = ran(
        """
        import asyncio
        from mellea_like import Backend, MelleaSession
        class Talker(Backend):
            async def stream(self, request):
                try:
                    yield "one "
                    await asyncio.Event().wait()
                finally:
                    await asyncio.sleep(0)
                    print("stopped", flush=True)
        thunk = MelleaSession(Talker()).instruct("go", await_result=False)
        print(next(iter(thunk)))
        """
    )
    assert out == "one \nstopped\n"


def test_a_call_made_while_the_interpreter_leaves_does_not_hang(ran):
    out = ran(
        """
        import atexit
        import faulthandler

        def late():
            try:
                print(m.instruct("go"))
            except GenerationCancelled:
                print("cancelled")

        faulthandler.dump_traceback_later(20, exit=True)
        atexit.register(late)  # before the library's own, so it runs after that
        from mellea_like import GenerationCancelled, start_session
        m = start_session("fake", answers="text")
        print(m.instruct("go"))
        """
    )
    assert out == "text\ncancelled\n"


# --- interrupts -------------------------------------------------------------------------------------------------------

INTERRUPTED = """
import asyncio, os, signal, sys, threading, time
from mellea_like import Backend, MelleaSession
flowing, stopped = threading.Event(), threading.Event()
class Talker(Backend):
    async def stream(self, request):
        try:
            yield "one "
            flowing.set()
            await asyncio.Event().wait()
        finally:
            stopped.set()
m = MelleaSession(Talker())
def interrupt():
    flowing.wait(30)
    seen, still = None, 0
    while still < 20:  # until the main thread waits
        frame = sys._current_frames()[threading.main_thread().ident]
        before, seen = seen, (id(frame), frame.f_lasti)
        still = still + 1 if before == seen else 0
        del frame
        time.sleep(0.002)
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=interrupt).start()
try:
    {call}
except KeyboardInterrupt:
    print("interrupted", stopped.wait(30))
"""


@pytest.mark.parametrize("call", ["m.instruct('go')", "m.chat('go')", "m.act('go')", "asyncio.run(m.ainstruct('go'))"])
def test_an_interrupt_stops_the_generation_of_a_waiting_call(ran, call):
    assert ran(INTERRUPTED.format(call=call)) == "interrupted True\n"


def test_an_interrupt_inside_a_synchronous_loop_stops_the_generation(ran):
    assert ran(INTERRUPTED.format(call="for _ in m.instruct('go', await_result=False): pass")) == "interrupted True\n"
