"""How a model that cannot call tools by itself says what it wants: one JSON object per turn, a call or the answer."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..content import Message, ToolCall
from ..errors import OutputParseError
from ..tools import MelleaTool

_RULES = """\
You solve the task step by step. Each of your replies is one JSON object. To use a tool:
{{"tool": "<its name>", "arguments": {{...}}}}
You are then told its result. When you know the answer:
{{"answer": {answer}}}

The tools:
{tools}"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """What a turn came to: a call, or the answer; `answer` is the text that a reader sees."""

    call: ToolCall | None = None
    answer: str | None = None


def with_rules(messages: Sequence[Message], tools: Iterable[MelleaTool], *, typed: bool) -> tuple[Message, ...]:
    """Tell the model the rules and its tools, in the system turn that there is or in a new one."""
    listing = "\n".join(f"- {one.name}: {one.description} Arguments: {json.dumps(one.parameters)}" for one in tools)
    rules = _RULES.format(answer="..." if typed else '"<the answer>"', tools=listing or "(none)")
    first = messages[0]
    if first.role == "system":
        return (replace(first, content=f"{first.content}\n\n{rules}"), *messages[1:])
    return (Message("system", rules), *messages)


def moves_schema(tools: Iterable[MelleaTool], answer: Mapping[str, Any] | None) -> dict[str, Any]:
    """Build the schema of one move: a call of one of the tools, or an answer of the schema `answer`, None for text."""
    definitions: dict[str, Any] = {}
    said = _hoisted(answer or {"type": "string"}, "answer", definitions)
    forms = [_exactly({"answer": said})]
    for one in tools:
        arguments = _hoisted(one.parameters, one.name, definitions)
        forms.append(_exactly({"tool": {"const": one.name}, "arguments": arguments}))
    return {"anyOf": forms} | ({"$defs": definitions} if definitions else {})


def _exactly(properties: dict[str, Any]) -> dict[str, Any]:
    required = list(properties)
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _hoisted(schema: Mapping[str, Any], owner: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """Move a schema's own definitions to the top, under names that no other schema uses."""
    told = json.dumps(dict(schema)).replace('"#/$defs/', f'"#/$defs/{owner}.')
    moved: dict[str, Any] = json.loads(told)
    for name, definition in moved.pop("$defs", {}).items():
        definitions[f"{owner}.{name}"] = definition
    return moved


def read_move(text: str, *, typed: bool) -> Move:
    """Read what the model wrote.

    Raises:
        OutputParseError: it is not a move.
    """
    from pydantic_core import from_json

    try:
        said = from_json(text)
    except ValueError as error:
        raise OutputParseError(f"Your reply is not JSON ({error}).", text=text) from error
    if isinstance(said, dict) and isinstance(said.get("tool"), str):
        return Move(call=ToolCall(name=said["tool"], arguments=json.dumps(said.get("arguments", {}))))
    if not isinstance(said, dict) or "answer" not in said:
        raise OutputParseError('Your reply has neither "tool" nor "answer".', text=text)
    answer = said["answer"]
    return Move(answer=answer if isinstance(answer, str) and not typed else json.dumps(answer, ensure_ascii=False))


def results(told: Iterable[tuple[ToolCall, str]]) -> Message:
    """Tell results to a model that knows no tools: as a user's turn."""
    return Message("user", "\n".join(f"Result of {call.name}: {text}" for call, text in told))
