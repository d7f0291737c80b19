"""Finding and reading prompt files; each is read once, and again when it was edited."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ..content import Message
from ..errors import InvalidArgument, MelleaError, unknown_name
from ..parts import images_in, settled
from .filling import MessageText, missing
from .marked_yaml import MarkedYaml, read_yaml, validated

if TYPE_CHECKING:
    from .file_form import PromptForm

PROMPTS_VARIABLE = "MELLEA_LIKE_PROMPTS"
FOLDER = "prompts"
ENDINGS = (".yaml", ".yml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A prompt file that has been read: its messages, its model, and the type of its answer.

    Args:
        name: What it is called: the file's name without its ending.
        path: The file.
        system: The parts of the system message; they stand below each other.
        user: The user's message.
        provider: The provider that the file names, None where it leaves that open.
        model: The model that the file names.
        temperature: The temperature that the file names.
        model_options: Further options for the model.
        format: The type of the answer, None for text.
        defaults: What declared variables are where they are not given.
        required: The declared variables that must be given, each with its line.
    """

    name: str
    path: str
    user: MessageText
    system: tuple[MessageText, ...] = ()
    provider: str | None = None
    model: str | None = None
    temperature: float | None = None
    model_options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    format: type[Any] | None = None
    defaults: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    required: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def texts(self) -> tuple[MessageText, ...]:
        """The messages' texts, in the order in which they are said."""
        return (*self.system, self.user)

    def variables(self) -> Mapping[str, int]:
        """Return the variables that must be given, declared or found, each with the line that wants it.

        Raises:
            TemplateError: a message is a Jinja template with a mistake in it.
        """
        found: dict[str, int] = {}
        for text in self.texts:
            found = {**text.needs(), **found}
        return {name: line for name, line in {**found, **self.required}.items() if name not in self.defaults}

    def filled(self, variables: Mapping[str, Any] | None = None) -> FilledPrompt:
        """Give the prompt its variables; those that it does not need are fine.

        Raises:
            TemplateError: a variable is missing; the message names it, the file and the line.
        """
        given = {**self.defaults, **(variables or {})}
        for name, line in self.variables().items():
            if name not in given:
                text = next((text for text in self.texts if name in text.needs()), self.user)
                raise missing(name, line, text, given)
        return FilledPrompt(prompt=self, variables=given)


@dataclass(frozen=True, slots=True, kw_only=True)
class FilledPrompt:
    """A prompt with its variables: a component, which is rendered when the thunks among them have ended."""

    prompt: Prompt
    variables: Mapping[str, Any]

    def parts(self) -> Sequence[object]:
        """Give the variables' values."""
        return tuple(self.variables.values())

    def messages(self) -> Sequence[Message]:
        """Render the system message, where there is one, and the user's.

        Raises:
            TemplateError: a message cannot be filled in.
        """
        variables = settled(self.variables)
        system = "\n\n".join(text.filled(variables) for text in self.prompt.system)
        user = Message("user", self.prompt.user.filled(variables), images=images_in(self.parts()))
        return (Message("system", system), user) if system else (user,)


def load_prompt(
    name: str | PathLike[str],
    *,
    prompts_dir: str | PathLike[str] | None = None,
    graph_path: str | PathLike[str] | None = None,
) -> Prompt:
    """Find a prompt file and read it.

    A name that is a path (it ends in `.yaml` or `.yml`, or is a `Path`) is that file. Any other name, such as `greet`
    or `mail/reply`, is looked for in `prompts_dir`, in `prompts/` beside the graph file, in `prompts/` under the
    current folder, then in the folders that the environment variable `MELLEA_LIKE_PROMPTS` lists; the first is taken.

    Args:
        name: The prompt's name, or its path.
        prompts_dir: A folder of prompts to look in first.
        graph_path: The graph file that names the prompt; paths in it are relative to its folder.

    Raises:
        UnknownName: there is no such prompt; the message lists where it was looked for, and the prompts that are there.
        InvalidFile: the file has mistakes; each is told with its line.

    Example:
        ```python
        import tempfile
        from pathlib import Path
        from mellea_like import load_prompt

        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "greet.yaml").write_text("user: Greet {name}.")
            print(load_prompt("greet", prompts_dir=folder).variables())
        ```

    Source: yamlgraph's prompt files.
    """
    path = find_prompt(name, prompts_dir=prompts_dir, graph_path=graph_path)
    return _read(path, path.stat().st_mtime_ns)


def find_prompt(
    name: str | PathLike[str],
    *,
    prompts_dir: str | PathLike[str] | None = None,
    graph_path: str | PathLike[str] | None = None,
) -> Path:
    """Find a prompt file; see `load_prompt`.

    Raises:
        UnknownName: there is no such prompt.
    """
    if not str(name):
        raise InvalidArgument("A prompt has a name, or a path; this one is empty.")
    beside = None if graph_path is None else Path(graph_path).parent
    if isinstance(name, PathLike) or name.endswith(ENDINGS):
        looked = [*([] if beside is None else [beside / name]), Path(name)]
        looked += [folder / name for folder in folders(prompts_dir, beside)]
    else:
        looked = [folder / f"{name}{end}" for folder in folders(prompts_dir, beside) for end in ENDINGS]
    for path in looked:
        if path.is_file():
            return path.absolute()
    places = ", ".join(f"'{place}'" for place in dict.fromkeys(path.parent for path in looked))
    raise unknown_name("prompt", name, _there(folders(prompts_dir, beside)), hint=f"Looked in: {places}.")


def folders(prompts_dir: str | PathLike[str] | None, beside: Path | None) -> Iterator[Path]:
    """Give the folders that prompts are looked for in, first to last."""
    if prompts_dir is not None:
        if beside is not None:
            yield beside / prompts_dir
        yield Path(prompts_dir)
    if beside is not None:
        yield beside / FOLDER
    yield Path(FOLDER)
    listed = os.environ.get(PROMPTS_VARIABLE, "")
    yield from (Path(folder) for folder in listed.split(os.pathsep) if folder)


def _there(places: Iterator[Path]) -> list[str]:
    found = (
        (folder, path)
        for folder in places
        if folder.is_dir()
        for path in folder.rglob("*.y*ml")
        if path.suffix in ENDINGS
    )
    return sorted({path.relative_to(folder).with_suffix("").as_posix() for folder, path in found})


@lru_cache(maxsize=256)
def _read(path: Path, _edited: int) -> Prompt:
    from .file_form import PromptForm

    marked = read_yaml(path)
    return _built(validated(PromptForm, marked), marked)


def _built(form: PromptForm, marked: MarkedYaml) -> Prompt:
    user = "user" if ("user",) in marked.texts else "template"
    options = dict(form.model_options)
    if form.max_tokens is not None:
        options["max_tokens"] = form.max_tokens
    declared = form.variables
    defaults = {name: of.default for name, of in declared.items() if "default" in of.model_fields_set}
    optional = {name for name, of in declared.items() if of.required is False}
    return Prompt(
        name=form.name or Path(marked.path).stem,
        path=marked.path,
        system=tuple(_system(form, marked)),
        user=MessageText(text=form.user, path=marked.path, field=user, line=marked.texts.get((user,), 1)),
        provider=form.provider,
        model=form.model,
        temperature=form.temperature,
        model_options=options,
        format=_format(form, marked),
        defaults=defaults | dict.fromkeys(optional - set(defaults)),
        required={n: marked.line(("variables", n)) for n in declared if n not in defaults and n not in optional},
    )


def _system(form: PromptForm, marked: MarkedYaml) -> Iterator[MessageText]:
    key = "system" if form.system is not None else "system_segments"
    said = form.system if form.system is not None else form.system_segments
    if isinstance(said, str):
        yield MessageText(text=said, path=marked.path, field=key, line=marked.texts.get((key,), 1))
        return
    for at, segment in enumerate(said or ()):
        text, place = (segment, (key, at)) if isinstance(segment, str) else (segment.content, (key, at, "content"))
        yield MessageText(text=text, path=marked.path, field=key, line=marked.texts.get(place, 1))


def _format(form: PromptForm, marked: MarkedYaml) -> type[Any] | None:
    from .file_form import model_of, model_of_json_schema

    place = "schema" if form.answer is not None else "output_schema"
    try:
        if form.answer is not None:
            return model_of(form.answer)
        return None if form.output_schema is None else model_of_json_schema(form.output_schema)
    except (MelleaError, TypeError, ValueError) as error:  # pydantic says so where a type takes no such constraint
        raise marked.refused([marked.fault((place,), f"{place}: {error}", code="schema")]) from error
