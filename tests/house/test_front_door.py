"""`mellea_like/__init__.py`: complete, sorted, importable, documented, and the same to a type checker as to Python."""

from __future__ import annotations

import ast
import inspect
import re

import pytest

import mellea_like
from mellea_like import errors, events

from ._source import ROOT, modules

NAMES = [name for name in mellea_like.__all__ if name != "__version__"]
DOCUMENTS = ("README.md", "tutorial.md")


def test_all_is_sorted_and_listed_once() -> None:
    assert mellea_like.__all__ == sorted(set(mellea_like.__all__))
    assert dir(mellea_like) == mellea_like.__all__


def test_type_checkers_see_what_python_sees() -> None:
    front = next(module for module in modules() if module.name == "")
    block = next(node for node in front.tree.body if isinstance(node, ast.If))
    seen = {
        (node.module, alias.name)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname == alias.name
    }
    assert seen == {(room, name) for room, names in mellea_like._ROOMS.items() for name in names}


@pytest.mark.parametrize("name", NAMES)
def test_name_is_importable_and_bears_the_public_path(name: str) -> None:
    found = getattr(mellea_like, name)
    if inspect.isclass(found) or inspect.isfunction(found):
        assert found.__module__ == "mellea_like"


def test_every_error_and_every_event_is_public() -> None:
    roots = (errors.MelleaError, events.Event)
    kinds = [kind for room in (errors, events) for kind in vars(room).values() if inspect.isclass(kind)]
    missing = {kind.__name__ for kind in kinds if issubclass(kind, roots)} - set(NAMES)
    assert missing == set()


def test_every_name_is_documented() -> None:
    written = "".join((ROOT / document).read_text("utf-8") for document in DOCUMENTS)
    missing = [name for name in NAMES if not re.search(rf"\b{name}\b", written)]
    assert missing == [], f"not in {' or '.join(DOCUMENTS)}"


def test_an_unknown_name_says_which_exist() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'Thnuk'; public names: .*ModelOutputThunk"):
        _ = mellea_like.Thnuk
