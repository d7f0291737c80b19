"""The server's own description, as an OpenAPI document. Pure data; request bodies are described by what checks them."""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic.json_schema import models_json_schema

from .requests import ChatRequest, RunRequest
from .response_requests import ResponseRequest

_REFS = "#/components/schemas/{model}"


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}


_STRING, _INTEGER, _ANY = {"type": "string"}, {"type": "integer"}, dict[str, Any]()
_EVENT = {"type": "object", "required": ["data"], "properties": {"id": _STRING, "event": _STRING, "data": _STRING}}
_MAYBE = {"type": ["string", "null"]}
_ERROR = _object(error=_object(message=_STRING, type=_STRING, param=_MAYBE, code=_MAYBE))
_MODEL = _object(id=_STRING, object={"const": "model"}, created=_INTEGER, owned_by=_STRING, graph={"type": "boolean"})
_RUN = _object(
    id=_STRING,
    object={"const": "run"},
    state={"enum": ["running", "finished", "failed", "cancelled"]},
    attempt={"type": ["integer", "null"]},
    success={"type": ["boolean", "null"]},
)
_MESSAGE = _object(role={"const": "assistant"}, content=_MAYBE) | {"additionalProperties": True}
_REASON = {"enum": ["stop", "length", "tool_calls", "content_filter"]}
_CHOICE = _object(index=_INTEGER, message=_MESSAGE, finish_reason=_REASON)
_COMPLETION = _object(
    id=_STRING,
    object={"const": "chat.completion"},
    created=_INTEGER,
    model=_STRING,
    choices={"type": "array", "items": _CHOICE, "minItems": 1},
    usage=_object(prompt_tokens=_INTEGER, completion_tokens=_INTEGER, total_tokens=_INTEGER),
)
_ITEM = _object(type={"enum": ["message", "reasoning", "function_call"]}, id=_STRING, status=_STRING)
_RESPONSE = _object(
    id=_STRING,
    object={"const": "response"},
    created_at=_INTEGER,
    status={"enum": ["completed", "incomplete"]},
    model=_STRING,
    output={"type": "array", "items": _ITEM},
    store={"const": False},
    usage=_object(input_tokens=_INTEGER, output_tokens=_INTEGER, total_tokens=_INTEGER),
)
_GRAPH = _object(name=_STRING, nodes={"type": "array"}, edges={"type": "array"}, answer=_MAYBE)
_HEALTH = _object(status={"const": "ok"}, running=_INTEGER, waiting=_INTEGER)

_REASONS = {
    "400": "The request is mistaken.",
    "401": "The API key is missing or wrong.",
    "403": "The request comes from where it may not.",
    "404": "There is no such thing.",
    "405": "The path does not take this method.",
    "408": "The body did not arrive in time.",
    "413": "The body is too large.",
    "415": "The body is not JSON.",
    "429": "The server is busy; `Retry-After` says when to try again.",
    "500": "What is served failed.",
    "502": "The model's side failed.",
    "503": "The model's side cannot be reached, or the server is shutting down.",
    "504": "It took too long.",
}


def _shown(schema: dict[str, Any], text: str = "It worked.") -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": schema}}}


_STREAM: dict[str, Any] = {"description": "Server-sent events.", "content": {"text/event-stream": {"schema": _EVENT}}}


def _either(schema: dict[str, Any]) -> dict[str, Any]:
    """Describe an answer that comes whole or as a stream, as the client wants it."""
    whole = _shown(schema)
    return {"200": {**whole, "content": {**whole["content"], **_STREAM["content"]}}}


def _operation(summary: str, answers: dict[str, Any], refusals: str, **rest: Any) -> dict[str, Any]:
    errors = {code: _shown({"$ref": _REFS.format(model="Error")}, _REASONS[code]) for code in refusals.split()}
    return {"summary": summary, "responses": {**answers, **errors}, "security": [{"key": []}, {}], **rest}


def _in(where: str, name: str, *, required: bool = True, **schema: Any) -> dict[str, Any]:
    return {"in": where, "name": name, "required": required, "schema": {"type": "string", **schema}}


_ASKING = "400 401 403 404 408 413 415 429 500 502 503 504"


def _body(model: str) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": {"$ref": _REFS.format(model=model)}}}}


_RUN_ID = _in("path", "run", minLength=1, pattern="^[a-z0-9_]+$")
_LAST = _in("header", "Last-Event-ID", required=False)


def _paths() -> dict[str, Any]:
    started = {"200": _STREAM, "201": _shown(_RUN, "The run has begun.")}
    plain = "401 403"
    return {
        "/v1/chat/completions": {
            "post": _operation("Answer a chat.", _either(_COMPLETION), _ASKING, requestBody=_body("ChatRequest")),
        },
        "/v1/responses": {
            "post": _operation("Respond.", _either(_RESPONSE), _ASKING, requestBody=_body("ResponseRequest")),
        },
        "/v1/models": {
            "get": _operation(
                "List what is served.",
                {"200": _shown(_object(object={"const": "list"}, data={"type": "array", "items": _MODEL}))},
                plain,
            )
        },
        "/v1/models/{model}": {
            "get": _operation(
                "Describe a model.",
                {"200": _shown(_MODEL)},
                f"{plain} 404",
                parameters=[_in("path", "model", minLength=1)],
            )
        },
        "/v1/runs": {"post": _operation("Begin a run.", started, _ASKING, requestBody=_body("RunRequest"))},
        "/v1/runs/{run}": {
            "get": _operation("Say how a run is.", {"200": _shown(_RUN)}, f"{plain} 404", parameters=[_RUN_ID]),
            "delete": _operation("Stop a run.", {"200": _shown(_RUN)}, f"{plain} 404", parameters=[_RUN_ID]),
        },
        "/v1/runs/{run}/events": {
            "get": _operation("Read a run's events.", {"200": _STREAM}, f"{plain} 404", parameters=[_RUN_ID, _LAST])
        },
        "/v1/graph": {"get": _operation("Describe the graph.", {"200": _shown(_GRAPH)}, f"{plain} 404")},
        "/stream": {
            "get": _operation(
                "Answer a prompt, for `EventSource`.",
                {"200": _STREAM, "204": {"description": "There is nothing more."}},
                "400 401 403 429 500 502 503 504",
                parameters=[_in("query", "prompt", minLength=1), _LAST],
            )
        },
        "/healthz": {"get": _operation("Say that the server works.", {"200": _shown(_HEALTH)}, "403")},
    }


@cache
def document(choices: int = 128) -> dict[str, Any]:
    """Return the document; it is built once.

    Args:
        choices: How many answers one request may ask for.
    """
    _, schemas = models_json_schema(
        [(kind, "validation") for kind in (ChatRequest, ResponseRequest, RunRequest)], ref_template=_REFS
    )
    schemas["$defs"]["ChatRequest"]["properties"]["n"]["anyOf"][0]["maximum"] = choices
    return {
        "openapi": "3.1.0",
        "info": {"title": "mellea-like serve", "version": "1"},
        "paths": _paths(),
        "components": {
            "schemas": {**schemas["$defs"], "Error": _ERROR},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }
