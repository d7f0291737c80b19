"""What clients send: the body of a chat completion, or of a run, checked, and what it asks for."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from ..content import ImageBlock, Message, ToolCall
from ..options import ModelOption
from .asked import (
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


class TextPart(Words):
    """Text."""

    type: Literal["text"]


class ImageAddress(Form):
    """An image's address."""

    url: ImageURL


class ImagePart(AnyPart):
    """An image."""

    type: Literal["image_url"]
    image_url: ImageAddress

    def said(self) -> ImageBlock:
        """Return the image."""
        return ImageBlock.from_url(self.image_url.url)


Part: TypeAlias = Annotated[TextPart | RefusalPart | ImagePart, OneOf("type")]
Content: TypeAlias = Annotated[str | list[Part], OneOf()]


class CalledFunction(Form):
    """What the model wanted called."""

    name: str
    arguments: str


class CalledTool(Form):
    """A call that the model wanted."""

    id: str
    type: Literal["function"] = "function"
    function: CalledFunction


class GivenTurn(Form):
    """A turn of the system, the developer or the user."""

    role: Literal["system", "developer", "user"]
    content: Content


class AssistantTurn(Form):
    """A turn of the model."""

    role: Literal["assistant"]
    content: Content | None = None
    refusal: str | None = None
    tool_calls: list[CalledTool] | None = None
    function_call: Annotated[Any, Only(told="Give the call as one of `tool_calls`")] = None
    audio: Annotated[Any, Only(told="Nothing is stored here; give what was said as `content`")] = None


class ToolTurn(Form):
    """What a tool said."""

    role: Literal["tool"]
    content: Content
    tool_call_id: str


GivenMessage: TypeAlias = Annotated[GivenTurn | AssistantTurn | ToolTurn, OneOf("role")]


class OfferedFunction(Form):
    """A function that the model may ask for."""

    name: Annotated[str, Field(min_length=1, max_length=256)]
    description: str | None = None
    parameters: dict[str, Any] | None = None


class OfferedTool(Form):
    """A tool that the model may ask for."""

    type: Literal["function"]
    function: OfferedFunction


class NamedFunction(Form):
    """A function's name."""

    name: str


class ChosenTool(Form):
    """The tool that the model must call."""

    type: Literal["function"]
    function: NamedFunction


class OfSchema(Form):
    """The answer follows a JSON schema."""

    type: Literal["json_schema"]
    json_schema: NamedSchema


class StreamOptions(Form):
    """What a stream shows besides."""

    include_usage: bool | None = None


class _Asking(AnyRequest):
    """What chats and runs have: first what is honoured, then what is refused."""

    messages: Annotated[list[GivenMessage], Field(min_length=1)]
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1, lt=2**31), WHOLE] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, lt=2**31), WHOLE] | None = None
    reasoning_effort: Effort | None = None
    tools: list[OfferedTool] | None = None
    tool_choice: Annotated[Literal["none", "auto", "required"] | ChosenTool, OneOf()] | None = None
    response_format: Annotated[FreeText | AnyJSON | OfSchema, OneOf("type")] | None = None

    functions: Annotated[Any, Only([[]], told="Offer functions as `tools`")] = None
    function_call: Annotated[Any, Only(["auto", "none"], told="Say which as `tool_choice`")] = None
    modalities: Annotated[Any, Only([["text"]], told="This server gives text alone")] = None
    audio: Annotated[Any, Only(told="This server gives text alone")] = None
    prediction: Annotated[Any, Only()] = None
    verbosity: Annotated[Any, Only(["medium"])] = None
    web_search_options: Annotated[Any, Only(told="This server searches nothing")] = None
    instructions: Annotated[Any, Only(told="Give it as the first message, of the role `system`")] = None
    max_output_tokens: Annotated[Any, Only(told="Say it as `max_completion_tokens`")] = None
    reasoning: Annotated[Any, Only(told="Say how hard as `reasoning_effort`")] = None
    text: Annotated[Any, Only(told="Say what it follows as `response_format`")] = None


class ChatRequest(_Asking):
    """The body of `POST /v1/chat/completions`."""

    n: Annotated[int, Field(ge=1, le=128), WHOLE] | None = None


class RunRequest(_Asking):
    """The body of `POST /v1/runs`: a run is one answer."""

    n: Annotated[Any, Only([1], told="A run is one answer; begin as many as you want")] = None
    parallel_tool_calls: Annotated[Any, Only([True], told="A run shows every call")] = None


def asked_by(request: ChatRequest | RunRequest) -> Asked:
    """Say in the library's words what a request asks for.

    Raises:
        InvalidArgument: an image is none.
    """
    choice, wanted = request.tool_choice, request.response_format
    return asked_of(
        request,
        messages=map(_message, request.messages),
        tools=[tool.model_dump(exclude_none=True) for tool in request.tools or ()],
        tool_choice=choice.model_dump() if isinstance(choice, ChosenTool) else choice,
        schema=schema_of(wanted.json_schema if isinstance(wanted, OfSchema) else wanted),
        options={
            ModelOption.MAX_NEW_TOKENS: request.max_completion_tokens or request.max_tokens,
            ModelOption.THINKING: thinking_of(request.reasoning_effort),
        },
    )


def _message(given: GivenTurn | AssistantTurn | ToolTurn) -> Message:
    calls = getattr(given, "tool_calls", None) or ()
    return message_of(
        given.role,
        given.content or getattr(given, "refusal", None),
        tool_calls=[ToolCall(name=c.function.name, arguments=c.function.arguments, id=c.id) for c in calls],
        tool_call_id=getattr(given, "tool_call_id", None),
    )
