"""Whatever is sent, the server answers in OpenAI's error form, goes on, and keeps to its own OpenAPI document."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.specs.openapi.checks import ignored_auth

from mellea_like.server.limits import ServerLimits
from mellea_like.server.openapi import document

from .conftest import PATIENCE, Served

QUICK = settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck), database=None)

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
fields = st.sampled_from([*document()["components"]["schemas"]["ChatRequest"]["properties"], "unknown"])


def check_refusal(answer: Any) -> None:
    """Check that an answer is a refusal in OpenAI's form."""
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    assert answer.status_code in {400, 404, 413, 415}


@QUICK
@given(body=st.dictionaries(fields, anything, max_size=5))
def test_any_json_is_answered_or_refused(echo: Served, body: dict[str, Any]) -> None:
    answer = echo.client.post("/v1/chat/completions", json=body)
    if answer.status_code != 200:
        check_refusal(answer)


@QUICK
@given(
    wrong=st.dictionaries(fields, anything, min_size=1, max_size=3), path=st.sampled_from(["chat/completions", "runs"])
)
def test_a_good_request_with_a_bad_field_is_answered_or_refused(echo: Served, wrong: dict[str, Any], path: str) -> None:
    body = {"messages": [{"role": "user", "content": "hi"}], **wrong}
    answer = echo.client.post(f"/v1/{path}", json=body)
    if answer.status_code not in {200, 201}:
        check_refusal(answer)


@QUICK
@given(body=st.binary(max_size=200))
def test_any_bytes_are_refused(echo: Served, body: bytes) -> None:
    answer = echo.client.post("/v1/chat/completions", content=body, headers={"Content-Type": "application/json"})
    check_refusal(answer)


@settings(QUICK, max_examples=30)
@given(noise=st.binary(min_size=1, max_size=300))
def test_noise_on_the_socket_disturbs_nobody(echo: Served, noise: bytes) -> None:
    with socket.create_connection(echo.socket.getsockname(), timeout=PATIENCE) as asking:
        asking.sendall(noise)
    assert echo.client.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"messages": "hi"}, "messages"),
        ({"messages": [{"role": "king", "content": "hi"}]}, "messages.0"),
        ({"messages": [{"role": "user"}]}, "messages.0.user.content"),
        ({"temperature": "hot"}, "temperature"),
        ({"n": 0}, "n"),
        ({"stop": ""}, "stop"),
        ({"presence_penalty": 1.5}, "presence_penalty"),
        ({"logprobs": True}, "logprobs"),
        ({"response_format": {"type": "yaml"}}, "response_format"),
        ({"tools": [{"type": "function"}]}, "tools.0.function"),
    ],
)
def test_a_refusal_says_where_the_mistake_is(echo: Served, change: dict[str, Any], param: str) -> None:
    answer = echo.chat(**change) if "messages" not in change else echo.client.post("/v1/chat/completions", json=change)
    check_refusal(answer)
    assert answer.json()["error"]["param"].startswith(param)


def test_json_that_is_nested_without_end_is_refused(echo: Served) -> None:
    body = b'{"messages": ' + b"[" * 100_000
    check_refusal(echo.client.post("/v1/chat/completions", content=body, headers={"Content-Type": "application/json"}))


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/v1/nowhere", 404), ("PUT", "/v1/models", 405)])
def test_where_there_is_nothing_that_is_said_in_the_same_form(
    echo: Served, method: str, path: str, status: int
) -> None:
    answer = echo.client.request(method, path)
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_a_half_of_a_character_is_answered(echo: Served) -> None:
    body = b'{"messages": [{"role": "user", "content": "\\ud83c"}]}'
    answer = echo.client.post("/v1/chat/completions", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in {200, 400}
    json.loads(answer.content)


# --- schemathesis -----------------------------------------------------------------------------------------------------

SCHEMA = schemathesis.openapi.from_dict(document(ServerLimits().choices))


@SCHEMA.parametrize()
@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck), database=None)
def test_it_keeps_to_its_own_document(echo: Served, case: schemathesis.Case) -> None:
    case.call_and_validate(base_url=echo.url, excluded_checks=[ignored_auth])  # a server without a key asks for none


def test_the_document_is_complete(serve: Callable[..., Served]) -> None:
    served = serve()
    routes = {(route.path, method) for route in served.app.routes for method in route.methods - {"HEAD"}}  # type: ignore[attr-defined]
    told = {
        (path.replace("{model}", "{model:path}"), method.upper())
        for path, methods in document()["paths"].items()
        for method in methods
    }
    pages = {("/", "GET"), ("/page/style.css", "GET"), ("/page/chat.js", "GET"), ("/openapi.json", "GET")}
    assert routes - pages == told
