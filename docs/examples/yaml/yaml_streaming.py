# /// script
# requires-python = ">=3.11"
# dependencies = ["mellea-like"]
#
# [tool.uv.sources]
# mellea-like = { path = "../../..", editable = true }
# ///
"""Stream prompts and graphs that are written in YAML files.

    uv run docs/examples/yaml/yaml_streaming.py
    uv run docs/examples/yaml/yaml_streaming.py --backend fake     # scripted, no model

Without `--backend` the answers come from a small model inside this process. Its weights (93 MB) are fetched once, at
the first run.
"""

import argparse
import asyncio
import os
from pathlib import Path

from mellea_like import create_streaming_node, execute_prompt_async, execute_prompt_streaming, load_graph

HERE = Path(__file__).parent


async def main() -> None:
    prompts = {"prompts_dir": HERE / "prompts"}

    print("# A prompt, token by token.")
    async for token in execute_prompt_streaming("greet", {"name": "World"}, **prompts):
        print(token, end="", flush=True)

    print("\n\n# The same prompt, awaited.")
    print(await execute_prompt_async("greet", {"name": "Ana", "style": "formal"}, **prompts))

    print("\n# A node that streams, and writes what it came to into the state.")
    node = create_streaming_node("generate", {"prompt": "greet", "state_key": "greeting", **prompts})
    state = {"name": "Bo"}
    async for token in node(state):
        print(token, end="|", flush=True)
    print(f"\n{sorted(state)}")

    print("\n# A graph, token by token.")
    graph = load_graph(HERE / "greeting.yaml")
    async for _, chunk in graph.astream({"name": "everybody"}, stream_mode="messages"):
        print(chunk.content, end="", flush=True)
    print()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", default="llamacpp", help="what serves every model name; default: %(default)s")
    os.environ["MELLEA_LIKE_OVERRIDE"] = parser.parse_args().backend
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        print("\n(stopped)")
