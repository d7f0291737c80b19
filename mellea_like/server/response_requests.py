"""What clients of the Responses API send: the body of `POST /v1/responses`, checked, and what it asks for.

Nothing is stored between two requests, so what points to something stored is refused, and says what to send instead.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field

from ..content import ImageBlock, Message, ToolCall
from ..errors import InvalidArgument
from ..options import ModelOption
from .asked import (
    NO_LOGPROBS,
    AnyJSON,
    AnyPart,
    AnyRequest,
    Asked,
    Effort,
    FreeText,
    ImageURL,
    NamedSchema,
    RefusalPart,
    Words,
    asked_of,
    message_of,
    schema_of,
    thinking_of,
)
from .forms import WHOLE, Form, OneOf, Only

_NOT_STORED = "Nothing is stored here; send the whole conversation as `input`"
_LOGPROBS = "message.output_text.logprobs"


def _function(kind: Any) -> Any:
    if kind != "function":
        raise InvalidArgument(
            'This server has no tools of its own. Offer functions (`"type": "function"`), call those that the model '
            "asks for, and send what comes of it as `function_call_output`"
        )
    return kind


FunctionType: TypeAlias = Annotated[Literal["function"], BeforeValidator(_function)]


class InputText(Words):
    """Text that a model is given."""

    type: Literal["input_text"]


class OutputText(Words):
    """Text that a model gave."""

    type: Literal["output_text"]


class InputImage(AnyPart):
    """An image."""

    type: Literal["input_image"]
    image_url: ImageURL

    def said(self) -> ImageBlock:
        """Return the image."""
        return ImageBlock.from_url(self.image_url)


Part: TypeAlias = Annotated[InputText | OutputText | RefusalPart | InputImage, OneOf("type")]
Content: TypeAlias = Annotated[str | list[Part], OneOf()]


class MessageItem(Form):
    """A turn of anybody."""

    type: Literal["message"] = "message"
    role: Literal["system", "developer", "user", "assistant"]
    content: Content


class CallItem(Form):
    """A call that the model wanted."""

    type: Literal["function_call"]
    call_id: str
    name: str
    arguments: str


class OutputItem(Form):
    """What came of a call."""

    type: Literal["function_call_output"]
    call_id: str
    output: Content


class ReasoningItem(Form):
    """Reasoning that came with an answer; no model is given it again."""

    type: Literal["reasoning"]


Item: TypeAlias = Annotated[
    MessageItem | CallItem | OutputItem | ReasoningItem,
    OneOf(
        "type",
        told="An item is a message, function_call, function_call_output or reasoning. Nothing is stored here that an "
        "item could refer to",
    ),
]


def _with_turn(items: list[Item]) -> list[Item]:
    if all(isinstance(item, ReasoningItem) for item in items):
        raise InvalidArgument("There is nothing to answer; give a message")
    return items


_TURN = {"contains": {"type": "object", "properties": {"type": {"not": {"const": "reasoning"}}}}}
Items: TypeAlias = Annotated[list[Item], Field(min_length=1, json_schema_extra=_TURN), AfterValidator(_with_turn)]


class FlatTool(Form):
    """A function that the model may ask for."""

    type: FunctionType
    name: Annotated[str, Field(min_length=1, max_length=256)]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class FlatChoice(Form):
    """The function that the model must call."""

    type: FunctionType
    name: str


class FlatSchema(NamedSchema):
    """The answer follows a JSON schema."""

    type: Literal["json_schema"]


class TextSettings(Form):
    """What the text of the answer is."""

    format: Annotated[FreeText | AnyJSON | FlatSchema, OneOf("type")] | None = None
    verbosity: Annotated[Any, Only(["medium"])] = None


class Reasoning(Form):
    """How the model is to reason."""

    effort: Effort | None = None


def _without_logprobs(wanted: str) -> str:
    if wanted == _LOGPROBS:
        raise InvalidArgument(NO_LOGPROBS)
    return wanted


Included: TypeAlias = Annotated[
    str, Field(json_schema_extra={"not": {"const": _LOGPROBS}}), AfterValidator(_without_logprobs)
]


class ResponseRequest(AnyRequest):
    """The body of `POST /v1/responses`: first what is honoured, then what is refused.

    `max_output_tokens` is the most tokens that the answer may have.
    """

    input: Annotated[str | Items, OneOf()]
    instructions: str | None = None
    max_output_tokens: Annotated[int, Field(ge=1, lt=2**31), WHOLE] | None = None
    reasoning: Reasoning | None = None
    text: TextSettings | None = None
    tools: list[FlatTool] | None = None
    tool_choice: Annotated[Literal["none", "auto", "required"] | FlatChoice, OneOf()] | None = None
    include: list[Included] | None = None
    metadata: dict[str, str] | None = None
    store: bool | None = None

    previous_response_id: Annotated[Any, Only(told=_NOT_STORED)] = None
    conversation: Annotated[Any, Only(told=_NOT_STORED)] = None
    prompt: Annotated[Any, Only(told="Nothing is stored here; send a prompt's text as `instructions`")] = None
    background: Annotated[
        Any,
        Only(
            [False],
            told="An answer that nobody waits for is stopped here; stream it, or begin a run with `POST /v1/runs`",
        ),
    ] = None
    n: Annotated[Any, Only([1])] = None
    max_tokens: Annotated[Any, Only(told="Say it as `max_output_tokens`")] = None
    max_completion_tokens: Annotated[Any, Only(told="Say it as `max_output_tokens`")] = None
    reasoning_effort: Annotated[Any, Only(told="Say it as `reasoning.effort`")] = None
    response_format: Annotated[Any, Only(told="Say it as `text.format`")] = None

    def repeated(self) -> dict[str, Any]:
        """Return what the response repeats of it."""
        told = {"instructions", "max_output_tokens", "metadata", "parallel_tool_calls", "temperature", "top_p"}
        return self.model_dump(by_alias=True, exclude_none=True, include={*told, "text", "tools", "tool_choice"})


def asked_by(request: ResponseRequest) -> Asked:
    """Say in the library's words what a request asks for.

    Raises:
        InvalidArgument: an image is none.
    """
    items = [MessageItem(role="user", content=request.input)] if isinstance(request.input, str) else request.input
    told = [] if request.instructions is None else [Message("system", request.instructions)]
    choice = request.tool_choice
    return asked_of(
        request,
        messages=[*told, *_turns(items)],
        tools=[_nested(tool) for tool in request.tools or ()],
        tool_choice=_nested(choice) if isinstance(choice, FlatChoice) else choice,
        schema=schema_of(request.text.format if request.text else None),
        options={
            ModelOption.MAX_NEW_TOKENS: request.max_output_tokens,
            ModelOption.THINKING: thinking_of(request.reasoning.effort if request.reasoning else None),
        },
    )


def _nested(flat: FlatTool | FlatChoice) -> dict[str, Any]:
    return {"type": "function", "function": flat.model_dump(exclude={"type"}, exclude_none=True)}


def _turns(items: Iterable[Item]) -> list[Message]:
    """Make turns of items; the calls that a model wanted at once are one turn, and belong to what it said with them."""
    turns: list[Message] = []
    for item in items:
        if isinstance(item, ReasoningItem):
            continue
        turn = _turn(item)
        before = turns[-1] if turns else turn
        if turns and before.role == turn.role == "assistant" and (before.tool_calls or turn.tool_calls):
            content, calls = before.content + turn.content, before.tool_calls + turn.tool_calls
            turns[-1] = replace(before, content=content, tool_calls=calls)
        else:
            turns.append(turn)
    return turns


def _turn(item: MessageItem | CallItem | OutputItem) -> Message:
    match item:
        case CallItem():
            call = ToolCall(name=item.name, arguments=item.arguments, id=item.call_id)
            return message_of("assistant", None, tool_calls=[call])
        case OutputItem():
            return message_of("tool", item.output, tool_call_id=item.call_id)
    return message_of(item.role, item.content)
