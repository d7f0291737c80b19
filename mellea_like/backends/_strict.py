"""JSON schemas as OpenAI's strict mode wants them: closed objects, of which every property is required. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import InvalidArgument

_UNKNOWN = {"allOf", "oneOf", "not", "if", "prefixItems", "patternProperties"}
"""Words that strict mode does not have."""


def strict_schema(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a schema that strict mode takes, whose answers the given one accepts too; None where there is none.

    Properties that may be left out become required: the model then writes them all.

    Source: https://platform.openai.com/docs/guides/structured-outputs
    """
    try:
        return _strict(schema)
    except InvalidArgument:
        return None


def _strict(schema: Mapping[str, Any]) -> dict[str, Any]:
    if _UNKNOWN & schema.keys() or not schema:
        raise InvalidArgument("strict mode has no words for it")
    strict = {word: value for word, value in schema.items() if word != "default"}
    kinds = schema.get("type", ())
    if "object" in ([kinds] if isinstance(kinds, str) else kinds):
        if not schema.get("properties") or schema.get("additionalProperties"):
            raise InvalidArgument("an object of any names")
        strict |= {"additionalProperties": False, "required": list(schema["properties"])}
    for word in ("$defs", "properties"):
        if word in strict:
            strict[word] = {name: _strict(inner) for name, inner in strict[word].items()}
    if "anyOf" in strict:
        strict["anyOf"] = [_strict(inner) for inner in strict["anyOf"]]
    if "items" in strict:
        strict["items"] = _strict(strict["items"])
    return strict
