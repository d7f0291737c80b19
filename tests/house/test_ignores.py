"""Every ignored complaint has a code, and every ignored type a reason; there are few of either."""

from __future__ import annotations

import io
import re
import tokenize

from ._source import modules

MOST = {"type: ignore": 20, "noqa": 25}
WELL_FORMED = {
    "type: ignore": r"# type: ignore\[[a-z-]+(, ?[a-z-]+)*\]  # \w.+",
    "noqa": r"# noqa: [A-Z]+\d+(, ?[A-Z]+\d+)*(  # \w.+)?",
}


def comments(word: str) -> dict[str, str]:
    """Give the place and text of every comment that has `word` in it."""
    return {
        module.at(token.start[0]): token.string
        for module in modules()
        for token in tokenize.generate_tokens(io.StringIO(module.text).readline)
        if token.type == tokenize.COMMENT and word in token.string
    }


def test_ignores_are_specific_and_few() -> None:
    for word, form in WELL_FORMED.items():
        found = comments(word)
        assert {at: text for at, text in found.items() if not re.fullmatch(form, text)} == {}
        assert len(found) <= MOST[word], found
