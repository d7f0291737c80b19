# /// script
# requires-python = ">=3.11"
# dependencies = ["mellea-like"]
#
# [tool.uv.sources]
# mellea-like = { path = "../../..", editable = true }
# ///
"""Give a model tools, and watch an agent use them: every turn, every call, every result, as it happens.

    uv run docs/examples/tools/agent_with_tools.py
    uv run docs/examples/tools/agent_with_tools.py --backend fake     # scripted, no model

A small model inside this process may take all its turns without finding its way to an answer; the example says so then.
"""

import argparse
import asyncio
from typing import Annotated

from pydantic import Field

from mellea_like import (
    Answer,
    ChatContext,
    Delta,
    LoopBudgetExhausted,
    MelleaSession,
    Message,
    ToolCall,
    ToolCallEvent,
    ToolResult,
    call_tools,
    react,
    start_session,
    tool,
)

NOTES: list[str] = []


@tool(timeout=5)
def multiply(a: Annotated[int, Field(description="the first number")], b: int) -> int:
    """Multiply two whole numbers.

    Args:
        b: the second number
    """
    return a * b


@tool
async def price(item: str) -> float:
    """Look up the price of an item, in euros."""
    await asyncio.sleep(0.01)  # the place for a real request
    return {"apple": 0.4, "pear": 0.6}[item]


@tool(confirm=True)
def note(text: str) -> str:
    """Write a note."""
    NOTES.append(text)
    return "noted"


def ask(call: ToolCall) -> bool:
    print(f"  may I run {call.name}({call.arguments})? yes")  # the place for `input()`
    return True


def by_hand() -> None:
    print("# By hand: carry out what an answer asks for. What goes wrong is told to the model, in words it can use.")
    wish = Message(
        "assistant",
        "",
        tool_calls=(
            ToolCall(name="multiply", arguments='{"a": 6, "b": 7}'),
            ToolCall(name="multiply", arguments='{"a": "six"}'),
            ToolCall(name="price", arguments='{"item": "plum"}'),
            ToolCall(name="divide", arguments="{}"),
        ),
    )
    for message in call_tools(wish, [multiply, price]):
        print(f"  {message.content[:100]}")


async def agent(m: MelleaSession) -> None:
    print("\n# An agent: turn by turn, until there is an answer")
    goal = "What do 12 apples cost? Look the price up and write a note of it."
    tools = [multiply, price, note]
    thunk, _ = await react(goal, ChatContext(), m.backend, tools=tools, confirm=ask, loop_budget=4, await_result=False)
    async for event in thunk.events():
        match event:
            case Delta(text=text):
                print(text, end="", flush=True)
            case ToolCallEvent(complete=True):
                print(f"\n  turn {event.attempt} calls {event.name}({event.arguments})")
            case ToolResult():
                print(f"  {event.name} said {event.text!r} after {event.took:.2f} s")
    try:
        print(f"\n  the answer: {(await thunk).value}")
    except LoopBudgetExhausted as error:
        print(f"\n  no answer: {error}")
    print(f"  notes: {NOTES}")


def script() -> list[Answer | str]:
    """What the scripted model says."""
    calls = (("price", '{"item": "apple"}'), ("note", '{"text": "an apple is 0.40"}'))
    wishes = [ToolCallEvent(index=i, name=n, arguments=a, complete=True) for i, (n, a) in enumerate(calls)]
    return [Answer(["Let me look. ", *wishes], finish_reason="tool_calls"), Answer("They cost 4.80 euros.")]


async def main(backend: str | None) -> None:
    options = {"answers": script(), "delay": 0.02} if backend == "fake" else {}
    async with start_session(backend, **options, model_options={"max_new_tokens": 100}) as m:
        await agent(m)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", help="a backend, or 'backend:model'; default: the model in this process")
    arguments = parser.parse_args()
    by_hand()
    try:
        asyncio.run(main(arguments.backend))
    except KeyboardInterrupt:
        print("\n(stopped)")
