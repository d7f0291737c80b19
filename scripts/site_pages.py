"""Pages of the site that stand elsewhere in the repository, or follow from the library: mkdocs calls these hooks.

README and tutorial stay at the top of the repository, where people look for them; the reference lists every public name
by the file that it lives in, in the order of the library's own table.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

import mellea_like

ROOT = Path(__file__).parent.parent
MOVED = {"README.md": "index.md", "tutorial.md": "tutorial.md"}
TITLES = {
    "opening": "Sessions",
    "session": "The session's verbs",
    "thunk": "Thunks",
    "events": "Events",
    "samples": "Verdicts and samples",
    "requirement": "Requirements",
    "sampling": "Strategies",
    "generative_function": "Generative functions",
    "partial": "Typed answers while they grow",
    "context": "Contexts",
    "content": "Messages and images",
    "component": "Components",
    "mified": "Objects",
    "tools": "Tools",
    "agent": "Agents",
    "backends": "Backends",
    "telemetry": "Watching",
    "graph": "Graphs",
    "prompts": "Prompts",
    "errors": "Errors",
}
"""Headings for rooms; others are headed by their file's name."""


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
    rooms = mellea_like._ROOMS
    ordered = [*(room for room in TITLES if room in rooms), *(room for room in rooms if room not in TITLES)]
    pages = ["# Reference\n\nEvery public name imports from `mellea_like` directly.\n"]
    for room in ordered:
        title = TITLES.get(room, room.replace("_", " ").replace(".", ": ").capitalize())
        names = "\n".join(
            f"::: mellea_like.{room}.{name}\n    options:\n      heading_level: 3\n" for name in rooms[room]
        )
        pages.append(f"## {title}\n\n{names}")
    return "\n".join(pages)
