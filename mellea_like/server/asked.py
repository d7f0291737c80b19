"""What clients ask for in the library's own words, and what the bodies of all their requests have in common.

Fields that say nothing to a local model (`user`, `metadata`, `store` …) are passed over, and so are those of which
nothing is known here. Fields that would change the answer and cannot be honoured are refused: there may stand `Only`
what changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import Field, ValidationError

from ..content import ImageBlock, Message, Role, ToolCall
from ..errors import RequestRejected
from ..options import ModelOption
from .forms import WHOLE, Form, OneOf, Only, place_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a client asks for.

    Args:
        messages: The conversation; its last turn is to be answered.
        model: The model's name as the client wrote it.
        options: Options of the generation, keyed by `ModelOption`; tools are not among them.
        tools: The tools that the model may ask for, in OpenAI's form.
        schema: The JSON schema that the answer is to follow; None for text.
        one_call: Whether the client takes one tool call at most; what calls besides is not told.
    """

    messages: tuple[Message, ...]
    model: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    tools: tuple[Mapping[str, Any], ...] = ()
    schema: Mapping[str, Any] | None = None
    one_call: bool = False

    @property
    def last(self) -> str:
        """The text of the last turn."""
        return self.messages[-1].content


_BASE64 = r"([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)"
_IMAGE = rf"^(https?://.+|data:image/[a-z0-9.+-]+;base64,{_BASE64})$"
ImageURL: TypeAlias = Annotated[str, Field(pattern=_IMAGE)]
"""`https://…`, or `data:image/…;base64,…`."""


class AnyPart(Form):
    """A part of what a turn says."""

    def said(self) -> str | ImageBlock:
        """Return what it is in the library's words.

        Raises:
            InvalidArgument: it is an image that is none.
        """
        raise NotImplementedError


class Words(AnyPart):
    """Text, by whatever name."""

    text: str

    def said(self) -> str:
        """Return the text."""
        return self.text


class RefusalPart(AnyPart):
    """A refusal of the model's, given back to it."""

    type: Literal["refusal"]
    refusal: str

    def said(self) -> str:
        """Return the refusal as text."""
        return self.refusal


class FreeText(Form):
    """The answer is text."""

    type: Literal["text"]


class AnyJSON(Form):
    """The answer is a JSON object."""

    type: Literal["json_object"]


class NamedSchema(Form):
    """A JSON schema with its name."""

    name: str = "answer"
    schema_: Annotated[dict[str, Any], Field(alias="schema")]


StopText: TypeAlias = Annotated[str, Field(min_length=1)]
Effort: TypeAlias = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
"""How hard the model is to reason."""

_NoneOnly: TypeAlias = Annotated[Any, Only()]
_FalseOnly: TypeAlias = Annotated[Any, Only([False])]
_ZeroOnly: TypeAlias = Annotated[Any, Only([0])]
_OneOnly: TypeAlias = Annotated[Any, Only([1])]
_EmptyOnly: TypeAlias = Annotated[Any, Only([[]])]
_SchemaOnly: TypeAlias = Annotated[Any, Only(told="This server keeps answers to JSON schemas alone; ask for one")]
NO_LOGPROBS = "This server gives no log probabilities"


class AnyRequest(Form):
    """What all kinds of requests have: first what is honoured, then what is refused, by OpenAI's names and others'.

    `best_of` is a number of answers, `min_tokens` one of tokens.
    """

    model: str = ""
    stream: bool | None = None
    temperature: Annotated[float, Field(ge=0, le=100)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0, lt=2**31), WHOLE] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63), WHOLE] | None = None
    stop: Annotated[StopText | list[StopText], OneOf()] | None = None
    parallel_tool_calls: bool | None = None

    frequency_penalty: _ZeroOnly = None
    presence_penalty: _ZeroOnly = None
    logit_bias: Annotated[Any, Only([{}])] = None
    logprobs: Annotated[Any, Only([False], told=NO_LOGPROBS)] = None
    top_logprobs: Annotated[Any, Only([0], told=NO_LOGPROBS)] = None
    moderation: _NoneOnly = None
    # vLLM's, llama.cpp's and Hugging Face's
    min_p: _ZeroOnly = None
    typical_p: _OneOnly = None
    repetition_penalty: _OneOnly = None
    repeat_penalty: _OneOnly = None
    mirostat: _ZeroOnly = None
    min_tokens: _ZeroOnly = None
    ignore_eos: _FalseOnly = None
    stop_token_ids: _EmptyOnly = None
    bad_words: _EmptyOnly = None
    best_of: _OneOnly = None
    use_beam_search: _FalseOnly = None
    echo: _FalseOnly = None
    continue_final_message: _FalseOnly = None
    chat_template: _NoneOnly = None
    chat_template_kwargs: Annotated[Any, Only([{}])] = None
    tool_prompt: _NoneOnly = None
    grammar: _SchemaOnly = None
    guided_choice: _SchemaOnly = None
    guided_grammar: _SchemaOnly = None
    guided_json: _SchemaOnly = None
    guided_regex: _SchemaOnly = None
    json_schema: _SchemaOnly = None
    structured_outputs: _SchemaOnly = None


Body = TypeVar("Body", bound=AnyRequest)


def read_request(body: bytes, kind: type[Body]) -> Body:
    """Read a body.

    Args:
        body: The bytes.
        kind: What it is to be.

    Raises:
        RequestRejected: it is not JSON, or not such a request; the message says where.
    """
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = place_of(first)
        said = first["msg"].removeprefix("Value error, ").removesuffix(".")
        more = f" ({error.error_count() - 1} more mistakes.)" if error.error_count() > 1 else ""
        raise RequestRejected(
            f"The body is not a valid request: {f'{where}: ' if where else ''}{said}.{more}",
            status=400,
            code="invalid_json" if first["type"] == "json_invalid" else "invalid_value",
            param=where or None,
        ) from None


def asked_of(
    request: AnyRequest,
    *,
    messages: Iterable[Message],
    tools: Sequence[Mapping[str, Any]],
    tool_choice: str | Mapping[str, Any] | None,
    schema: Mapping[str, Any] | None,
    options: Mapping[str, Any],
) -> Asked:
    """Put together what a request of any kind asks for; tools and the choice of one are in the chat's form."""
    tools = () if tool_choice == "none" else tuple(tools)
    named = {
        ModelOption.TEMPERATURE: request.temperature,
        ModelOption.TOP_P: request.top_p,
        ModelOption.TOP_K: request.top_k,
        ModelOption.SEED: request.seed,
        ModelOption.STOP_SEQUENCES: request.stop or None,
        ModelOption.TOOL_CHOICE: tool_choice if tools and tool_choice != "auto" else None,  # it is what models do
        **options,
    }
    return Asked(
        messages=tuple(messages),
        model=request.model,
        options={name: value for name, value in named.items() if value is not None},
        tools=tools,
        schema=schema,
        one_call=request.parallel_tool_calls is False,
    )


def thinking_of(effort: Effort | None) -> str | bool | None:
    """Return what `ModelOption.THINKING` is to be."""
    return False if effort == "none" else effort


def schema_of(wanted: FreeText | AnyJSON | NamedSchema | None) -> Mapping[str, Any] | None:
    """Return the schema that an answer is to follow; None for text."""
    if isinstance(wanted, NamedSchema):
        return wanted.schema_
    return {"type": "object"} if isinstance(wanted, AnyJSON) else None


def message_of(
    role: Role | Literal["developer"],
    content: str | Sequence[AnyPart] | None,
    *,
    tool_calls: Sequence[ToolCall] = (),
    tool_call_id: str | None = None,
) -> Message:
    """Make a turn of what clients send as its content; the developer's is the system's."""
    parts = [content or ""] if content is None or isinstance(content, str) else [part.said() for part in content]
    return Message(
        "system" if role == "developer" else role,
        "".join([part for part in parts if isinstance(part, str)]),
        images=[part for part in parts if isinstance(part, ImageBlock)],
        tool_calls=tool_calls,
        tool_call_id=tool_call_id,
    )
