# /// script
# requires-python = ">=3.11"
# dependencies = ["mellea-like"]
#
# [tool.uv.sources]
# mellea-like = { path = "../../..", editable = true }
# ///
"""Stream through validation: watch attempts come and go, while plain readers see accepted text only.

    uv run docs/examples/streaming/streaming_with_requirements.py
    uv run docs/examples/streaming/streaming_with_requirements.py --backend fake     # scripted, no model

In a terminal, an attempt that is given up is wiped away again; through a pipe, everything stays.
"""

import argparse
import asyncio
import shutil
import sys

from mellea_like import ModelOutputThunk, RepairTemplateStrategy, requires, start_session

SCRIPT = [
    "The sea is a very, very large body of salt water that goes on and on and on until it meets the sky somewhere.",
    "the sea is wide and loud.",
    "The sea is wide, cold and loud, and it never sleeps.",
]
RULES = [
    requires.length(min=8, max=20),  # too long an answer is stopped as soon as it is too long
    requires.matches(r"^[A-Z]", description="Begin with a capital letter."),
    requires.excludes(r"(?i)\bvery\b"),  # judged, and never told to the model
]


class Screen:
    """Writes text that can be taken back, where the output is a terminal."""

    def __init__(self) -> None:
        self.open = ""
        self.terminal = sys.stdout.isatty()

    def write(self, text: str) -> None:
        self.open += text
        print(text, end="", flush=True)

    def replace(self, line: str) -> None:
        """Put one line in place of what was written since the last one."""
        if self.terminal:
            width = shutil.get_terminal_size().columns
            rows = sum(max(1, -(-len(part) // width)) for part in self.open.split("\n"))
            print(f"\r\x1b[{rows - 1}A\x1b[J" if rows > 1 else "\r\x1b[J", end="")
        elif self.open:
            print()
        self.open = ""
        print(line, flush=True)

    def dim(self, text: str) -> str:
        return f"\x1b[2m{text}\x1b[0m" if self.terminal else text


async def watch(thunk: ModelOutputThunk) -> None:
    """Show every event of a judged call: the attempts live, then what became of them."""
    screen = Screen()
    async for event in thunk.events():
        match event.type:
            case "started":
                screen.write(f"{event.attempt}: ")
            case "delta":
                screen.write(event.text)
            case "retried":
                screen.replace(screen.dim(f"{event.void}: given up. {event.reason}"))
            case "finished":
                verdict = "accepted" if thunk.success else "kept, though it does not meet the requirements"
                screen.replace(f"{thunk.attempt}: {verdict}: {thunk.value}")
            case "failed":
                screen.replace(f"failed: {event.error}")


async def read(thunk: ModelOutputThunk) -> str:
    """Read as any plain reader does: nothing of this has ever to be taken back."""
    return "".join([delta async for delta in thunk])


async def main(backend: str | None) -> None:
    scripted = {"answers": SCRIPT, "delay": 0.02} if backend == "fake" else {}
    async with start_session(backend, **scripted, model_options={"max_new_tokens": 80}) as m:
        print(f"# {m.backend!r}\n")
        thunk = await m.ainstruct(
            "Describe the sea in one sentence.",
            requirements=RULES,
            strategy=RepairTemplateStrategy(loop_budget=4),
            await_result=False,
        )
        _, text = await asyncio.gather(watch(thunk), read(thunk))

        print(f"\n# A plain reader has seen {text!r}.")
        for sample in thunk.samples:
            how = "stopped early" if sample.stopped else sample.finish_reason
            print(f"#   attempt {sample.attempt}: {len(sample.text)} characters, {how}, {sample.usage}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", help="a backend, or 'backend:model'; default: the model in this process")
    try:
        asyncio.run(main(parser.parse_args().backend))
    except KeyboardInterrupt:
        print("\n(stopped)")
