"""Asking models with prompts that are written in files: streamed, awaited, or several at once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypedDict, TypeVar, overload

from ..backends import Backend
from ..closing import Closing
from ..context import SimpleContext
from ..errors import InvalidArgument, WrongUse, unknown_name
from ..partial import Partial
from ..providers import provider_backend
from ..readers import EventReader, Reader
from ..session.functional import awaited, begin, prepare
from ..thunk import ModelOutputThunk
from ..waiting import blocking
from .loading import Prompt, load_prompt

if TYPE_CHECKING:
    from typing_extensions import TypeVar as TypeVarWithDefault

    T = TypeVarWithDefault("T", default=str)
else:  # the default is for type checkers only, and the package that offers it is slow to import
    T = TypeVar("T")
K = TypeVar("K")

USUAL_TEMPERATURE = 0.7
"""The temperature where neither the call nor the prompt file names one."""

PromptName: TypeAlias = "str | PathLike[str] | Prompt"
"""A prompt: its name or path, as for `load_prompt`, or one that has been read."""


class PromptStream(Closing, Generic[T]):
    """The answer to a prompt, while it is written: an iterator over its tokens, with `async for` or with `for`.

    Dropping it stops the model, as leaving a loop over it does where nothing else holds it. `thunk` is the thunk behind
    it; await that for the whole answer.

    Example:
        ```python
        import tempfile
        from pathlib import Path
        from mellea_like import FakeBackend, execute_prompt_streaming

        with tempfile.TemporaryDirectory() as folder:
            prompt = Path(folder, "greet.yaml")
            prompt.write_text("user: Greet {name}.")
            with execute_prompt_streaming(prompt, {"name": "Ana"}, backend=FakeBackend(answers="Hi, Ana!")) as stream:
                print(next(stream))
            print(stream.text, stream.thunk.state)
        ```
    """

    __slots__ = ("_reader", "thunk")

    def __init__(self, thunk: ModelOutputThunk[T]) -> None:
        self.thunk = thunk
        self._reader: Any = iter(thunk)

    def __aiter__(self) -> AsyncIterator[str]:
        return self

    def __iter__(self) -> Iterator[str]:
        return self

    async def __anext__(self) -> str:
        following = self._reader.__anext__()
        del self  # a kept traceback keeps its frames, and they would keep the thunk
        token: str = await following
        return token

    def __next__(self) -> str:
        reader = self._reader
        del self
        token: str = next(reader)
        return token

    @property
    def text(self) -> str:
        """The text that has come so far, read or not; it stays when the model fails."""
        return self.thunk.partial_text

    def partials(self) -> Reader[Partial[T]]:
        """Iterate over the answer as a growing object, where the prompt has a `schema` or the call an `output_model`.

        Raises:
            InvalidArgument: it has neither.
        """
        return self.thunk.partials()

    def events(self) -> EventReader:
        """Iterate over every event of the answer; see `ModelOutputThunk.events`."""
        return self.thunk.events()

    async def aclose(self) -> None:
        """Stop the model, and wait until it has stopped; what came stays readable."""
        await self.thunk.aclose()

    def close(self) -> None:
        """Do what `aclose` does, blocking."""
        self.thunk.close()

    def __repr__(self) -> str:
        return f"PromptStream({self.thunk!r})"


@overload
def execute_prompt_streaming(
    prompt_name: PromptName,
    variables: Mapping[str, Any] | None = ...,
    temperature: float | None = ...,
    provider: str | None = ...,
    *,
    output_model: type[K],
    model: str | None = ...,
    prompts_dir: str | PathLike[str] | None = ...,
    graph_path: str | PathLike[str] | None = ...,
    model_options: Mapping[str, Any] | None = ...,
    backend: Backend | None = ...,
) -> PromptStream[K]: ...
@overload
def execute_prompt_streaming(
    prompt_name: PromptName,
    variables: Mapping[str, Any] | None = ...,
    temperature: float | None = ...,
    provider: str | None = ...,
    *,
    model: str | None = ...,
    prompts_dir: str | PathLike[str] | None = ...,
    graph_path: str | PathLike[str] | None = ...,
    model_options: Mapping[str, Any] | None = ...,
    backend: Backend | None = ...,
) -> PromptStream[Any]: ...
def execute_prompt_streaming(
    prompt_name: PromptName,
    variables: Mapping[str, Any] | None = None,
    temperature: float | None = None,
    provider: str | None = None,
    *,
    output_model: type[Any] | None = None,
    model: str | None = None,
    prompts_dir: str | PathLike[str] | None = None,
    graph_path: str | PathLike[str] | None = None,
    model_options: Mapping[str, Any] | None = None,
    backend: Backend | None = None,
) -> PromptStream[Any]:
    """Ask a model with a prompt file, and read its answer token by token.

    The generation starts at once. Mistakes in the call are raised here; what goes wrong at the model is raised to
    whoever reads, after the tokens that had come. Tokens are the backend's own, never empty.

    Args:
        prompt_name: The prompt's name, its path, or a prompt that was loaded; see `load_prompt`.
        variables: Values for the prompt's placeholders. Thunks among them are awaited before the prompt is rendered.
        temperature: The sampling temperature; None takes the file's, else 0.7.
        provider: Who serves the model: `"openai"`, `"anthropic"`, `"mistral"`, `"ollama"`, …. None takes the file's,
            else the environment's `PROVIDER`; where only a model is named, OpenAI.
        output_model: A type that the answer is to have, over the file's `schema`; `partials()` then gives it growing.
        model: The model, over the file's; None takes that, else `MELLEA_LIKE_MODEL`, else the default of a session.
        prompts_dir: A folder of prompts to look in first.
        graph_path: A graph file; prompts beside it are found.
        model_options: Further options, over the file's.
        backend: A backend to ask, whatever the file and the environment name.

    Returns:
        An iterator over the tokens, for `async for` and for `for`, with `partials()` and `thunk`.

    Raises:
        UnknownName: there is no such prompt or provider.
        InvalidFile: the prompt file has mistakes.
        TemplateError: a variable is missing.

    Example:
        ```python
        import tempfile
        from pathlib import Path
        from mellea_like import FakeBackend, execute_prompt_streaming

        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "greet.yaml").write_text("user: Greet {name}.")
            backend = FakeBackend(answers="Hello, World!")
            for token in execute_prompt_streaming("greet", {"name": "World"}, prompts_dir=folder, backend=backend):
                print(token, end="")
        ```

    Source: yamlgraph's `execute_prompt_streaming`.
    """
    prompt = prompt_name
    if not isinstance(prompt, Prompt):
        prompt = load_prompt(prompt, prompts_dir=prompts_dir, graph_path=graph_path)
    said = prompt.filled(variables)
    asked = backend or served(prompt, provider, model)
    call = prepare(
        said,
        SimpleContext(),
        asked,
        format=output_model or prompt.format,
        model_options=options_for(prompt, asked, temperature=temperature, model_options=model_options),
    )
    thunk, _ = begin(call)
    return PromptStream(thunk)


def options_for(
    prompt: Prompt, backend: Backend, *, temperature: float | None, model_options: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return the options that a prompt is asked with: the call's, over the file's, over the usual temperature."""
    options: dict[str, Any] = {"temperature": USUAL_TEMPERATURE} if backend.honours("temperature") else {}
    named = temperature if temperature is not None else prompt.temperature
    if named is not None:
        options["temperature"] = named
    return {**options, **prompt.model_options, **(model_options or {})}


def served(prompt: Prompt, provider: str | None, model: str | None) -> Backend:
    """Return the backend of a provider and a model; a provider of the call's own is not asked for the file's model."""
    if provider is None or provider == prompt.provider:
        return provider_backend(provider or prompt.provider, model or prompt.model)
    return provider_backend(provider, model or (None if prompt.provider else prompt.model))


@overload
async def execute_prompt_async(
    prompt_name: PromptName, variables: Mapping[str, Any] | None = ..., *, output_model: type[K], **rest: Any
) -> K: ...
@overload
async def execute_prompt_async(
    prompt_name: PromptName, variables: Mapping[str, Any] | None = ..., **rest: Any
) -> Any: ...
async def execute_prompt_async(prompt_name: PromptName, variables: Mapping[str, Any] | None = None, **rest: Any) -> Any:
    """Ask a model with a prompt file, and give its whole answer.

    When the call is cancelled or interrupted, so is its generation.

    Args:
        prompt_name: As for `execute_prompt_streaming`.
        variables: As for `execute_prompt_streaming`.
        rest: `output_model`, `temperature`, `provider`, `model`, `prompts_dir`, `graph_path`, `model_options` and
            `backend`, as for `execute_prompt_streaming`.

    Returns:
        The text; with an `output_model`, or a `schema` in the file, the validated object.

    Raises:
        WrongUse: the call or the prompt file is mistaken.
        BackendError: the model's side failed.
        OutputParseError: the answer is not of the wanted type.

    Example:
        ```python
        import asyncio, tempfile
        from pathlib import Path
        from mellea_like import FakeBackend, execute_prompt_async

        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "greet.yaml").write_text("user: Greet {name}.")
            asking = execute_prompt_async(
                "greet", {"name": "World"}, prompts_dir=folder, backend=FakeBackend(answers="Hello, World!")
            )
            print(asyncio.run(asking))
        ```

    Source: yamlgraph's `execute_prompt_async`.
    """
    stream = execute_prompt_streaming(prompt_name, variables, **rest)
    return (await awaited(stream.thunk)).parsed


execute_prompt = blocking(execute_prompt_async)
execute_prompt.__name__ = execute_prompt.__qualname__ = "execute_prompt"


class PromptCall(TypedDict, total=False):
    """One call of `execute_prompts_concurrent`: what `execute_prompt_async` takes, by name."""

    prompt_name: PromptName
    variables: Mapping[str, Any] | None
    output_model: type[Any]
    temperature: float | None
    provider: str | None
    model: str | None
    prompts_dir: str | PathLike[str] | None
    graph_path: str | PathLike[str] | None
    model_options: Mapping[str, Any] | None
    backend: Backend | None


async def execute_prompts_concurrent(prompts: Iterable[PromptCall]) -> list[Any]:
    """Ask with several prompts at once, and give the answers in the order of the calls.

    Where one fails, the others are stopped.

    Args:
        prompts: What `execute_prompt_async` takes, as one dict per call, with at least `prompt_name`.

    Returns:
        The answers: text, or the validated object where a call has an `output_model` or a file a `schema`.

    Raises:
        WrongUse: a call or a prompt file is mistaken.
        MelleaError: what the first call that failed, in their order, failed with.

    Example:
        ```python
        import asyncio, tempfile
        from pathlib import Path
        from mellea_like import FakeBackend, execute_prompts_concurrent

        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "greet.yaml").write_text("user: Greet {name}.")
            rest = {"prompts_dir": folder, "backend": FakeBackend(answers=lambda request: request.messages[0].content)}
            calls = [{"prompt_name": "greet", "variables": {"name": name}, **rest} for name in ("Ana", "Bo")]
            print(asyncio.run(execute_prompts_concurrent(calls)))
        ```

    Source: yamlgraph's `execute_prompts_concurrent`.
    """
    running: list[PromptStream[Any]] = []
    for at, call in enumerate(prompts):
        wrong = call.keys() - PromptCall.__annotations__.keys()
        if wrong or "prompt_name" not in call:
            raise _mistaken(at, sorted(wrong))
        running.append(execute_prompt_streaming(**call))
    try:
        return [(await stream.thunk).parsed for stream in running]
    finally:
        for stream in running:
            stream.thunk.cancel()


def _mistaken(at: int, wrong: list[str]) -> WrongUse:
    if wrong:
        return unknown_name(f"argument of call {at} named", wrong[0], PromptCall.__annotations__)
    return InvalidArgument(f"Call {at} has no `prompt_name`.")
