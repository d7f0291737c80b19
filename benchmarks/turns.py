"""Peers in processes of their own that take turns at being measured, and the table of what they found.

Figures are medians of the rounds, ratios the medians of the rounds' ratios. A peer that spent its time on a measure
sits out its further rounds. What could not be measured says why.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

INSTALL, ANSWER = 240.0, 90.0
"""Seconds that a peer has to be installed and to start, and to measure once."""
ENOUGH = 3.0
"""Seconds after which a peer sits out the further rounds of a measure."""
ONCE, LIMIT = 120.0, 330.0
"""Seconds of the whole after which each is measured once, and after which nothing more is measured."""
QUIET = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LANGSMITH_TRACING": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
}
"""Keeps peers off the network: the loopback is all that is measured."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A row of the table."""

    name: str
    packages: tuple[str, ...]
    against: tuple[str, ...] = ("this library",)
    """With whom it is compared, in each table of ratios."""
    alone: bool = False
    """It cannot be installed beside this library, and gets an environment of its own."""


@dataclass(frozen=True, slots=True)
class Measure:
    """A column of the table, and what the peer's process is asked for it."""

    name: str
    asked: dict[str, Any]
    rounds: int = 3
    times: int = 1
    """By what the figure is multiplied: chunks in a stream."""
    of: frozenset[str] | None = None
    """Who is asked; None is everyone."""
    at_once: bool = False
    """It takes no time, so it is asked even when the time is spent."""


class Subject:
    """A peer's process, and what was found in it."""

    def __init__(self, peer: Peer, program: str, *arguments: str) -> None:
        self.peer = peer
        self.figures: dict[str, list[float]] = {}
        self.trouble: dict[str, str] = {}
        self._spent: dict[str, float] = {}
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  (closed in `close`)
        path = str(Path(__file__).with_name(program))
        self._process = subprocess.Popen(
            [*python_of(peer), path, peer.name, *arguments, *peer.packages],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=os.environ | QUIET,
        )
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def start(self) -> None:
        """Wait until it can be measured; `trouble` says where it cannot."""
        self.facts = self._answer(INSTALL)
        if "error" in self.facts:
            self.trouble["all"] = self.facts["error"]

    def measure(self, measure: Measure) -> None:
        """Measure once, unless there was trouble, or enough time was spent on it."""
        name = measure.name
        left_out = measure.of is not None and self.peer.name not in measure.of
        if left_out or "all" in self.trouble or name in self.trouble or self._spent.get(name, 0.0) > ENOUGH:
            return
        began = time.monotonic()
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(measure.asked) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended, which the answer says
        answer = self._answer(ANSWER)
        took = time.monotonic() - began
        self._spent[name] = self._spent.get(name, 0.0) + took
        if took > ENOUGH:
            note(f"  {self.peer.name}: {took:.0f} s")
        if "error" in answer:
            self.trouble[name] = answer["error"]
        else:
            self.figures.setdefault(name, []).append(answer["figure"] * measure.times)

    def median(self, measure: Measure) -> float | None:
        """Return the figure of a measure, None where it has none."""
        figures = self.figures.get(measure.name)
        return statistics.median(figures) if figures and measure.name not in self.trouble else None

    def ratio(self, other: Subject | None, measure: Measure) -> float | None:
        """Return the median of the rounds' ratios to another, None where either has none."""
        if other is None or self.median(measure) is None or other.median(measure) is None:
            return None
        pairs = zip(self.figures[measure.name], other.figures[measure.name], strict=False)  # one may have sat out
        return statistics.median(mine / theirs for mine, theirs in pairs)

    def close(self) -> None:
        """End its process."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            pass
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._answers.put(line)
        self._answers.put("")

    def _answer(self, patience: float) -> dict[str, Any]:
        try:
            line = self._answers.get(timeout=patience)
        except queue.Empty:
            self._process.kill()
            self.trouble["all"] = reason = f"no answer within {patience:g} s"
            return {"error": reason}
        if line:
            return dict(json.loads(line))
        self._errors.seek(0)
        last = self._errors.read().strip().splitlines()[-1:] or ["no word"]
        self.trouble["all"] = reason = f"ended: {last[0].strip()[:160]}"
        return {"error": reason}


def python_of(peer: Peer) -> list[str]:
    """Return the command of the Python that a peer runs in: this one, or the same in an environment of the peer's."""
    if not peer.alone:
        return [sys.executable]
    uv = os.environ.get("UV") or shutil.which("uv") or "uv"
    base = os.path.realpath(sys.executable)
    environment = [uv, "run", "--quiet", "--isolated", "--no-project", "--python", base]
    return [*environment, "--with", peer.packages[0], "python"]


@contextmanager
def started(peers: Sequence[Peer], program: str, *arguments: str) -> Iterator[list[Subject]]:
    """Start the peers, each in a process of `program`; leaving the block ends them."""
    with ExitStack() as stack:
        subjects = []
        for peer in peers:
            note(f"starting {peer.name} …")
            try:
                subject = Subject(peer, program, *arguments)
            except OSError as error:  # there is no uv that could install it
                note(f"left out {peer.name}: {error}")
                continue
            stack.callback(subject.close)
            subject.start()
            subjects.append(subject)
        yield subjects


def note(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def measured(subjects: Sequence[Subject], measures: Sequence[Measure], *, quick: bool) -> None:
    """Let the peers take turns at each measure."""
    began = time.monotonic()

    def spent() -> float:
        return time.monotonic() - began

    for measure in measures:
        note(f"{spent():4.0f} s, measuring {measure.name} …")
        for i in range(1 if quick else measure.rounds):
            if i and spent() > ONCE:
                break
            for subject in subjects:
                if spent() < LIMIT or measure.at_once:
                    subject.measure(measure)
                elif measure.name not in subject.figures and "all" not in subject.trouble:
                    subject.trouble.setdefault(measure.name, f"{LIMIT:.0f} s were spent: the machine is busy")


# --- the program and its table --------------------------------------------------------------------------------------


def asked_for(peers: Sequence[Peer], description: str) -> tuple[list[Peer], bool]:
    """Read the command line: who is measured, and whether quickly; it ends the program where a name does not exist."""
    names = [peer.name for peer in peers]
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--only", metavar="NAME", nargs="+", default=names, help=f"of: {'; '.join(names)}")
    parser.add_argument("--quick", action="store_true", help="one round: rough figures, soon")
    arguments = parser.parse_args()
    if unknown := set(arguments.only) - set(names):
        print(f"There is no peer {min(unknown)!r}. Valid: {', '.join(map(repr, names))}.")
        raise SystemExit(1)
    return [peer for peer in peers if peer.name in arguments.only], arguments.quick


def written(figure: float | None) -> str:
    if figure is None:
        return "-"
    return f"{figure:,.0f}" if figure >= 1000 else f"{figure:.3g}"


def aligned(lines: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rows = (
        [first.ljust(widths[0]), *(c.rjust(w) for c, w in zip(rest, widths[1:], strict=True))] for first, *rest in lines
    )
    return "\n".join("  ".join(row).rstrip() for row in rows)


def blocks(subjects: Sequence[Subject], columns: Sequence[Measure], *ratios: str) -> Iterator[str]:
    """Write the figures, then a table of `ratios` for each whom the peers are compared with."""
    by_name = {subject.peer.name: subject for subject in subjects}
    head = [measure.name for measure in columns]
    yield aligned([["figures", *head]] + [[s.peer.name] + [written(s.median(m)) for m in columns] for s in subjects])
    for i, title in enumerate(ratios):
        lines = [[title, *head]]
        for subject in subjects:
            other = by_name.get(subject.peer.against[i])
            lines.append([subject.peer.name] + [written(subject.ratio(other, measure)) for measure in columns])
        yield aligned(lines)


def facts(subjects: Sequence[Subject]) -> Iterator[str]:
    """Write what ran where, and what could not be measured."""
    for subject in subjects:
        if "versions" in subject.facts:
            versions = ", ".join(f"{name} {version}" for name, version in subject.facts["versions"].items())
            where = ", in an environment of its own" if subject.peer.alone else ""
            yield f"{subject.peer.name}: {versions}, Python {subject.facts['python']}{where}"
    for subject in subjects:
        for reason in dict.fromkeys(subject.trouble.values()):
            names = "; ".join(name for name, why in subject.trouble.items() if why == reason)
            yield f"{subject.peer.name}: not measured ({names}): {reason}"
