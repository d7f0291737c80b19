"""What a provider's refusals mean, as the library's errors: status codes, failed connections, error objects."""

from __future__ import annotations

import email.utils
import json
import re
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import (
    BackendError,
    BackendTimeout,
    BackendUnavailable,
    ContextOverflow,
    MalformedReply,
    ModelNotFound,
    RateLimited,
    RequestRefused,
    Truncated,
)

_TOO_LONG = ("context length", "context size", "context_length", "context window", "maximum context", "too many tokens")


_UNWRITABLE = {"InvalidURL", "UnsupportedProtocol", "LocalProtocolError", "UnicodeError", "UnicodeEncodeError"}
"""What is raised, by name (there are two families of clients), where a request cannot even be written."""


class Refusals:
    """Builds errors that say who, where and what to do.

    Args:
        backend: The backend's name.
        model: The model that was asked for.
        address: Where the provider was looked for.
        unavailable: What to do when nothing answers.
        missing: What to do when the model is not there.
        key: Where the key comes from.
    """

    def __init__(self, *, backend: str, model: str, address: str, unavailable: str, missing: str, key: str) -> None:
        self._backend, self._model, self._address = backend, model, address
        self._unavailable, self._missing, self._key = unavailable, missing, key

    def of_status(self, code: int, headers: Mapping[str, str], body: bytes) -> BackendError:
        """Return the error for a reply with a status that is not 200."""
        said = said_in(body)
        told = f"Backend {self._backend!r} at {self._address!r} answered {code}: {said}"
        facts = {"backend": self._backend, "status": code}
        if code == 429:
            return RateLimited(
                f"{told} Slow down: `max_concurrency` and `requests_per_second` limit a backend.",
                backend=self._backend,
                retry_after=retry_after(headers),
            )
        if code == 413 or (code in {400, 422} and _too_long(said)):
            return self._overflow(told, said, code)
        if code in {401, 403}:
            return RequestRefused(f"{told} Is the key right? It comes from {self._key}.", **facts)
        if code == 404:
            return ModelNotFound(f"{told} Model {self._model!r}: {self._missing}", model=self._model, **facts)
        if code >= 500 or code == 408:
            return BackendUnavailable(told, retry_after=retry_after(headers), **facts)
        return RequestRefused(told, **facts)

    def of_transport(self, error: Exception, *, began: bool) -> BackendError:
        """Return the error for a connection that could not be made, or broke; `began` says whether text had come."""
        chain = list(_causes(error))
        names = {type(cause).__name__ for cause in chain}
        where = f"(backend {self._backend!r})"
        if names & _UNWRITABLE:
            return RequestRefused(
                f"A request to {self._address!r} cannot be written {where}: {_first_words(chain)}. Look at the "
                f"address, and at the key, which comes from {self._key}.",
                backend=self._backend,
            )
        if any(isinstance(cause, socket.gaierror) for cause in chain):
            what = f"There is no host of the name in {self._address!r} {where}."
        elif any(isinstance(cause, ssl.SSLError) for cause in chain):
            secure = next(cause for cause in chain if isinstance(cause, ssl.SSLError))
            what = f"No secure connection to {self._address!r} can be made {where}: {secure}."
        elif "ConnectTimeout" in names:
            what = f"Nothing accepts a connection at {self._address!r} in time {where}."
        elif "ConnectError" in names:
            what = f"Nothing answers at {self._address!r} {where}."
        elif names & {"ReadTimeout", "WriteTimeout", "PoolTimeout"}:
            return BackendTimeout(f"{self._address!r} is silent {where}: {chain[0]}", backend=self._backend)
        elif "DecodingError" in names:
            return MalformedReply(
                f"{self._address!r} sent compressed bytes that cannot be read {where}: {_first_words(chain)}.",
                backend=self._backend,
            )
        elif began:
            return Truncated(
                f"The connection to {self._address!r} broke off in the middle of the answer {where}: "
                f"{_first_words(chain)}. What came is kept.",
                backend=self._backend,
            )
        else:
            what = f"{self._address!r} closed the connection before it answered {where}: {_first_words(chain)}."
        return BackendUnavailable(f"{what} {self._unavailable}", backend=self._backend)

    def of_silent_end(self) -> Truncated:
        """Return the error for a stream that ended, in good order, before the answer did."""
        return Truncated(
            f"The stream from {self._address!r} ended without a finish reason (backend {self._backend!r}). What came "
            "is kept.",
            backend=self._backend,
        )

    def in_stream(self, told: Any) -> BackendError:
        """Return the error for an error object that came inside a stream."""
        fields = told if isinstance(told, Mapping) else {"message": str(told)}
        code = str(fields.get("code") or fields.get("status") or "")
        status = int(code) if code.isdigit() else None
        body = json.dumps({"error": told}, default=str).encode()
        if status is not None and 400 <= status < 600:
            return self.of_status(status, {}, body)
        message = str(fields.get("message") or told)
        failed = f"Backend {self._backend!r} at {self._address!r} failed in the middle of its answer: {message}"
        if _too_long(message):
            return self._overflow(failed, message, status)
        return BackendUnavailable(failed, backend=self._backend)

    def _overflow(self, told: str, said: str, status: int | None) -> ContextOverflow:
        # Every provider words it differently, and all name both numbers: the window is the smaller one.
        tokens = sorted(int(count) for count in re.findall(r"(\d+) tokens", said))
        return ContextOverflow(
            f"{told} Shorten the prompt, or take a model with a larger window.",
            backend=self._backend,
            status=status,
            input_tokens=tokens[-1] if len(tokens) > 1 else None,
            context_window=tokens[0] if len(tokens) > 1 else None,
        )

    def of_reply(self, content_type: str, body: bytes) -> BackendError:
        """Return the error for a reply of the wrong kind: a web page, an error object, something else."""
        try:
            told = json.loads(body)
        except ValueError:
            told = None
        if isinstance(told, Mapping) and told.get("error"):
            return self.in_stream(told["error"])
        head = body[:200]
        return MalformedReply(
            f"{self._address!r} answered with {content_type or 'no content type'!r} instead of a stream (backend "
            f"{self._backend!r}); it begins {head[:80]!r}. Is this the address of the API?",
            backend=self._backend,
            head=head,
        )


def _too_long(said: str) -> bool:
    return any(sign in said.lower() for sign in _TOO_LONG)


def said_in(body: bytes) -> str:
    """Return the message in an error's body, or its first words where it is none of the usual forms."""
    try:
        told = json.loads(body)
    except ValueError:
        told = None
    if isinstance(told, Mapping):
        inner = told.get("error", told)
        message = inner.get("message") if isinstance(inner, Mapping) else inner
        if message:
            text = str(message).strip()
            return text if text.endswith((".", "!", "?")) else f"{text}."
    return f"{body[:200].decode('utf-8', 'replace').strip() or 'no reason given'}."


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return how many seconds the server asks to wait, in either form of `Retry-After`; None where it does not say.

    Source: https://www.rfc-editor.org/rfc/rfc9110#field.retry-after
    """
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            return max(0.0, float(value) * unit)
        except ValueError:
            pass
        try:
            return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
        except ValueError:
            continue
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _first_words(chain: list[BaseException]) -> str:
    # The last cause knows best: clients say "Connection error." of everything.
    return next((str(cause).rstrip(".") for cause in reversed(chain) if str(cause)), type(chain[0]).__name__)
