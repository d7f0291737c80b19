"""Every Python block of the documents runs; where a text block follows a block, it prints exactly that."""

import ast
import asyncio
import contextlib
import inspect
import io
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from house.test_floors import FLOORS

ROOT = Path(__file__).parent.parent
DOCUMENTS = ["README.md", "tutorial.md", *sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("docs/**/*.md"))]
BLOCK = re.compile(r"^```(python|yaml|bash)\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"# ([\w./-]+\.(?:py|yaml))\n")
REAL_MODEL = re.compile(r'start_session\((?!\s*(?:"fake"|f?"replay))')


@dataclass
class Block:
    """A block of code: its language, the line before it, and what it prints, where the text shows that."""

    language: str
    line: int
    code: str
    expected: str | None

    @property
    def file(self) -> str | None:
        """The name of the file that the block is the text of; its first line says so."""
        named = NAMED.match(self.code)
        return named and named[1]

    @property
    def runs(self) -> bool:
        return self.language == "python" or (self.language == "bash" and self.expected is not None)


@dataclass
class Chapter:
    """The blocks below one heading of the second rank; they share their names, and a folder for their files."""

    title: str
    blocks: list[Block]

    @property
    def source(self) -> str:
        return "".join(block.code for block in self.blocks)


def chapters(path: str) -> list[Chapter]:
    text = (ROOT / path).read_text(encoding="utf-8")
    found = []
    for section in re.finditer(r"(?:^## (.*?)\n|\A)(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL):
        blocks = [
            Block(match[1], text.count("\n", 0, section.start(2) + match.start(2)), match[2], match[3])
            for match in BLOCK.finditer(section[2])
        ]
        if any(block.runs for block in blocks):
            found.append(Chapter(f"{path}: {section[1] or 'top'}", blocks))
    return found


CHAPTERS = [chapter for path in DOCUMENTS for chapter in chapters(path)]


async def run_python(path: str, block: Block, names: dict[str, object]) -> str:
    printed = io.StringIO()
    compiled = compile("\n" * block.line + block.code, path, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    with contextlib.redirect_stdout(printed):
        result = eval(compiled, names)
        if inspect.iscoroutine(result):
            await result
    return printed.getvalue()


def run_bash(block: Block) -> str:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # where `mellea-like` is
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block.code],
        env={**os.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip("\n").split("\n")]


@pytest.mark.parametrize(
    "chapter",
    [
        pytest.param(chapter, id=chapter.title, marks=[pytest.mark.model] if REAL_MODEL.search(chapter.source) else [])
        for chapter in CHAPTERS
    ],
)
def test_the_blocks_of_a_chapter_run_and_print_what_the_text_shows(
    chapter: Chapter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def read() -> None:
        names: dict[str, object] = {"__name__": "__document__"}
        for block in chapter.blocks:
            if block.file:
                (tmp_path / block.file).parent.mkdir(exist_ok=True)
                (tmp_path / block.file).write_text(block.code, encoding="utf-8")
                continue
            if not block.runs:
                continue
            document = chapter.title.partition(":")[0]
            printed = await run_python(document, block, names) if block.language == "python" else run_bash(block)
            if block.expected is not None:
                assert lines(printed) == lines(block.expected), f"{chapter.title}, line {block.line}"

    monkeypatch.chdir(tmp_path)
    asyncio.run(read())


def test_the_tutorial_has_the_chapters_that_other_documents_link_to() -> None:
    text = (ROOT / "tutorial.md").read_text(encoding="utf-8")
    assert "\n## Chapter 12: Asynchronicity\n" in text
    assert "\n## Chapter 13: Streaming Model Outputs\n" in text


def test_the_chapters_of_the_tutorial_are_numbered_in_order() -> None:
    text = (ROOT / "tutorial.md").read_text(encoding="utf-8")
    numbers = [int(number) for number in re.findall(r"^## Chapter (\d+): ", text, re.MULTILINE)]
    assert numbers == list(range(1, 19))


def anchors(path: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_between_the_documents_lead_somewhere(document: str) -> None:
    path = ROOT / document
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", path.read_text(encoding="utf-8")):
        file, _, anchor = target.partition("#")
        other = (path.parent / file).resolve() if file else path
        assert other.exists(), f"{document} links to {target}"
        assert not anchor or anchor in anchors(other), f"{document} links to {target}"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_tests_that_a_document_names_exist(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    assert [path for path in re.findall(r"`(tests/[\w/.]+)`", text) if not (ROOT / path).exists()] == []


def test_the_plan_of_the_house_is_that_of_the_floors() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    drawn = {
        int(floor): set(re.findall(r"`(\w+)`", rooms)) for floor, rooms in re.findall(r"\| (\d) \| (.*?) \|", text)
    }
    assert drawn == {number: set(rooms) for number, rooms in enumerate(FLOORS[:-1])}


def test_every_folder_of_examples_is_in_the_sites_navigation() -> None:
    site = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    folders = sorted(path.parent.name for path in ROOT.glob("docs/examples/*/README.md"))
    assert [name for name in folders if f"examples/{name}/README.md" not in site] == []
