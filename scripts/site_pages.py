"""Pages of the site that stand elsewhere in the repository, or follow from the library: mkdocs calls what is here.

README and tutorial stay at the top of the repository, where people look for them; the reference lists every public name
by the file that it lives in, in the order of the library's own table.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from griffe import Attribute, Docstring, Extension
from mkdocs.structure.files import File, Files

import mellea_like

ROOT = Path(__file__).parent.parent
MOVED = {"README.md": "index.md", "tutorial.md": "tutorial.md"}
SECTIONS = {
    "Sessions and verbs": ["session.opening", "session.free_functions", "session"],
    "Thunks": ["thunk", "log"],
    "Typed answers while they grow": ["partial"],
    "Generative functions": ["generative_function"],
    "Requirements": ["requirement", "ready_made", "samples", "chunking"],
    "Strategies": ["sampling"],
    "What is said": ["content", "roles", "component", "parts", "mified"],
    "Contexts": ["context"],
    "Tools and agents": ["tools", "agent"],
    "Backends and models": ["backends", "providers", "models", "options"],
    "Prompts and graphs in YAML": ["prompts", "graph.yaml_loading", "graph.yaml_streaming", "graph.yaml_form"],
    "Graphs": ["graph.building", "graph.compiled", "graph.run", "graph.executor", "graph.stores", "graph"],
    "Serving": ["responses", "encoding", "server"],
    "In notebooks": ["notebook"],
    "Watching": ["telemetry"],
    "Events": ["events"],
    "Errors": ["errors"],
}
"""Headings of the reference, and the rooms below each, in their order; a room stands below the first that names it."""

LAST = "More"
"""The heading of rooms that none of them names."""


ROOMS = {"mfuncs"}
"""Public names that are a whole room. Nothing is imported to find out: the site has none of the extras."""

_TWIN = re.compile(r"_?(?:blocking|synchronous)\((\w+)\)")


class SyncTwins(Extension):  # type: ignore[misc]  # griffe is installed for the site alone
    """Says in the reference what the synchronous verbs are, which are made of the asynchronous ones."""

    def on_attribute_instance(self, *, attr: Attribute, **_: Any) -> None:
        """Give an attribute such as `instruct = blocking(ainstruct)` its docstring."""
        twin = _TWIN.fullmatch(str(attr.value))
        if twin and attr.docstring is None:
            said = f"`{twin[1]}` for synchronous code: it takes the same arguments, and waits where it is called."
            attr.docstring = Docstring(said, parent=attr)


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are not in the folder of the documents."""
    for source, target in MOVED.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, target, content=text.replace("](docs/", "](")))
    files.append(File.generated(config, "reference.md", content=_reference()))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Point links to the pages that moved to where they are on the site."""
    up = "../" * page.file.src_uri.count("/")
    return re.sub(r"\]\((?:\.\./)+(tutorial|README)\.md", lambda m: f"]({up}{MOVED[m[1] + '.md']}", markdown)


def _reference() -> str:
    sections: dict[str, list[str]] = {title: [] for title in [*SECTIONS, LAST]}
    for room, names in sorted(mellea_like._ROOMS.items(), key=lambda item: _place(item[0])):
        sections[_place(room)[1]] += [f"mellea_like.{room}.{name}" for name in names]
    pages = ["# Reference\n\nEvery public name imports from `mellea_like` directly.\n"]
    for title, names in sections.items():
        if names:
            pages.append(f"## {title}\n\n" + "\n".join(map(_entry, names)))
    return "\n".join(pages)


def _entry(name: str) -> str:
    room, _, last = name.rpartition(".")
    options = ["heading_level: 3"]
    if last in ROOMS:
        name, options = room, [*options, f"heading: {last}", f"toc_label: {last}"]
    return f"::: {name}\n    options:\n" + "".join(f"      {option}\n" for option in options)


def _place(room: str) -> tuple[int, str]:
    """Return where a room stands below its heading, and that heading."""
    for title, prefixes in SECTIONS.items():
        for place, prefix in enumerate(prefixes):
            if room == prefix or room.startswith(f"{prefix}."):
                return place, title
    return 0, LAST
