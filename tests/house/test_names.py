"""Names are the field's words, and a file never hides what the front door gives."""

from __future__ import annotations

import re

import mellea_like

from ._source import definitions, modules

BANNED = {"util", "utils", "helper", "helpers", "manager", "handler", "handlers", "process", "data", "obj"}
ALLOWED = {"WrongProcess": "the operating system's process"}


def words(name: str) -> set[str]:
    """Cut a name into lower-case words: `"GenerationMetadata"` is generation and metadata."""
    return set(re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().split("_"))


def test_names_say_something() -> None:
    named = {module.path.stem: module.at(1) for module in modules()}
    named |= {found.node.name: found.where for found in definitions()}
    assert [where for name, where in named.items() if words(name) & BANNED and name not in ALLOWED] == []


def test_no_module_bears_a_public_name() -> None:
    tops = {module.name: module.at(1) for module in modules() if "." not in module.name}
    assert [tops[name] for name in tops.keys() & set(mellea_like.__all__)] == []
