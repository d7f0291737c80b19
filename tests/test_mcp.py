"""Tools of MCP servers: a real server on stdio and over HTTP, listed, called, failing, dying, closed."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mellea_like import engine
from mellea_like.agent import react
from mellea_like.backends.fake import Answer, FakeBackend
from mellea_like.content import Message, ToolCall
from mellea_like.context import SimpleContext
from mellea_like.errors import InvalidArgument, MissingPackage, ToolFailed, ToolServerUnavailable, ToolTimeout
from mellea_like.events import ToolCallEvent, ToolResult
from mellea_like.tools import MelleaTool
from mellea_like.tools.mcp_tools import MCPTools, discover_mcp_tools, http_connection, stdio_connection
from mellea_like.tools.workbench import acall_tools, call_tools

PATIENCE = 20.0
PROGRAM = str(Path(__file__).parent / "mcp_server.py")
SERVER = stdio_connection(sys.executable, [PROGRAM])


def wish(*calls: tuple[str, str]) -> Message:
    return Message("assistant", "", tool_calls=tuple(ToolCall(name=name, arguments=said) for name, said in calls))


async def result(tools: list[MelleaTool], name: str, arguments: str = "{}") -> ToolResult:
    thunk = await acall_tools(wish((name, arguments)), tools, await_result=False)
    return next(event for event in [e async for e in thunk.events()] if isinstance(event, ToolResult))


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.fixture
def address() -> Iterator[str]:
    """The server in a program of its own, over HTTP."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = subprocess.Popen([sys.executable, PROGRAM, str(port)], stderr=subprocess.DEVNULL)
    try:
        for _ in range(int(PATIENCE * 20)):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            with pytest.raises(subprocess.TimeoutExpired):  # it still runs
                program.wait(0.05)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        program.kill()
        program.wait(PATIENCE)


@pytest.fixture(scope="module")
def opened() -> Iterator[list[MelleaTool]]:
    """The tools of one server for all tests that leave it as it is."""
    with MCPTools(SERVER) as tools:
        yield tools


# --- listing and calling ---------------------------------------------------------------------------------------------


async def test_tools_are_listed_with_what_the_server_says_of_them() -> None:
    found = {spec.name: spec for spec in await discover_mcp_tools(SERVER)}
    assert set(found) == {"add", "echo", "fail", "die", "wait", "pid"}
    assert found["add"].description == "Add two whole numbers."
    assert found["add"].parameters["required"] == ["a", "b"]


async def test_a_tool_found_by_discovery_opens_a_connection_for_its_call() -> None:
    spec = next(spec for spec in await discover_mcp_tools(SERVER) if spec.name == "add")
    assert (await acall_tools(wish(("add", '{"a": 1, "b": 2}')), [spec.as_mellea_tool()]))[0].content == "3"


async def test_tools_are_called_while_the_connection_is_open(opened: list[MelleaTool]) -> None:
    told = await acall_tools(wish(("add", '{"a": 1, "b": 2}'), ("echo", '{"text": "hé"}')), opened)
    assert [message.content for message in told] == ["3", "hé"]


def test_synchronous_code_opens_calls_and_closes_too() -> None:
    with MCPTools(SERVER) as tools:
        assert call_tools(wish(("add", '{"a": 1, "b": 2}')), tools)[0].content == "3"


async def test_a_tool_can_be_awaited_by_itself(opened: list[MelleaTool]) -> None:
    assert await next(one for one in opened if one.name == "add")(a=1, b=2) == "3"


def test_tools_are_called_from_any_loop_and_any_thread(opened: list[MelleaTool]) -> None:
    for _ in range(3):
        told = asyncio.run(acall_tools(wish(("add", '{"a": 1, "b": 2}')), opened))
        assert told[0].content == "3"


async def test_over_http_it_is_the_same(address: str) -> None:
    async with MCPTools(http_connection(address, headers={"x-who": "ana"})) as tools:
        told = await acall_tools(wish(("add", '{"a": 1, "b": 2}'), ("fail", "{}")), tools)
    assert [message.content for message in told] == ["3", "Tool 'fail' failed: Error executing tool fail"]


async def test_two_servers_are_kept_apart_by_a_prefix() -> None:
    async with MCPTools(SERVER, prefix="one.") as first, MCPTools(SERVER, prefix="two.") as second:
        told = await acall_tools(wish(("one_pid", ""), ("two_pid", "")), [*first, *second])
    assert told[0].content != told[1].content


async def test_an_agent_uses_them_after_the_loop_that_made_it_has_ended() -> None:
    call = ToolCallEvent(name="add", arguments='{"a": 1, "b": 2}', complete=True)
    backend = FakeBackend(answers=[Answer([0.05, call], finish_reason="tool_calls"), "It is 3."])

    def elsewhere(tools: Any) -> Any:
        return asyncio.run(react("Add.", SimpleContext(), backend, tools=tools, await_result=False))[0]

    async with MCPTools(SERVER) as tools:
        thunk = await asyncio.to_thread(elsewhere, tools)
        assert (await thunk).value == "It is 3."
    assert backend.calls[1].messages[-1].content == "3"


# --- what goes wrong -------------------------------------------------------------------------------------------------


async def test_a_tool_that_fails_there_is_told(opened: list[MelleaTool]) -> None:
    told = await result(opened, "fail")
    assert (told.text, type(told.error)) == ("Tool 'fail' failed: Error executing tool fail", ToolFailed)


async def test_arguments_that_the_server_refuses_are_told(opened: list[MelleaTool]) -> None:
    told = await result(opened, "add", '{"a": "x"}')
    assert not told.ok
    assert "Input should be a valid integer" in told.text


async def test_a_server_that_dies_says_its_last_words_and_later_calls_too() -> None:
    async with MCPTools(SERVER) as tools:
        for name in ("die", "pid"):
            told = await asyncio.wait_for(result(tools, name), PATIENCE)
            assert isinstance(told.error, ToolServerUnavailable)
            assert told.text.endswith("went away: Connection closed. Its last words: 'going down'.")


async def test_a_call_that_takes_too_long_is_cancelled_at_the_server(tmp_path: Path) -> None:
    mark = tmp_path / "waiting"
    async with MCPTools(SERVER, timeout=1.0) as tools:
        told = await result(tools, "wait", f'{{"mark": "{mark}"}}')
        assert isinstance(told.error, ToolTimeout)
        assert (await result(tools, "echo", '{"text": "still here"}')).text == "still here"
        assert not mark.exists()


async def test_after_the_block_a_tool_says_that_it_is_closed() -> None:
    async with MCPTools(SERVER) as tools:
        pass
    told = await result(tools, "pid")
    assert isinstance(told.error, ToolServerUnavailable)
    assert "is closed. Call its tools inside the `with` block." in told.text


@pytest.mark.parametrize(
    ("connection", "said"),
    [
        (stdio_connection("no-such-program"), "'no-such-program' cannot be started or reached: .*No such file"),
        (stdio_connection(sys.executable, ["-c", "import sys; sys.exit('sorry')"]), "Its last words: 'sorry'"),
        (http_connection("http://127.0.0.1:9/mcp"), r"'http://127.0.0.1:9/mcp' cannot be started or reached"),
    ],
)
async def test_a_server_that_is_not_there_says_so(connection: Any, said: str) -> None:
    with pytest.raises(ToolServerUnavailable, match=said):
        await discover_mcp_tools(connection)


def test_a_program_that_does_not_speak_mcp_is_given_up_and_stopped(tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    program = f"import os, time; open({str(mark)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    silent = stdio_connection(sys.executable, ["-c", program])
    with pytest.raises(ToolServerUnavailable, match=r"did not answer within 1.0 s"), MCPTools(silent, open_timeout=1.0):
        pytest.fail("opened")
    assert is_gone(int(mark.read_text()))


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="'localhost:1' is not the address of an MCP server"):
        http_connection("localhost:1")


def test_secrets_of_a_connection_are_not_shown() -> None:
    shown = [stdio_connection("tool", ["--key", "secret"], env={"KEY": "secret"})]
    shown += [http_connection("https://me:secret@host/mcp?key=secret", headers={"authorization": "secret"})]
    assert [str(one) for one in shown] == ["tool", "https://host/mcp"]


async def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mcp", None)
    with pytest.raises(MissingPackage, match=r"pip install 'mellea-like\[mcp\]'"):
        await discover_mcp_tools(SERVER)


# --- closing ---------------------------------------------------------------------------------------------------------


async def test_closing_leaves_no_program_and_no_task() -> None:
    async def serving() -> int:
        return sum("_serve" in repr(task.get_coro()) for task in asyncio.all_tasks())

    before = await engine.on_engine(serving())
    async with MCPTools(SERVER) as tools:
        assert await engine.on_engine(serving()) == before + 1
        pid = int((await result(tools, "pid")).text)
        assert not is_gone(pid)
    assert is_gone(pid)
    assert await engine.on_engine(serving()) == before


async def test_an_error_inside_the_block_passes_and_the_server_is_stopped() -> None:
    pids = []

    async def fail() -> None:
        async with MCPTools(SERVER) as tools:
            pids.append(int((await result(tools, "pid")).text))
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        await fail()
    assert is_gone(pids[0])


async def test_opening_that_is_cancelled_leaves_no_program(tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    program = f"import os, time; open({str(mark)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    opening = asyncio.create_task(discover_mcp_tools(stdio_connection(sys.executable, ["-c", program])))
    while not (mark.exists() and mark.read_text()):
        await asyncio.sleep(0.01)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    for _ in range(int(PATIENCE * 50)):
        if is_gone(int(mark.read_text())):
            return
        await asyncio.sleep(0.02)
    pytest.fail("the server still runs")


def test_a_program_that_forgets_to_close_leaves_well(ran: Any) -> None:
    assert (
        ran(f"""
        import sys
        from mellea_like.tools.mcp_tools import MCPTools, stdio_connection
        from mellea_like.tools.workbench import call_tools
        from mellea_like.content import Message, ToolCall
        tools = MCPTools(stdio_connection(sys.executable, [{PROGRAM!r}])).__enter__()
        wish = Message("assistant", "", tool_calls=(ToolCall(name="pid"),))
        print(call_tools(wish, tools)[0].content.isdigit())
    """).strip()
        == "True"
    )
