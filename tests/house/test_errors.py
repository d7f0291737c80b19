"""Errors: ours, drawn in one tree, raised by name; and nothing is caught that cannot be named."""

from __future__ import annotations

import ast
import builtins
import inspect
import re

from mellea_like import errors

from ._source import functions, modules, scoped

OURS = {
    name: kind for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, errors.MelleaError)
}
PROTOCOL = {"AttributeError", "StopIteration", "StopAsyncIteration", "NotImplementedError"}
"""What Python itself asks an object to raise."""

ALLOWED = {
    "encoding.json_form.JSONForm._shown": "user code: a value that cannot be shown must not end the stream",
    "display.live.Showing._follow": "a page that has gone must not print into another cell",
    "cli.settings._ran": "user code: a file that fails must not end a chat",
    "engine.Run.__init__": "stops what was begun, and raises again",
    "engine._fill": "the pump: stores what a source raised, for every reader",
    "engine.in_worker.run": "carries what user code raised to whoever awaits it",
    "graph.execution.events_of": "a run ends in one terminal event, whatever is raised in it",
    "graph.nodes.llm.started": "closes what was opened, and raises again",
    "graph.outcomes.computed": "stops a thunk that nobody waits for any more, and raises again",
    "graph.working._delay": "user code: what `retry_on` raises is noted on what the node failed with",
    "graph.working.worked": "user code: what a node raises is what the node failed with",
    "graph.yaml_nodes.YamlNode.__call__": "the file says that whatever fails here is passed over",
    "tools.mcp_client.Server._serve": "whatever the package raises means that there is no server",
    "sampling.judging.all_of": "stops the others, and raises again",
    "sampling.judging.GrowthWatch._looked": "user code: what it raised is its verdict",
    "formats.schemas.judged": "a validator of the user's may raise anything, and the text goes on growing",
    "server.answering.ProgramAnswerer.answer": "user code: its client is told that it failed",
    "server.guard.Guard.__call__": "the last line: what is raised becomes an answer, and its text no log line",
    "telemetry._tell_sinks": "a sink's mistake must not fail the call",
    "telemetry.telling._Teller._serve": "a listener's mistake must not silence the others",
    "tools.MelleaTool.bound": "user code: the model is told what it raised",
    "tools.MelleaTool._finished": "user code: the model is told what it raised",
    "tools.MelleaTool._work": "user code: the model is told what it raised",
    "tools.workbench.Workbench._ask": "user code: a question that fails is not agreed to",
    "session.functional.awaited": "stops the generation and raises on",
    "home._Visit.result": "stops what was begun, and raises again",
    "responses.events.Sending.frames": "user code: whatever a source raises, the reader is told",
    "sampling.driver._Sampling._attempt": "carries what an attempt raised to whoever awaits it",
    "sampling.judging.Judges._guarded": "user code: what it raised is its verdict",
    "sampling.judging._said": "user code: what it raised is its verdict",
}
"""Where everything may be caught, and why."""


def returned_errors() -> set[str]:
    """List the functions that build one of our errors, as their annotation says; `fresh_copy` gives what it gets."""
    return {node.name for _, node in functions() if node.returns and ast.unparse(node.returns) in {*OURS, "E"}}


def test_every_raise_names_an_error_of_ours() -> None:
    raisable = {*OURS, *PROTOCOL, *returned_errors()}
    foreign = [
        f"{module.at(node.lineno)} {ast.unparse(node)[:60]}"
        for module in modules()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Raise) and node.exc is not None and not _is_raisable(node.exc, raisable)
    ]
    assert foreign == []


def _is_raisable(raised: ast.expr, raisable: set[str]) -> bool:
    called = raised.func if isinstance(raised, ast.Call) else raised
    name = called.attr if isinstance(called, ast.Attribute) else ast.unparse(called)
    # A variable holds an error that was caught or stored; a class, or a call, must be known.
    return name in raisable or (isinstance(raised, ast.Name) and not hasattr(builtins, name) and name.islower())


def test_each_class_says_when_it_is_raised() -> None:
    assert [name for name, kind in OURS.items() if not (kind.__doc__ or "").startswith("Raised when ")] == []


def test_the_tree_is_drawn_as_it_is() -> None:
    drawn: dict[str, list[str]] = {}
    above: list[str] = []
    for branch, name, mixed in re.findall(r"^ {4}([ │├└─]*)([A-Z]\w+)(?: +\((\w+)\))?", errors.__doc__, re.MULTILINE):
        depth = len(branch) // 4
        above[depth:] = [name]
        drawn[name] = [above[depth - 1] if depth else "Exception", *filter(None, [mixed])]
    assert drawn == {name: [base.__name__ for base in kind.__bases__] for name, kind in OURS.items()}


def test_broad_excepts_are_the_allowed_ones() -> None:
    broad = {
        ".".join([module.name, *(outer.name for outer in scope)]): module.at(node.lineno)
        for module in modules()
        for node, scope in scoped(module.tree)
        if isinstance(node, ast.ExceptHandler | ast.Call) and _catches_everything(node)
    }
    assert {name: where for name, where in broad.items() if name not in ALLOWED} == {}
    assert ALLOWED.keys() - broad.keys() == set(), "no longer needed"


def _catches_everything(node: ast.ExceptHandler | ast.Call) -> bool:
    if isinstance(node, ast.ExceptHandler) and node.type is None:
        return True
    if isinstance(node, ast.Call) and not ast.unparse(node.func).endswith("suppress"):
        return False
    caught = [node.type] if isinstance(node, ast.ExceptHandler) else node.args
    return any(re.search(r"\b(Base)?Exception\b", ast.unparse(kind)) for kind in caught if kind)
