# /// script
# requires-python = ">=3.11"
# dependencies = ["mellea-like[serve]", "websockets>=14"]
#
# [tool.uv.sources]
# mellea-like = { path = "../../..", editable = true }
# ///
"""Chat over a websocket: the answer goes out while it is written, and the client may stop it at any word.

    uv run docs/examples/streaming/streaming_websocket.py
    uv run docs/examples/streaming/streaming_websocket.py --backend fake     # scripted, no model

Serves on a free port, is its own client, prints what it receives, and stops. Without `--backend` the answer comes from
a small model inside this process. Its weights (93 MB) are fetched once, at the first run.
"""

import argparse
import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.asyncio.client import connect

from mellea_like import ChatContext, ModelOutputThunk, start_session


async def send_answer(websocket: WebSocket, thunk: ModelOutputThunk) -> None:
    async for event in thunk.events():
        if event.type == "delta":
            await websocket.send_json({"type": "text", "text": event.text})
    await websocket.send_json({"type": thunk.state})  # finished, failed or cancelled


def application(backend: str | None, pace: dict[str, float]) -> Starlette:
    async def chat(websocket: WebSocket) -> None:
        await websocket.accept()
        thunk = sending = None
        # A session for each connection: its own history, and at its end nothing is left running.
        async with start_session(backend, **pace, ctx=ChatContext(), model_options={"max_new_tokens": 60}) as m:
            try:
                while True:
                    message = await websocket.receive_json()
                    if message["type"] == "stop" and thunk is not None:
                        await thunk.cancel()
                    elif message["type"] == "ask":
                        thunk = await m.achat(message["text"], await_result=False)
                        sending = asyncio.create_task(send_answer(websocket, thunk))
            except WebSocketDisconnect:
                if sending is not None:
                    sending.cancel()

    return Starlette(routes=[WebSocketRoute("/chat", chat)])


@asynccontextmanager
async def served(app: Starlette) -> AsyncIterator[str]:
    """Serve on a free port for as long as the block runs."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        door.listen()
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="websockets-sansio"))
        serving = asyncio.create_task(server.serve([door]))
        yield f"ws://127.0.0.1:{door.getsockname()[1]}"
        server.should_exit = True
        await serving


async def main(backend: str | None) -> None:
    pace = {"delay": 0.02} if backend == "fake" else {}  # the scripted backend would be done at once
    async with served(application(backend, pace)) as address, connect(f"{address}/chat", proxy=None) as socket_:
        for text, stop_after in (("Tell me about the sea.", None), ("Now tell me about every river there is.", 2)):
            print(f"\n# {text}")
            await socket_.send(json.dumps({"type": "ask", "text": text}))
            count = 0
            async for message in socket_:
                said = json.loads(message)
                if said["type"] != "text":
                    print(f"\n({said['type']})")
                    break
                print(said["text"], end="", flush=True)
                count += 1
                if count == stop_after:
                    await socket_.send(json.dumps({"type": "stop"}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", help="a backend, or 'backend:model'; default: the model in this process")
    try:
        asyncio.run(main(parser.parse_args().backend))
    except KeyboardInterrupt:
        print("\n(stopped)")
