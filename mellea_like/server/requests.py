"""What clients send: the body of a chat completion, checked, and what it asks for in the library's own words.

Fields that say nothing to a local model (`user`, `metadata`, `store` …) are passed over. Fields that would change the
answer and cannot be honoured are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema

from ..content import ImageBlock, Message, Role, ToolCall
from ..errors import InvalidArgument, RequestRejected
from ..options import ModelOption


class _Form(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value  # 5.0 is an integer in JSON


_WHOLE = BeforeValidator(_whole)


def _false(value: bool) -> bool:
    if value:
        raise InvalidArgument("This server gives no log probabilities.")
    return value


class TextPart(_Form):
    """Text."""

    type: Literal["text"]
    text: str


class RefusalPart(_Form):
    """A refusal of the model's, given back to it."""

    type: Literal["refusal"]
    refusal: str


_BASE64 = r"([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)"
_IMAGE = rf"^(https?://.+|data:image/[a-z0-9.+-]+;base64,{_BASE64})$"


class ImageAddress(_Form):
    """An image's address: `https://…`, or `data:image/…;base64,…`."""

    url: Annotated[str, Field(pattern=_IMAGE)]


class ImagePart(_Form):
    """An image."""

    type: Literal["image_url"]
    image_url: ImageAddress


Part: TypeAlias = Annotated[TextPart | RefusalPart | ImagePart, Field(discriminator="type")]
Content: TypeAlias = str | list[Part]


class CalledFunction(_Form):
    """What the model wanted called."""

    name: str
    arguments: str


class CalledTool(_Form):
    """A call that the model wanted."""

    id: str
    type: Literal["function"] = "function"
    function: CalledFunction


class GivenTurn(_Form):
    """A turn of the system, the developer or the user."""

    role: Literal["system", "developer", "user"]
    content: Content


class AssistantTurn(_Form):
    """A turn of the model."""

    role: Literal["assistant"]
    content: Content | None = None
    tool_calls: list[CalledTool] | None = None


class ToolTurn(_Form):
    """What a tool said."""

    role: Literal["tool"]
    content: Content
    tool_call_id: str


GivenMessage: TypeAlias = Annotated[GivenTurn | AssistantTurn | ToolTurn, Field(discriminator="role")]


class OfferedFunction(_Form):
    """A function that the model may ask for."""

    name: Annotated[str, Field(min_length=1, max_length=256)]
    description: str | None = None
    parameters: dict[str, Any] | None = None


class OfferedTool(_Form):
    """A tool that the model may ask for."""

    type: Literal["function"]
    function: OfferedFunction


class NamedFunction(_Form):
    """A function's name."""

    name: str


class ChosenTool(_Form):
    """The tool that the model must call."""

    type: Literal["function"]
    function: NamedFunction


class FreeText(_Form):
    """The answer is text."""

    type: Literal["text"]


class AnyJSON(_Form):
    """The answer is a JSON object."""

    type: Literal["json_object"]


class NamedSchema(_Form):
    """A JSON schema with its name."""

    name: str = "answer"
    schema_: Annotated[dict[str, Any], Field(alias="schema")]


class OfSchema(_Form):
    """The answer follows a JSON schema."""

    type: Literal["json_schema"]
    json_schema: NamedSchema


class StreamOptions(_Form):
    """What a stream shows besides."""

    include_usage: bool | None = None


class _Asking(_Form):
    """What both kinds of requests have."""

    model: str = ""
    messages: Annotated[list[GivenMessage], Field(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Field(ge=0, le=100)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0, lt=2**31), _WHOLE] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63), _WHOLE] | None = None
    max_tokens: Annotated[int, Field(ge=1, lt=2**31), _WHOLE] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, lt=2**31), _WHOLE] | None = None
    stop: Annotated[str, Field(min_length=1)] | list[Annotated[str, Field(min_length=1)]] | None = None
    tools: list[OfferedTool] | None = None
    tool_choice: Literal["none", "auto", "required"] | ChosenTool | None = None
    response_format: Annotated[FreeText | AnyJSON | OfSchema, Field(discriminator="type")] | None = None
    frequency_penalty: Annotated[float, Field(ge=0, le=0)] | None = None
    presence_penalty: Annotated[float, Field(ge=0, le=0)] | None = None
    logprobs: Annotated[bool, AfterValidator(_false), WithJsonSchema({"const": False})] | None = None


class ChatRequest(_Asking):
    """The body of `POST /v1/chat/completions`."""

    n: Annotated[int, Field(ge=1, le=128), _WHOLE] | None = None


class RunRequest(_Asking):
    """The body of `POST /v1/runs`: a run is one answer."""

    n: Annotated[int, Field(ge=1, le=1), _WHOLE] | None = None


Body = TypeVar("Body", ChatRequest, RunRequest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a client asks for.

    Args:
        messages: The conversation; its last turn is to be answered.
        model: The model's name as the client wrote it.
        options: Options of the generation, keyed by `ModelOption`; tools are not among them.
        tools: The tools that the model may ask for, in OpenAI's form.
        schema: The JSON schema that the answer is to follow; None for text.
    """

    messages: tuple[Message, ...]
    model: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    tools: tuple[Mapping[str, Any], ...] = ()
    schema: Mapping[str, Any] | None = None

    @property
    def last(self) -> str:
        """The text of the last turn."""
        return self.messages[-1].content


def read_request(body: bytes, kind: type[Body]) -> Body:
    """Read a body.

    Args:
        body: The bytes.
        kind: What it is to be.

    Raises:
        RequestRejected: it is not JSON, or not a chat request; the message says where.
    """
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(step) for step in first["loc"])
        more = f" ({error.error_count() - 1} more mistakes.)" if error.error_count() > 1 else ""
        raise RequestRejected(
            f"The body is not a chat request: {f'{where}: ' if where else ''}{first['msg']}.{more}",
            status=400,
            code="invalid_json" if first["type"] == "json_invalid" else "invalid_value",
            param=where or None,
        ) from None


def asked_by(request: ChatRequest | RunRequest) -> Asked:
    """Say in the library's words what a request asks for.

    Raises:
        InvalidArgument: an image is none.
    """
    choice = request.tool_choice
    tools = () if choice == "none" else tuple(tool.model_dump(exclude_none=True) for tool in request.tools or ())
    return Asked(
        messages=tuple(map(_message, request.messages)),
        model=request.model,
        options=_options(request, offered=bool(tools)),
        tools=tools,
        schema=_schema(request.response_format),
    )


def _options(request: ChatRequest | RunRequest, *, offered: bool) -> dict[str, Any]:
    choice = request.tool_choice
    named_tool = choice.model_dump() if isinstance(choice, ChosenTool) else None
    required = "required" if choice == "required" else None  # "auto" is what a model does unasked
    named = {
        ModelOption.TEMPERATURE: request.temperature,
        ModelOption.TOP_P: request.top_p,
        ModelOption.TOP_K: request.top_k,
        ModelOption.SEED: request.seed,
        ModelOption.MAX_NEW_TOKENS: request.max_completion_tokens or request.max_tokens,
        ModelOption.STOP_SEQUENCES: request.stop or None,
        ModelOption.TOOL_CHOICE: (named_tool or required) if offered else None,
    }
    return {name: value for name, value in named.items() if value is not None}


def _schema(wanted: FreeText | AnyJSON | OfSchema | None) -> Mapping[str, Any] | None:
    if isinstance(wanted, OfSchema):
        return wanted.json_schema.schema_
    return {"type": "object"} if isinstance(wanted, AnyJSON) else None


def _message(given: GivenTurn | AssistantTurn | ToolTurn) -> Message:
    role: Role = "system" if given.role == "developer" else given.role
    calls = getattr(given, "tool_calls", None) or ()
    return Message(
        role,
        _text(given.content),
        images=_images(given.content),
        tool_calls=[ToolCall(name=c.function.name, arguments=c.function.arguments, id=c.id) for c in calls],
        tool_call_id=getattr(given, "tool_call_id", None),
    )


def _text(content: Content | None) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    texts = (part.text if isinstance(part, TextPart) else getattr(part, "refusal", "") for part in content)
    return "".join(texts)


def _images(content: Content | None) -> list[ImageBlock]:
    if content is None or isinstance(content, str):
        return []
    return [ImageBlock.from_url(part.image_url.url) for part in content if isinstance(part, ImagePart)]
