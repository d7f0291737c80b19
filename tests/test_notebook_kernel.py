"""In a notebook's kernel, where an event loop runs already: every way of calling and reading, and interrupted cells."""

from __future__ import annotations

import asyncio
import os
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from queue import Empty
from typing import Any

import pytest
from wires.server import LINES, PATIENCE, Hold, Server

from mellea_like.backends._weights import resolve_weights

SETUP = """
    import asyncio, sys, threading, warnings
    warnings.simplefilter("error")
    # What the kernel says of itself is not the library's.
    warnings.filterwarnings("ignore", module=r"(ipykernel|IPython|zmq|tornado|traitlets)\\b")
    from mellea_like import Answer, start_session
    fake = start_session("fake", answers=lambda request: Answer(["Hel", "lo"]))
    wire = start_session("ollama", "small", base_url={url!r}, retries=0)  # its patience is longer than the tests'
"""


class Interrupted(Exception):
    """A cell was interrupted; `str` of it is what the notebook shows as the error's name."""


class Kernel:
    """A kernel in a process of its own, and the client that a notebook is to it.

    It is slow to start, so that all tests share one, as the cells of a notebook do.
    """

    def __init__(self, folder: Path) -> None:
        from jupyter_client.kernelspec import KernelSpecManager
        from jupyter_client.manager import AsyncKernelManager

        # zmq wants a loop that can watch sockets, which Windows' usual one cannot.
        self._runner = asyncio.Runner(loop_factory=asyncio.SelectorEventLoop)
        self._log = folder / "stderr"
        # Without folders to search, "python3" is the Python that runs the tests, whatever the user has registered.
        here = KernelSpecManager(kernel_dirs=[])
        self._manager = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=here)
        self._runner.run(self._start(folder))

    async def _start(self, folder: Path) -> None:
        # The user's own folders, profile and history are left alone.
        own = {name: str(folder) for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR")}
        own["NO_PROXY"] = "127.0.0.1"
        quiet = ["--log-level=ERROR", "--HistoryManager.enabled=False"]
        with self._log.open("w") as log:
            await self._manager.start_kernel(stderr=log, env={**os.environ, **own}, extra_arguments=quiet)
        self._client = self._manager.client()
        self._client.start_channels()
        await self._client.wait_for_ready(timeout=3 * PATIENCE)

    def run(self, cell: str) -> str:
        """Run a cell and return what it printed; it must end well, with nothing on stderr."""
        return self._runner.run(self._run(cell, None))

    def interrupt(self, cell: str, at: Hold) -> str:
        """Run a cell, interrupt it when the server stands at `at`, and return the name of the error that it ends in."""
        with pytest.raises(Interrupted) as caught:
            self._runner.run(self._run(cell, at))
        return str(caught.value)

    async def _run(self, cell: str, at: Hold | None) -> str:
        asked = self._client.execute(textwrap.dedent(cell), stop_on_error=False)
        if at is not None:
            assert await asyncio.to_thread(at.reached)
            await self._manager.interrupt_kernel()
        printed, error = "", None
        async with asyncio.timeout(2 * PATIENCE):
            while True:
                kind, content, answered = await self._heard()
                assert content.get("name") != "stderr", content["text"]
                if answered != asked:
                    continue
                if kind == "stream":
                    printed += content["text"]
                elif kind == "error":
                    error = content
                elif content.get("execution_state") == "idle":
                    break
        if error is not None and at is not None:
            raise Interrupted(error["ename"])
        assert error is None, "\n".join(error["traceback"])
        return printed

    async def _heard(self) -> tuple[str, dict[str, Any], str]:
        while True:
            try:
                message = await self._client.get_iopub_msg(timeout=0.1)
            except Empty:
                # A kernel notices an interrupt of an `await` with the next thing that wakes its loop, and no sooner:
                # https://github.com/ipython/ipykernel/issues/881
                self._client.kernel_info()
            else:
                return message["msg_type"], message["content"], message["parent_header"].get("msg_id", "")

    def shut_down(self) -> str:
        """Leave the kernel as a user does; return what its process wrote to stderr, past the notebook."""
        with self._runner as runner:
            self._client.stop_channels()
            runner.run(self._manager.shutdown_kernel())
        return self._log.read_text("utf-8")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as running:
        running.always_plays(LINES.answer("Hel", "lo"))
        yield running


@pytest.fixture(scope="module")
def kernel(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    kernel = Kernel(tmp_path_factory.mktemp("kernel"))
    try:
        kernel.run(SETUP.format(url=server.url))
        yield kernel
    finally:
        said = kernel.shut_down()
    assert said == ""


WAYS = {
    "await": "print((await m.ainstruct('go')).value)",
    "async for": """
        async for delta in await m.ainstruct('go', await_result=False):
            print(delta, end='|')
    """,
    "polling": """
        thunk, text = await m.ainstruct('go', await_result=False), ''
        while not thunk.is_computed():
            before, text = text, await thunk.astream()
            assert text.startswith(before)
        print(text)
    """,
    "blocking": "print(m.instruct('go').value)",
    "for": """
        for delta in m.instruct('go', await_result=False):
            print(delta, end='|')
    """,
    "thread": """
        thread = threading.Thread(target=lambda: print(m.instruct('go').value))
        thread.start()
        thread.join()
    """,
    "gather": "print(*{answer.value for answer in await asyncio.gather(*(m.ainstruct('go') for _ in range(5)))})",
    "another loop": """
        async def ask():
            return (await m.ainstruct('go')).value
        print(await asyncio.to_thread(asyncio.run, ask()))
    """,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("session", ["fake", "wire"])
def test_a_cell_calls_and_reads_in_every_way(kernel: Kernel, session: str, way: str) -> None:
    printed = kernel.run(f"m = {session}\n" + textwrap.dedent(WAYS[way]))
    assert printed == ("Hel|lo|" if way.endswith("for") else "Hello\n")


@pytest.mark.parametrize("session", ["fake", "wire"])
def test_a_thunk_of_one_cell_is_read_in_others(kernel: Kernel, session: str) -> None:
    kernel.run(f"thunk = await {session}.ainstruct('go', await_result=False)")
    assert kernel.run("print(*thunk)") == "Hel lo\n"
    assert kernel.run("print((await thunk).value)") == "Hello\n"


INTERRUPTED = {
    "await": ("await wire.ainstruct('go')", "CancelledError"),
    "async for": (
        """
        async for delta in await wire.ainstruct('go', await_result=False):
            print(delta)
        """,
        "CancelledError",
    ),
    "async with": (
        """
        async with await wire.ainstruct('go', await_result=False) as thunk:
            while not thunk.is_computed():
                await thunk.astream()
        """,
        "CancelledError",
    ),
    "blocking": ("wire.instruct('go')", "KeyboardInterrupt"),
    "for": (
        """
        for delta in wire.instruct('go', await_result=False):
            print(delta)
        """,
        "KeyboardInterrupt",
    ),
}


@pytest.mark.skipif(sys.platform == "win32", reason="a kernel on Windows interrupts by another way than a signal")
@pytest.mark.parametrize("way", INTERRUPTED)
def test_an_interrupted_cell_stops_its_generation_and_the_next_cell_works(
    kernel: Kernel, server: Server, way: str
) -> None:
    cell, error = INTERRUPTED[way]
    hold = Hold()
    server.plays([*LINES.start("Hel"), hold])
    assert kernel.interrupt(cell, at=hold) == error
    generating = server.connections[server.asked[-1].connection]
    assert generating.closed.wait(PATIENCE), "the server goes on generating"
    assert kernel.run("print(wire.instruct('go'), await wire.ainstruct('go'))") == "Hello Hello\n"


def test_a_session_that_is_closed_in_a_cell_leaves_no_connection(kernel: Kernel, server: Server) -> None:
    before = len(server.connections)
    kernel.run(f"other = start_session('ollama', 'small', base_url={server.url!r})")
    assert kernel.run("print(await other.ainstruct('go'), other.instruct('go'))") == "Hello Hello\n"
    kernel.run("await other.aclose()")
    opened = server.connections[before:]
    assert opened
    assert all(connection.closed.wait(PATIENCE) for connection in opened)


def test_the_kernels_own_loop_is_not_patched(kernel: Kernel) -> None:
    assert kernel.run("fake.instruct('go')\nprint({'nest_asyncio', 'nest_asyncio2'} & {*sys.modules})") == "set()\n"


@pytest.mark.model
def test_the_embedded_model_answers_in_a_cell(kernel: Kernel) -> None:
    resolve_weights("")  # where they must be fetched first, it takes longer than a cell may
    kernel.run("m = start_session('llamacpp', model_options={'max_new_tokens': 8, 'temperature': 0.0})")
    streamed = kernel.run("async for delta in await m.ainstruct('Say hi.', await_result=False): print(delta, end='')")
    assert streamed
    assert kernel.run("print(m.instruct('Say hi.').value, end='')\nm.close()") == streamed
