"""Every Python block of the documents runs; where a text block follows it, it prints exactly that."""

import ast
import asyncio
import contextlib
import inspect
import io
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = ["README.md", "tutorial.md", *sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("docs/**/*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)
REAL_MODEL = re.compile(r"start_session\((?!\s*[f\"'])")


@dataclass
class Chapter:
    """The blocks below one heading of the second rank; they share their names."""

    title: str
    blocks: list[tuple[int, str, str | None]]

    @property
    def source(self) -> str:
        return "".join(code for _, code, _ in self.blocks)


def chapters(path: str) -> list[Chapter]:
    text = (ROOT / path).read_text(encoding="utf-8")
    found = []
    for section in re.finditer(r"(?:^## (.*?)\n|\A)(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL):
        blocks = [
            (text.count("\n", 0, section.start(2) + match.start(1)), match[1], match[2])
            for match in BLOCK.finditer(section[2])
        ]
        if blocks:
            found.append(Chapter(f"{path}: {section[1] or 'top'}", blocks))
    return found


CHAPTERS = [chapter for path in DOCUMENTS for chapter in chapters(path)]


async def run_block(path: str, line: int, code: str, names: dict[str, object]) -> str:
    printed = io.StringIO()
    compiled = compile("\n" * line + code, path, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    with contextlib.redirect_stdout(printed):
        result = eval(compiled, names)
        if inspect.iscoroutine(result):
            await result
    return printed.getvalue()


def lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip("\n").split("\n")]


@pytest.mark.parametrize(
    "chapter",
    [
        pytest.param(chapter, id=chapter.title, marks=[pytest.mark.model] if REAL_MODEL.search(chapter.source) else [])
        for chapter in CHAPTERS
    ],
)
def test_the_blocks_of_a_chapter_run_and_print_what_the_text_shows(chapter: Chapter) -> None:
    async def read() -> None:
        names: dict[str, object] = {"__name__": "__document__"}
        for line, code, expected in chapter.blocks:
            printed = await run_block(chapter.title.partition(":")[0], line, code, names)
            if expected is not None:
                assert lines(printed) == lines(expected), f"{chapter.title}, line {line}"

    asyncio.run(read())


def test_the_tutorial_has_the_chapters_that_other_documents_link_to() -> None:
    text = (ROOT / "tutorial.md").read_text(encoding="utf-8")
    assert "\n## Chapter 12: Asynchronicity\n" in text
    assert "\n## Chapter 13: Streaming Model Outputs\n" in text


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
