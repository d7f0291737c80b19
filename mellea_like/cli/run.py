"""`mellea-like run`, `lint` and `schema`: graph files from the command line."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ..errors import InvalidArgument
from . import endings

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

UNANSWERED = 3
"""The exit code of a run that waits for an answer when there is no more input."""
_WAITS = "a run that waits for an answer when there is no more input ends with 3 too\n"


def add_to(commands: Commands) -> None:
    """Add the commands `run`, `lint` and `schema` to the command line."""
    run = commands.add_parser(
        "run",
        help="run a graph file",
        epilog=endings.EXIT_CODES + _WAITS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run.add_argument("graph", metavar="GRAPH.yaml", help="the graph file")
    add_variables(run)
    run.add_argument("--stream", action="store_true", help="print the models' text as it comes")
    run.add_argument("--json", action="store_true", help="print JSON; with --stream one object per line")
    run.add_argument("--thread", metavar="ID", help="keep the run under this name, where the file has a checkpointer")
    run.set_defaults(run=_run)

    lint = commands.add_parser("lint", help="look graph files through: mistakes, and what may not be meant")
    lint.add_argument("graphs", nargs="+", metavar="GRAPH.yaml", help="graph files")
    lint.add_argument("--strict", action="store_true", help="fail on warnings too")
    lint.set_defaults(run=_lint)

    schema = commands.add_parser("schema", help="print the JSON schema of graph or prompt files, for editors")
    schema.add_argument("kind", nargs="?", choices=("graph", "prompt"), default="graph", help="default: graph")
    schema.set_defaults(run=_schema)


def add_variables(parser: argparse.ArgumentParser) -> None:
    """Add `--var`, which gives a prompt or a graph its values."""
    parser.add_argument(
        "--var",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a value; can be repeated; NAME:=JSON for anything that is not text",
    )


def variables(given: Iterable[str]) -> dict[str, Any]:
    """Read what `--var` was given: `NAME=VALUE` is text, `NAME:=JSON` a value.

    Raises:
        InvalidArgument: one is written in neither way.
    """
    found: dict[str, Any] = {}
    for one in given:
        name, sign, value = one.partition("=")
        if not sign or not name.rstrip(":"):
            raise InvalidArgument(f"--var {one!r} is not NAME=VALUE.")
        if not name.endswith(":"):
            found[name] = value
            continue
        try:
            found[name[:-1]] = json.loads(value)
        except ValueError as error:
            raise InvalidArgument(f"--var {one!r}: the value is not JSON: {error}.") from error
    return found


def as_json(value: Any, *, indent: int | None = None) -> str:
    """Write any value as JSON that standard output can take; what is not JSON is shown, and NaN is null."""
    from ..encoding.json_form import JSONForm

    plain = json.loads(JSONForm(error_text=str).value(value))
    text = json.dumps(plain, ensure_ascii=False, indent=indent)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return json.dumps(plain, indent=indent)
    return text


def _run(arguments: argparse.Namespace) -> int:
    from ..graph.commands import Command
    from ..graph.stores import MemoryBackend
    from ..graph.yaml_loading import load_graph

    graph = load_graph(arguments.graph)
    if graph.checkpointer is None:
        graph.checkpointer = MemoryBackend()  # for questions; they are asked here
    said: Any = variables(arguments.var)
    config = {"thread_id": arguments.thread or "command line"}
    while True:
        with graph.start(said, config) as run:
            if arguments.stream:
                _show(run.stream("events"), as_lines=arguments.json)
            state = run.result().parsed
        if not run.interrupts:
            break
        print(run.interrupts[0].value, file=sys.stderr)
        answer = sys.stdin.readline()
        if not answer:
            print("mellea-like: the run waits for an answer, and there is no more input.", file=sys.stderr)
            return UNANSWERED
        said = Command(resume=answer.rstrip("\n"))
    if not arguments.stream or arguments.json:
        shown = {key: value for key, value in state.items() if not key.startswith("_")}
        print(as_json({"state": shown} if arguments.stream else shown, indent=None if arguments.stream else 2))
    return 0


def _show(events: Iterable[Any], *, as_lines: bool) -> None:
    """Print the text of a run as it comes: as JSON lines, or readable."""
    screen = _Screen()
    for event in events:
        if event.type == "token" and as_lines:
            print(as_json({"node": event.node_id, "generation": event.thunk_id, "token": event.content}), flush=True)
        elif event.type == "token":
            screen.token(event.thunk_id, event.node_id, event.content)
        elif event.type == "message_complete" and not as_lines:
            screen.end(event.thunk_id)
        elif event.type == "node_retry":
            print(f"[{event.node_id}: once more; what it said is void]", file=sys.stderr, flush=True)


class _Screen:
    """Where the text of generations that run side by side is read: the oldest live, the next when that is through.

    Headings go to stderr, so that a pipe gets the text alone.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, tuple[str, list[str]]] = {}
        self._ended: set[str] = set()

    def token(self, generation: str, node: str, text: str) -> None:
        """Take new text of a generation."""
        if generation not in self._waiting:
            self._waiting[generation] = (node, [])
            if self._is_first(generation):
                self._head(node)
        texts = self._waiting[generation][1]
        texts.append(text)
        if self._is_first(generation):
            print(text, end="", flush=True)

    def end(self, generation: str) -> None:
        """Take the end of a generation; where it was the one that is read, go on with the next."""
        self._ended.add(generation)
        while self._waiting and (first := next(iter(self._waiting))) in self._ended:
            texts = self._waiting.pop(first)[1]
            print(end="" if texts and texts[-1].endswith("\n") else "\n", flush=True)
            for node, written in list(self._waiting.values())[:1]:
                self._head(node)
                print("".join(written), end="", flush=True)

    def _is_first(self, generation: str) -> bool:
        return next(iter(self._waiting)) == generation

    def _head(self, node: str) -> None:
        print(f"[{node}]", file=sys.stderr, flush=True)


def _lint(arguments: argparse.Namespace) -> int:
    from ..graph.yaml_loading import lint_graph

    failed = False
    for path in arguments.graphs:
        for fault in lint_graph(path):
            kind = "warning" if fault.warning else "error"
            print(f"{path}:{fault.line}: {kind}: {fault.text} [{fault.code}]")
            failed = failed or arguments.strict or not fault.warning
    return int(failed)


def _schema(arguments: argparse.Namespace) -> int:
    from ..graph.yaml_form import yaml_graph_schema
    from ..prompts.file_form import yaml_prompt_schema

    print(json.dumps(yaml_graph_schema() if arguments.kind == "graph" else yaml_prompt_schema(), indent=2))
    return 0
