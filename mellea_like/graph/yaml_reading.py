"""Reading a graph file: the YAML, its form, and the places in the state that its values name."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InvalidArgument
from ..prompts.filling import shown
from ..prompts.loading import Prompt, load_prompt
from ..prompts.marked_yaml import MarkedYaml, Place, read_yaml, validated
from ..prompts.paths import MISSING, PATH, found_at

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .yaml_form import GraphForm, NodeForm

_FIELD = re.compile(rf"\{{(?:state\.)?({PATH})\}}")


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphFile:
    """A graph file that has been read: what it says, and where.

    Args:
        path: The file.
        form: What it says.
        marked: The same with its lines.
    """

    path: Path
    form: GraphForm
    marked: MarkedYaml

    def nodes(self) -> Iterator[tuple[str, NodeForm, Place]]:
        """Give every node with its name and place, those inside maps too."""
        for name, node in self.form.nodes.items():
            place: Place = ("nodes", name)
            yield name, node, place
            while node.node is not None:
                node, place = node.node, (*place, "node")
                yield f"{name}.node", node, place

    def prompt(self, name: str) -> Prompt:
        """Find and read a prompt that the file names.

        Raises:
            UnknownName: there is no such prompt.
            InvalidFile: it has mistakes.
        """
        beside = self.path if self.form.prompts_relative else None
        return load_prompt(name, prompts_dir=self.form.prompts_dir, graph_path=beside)

    def written_keys(self) -> set[str]:
        """List the keys that the nodes write, as far as the file says so."""
        keys: set[str] = set()
        for _, node, _ in self.nodes():
            named = (node.state_key, node.collect, node.resume_key, *(node.output or ()), *(node.output_mapping or ()))
            keys.update(key for key in named if key is not None)
        return keys | ({"errors"} if any(node.on_error == "skip" for _, node, _ in self.nodes()) else set())

    def known_keys(self) -> set[str]:
        """List the keys that the state has by the file: declared, or written by a node."""
        return self.written_keys() | set(self.form.state or ())


def read_graph_file(path: str | PathLike[str]) -> GraphFile:
    """Read a graph file.

    Raises:
        InvalidFile: it cannot be read, or says what a graph file may not say; each fault has its line.
    """
    from .yaml_form import GraphForm

    file = Path(path).absolute()
    marked = read_yaml(file)
    return GraphFile(path=file, form=validated(GraphForm, marked), marked=marked)


def named_paths(value: Any) -> set[str]:
    """List the paths into the state that a value of a graph file names, at any depth."""
    if isinstance(value, str):
        return {found[1] for found in _FIELD.finditer(value)}
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return set[str]().union(*map(named_paths, inner))


def resolved(value: Any, state: Mapping[str, Any], known: Collection[str]) -> Any:
    """Return a value of a graph file with what it names in the state: `"{state.topic}"` is that, whatever it is.

    Inside a longer text it stands as text. A key that the file knows and nobody has written yet is None, and the empty
    text inside a text.

    Raises:
        InvalidArgument: the state has nothing there.
    """
    if isinstance(value, Mapping):
        return {key: resolved(inner, state, known) for key, inner in value.items()}
    if isinstance(value, list):
        return [resolved(inner, state, known) for inner in value]
    if not isinstance(value, str):
        return value
    whole = _FIELD.fullmatch(value)
    if whole:
        return at_path(whole[1], state, known)

    return _FIELD.sub(lambda found: shown(at_path(found[1], state, known)), value)


def at_path(path: str, state: Mapping[str, Any], known: Collection[str]) -> Any:
    """Return what is at a path of the state; see `resolved`.

    Raises:
        InvalidArgument: the state has nothing there.
    """
    value = found_at(path, state)
    if value is not MISSING:
        return value
    first = path.partition(".")[0]
    if first in known and state.get(first) is None:
        return None
    listing = ", ".join(map(repr, sorted(key for key in state if not key.startswith("_")))) or "nothing"
    raise InvalidArgument(f"The state has nothing at {path!r}. It holds: {listing}.")
