# /// script
# requires-python = ">=3.11"
# dependencies = ["mcp>=2.3"]
# ///
"""A small MCP server for `mcp_tools.py`, which starts it: it knows when the sun rises.

uv run docs/examples/tools/mcp_server.py     # waits for a client on its standard input
"""

from mcp.server.mcpserver import MCPServer

server = MCPServer("almanac", log_level="WARNING")


@server.tool()
def sunrise(city: str) -> str:
    """Tell when the sun rises in a city."""
    return {"Oslo": "04:02", "Rome": "05:34"}.get(city, "unknown")


if __name__ == "__main__":
    server.run()
