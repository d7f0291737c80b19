"""Show streaming, or check that it works.

    python scripts/demo_streaming.py              # a real model: the small one inside this process
    python scripts/demo_streaming.py --verify     # no model: runs the library on a script, and fails where it must

Without `--verify` the greeting of `docs/examples/yaml` is streamed from the model inside the process (93 MB, fetched
once), or from whatever `PROVIDER` names. With it, a scripted model says some tokens, waits until they have been read,
and says the rest: the exit code is 1 unless every token arrives, in order, and before the end.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from mellea_like import (
    Answer,
    FakeBackend,
    Gate,
    create_streaming_node,
    execute_prompt_streaming,
    load_graph,
    serving,
)

EXAMPLES = Path(__file__).parent.parent / "docs" / "examples" / "yaml"
PATIENCE = 5.0
"""Seconds after which a token that is there has not arrived."""

BEFORE, AFTER = ["Hel", "lo", ",", " "], ["Wor", "ld", "\n", "!"]


class Broken(Exception):
    """Streaming does not work."""


def prompt() -> AsyncIterator[str]:
    """Stream a prompt file."""
    return execute_prompt_streaming("greet", {"name": "World"}, prompts_dir=EXAMPLES / "prompts")


def node() -> AsyncIterator[str]:
    """Stream a node."""
    config = {"prompt": "greet", "state_key": "greeting", "prompts_dir": str(EXAMPLES / "prompts")}
    return create_streaming_node("generate", config)({"name": "World"})


async def graph() -> AsyncIterator[str]:
    """Stream a graph file."""
    async for _, chunk in load_graph(EXAMPLES / "greeting.yaml").astream({"name": "World"}, stream_mode="messages"):
        yield chunk.content


async def verify(start: Callable[[], AsyncIterator[str]]) -> int:
    """Read a stream whose model waits in the middle; return the number of its tokens.

    Raises:
        Broken: a token is late, missing, merged, out of order or too many.
    """
    gate = Gate()
    with serving(FakeBackend(answers=Answer([*BEFORE, gate, *AFTER]))):
        tokens = start()
        try:
            early = [await asyncio.wait_for(anext(tokens), PATIENCE) for _ in BEFORE]
        except (TimeoutError, StopAsyncIteration) as error:
            raise Broken("the first tokens do not arrive before the last ones are there") from error
        finally:
            gate.open()
        late = [token async for token in tokens]
    if (early, late) != (BEFORE, AFTER):
        raise Broken(f"the model said {BEFORE + AFTER}, and what arrived is {early + late}")
    return len(early) + len(late)


async def verify_all() -> int:
    """Check every way to stream; return the exit code."""
    for name, start in (("prompt", prompt), ("node", node), ("graph", graph)):
        try:
            count = await verify(start)
        except Broken as error:
            print(f"{name}: streaming is broken: {error}.", file=sys.stderr)
            return 1
        print(f"{name}: {count} tokens, in order, the first {len(BEFORE)} before the model went on")
    return 0


async def demo() -> int:
    """Show a greeting as it comes; return the exit code."""
    if "PROVIDER" not in os.environ:
        os.environ.setdefault("MELLEA_LIKE_OVERRIDE", "llamacpp")
    count = 0
    async for token in prompt():
        print(token, end="", flush=True)
        count += 1
    print(f"\n({count} tokens)")
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--verify", action="store_true", help="check that streaming works, without a model")
    sys.exit(asyncio.run(verify_all() if parser.parse_args().verify else demo()))
