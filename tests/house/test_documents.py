"""The documents name files, commands and options that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mellea_like.cli import main

from ._source import PACKAGE, ROOT

DOCUMENTS = [ROOT / "README.md", ROOT / "tutorial.md", *sorted(ROOT.glob("docs/**/*.md"))]
PATH = re.compile(r"`((?:[\w.-]+/)+[\w.-]*|[\w-]+\.(?:py|md|yaml|jinja2|ipynb))`")
COMMAND = re.compile(r"mellea-like ([a-z]+)([^\n`|#>]*)")
STAND_INS = {"backends/x.py", "mellea_like/backends/x.py"}
"""Names for a file that a reader is to add."""

each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


@each_document
def test_every_path_that_is_named_exists(document: Path) -> None:
    named = PATH.findall(re.sub(r"^```.*?^```", "", document.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL))
    homes = [ROOT, PACKAGE, document.parent, *ROOT.glob("docs/examples/*")]
    missing = [path for path in named if not any((home / path).exists() for home in homes)]
    assert [path for path in missing if path not in STAND_INS] == []


@each_document
def test_every_command_and_option_that_is_named_exists(document: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command, rest in COMMAND.findall(document.read_text("utf-8")):
        with pytest.raises(SystemExit, match="0"):
            main([command, "--help"])
        helped = capsys.readouterr().out
        assert [option for option in re.findall(r"(?<!\w)--[\w-]+", rest) if option not in helped] == [], command
