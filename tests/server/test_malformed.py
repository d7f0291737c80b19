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

from mellea_like import start_session
from mellea_like.server.limits import ServerLimits
from mellea_like.server.openapi import document

from .conftest import PATIENCE, Served

QUICK = settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck), database=None)

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
forms = document()["components"]["schemas"]
fields = st.sampled_from(
    sorted({*forms["ChatRequest"]["properties"], *forms["ResponseRequest"]["properties"], "unknown"})
)
paths = st.sampled_from(["chat/completions", "responses", "runs"])


def check_refusal(answer: Any) -> None:
    """Check that an answer is a refusal in OpenAI's form."""
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    assert answer.status_code in {400, 404, 413, 415}


@QUICK
@given(body=st.dictionaries(fields, anything, max_size=5), path=paths)
def test_any_json_is_answered_or_refused(echo: Served, body: dict[str, Any], path: str) -> None:
    answer = echo.client.post(f"/v1/{path}", json=body)
    if answer.status_code not in {200, 201}:
        check_refusal(answer)


@QUICK
@given(wrong=st.dictionaries(fields, anything, min_size=1, max_size=3), path=paths)
def test_a_good_request_with_a_bad_field_is_answered_or_refused(echo: Served, wrong: dict[str, Any], path: str) -> None:
    body = {"messages": [{"role": "user", "content": "hi"}], "input": "hi", **wrong}
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
        ({"messages": [5]}, "messages[0]"),
        ({"messages": [{"content": "hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "king", "content": "hi"}]}, "messages[0].role"),
        ({"messages": [{"role": ["user"], "content": "hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 5, "user": {"content": 5}}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "video"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
            "messages[0].content[0].image_url.url",
        ),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f"}}]}]},
            "messages[0].tool_calls[0].function.arguments",
        ),
        ({"messages": [{"role": "assistant", "function_call": {"name": "f"}}]}, "messages[0].function_call"),
        ({"temperature": "hot"}, "temperature"),
        ({"n": 0}, "n"),
        ({"stop": ""}, "stop"),
        ({"stop": ["x", ""]}, "stop[1]"),
        ({"stop": 5}, "stop"),
        ({"response_format": {"type": "yaml"}}, "response_format.type"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "n"}}},
            "response_format.json_schema.schema",
        ),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tool_choice": "maybe"}, "tool_choice"),
        ({"tool_choice": {"type": "function", "function": {}}}, "tool_choice.function.name"),
    ],
)
@pytest.mark.parametrize("path", ["chat/completions", "runs"])
def test_a_refusal_says_where_the_mistake_is_as_its_client_wrote_it(
    echo: Served, change: dict[str, Any], param: str, path: str
) -> None:
    answer = echo.client.post(f"/v1/{path}", json={"messages": [{"role": "user", "content": "hi"}], **change})
    check_refusal(answer)
    error = answer.json()["error"]
    assert error["param"] == param
    assert f": {param}: " in error["message"]


EVERYWHERE: list[tuple[str, Any, Any, str]] = [
    ("logit_bias", {"50256": -100}, {}, "leave it out"),
    ("frequency_penalty", 0.5, 0, "leave it out, or give 0"),
    ("presence_penalty", -1, 0.0, "leave it out, or give 0"),
    ("logprobs", True, False, "gives no log probabilities"),
    ("top_logprobs", 3, 0, "gives no log probabilities"),
    ("min_p", 0.1, 0, "or give 0"),
    ("min_p", False, None, "or give 0"),
    ("repetition_penalty", 1.2, 1, "or give 1"),
    ("ignore_eos", True, False, "or give false"),
    ("guided_json", {"type": "object"}, None, "JSON schema"),
]
CHATS: list[tuple[str, Any, Any, str]] = [
    ("functions", [{"name": "f"}], [], "as `tools`"),
    ("function_call", {"name": "f"}, "auto", "as `tool_choice`"),
    ("modalities", ["audio"], ["text"], "text alone"),
    ("audio", {"voice": "alloy"}, None, "text alone"),
    ("prediction", {"type": "content", "content": "x"}, None, "leave it out"),
    ("web_search_options", {}, None, "searches nothing"),
    ("verbosity", "high", "medium", 'or give "medium"'),
    ("max_output_tokens", 5, None, "as `max_completion_tokens`"),
]
RESPONSES: list[tuple[str, Any, Any, str]] = [
    ("n", 2, 1, "or give 1"),
    ("max_tokens", 5, None, "as `max_output_tokens`"),
    ("response_format", {"type": "json_object"}, None, "as `text.format`"),
    ("reasoning_effort", "low", None, "as `reasoning.effort`"),
]


@pytest.mark.parametrize(
    ("path", "name", "value", "harmless", "words"),
    [
        *[("chat/completions", *row) for row in EVERYWHERE + CHATS],
        *[("runs", *row) for row in EVERYWHERE + CHATS],
        *[("responses", *row) for row in EVERYWHERE + RESPONSES],
        ("runs", "n", 2, 1, "one answer"),
        ("runs", "parallel_tool_calls", False, True, "every call"),
    ],
)
def test_what_cannot_be_honoured_is_refused_unless_it_changes_nothing(
    echo: Served, path: str, name: str, value: Any, harmless: Any, words: str
) -> None:
    body = {"messages": [{"role": "user", "content": "hi"}], "input": "hi"}
    refused = echo.client.post(f"/v1/{path}", json={**body, name: value})
    check_refusal(refused)
    assert refused.json()["error"]["param"] == name
    assert words in refused.json()["error"]["message"]
    assert echo.client.post(f"/v1/{path}", json={**body, name: harmless}).status_code in {200, 201}
    form = forms[{"runs": "RunRequest", "responses": "ResponseRequest"}.get(path, "ChatRequest")]
    assert form["properties"][name]["enum"][-1] is None


def test_what_says_nothing_to_a_model_is_passed_over(echo: Served) -> None:
    assert echo.chat(user="ana", metadata={"a": "b"}, store=True, service_tier="flex", x_trace=7).status_code == 200


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


# --- HEAD -------------------------------------------------------------------------------------------------------------


def test_head_begins_no_generation(serve: Callable[..., Served]) -> None:
    session = start_session("fake")
    served = serve(session)
    run = served.client.post("/v1/runs", json={"messages": [{"role": "user", "content": "hi"}]}).json()["id"]
    for path in ("/stream?prompt=x", f"/v1/runs/{run}/events"):
        answer = served.client.head(path)
        assert (answer.status_code, answer.headers["allow"], answer.content) == (405, "GET", b"")
    assert len(session.backend.calls) == 1


@pytest.mark.parametrize("path", ["/", "/page/chat.js", "/v1/models", "/v1/models/script", "/healthz", "/openapi.json"])
def test_head_is_get_without_its_body(echo: Served, path: str) -> None:
    head, whole = echo.client.head(path), echo.client.get(path)
    assert (head.status_code, head.content) == (200, b"")
    assert {**head.headers, "date": ""} == {**whole.headers, "date": ""}


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
