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

_MOST_COPIED = 100_000
"""Values that the aliases of a file may stand for in all."""
_DEEPEST = 100
"""Levels of lists and mappings within one another, aliases written out."""
_MERGE = "tag:yaml.org,2002:merge"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One mistake in a file.

    Args:
        line: Where it is, counted from 1.
        text: What is wrong.
        code: A word for its kind.
        warning: Whether it may be meant; a file with any other fault is not run.
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
        InvalidFile: it cannot be read, is not YAML, is not a mapping, writes a key twice, or is far too much of it.
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

    kind = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
    loader = kind(text)
    try:
        _refuse_bombs(yaml.parse(text, Loader=kind), path)
        node = loader.get_single_node()
        lines, texts = _places(node, path)
        value = {} if node is None else loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = 1 if mark is None else mark.line + 1
        said = " ".join(filter(None, [error.context, error.problem, error.note]))
        raise refused(path, [Fault(line=line, text=f"this is not YAML: {said}")]) from error
    except InvalidFile:
        raise
    except (yaml.YAMLError, ValueError) as error:  # a date that is none, an unreadable character
        raise refused(path, [Fault(line=1, text=f"this is not YAML: {error}")]) from error
    finally:
        loader.dispose()
    if not isinstance(value, dict):
        raise refused(path, [Fault(line=1, text=f"the file holds {_kind(value)}, not keys with values")])
    return MarkedYaml(value=value, path=path, lines=lines, texts=texts)


# --- how much it is ---------------------------------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class _Extent:
    """How much a thing in a file stands for with its aliases written out: how many values, how many levels of them."""

    values: int = 1
    levels: int = 0

    def take_in(self, inner: _Extent) -> None:
        self.values += inner.values
        self.levels = max(self.levels, inner.levels + 1)


def _refuse_bombs(events: Iterable[Any], path: str) -> None:
    """Refuse what would take forever to read, or all of Python's stack, before anything is built of it."""
    from yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, ScalarEvent

    named: dict[str | None, _Extent] = {}
    around = [_Extent()]
    copied = 0
    for event in events:
        line = event.start_mark.line + 1
        if isinstance(event, AliasEvent):
            inner = named.get(event.anchor, _Extent())  # what nothing has named is refused later
            if any(inner is outer for outer in around):
                said = f"the alias *{event.anchor} stands inside what it names; write out what is meant"
                raise refused(path, [Fault(line=line, text=said, code="aliases")])
            copied += inner.values
        elif isinstance(event, CollectionEndEvent):
            inner = around.pop()
        elif isinstance(event, CollectionStartEvent | ScalarEvent):
            inner = _Extent()
            if event.anchor is not None:
                named[event.anchor] = inner
        else:
            continue
        _refuse_too_much(copied, len(around) + inner.levels, line, path)
        if isinstance(event, CollectionStartEvent):
            around.append(inner)
        else:
            around[-1].take_in(inner)


def _refuse_too_much(copied: int, level: int, line: int, path: str) -> None:
    if copied > _MOST_COPIED:
        said = f"the aliases up to here stand for more than {_MOST_COPIED:,} values; let them name smaller things"
        raise refused(path, [Fault(line=line, text=said, code="aliases")])
    if level > _DEEPEST:
        said = f"this is nested deeper than {_DEEPEST} levels; make it flatter"
        raise refused(path, [Fault(line=line, text=said, code="depth")])


# --- where it is ------------------------------------------------------------------------------------------------------


def _places(node: Node | None, path: str) -> tuple[dict[Place, int], dict[Place, int]]:
    """Return the lines of all places, and those of their texts; `node` is as it is written, merges not carried out."""
    lines: dict[Place, int] = {(): 1}
    texts: dict[Place, int] = {}
    twice: dict[int, Fault] = {}
    for place, line, inner in _walk(node, (), twice):
        lines[place] = line
        texts[place] = inner.start_mark.line + 1 + (getattr(inner, "style", None) in {"|", ">"})
    if twice:
        raise refused(path, twice.values())
    return lines, texts


def _walk(node: Node | None, place: Place, twice: dict[int, Fault]) -> Iterator[tuple[Place, int, Node]]:
    for step, (line, inner) in _members(node, place, twice).items():
        yield (*place, step), line, inner
        yield from _walk(inner, (*place, step), twice)


def _members(node: Node | None, place: Place, twice: dict[int, Fault]) -> dict[str | int, tuple[int, Node]]:
    """Return what a node holds, by key or position, each with its line; merged things where it has none of its own."""
    from yaml.nodes import MappingNode, SequenceNode

    if isinstance(node, SequenceNode):
        return {at: (inner.start_mark.line + 1, inner) for at, inner in enumerate(node.value)}
    merged: dict[str | int, tuple[int, Node]] = {}
    own: dict[str | int, tuple[int, Node]] = {}
    for key, inner in node.value if isinstance(node, MappingNode) else ():
        if key.tag == _MERGE:
            for source in inner.value if isinstance(inner, SequenceNode) else [inner]:
                merged = _members(source, place, twice) | merged
            continue
        step, line = str(key.value), key.start_mark.line + 1
        if step in own:
            said = f"{_dotted((*place, step))}: this key is written twice"
            twice.setdefault(id(key), Fault(line=line, text=said, code="twice"))
        own[step] = line, inner
    return merged | own


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
