# /// script
# requires-python = ">=3.11"
# dependencies = ["mellea-like"]
#
# [tool.uv.sources]
# mellea-like = { path = "../../..", editable = true }
# ///
"""See what every call does, from outside: a function that is told events, a sink of one's own, and the logger.

uv run docs/examples/observability/watching_events.py
uv run docs/examples/observability/watching_events.py --backend fake     # scripted, no model
"""

import argparse
import asyncio
import logging
import sys

from mellea_like import Event, Log, MelleaSession, flush_sinks, follow, listening, on_event, start_session


def show(event: Event, number: int) -> None:
    """Show the events of generation `number` that are not text; this runs in a thread of the library's own."""
    if event.type not in {"delta", "thinking"}:
        print(f"  call {number}: {event.type} after {event.seconds:.3f} s")


async def functions(m: MelleaSession) -> None:
    print("# A function is told what every call inside the block says, however deep the call is made.")
    with listening(on_event(show)):
        await asyncio.gather(*(m.ainstruct(f"Describe {thing} in five words.") for thing in ("rain", "snow")))
    flush_sinks()  # the function may be a moment behind


class Live:
    """A sink reads a log by itself, while it grows; here, with a task per generation."""

    def __init__(self) -> None:
        self.tasks: list[asyncio.Task[int]] = []

    def opened(self, log: Log) -> None:
        self.tasks.append(asyncio.create_task(self.count(log)))

    async def count(self, log: Log) -> int:
        return len([event async for event in follow(log) if event.type == "delta"])


async def sinks(m: MelleaSession) -> None:
    print("\n# A sink of one's own follows the log on its own event loop. It keeps no generation running.")
    with listening(Live()) as live:
        await m.ainstruct("Name three colours.")
    print(f"  deltas of each call: {await asyncio.gather(*live.tasks)}")


async def lines(m: MelleaSession) -> None:
    print("\n# The logger `mellea_like` writes a line per call at INFO, and nothing that was said.")
    logging.basicConfig(stream=sys.stdout, format="  %(name)s %(levelname)s %(message)s")
    logging.getLogger("mellea_like").setLevel(logging.INFO)
    await m.ainstruct("Say hello.")
    flush_sinks()


async def main(backend: str | None) -> None:
    async with start_session(backend, model_options={"max_new_tokens": 40}) as m:
        await functions(m)
        await sinks(m)
        await lines(m)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", help="a backend, or 'backend:model'; default: the model in this process")
    asyncio.run(main(parser.parse_args().backend))
