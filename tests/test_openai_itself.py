"""What OpenAI's own servers want differently from those that only speak their API; nothing is sent."""

from dataclasses import dataclass
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from mellea_like import Message, OpenAIBackend, Request
from mellea_like.backends._strict import strict_schema


@dataclass
class Room:
    size: float
    colour: Literal["red", "blue"] | None = None


@dataclass
class House:
    rooms: list[Room]
    default: str = "x"


@pytest.fixture(autouse=True)
def no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


def body(kind: Any, **options: Any) -> dict[str, Any]:
    backend = OpenAIBackend("gpt", api_key="k")
    schema = TypeAdapter(kind).json_schema()
    return backend.body(Request(messages=(Message("user", "x"),), options=backend.resolve(options), schema=schema))


def objects(schema: Any) -> list[dict[str, Any]]:
    inner = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
    here = [schema] if isinstance(schema, dict) and schema.get("type") == "object" else []
    return here + [found for part in inner for found in objects(part)]


def test_objects_are_closed_and_every_property_is_required() -> None:
    form = body(House)["response_format"]["json_schema"]
    assert form["strict"] is True
    closed = objects(form["schema"])
    assert [(o["required"], o["additionalProperties"]) for o in closed] == [
        (["rooms", "default"], False),
        (["size", "colour"], False),
    ]
    assert TypeAdapter(House).json_schema()["required"] == ["rooms"], "the type's own schema is left as it was"


def test_an_object_of_any_names_is_asked_for_without_strictness() -> None:
    @dataclass
    class Counts:
        words: dict[str, int]

    assert body(Counts)["response_format"]["json_schema"]["strict"] is False


@pytest.mark.parametrize("kind", [int, Literal["a", "b"], list[Room], Room | int])
def test_what_is_no_object_is_told_in_words(kind: Any) -> None:
    backend = OpenAIBackend("gpt", api_key="k")
    assert not backend.constrains(TypeAdapter(kind).json_schema())
    assert "response_format" not in body(kind)


def test_a_server_of_ones_own_is_given_the_schema_as_it_is() -> None:
    backend = OpenAIBackend("m", base_url="http://localhost:8000/v1")
    schema = TypeAdapter(list[int]).json_schema()
    assert backend.constrains(schema)
    sent = backend.body(Request(messages=(), schema=schema, options=backend.resolve({"max_new_tokens": 3})))
    assert sent["response_format"]["json_schema"] == {"name": "answer", "schema": schema, "strict": True}
    assert sent["max_tokens"] == 3


def test_the_token_limit_has_its_new_name() -> None:
    sent = body(House, max_new_tokens=3)
    assert sent["max_completion_tokens"] == 3
    assert "max_tokens" not in sent


LEAVES = st.sampled_from(
    [{"type": "string"}, {"type": "integer", "default": 3}, {"enum": ["a"]}, {"$ref": "#/$defs/A"}]
)
SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        inner.map(lambda item: {"type": "array", "items": item}),
        st.lists(inner, min_size=1, max_size=3).map(lambda branches: {"anyOf": branches}),
        st.dictionaries(st.sampled_from("abc"), inner, max_size=3).map(
            lambda properties: {"type": "object", "properties": properties}
        ),
        inner.map(lambda values: {"type": "object", "additionalProperties": values}),
    ),
    max_leaves=8,
)


@given(SCHEMAS)
def test_a_strict_schema_is_strict_everywhere_and_stays_so(schema: dict[str, Any]) -> None:
    strict = strict_schema(schema)
    if strict is None:
        assert any(not o.get("properties") for o in objects(schema))
        return
    assert strict_schema(strict) == strict
    for found in objects(strict):
        assert found["additionalProperties"] is False
        assert found["required"] == list(found["properties"])
