"""Errors as answers: what went wrong in OpenAI's error form, with the status code that fits."""

from __future__ import annotations

import math
from typing import Any

from starlette.responses import Response

from .. import errors
from ..encoding.json_form import JSONForm, safe_text

_JSON = JSONForm()

_STATUS: tuple[tuple[type[BaseException], int, str, str | None], ...] = (
    (errors.ContextOverflow, 400, "invalid_request_error", "context_length_exceeded"),
    (errors.SessionClosed, 503, "server_error", "shutting_down"),
    (errors.MissingPackage, 500, "server_error", "missing_package"),
    (errors.WrongUse, 400, "invalid_request_error", None),
    (errors.RateLimited, 429, "rate_limit_error", "rate_limit_exceeded"),
    (errors.ModelNotFound, 404, "invalid_request_error", "model_not_found"),
    (errors.RequestRefused, 502, "server_error", "request_refused"),
    (errors.BackendTimeout, 504, "server_error", "timeout"),
    (errors.BackendUnavailable, 503, "server_error", "backend_unavailable"),
    (errors.BackendError, 502, "server_error", "backend_error"),
    (errors.OutputError, 502, "server_error", "no_usable_answer"),
    (errors.GenerationCancelled, 504, "server_error", "timeout"),
)
"""The first kind that fits counts; what is in none of them is 500."""

_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}

_CLIENTS_OWN = (errors.WrongUse, errors.ContextOverflow, errors.RequestRejected, errors.OutputError)
"""Errors about what the client itself sent or gets: their words are for it."""


def status_of(error: BaseException) -> int:
    """Return the HTTP status code that an error has."""
    return int(_described(error)[0])


def told_text(error: BaseException, *, told: bool) -> str:
    """Say what a client is told of an error; without `told`, of the model's side only the kind."""
    if isinstance(error, _CLIENTS_OWN) or (told and isinstance(error, errors.MelleaError)):
        return str(error) or safe_text(error)
    if isinstance(error, errors.MelleaError):
        return f"The model's side failed ({safe_text(error)})."
    return f"The program that is served failed ({safe_text(error)})."


def error_form(error: BaseException, *, told: bool) -> dict[str, Any]:
    """Write an error in OpenAI's form."""
    _, kind, code = _described(error)
    param = getattr(error, "param", None)
    return {"error": {"message": told_text(error, told=told), "type": kind, "param": param, "code": code}}


def refusal(error: BaseException, *, told: bool) -> Response:
    """Answer with an error: its form, its status code, and `Retry-After` where it says when."""
    after = getattr(error, "retry_after", None)
    headers = {"Retry-After": str(max(1, math.ceil(after)))} if after is not None else {}
    if status_of(error) == 401:
        headers["WWW-Authenticate"] = "Bearer"
    body = _JSON.value(error_form(error, told=told))
    return Response(body, status_code=status_of(error), headers=headers, media_type="application/json")


def _described(error: BaseException) -> tuple[int, str, str | None]:
    if isinstance(error, errors.RequestRejected):
        other = "invalid_request_error" if error.status < 500 else "server_error"
        return error.status, _TYPES.get(error.status, other), error.code
    for kind, status, name, code in _STATUS:
        if isinstance(error, kind):
            return status, name, code
    return 500, "server_error", "internal_error"
