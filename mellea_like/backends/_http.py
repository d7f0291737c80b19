"""What every provider behind HTTP has in common: one client, time limits, retries before the first text.

A provider says how a stream is opened and how its messages read; this file does the rest, once. It knows no provider.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, aclosing, suppress
from contextvars import Context
from itertools import chain
from typing import Any, ClassVar, NamedTuple, Protocol
from urllib.parse import urlsplit

from ..content import Request
from ..engine import in_worker
from ..errors import BackendError, InvalidArgument, MalformedReply, RateLimited
from ..events import Said
from ..options import ModelOption
from ..sse import Decoder
from . import Backend
from ._limits import Limits
from ._patience import Patience
from ._refusals import Refusals
from ._retries import attempts
from ._writable import NOT_JSON, unwritable

_LAST_BYTES = 1.0
"""Seconds that a stream has to close after its terminal message, before its connection is given up."""

_LONGEST_EXPLANATION = 64 * 1024
"""Bytes that are read of a reply that is not a stream."""


class Reply(Protocol):
    """One answer while it comes: a provider's messages in, text and events out."""

    def read_all(self, messages: Iterable[bytes]) -> Iterator[Said]:
        """Read messages, up to the one that says that it was the last."""
        ...

    def whole(self) -> bool:
        """Whether the answer is all there, though more may be said about it, such as its usage."""
        ...

    def over(self) -> bool:
        """Whether the provider has said that this was all."""
        ...

    def end(self) -> Iterator[Said]:
        """Yield what closes the answer: nothing where the stream broke off."""
        ...


class _Begun(NamedTuple):
    """An answer whose first piece is there; `opened` closes its connection and gives its place back."""

    opened: AsyncExitStack
    chunks: AsyncIterator[bytes]
    decoder: Decoder
    reply: Reply
    first: Iterator[Said]


class HttpBackend(Backend):
    """A provider behind HTTP; subclasses write its abstract methods.

    Args:
        model_id: The model as the provider knows it.
        base_url: Where the provider answers; None for its usual place.
        api_key: The key; None takes it from the provider's usual environment variable.
        timeout: Seconds of silence, between two pieces of the answer or before the first, after which the call fails;
            None waits for ever. `ModelOption.STREAM_TIMEOUT` sets it for one call.
        connect_timeout: Seconds for making the connection.
        total_timeout: Seconds for the whole answer; None for no limit.
        retries: How often a call is tried again that found nobody, was told 429 or got a 5xx, before its first text.
        max_concurrency: Calls that may run at once; further ones wait in line. None for no limit.
        requests_per_second: Calls that may begin in a second; None for no limit.
        model_options: Options for every call through this backend.

    Raises:
        InvalidArgument: a number is out of range, or the address is none.
    """

    def __init__(
        self,
        model_id: str | None = None,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        timeout: float | None = 120.0,
        connect_timeout: float = 10.0,
        total_timeout: float | None = None,
        retries: int = 2,
        max_concurrency: int | None = None,
        requests_per_second: float | None = None,
        model_options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(model_id, model_options=model_options)
        limits = {
            "timeout": timeout,
            "connect_timeout": connect_timeout,
            "total_timeout": total_timeout,
            "max_concurrency": max_concurrency,
            "requests_per_second": requests_per_second,
        }
        for name, value in limits.items():
            kind = "whole number" if name == "max_concurrency" else "number"
            if value is not None and not (_is_number(value, kind) and value > 0):
                raise InvalidArgument(f"{name} is {value!r}; it must be a {kind} above 0, or None for no limit.")
        if not (_is_number(retries, "whole number") and retries >= 0):
            raise InvalidArgument(f"retries is {retries!r}; it must be a whole number from 0.")
        if base_url is not None:
            self._check_address(base_url)
        self.base_url = base_url
        self.api_key = api_key
        self.connect_timeout = connect_timeout
        self._timeout, self._total_timeout, self._retries = timeout, total_timeout, retries
        self._max_concurrency, self._requests_per_second = max_concurrency, requests_per_second
        self._client: Any = None
        self._home: asyncio.AbstractEventLoop | None = None

    # --- what a provider writes -------------------------------------------------------------------------------------

    bare_hosts: ClassVar[bool] = False
    """Whether an address may leave `http://` out."""

    @abstractmethod
    def _address(self) -> str:
        """Say where the provider is looked for."""

    @abstractmethod
    def _connect(self) -> Any:
        """Import the provider's package and make its client; opens nothing, and runs in a thread of its own."""

    @abstractmethod
    async def _open(self, client: Any, request: Request, stack: AsyncExitStack) -> AsyncIterator[bytes]:
        """Send the request and return the bytes of the answer; `stack` is to close what was opened."""

    @abstractmethod
    def _decoder(self) -> Decoder:
        """Return what cuts the bytes into messages."""

    @abstractmethod
    def _reply(self, request: Request) -> Reply:
        """Return what reads the messages."""

    @abstractmethod
    def _failures(self) -> tuple[type[Exception], ...]:
        """List what the client and its transport raise; `UnicodeError` for a host or key that cannot be sent."""

    @abstractmethod
    def _refusals(self) -> Refusals:
        """Return what builds this provider's errors."""

    @abstractmethod
    async def _close(self, client: Any) -> None:
        """Close the client."""

    def _translated(self, error: Exception, *, began: bool) -> BackendError:
        """Return the library's error for one of the client's; `began` says whether text had come."""
        return self._refusals().of_transport(error, began=began)

    async def _checked(
        self, response: Any, content_types: tuple[str, ...], stack: AsyncExitStack
    ) -> AsyncIterator[bytes]:
        """Return the bytes of a response, where it is the stream that was asked for; else raise what it is."""
        if response.status_code != 200:
            raise self._refusals().of_status(response.status_code, response.headers, await _beginning(response))
        content_type = response.headers.get("content-type", "")
        if not content_type.startswith(content_types):
            raise self._refusals().of_reply(content_type, await _beginning(response))
        # Read as they came in, unless they are packed: `aiter_bytes` is two generators and two decoders more for each
        # piece. What it would close, `stack` closes: the iterator here, then the response, which the provider entered.
        plain = response.headers.get("content-encoding", "identity") == "identity"
        chunks: AsyncGenerator[bytes, None] = aiter(response.stream) if plain else response.aiter_bytes()
        return await stack.enter_async_context(aclosing(chunks))

    # --- the stream -------------------------------------------------------------------------------------------------

    async def stream(self, request: Request) -> AsyncGenerator[Said, None]:
        """Generate the answer; see `Backend.stream`.

        Raises:
            BackendUnavailable: nothing answers, or the server failed, each time that it was tried.
            BackendTimeout: nothing came for longer than `timeout`.
            RateLimited: the server asked to slow down, each time that it was tried.
            ModelNotFound: the server does not have the model.
            ContextOverflow: the prompt is too long for the model.
            RequestRefused: the server refused the request for another reason.
            MalformedReply: what came is not what the protocol promises.
            Truncated: the connection broke off in the middle.
        """
        quiet = request.options.get(ModelOption.STREAM_TIMEOUT, self._timeout)
        patience = Patience(quiet=quiet, total=self._total_timeout, backend=self.name)
        begun = await self._begun(request, patience)
        async with begun.opened:
            self._limits.answered()
            chunks, decoder, reply = begun.chunks, begun.decoder, begun.reply
            try:
                for said in begun.first:
                    patience.renew()
                    yield said
                if not reply.whole():
                    async for data in chunks:
                        for number, said in enumerate(reply.read_all(decoder.feed(data))):
                            patience.renew(looking=not number)  # the others came with the first, at its time
                            yield said
                        if reply.whole():
                            break
            except self._failures() as error:
                raise self._translated(error, began=True) from error
            if reply.whole():
                patience.rest()
            for said in await self._last(begun):
                yield said
            if not reply.whole():
                raise self._refusals().of_silent_end()
            await self._drained(chunks)

    async def _begun(self, request: Request, patience: Patience) -> _Begun:
        """Open the stream and read up to its first piece, trying again where that helps."""
        self._settle()
        begun: _Begun = await attempts(self._retries, patience)(self._attempt, request, patience)
        return begun

    async def _attempt(self, request: Request, patience: Patience) -> _Begun:
        # Each attempt waits for a place of its own, so that a limit which the server has just lowered holds for it too.
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._limits.place())
            cuts = self._limits.cuts
            client = await self._connected()
            await stack.enter_async_context(patience)
            try:
                return await self._first_piece(client, request, stack)
            except RateLimited:
                self._limits.refused(cuts)
                raise

    async def _first_piece(self, client: Any, request: Request, stack: AsyncExitStack) -> _Begun:
        try:
            chunks = await self._opened(client, request, stack)
            decoder, reply = self._decoder(), self._reply(request)
            first: Iterator[Said] = iter(())
            async for data in chunks:
                # Read one by one: an error that follows text, in the same bytes, comes after that text.
                pieces = reply.read_all(decoder.feed(data))
                if (piece := next(pieces, None)) is not None:
                    first = chain((piece,), pieces)
                    break
                if reply.whole():
                    break
            return _Begun(stack.pop_all(), chunks, decoder, reply, first)
        except self._failures() as error:
            raise self._translated(error, began=False) from error

    async def _opened(self, client: Any, request: Request, stack: AsyncExitStack) -> AsyncIterator[bytes]:
        try:
            return await self._open(client, request, stack)
        except NOT_JSON as error:
            # What cannot be written is looked for only now: on their way out, most requests need no second look.
            if (mistake := unwritable(request, error)) is not None:
                raise mistake from error
            raise

    def _check_address(self, address: str) -> None:
        bare = self.bare_hosts and "://" not in address
        try:
            place = urlsplit(f"http://{address}" if bare else address)
            reason = "" if place.port != 0 else "the port is 0"
        except ValueError as error:
            place, reason = urlsplit("http://"), str(error)
        if not reason and place.scheme not in {"http", "https"}:
            reason = "it must begin with 'http://' or 'https://'"
        if not reason and not place.hostname and not bare:
            reason = "it names no host"
        if reason:
            raise InvalidArgument(f"{address!r} is not an address for the backend {self.name!r}: {reason}.")

    def _settle(self) -> None:
        """Start afresh on another loop: a forked child leaves the parent's connections and calls alone."""
        home = asyncio.get_running_loop()
        if self._home is not home:
            self._home, self._client, self._connecting = home, None, asyncio.Lock()
            self._limits = Limits(max_concurrency=self._max_concurrency, requests_per_second=self._requests_per_second)

    async def _connected(self) -> Any:
        """Return the client, making it for the first call."""
        async with self._connecting:
            if self._client is None:
                # Importing a client's package takes half a second, which other streams should not wait for.
                self._check_address(self._address())
                try:
                    self._client = await in_worker(self._connect, context=Context())
                except self._failures() as error:
                    raise self._translated(error, began=False) from error
            return self._client

    async def _last(self, begun: _Begun) -> list[Said]:
        """Read up to the provider's last message (usage, as a rule), and close the answer."""
        said: list[Said] = []
        if begun.reply.whole() and not begun.reply.over():
            with suppress(TimeoutError, MalformedReply, *self._failures()):
                async with asyncio.timeout(_LAST_BYTES):
                    async for data in begun.chunks:
                        said += begun.reply.read_all(begun.decoder.feed(data))
                        if begun.reply.over():
                            break
        if not begun.reply.over():
            # A last message that does not read is one that the stream's end cut in two: truncated, not malformed.
            with suppress(MalformedReply):
                said += begun.reply.read_all(begun.decoder.flush())
        return [*said, *begun.reply.end()]

    async def _drained(self, chunks: AsyncIterator[bytes]) -> None:
        # A body that is not read to its own end costs its connection; but the answer is whole, so nothing that happens
        # here matters to it.
        with suppress(TimeoutError, *self._failures()):
            async with asyncio.timeout(_LAST_BYTES):
                async for _ in chunks:
                    pass

    async def aclose(self) -> None:
        """Close the client and its connections."""
        client, self._client = self._client, None
        if client is not None and self._home is asyncio.get_running_loop():
            await self._close(client)

    def __repr__(self) -> str:
        place = f", base_url={self.base_url!r}" if self.base_url else ""
        return f"{type(self).__name__}({self.model_id!r}{place})"


async def _beginning(response: Any) -> bytes:
    """Return a body that explains something; it may be a page without end."""
    body = b""
    async for data in response.aiter_bytes():
        body += data
        if len(body) >= _LONGEST_EXPLANATION:
            break
    return body


def _is_number(value: object, kind: str) -> bool:
    return isinstance(value, int if kind == "whole number" else int | float) and not isinstance(value, bool)
