# /// script
# requires-python = ">=3.11"
# dependencies = ["mellea-like"]
#
# [tool.uv.sources]
# mellea-like = { path = "../../..", editable = true }
# ///
"""Chat in the terminal: the answers stream, and the model sees the whole conversation.

    uv run docs/examples/streaming/interactive_chat.py
    uv run docs/examples/streaming/interactive_chat.py --system "You answer like a pirate."

Ctrl-C stops an answer and keeps what came; Ctrl-D leaves. The loop below is synchronous code: `for delta in thunk`
needs no event loop.
"""

import argparse
import sys

from mellea_like import MelleaError, MelleaSession, ModelOutputThunk, start_session


def show(thunk: ModelOutputThunk) -> None:
    """Print an answer as it comes."""
    try:
        for delta in thunk:
            print(delta, end="", flush=True)
    except KeyboardInterrupt:
        # What came stays in the conversation; the model just stops.
        thunk.close()
        print(" (stopped)", end="")
    except MelleaError as error:
        # A failed turn leaves the conversation, so the next question starts from where things were well.
        print(f"\n{type(error).__name__}: {error}", end="", file=sys.stderr)
    print()


def ask(prompt: str) -> str | None:
    """Read a line; None when the user leaves."""
    try:
        return input(prompt).strip()
    except KeyboardInterrupt:
        print("\n(Ctrl-D leaves)")
        return ""
    except EOFError:
        print()
        return None


def chat(m: MelleaSession) -> None:
    while (question := ask("you> ")) is not None:
        if question:
            print("bot> ", end="", flush=True)
            show(m.chat(question, await_result=False))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", help="a backend, or 'backend:model'; default: the model in this process")
    parser.add_argument("--system", help="a system prompt")
    arguments = parser.parse_args()
    options = {"system_prompt": arguments.system, "max_new_tokens": 400}
    pace = {"delay": 0.02} if arguments.backend == "fake" else {}
    with start_session(arguments.backend, context_type="chat", model_options=options, **pace) as session:
        print(f"{session.backend!r}. Ctrl-C stops an answer, Ctrl-D leaves.")
        chat(session)
    print("Bye.")
