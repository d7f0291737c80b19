"""Signatures: keywords beyond the second parameter, and synchronous verbs that are their asynchronous twins."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from typing import Any

import pytest

import mellea_like
from mellea_like import MelleaSession

from ._source import classes

POSITIONAL: dict[str, str] = {
    "StateGraph.add_conditional_edges": "source, path and mapping, as LangGraph's users know it",
    "execute_prompt_streaming": "the signature of yamlgraph's page",
    "Document.__init__": "text, title and id, as Mellea's users know it",
    "react": "goal, context and backend, as Mellea's users know it",
}
"""Public callables that take more than two arguments by position, and why."""

BY_POSITION = {
    "component.CBlock": "one value",
    "content.Message": "role and content read well by position; the rest is by keyword",
    "backends.fake.Answer": "its steps read well by position",
    "graph.commands.Send": "a node and what it is given",
    "samples.ValidationResult": "a verdict; the rest is by keyword",
}
"""Dataclasses that are not keyword-only, and why."""

VERBS = ("instruct", "act", "chat", "query", "transform", "validate", "react")
LIFETIME = {"aclose"}


def public_callables() -> Iterator[tuple[str, Any]]:
    for name in mellea_like.__all__:
        found = getattr(mellea_like, name)
        if inspect.isfunction(found):
            yield name, found
        elif inspect.isclass(found):
            members = inspect.getmembers(found, inspect.isroutine)
            yield from (
                (f"{name}.{member}", inspect.getattr_static(found, member))
                for member, value in members
                if callable(value) and member in found.__dict__ and (member == "__init__" or not member.startswith("_"))
            )


def test_at_most_two_parameters_go_by_position() -> None:
    by_position = {}
    for name, found in public_callables():
        bound = isinstance(found, staticmethod) or "." not in name
        taken = inspect.signature(getattr(found, "__func__", found)).parameters.values()
        names = [p.name for p in taken if p.kind in {p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD}][not bound :]
        if len(names) > 2 and name not in POSITIONAL:
            by_position[name] = names
    assert by_position == {}


@pytest.mark.parametrize("verb", VERBS)
def test_synchronous_verb_is_its_twin(verb: str) -> None:
    synchronous, twin = getattr(MelleaSession, verb), getattr(MelleaSession, f"a{verb}")
    assert synchronous.__wrapped__ is twin
    assert inspect.signature(synchronous) == inspect.signature(twin)
    assert synchronous.__doc__ == twin.__doc__
    assert (synchronous.__name__, synchronous.__qualname__) == (verb, f"MelleaSession.{verb}")


def test_every_asynchronous_verb_has_a_twin() -> None:
    members = inspect.getmembers(MelleaSession, inspect.iscoroutinefunction)
    verbs = {name for name, _ in members if hasattr(MelleaSession, name[1:])} - LIFETIME
    assert verbs == {f"a{verb}" for verb in VERBS}


def test_dataclasses_are_keyword_only() -> None:
    loose = {
        f"{found.module.name}.{found.name}": found.where
        for found, node in classes()
        for decorator in node.decorator_list
        if found.decorated("dataclass") and "kw_only=True" not in ast.unparse(decorator)
    }
    assert {name: where for name, where in loose.items() if name not in BY_POSITION} == {}
    assert BY_POSITION.keys() - loose.keys() == set(), "no longer needed"
