"""Reading server-sent events as three clients do: a real one, this library's own decoder, and a naive one."""

from __future__ import annotations

from httpx2 import EventSource, Request, Response, ServerSentEvent

from mellea_like.sse import EventDecoder


def by_client(stream: bytes) -> list[ServerSentEvent]:
    """Read a stream with the HTTP client's own event source."""
    headers = {"content-type": "text/event-stream; charset=utf-8"}
    response = Response(200, headers=headers, content=stream, request=Request("GET", "http://here/"))
    return list(EventSource(response))


def by_decoder(stream: bytes) -> list[str]:
    """Read the data of a stream with this library's decoder."""
    return [piece.decode() for piece in EventDecoder().feed(stream)]


def by_splitting(stream: bytes) -> list[str]:
    """Read the data lines of a stream as many programs do: with `splitlines()`, which cuts at more than newlines."""
    return [line.removeprefix("data: ") for line in stream.decode().splitlines() if line.startswith("data: ")]


def text_until_done(stream: bytes) -> str:
    """Do what the page of a browser does: append until `[DONE]`."""
    text = ""
    for event in by_client(stream):
        if event.event != "message":
            continue
        if event.data == "[DONE]":
            return text
        text += event.data
    raise AssertionError("the stream has no [DONE]")
