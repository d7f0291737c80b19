"""Tools: functions that a model may ask for. What goes wrong with one becomes an error whose words a model can read."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, NoReturn, TypeAlias, cast, overload

from ..arguments import listed
from ..content import ToolCall
from ..errors import FunctionFailed, InvalidArgument, ToolError, ToolFailed
from ..home import Home, is_async
from ..thunk import ModelOutputThunk
from .arguments import AnyObject, Arguments, described, named, offered

Confirm: TypeAlias = Callable[[ToolCall], "bool | Awaitable[bool]"]
"""Asked before a tool marked `confirm=True` runs; anything but true means no."""

Tools: TypeAlias = "MelleaTool | Callable[..., Any] | Iterable[MelleaTool | Callable[..., Any]] | None"
"""Tools for a model, one or several: `MelleaTool`s, or plain functions."""


class MelleaTool:
    """A function that a model may ask to have called. Calling the tool calls the function.

    Its name, the description and the JSON schema of its arguments are those of the function: signature, `Annotated`
    and `Field`, and the docstring in Google, NumPy or reST style.

    Args:
        function: What is called, synchronous or asynchronous; a function, a bound method, a `functools.partial`.
        name: What the model calls it; None for the function's own name.
        description: What it is for; None for the docstring's words.
        timeout: Seconds that a call may take; None for no limit. An asynchronous function is then cancelled; the thread
            of a synchronous one cannot be stopped, and is left to itself.
        confirm: Whether somebody has to agree before it runs; see `call_tools` and `react`.
        parameters: JSON schema of the arguments, where the signature does not say it. Arguments are then passed on
            unchecked, by keyword.

    Raises:
        InvalidArgument: it cannot be called by name (`*args`), has no name, or the timeout is not a positive number.

    Example:
        ```python
        from mellea_like import MelleaTool

        def area(width: float, height: float = 1.0) -> float:
            \"\"\"Compute the area of a rectangle.

            Args:
                width: in metres
                height: in metres
            \"\"\"
            return width * height

        print(MelleaTool.from_callable(area).parameters["properties"]["width"])
        ```

    Source: Mellea's `MelleaTool`, https://mellea.ai
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        description: str | None = None,
        timeout: float | None = None,
        confirm: bool = False,
        parameters: Mapping[str, Any] | None = None,
    ) -> None:
        if timeout is not None and not timeout > 0:
            raise InvalidArgument(f"timeout is {timeout!r}; it must be a positive number of seconds, or None.")
        self.function = function
        self.name = named(function, name)
        self.timeout = timeout
        self.confirm = confirm
        self._description = description
        self._parameters = parameters
        if parameters is None:
            offered(function, self.name)  # a mistake is told where the tool is made; pydantic is not needed yet
        functools.update_wrapper(self, function, assigned=("__doc__", "__module__"), updated=())

    @classmethod
    def from_callable(cls, function: Callable[..., Any], name: str | None = None, **settings: Any) -> MelleaTool:
        """Make a tool of a function; `settings` as in the class."""
        return cls(function, name=name, **settings)

    @functools.cached_property
    def _documented(self) -> tuple[str, dict[str, str]]:
        return described(self.function)

    @functools.cached_property
    def _arguments(self) -> Arguments | AnyObject:
        if self._parameters is not None:
            return AnyObject(self._parameters, tool=self.name)
        return Arguments(self.function, tool=self.name, about=self._documented[1])

    @property
    def description(self) -> str:
        """What the tool is for."""
        return self._documented[0] if self._description is None else self._description

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The JSON schema of its arguments."""
        return self._arguments.schema

    @property
    def as_json_tool(self) -> dict[str, Any]:
        """What a model is told of it, in the form that all providers take."""
        function = {"name": self.name, "description": self.description, "parameters": dict(self.parameters)}
        return {"type": "function", "function": function}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    run = __call__

    def __get__(self, instance: object, owner: type | None = None) -> MelleaTool:
        if instance is None:
            return self
        return MelleaTool(
            self.function.__get__(instance, owner),
            name=self.name,
            description=self._description,
            timeout=self.timeout,
            confirm=self.confirm,
            parameters=self._parameters,
        )

    def __repr__(self) -> str:
        return f"MelleaTool({self.name!r})"

    def bound(self, arguments: str) -> Callable[[], Any]:
        """Check a model's arguments, as JSON text, and return the call that they make.

        Raises:
            WrongToolArguments: they do not fit.
            ToolFailed: a validator of the user's raised.
        """
        try:
            args, kwargs = self._arguments.read(arguments)
        except Exception as error:  # pydantic runs the user's own validators, which may raise anything
            self._tell(error)
        return functools.partial(self.function, *args, **kwargs)

    async def answer(self, arguments: str, home: Home) -> str:
        """Check a model's arguments, call the function, write its result down as text; on the library's loop.

        Raises:
            ToolError: one of these went wrong.
            UnsupportedEventLoop: the function is asynchronous, and the loop that made the call has ended.
        """
        # All in one go where the caller is, because all of it may run the user's code.
        work: Callable[[str], Any] = self._awork if is_async(self.function) else self._work
        return cast("str", await self._asked(home, work, arguments))

    async def check(self, arguments: str, home: Home) -> None:
        """Check a model's arguments and call nothing; on the library's loop.

        Raises:
            ToolError: they do not fit, or a validator of the user's raised.
        """
        await self._asked(home, self.bound, arguments)

    async def _asked(self, home: Home, work: Callable[[str], Any], arguments: str) -> Any:
        try:
            return await home.ask(work, arguments)
        except FunctionFailed as error:  # `SystemExit` and its like; the model is told of it as of any other
            self._tell(error.__cause__ or error)

    def _work(self, arguments: str) -> str | Awaitable[str]:
        try:
            result = self.bound(arguments)()
            return self._finished(result) if inspect.isawaitable(result) else self._written(result)
        except Exception as error:  # whatever a tool raises, the model is told
            self._tell(error)

    async def _awork(self, arguments: str) -> str:
        return await self._finished(self.bound(arguments)())

    async def _finished(self, result: Awaitable[Any]) -> str:
        try:
            return self._written(await result)
        except Exception as error:  # whatever a tool raises, the model is told
            self._tell(error)

    def _tell(self, error: BaseException) -> NoReturn:
        """Raise what a tool raised as words for the model; a `ToolError` has its own."""
        if isinstance(error, ToolError):
            error.tool = error.tool or self.name
            raise error
        words = f": {error}" if str(error) else ""
        raise ToolFailed(f"Tool {self.name!r} failed: {type(error).__name__}{words}", tool=self.name) from error

    def _written(self, result: Any) -> str:
        if isinstance(result, str | ModelOutputThunk):
            return str(result)
        from pydantic_core import PydanticSerializationError, to_json

        try:
            return to_json(result).decode()
        except (PydanticSerializationError, ValueError) as error:
            raise ToolFailed(
                f"Tool {self.name!r} ran, but its result, of type {type(result).__name__}, cannot be written as JSON: "
                f"{error}. It may return text, numbers, lists, dicts, dataclasses, pydantic models.",
                tool=self.name,
            ) from error


@overload
def tool(function: Callable[..., Any], /) -> MelleaTool: ...
@overload
def tool(
    *, name: str | None = ..., description: str | None = ..., timeout: float | None = ..., confirm: bool = ...
) -> Callable[[Callable[..., Any]], MelleaTool]: ...
def tool(
    function: Callable[..., Any] | None = None, /, **settings: Any
) -> MelleaTool | Callable[[Callable[..., Any]], MelleaTool]:
    """Make a tool of the decorated function; `@tool`, or `@tool(timeout=5)`.

    Args:
        function: The function; synchronous or asynchronous.
        settings: What else `MelleaTool` takes: `name`, `description`, `timeout` (seconds), `confirm`.

    Returns:
        The tool; with settings alone, a decorator that makes one.

    Raises:
        InvalidArgument: the function cannot be a tool.

    Example:
        ```python
        from mellea_like import tool

        @tool(timeout=2)
        def add(a: int, b: int) -> int:
            \"\"\"Add two numbers.\"\"\"
            return a + b

        print(add.name, add(1, 2))
        ```

    Source: Mellea's `tool`, https://mellea.ai
    """
    if function is None:
        return lambda decorated: MelleaTool(decorated, **settings)
    return MelleaTool(function, **settings)


def tools_by_name(tools: Tools) -> dict[str, MelleaTool]:
    """Sort tools by their names; plain functions are made tools.

    Raises:
        InvalidArgument: two have one name, or one is neither a tool nor a function.
    """
    found: dict[str, MelleaTool] = {}
    for given in listed(tools):
        if not callable(given):
            raise InvalidArgument(f"A tool is a function or a MelleaTool, not {type(given).__name__}: {given!r}.")
        one = given if isinstance(given, MelleaTool) else MelleaTool(given)
        if one.name in found:
            raise InvalidArgument(
                f"Two tools are called {one.name!r}, and a model could not tell them apart: "
                f"{found[one.name].function!r} and {one.function!r}. Rename one: "
                "`MelleaTool.from_callable(function, name='…')`."
            )
        found[one.name] = one
    return found
