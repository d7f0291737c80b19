"""Measure this library beside its peers: `uv run --isolated --group peers benchmarks/peers.py` prints the table.

Each peer has a process of its own, and all read from one server, in another process, on the loopback. They take turns;
figures are medians of the rounds, ratios the medians of the rounds' ratios. A peer that spent its time on a measure
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
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measure import Row
from run import machine, table
from wire_clients import Server, room_for_sockets

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
    """A row of the table: the client alone that it is compared with, and this library on the same wire."""

    name: str
    packages: tuple[str, ...]
    client: str = "openai"
    ours: str = "this library"
    alone: bool = False  # it cannot be installed beside this library, and gets an environment of its own


PEERS = (
    Peer("this library", ("mellea-like",)),
    Peer("openai", ("openai",)),
    Peer("openai, aiohttp", ("openai", "aiohttp")),
    Peer("httpx2 + json", ("httpx2",)),
    Peer("Mellea", ("mellea", "openai")),
    Peer("pydantic-ai", ("pydantic-ai-slim", "openai")),
    Peer("LangGraph, messages", ("langgraph", "langchain-openai", "openai")),
    Peer("litellm", ("litellm", "openai"), alone=True),
    Peer("this library, Ollama", ("mellea-like", "ollama"), "ollama", "this library, Ollama"),
    Peer("ollama", ("ollama",), "ollama", "this library, Ollama"),
    Peer("this library, Hugging Face", ("mellea-like",), "huggingface_hub", "this library, Hugging Face"),
    Peer("huggingface_hub", ("huggingface-hub",), "huggingface_hub", "this library, Hugging Face"),
)


@dataclass(frozen=True, slots=True)
class Measure:
    """A column of the table, and what the peer's process is asked for it."""

    name: str
    asked: dict[str, Any]
    rounds: int = 3
    times: int = 1
    """By what the figure is multiplied: chunks in a stream."""


MEASURES = (
    Measure("8,000", {"do": "chunk", "count": 8_000, "how": "burst"}),
    Measure("2,000", {"do": "chunk", "count": 2_000, "how": "burst"}),
    Measure("MB", {"do": "memory"}, 1),
    Measure("call", {"do": "call", "calls": 40}),
    Measure("200 calls", {"do": "calls", "calls": 200, "count": 20}),
    Measure("200 streams", {"do": "streams", "calls": 200, "count": 20}, times=20),
    Measure("paced", {"do": "chunk", "count": 2_000, "how": "paced"}, 2),
    Measure("32,000", {"do": "chunk", "count": 32_000, "how": "burst"}),
    Measure("1,000 streams", {"do": "streams", "calls": 1_000, "count": 20}, times=20),
    Measure("MB, 1,000", {"do": "memory"}, 1),
)
"""In the order of their weight: on a busy machine the last may find the time spent."""
COLUMNS = [
    next(measure for measure in MEASURES if measure.name == name)
    for name in (
        "2,000",
        "8,000",
        "32,000",
        "paced",
        "call",
        "MB",
        "200 calls",
        "200 streams",
        "1,000 streams",
        "MB, 1,000",
    )
]
LEGEND = """\
2,000, 8,000, 32,000: us of CPU per chunk of a stream of so many, which come as fast as they can; paced: the same, 2,000
chunks of which one comes each millisecond. call: ms of CPU of a stream of one chunk. MB: the most memory that the
process held after streams of 8,000 chunks; MB, 1,000: at the end. 200 calls: whole answers of 20 tokens per second, 200
at once. 200 and 1,000 streams: chunks per second, in so many streams of 20 at once."""
CALLS = {"this library", "openai", "openai, aiohttp", "Mellea", "pydantic-ai", "LangGraph, messages", "litellm"}


class Subject:
    """A peer's process, and what was found in it."""

    def __init__(self, peer: Peer, address: str) -> None:
        self.peer = peer
        self.figures: dict[str, list[float]] = {}
        self.trouble: dict[str, str] = {}
        self._spent: dict[str, float] = {}
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  (closed in `close`)
        program = str(Path(__file__).with_name("peer_runner.py"))
        self._process = subprocess.Popen(
            [*python_of(peer), program, peer.name, address, *peer.packages],
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
        left_out = measure.asked["do"] == "calls" and self.peer.name not in CALLS
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
def started(peers: list[Peer]) -> Iterator[list[Subject]]:
    """Start the peers; leaving the block ends them."""
    room_for_sockets()
    with ExitStack() as stack:
        server = stack.enter_context(Server())
        subjects = []
        for peer in peers:
            note(f"starting {peer.name} …")
            try:
                subject = Subject(peer, server.address)
            except OSError as error:  # there is no uv that could install it
                note(f"left out {peer.name}: {error}")
                continue
            stack.callback(subject.close)
            subject.start()
            subjects.append(subject)
        yield subjects


def note(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def measured(subjects: list[Subject], *, quick: bool) -> None:
    """Let the peers take turns at each measure."""
    began = time.monotonic()

    def spent() -> float:
        return time.monotonic() - began

    for measure in MEASURES:
        note(f"{spent():4.0f} s, measuring {measure.name} …")
        for i in range(1 if quick else measure.rounds):
            if i and spent() > ONCE:
                break
            for subject in subjects:
                if spent() < LIMIT or measure.asked["do"] == "memory":
                    subject.measure(measure)
                elif measure.name not in subject.figures and "all" not in subject.trouble:
                    subject.trouble.setdefault(measure.name, f"{LIMIT:.0f} s were spent: the machine is busy")


# --- the table ------------------------------------------------------------------------------------------------------


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


def blocks(subjects: list[Subject]) -> Iterator[str]:
    """Write the figures, then their ratios to the clients alone, then those to this library."""
    by_name = {subject.peer.name: subject for subject in subjects}
    head = [measure.name for measure in COLUMNS]
    yield aligned([["figures", *head]] + [[s.peer.name] + [written(s.median(m)) for m in COLUMNS] for s in subjects])
    for title, other in (("times the client alone", "client"), ("times this library", "ours")):
        lines = [[title, *head]]
        for subject in subjects:
            against = by_name.get(getattr(subject.peer, other))
            lines.append([subject.peer.name] + [written(subject.ratio(against, measure)) for measure in COLUMNS])
        yield aligned(lines)


def targets(subjects: list[Subject]) -> Iterator[Row]:
    """Write the ratios that have a target."""
    by_name = {subject.peer.name: subject for subject in subjects}
    columns = {measure.name: measure for measure in MEASURES}

    def row(name: str, column: str, ours: str, other: str, **target: float) -> Iterator[Row]:
        pair = by_name.get(ours), by_name.get(other)
        if pair[0] is not None and (figure := pair[0].ratio(pair[1], columns[column])) is not None:
            yield Row(name=name, figure=figure, unit="times", against=other, **target)

    yield from row("chunk, burst of 8,000", "8,000", "this library", "openai", at_most=0.15)
    yield from row("line of Ollama's, burst of 8,000", "8,000", "this library, Ollama", "ollama", at_most=1.0)
    yield from row("200 calls at once, per second", "200 calls", "this library", "Mellea", at_least=5.0)


def facts(subjects: list[Subject]) -> Iterator[str]:
    """Write what ran where, and what could not be measured."""
    for subject in subjects:
        if "versions" in subject.facts:
            versions = ", ".join(f"{name} {version}" for name, version in subject.facts["versions"].items())
            where = ", in an environment of its own" if subject.peer.alone else ""
            yield f"{subject.peer.name}: {versions}, Python {subject.facts['python']}{where}"
    for subject in subjects:
        for name, reason in subject.trouble.items():
            yield f"{subject.peer.name}: not measured ({name}): {reason}"


def main() -> int:
    """Measure what the command line asks for; 1 where a name in it does not exist."""
    names = [peer.name for peer in PEERS]
    parser = argparse.ArgumentParser(description="Measure this library beside its peers, and print one table.")
    parser.add_argument("--only", metavar="NAME", nargs="+", default=names, help=f"of: {'; '.join(names)}")
    parser.add_argument("--quick", action="store_true", help="one round: rough figures, soon")
    arguments = parser.parse_args()
    if unknown := set(arguments.only) - set(names):
        print(f"There is no peer {min(unknown)!r}. Valid: {', '.join(map(repr, names))}.")
        return 1
    found_on = machine()
    with started([peer for peer in PEERS if peer.name in arguments.only]) as subjects:
        measured(subjects, quick=arguments.quick)
    print(found_on, *blocks(subjects), table(list(targets(subjects))), LEGEND, sep="\n\n")
    print(*facts(subjects), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
