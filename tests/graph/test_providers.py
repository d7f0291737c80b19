"""Which backend a provider's and a model's name mean; and messages by their roles' names."""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Iterator
from typing import Any

import pytest

from mellea_like import (
    FakeBackend,
    ImageBlock,
    InvalidArgument,
    Message,
    OpenAIBackend,
    RequestRefused,
    StateGraph,
    ToolCall,
    UnknownName,
    add_messages,
    engine,
)
from mellea_like.providers import ADDRESSES, aclose_providers, provider_backend, serving
from mellea_like.roles import AIMessage, HumanMessage, SystemMessage, ToolMessage, as_message

VARIABLES = (
    "MELLEA_LIKE_OVERRIDE",
    "PROVIDER",
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "MISTRAL_API_KEY",
    "MISTRAL_MODEL",
)


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    yield monkeypatch
    engine.block_on_engine(aclose_providers())


def test_a_model_alone_means_openai(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    backend = provider_backend(None, "gpt-4")
    assert isinstance(backend, OpenAIBackend)
    assert (backend.model_id, backend.api_key) == ("gpt-4", "key")


@pytest.mark.parametrize("provider", sorted(ADDRESSES))
def test_other_providers_are_reached_at_their_own_addresses(provider: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{provider.upper()}_API_KEY", "key")
    backend = provider_backend(provider, "some-model")
    assert isinstance(backend, OpenAIBackend)
    assert backend.base_url == ADDRESSES[provider]


def test_an_address_of_ones_own_counts_and_needs_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_BASE_URL", "http://localhost:1/v1")
    backend = provider_backend("shop", "m")
    assert isinstance(backend, OpenAIBackend)
    assert backend.base_url == "http://localhost:1/v1"


def test_the_environment_names_the_provider_and_its_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MISTRAL_API_KEY", "key")
    monkeypatch.setenv("MISTRAL_MODEL", "small")
    monkeypatch.setenv("PROVIDER", "mistral")
    assert provider_backend().model_id == "small"
    assert provider_backend(None, "large").model_id == "large"


def test_one_string_names_both() -> None:
    assert repr(provider_backend(None, "fake:any")) == "FakeBackend('any')"


@pytest.mark.parametrize("named", [("openai", "gpt-4"), ("mistral", None), (None, "gpt-4"), (None, None)])
def test_an_override_serves_every_name_with_one_backend(named: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MELLEA_LIKE_OVERRIDE", "fake")
    assert isinstance(provider_backend(*named), FakeBackend)
    assert provider_backend(*named) is provider_backend("anthropic", "claude")


def test_a_missing_key_says_which_variable_and_how_to_do_without() -> None:
    with pytest.raises(RequestRefused, match=r"MISTRAL_API_KEY.*MISTRAL_BASE_URL.*MELLEA_LIKE_OVERRIDE=llamacpp"):
        provider_backend("mistral", "small")


def test_an_unknown_provider_is_an_error_that_lists_the_known() -> None:
    with pytest.raises(UnknownName, match=r"Did you mean 'mistral'\?.*'anthropic'.*'ollama'.*MISTRL_BASE_URL"):
        provider_backend("mistrl", "small")


def test_serving_has_one_backend_serve_everything_for_a_while() -> None:
    with serving(FakeBackend()) as backend:
        assert provider_backend("openai", "gpt-4") is backend
    with pytest.raises(RequestRefused):
        provider_backend("openai", "gpt-4")


@pytest.mark.parametrize(
    ("kind", "role"),
    [(HumanMessage, "user"), (AIMessage, "assistant"), (SystemMessage, "system"), (ToolMessage, "tool")],
)
def test_a_roles_name_makes_a_message_and_recognises_it(kind: Any, role: Any) -> None:
    message = kind(content="hi")
    assert message == Message(role, "hi")
    assert isinstance(message, kind)
    assert isinstance(Message(role, "ho"), kind)
    assert not isinstance(Message("user" if role != "user" else "tool", "ho"), kind)
    assert pickle.loads(pickle.dumps(message)) == copy.deepcopy(message) == message


@pytest.mark.parametrize(
    "said", ["hi", ("user", "hi"), ["human", "hi"], {"role": "user", "content": "hi"}, HumanMessage("hi")]
)
def test_messages_are_made_of_what_stands_for_them(said: Any) -> None:
    assert as_message(said) == HumanMessage("hi")


def test_openais_messages_are_read_as_they_are_written() -> None:
    said = [
        {"role": "user", "content": [{"type": "text", "text": "Look: "}, {"type": "text", "text": "what is it?"}]},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.org/cat.png"}}, "?"]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "1", "type": "function", "function": {"name": "look", "arguments": "{}"}}],
        },
        {"role": "assistant", "tool_calls": [ToolCall(name="look")]},
        ("assistant", [{"type": "refusal", "refusal": "No."}]),
    ]
    assert add_messages(None, said) == [
        Message("user", "Look: what is it?"),
        Message("user", "?", images=ImageBlock(url="https://example.org/cat.png")),
        Message("assistant", "", tool_calls=[ToolCall(name="look", id="1")]),
        Message("assistant", "", tool_calls=[ToolCall(name="look")]),
        Message("assistant", "No."),
    ]


def test_a_models_node_is_given_the_text_of_openais_parts() -> None:
    backend = FakeBackend(answers="A cat.")
    graph = StateGraph()
    graph.add_node("see", node_type="llm")
    graph.set_entry_point("see")
    said = {"role": "user", "content": [{"type": "text", "text": "hello"}]}
    graph.compile(backend=backend).invoke({"messages": [said]})
    assert backend.calls[0].messages == (Message("user", "hello"),)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (("user", 5), "content is text, not int: 5"),
        (("user", {"type": "text"}), "content is text, not dict"),
        (("user", [{"type": "input_audio", "input_audio": {}}]), "neither text nor an image: {'type': 'input_audio'"),
        (("user", [{"type": "image_url", "image_url": "cat.png"}]), "'cat.png' is not the address of an image"),
        ({"role": "assistant", "content": "", "tool_calls": [{"name": "f"}]}, "{'name': 'f'} is not a tool call"),
        ({"role": "user"}, "is not a message"),
    ],
)
def test_content_that_is_neither_text_nor_images_is_refused(said: Any, why: str) -> None:
    with pytest.raises(InvalidArgument, match=re.escape(why)):
        as_message(said)


def test_what_stands_for_no_message_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="is not a message"):
        as_message(3)
    with pytest.raises(UnknownName, match="no role 'boss'"):
        as_message(("boss", "hi"))
