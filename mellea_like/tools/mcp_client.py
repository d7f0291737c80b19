"""The client of one MCP server, in a task of its own on the library's loop from its opening to its closing.

The `mcp` package's client may not be left in another task than it was entered in; calls come to it from any task of
the loop. Nothing here knows tools.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import Context
from dataclasses import dataclass, field
from typing import IO, Any, cast

from ..errors import MissingPackage, ToolFailed, ToolServerUnavailable

_TAIL = 200
"""Characters of a server's last words that an error shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MCPConnection:
    """How a server is reached; `stdio_connection` and `http_connection` make one.

    Args:
        command: The program, for a server that is started; empty for one that listens.
        args: Its arguments.
        env: Environment variables for it.
        cwd: Where it runs; None for here.
        url: Where it listens, for a server that is not started; empty otherwise.
        headers: Sent with every request.
    """

    command: str = ""
    args: tuple[str, ...] = ()
    env: Mapping[str, str] | None = field(default=None, repr=False)
    cwd: str | None = None
    url: str = ""
    headers: Mapping[str, str] | None = field(default=None, repr=False)

    def __str__(self) -> str:
        # It stands in errors, which the model reads too: no queries, no options, where secrets may be.
        if self.url:
            return re.sub(r"//[^/@]*@|[?#].*", lambda found: "//" if "@" in found[0] else "", self.url)
        return " ".join([self.command, *(first for first in self.args[:1] if not first.startswith("-"))])


class Server:
    """The client of one server, in a task of its own on the library's loop."""

    def __init__(self, connection: MCPConnection) -> None:
        self._name = str(connection)
        self._said: IO[str] | None = None
        self._leave = asyncio.Event()
        self._listed: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._client: Any = None
        self._task = asyncio.create_task(self._serve(connection), context=Context())

    async def opened(self) -> list[Any]:
        """Wait until the server has told its tools."""
        await asyncio.wait([self._task, self._listed], return_when=asyncio.FIRST_COMPLETED)
        if not self._listed.done():
            await self._task
        found: list[Any] = await self._listed
        return found

    async def close(self) -> None:
        """Stop the server and wait until it has stopped."""
        self._leave.set()
        if not self._listed.done():
            self._task.cancel()
        await asyncio.wait([self._task])
        self._listed.cancel()
        if not self._task.cancelled():
            self._task.exception()  # was told where it mattered

    async def _serve(self, connection: MCPConnection) -> None:
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as self._said:
            try:
                async with _client(connection, self._said) as self._client:
                    self._listed.set_result(await _all_tools(self._client))
                    await self._leave.wait()
            except MissingPackage:
                raise
            except (Exception, BaseExceptionGroup) as error:  # whatever the package raises means: no server
                raise self._unavailable("cannot be started or reached", _innermost(error)) from error
            finally:
                self._client = self._said = None

    async def call(self, name: str, arguments: dict[str, Any]) -> str:
        """Call a tool, on the library's loop; return its result as text."""
        import anyio
        from mcp.shared.exceptions import MCPError
        from mcp_types import CONNECTION_CLOSED

        if self._client is None:
            raise ToolServerUnavailable(
                f"The MCP server {self._name!r} of tool {name!r} is closed. Call its tools inside the `with` block.",
                tool=name,
            )
        try:
            result = await self._client.call_tool(name, arguments)
        except MCPError as error:
            if error.code == CONNECTION_CLOSED:
                raise self._unavailable("went away", error, name) from error
            raise ToolFailed(f"Tool {name!r} failed: {error.message}", tool=name) from error
        except (anyio.ClosedResourceError, anyio.BrokenResourceError) as error:
            raise self._unavailable("went away", error, name) from error
        text = "\n".join(map(_as_text, result.content))
        if result.is_error:
            raise ToolFailed(f"Tool {name!r} failed: {text}", tool=name)
        return text

    def _unavailable(self, what: str, error: BaseException, tool: str = "") -> ToolServerUnavailable:
        last = ""
        if self._said is not None:
            self._said.seek(0)
            last = " ".join(self._said.read().splitlines()[-1:])[-_TAIL:]
        words = f" Its last words: {last!r}." if last else ""
        why = str(error) or type(error).__name__
        return ToolServerUnavailable(f"The MCP server {self._name!r} {what}: {why}.{words}", tool=tool)


@asynccontextmanager
async def _client(connection: MCPConnection, said: IO[str]) -> AsyncIterator[Any]:
    """Open the package's client; entered and left by one task."""
    try:
        from mcp import Client, StdioServerParameters
        from mcp.client.stdio import stdio_client
        from mcp.client.streamable_http import streamable_http_client
        from mcp.shared._httpx_utils import create_mcp_http_client
    except ImportError as error:
        raise MissingPackage(
            "Tools from MCP servers need the package `mcp`: install it with `pip install 'mellea-like[mcp]'`."
        ) from error
    async with AsyncExitStack() as stack:
        if connection.url:
            headers = dict(connection.headers or {})
            http = await stack.enter_async_context(create_mcp_http_client(headers=headers))
            transport: Any = streamable_http_client(connection.url, http_client=http)
        else:
            program = StdioServerParameters(
                command=connection.command,
                args=list(connection.args),
                env=None if connection.env is None else dict(connection.env),
                cwd=connection.cwd,
            )
            transport = stdio_client(program, errlog=cast("Any", said))
        yield await stack.enter_async_context(Client(transport))


async def _all_tools(client: Any) -> list[Any]:
    found: list[Any] = []
    page = await client.list_tools()
    while True:
        found += page.tools
        if not page.next_cursor:
            return found
        page = await client.list_tools(cursor=page.next_cursor)


def _innermost(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _as_text(block: Any) -> str:
    """Return a block of a result as text: what is not text is named."""
    match block.type:
        case "text":
            return str(block.text)
        case "resource" if hasattr(block.resource, "text"):
            return str(block.resource.text)
        case "resource":
            return f"({block.resource.uri})"
        case "resource_link":
            return f"({block.uri})"
        case kind:
            return f"({kind}, {block.mime_type})"
