# /// script
# requires-python = ">=3.11"
# dependencies = ["mellea-like"]
#
# [tool.uv.sources]
# mellea-like = { path = "../../..", editable = true }
# ///
"""Stream a model's answer, token by token, in the two usual ways.

    uv run docs/examples/streaming/basic_streaming.py
    uv run docs/examples/streaming/basic_streaming.py --backend fake     # scripted, no model

Without `--backend` the answer comes from a small model inside this process. Its weights (93 MB) are fetched once, at
the first run.
"""

import argparse
import asyncio

from mellea_like import start_session


async def main(backend: str | None) -> None:
    pace = {"delay": 0.02} if backend == "fake" else {}  # the scripted backend would be done at once
    async with start_session(backend, **pace, model_options={"max_new_tokens": 120}) as m:
        print(f"# {m!r}\n")

        print("# 1. Polling: `astream()` gives the text so far, and waits for more than it gave before.")
        thunk = await m.ainstruct("Tell me a short story about a lighthouse.", await_result=False)
        last_length = 0
        while not thunk.is_computed():
            current_value = await thunk.astream()
            new_content = current_value[last_length:]
            print(new_content, end="", flush=True)
            last_length = len(current_value)

        print("\n\n# 2. Iterating: `async for` gives only the new text.")
        thunk = await m.ainstruct("Why is the sky blue?", await_result=False)
        async for delta in thunk:
            print(delta, end="", flush=True)

        print("\n\n# Afterwards the thunk is computed: a value to use, with what is known about it.")
        answer = await thunk
        print(f"{len(answer.value)} characters, finish reason {answer.finish_reason!r}, {answer.usage}")
        print(f"first text after {answer.generation.ttft:.3f} s, all of it after {answer.generation.seconds:.3f} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", help="a backend, or 'backend:model'; default: the model in this process")
    try:
        asyncio.run(main(parser.parse_args().backend))
    except KeyboardInterrupt:
        print("\n(stopped)")
