# /// script
# requires-python = ">=3.11"
# dependencies = ["mellea-like"]
#
# [tool.uv.sources]
# mellea-like = { path = "../../..", editable = true }
# ///
"""Streaming for production: errors, buffering, timeouts, cancelling, several answers at once, synchronous code.

uv run docs/examples/streaming/advanced_streaming.py
uv run docs/examples/streaming/advanced_streaming.py --backend fake
"""

import argparse
import asyncio
import re
from collections.abc import AsyncIterator

from mellea_like import (
    Answer,
    BackendError,
    BackendUnavailable,
    GenerationCancelled,
    MelleaSession,
    ModelOutputThunk,
    start_session,
)


async def sentences(thunk: ModelOutputThunk) -> AsyncIterator[str]:
    """Buffer deltas until a sentence is whole: for speech, for translation, for a calmer display."""
    buffer = ""
    async for delta in thunk:
        buffer += delta
        *whole, buffer = re.split(r"(?<=[.!?])\s+", buffer)
        for sentence in whole:
            yield sentence
    if buffer.strip():
        yield buffer


async def buffering(m: MelleaSession) -> None:
    print("# Buffering: one line per sentence")
    async for sentence in sentences(await m.ainstruct("Describe a forest in three sentences.", await_result=False)):
        print(f"  | {sentence}")


async def errors() -> None:
    print("\n# Errors: every reader gets the text that came, and then the error, every time")
    # A scripted backend that fails after its second token, so that the failure can be seen.
    broken = Answer(["The answer ", "is ", BackendUnavailable("The server went away.", backend="fake")])
    async with start_session("fake", answers=broken) as m:
        thunk = await m.ainstruct("What is the answer?", await_result=False)
        for attempt in (1, 2):
            try:
                async for delta in thunk:
                    print(f"  reader {attempt} got {delta!r}")
            except BackendError as error:
                print(f"  reader {attempt}: {type(error).__name__}: {error}")
        print(f"  kept: {thunk.partial_text!r}, state {thunk.state!r}")


async def timeouts(m: MelleaSession) -> None:
    print("\n# Timeouts: giving up on a poll loses nothing, the next poll has it")
    thunk = await m.ainstruct("Count from one to five.", await_result=False, model_options={"max_new_tokens": 40})
    shown, waits = 0, 0
    while not thunk.is_computed():
        try:
            text = await asyncio.wait_for(thunk.astream(), timeout=0.01)
        except TimeoutError:
            waits += 1  # the place for a spinner
            continue
        print(text[shown:], end="", flush=True)
        shown = len(text)
    print(f"\n  ({waits} polls timed out on the way)")


async def cancelling(m: MelleaSession) -> None:
    print("\n# Cancelling: the model stops, the text that came stays")
    thunk = await m.ainstruct("Write a very long essay about the sea.", await_result=False)
    async for _ in thunk:
        if len(thunk.partial_text) > 30:
            break
    await thunk.cancel()
    print(f"  {thunk.state}: {thunk.partial_text!r}")
    try:
        await thunk
    except GenerationCancelled as error:
        print(f"  awaiting it: {type(error).__name__}: {error}")

    async with await m.ainstruct("Write another one.", await_result=False) as thunk:
        await thunk.astream()
    print(f"  left `async with`: {thunk.state}")


async def several(m: MelleaSession) -> None:
    print("\n# Several at once: they run while you are not looking; each can be read by many")
    questions = {city: f"Say one sentence about {city}." for city in ("Paris", "Rome", "Oslo")}
    thunks = {city: await m.ainstruct(q, await_result=False) for city, q in questions.items()}

    async def count(city: str) -> str:
        deltas = [delta async for delta in thunks[city]]
        return f"  {city}: {len(deltas)} deltas, {sum(map(len, deltas))} characters"

    print("\n".join(await asyncio.gather(*map(count, thunks), count("Paris"))))

    summary = await m.ainstruct(
        "Which of these is the longest?\n{{ a }}\n{{ b }}",
        user_variables={"a": thunks["Paris"], "b": thunks["Rome"]},  # thunks are values: use them before they are done
    )
    print(f"  one call built on two others: {summary.value[:60]!r}")


def synchronous(m: MelleaSession) -> None:
    print("\n# Synchronous code streams too, inside a running event loop as well")
    for delta in m.instruct("Name three colours.", await_result=False):
        print(delta, end="", flush=True)
    print()


async def main(backend: str | None) -> None:
    pace = {"delay": 0.02} if backend == "fake" else {}  # the scripted backend would be done at once
    async with start_session(backend, **pace, model_options={"max_new_tokens": 80}) as m:
        await buffering(m)
        await errors()
        await timeouts(m)
        await cancelling(m)
        await several(m)
        synchronous(m)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", help="a backend, or 'backend:model'; default: the model in this process")
    try:
        asyncio.run(main(parser.parse_args().backend))
    except KeyboardInterrupt:
        print("\n(stopped)")
