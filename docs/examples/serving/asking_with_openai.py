# /// script
# requires-python = ">=3.11"
# dependencies = ["mellea-like[serve]", "openai"]
#
# [tool.uv.sources]
# mellea-like = { path = "../../..", editable = true }
# ///
"""Serve a program and ask it with OpenAI's own client, whole and as a stream; the server stops at the end.

uv run docs/examples/serving/asking_with_openai.py
uv run docs/examples/serving/asking_with_openai.py --backend fake     # scripted, no model
"""

import argparse
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import openai

PROGRAM = Path(__file__).with_name("program.py")


def main(backend: str | None) -> None:
    command = [sys.executable, "-m", "mellea_like", "serve", str(PROGRAM), "--port", "0"]
    environment = {**os.environ, **({"BACKEND": backend} if backend else {})}
    server = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        line = server.stdout.readline()
        print(line, end="")
        address = re.search(r"http://\S+", line)[0]
        ask(openai.OpenAI(base_url=f"{address}/v1", api_key="none is needed here"))
    finally:
        server.send_signal(signal.SIGINT)  # as Ctrl-C does; streams that run are let end
        server.wait()


def ask(client: openai.OpenAI) -> None:
    messages = [{"role": "user", "content": "Say hello."}]
    answer = client.chat.completions.create(model="program", messages=messages)
    print(f"# Whole\n{answer.choices[0].message.content}\n")

    print("# As a stream")
    usage = {"include_usage": True}
    for chunk in client.chat.completions.create(model="program", messages=messages, stream=True, stream_options=usage):
        for choice in chunk.choices:
            print(choice.delta.content or "", end="", flush=True)
        if chunk.usage:
            print(f"\n{chunk.usage.completion_tokens} tokens")
    client.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", help="where answers come from, such as fake; by default the model in the process")
    main(parser.parse_args().backend)
