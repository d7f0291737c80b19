"""A session: a backend, a context, and the verbs that ask for things; a thin thing over `functional`.

Every verb starts its generation at once and makes a thunk; awaiting verbs wait for it. The synchronous verbs are the
asynchronous ones, driven in the caller's thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Unpack, overload

from ..agent import Reacting, start_react
from ..content import Images, Message, Role
from ..parts import Sayable
from ..requirement import Requirements, requirements_of
from ..samples import ValidationResult
from ..sampling import SamplingResult, SamplingStrategy
from ..thunk import ComputedModelOutputThunk, ModelOutputThunk
from ..tools import Confirm, Tools
from ..waiting import blocking
from .functional import (
    DEFAULT_STRATEGY,
    Acting,
    Chatting,
    OnFailure,
    Prompting,
    Transforming,
    awaited,
    begin,
    expect,
    given,
    instruction,
    judging,
    prepare,
    question,
    sampled,
    transformation_of,
    transformed,
    turn,
)
from .keeping import Keeping

if TYPE_CHECKING:
    from typing_extensions import TypeForm

T = TypeVar("T")


class MelleaSession(Keeping):
    """A backend, a context and the verbs over them; `start_session` makes one.

    Use it as a context manager, synchronous or asynchronous: leaving stops what still runs and closes what the session
    opened. One session serves any number of threads and event loops.

    Example:
        ```python
        from mellea_like import FakeBackend, MelleaSession

        with MelleaSession(FakeBackend(answers="Hello!"), owns_backend=True) as m:
            print(m.instruct("Say hello."))
        ```

    Source: Mellea's `MelleaSession`, https://mellea.ai
    """

    # --- verbs ------------------------------------------------------------------------------------------------------

    @overload
    async def ainstruct(
        self, description: str, *, await_result: Literal[True] = ..., **rest: Unpack[Prompting]
    ) -> ComputedModelOutputThunk[str]: ...
    @overload
    async def ainstruct(
        self, description: str, *, await_result: Literal[False], **rest: Unpack[Prompting]
    ) -> ModelOutputThunk[str]: ...
    @overload
    async def ainstruct(
        self, description: str, *, format: TypeForm[T], await_result: Literal[True] = ..., **rest: Unpack[Prompting]
    ) -> ComputedModelOutputThunk[T]: ...
    @overload
    async def ainstruct(
        self, description: str, *, format: TypeForm[T], await_result: Literal[False], **rest: Unpack[Prompting]
    ) -> ModelOutputThunk[T]: ...
    @overload
    async def ainstruct(
        self, description: str, *, return_sampling_results: Literal[True], **rest: Unpack[Prompting]
    ) -> SamplingResult[str]: ...
    @overload
    async def ainstruct(
        self,
        description: str,
        *,
        format: TypeForm[T],
        return_sampling_results: Literal[True],
        **rest: Unpack[Prompting],
    ) -> SamplingResult[T]: ...
    async def ainstruct(
        self,
        description: str,
        *,
        requirements: Requirements = (),
        icl_examples: object = (),
        grounding_context: Mapping[str, object] | None = None,
        user_variables: Mapping[str, object] | None = None,
        prefix: str | None = None,
        images: Images = (),
        strategy: SamplingStrategy | None = DEFAULT_STRATEGY,
        on_failure: OnFailure = "return",
        format: TypeForm[Any] | None = None,  # noqa: A002  # Mellea's name
        model_options: Mapping[str, Any] | None = None,
        tool_calls: bool | None = None,
        return_sampling_results: bool = False,
        await_result: bool = True,
    ) -> ModelOutputThunk[Any] | SamplingResult[Any]:
        """Ask the model to carry out `description`.

        The generation starts at once. When an awaited call is cancelled or interrupted, so is its generation.

        Args:
            description: What to do. With `user_variables`, a Jinja template: `{{ name }}` is filled in.
            requirements: What the answer must satisfy, one or several: `Requirement`s, sentences that a model judges
                by, or functions of the text. Sentences are told to the model, unless made by `check`; with
                `user_variables` they are templates, too.
            icl_examples: Examples of good answers, or one.
            grounding_context: Texts to work from, by name; data, never rendered as templates.
            user_variables: Values for the templates. A thunk among them is awaited before the prompt is rendered.
            prefix: How the answer is to begin.
            images: Images that go with the instruction, one or several, for models that see.
            strategy: What is done when an answer does not pass. By default, with requirements, two attempts at most.
                None makes one attempt, which streams live and is judged at its end.
            on_failure: When no attempt passes: `"return"` the one that the strategy keeps, with `success` False, or
                `"raise"` `RequirementsNotMet`.
            format: A type that the answer is to have, as its JSON: a pydantic model, a dataclass, `list[int]`, ….
            model_options: `ModelOption` names or plain keys, over those of the session.
            tool_calls: Whether the tools in `ModelOption.TOOLS` are offered to the model; None offers those there are.
            return_sampling_results: Return the `SamplingResult` with every attempt.
            await_result: False returns the running thunk at once, to be streamed. Under a strategy its plain readers
                get the accepted text after the verdict, and its `events()` every attempt live.

        Returns:
            The computed thunk; with `await_result=False` the running one. `.value` is the text, `.parsed` the object
            of type `format`, `.success` and `.validations` the verdicts.

        Raises:
            WrongUse: the call is mistaken: an unknown option, a template without its variable, a closed session.
            BackendError: the backend failed; with `await_result=False`, raised to readers of the thunk.
            OutputParseError: the answer is not of type `format`.
            RequirementsNotMet: no attempt passed, and `on_failure` is `"raise"`.

        Example:
            ```python
            from mellea_like import start_session

            with start_session("fake", answers="Hi, Ana!") as m:
                answer = m.instruct("Greet {{ who }}.", user_variables={"who": "Ana"}, requirements=[str.istitle])
                print(answer.value, answer.success)
            ```

        Source: Mellea's `instruct`, https://mellea.ai
        """
        samples = sampled(return_sampling_results=return_sampling_results, await_result=await_result)
        wanted = requirements_of(requirements)
        said = instruction(
            description,
            requirements=wanted,
            icl_examples=icl_examples,
            grounding_context=grounding_context,
            user_variables=user_variables,
            prefix=prefix,
            images=images,
        )
        thunk = self._say(
            said,
            requirements=wanted,
            strategy=strategy,
            on_failure=on_failure,
            format=format,
            model_options=model_options,
            tool_calls=tool_calls,
            samples=samples,
        )
        return await given(thunk, samples=samples, await_result=await_result)

    @overload
    async def aact(
        self, action: Sayable, *, await_result: Literal[True] = ..., **rest: Unpack[Acting]
    ) -> ComputedModelOutputThunk[str]: ...
    @overload
    async def aact(
        self, action: Sayable, *, await_result: Literal[False], **rest: Unpack[Acting]
    ) -> ModelOutputThunk[str]: ...
    @overload
    async def aact(
        self, action: Sayable, *, format: TypeForm[T], await_result: Literal[True] = ..., **rest: Unpack[Acting]
    ) -> ComputedModelOutputThunk[T]: ...
    @overload
    async def aact(
        self, action: Sayable, *, format: TypeForm[T], await_result: Literal[False], **rest: Unpack[Acting]
    ) -> ModelOutputThunk[T]: ...
    @overload
    async def aact(
        self, action: Sayable, *, return_sampling_results: Literal[True], **rest: Unpack[Acting]
    ) -> SamplingResult[str]: ...
    @overload
    async def aact(
        self, action: Sayable, *, format: TypeForm[T], return_sampling_results: Literal[True], **rest: Unpack[Acting]
    ) -> SamplingResult[T]: ...
    async def aact(
        self,
        action: Sayable,
        *,
        return_sampling_results: bool = False,
        await_result: bool = True,
        **rest: Any,
    ) -> ModelOutputThunk[Any] | SamplingResult[Any]:
        """Say `action` to the model: text, a `Message`, a component, or the thunk of an earlier call.

        Args:
            action: What to say. A thunk, or one inside a component, is awaited before the prompt is rendered.
            return_sampling_results: As for `ainstruct`.
            await_result: False returns the running thunk at once, to be streamed.
            rest: `requirements`, `strategy`, `on_failure`, `format`, `model_options`, `tool_calls`, as for
                `ainstruct`; the requirements are judged, and not told to the model.

        Returns:
            As for `ainstruct`; where the action is a component that parses its answers, `.parsed` is what it made.

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
        expect("act", rest)
        samples = sampled(return_sampling_results=return_sampling_results, await_result=await_result)
        thunk = self._say(action, samples=samples, **rest)
        return await given(thunk, samples=samples, await_result=await_result)

    @overload
    async def achat(
        self, content: str, role: Role = ..., *, await_result: Literal[True] = ..., **rest: Unpack[Chatting]
    ) -> Message: ...
    @overload
    async def achat(
        self, content: str, role: Role = ..., *, await_result: Literal[False], **rest: Unpack[Chatting]
    ) -> ModelOutputThunk[Message]: ...
    async def achat(
        self,
        content: str,
        role: Role = "user",
        *,
        images: Images = (),
        user_variables: Mapping[str, object] | None = None,
        await_result: bool = True,
        **rest: Any,
    ) -> Message | ModelOutputThunk[Message]:
        """Say one turn of a chat and get the assistant's.

        With a `ChatContext` the model sees the conversation so far; with a `SimpleContext` only this turn.

        Args:
            content: The turn's text; with `user_variables`, a Jinja template.
            role: Who says it.
            images: Images that go with the text, one or several.
            user_variables: As for `ainstruct`.
            await_result: False returns the running thunk at once, to be streamed; its `parsed` is the `Message`.
            rest: `requirements`, `strategy`, `on_failure`, `format`, `model_options`, `tool_calls`, as for `aact`.

        Returns:
            The assistant's `Message`; with `format` its `parsed` is the object.

        Raises:
            WrongUse: the call is mistaken.
            BackendError: the backend failed.
            OutputParseError: the answer is not of type `format`.

        Example:
            ```python
            from mellea_like import ChatContext, start_session

            with start_session("fake", ctx=ChatContext(), answers="Hello!") as m:
                print(m.chat("Hi").content)
            ```
        """
        expect("chat", rest)
        said = turn(content, role=role, images=images, user_variables=user_variables)
        thunk: ModelOutputThunk[Message] = self._say(said, reply=True, **rest)
        return (await awaited(thunk)).parsed if await_result else thunk

    @overload
    async def aquery(
        self, obj: object, query: str, *, await_result: Literal[True] = ..., **rest: Unpack[Acting]
    ) -> ComputedModelOutputThunk[str]: ...
    @overload
    async def aquery(
        self, obj: object, query: str, *, await_result: Literal[False], **rest: Unpack[Acting]
    ) -> ModelOutputThunk[str]: ...
    @overload
    async def aquery(
        self, obj: object, query: str, *, format: TypeForm[T], await_result: Literal[True] = ..., **rest: Unpack[Acting]
    ) -> ComputedModelOutputThunk[T]: ...
    @overload
    async def aquery(
        self, obj: object, query: str, *, format: TypeForm[T], await_result: Literal[False], **rest: Unpack[Acting]
    ) -> ModelOutputThunk[T]: ...
    async def aquery(self, obj: object, query: str, *, await_result: bool = True, **rest: Any) -> ModelOutputThunk[Any]:
        """Ask the model a question about an object: anything; `mify` says how it reads.

        Args:
            obj: What is asked about.
            query: The question.
            await_result: False returns the running thunk at once, to be streamed.
            rest: As for `aact`.

        Returns:
            As for `ainstruct`.

        Raises:
            WrongUse: the call is mistaken.
            BackendError: the backend failed.

        Example:
            ```python
            from mellea_like import start_session

            with start_session("fake", answers="4") as m:
                print(m.query([1, 4, 2], "Which is the largest?"))
            ```

        Source: Mellea's `query`, https://mellea.ai
        """
        expect("query", rest)
        thunk = self._say(question(obj, query), **rest)
        return await awaited(thunk) if await_result else thunk

    async def atransform(self, obj: object, transformation: str, **rest: Unpack[Transforming]) -> Any:
        """Have the model change an object; the object itself stays as it is.

        The object's methods are offered to the model as tools. Where it calls one, that is called, once.

        Args:
            obj: What is to be changed: anything; `mify` says how it reads, and which methods go with it.
            transformation: The wish.
            rest: `requirements`, `strategy`, `on_failure`, `format`, `model_options`, as for `aact`.

        Returns:
            What the called method returned; else the computed thunk, whose `.parsed` is what the object made of the
            answer.

        Raises:
            WrongUse: the call is mistaken.
            BackendError: the backend failed.
            ToolError: the model called a method in a way that cannot be carried out.

        Example:
            ```python
            from mellea_like import start_session

            with start_session("fake", answers="b, a") as m:
                print(m.transform("a, b", "Turn it around.").value)
            ```

        Source: Mellea's `transform`, https://mellea.ai
        """
        expect("transform", rest)
        wish = transformation_of(obj, transformation)
        answer = await awaited(self._say(wish, tool_calls=True, **rest))
        return (await awaited(transformed(wish, answer.tool_calls[0]))).parsed if answer.tool_calls else answer

    async def avalidate(
        self,
        requirements: Requirements,
        *,
        output: str | ModelOutputThunk[Any] | None = None,
        model_options: Mapping[str, Any] | None = None,
    ) -> list[ValidationResult]:
        """Judge an answer by requirements.

        Args:
            requirements: As for `ainstruct`.
            output: The answer, as a thunk or its text; None takes the last of the session's context.
            model_options: `ModelOption` names or plain keys, for the model that judges.

        Returns:
            The verdicts, in the order of the requirements. A function that raises has not passed the answer; the
            exception is in its verdict.

        Raises:
            InvalidArgument: there is no answer to judge.

        Example:
            ```python
            from mellea_like import start_session

            with start_session("fake") as m:
                print(m.validate([str.islower], output="all lower"))
            ```

        Source: Mellea's `validate`, https://mellea.ai
        """
        thunk = ModelOutputThunk[list[ValidationResult]].start(
            judging(requirements, self.ctx, self.backend, output=output, model_options=model_options),
            among=self._runs,
        )
        return (await awaited(thunk)).parsed

    @overload
    async def areact(
        self, goal: Sayable, *, await_result: Literal[True] = ..., **rest: Unpack[Reacting]
    ) -> ComputedModelOutputThunk[str]: ...
    @overload
    async def areact(
        self, goal: Sayable, *, await_result: Literal[False], **rest: Unpack[Reacting]
    ) -> ModelOutputThunk[str]: ...
    @overload
    async def areact(
        self, goal: Sayable, *, format: TypeForm[T], await_result: Literal[True] = ..., **rest: Unpack[Reacting]
    ) -> ComputedModelOutputThunk[T]: ...
    @overload
    async def areact(
        self, goal: Sayable, *, format: TypeForm[T], await_result: Literal[False], **rest: Unpack[Reacting]
    ) -> ModelOutputThunk[T]: ...
    async def areact(
        self,
        goal: Sayable,
        *,
        tools: Tools,
        loop_budget: int = 10,
        confirm: Confirm | None = None,
        native: bool | None = None,
        format: TypeForm[Any] | None = None,  # noqa: A002  # Mellea's name
        model_options: Mapping[str, Any] | None = None,
        await_result: bool = True,
    ) -> ModelOutputThunk[Any]:
        """Let the model use tools, turn by turn, until it has an answer; see `react` for the arguments.

        Returns:
            The computed thunk of the answer; with `await_result=False` the running one, whose `events()` show every
            turn as it happens.

        Raises:
            InvalidArgument: the budget is below 1, two tools have one name, a tool has to be confirmed and nobody is
                asked.
            LoopBudgetExhausted: all turns are taken.
            BackendError: the backend failed.

        Example:
            ```python
            from mellea_like import Answer, ToolCallEvent, start_session

            def add(a: int, b: int) -> int:
                return a + b

            wish = Answer([ToolCallEvent(id="1", name="add", arguments='{"a": 1, "b": 2}', complete=True)])
            with start_session("fake", answers=[wish, "It is 3."]) as m:
                print(m.react("What is 1 + 2?", tools=[add]))
            ```

        Source: ReAct, Yao et al. 2022, arXiv:2210.03629
        """
        self._refuse_closed()
        with self._turn:
            thunk, self.ctx = start_react(
                goal,
                self.ctx,
                self.backend,
                tools=tools,
                loop_budget=loop_budget,
                wanted=format,
                model_options=model_options,
                defaults=self.model_options,
                confirm=confirm,
                native=native,
                among=self._runs,
            )
        return await awaited(thunk) if await_result else thunk

    instruct = blocking(ainstruct)
    act = blocking(aact)
    chat = blocking(achat)
    query = blocking(aquery)
    transform = blocking(atransform)
    validate = blocking(avalidate)
    react = blocking(areact)

    def _say(self, said: Sayable, **rest: Any) -> ModelOutputThunk[Any]:
        """Start the generation that answers `said`, and remember both."""
        self._refuse_closed()
        with self._turn:
            call = prepare(said, self.ctx, self.backend, defaults=self.model_options, **rest)
            thunk, self.ctx = begin(call, among=self._runs)
            self._prompt = call.prompt
        return thunk
