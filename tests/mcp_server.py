"""A real MCP server for the tests, on stdio or HTTP: adds, fails, dies, waits."""

import asyncio
import os
import sys
from pathlib import Path

from mcp.server.mcpserver import MCPServer

server = MCPServer("tests", log_level="WARNING")


@server.tool()
def add(a: int, b: int) -> int:
    """Add two whole numbers."""
    return a + b


@server.tool()
def echo(text: str) -> str:
    """Say the text again."""
    return text


@server.tool()
def fail() -> str:
    """Raise."""
    raise ValueError("the pump is broken")


@server.tool()
def die() -> str:
    """Leave without an answer."""
    print("going down", file=sys.stderr, flush=True)
    os._exit(3)


@server.tool()
async def wait(mark: str) -> str:
    """Wait for ever; make the file `mark` once waiting, remove it when cancelled."""
    Path(mark).touch()
    try:
        await asyncio.Event().wait()
    finally:
        Path(mark).unlink()
    return "never"


@server.tool()
def pid() -> int:
    """Tell the server's process."""
    return os.getpid()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        server.run("streamable-http", port=int(sys.argv[1]))
    else:
        server.run()
