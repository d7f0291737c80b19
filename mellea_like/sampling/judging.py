"""How answers are judged: functions of the user's, and models that are asked yes or no, all at once."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, TypeAlias, TypeVar

from ..backends import Backend
from ..chunking import Chunk, Cutter
from ..content import Message, Request
from ..context import Context
from ..engine import in_worker
from ..errors import FunctionFailed, MelleaError, UnsupportedEventLoop
from ..events import Finished
from ..home import Home
from ..options import ModelOption
from ..requirement import Requirement, innermost, simple_validate, verdict, verdict_of
from ..samples import Usage, ValidationResult
from ..template import render_file

R = TypeVar("R")

Tell: TypeAlias = Callable[[ValidationResult], None]
Question: TypeAlias = "tuple[Requirement, str | Context]"
"""A requirement, and what it is to judge: a text, or a context whose last output is the answer."""


def _nobody(verdict: ValidationResult) -> None:
    """Tell nobody."""


YES_OR_NO = {"type": "string", "enum": ["yes", "no"]}
"""What a judging model is held to, as a JSON schema."""


class Judges:
    """Asks requirements for their verdicts; functions on the caller's side, models through their backends.

    Args:
        home: Where the call was made, and the user's functions belong.
        backend: Which model judges where a requirement names none.
        options: Model options for those that judge; those that one cannot honour are left out.
    """

    def __init__(self, home: Home, backend: Backend, options: Mapping[str, Any] | None = None) -> None:
        self._home, self._backend, self._options = home, backend, options or {}
        self.usage: Usage | None = None
        """Tokens that the judging models took."""

    async def ask(self, questions: Sequence[Question], tell: Tell = _nobody) -> list[ValidationResult]:
        """Judge all at once, and return the verdicts in the order of the questions; on the library's loop.

        `tell` is given each verdict as it comes.

        Raises:
            UnsupportedEventLoop: a function is asynchronous, and the loop that made the call cannot run it.
        """
        verdicts: dict[int, ValidationResult] = {}

        def note(number: int, verdict: ValidationResult) -> None:
            verdicts[number] = verdict
            tell(verdict)

        quick = [i for i, (requirement, _) in enumerate(questions) if not requirement.awaits]
        work = [self._one(i, *asked, note) for i, asked in enumerate(questions) if asked[0].awaits]
        if quick:
            work.append(self._together({i: questions[i] for i in quick}, note))
        await all_of(work)
        return [verdicts[i] for i in range(len(questions))]

    async def off_loop(self, work: Callable[[], R]) -> R:
        """Run what may be the user's code in a worker thread, with the caller's context variables."""
        return await in_worker(work, context=self._home.variables.copy())

    async def _together(self, questions: dict[int, Question], note: Callable[[int, ValidationResult], None]) -> None:
        """Ask all the synchronous functions in one hop to a worker thread."""
        said = await self.off_loop(lambda: [_said(*question) for question in questions.values()])
        for (i, (requirement, _)), answer in zip(questions.items(), said, strict=True):
            if answer is not True and inspect.isawaitable(answer):  # a lambda that returns a coroutine
                answer = await self._guarded(lambda answer=answer: answer)
            note(i, verdict_of(requirement, answer))

    async def _one(
        self, i: int, requirement: Requirement, subject: str | Context, note: Callable[[int, ValidationResult], None]
    ) -> None:
        fn = requirement.validation_fn
        if fn is None:
            note(i, await self._model(requirement, str(subject)))
            return
        note(i, verdict_of(requirement, await self._guarded(innermost(fn), subject)))

    async def _guarded(self, function: Callable[..., Any], *args: Any) -> Any:
        try:
            return await self._home.ask(function, *args)
        except UnsupportedEventLoop:  # it could not be asked, so there is no verdict
            raise
        except FunctionFailed as error:
            return error.__cause__ or error
        except Exception as error:  # the user's function may raise anything; it becomes the verdict
            return error

    async def _model(self, requirement: Requirement, text: str) -> ValidationResult:
        backend = requirement.judge or self._backend
        try:
            said = await self._said_by_model(backend, requirement.description, text)
        except MelleaError as error:
            return verdict(requirement, result=None, reason=f"The judging model failed: {error}", error=error)
        word = re.search(r"[a-z]+", said.lower())
        result = {"yes": True, "no": False}.get(word.group() if word else "")
        reason = "The judging model says no." if result is False else None
        if result is None:
            reason = f"The judging model says neither yes nor no, but {said[:80]!r}."
        return verdict(requirement, result=result, reason=reason)

    async def _said_by_model(self, backend: Backend, requirement: str, text: str) -> str:
        prompt = render_file("judge.jinja2", {"requirement": requirement, "answer": text})
        wanted: dict[str, Any] = {ModelOption.TEMPERATURE: 0.0} if backend.honours(ModelOption.TEMPERATURE) else {}
        chosen = {name: value for name, value in self._options.items() if backend.honours(name)}
        system = [Message("system", told)] if (told := chosen.pop(ModelOption.SYSTEM_PROMPT, None)) else []
        options = backend.resolve(wanted, chosen)
        request = Request(messages=(*system, Message("user", prompt)), options=options, schema=YES_OR_NO)
        pieces: list[str] = []
        async with aclosing(backend.stream(request)) as stream:
            async for said in stream:
                if isinstance(said, str):
                    pieces.append(said)
                elif isinstance(said, Finished) and said.usage is not None:
                    self.usage = said.usage if self.usage is None else self.usage + said.usage
        return "".join(pieces)


def _said(requirement: Requirement, subject: Any) -> Any:
    assert requirement.validation_fn is not None
    try:
        return requirement.validation_fn(subject)
    except BaseException as error:  # as above
        return error


async def all_of(work: Sequence[Coroutine[Any, Any, R]]) -> list[R]:
    """Await all at once and return their results in order; where one raises, the others are stopped first."""
    if len(work) == 1:  # nearly always; a task of its own would cost more than the work
        return [await work[0]]
    tasks = [asyncio.create_task(one) for one in work]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        raise


class ChunkWatch:
    """A requirement that judges an answer chunk by chunk while it grows."""

    def __init__(self, requirement: Requirement) -> None:
        assert requirement.chunking is not None
        self.requirement = requirement
        self.verdict = verdict(requirement, result=True)
        """The verdict on the chunks so far: the first that did not pass decides."""
        self._cutter = Cutter(requirement.chunking)
        self._waiting: list[Chunk] = []

    def feed(self, text: str) -> None:
        """Take more of the answer."""
        self._waiting += self._cutter.feed(text)

    def close(self) -> None:
        """Say that the answer has ended, which closes its last chunk."""
        self._waiting += self._cutter.flush()

    async def judge(self, judges: Judges) -> bool:
        """Judge what waits, all at once; False where nothing does."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            verdicts = await judges.ask([(self.requirement, chunk) for chunk in waiting])
            self.verdict = next((v for v in verdicts if not v), self.verdict)
        return bool(waiting)


class GrowthWatch:
    """Looks at an answer while it grows for what makes it hopeless; whether it is good is judged at its end.

    Args:
        begin: Makes the function that is given new text and says what is wrong.
        wrong: Makes the verdict of that, or of what the function raised.
    """

    def __init__(
        self, begin: Callable[[], Callable[[str], str | None]], wrong: Callable[[str | BaseException], ValidationResult]
    ) -> None:
        self.verdict = ValidationResult(result=True)
        """Whether it is hopeless."""
        self._begin, self._wrong = begin, wrong
        self._look: Callable[[str], str | None] | None = None
        self._waiting: list[str] = []

    def feed(self, text: str) -> None:
        """Take more of the answer."""
        self._waiting.append(text)

    def close(self) -> None:
        """Look no more: the whole is judged in another way."""
        self._waiting.clear()

    async def judge(self, judges: Judges) -> bool:
        """Look at what waits; False where nothing does."""
        text = "".join(self._waiting)
        self._waiting.clear()
        if text and (problem := await judges.off_loop(lambda: self._looked(text))) is not None:
            self.verdict = self._wrong(problem)
        return bool(text)

    def _looked(self, text: str) -> str | BaseException | None:
        try:
            if self._look is None:
                self._look = self._begin()
            return self._look(text)
        except BaseException as error:  # the user's function may raise anything; it becomes the verdict
            return error


Watch: TypeAlias = ChunkWatch | GrowthWatch


def watch_of(requirement: Requirement) -> Watch | None:
    """Return what watches an answer grow for a requirement, None where it judges the whole only."""
    if requirement.chunking is not None:
        return ChunkWatch(requirement)
    if requirement.growing is None:
        return None

    def wrong(problem: str | BaseException) -> ValidationResult:
        return verdict_of(requirement, problem if isinstance(problem, BaseException) else (False, problem))

    return GrowthWatch(requirement.growing, wrong)


async def look(watches: Sequence[Watch], judges: Judges) -> bool:
    """Judge what has grown, all at once; False where nothing has."""
    return any(await all_of([watch.judge(judges) for watch in watches]))


async def judge(
    requirements: Sequence[Requirement], text: str, context: Callable[[], Context], judges: Judges
) -> list[ValidationResult]:
    """Judge a whole answer by every requirement, those that judge by the chunk included.

    Args:
        requirements: What it must satisfy.
        text: The answer's text.
        context: Builds a context whose last output is the answer; called only where a requirement's function wants it.
        judges: Whom to ask.
    """
    watches = {i: ChunkWatch(r) for i, r in enumerate(requirements) if r.chunking is not None}
    for watch in watches.values():
        watch.feed(text)
        watch.close()
    work: list[Coroutine[Any, Any, Any]] = [look(list(watches.values()), judges)]
    work.append(judges.ask(questions(requirements, text, context)))
    _, verdicts = await all_of(work)
    left = iter(verdicts)
    return [watches[i].verdict if i in watches else next(left) for i in range(len(requirements))]


def questions(requirements: Iterable[Requirement], text: str, context: Callable[[], Context]) -> list[Question]:
    """Say what each requirement that judges the whole answer is called with: most need but its text."""
    asked: list[Question] = []
    built: Context | None = None
    for requirement in requirements:
        if requirement.chunking is not None:
            continue
        if requirement.validation_fn is None or isinstance(requirement.validation_fn, simple_validate):
            asked.append((requirement, text))
        else:
            built = context() if built is None else built
            asked.append((requirement, built))
    return asked
