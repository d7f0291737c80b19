# /// script
# requires-python = ">=3.11"
# dependencies = ["mellea-like"]
#
# [tool.uv.sources]
# mellea-like = { path = "../../..", editable = true }
# ///
"""Let two models write at the same time, and a third judge.

    uv run docs/examples/graphs/parallel_poets.py
    uv run docs/examples/graphs/parallel_poets.py --backend fake     # scripted, no model

Without `--backend` the answers come from a small model inside this process. Its weights (93 MB) are fetched once, at
the first run.
"""

import argparse
import asyncio

from mellea_like import START, RetryPolicy, StateGraph, start_session

failures = [ConnectionError("the printer is on fire")]


def publish(state):
    """Fail once, as things do; the node is tried again."""
    if failures:
        raise failures.pop()
    return {"published": sorted(name for name in ("sea", "hills") if name in state)}


async def main(backend: str | None) -> None:
    pace = {"delay": 0.01} if backend == "fake" else {}  # the scripted backend would be done at once
    async with start_session(backend, **pace, model_options={"max_new_tokens": 40}) as m:
        graph = StateGraph()
        graph.add_node("of the sea", node_type="llm", prompt="Write one line of a poem of the sea.", state_key="sea")
        graph.add_node("of the hills", node_type="llm", prompt="Write one line of a poem of hills.", state_key="hills")
        graph.add_node("publish", publish, retry=RetryPolicy(initial_interval=0.1))
        graph.add_parallel_edges(START, ["of the sea", "of the hills"])
        graph.add_fan_in_edge(["of the sea", "of the hills"], "publish")
        compiled = graph.compile(backend=m)

        poems: dict[str, str] = {}
        turns = 0
        last = None
        async for event in compiled.astream({}, stream_mode="events"):
            if event.type == "token":
                poems[event.node_id] = poems.get(event.node_id, "") + event.content
                turns += event.node_id != last
                last = event.node_id
            elif event.type == "node_retry":
                print(f"{event.node_id} is tried again; events from {event.discard_from_seq} on are void")
            elif event.type == "execution_complete":
                print(f"published: {', '.join(event.state['published'])}")
        for node, poem in poems.items():
            print(f"{node}: {poem}")
        print(f"the poets took turns {turns} times")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", help="a backend, or 'backend:model'; default: the model in this process")
    try:
        asyncio.run(main(parser.parse_args().backend))
    except KeyboardInterrupt:
        print("\n(stopped)")
