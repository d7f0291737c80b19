"""YAML files read with the line of everything in them, so that a mistake is reported where it is written.

Only plain values are built (`yaml.SafeLoader`); a key that is written twice is a mistake, not a replacement.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, get_args

from ..errors import InvalidFile, unknown_name

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError
    from yaml.nodes import Node

Place: TypeAlias = tuple[str | int, ...]
"""Where something stands in a file: keys and positions from the top."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One mistake in a file: the line, counted from 1, what is wrong, and a word for its kind.

    A warning may be meant; a file with any other fault is not run.
    """

    line: int
    text: str
    code: str = "invalid"
    warning: bool = False

    def __str__(self) -> str:
        return f"line {self.line}: {self.text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkedYaml:
    """What a YAML file says, and where.

    Args:
        value: The whole of it, as plain Python values.
        path: The file, for messages.
        lines: The line of each key and item, counted from 1, by its place.
        texts: The line on which the text of each string begins; for a block (`|`), the line after the mark.
    """

    value: Any
    path: str
    lines: Mapping[Place, int]
    texts: Mapping[Place, int]

    def line(self, place: Sequence[str | int]) -> int:
        """Return the line of a place, or of the nearest thing around it that is written in the file."""
        around = tuple(place)
        while around and around not in self.lines:
            around = around[:-1]
        return self.lines.get(around, 1)

    def fault(self, place: Sequence[str | int], text: str, *, code: str = "invalid") -> Fault:
        """Build the fault for what is wrong at a place."""
        return Fault(line=self.line(place), text=text, code=code)

    def faults_of(self, error: ValidationError, kind: type[BaseModel]) -> list[Fault]:
        """List what pydantic finds wrong with the file as a `kind`, each with its line."""
        found = error.errors(include_url=False, include_context=False, include_input=False)
        return [self.fault(p["loc"], _told(p["type"], p["loc"], p["msg"], kind), code="schema") for p in found]

    def refused(self, faults: Iterable[Fault]) -> InvalidFile:
        """Build the error that tells all faults, in the order of their lines."""
        return refused(self.path, faults)


def refused(path: str, faults: Iterable[Fault]) -> InvalidFile:
    """Build the error for a file with faults, in the order of their lines."""
    listed = tuple(sorted(faults, key=lambda fault: fault.line))
    said = "; ".join(map(str, listed))
    return InvalidFile(f"{path!r}, {said}", path=path, line=listed[0].line, faults=listed)


def _told(fault: str, place: Place, message: str, kind: type[BaseModel]) -> str:
    if fault == "extra_forbidden":
        *above, key = place
        return f"{_dotted(above)}: {unknown_name('key', key, _keys_at(above, kind))}"
    return f"{_dotted(place)}: {message.removeprefix('Value error, ')}"


def _keys_at(place: Sequence[str | int], kind: type[BaseModel]) -> set[str]:
    """List the keys that the models at a place of a file know."""
    kinds = [kind]
    for step in place:
        fields = [f for k in kinds for name, f in k.model_fields.items() if step in {name, f.alias}]
        kinds = [model for f in fields for model in _models_in(f.annotation)] or kinds
    return {field.alias or name for kind in kinds for name, field in kind.model_fields.items()}


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    from pydantic import BaseModel

    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)


def _dotted(place: Sequence[str | int]) -> str:
    return ".".join(map(str, place)) or "the file"


def read_yaml(path: Path) -> MarkedYaml:
    """Read a YAML file that holds a mapping.

    Raises:
        InvalidFile: it cannot be read, is not YAML, is not a mapping, or writes a key twice.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeError) as error:
        raise refused(str(path), [Fault(line=1, text=f"the file cannot be read: {error}")]) from error
    return parse_yaml(text, str(path))


def parse_yaml(text: str, path: str) -> MarkedYaml:
    """Read YAML text; `path` is what messages call it.

    Raises:
        InvalidFile: as for `read_yaml`.
    """
    import yaml  # 15 ms that a program without such files does not need

    loader = (yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader)(text)
    try:
        node = loader.get_single_node()
        value = {} if node is None else loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = 1 if mark is None else mark.line + 1
        said = " ".join(filter(None, [error.context, error.problem, error.note]))
        raise refused(path, [Fault(line=line, text=f"this is not YAML: {said}")]) from error
    except (yaml.YAMLError, ValueError) as error:  # a date that is none, an unreadable character
        raise refused(path, [Fault(line=1, text=f"this is not YAML: {error}")]) from error
    finally:
        loader.dispose()
    if not isinstance(value, dict):
        raise refused(path, [Fault(line=1, text=f"the file holds {_kind(value)}, not keys with values")])
    return _marked(value, node, path)


def _marked(value: Any, node: Node | None, path: str) -> MarkedYaml:
    lines: dict[Place, int] = {(): 1}
    texts: dict[Place, int] = {}
    twice: list[Fault] = []
    for place, line, inner in _walk(node, ()):
        if place in lines:
            twice.append(Fault(line=line, text=f"{_dotted(place)}: this key is written twice", code="twice"))
        lines[place] = line
        texts[place] = inner.start_mark.line + 1 + (getattr(inner, "style", None) in {"|", ">"})
    if twice:
        raise refused(path, twice)
    return MarkedYaml(value=value, path=path, lines=lines, texts=texts)


def _walk(node: Node | None, place: Place, above: tuple[int, ...] = ()) -> Iterator[tuple[Place, int, Node]]:
    from yaml.nodes import MappingNode, SequenceNode

    if id(node) in above:  # an alias to what it stands in
        return
    inside: list[tuple[str | int, int, Node]] = []
    if isinstance(node, MappingNode):
        inside = [(str(key.value), key.start_mark.line, inner) for key, inner in node.value if key.value != "<<"]
    elif isinstance(node, SequenceNode):
        inside = [(at, inner.start_mark.line, inner) for at, inner in enumerate(node.value)]
    for step, line, inner in inside:
        yield (*place, step), line + 1, inner
        yield from _walk(inner, (*place, step), (*above, id(node)))


def _kind(value: object) -> str:
    return "a list" if isinstance(value, list) else f"{value!r}"


def validated(kind: type[BaseModel], marked: MarkedYaml) -> Any:
    """Return what a file says as a model of pydantic's.

    Raises:
        InvalidFile: it does not fit; each fault has its line.
    """
    from pydantic import ValidationError

    try:
        return kind.model_validate(marked.value)
    except ValidationError as error:
        raise marked.refused(marked.faults_of(error, kind)) from error
