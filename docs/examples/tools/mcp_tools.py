# /// script
# requires-python = ">=3.11"
# dependencies = ["mellea-like[mcp]"]
#
# [tool.uv.sources]
# mellea-like = { path = "../../..", editable = true }
# ///
"""Give a model the tools of an MCP server: one that this program starts, or one that listens at an address.

uv run docs/examples/tools/mcp_tools.py
uv run docs/examples/tools/mcp_tools.py --backend fake     # scripted, no model
uv run docs/examples/tools/mcp_tools.py --url http://localhost:8000/mcp
"""

import argparse
import asyncio
import sys
from pathlib import Path

from mellea_like import (
    Answer,
    ChatContext,
    LoopBudgetExhausted,
    MCPTools,
    ToolCallEvent,
    ToolResult,
    http_connection,
    react,
    start_session,
    stdio_connection,
)

ALMANAC = stdio_connection(sys.executable, [str(Path(__file__).parent / "mcp_server.py")])


def script() -> list[Answer]:
    """What the scripted model says."""
    wish = ToolCallEvent(name="sunrise", arguments='{"city": "Oslo"}', complete=True)
    return [Answer([wish], finish_reason="tool_calls"), Answer("The sun rises at 04:02.")]


async def main(backend: str | None, url: str | None) -> None:
    options = {"answers": script()} if backend == "fake" else {}
    connection = http_connection(url) if url else ALMANAC
    async with MCPTools(connection, timeout=10) as tools, start_session(backend, **options) as m:
        print(f"# {connection}: {', '.join(one.name for one in tools)}")
        goal = "When does the sun rise in Oslo?"
        thunk, _ = await react(goal, ChatContext(), m.backend, tools=tools, loop_budget=3, await_result=False)
        async for event in thunk.events():
            if isinstance(event, ToolResult):
                print(f"  {event.name} said {event.text!r}")
        try:
            print(f"  the answer: {(await thunk).value}")
        except LoopBudgetExhausted as error:
            print(f"  no answer: {error}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", help="a backend, or 'backend:model'; default: the model in this process")
    parser.add_argument("--url", help="the address of an MCP server; default: the one beside this file")
    arguments = parser.parse_args()
    asyncio.run(main(arguments.backend, arguments.url))
