# /// script
# requires-python = ">=3.11"
# dependencies = ["mellea-like"]
#
# [tool.uv.sources]
# mellea-like = { path = "../../..", editable = true }
# ///
"""A chat that is saved and resumed: leave it, start it again, and it goes on.

    uv run docs/examples/components/resume_chat.py "My name is Ana."
    uv run docs/examples/components/resume_chat.py "What is my name?"
    uv run docs/examples/components/resume_chat.py --backend fake --file /tmp/chat.json "Hi"     # scripted, no model

The conversation is in `chat.json`, or the file that `--file` names; delete it to start over.
"""

import argparse
from pathlib import Path

from mellea_like import ChatContext, UnreadableContext, start_session


def main(backend: str | None, file: Path, said: str) -> None:
    try:
        ctx = ChatContext.load(file) if file.exists() else ChatContext(window_size=20)
    except UnreadableContext as error:
        raise SystemExit(str(error)) from error
    with start_session(backend, ctx=ctx, model_options={"max_new_tokens": 80}) as m:
        print(f"# {m!r}\n")
        for turn in m.ctx.view():
            print(f"you> {turn.said}\nbot> {turn.answer}")
        print(f"you> {said}\nbot> ", end="")
        for delta in m.chat(said, await_result=False):
            print(delta, end="", flush=True)
        print()
        m.ctx.save(file)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("said", nargs="?", default="Hello!", help="what to say; default: Hello!")
    parser.add_argument("--backend", help="a backend, or 'backend:model'; default: the model in this process")
    parser.add_argument("--file", type=Path, default=Path("chat.json"), help="where the chat is kept")
    arguments = parser.parse_args()
    try:
        main(arguments.backend, arguments.file, arguments.said)
    except KeyboardInterrupt:
        print("\n(stopped)")
