"""The fault table in the documentation names tests and errors that exist."""

from __future__ import annotations

import re
from pathlib import Path

import mellea_like

ROOT = Path(__file__).parents[2]
TABLE = (ROOT / "docs" / "faults.md").read_text("utf-8")


def test_every_row_names_a_test_that_exists():
    files = "\n".join(path.read_text("utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    there = set(re.findall(r"^(?:async )?def (test_\w+)", files, re.MULTILINE))
    rows = [row for row in TABLE.splitlines() if row.startswith("| ") and "| test |" not in row]
    named = [re.findall(r"`(test_\w+)`", row) for row in rows]
    assert len(rows) > 40
    assert [row for row, tests in zip(rows, named, strict=True) if len(tests) != 1] == []
    assert {test for tests in named for test in tests} - there == set()


def test_every_fault_that_is_tested_has_a_row():
    files = [path.read_text("utf-8") for path in Path(__file__).parent.glob("test_faults_*.py")]
    tested = set(re.findall(r"^def (test_\w+)", "\n".join(files), re.MULTILINE))
    left_out = {
        "test_an_address_that_is_none_in_the_environment",
        "test_a_close_before_the_length_that_was_promised",
        "test_a_close_behind_more_than_one_read",
        "test_a_flood_without_any_text",
        "test_a_flood_of_comments",
        "test_silence_is_measured_from_the_last_piece",
    }
    assert tested - set(re.findall(r"`(test_\w+)`", TABLE)) == left_out


def test_every_error_that_is_named_exists():
    named = set(re.findall(r"`([A-Z]\w+[a-z])`", TABLE))
    assert {name for name in named if not hasattr(mellea_like, name)} == set()
