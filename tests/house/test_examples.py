"""Examples: each brings what it needs, says what it shows, and is run by a test; where one has no test, this fails."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

from ._source import ROOT

FOLDER = ROOT / "docs" / "examples"
PARTS = {"serving/program.py": "serving/asking_with_openai.py", "yaml/word_tools.py": "yaml/reflection.yaml"}
"""Files that are no programs, and the example that uses each."""

STARTED = {"tools/mcp_server.py": "tools/mcp_tools.py"}
"""Programs that another example starts."""

EXAMPLES = [path for path in sorted(FOLDER.rglob("*.py")) if str(path.relative_to(FOLDER)) not in PARTS]
METADATA = re.compile(r"\A# /// script\n((?:#(?: .*)?\n)+?)# ///\n")
"""The block of a script's own dependencies, https://packaging.python.org/en/latest/specifications/inline-script-metadata."""

each_example = pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: str(path.relative_to(FOLDER)))


@each_example
def test_it_brings_its_dependencies(example: Path) -> None:
    source = example.read_text("utf-8")
    block = METADATA.match(source)
    assert block, f"{example} does not begin with `# /// script`"
    wanted = tomllib.loads(re.sub(r"^# ?", "", block[1], flags=re.MULTILINE))
    assert wanted["requires-python"] == ">=3.11"
    if "mellea_like" in source:
        ours = wanted["tool"]["uv"]["sources"]["mellea-like"]
        assert (example.parent / ours["path"]).resolve() == ROOT
        assert any(re.fullmatch(r"mellea-like(\[\w+\])?", one) for one in wanted["dependencies"])


@each_example
def test_it_says_what_it_shows_and_how_it_is_started(example: Path) -> None:
    said = ast.get_docstring(ast.parse(example.read_text("utf-8"))) or ""
    assert said.partition("\n")[0].endswith(".")
    assert f"uv run {example.relative_to(ROOT)}" in said
    assert f"[{example.name}]" in (example.parent / "README.md").read_text("utf-8")


@each_example
def test_a_test_runs_it(example: Path) -> None:
    name = str(example.relative_to(FOLDER))
    tests = "".join(path.read_text("utf-8") for path in ROOT.glob("tests/**/test_*.py") if path != Path(__file__))
    assert f'"{STARTED.get(name, name)}"' in tests, "add it to tests/test_examples.py"


@pytest.mark.parametrize(("part", "user"), [*PARTS.items(), *STARTED.items()])
def test_what_belongs_to_an_example_is_used_by_it(part: str, user: str) -> None:
    assert (FOLDER / part).is_file()
    assert re.search(rf"\b{Path(part).stem}\b", (FOLDER / user).read_text("utf-8"))


def test_every_other_file_is_named_by_a_readme_or_an_example() -> None:
    files = [path for path in FOLDER.rglob("*") if path.is_file() and path.suffix in {".yaml", ".jinja2", ".ipynb"}]
    texts = "".join(path.read_text("utf-8") for path in FOLDER.rglob("*") if path.suffix in {".py", ".yaml", ".md"})
    assert [str(path.relative_to(FOLDER)) for path in files if not re.search(rf"\b{path.stem}\b", texts)] == []
