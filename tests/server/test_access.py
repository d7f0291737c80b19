"""Who may ask: keys, origins, hosts; and no prompt or key in a log or in a stranger's answer."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from mellea_like import Answer, BackendUnavailable, InvalidArgument
from mellea_like.server import guard
from mellea_like.server.limits import Access, ServerLimits
from mellea_like.server.running import refuse_public

from .conftest import Served

KEY = "sk-right-key"
PROMPT = "very-private-question"  # without a space, which an address would hide


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (f"Bearer {KEY}", 200),
        (f"bearer {KEY}", 200),
        ("Bearer sk-second", 200),
        ("Bearer sk-wrong", 401),
        (f"Bearer {KEY}x", 401),
        (f"Basic {KEY}", 401),
        (KEY, 401),
        ("Bearer", 401),
        ("", 401),
        ("Bearer \xff\xfe", 401),
    ],
)
def test_only_a_right_key_is_let_in(keyed: Served, header: str, status: int) -> None:
    answer = keyed.client.get("/v1/models", headers={"Authorization": header.encode("latin-1")})
    assert answer.status_code == status
    if status == 401:
        assert answer.json()["error"]["code"] == "invalid_api_key"
        assert answer.headers["www-authenticate"] == "Bearer"


@pytest.fixture(scope="module")
def keyed() -> Any:
    from mellea_like import start_session

    served = Served(start_session("fake"), access=Access(keys=[KEY, "sk-second"]))
    yield served
    served.close()


@pytest.mark.parametrize(
    "path", ["/v1/models", "/v1/runs/x", "/stream?prompt=x", "/openapi.json", "/nowhere", "/pages"]
)
def test_everything_but_the_page_and_health_wants_the_key(keyed: Served, path: str) -> None:
    assert keyed.client.get(path).status_code == 401


@pytest.mark.parametrize("path", ["/", "/page/style.css", "/page/chat.js", "/healthz"])
def test_the_page_and_health_do_not(keyed: Served, path: str) -> None:
    assert keyed.client.get(path).status_code == 200


def test_keys_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(a: bytes, b: bytes) -> bool:
        compared.append((a, b))
        return a == b

    monkeypatch.setattr(guard.hmac, "compare_digest", compare)
    gate = guard.Guard(None, Access(keys=["one", "other", "third"]))  # type: ignore[arg-type]  # nothing is let through
    assert gate._knows("Bearer one")
    assert not gate._knows("Bearer wr")
    assert len(compared) == 6, "every key is compared, whichever fits"
    assert {len(text) for pair in compared for text in pair} == {32}


# --- pages of others --------------------------------------------------------------------------------------------------


def test_a_page_of_another_origin_is_refused(echo: Served) -> None:
    headers = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    refused = echo.client.get("/stream?prompt=hi", headers=headers)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "origin_not_allowed")
    assert echo.client.get("/", headers=headers).status_code == 200, "a link to the page works"


def test_an_origin_that_may_ask_gets_the_headers_for_it(serve: Callable[..., Served]) -> None:
    served = serve(None, access=Access(keys=[KEY], origins=["https://good.example"]))
    asked = {
        "Origin": "https://good.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    preflight = served.client.options("/v1/chat/completions", headers=asked)
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == "https://good.example"
    headers = {"Origin": asked["Origin"], "Sec-Fetch-Site": "cross-site", "Authorization": f"Bearer {KEY}"}
    answer = served.client.get("/v1/models", headers=headers)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, "https://good.example")
    evil = served.client.options("/v1/chat/completions", headers={**asked, "Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in evil.headers


def test_a_server_of_this_machine_answers_to_its_own_names_only(serve: Callable[..., Served]) -> None:
    served = serve(None, access=Access(hosts=["localhost", "127.0.0.1", "::1"]))
    for host, status in {"localhost:8000": 200, "[::1]:8000": 200, "LOCALHOST": 200, "evil.example:8000": 403}.items():
        assert served.client.get("/v1/models", headers={"Host": host}).status_code == status


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_a_form_that_a_page_can_send_unasked_is_no_request(echo: Served, kind: str) -> None:
    headers = {"Content-Type": kind} if kind else {}
    body = b'{"messages": [{"role": "user", "content": "hi"}]}'
    assert echo.client.post("/v1/chat/completions", content=body, headers=headers).status_code == 415


def test_answers_say_how_a_browser_is_to_treat_them(echo: Served) -> None:
    headers = echo.client.get("/").headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert "server" not in headers


# --- listening publicly -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org"])
def test_it_does_not_listen_publicly_without_a_key(host: str) -> None:
    with pytest.raises(InvalidArgument, match="has no API key"):
        refuse_public(host, has_key=False, forced=False)
    refuse_public(host, has_key=True, forced=False)
    refuse_public(host, has_key=False, forced=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.0.0.9"])
def test_on_this_machine_it_needs_none(host: str) -> None:
    refuse_public(host, has_key=False, forced=False)


@pytest.mark.parametrize(("name", "value"), [("running", 0), ("waiting", -1), ("timeout", 0.0), ("ping", -1.0)])
def test_a_limit_that_cannot_work_is_refused(name: str, value: float) -> None:
    with pytest.raises(InvalidArgument, match=name):
        ServerLimits(**{name: value})  # type: ignore[arg-type]  # one of several types


# --- what is said to whom ---------------------------------------------------------------------------------------------


def test_no_prompt_answer_or_key_is_in_a_log(serve: Callable[..., Served], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    error = BackendUnavailable(f"Nothing answers {PROMPT!r} at http://secret.example.", backend="fake")

    def broken(messages: Any) -> str:
        raise ValueError(messages[-1].content)

    for what in (Answer([PROMPT]), Answer([error]), Answer([PROMPT, ValueError(PROMPT)]), broken):
        served = serve(what, access=Access(keys=[KEY], told=False))
        served.client.headers["Authorization"] = f"Bearer {KEY}"
        served.chat(PROMPT)
        served.chat(PROMPT, stream=True)
        served.client.get("/stream", params={"prompt": PROMPT})
        served.client.get(f"/v1/models/{PROMPT}")
        served.client.get("/v1/models", headers={"Authorization": "Bearer sk-wrong"})
    servers = (record for record in caplog.records if not record.name.startswith("http"))  # the test's client logs too
    said = "\n".join(logging.Formatter().format(record) for record in servers)
    assert "POST /v1/chat/completions 200" in said
    assert "ValueError at " in said
    paths = said.replace(f"GET /v1/models/{PROMPT}", "")  # a path is logged, and this one is no prompt
    assert [secret for secret in (PROMPT, KEY, "sk-wrong", "secret.example") if secret in paths] == []


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("told", "shown"), [(True, True), (False, False)])
def test_strangers_are_not_told_where_the_model_is(
    serve: Callable[..., Served], stream: bool, told: bool, shown: bool
) -> None:
    error = BackendUnavailable("Nothing answers at http://secret.example.", backend="fake")
    served = serve(Answer(["x", error]), access=Access(told=told))
    answer = served.chat(stream=stream).text
    assert ("secret.example" in answer) is shown
    assert "BackendUnavailable" in answer or shown


def test_what_a_program_raised_is_told_to_nobody(serve: Callable[..., Served]) -> None:
    def broken(messages: Any) -> str:
        raise ValueError("internal detail")

    answer = serve(broken).chat()
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "program_failed")
    assert "internal detail" not in answer.text
