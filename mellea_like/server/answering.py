"""What answers: a model, or a program of the user's. Each makes a thunk of what a client asks for."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import anyio.to_thread
from anyio import CapacityLimiter

from ..backends import Backend
from ..content import Message, Request
from ..errors import BackendError, InvalidArgument, RequestRejected
from ..events import Finished, Said, Started
from ..home import is_async
from ..options import ModelOption
from ..sampling import SamplingResult
from ..session import MelleaSession
from ..session.functional import Requirements
from ..thunk import ComputedModelOutputThunk, ModelOutputThunk
from .asked import Asked

logger = logging.getLogger("mellea_like.server")


class Answerer(Protocol):
    """What a server serves."""

    @property
    def models(self) -> Sequence[str]:
        """The names that `/v1/models` lists; the first is what answers say that they are from."""
        ...

    @property
    def graph(self) -> Mapping[str, Any] | None:
        """The graph that is served, as nodes and edges; None where none is."""
        ...

    async def answer(self, asked: Asked) -> ModelOutputThunk[Any]:
        """Start the answer and return its thunk, running or not.

        Raises:
            WrongUse: the client asks for what there is not.
            BackendError: the model's side failed.
        """
        ...

    async def aclose(self) -> None:
        """Close what was opened for serving."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """A whole conversation as one saying: a client sends all its turns each time."""

    turns: tuple[Message, ...]

    def parts(self) -> Iterable[object]:
        """Give nothing: all is text."""
        return ()

    def messages(self) -> Sequence[Message]:
        """Give the turns."""
        return self.turns


class ModelAnswerer:
    """A session's model.

    Args:
        session: The session; each request starts from nothing, and leaves its conversation as it is.
        requirements: What every answer must satisfy. Text then comes after the verdict; the run's events show every
            attempt as it grows.
        system: What the model is told first, where a client tells it nothing; None tells nothing.
    """

    graph = None

    def __init__(self, session: MelleaSession, *, requirements: Requirements = (), system: str | None = None) -> None:
        self._session = session
        self._requirements = requirements
        self._system = system
        self.models = (session.backend.model_id or session.backend.name,)

    async def answer(self, asked: Asked) -> ModelOutputThunk[Any]:
        """Ask the model; see `Answerer.answer`."""
        if self._system is not None and asked.messages[0].role != "system":
            asked = replace(asked, messages=(Message("system", self._system), *asked.messages))
        if self._requirements and asked.schema is None:
            options = {**asked.options, ModelOption.TOOLS: asked.tools}
            said = Conversation(turns=asked.messages)
            return await self._session.clone().aact(
                said, requirements=self._requirements, model_options=options, await_result=False
            )
        if self._requirements:
            raise InvalidArgument("This server judges its answers by requirements of its own; ask without a schema.")
        backend = self._session.backend
        return ModelOutputThunk[str].start(_straight(backend, self._request(asked, backend)))

    def _request(self, asked: Asked, backend: Backend) -> Request:
        options = backend.resolve(self._session.model_options, asked.options)
        system = options.pop(ModelOption.SYSTEM_PROMPT, None)
        tools = tuple(options.pop(ModelOption.TOOLS, ())) + asked.tools
        if tools and not backend.honours(ModelOption.TOOLS):
            raise InvalidArgument(f"The model {backend.model_id!r} (backend {backend.name!r}) takes no tools.")
        messages = asked.messages
        if system is not None and messages[0].role != "system":
            messages = (Message("system", system), *messages)
        if asked.schema is not None and not backend.constrains(asked.schema):
            told = f"Answer with JSON alone, following this JSON schema:\n{json.dumps(asked.schema)}"
            messages = (*messages, Message("user", told))
        return Request(messages=messages, options=options, schema=asked.schema, tools=tools)

    async def aclose(self) -> None:
        """Close the session, which is the server's own."""
        await self._session.aclose()


async def _straight(backend: Backend, request: Request) -> AsyncGenerator[Said, None]:
    yield Started(model=backend.model_id, provider=backend.name)
    async with aclosing(backend.stream(request)) as stream:
        async for said in stream:
            yield said


class ProgramAnswerer:
    """A function of the user's, `serve(messages, …)`.

    It is given the conversation as `Message`s, and by name what its parameters ask for: `model_options`, `tools`,
    `schema`, `model`, `requirements` (always None: clients send none), or `request` (an `Asked` with all of it). It
    returns text, a `Message`, a thunk (best one that still runs: it streams), a sampling result, or a graph's run. An
    asynchronous one runs on the server's event loop, a synchronous one in a thread.

    Args:
        serve: The function.
        name: What `/v1/models` lists.
        threads: How many synchronous calls run at once.

    Source: Mellea's `m serve`, https://mellea.ai
    """

    graph = None

    def __init__(self, serve: Callable[..., Any], *, name: str, threads: int = 8) -> None:
        self._serve = serve
        self._named = _parameters(serve)
        self._most = threads
        self._threads: CapacityLimiter | None = None
        self.models = (name,)

    async def answer(self, asked: Asked) -> ModelOutputThunk[Any]:
        """Call the function; see `Answerer.answer`."""
        known = {
            "model_options": dict(asked.options),
            "requirements": None,
            "tools": list(asked.tools),
            "schema": asked.schema,
            "model": asked.model,
            "request": asked,
        }
        call = partial(self._serve, list(asked.messages), **{n: v for n, v in known.items() if n in self._named})
        try:
            return thunk_of(await self._called(call))
        except (BackendError, RequestRejected):
            raise
        except (asyncio.CancelledError, KeyboardInterrupt, GeneratorExit):  # how it is stopped from outside
            raise
        except BaseException as error:  # user code: its client is told that it failed, and its log where
            logger.error("%s failed: %s at %s", self.models[0], type(error).__name__, _where(error))
            logger.debug("%s failed", self.models[0], exc_info=error)
            raise program_failed(error) from error

    async def _called(self, call: Callable[[], Any]) -> Any:
        if is_async(self._serve):
            return await call()
        self._threads = self._threads or CapacityLimiter(self._most)
        # Not abandoned when the client leaves: the thread cannot be stopped, and keeps its place until it ends.
        answer = await anyio.to_thread.run_sync(call, limiter=self._threads)
        return await answer if inspect.isawaitable(answer) and not isinstance(answer, ModelOutputThunk) else answer

    async def aclose(self) -> None:
        """Do nothing: what the program opened is the program's."""


def program_failed(error: BaseException) -> RequestRejected:
    """Say to a client that the program failed; of the error its kind alone."""
    return RequestRejected(
        f"The program that is served failed ({type(error).__name__}).", status=500, code="program_failed"
    )


def _where(error: BaseException) -> str:
    """Say where an error was raised; its message may hold a prompt and is not for a log."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "an unknown place" if trace is None else f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"


def _parameters(serve: Callable[..., Any]) -> frozenset[str]:
    taken = list(inspect.signature(serve).parameters.values())
    if not taken or taken[0].kind is inspect.Parameter.KEYWORD_ONLY:
        raise InvalidArgument("`serve` takes no argument; it must take the messages: `def serve(messages): …`.")
    wild = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in taken)
    return frozenset(("model_options", "tools", "schema", "model") if wild else (p.name for p in taken[1:]))


def thunk_of(answer: object) -> ModelOutputThunk[Any]:
    """Make a thunk of what a program returned.

    Raises:
        InvalidArgument: it is no answer.
    """
    match answer:
        case ModelOutputThunk():
            return answer
        case SamplingResult():
            return answer.result
        case str():
            return ComputedModelOutputThunk.of(answer)
        case Message():
            end = Finished(finish_reason="tool_calls" if answer.tool_calls else "stop")
            return ComputedModelOutputThunk.of(answer.content, tool_calls=answer.tool_calls, end=end)
    raise InvalidArgument(
        f"`serve` returned {type(answer).__name__}; return text, a Message, a thunk, or a graph's run (`start(…)`)."
    )
