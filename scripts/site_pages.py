"""Pages of the site that stand elsewhere in the repository, or follow from the library: mkdocs calls what is here.

README and tutorial stay at the top of the repository, where people look for them; the reference has a page for each
subject, with the public names of its files, and one that lists them all.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import griffe
from mkdocs.structure.files import File, Files

import mellea_like

ROOT = Path(__file__).parent.parent
MOVED = {"README.md": "index.md", "tutorial.md": "tutorial.md"}
SUBJECTS = {
    "Sessions and verbs": ["session.opening", "session", "session.free_functions"],
    "Thunks": ["thunk", "log", "readers"],
    "Typed answers while they grow": ["partial"],
    "Generative functions": ["generative_function"],
    "Requirements": ["requirement", "ready_made", "samples", "chunking", "rules"],
    "Strategies": ["sampling.rejection", "sampling.repair", "sampling.multi_turn", "sampling.best_of_n", "sampling"],
    "What is said": ["content", "roles", "component", "parts", "mified"],
    "Contexts": ["context"],
    "Tools and agents": ["tools", "tools.workbench", "agent", "tools.mcp_tools", "tools.mcp_client"],
    "Backends and models": ["backends", "providers", "models", "options"],
    "Prompts and graphs in YAML": ["prompts", "graph.yaml_loading", "graph.yaml_streaming", "graph.yaml_form"],
    "Graphs": ["graph.building", "graph.compiled", "graph.run", "graph.executor", "graph.stores", "graph"],
    "Serving": ["responses", "encoding", "server"],
    "In notebooks": ["notebook", "display"],
    "Watching": ["telemetry"],
    "Events": ["events"],
    "Errors": ["errors"],
}
"""Pages of the reference, and the rooms on each, in their order; the longest name that fits a room decides."""

LAST = "More"
"""The page of rooms that none of them fits."""

WHOLE_ROOMS = {"mfuncs": "session.free_functions"}
"""Public names that are a whole room."""

TYPES = {
    "session.functional": ["OnFailure"],
    "thunk": ["State"],
    "readers": ["EventReader"],
    "partial.structured": ["PartialReader", "ItemReader"],
    "requirement": ["Requirements", "ValidationFn", "Verdict", "Growing"],
    "chunking": ["Chunking"],
    "rules": ["Unit"],
    "samples": ["FinishReason"],
    "sampling": ["Plan"],
    "parts": ["Sayable"],
    "content": ["ImageSource", "Role"],
    "context": ["Turn"],
    "tools": ["Tools", "Confirm"],
    "backends.fake": ["Scripted", "Step"],
    "backends.openai": ["Transport"],
    "prompts.asking": ["PromptName"],
    "graph.commands": ["Goto"],
    "graph.executor": ["Execution"],
    "graph.retrying": ["RetryOn"],
    "graph.spec": ["NodeSpec", "EdgeSpec", "BranchSpec"],
    "graph.events": [
        *("GraphEvent", "ExecutionStart", "NodeStart", "NodeComplete", "NodeError", "NodeRetry", "Token", "Draft"),
        *("DraftDiscarded", "ReasoningToken", "MessageStart", "MessageComplete", "ToolCallStart", "ToolCallComplete"),
        *("Validation", "StateUpdate", "InterruptEvent", "CheckpointSaved", "Resumed", "CustomSaid"),
        *("ExecutionComplete", "ExecutionError", "ExecutionCancelled"),
    ],
    "encoding.json_form": ["ErrorText"],
    "server.answering": ["Answerer"],
    "display.live": ["Showing"],
    "telemetry.otel": ["Tracing"],
    "events": ["Said"],
}
"""What one meets without importing it, by room: the types that signatures name, and a graph's events."""


def on_config(config: Any) -> Any:
    """Put the reference into the navigation."""
    config.nav.append({"Reference": [{"All names": "reference/index.md"}, *map(_address, _subjects())]})
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are not in the folder of the documents."""
    pages = {MOVED[source]: (ROOT / source).read_text(encoding="utf-8").replace("](docs/", "](") for source in MOVED}
    pages["reference/index.md"] = _overview()
    for title, names in _subjects().items():
        pages[_address(title)] = f"# {title}\n\n" + "\n".join(map(_public, names)) + _types(title)
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Point links to the pages that moved to where they are on the site."""
    up = "../" * page.file.src_uri.count("/")
    return re.sub(r"\]\((?:\.\./)+(tutorial|README)\.md", lambda m: f"]({up}{MOVED[m[1] + '.md']}", markdown)


@cache
def _package() -> griffe.Module:
    """Read the library without importing it: the site has none of the extras."""
    readable = griffe.load_extensions("dataclasses", f"{ROOT}/scripts/site_reference.py:Readable")
    return griffe.load("mellea_like", search_paths=[ROOT], extensions=readable)


@cache
def _subjects() -> dict[str, list[str]]:
    """List the public names of each page: by room, and in a room as they stand in its file."""
    subjects: dict[str, list[str]] = {title: [] for title in [*SUBJECTS, LAST]}
    for room, names in sorted(mellea_like._ROOMS.items(), key=lambda item: _place(item[0])):
        subjects[_place(room)[1]] += sorted(names, key=lambda name: _package()[name].lineno)
    return {title: names for title, names in subjects.items() if names}


def _place(room: str) -> tuple[int, str]:
    """Return where a room stands on its page, and that page."""
    fitting = [
        (len(prefix), place, title)
        for title, prefixes in SUBJECTS.items()
        for place, prefix in enumerate(prefixes)
        if f"{room}.".startswith(f"{prefix}.")
    ]
    return max(fitting, default=(0, 0, LAST))[1:]


def _types(title: str) -> str:
    paths = [
        f"mellea_like.{room}.{name}" for room, names in TYPES.items() if _place(room)[1] == title for name in names
    ]
    entries = [_entry(path, "show_bases: false", "heading_level: 3") for path in paths]
    return "\n".join(["\n## Further types\n", *entries]) if entries else ""


def _address(title: str) -> str:
    return f"reference/{title.lower().replace(' ', '-')}.md"


def _path(name: str) -> str:
    return f"mellea_like.{WHOLE_ROOMS.get(name, name)}"


def _overview() -> str:
    """List every public name with the first line of its docstring."""
    parts = ["# Reference\n\nEvery public name imports from `mellea_like` directly."]
    for title, names in _subjects().items():
        lines = [f"- [`{name}`][{_path(name)}]: {_first_line(name)}" for name in names]
        parts += [f"## [{title}]({Path(_address(title)).name})", "\n".join(lines)]
    return "\n\n".join(parts)


def _first_line(name: str) -> str:
    docstring = _package()[WHOLE_ROOMS.get(name, name)].docstring
    return docstring.value.partition("\n")[0] if docstring else ""


def _public(name: str) -> str:
    return _entry(_path(name), *([f"heading: {name}", f"toc_label: {name}"] if name in WHOLE_ROOMS else []))


def _entry(path: str, *options: str) -> str:
    found = _package()[path.removeprefix("mellea_like.")]
    if found.is_class and "dataclass" not in found.labels and "\nArgs:\n" not in found.docstring.value:
        options = (*options, "merge_init_into_class: false")  # the library alone makes one
    return "\n".join([f"::: {path}", "    options:" * bool(options), *(f"      {option}" for option in options), ""])
