# /// script
# requires-python = ">=3.11"
# dependencies = ["mellea-like[serve]"]
#
# [tool.uv.sources]
# mellea-like = { path = "../../..", editable = true }
# ///
"""Send a model's answer to a browser while it is written, as server-sent events.

    uv run docs/examples/streaming/streaming_sse.py
    uv run docs/examples/streaming/streaming_sse.py --backend fake     # scripted, no model

Serves on a free port, is its own client, prints what it receives, and stops. Without `--backend` the answer comes from
a small model inside this process. Its weights (93 MB) are fetched once, at the first run.
"""

import argparse
import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mellea_like import MelleaSession, ModelOutputThunk, SSEAdapter, start_session


def application(m: MelleaSession) -> Starlette:
    answers: dict[str, ModelOutputThunk] = {}  # by the name that the client gives, so that it can come again

    async def text(request: Request) -> Response:
        # new EventSource("/text?prompt=…").onmessage = (e) => { … }: text alone, and [DONE] last.
        thunk = await m.ainstruct(request.query_params["prompt"], await_result=False)
        return SSEAdapter(data_only=True).to_streaming_response(thunk)

    async def events(request: Request) -> Response:
        # new EventSource("/events?…").addEventListener("delta", (e) => { … }): every event, as JSON.
        name = request.query_params["name"]
        if name not in answers:
            answers[name] = await m.ainstruct(request.query_params["prompt"], await_result=False)
        # A browser that was cut off says what it saw last, and goes on from there.
        last = request.headers.get("last-event-id")
        return SSEAdapter(retry=1).to_streaming_response(answers[name].events(), last_event_id=last)

    return Starlette(routes=[Route("/text", text), Route("/events", events)])


@asynccontextmanager
async def served(app: Starlette) -> AsyncIterator[str]:
    """Serve on a free port for as long as the block runs."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        door.listen()
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        serving = asyncio.create_task(server.serve([door]))
        yield f"http://127.0.0.1:{door.getsockname()[1]}"
        server.should_exit = True
        await serving


async def main(backend: str | None) -> None:
    pace = {"delay": 0.02} if backend == "fake" else {}  # the scripted backend would be done at once
    async with (
        start_session(backend, **pace, model_options={"max_new_tokens": 60}) as m,
        served(application(m)) as address,
        httpx2.AsyncClient(base_url=address, timeout=60, trust_env=False) as http,
    ):
        print("# 1. Text alone, for `EventSource.onmessage`")
        async with http.stream("GET", "/text", params={"prompt": "Why is the sky blue?"}) as response:
            async for event in httpx2.EventSource(response):
                if event.data == "[DONE]":
                    break
                print(event.data, end="", flush=True)

        print("\n\n# 2. Named events with JSON; the connection is cut after the first text")
        question = {"name": "answer-1", "prompt": "Name three rivers."}
        async with http.stream("GET", "/events", params=question) as response:
            async for event in httpx2.EventSource(response):
                print(f"{event.id:>3} {event.event:8} {json.loads(event.data).get('text', '')!r}")
                if event.event == "delta":
                    break

        print("\n# 3. It comes again with the number that it saw last, and gets the rest; the model did not stop")
        seen = {"Last-Event-ID": event.id}
        async with http.stream("GET", "/events", params=question, headers=seen) as response:
            async for event in httpx2.EventSource(response):
                print(f"{event.id:>3} {event.event:8} {json.loads(event.data).get('text', '')!r}")

        print("\n# 4. And once more: there is nothing left, which status 204 says")
        response = await http.get("/events", params=question, headers={"Last-Event-ID": event.id})
        print(response.status_code)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", help="a backend, or 'backend:model'; default: the model in this process")
    try:
        asyncio.run(main(parser.parse_args().backend))
    except KeyboardInterrupt:
        print("\n(stopped)")
