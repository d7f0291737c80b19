# /// script
# requires-python = ">=3.11"
# dependencies = ["mellea-like"]
#
# [tool.uv.sources]
# mellea-like = { path = "../../..", editable = true }
# ///
"""Run one graph in every stream mode.

    uv run docs/examples/graphs/stream_modes.py
    uv run docs/examples/graphs/stream_modes.py --backend fake     # scripted, no model

Without `--backend` the answer comes from a small model inside this process. Its weights (93 MB) are fetched once, at
the first run.
"""

import argparse
from typing import TypedDict

from mellea_like import END, START, AIMessage, HumanMessage, StateGraph, get_stream_writer, start_session


class Chat(TypedDict, total=False):
    """What the nodes share; `messages` are appended by themselves."""

    messages: list
    words: int


def count(state):
    """Count the words of the answer, and say so while at it."""
    write = get_stream_writer()
    write({"progress": "counting"})
    return {"words": len(state["messages"][-1].content.split())}


def main(backend: str | None) -> None:
    with start_session(backend) as m:
        graph = StateGraph(Chat)
        graph.add_node("chatbot", node_type="llm", system_prompt="Answer in one sentence.", max_tokens=40)
        graph.add_node("count", count)
        graph.add_edge(START, "chatbot")
        graph.add_edge("chatbot", "count")
        graph.add_edge("count", END)
        compiled = graph.compile(backend=m)
        given = {"messages": [HumanMessage("Why is the sky blue?")]}

        print("# messages: text as it comes")
        for _, chunk in compiled.stream(given, stream_mode="messages"):
            print(chunk.content, end="", flush=True)

        print("\n\n# updates: what each node wrote")
        for update in compiled.stream(given, stream_mode="updates"):
            for node, wrote in update.items():
                print(f"{node} wrote {', '.join(wrote)}")

        print("\n# values: the whole state, the input first")
        for state in compiled.stream(given, stream_mode="values"):
            print(f"{len(state['messages'])} messages, words: {state.get('words')}")

        print("\n# several at once, each with its mode")
        for mode, shown in compiled.stream(given, stream_mode=["custom", "updates"]):
            print(mode, shown if mode == "custom" else list(shown))

        print("\n# events: everything, numbered")
        events = list(compiled.stream(given, stream_mode="events"))
        print(", ".join(event.type for event in events if event.type != "token"))
        assert isinstance(events[-1].state["messages"][-1], AIMessage)

        print("\n# a drawing")
        print(compiled.mermaid())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", help="a backend, or 'backend:model'; default: the model in this process")
    main(parser.parse_args().backend)
