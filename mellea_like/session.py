"""A session: a backend, a context, and the verbs that ask for things.

Every verb starts its generation at once and makes a thunk; awaiting verbs wait for it. The synchronous verbs are the
asynchronous ones, driven in the caller's thread.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from types import TracebackType
from typing import Any, Concatenate, Literal, ParamSpec, Self, TypedDict, TypeVar, Unpack, overload

from .backends import Backend, backend_class
from .component import CBlock, Instruction, Sayable
from .content import ImageBlock, Message, Role
from .context import CONTEXTS, ChatContext, Context, SimpleContext
from .engine import Run, block_on_engine, on_engine, stop_all
from .errors import InvalidArgument, SessionClosed, unknown_name
from .formats import format_of
from .models import ModelIdentifier
from .sampling import Call, generate
from .thunk import ComputedModelOutputThunk, ModelOutputThunk
from .waiting import drive

S = TypeVar("S")
P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

DEFAULT_MODEL_VARIABLE = "MELLEA_LIKE_MODEL"
DEFAULT_BACKEND = "llamacpp"


class _Options(TypedDict, total=False):
    """What every verb takes besides its subject."""

    model_options: Mapping[str, Any] | None


class _Prompting(_Options, total=False):
    """What `ainstruct` takes besides its description; see there."""

    icl_examples: Sequence[object]
    grounding_context: Mapping[str, object] | None
    user_variables: Mapping[str, object] | None
    prefix: str | None
    images: Sequence[ImageBlock]


class _Chatting(_Options, total=False):
    """What `achat` takes besides its content; see there."""

    role: Role
    images: Sequence[ImageBlock]
    user_variables: Mapping[str, object] | None


def blocking(verb: Callable[Concatenate[S, P], Coroutine[Any, Any, R]]) -> Callable[Concatenate[S, P], R]:
    """Derive a synchronous verb from its asynchronous twin: one signature, one docstring, one behaviour."""

    @functools.wraps(verb)
    def synchronous(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return drive(verb(self, *args, **kwargs))

    synchronous.__name__ = verb.__name__.removeprefix("a")
    synchronous.__qualname__ = verb.__qualname__.replace(verb.__name__, synchronous.__name__)
    return synchronous


class MelleaSession:
    """A backend, a context and the verbs over them; `start_session` makes one.

    Args:
        backend: Where answers come from. It stays the caller's: closing the session leaves it open.
        ctx: What the session remembers; None remembers nothing.
        model_options: Options for every call of this session, over the backend's own.

    Use it as a context manager, synchronous or asynchronous: leaving stops what still runs and closes what the session
    opened. One session serves any number of threads and event loops.
    """

    def __init__(
        self, backend: Backend, ctx: Context | None = None, *, model_options: Mapping[str, Any] | None = None
    ) -> None:
        self.backend = backend
        self.ctx: Context = SimpleContext() if ctx is None else ctx
        self.model_options = dict(model_options or {})
        backend.resolve(self.model_options)
        self._owns_backend = False
        self._closed = False
        # Two threads may call at once, and the context is read, extended and stored again. Reentrant, because rendering
        # runs the caller's own code, which may call this session.
        self._turn = threading.RLock()
        self._runs: set[Run] = set()

    # --- verbs ------------------------------------------------------------------------------------------------------

    @overload
    async def ainstruct(
        self, description: str, *, await_result: Literal[True] = ..., **rest: Unpack[_Prompting]
    ) -> ComputedModelOutputThunk[str]: ...
    @overload
    async def ainstruct(
        self, description: str, *, await_result: Literal[False], **rest: Unpack[_Prompting]
    ) -> ModelOutputThunk[str]: ...
    @overload
    async def ainstruct(
        self, description: str, *, format: type[T], await_result: Literal[True] = ..., **rest: Unpack[_Prompting]
    ) -> ComputedModelOutputThunk[T]: ...
    @overload
    async def ainstruct(
        self, description: str, *, format: type[T], await_result: Literal[False], **rest: Unpack[_Prompting]
    ) -> ModelOutputThunk[T]: ...
    async def ainstruct(
        self,
        description: str,
        *,
        icl_examples: Sequence[object] = (),
        grounding_context: Mapping[str, object] | None = None,
        user_variables: Mapping[str, object] | None = None,
        prefix: str | None = None,
        images: Sequence[ImageBlock] = (),
        format: type[Any] | None = None,  # noqa: A002  # Mellea's name
        model_options: Mapping[str, Any] | None = None,
        await_result: bool = True,
    ) -> ModelOutputThunk[Any]:
        """Ask the model to carry out `description`.

        The generation starts at once. When an awaited call is cancelled or interrupted, so is its generation.

        Args:
            description: What to do. With `user_variables`, a Jinja template: `{{ name }}` is filled in.
            icl_examples: Examples of good answers.
            grounding_context: Texts to work from, by name; data, never rendered as templates.
            user_variables: Values for the templates. A thunk among them is awaited before the prompt is rendered.
            prefix: How the answer is to begin.
            images: Images that go with the instruction, for models that see.
            format: A type that the answer is to have, as its JSON: a pydantic model, a dataclass, `list[int]`, ….
            model_options: `ModelOption` names or plain keys, over those of the session.
            await_result: False returns the running thunk at once, to be streamed.

        Returns:
            The computed thunk; with `await_result=False` the running one. `.value` is the text, `.parsed` the object
            of type `format`.

        Raises:
            WrongUse: the call is mistaken: an unknown option, a template without its variable, a closed session.
            BackendError: the backend failed; with `await_result=False`, raised to readers of the thunk.
            OutputParseError: the answer is not of type `format`.

        Example:
            ```python
            from mellea_like import start_session

            with start_session("fake", answers="Hi, Ana!") as m:
                answer = m.instruct("Greet {{ who }}.", user_variables={"who": "Ana"})
                print(answer.value)
            ```

        Source: Mellea's `instruct`, https://mellea.ai
        """
        instruction = Instruction(
            description=description,
            icl_examples=icl_examples,
            grounding_context=grounding_context or {},
            user_variables=user_variables,
            prefix=prefix,
            images=images,
        )
        # A plain description stays plain text in the context too: nothing to render again.
        rich = icl_examples or grounding_context or user_variables is not None or prefix or images
        thunk = self._say(instruction if rich else CBlock(description), format=format, model_options=model_options)
        return await _awaited(thunk) if await_result else thunk

    @overload
    async def aact(
        self, action: Sayable, *, await_result: Literal[True] = ..., **rest: Unpack[_Options]
    ) -> ComputedModelOutputThunk[str]: ...
    @overload
    async def aact(
        self, action: Sayable, *, await_result: Literal[False], **rest: Unpack[_Options]
    ) -> ModelOutputThunk[str]: ...
    @overload
    async def aact(
        self, action: Sayable, *, format: type[T], await_result: Literal[True] = ..., **rest: Unpack[_Options]
    ) -> ComputedModelOutputThunk[T]: ...
    @overload
    async def aact(
        self, action: Sayable, *, format: type[T], await_result: Literal[False], **rest: Unpack[_Options]
    ) -> ModelOutputThunk[T]: ...
    async def aact(
        self,
        action: Sayable,
        *,
        format: type[Any] | None = None,  # noqa: A002  # Mellea's name
        model_options: Mapping[str, Any] | None = None,
        await_result: bool = True,
    ) -> ModelOutputThunk[Any]:
        """Say `action` to the model: text, a `Message`, a component, or the thunk of an earlier call.

        Args:
            action: What to say. A thunk, or one inside a component, is awaited before the prompt is rendered.
            format: As for `ainstruct`.
            model_options: As for `ainstruct`.
            await_result: False returns the running thunk at once, to be streamed.

        Returns:
            As for `ainstruct`.

        Raises:
            WrongUse: the call is mistaken.
            BackendError: the backend failed.

        Example:
            ```python
            from mellea_like import Message, start_session

            with start_session("fake", answers="Hello!") as m:
                print(m.act(Message("user", "Hi")).value)
            ```
        """
        thunk = self._say(action, format=format, model_options=model_options)
        return await _awaited(thunk) if await_result else thunk

    @overload
    async def achat(self, content: str, *, await_result: Literal[True] = ..., **rest: Unpack[_Chatting]) -> Message: ...
    @overload
    async def achat(
        self, content: str, *, await_result: Literal[False], **rest: Unpack[_Chatting]
    ) -> ModelOutputThunk[Message]: ...
    async def achat(
        self,
        content: str,
        *,
        role: Role = "user",
        images: Sequence[ImageBlock] = (),
        user_variables: Mapping[str, object] | None = None,
        model_options: Mapping[str, Any] | None = None,
        await_result: bool = True,
    ) -> Message | ModelOutputThunk[Message]:
        """Say one turn of a chat and get the assistant's.

        With a `ChatContext` the model sees the conversation so far; with a `SimpleContext` only this turn.

        Args:
            content: The turn's text; with `user_variables`, a Jinja template.
            role: Who says it.
            images: Images that go with the text.
            user_variables: As for `ainstruct`.
            model_options: As for `ainstruct`.
            await_result: False returns the running thunk at once, to be streamed; its `parsed` is the `Message`.

        Returns:
            The assistant's `Message`.

        Raises:
            WrongUse: the call is mistaken.
            BackendError: the backend failed.

        Example:
            ```python
            from mellea_like import ChatContext, start_session

            with start_session("fake", ctx=ChatContext(), answers="Hello!") as m:
                print(m.chat("Hi").content)
            ```
        """
        said: Sayable = Message(role, content, images=tuple(images))
        if user_variables is not None:
            if role != "user":
                raise InvalidArgument(f"user_variables fill a user's turn; this turn's role is {role!r}.")
            said = Instruction(description=content, user_variables=user_variables, images=images)
        thunk: ModelOutputThunk[Message] = self._say(said, reply=True, model_options=model_options)
        return (await _awaited(thunk)).parsed if await_result else thunk

    instruct = blocking(ainstruct)
    act = blocking(aact)
    chat = blocking(achat)

    def _say(
        self,
        said: Sayable,
        *,
        format: type[Any] | None = None,  # noqa: A002
        reply: bool = False,
        model_options: Mapping[str, Any] | None,
    ) -> ModelOutputThunk[Any]:
        """Start the generation that answers `said`, and remember both."""
        if self._closed:
            raise SessionClosed(
                f"This session ({self.backend!r}) is closed. Start a new one with `start_session(…)`, or make the call "
                "before the `with` block ends."
            )
        options = self.backend.resolve(self.model_options, model_options)
        wanted = None if format is None else format_of(format)
        with self._turn:
            call = Call(
                said=said,
                view=tuple(self.ctx.view()),
                backend=self.backend,
                options=options,
                format=wanted,
                reply=reply,
            )
            thunk = ModelOutputThunk[Any].start(generate(call), among=self._runs)
            self.ctx = self.ctx.add(said, thunk)
        return thunk

    # --- lifetime ---------------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Forget the conversation: the context becomes an empty one of its kind."""
        with self._turn:
            fresh = ChatContext(window_size=self.ctx.window_size) if isinstance(self.ctx, ChatContext) else None
            self.ctx = fresh or SimpleContext()

    async def cancel(self) -> None:
        """Stop every generation of this session that still runs, and wait until all have stopped."""
        await on_engine(stop_all(list(self._runs)))

    async def aclose(self) -> None:
        """Stop what runs and close what the session opened; calls after it raise `SessionClosed`. Can be repeated."""
        self._closed = True
        await on_engine(self._end())

    def close(self) -> None:
        """Do what `aclose` does, blocking."""
        self._closed = True
        block_on_engine(self._end())

    async def _end(self) -> None:
        await stop_all(list(self._runs))
        if self._owns_backend:
            await self.backend.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: object, error: object, trace: TracebackType | None) -> None:
        await self.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        closed = ", closed" if self._closed else ""
        return f"MelleaSession({self.backend!r}, {self.ctx!r}{closed})"


async def _awaited(thunk: ModelOutputThunk[T]) -> ComputedModelOutputThunk[T]:
    """Await a thunk whose caller asked for the result only: when the waiting ends early, so does the generation."""
    try:
        return await thunk
    except BaseException:  # a cancellation or a KeyboardInterrupt; both go on as they are
        thunk.cancel()
        raise


def start_session(
    backend_name: str | None = None,
    model_id: str | ModelIdentifier | None = None,
    *,
    ctx: Context | None = None,
    context_type: Literal["simple", "chat"] | None = None,
    model_options: Mapping[str, Any] | None = None,
    **backend_options: Any,
) -> MelleaSession:
    """Start a session: choose a backend, a model and a context.

    Nothing is opened yet: the first call connects, or loads the model. Only where no backend is named, it is looked
    whether an Ollama server answers on this machine.

    Args:
        backend_name: A backend's name, or `"backend:model"`. None takes what the environment variable
            `MELLEA_LIKE_MODEL` names, else an Ollama server that answers on this machine and has a model, else the
            model that runs inside this process. What was chosen is in the session's `repr`.
        model_id: The model as the backend knows it, or one of `model_ids`; None for the backend's default.
        ctx: The context to start from; None starts an empty one of `context_type`.
        context_type: `"simple"` (no history, the default) or `"chat"`.
        model_options: Options for every call: `ModelOption` names or plain keys.
        backend_options: What the backend's constructor takes, such as `base_url`, `api_key` or `timeout`.

    Returns:
        A session that owns its backend: leaving its `with` block closes both.

    Raises:
        UnknownName: there is no such backend, context type, model option or backend option.
        InvalidArgument: both `ctx` and `context_type`, or two models, were given.

    Example:
        ```python
        from mellea_like import start_session

        with start_session("fake", answers="Hello!") as m:
            print(m.instruct("Say hello.").value)
        ```

    Source: Mellea's `start_session`, https://mellea.ai
    """
    name = backend_name or os.environ.get(DEFAULT_MODEL_VARIABLE) or _at_hand()
    name, colon, model = name.partition(":")
    if colon and model_id is not None:
        raise InvalidArgument(f"Two models were given: {model!r} in {backend_name!r}, and model_id={model_id!r}.")
    if isinstance(model_id, ModelIdentifier):
        model_id = model_id.name_for(name)
    if ctx is not None and context_type is not None:
        raise InvalidArgument("Give either ctx or context_type, not both: a context has its type.")
    if context_type is not None and context_type not in CONTEXTS:
        raise unknown_name("context type", context_type, CONTEXTS)
    backend = _opened(backend_class(name), model or model_id, model_options, backend_options)
    session = MelleaSession(backend, ctx if ctx is not None else CONTEXTS[context_type or "simple"]())
    session._owns_backend = True
    return session


def _at_hand() -> str:
    """Name what a session without a name runs on."""
    from .backends._at_hand import ollama_models  # sockets, which a session with a name does not need

    models = ollama_models()
    return f"ollama:{models[0]}" if models else DEFAULT_BACKEND


def _opened(
    kind: type[Backend], model: str | None, model_options: Mapping[str, Any] | None, options: dict[str, Any]
) -> Backend:
    import inspect  # 14 ms, and only to explain a mistake

    parameters = inspect.signature(kind).parameters
    valid = [name for name in parameters if name not in {"model_id", "model_options"}]
    if not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        for name in options:
            if name not in valid:
                raise unknown_name(f"option of the backend {kind.name!r} called", name, valid)
    return kind(model, model_options=model_options, **options)
