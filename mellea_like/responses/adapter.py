"""From a stream of events to a response of Starlette's or FastAPI's; neither is imported before it is asked for."""

from __future__ import annotations

from collections.abc import AsyncIterable, Mapping
from typing import TYPE_CHECKING, Any

from ..encoding import Encoder
from ..encoding.json_form import ErrorText, safe_text
from ..encoding.sse import SSEEncoder, SSETextEncoder
from ..errors import InvalidArgument, MissingPackage

if TYPE_CHECKING:
    from starlette.responses import StreamingResponse


class SSEAdapter:
    """Sends streams of events to browsers, as server-sent events.

    Args:
        event_name: One name for all events, in place of their types. `"message"` is what `onmessage` hears.
        data_only: Send text alone, and `[DONE]` last, for `EventSource.onmessage`; see `SSETextEncoder`.
        json: With `data_only`, send each piece of text as a JSON string.
        ping: Seconds of silence after which a comment keeps the connection alive; None sends none.
        retry: Seconds after which a reader that was cut off tries again; None leaves it to the reader.
        error_text: What to say of an error to the reader; by default its kind alone. `str` says all of it.
        encoder: Another wire format, instead of all these but `ping`.

    Raises:
        InvalidArgument: a number is below 0, the name is not one line, or arguments contradict each other.

    Example:
        ```python
        from mellea_like import SSEAdapter, start_session

        m = start_session("fake", answers="Hello, world!")

        async def endpoint(request):                    # of a route of Starlette's or FastAPI's
            thunk = await m.ainstruct("Say hello.", await_result=False)
            return SSEAdapter().to_streaming_response(thunk.events())
        ```

    Source: Mesh's `SSEAdapter`; https://html.spec.whatwg.org/multipage/server-sent-events.html
    """

    def __init__(
        self,
        event_name: str | None = None,
        data_only: bool = False,
        *,
        json: bool = False,
        ping: float | None = 15.0,
        retry: float | None = None,
        error_text: ErrorText = safe_text,
        encoder: Encoder | None = None,
    ) -> None:
        if ping is not None and ping <= 0:
            raise InvalidArgument(f"ping is {ping!r}; give seconds above 0, or None to send no comments.")
        if data_only and event_name is not None:
            raise InvalidArgument(
                f"data_only sends events without a name, so event_name={event_name!r} has no place. Leave one out."
            )
        if json and not data_only:
            raise InvalidArgument("json=True is a form of data_only=True; with names, the data is JSON in any case.")
        self._ping = ping
        if encoder is None and data_only:
            encoder = SSETextEncoder(json=json, retry=retry, error_text=error_text)
        self._encoder = encoder or SSEEncoder(event_name=event_name, retry=retry, error_text=error_text)

    def to_streaming_response(
        self,
        events: AsyncIterable[Any],
        *,
        last_event_id: str | None = None,
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> StreamingResponse:
        """Make the response that sends a stream as it comes.

        When the reader goes away, the stream is closed (`aclose()`, where it has that), which stops a run and a model;
        a stream that cannot be closed, such as `thunk.events()`, is let go of, which stops its model if nobody else
        holds it. An error that the stream raises becomes its last event, and is logged with its traceback.

        Args:
            events: Any asynchronous iterable of events or text: `thunk.events()`, a thunk, `executor.execute(…)`,
                `graph.astream(…, stream_mode="events")`, `execute_prompt_streaming(…)`, a generator of your own.
            last_event_id: What the reader saw last: `request.headers.get("last-event-id")`. What came up to then is not
                sent again; `events` must be the same stream from its beginning, as `thunk.events()` is. Where nothing
                is left the response is 204, which tells a browser to ask no more. What is no number counts as None.
            status_code: The status.
            headers: More headers, or others.

        Raises:
            InvalidArgument: `events` cannot be iterated over with `async for`.
            MissingPackage: Starlette is not installed.

        Example:
            ```python
            from mellea_like import FakeBackend, SSEAdapter, StateGraph

            graph = StateGraph()
            graph.add_node("poet", node_type="llm")
            graph.set_entry_point("poet")
            compiled = graph.compile(backend=FakeBackend(answers="Roses are red."))

            async def endpoint(request):
                return SSEAdapter().to_streaming_response(compiled.astream("A poem.", stream_mode="events"))
            ```
        """
        if not isinstance(events, AsyncIterable):
            raise InvalidArgument(
                f"to_streaming_response takes an asynchronous iterable of events or text, not {events!r}. Give "
                "`thunk.events()`, `executor.execute(…)`, or an async generator (called, with its parentheses)."
            )
        try:
            from .events import EventResponse, Sending
        except ImportError as error:
            raise MissingPackage(
                f"SSEAdapter needs Starlette, which is not installed: {error}. Install it: pip install "
                "'mellea-like[serve]'"
            ) from error
        seen = int(last_event_id) if last_event_id and last_event_id.isdecimal() else None
        sending = Sending(events, self._encoder, seen=seen)
        own = {"Content-Type": self._encoder.media_type, **self._encoder.headers}
        shown = {name: value for name, value in own.items() if name.lower() not in {n.lower() for n in headers or {}}}
        return EventResponse(sending, ping=self._ping, status_code=status_code, headers={**shown, **(headers or {})})
