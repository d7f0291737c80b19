"""Functions whose body is a model: signature, types and docstring become a call."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, get_args, get_origin, get_type_hints, overload

from .content import Message
from .errors import InvalidArgument, MelleaError, PreconditionFailed, unknown_name
from .formats import STREAMS
from .parts import text_of
from .requirement import Requirements, requirements_of
from .samples import ValidationResult
from .sampling import SamplingStrategy
from .session import MelleaSession
from .session.functional import DEFAULT_STRATEGY, awaited
from .template import render_file
from .thunk import ModelOutputThunk
from .waiting import drive

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a generative function is carried out; see `generative`."""

    requirements: Requirements = ()
    preconditions: Requirements = ()
    strategy: SamplingStrategy | None = DEFAULT_STRATEGY
    model_options: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        # They hold for every call, and an iterator could be read by the first only.
        object.__setattr__(self, "requirements", requirements_of(self.requirements))
        object.__setattr__(self, "preconditions", requirements_of(self.preconditions))

    def over(self, *, model_options: Mapping[str, Any] | None = None, **given: Any) -> dict[str, Any]:
        """Return the settings of one call: its requirements and preconditions after these, its options over these."""
        for name in given.keys() & {"requirements", "preconditions"}:
            given[name] = (*getattr(self, name), *requirements_of(given[name]))
        return {**given, "model_options": {**(self.model_options or {}), **(model_options or {})}}


_SETTINGS = {field.name for field in fields(Settings)}


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionCall:
    """A component: a function and the arguments that it was called with; thunks among them are awaited."""

    name: str
    signature: str
    purpose: str
    arguments: Mapping[str, object]

    def parts(self) -> Iterable[object]:
        """Give the arguments."""
        return (self.arguments,)

    def messages(self) -> Sequence[Message]:
        """Render the call as one user's turn."""
        told = {
            "name": self.name,
            "signature": self.signature,
            "purpose": self.purpose,
            "arguments": {name: text_of(value) for name, value in self.arguments.items()},
        }
        return (Message("user", render_file("function.jinja2", told).rstrip("\n")),)


class GenerativeFunction(Generic[P, R]):
    """A function that a model carries out; `generative` makes one.

    Call it with a session first, then with its own arguments; `requirements`, `preconditions`, `strategy` and
    `model_options` may go with them, for this call. As a method it is called with a session first too: `thing.f(m, …)`.
    """

    def __init__(self, function: Callable[P, R], settings: Settings) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._settings = settings
        self._signature = inspect.signature(function)
        self._name = getattr(function, "__name__", repr(function))

    @functools.cached_property
    def _format(self) -> Any:
        """The type that the model's answer is to have, None for text."""
        returned = self._returned
        if returned is inspect.Signature.empty or returned is type(None):
            raise InvalidArgument(
                f"{self._name}() does not say what it returns, and that is what the model is held to. Annotate it: "
                f"`def {self._name}(…) -> str:`."
            )
        if self._gives_items:
            if not get_args(returned):
                raise InvalidArgument(
                    f"{self._name}() does not say which items it gives, and that is what the model is held to. "
                    f"Annotate it: `def {self._name}(…) -> Iterator[str]:`."
                )
            return list.__class_getitem__(get_args(returned)[0])
        return None if returned is str else returned

    @functools.cached_property
    def _returned(self) -> Any:
        # Not at decoration: types that are defined further down in the module are known at the first call.
        try:
            return get_type_hints(self._function, include_extras=True).get("return", inspect.Signature.empty)
        except NameError as error:
            raise InvalidArgument(
                f"{self._name}() names a type that its module does not know: {error}. Define it outside of functions."
            ) from error

    @property
    def _gives_items(self) -> bool:
        returned = self._returned
        return get_origin(returned) in STREAMS or any(returned is kind for kind in STREAMS)

    def using(self, **settings: Any) -> GenerativeFunction[P, R]:
        """Return the same function with other settings, named as in `generative`.

        Raises:
            UnknownName: there is no such setting.
        """
        for name in settings.keys() - _SETTINGS:
            raise unknown_name("setting of a generative function", name, _SETTINGS)
        return GenerativeFunction(self._function, replace(self._settings, **settings))

    def start(self, session: MelleaSession, /, *args: P.args, **kwargs: P.kwargs) -> ModelOutputThunk[Any]:
        """Start the call and return its running thunk, to be streamed; preconditions are not judged.

        Raises:
            InvalidArgument: the arguments do not fit the signature.
        """
        function, own = self._for_call(kwargs)
        return function._started(session, function._called(session, args, own))

    def __call__(self, session: MelleaSession, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Have the session's model carry the function out, and return what the signature says.

        Raises:
            InvalidArgument: the arguments do not fit the signature.
            PreconditionFailed: the arguments do not meet a precondition.
            OutputParseError: the answer is not of the type that the signature says.
            BackendError: the backend failed.
        """
        function, own = self._for_call(kwargs)
        call = function._called(session, args, own)
        result: Any
        if self._gives_items:
            result = function._items(session, call)
        elif inspect.iscoroutinefunction(self._function):
            result = function._awaited(session, call)
        else:
            result = drive(function._awaited(session, call))
        return result  # type: ignore[no-any-return]  # the function's own annotation says what it is

    @overload
    def __get__(self, instance: None, owner: type) -> GenerativeFunction[P, R]: ...
    @overload
    def __get__(
        self: GenerativeFunction[Concatenate[Any, Q], R], instance: object, owner: type | None = None
    ) -> GenerativeFunction[Q, R]: ...
    def __get__(self, instance: object, owner: type | None = None) -> Any:
        bind = getattr(self._function, "__get__", None)
        return self if instance is None or bind is None else GenerativeFunction(bind(instance, owner), self._settings)

    def _for_call(self, kwargs: Mapping[str, Any]) -> tuple[GenerativeFunction[P, R], Mapping[str, Any]]:
        """Return the function with the settings among a call's keywords, and its own arguments; these win."""
        taken = self._signature.parameters
        named = (_SETTINGS & kwargs.keys()) - taken.keys()
        if not named or any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken.values()):
            return self, kwargs
        settings = self._settings.over(**{name: kwargs[name] for name in named})
        return self.using(**settings), {name: value for name, value in kwargs.items() if name not in named}

    def _called(self, session: MelleaSession, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> FunctionCall:
        if not isinstance(session, MelleaSession):
            raise InvalidArgument(
                f"{self._name}() is carried out by a model, so a session comes first: `{self._name}(m, …)`. "
                f"It was given {session!r}."
            )
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise InvalidArgument(
                f"{self._name}{self._signature}, after the session: {error}. Besides its own arguments a call takes "
                f"{', '.join(sorted(_SETTINGS))}."
            ) from error
        bound.apply_defaults()
        return FunctionCall(
            name=self._name,
            signature=f"{self._name}{self._signature}",
            purpose=inspect.getdoc(self._function) or "",
            arguments=bound.arguments,
        )

    def _started(self, session: MelleaSession, call: FunctionCall) -> ModelOutputThunk[Any]:
        settings = self._settings
        return session.act(
            call,
            format=self._format,
            requirements=settings.requirements,
            strategy=settings.strategy,
            model_options=settings.model_options,
            await_result=False,
        )

    def _items(self, session: MelleaSession, call: FunctionCall) -> Any:
        if self._settings.preconditions:
            raise InvalidArgument(f"{self._name}() gives items as they come, and cannot have preconditions.")
        reader = self._started(session, call).items()
        return _given(reader) if inspect.iscoroutinefunction(self._function) else reader

    async def _awaited(self, session: MelleaSession, call: FunctionCall) -> Any:
        try:
            if self._settings.preconditions:
                self._refuse(await session.avalidate(self._settings.preconditions, output=_told(call)))
            return (await awaited(self._started(session, call))).parsed
        except MelleaError as error:
            error.add_note(f"In the generative function {self._name}().")
            raise

    def _refuse(self, verdicts: list[ValidationResult]) -> None:
        failed = [v for v in verdicts if not v]
        if failed:
            why = "; ".join(verdict.complaint for verdict in failed)
            raise PreconditionFailed(
                f"{self._name}() was not carried out, because its arguments do not meet: {why}.",
                validations=tuple(verdicts),
            )

    def __repr__(self) -> str:
        return f"<generative function {self._name}{self._signature}>"


async def _given(result: R) -> R:
    return result


def _told(call: FunctionCall) -> str:
    return "\n".join(f"{name}: {text_of(value)}" for name, value in call.arguments.items())


@overload
def generative(function: Callable[P, R], /) -> GenerativeFunction[P, R]: ...
@overload
def generative(
    *,
    requirements: Requirements = ...,
    preconditions: Requirements = ...,
    strategy: SamplingStrategy | None = ...,
    model_options: Mapping[str, Any] | None = ...,
) -> Callable[[Callable[P, R]], GenerativeFunction[P, R]]: ...
def generative(
    function: Any = None,
    /,
    *,
    requirements: Requirements = (),
    preconditions: Requirements = (),
    strategy: SamplingStrategy | None = DEFAULT_STRATEGY,
    model_options: Mapping[str, Any] | None = None,
) -> Any:
    """Make a function of which a model is the body; `@generative`, or `@generative(requirements=[…])`.

    What the function is called, takes, returns and says in its docstring is all that the model is told. It is called
    with a session first: `classify(m, "What a day!")`. An `async def` is awaited; one that returns an `Iterator[Item]`
    or an `AsyncIterator[Item]` gives each item as soon as it is complete. `f.start(m, …)` gives the running thunk.

    Args:
        function: The function, or a method; its own body is never run.
        requirements: What its results must satisfy; as for `MelleaSession.ainstruct`. Those of one call come after
            them: `classify(m, text, requirements=[…])`.
        preconditions: What its arguments must satisfy before the model is asked; judged as the text
            `name: value`, a line for each argument.
        strategy: What is done when a result does not pass; as for `MelleaSession.ainstruct`.
        model_options: `ModelOption` names or plain keys.

    Returns:
        The generative function; `using(…)` gives it with other settings.

    Raises:
        InvalidArgument: it does not say what it returns.

    Example:
        ```python
        from typing import Literal
        from mellea_like import generative, start_session

        @generative
        def classify(text: str) -> Literal["good", "bad"]:
            \"\"\"Say how the text's author feels.\"\"\"

        with start_session("fake", answers='"good"') as m:
            print(classify(m, "What a day!"))
        ```

    Source: Mellea's `generative`, https://mellea.ai; magentic, https://magentic.dev
    """
    chosen = Settings(
        requirements=requirements, preconditions=preconditions, strategy=strategy, model_options=model_options
    )
    if function is None:
        return lambda decorated: GenerativeFunction(decorated, chosen)
    if not callable(function):
        raise InvalidArgument(f"@generative decorates a function, not {function!r}.")
    return GenerativeFunction(function, chosen)
