"""The functional core: a call takes what is said, a context and a backend, and gives a thunk and the next context.

A session is a thin thing over this: it keeps a backend and the newest context.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict, TypeGuard, TypeVar, get_args

from ..arguments import listed
from ..backends import Backend
from ..component import CBlock, Instruction
from ..content import Images, Message, Role, ToolCall
from ..context import ChatContext, Context
from ..engine import Run
from ..errors import InvalidArgument, UnknownTool, unknown_name
from ..events import Checked, Finished, Said
from ..formats import format_of
from ..home import Home
from ..mified import Query, Transform, askable
from ..options import OPTION_NAMES, ModelOption, resolve_options
from ..parts import OffersTools, Sayable, is_parsing, once, parsed_by
from ..requirement import Requirement, requirements_of
from ..requirement import Requirements as Requirements
from ..sampling import SamplingResult, SamplingStrategy
from ..sampling.call import Call
from ..sampling.driver import generate
from ..sampling.judging import Judges, judge
from ..sampling.once import Once
from ..sampling.rejection import RejectionSamplingStrategy
from ..thunk import ComputedModelOutputThunk, ModelOutputThunk
from ..tools import MelleaTool, tools_by_name

if TYPE_CHECKING:
    from typing_extensions import TypeForm

T = TypeVar("T")

OnFailure: TypeAlias = Literal["return", "raise"]
"""What a verb does when no attempt passes: return the one that the strategy keeps, or raise `RequirementsNotMet`."""

DEFAULT_STRATEGY = RejectionSamplingStrategy(loop_budget=2)
"""What a call with requirements is given where it names no strategy."""


class Options(TypedDict, total=False):
    """What every verb takes besides its subject."""

    model_options: Mapping[str, Any] | None


class Judged(Options, total=False):
    """What the verbs take that judge their answers; see `MelleaSession.ainstruct`."""

    requirements: Requirements
    strategy: SamplingStrategy | None
    on_failure: OnFailure


class Prompting(Judged, total=False):
    """What `ainstruct` takes besides its description; see `MelleaSession.ainstruct`."""

    icl_examples: object
    grounding_context: Mapping[str, object] | None
    user_variables: Mapping[str, object] | None
    prefix: str | None
    images: Images
    tool_calls: bool | None


class Acting(Judged, total=False):
    """What `aact` takes besides its action; see `MelleaSession.aact`."""

    tool_calls: bool | None


class Chatting(Judged, total=False):
    """What `achat` takes besides its content; see `MelleaSession.achat`."""

    images: Images
    user_variables: Mapping[str, object] | None
    format: TypeForm[Any] | None
    tool_calls: bool | None


class Transforming(Judged, total=False):
    """What `atransform` takes besides its object and its wish; see `MelleaSession.atransform`."""

    format: TypeForm[Any] | None


KEYWORDS = {
    "instruct": Prompting.__optional_keys__ | {"format", "return_sampling_results", "await_result"},
    "act": Acting.__optional_keys__ | {"format", "return_sampling_results", "await_result"},
    "chat": Chatting.__optional_keys__ | {"role", "await_result"},
    "query": Acting.__optional_keys__ | {"format", "await_result"},
    "transform": Transforming.__optional_keys__,
}
"""What each verb takes by keyword."""


def expect(verb: str, given: Iterable[str]) -> None:
    """Refuse keywords that a verb does not take, in its own name.

    Raises:
        UnknownName: there is one.
    """
    for name in given:
        if name not in KEYWORDS[verb]:
            hint = f"Model options go in a dict: `model_options={{{name!r}: …}}`." if name in OPTION_NAMES else ""
            raise unknown_name(f"argument of {verb}() called", name, KEYWORDS[verb], hint=hint)


def prepare(
    said: Sayable,
    context: Context,
    backend: Backend,
    *,
    format: TypeForm[Any] | None = None,  # noqa: A002  # Mellea's name
    reply: bool = False,
    requirements: Requirements = (),
    strategy: SamplingStrategy | None = DEFAULT_STRATEGY,
    on_failure: OnFailure = "return",
    model_options: Mapping[str, Any] | None = None,
    defaults: Mapping[str, Any] | None = None,
    tool_calls: bool | None = None,
    samples: bool = False,
) -> Call:
    """Decide everything about a call, and check what can be checked; nothing is sent.

    `defaults` are the options of a session, which those of the call win over; `samples` wants the answer as a sample,
    where nothing judges it too.

    Raises:
        WrongUse: the call is mistaken.
    """
    wanted = requirements_of(requirements)
    if on_failure not in get_args(OnFailure):
        raise unknown_name("on_failure", on_failure, get_args(OnFailure))
    if strategy is DEFAULT_STRATEGY and not wanted:
        strategy = None
    if strategy is None and samples:
        strategy = Once()
    if strategy is not None and not isinstance(strategy, SamplingStrategy):
        raise InvalidArgument(f"strategy must be a SamplingStrategy or None, not {strategy!r}.")
    return Call(
        said=once(said),
        ctx=context,
        backend=backend,
        options=with_tools(backend.resolve(defaults, model_options), said, offered=tool_calls),
        format=None if format is None else format_of(format),
        parse=partial(parsed_by, said) if is_parsing(said) else None,
        reply=reply,
        requirements=wanted if strategy is None else wanted + strategy.requirements,
        strategy=strategy,
        raises=on_failure == "raise",
    )


def begin(call: Call, *, among: set[Run] | None = None) -> tuple[ModelOutputThunk[Any], Context]:
    """Start the generation of a call; `among` holds it while it works. Return its thunk, and the context with it."""
    shape = None if call.format is None else call.format.shape
    thunk = ModelOutputThunk[Any].start(
        generate(call), held=call.strategy is not None, among=among, shape=shape, home=call.home
    )
    return thunk, call.ctx.add(call.said, thunk)


def instruction(
    description: str,
    *,
    requirements: Requirements = (),
    icl_examples: object = (),
    grounding_context: Mapping[str, object] | None = None,
    user_variables: Mapping[str, object] | None = None,
    prefix: str | None = None,
    images: Images = (),
) -> Instruction | CBlock:
    """Build what `instruct` says. A plain description stays plain text: nothing to render."""
    told = [r.told for r in requirements_of(requirements) if not r.check_only]
    if not (told or icl_examples or grounding_context or user_variables is not None or prefix or images):
        return CBlock(description)
    return Instruction(
        description=description,
        requirements=told,
        icl_examples=icl_examples,
        grounding_context=grounding_context or {},
        user_variables=user_variables,
        prefix=prefix,
        images=images,
    )


def turn(
    content: str,
    *,
    role: Role = "user",
    images: Images = (),
    user_variables: Mapping[str, object] | None = None,
) -> Sayable:
    """Build what `chat` says."""
    if user_variables is None:
        return Message(role, content, images=images)
    if role != "user":
        raise InvalidArgument(f"user_variables fill a user's turn; this turn's role is {role!r}.")
    return Instruction(description=content, user_variables=user_variables, images=images)


def sampled(*, return_sampling_results: bool, await_result: bool) -> bool:
    """Whether a verb's caller wants every attempt.

    Raises:
        InvalidArgument: and wants the running thunk, too.
    """
    if return_sampling_results and not await_result:
        raise InvalidArgument(
            "return_sampling_results=True gives the attempts when all have ended, so there is nothing to stream. Leave "
            "it out, stream the thunk, and read its `samples` at the end; or leave out await_result=False."
        )
    return return_sampling_results


async def given(
    thunk: ModelOutputThunk[Any], *, samples: bool, await_result: bool
) -> ModelOutputThunk[Any] | SamplingResult[Any]:
    """Give a verb's caller what was asked for: the samples, the computed thunk, or the running one."""
    if samples:
        return SamplingResult(await awaited(thunk))
    return await awaited(thunk) if await_result else thunk


async def awaited(thunk: ModelOutputThunk[T]) -> ComputedModelOutputThunk[T]:
    """Await a thunk whose caller asked for the result only: when the waiting ends early, so does the generation."""
    try:
        return await thunk
    except BaseException:  # a cancellation or a KeyboardInterrupt; both go on as they are
        thunk.cancel()
        raise


def question(obj: object, query: str) -> Query:
    """Build what `query` says."""
    return askable(obj).get_query_object(query)


def transformation_of(obj: object, transformation: str) -> Transform:
    """Build what `transform` says."""
    return askable(obj).get_transform_object(transformation)


def transformed(wish: Transform, call: ToolCall) -> ModelOutputThunk[Any]:
    """Carry out the method that the model called instead of answering; `parsed` is what the method returned."""
    return ModelOutputThunk[Any].start(_called(Home(), wish, call))


async def _called(home: Home, wish: Transform, call: ToolCall) -> AsyncGenerator[Said, None]:
    methods = wish.tools()
    if call.name not in methods:
        raise UnknownTool(str(unknown_name("method", call.name, methods)), tool=call.name, valid=tuple(methods))
    method = MelleaTool(methods[call.name], name=call.name)
    yield Finished(parsed=await home.ask(await home.ask(method.bound, call.arguments)))


def judging(
    requirements: Requirements,
    context: Context,
    backend: Backend,
    *,
    output: str | ModelOutputThunk[Any] | None,
    model_options: Mapping[str, Any] | None = None,
) -> AsyncGenerator[Said, None]:
    """Give the events of judging an answer; `parsed` of the last are the verdicts, in the order of the requirements.

    `model_options` are those of the models that judge.
    """
    answer = context.last_output() if output is None else output
    if answer is None:
        raise InvalidArgument(
            f"There is no answer to judge: {context!r} holds none. Give one: `validate(requirements, output=…)`."
        )
    options = resolve_options(model_options, supported=backend.options, backend=backend.name)
    home = Home()
    if isinstance(answer, ModelOutputThunk):
        home.refuse(answer._log)
    return _judged(requirements_of(requirements), answer, context, Judges(home, backend, options))


async def _judged(
    requirements: Sequence[Requirement], answer: str | ModelOutputThunk[Any], context: Context, judges: Judges
) -> AsyncGenerator[Said, None]:
    if isinstance(answer, ModelOutputThunk):
        await answer.ended()
        thunk: ModelOutputThunk[Any] = answer
    else:
        thunk = ComputedModelOutputThunk.of(answer)

    def whole() -> Context:
        before = context if isinstance(context, ChatContext) else ChatContext()
        return before if before.last_output() is thunk else before.add("", thunk)

    verdicts = await judge(requirements, thunk.partial_text, whole, judges)
    for verdict in verdicts:
        yield Checked(requirement=verdict.requirement, passed=verdict.result, reason=verdict.reason)
    yield Finished(parsed=verdicts, usage=judges.usage)


def with_tools(options: dict[str, Any], said: Sayable, *, offered: bool | None) -> dict[str, Any]:
    """Return the options with the tools that are offered to the model as what it is told of them."""
    tools = listed(options.pop(ModelOption.TOOLS, None))
    if offered is False:
        return options
    own = said.tools() if offered and isinstance(said, OffersTools) else {}
    told = [*_told(tools), *(MelleaTool(method, name=name).as_json_tool for name, method in own.items())]
    return options | {ModelOption.TOOLS: tuple(told)} if told else options


def _told(tools: Sequence[Any]) -> Iterator[Mapping[str, Any]]:
    yield from filter(_is_described, tools)
    yield from (one.as_json_tool for one in tools_by_name(t for t in tools if not _is_described(t)).values())


def _is_described(tool: object) -> TypeGuard[Mapping[str, Any]]:
    """Whether a tool is given as what a model is told of it."""
    return isinstance(tool, Mapping) and bool(tool.keys() & {"type", "function"})
