"""Measure the library and print one table: `uv run benchmarks/run.py`.

CPU time counts all threads. Figures are medians; where two things are compared, both are measured in this run, in
turns. Nothing here is a test: a busy machine makes times longer and leaves ratios and sizes as they are.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

from measure import Effort, Row

from mellea_like import MelleaError

SUBJECTS = ("start", "thunk", "session", "sampling", "memory", "partial", "graph", "wires", "sse", "serve", "llama")
PACKAGES = ("mellea-like", "pydantic", "jinja2", "openai", "httpx2", "ollama", "huggingface-hub", "xllamacpp")
FULL = Effort(rounds=7, scale=1.0)
QUICK = Effort(rounds=3, scale=0.25)
COLUMNS = ("name", "figure", "unit", "target", "compared with", "ok")


def machine() -> str:
    """Describe what this runs on, and how busy that is: a load above zero is the work of others."""
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    cores = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores{load}"
    return f"{cores}, Python {platform.python_version()}"


def versions() -> dict[str, str]:
    """List the versions of the packages that matter here."""
    return {name: _version(name) for name in PACKAGES}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def measures(only: str | None) -> Iterator[tuple[str, Callable[[Effort], Iterator[Row]]]]:
    """Give the measures by name; `only` is a subject (`thunk`), or one of its measures (`thunk.replay`)."""
    for subject in SUBJECTS:
        if only is None or only.partition(".")[0] == subject:
            for measure in import_module(subject).MEASURES:
                name = f"{subject}.{measure.__name__}"
                if only in {None, subject, name}:
                    yield name, measure


def cells(row: Row) -> tuple[str, ...]:
    """Write a row's cells."""
    target = f"<= {row.at_most:g}" if row.at_most is not None else ""
    if row.at_least is not None:
        target = f">= {row.at_least:g}"
    figure = f"{row.figure:,.0f}" if row.figure >= 1000 else f"{row.figure:.3g}"
    return row.name, figure, row.unit, target, row.against, {True: "yes", False: "NO", None: ""}[row.ok]


def table(rows: list[Row]) -> str:
    """Write all rows as one aligned table."""
    lines = [COLUMNS, *(cells(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(COLUMNS))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines)


def main() -> int:
    """Measure what the command line asks for; 1 where a name in it does not exist."""
    parser = argparse.ArgumentParser(description="Measure the library and print one table.")
    parser.add_argument("--only", metavar="NAME", help=f"one of {', '.join(SUBJECTS)}, or one measure: thunk.replay")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds: rough figures, soon")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    chosen, found_on = list(measures(arguments.only)), machine()
    if not chosen:
        print(f"There is no benchmark {arguments.only!r}. Valid: {', '.join(n for n, _ in measures(None))}.")
        return 1
    rows: list[Row] = []
    for name, measure in chosen:
        print(f"measuring {name} …", file=sys.stderr)
        try:
            rows += measure(QUICK if arguments.quick else FULL)
        except MelleaError as error:  # such as a model that cannot be fetched here
            print(f"left out {name}: {error}", file=sys.stderr)
    if arguments.json:
        figures = [asdict(row) | {"ok": row.ok} for row in rows]
        print(json.dumps({"machine": found_on, "versions": versions(), "rows": figures}, indent=2))
    else:
        print(found_on, *(f"{name} {v}" for name, v in versions().items()), sep=", ", end="\n\n")
        print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
