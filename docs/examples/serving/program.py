"""A program for `mellea-like serve`: answers of at most twelve words, tried again where they are longer.

    uv run --extra serve mellea-like serve docs/examples/serving/program.py     # then open http://127.0.0.1:8000

Each request is given the whole conversation. A thunk that still runs streams: the page shows its attempts as they grow,
and a client of OpenAI's protocol gets the accepted text.
"""

import os

from mellea_like import Message, ModelOutputThunk, req, simple_validate, start_session

session = start_session(os.environ.get("BACKEND"), model_options={"max_new_tokens": 60})
short = req(
    "The answer has at most twelve words.",
    validation_fn=simple_validate(lambda text: len(text.split()) <= 12),
)


async def serve(messages: list[Message], model_options: dict[str, object]) -> ModelOutputThunk[str]:
    """Answer the last turn of a conversation."""
    return await session.ainstruct(
        messages[-1].content, requirements=[short], model_options=model_options, await_result=False
    )
