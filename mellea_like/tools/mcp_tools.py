"""Tools that live in MCP servers, as tools of a model: over a program's standard streams, or over HTTP.

They are called from any event loop and any thread; the protocol is `mcp_client`'s affair.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from ..engine import block_on_engine, on_engine
from ..errors import InvalidArgument, ToolServerUnavailable
from ..home import Home
from . import MelleaTool
from .mcp_client import MCPConnection, Server


def stdio_connection(
    command: str, args: Sequence[str] = (), *, env: Mapping[str, str] | None = None, cwd: str | None = None
) -> MCPConnection:
    """Reach a server by starting its program and speaking over its standard streams.

    Args:
        command: The program.
        args: Its arguments.
        env: Environment variables for it, over the few (`PATH`, `HOME`, …) that it inherits.
        cwd: Where it runs; None for here.

    Example:
        ```python
        from mellea_like import stdio_connection

        print(stdio_connection("python", ["server.py"]))
        ```
    """
    return MCPConnection(command=command, args=tuple(args), env=env, cwd=cwd)


def http_connection(url: str, *, headers: Mapping[str, str] | None = None) -> MCPConnection:
    """Reach a server at an address, over streamable HTTP.

    Args:
        url: Where it listens, such as `"http://localhost:8000/mcp"`.
        headers: Sent with every request, such as an `Authorization`.

    Raises:
        InvalidArgument: it is not an http(s) address.

    Example:
        ```python
        from mellea_like import http_connection

        print(http_connection("http://localhost:8000/mcp"))
        ```
    """
    if not url.startswith(("http://", "https://")):
        raise InvalidArgument(f"{url!r} is not the address of an MCP server: it must start with http:// or https://.")
    return MCPConnection(url=url, headers=headers)


class MCPTools:
    """The tools of an MCP server, open as long as the `with` or `async with` block lasts.

    Entering starts or connects the server and gives the list of its tools; leaving stops it. The tools can be called
    from any event loop and any thread.

    Args:
        connection: How the server is reached.
        prefix: Put before each tool's name, to keep the tools of two servers apart.
        timeout: Seconds that each call may take; None for no limit.
        confirm: Whether somebody has to agree before one of them runs.
        open_timeout: Seconds that starting, connecting and listing may take.

    Example:
        ```python
        import asyncio
        from mellea_like import MCPTools, ToolServerUnavailable, stdio_connection

        async def main():
            try:
                async with MCPTools(stdio_connection("no-such-server")) as tools:
                    print(tools)
            except ToolServerUnavailable as error:
                print(error)

        asyncio.run(main())
        ```

    Source: https://modelcontextprotocol.io; Mellea's `discover_mcp_tools`, https://mellea.ai
    """

    def __init__(
        self,
        connection: MCPConnection,
        *,
        prefix: str = "",
        timeout: float | None = None,
        confirm: bool = False,
        open_timeout: float = 30.0,
    ) -> None:
        self.connection = connection
        self._settings: dict[str, Any] = {"timeout": timeout, "confirm": confirm}
        self._prefix = prefix
        self._patience = open_timeout
        self._server: Server | None = None
        self._tools: list[MelleaTool] = []

    async def _open(self) -> None:
        if self._server is not None:
            raise InvalidArgument(f"{self!r} is open already. Make another for a second connection.")
        self._server = server = Server(self.connection)
        listed = None
        try:
            async with asyncio.timeout(self._patience):
                listed = await server.opened()
        except TimeoutError as error:
            raise ToolServerUnavailable(
                f"The MCP server {str(self.connection)!r} did not answer within {self._patience} s. See that it speaks "
                "MCP; where it is slow to start, raise `open_timeout`."
            ) from error
        finally:
            if listed is None:
                await self._close()
        self._tools = [_MCPTool(server, found, self._prefix, self._settings) for found in listed]

    async def _close(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            await server.close()

    async def __aenter__(self) -> list[MelleaTool]:
        await on_engine(self._open())
        return self._tools

    async def __aexit__(self, kind: object, error: object, trace: TracebackType | None) -> None:
        await on_engine(self._close())

    def __enter__(self) -> list[MelleaTool]:
        block_on_engine(self._open())
        return self._tools

    def __exit__(self, kind: object, error: object, trace: TracebackType | None) -> None:
        block_on_engine(self._close())

    def __repr__(self) -> str:
        return f"MCPTools({str(self.connection)!r})"


class _MCPTool(MelleaTool):
    """A tool of a server; it runs on the library's loop, since none of it is the user's code."""

    def __init__(self, server: Server, found: Any, prefix: str, settings: Mapping[str, Any]) -> None:
        async def call(**arguments: Any) -> str:
            return await on_engine(server.call(found.name, arguments))

        super().__init__(
            call,
            name=re.sub(r"[^A-Za-z0-9_-]", "_", f"{prefix}{found.name}")[:64],
            description=found.description or "",
            parameters=found.input_schema,
            **settings,
        )
        self._server, self._remote = server, found.name

    async def answer(self, arguments: str, home: Home) -> str:
        """Call the tool where its client is; see `MelleaTool.answer`."""
        return await self._server.call(self._remote, self._arguments.read(arguments)[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class MCPToolSpec:
    """What a server says of one of its tools; `discover_mcp_tools` lists them.

    Args:
        name: The tool's name.
        description: What it is for.
        parameters: JSON schema of its arguments.
        connection: How the server is reached.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    connection: MCPConnection

    def as_mellea_tool(self, *, timeout: float | None = None, confirm: bool = False) -> MelleaTool:
        """Make a tool that opens a connection of its own for each call; see `MCPTools` for one that stays open.

        Args:
            timeout: Seconds that a call may take; None for no limit.
            confirm: Whether somebody has to agree before it runs.
        """

        async def call(**arguments: Any) -> Any:
            async with MCPTools(self.connection) as tools:
                return await next(one for one in tools if one.name == self.name)(**arguments)

        return MelleaTool(
            call,
            name=self.name,
            description=self.description,
            parameters=self.parameters,
            timeout=timeout,
            confirm=confirm,
        )


async def discover_mcp_tools(connection: MCPConnection) -> list[MCPToolSpec]:
    """List the tools of an MCP server: connect, ask, and close again.

    Args:
        connection: How the server is reached.

    Raises:
        ToolServerUnavailable: it cannot be started or reached.
        MissingPackage: the package `mcp` is not installed.

    Example:
        ```python
        import asyncio
        from mellea_like import ToolServerUnavailable, discover_mcp_tools, stdio_connection

        try:
            print(asyncio.run(discover_mcp_tools(stdio_connection("no-such-server"))))
        except ToolServerUnavailable as error:
            print(error)
        ```

    Source: Mellea's `discover_mcp_tools`, https://mellea.ai
    """
    async with MCPTools(connection) as tools:
        return [
            MCPToolSpec(name=one.name, description=one.description, parameters=one.parameters, connection=connection)
            for one in tools
        ]
