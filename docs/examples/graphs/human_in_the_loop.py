# /// script
# requires-python = ">=3.11"
# dependencies = ["mellea-like"]
#
# [tool.uv.sources]
# mellea-like = { path = "../../..", editable = true }
# ///
"""Stop a run to ask somebody, keep it in a file, and go on with the answer.

    uv run docs/examples/graphs/human_in_the_loop.py
    uv run docs/examples/graphs/human_in_the_loop.py --backend fake     # scripted, no model

Without `--backend` the answer comes from a small model inside this process. Its weights (93 MB) are fetched once, at
the first run.
"""

import argparse
import tempfile
from pathlib import Path

from mellea_like import START, Command, SQLiteBackend, StateGraph, interrupt, start_session


def review(state):
    """Ask; the run stops here, and begins here again when the answer is there."""
    verdict = interrupt({"question": "Send this?", "draft": state["draft"]})
    return Command(update={"verdict": verdict}, goto="send" if verdict == "yes" else "END")


def main(backend: str | None) -> None:
    with start_session(backend) as m:
        graph = StateGraph()
        graph.add_node("write", node_type="llm", prompt="Thank Ana in one line.", state_key="draft", max_tokens=30)
        graph.add_node("review", review)
        graph.add_node("send", lambda state: {"sent": True})
        graph.add_sequence([START, "write", "review"])
        runs = Path(tempfile.mkdtemp(), "runs.db")

        compiled = graph.compile(backend=m, checkpointer=SQLiteBackend(str(runs)))
        thread = {"thread_id": "letter to Ana"}
        stopped = compiled.invoke({}, thread)
        question = stopped["__interrupt__"][0].value
        print(f"{question['question']} {question['draft']!r}")

        again = graph.compile(backend=m, checkpointer=SQLiteBackend(str(runs)))  # as another program would, later
        for mode, shown in again.stream(Command(resume="yes"), thread, stream_mode=["updates", "values"]):
            print(mode, {name: value for name, value in shown.items() if name != "draft"})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", help="a backend, or 'backend:model'; default: the model in this process")
    main(parser.parse_args().backend)
