"""What is found in graph files: every mistake with its line, and what may not be meant; and the schema for editors."""

from __future__ import annotations

from pathlib import Path

import pytest
from prompts.conftest import Writer, write  # noqa: F401  # a fixture

from mellea_like import FakeBackend
from mellea_like.errors import InvalidFile
from mellea_like.graph.yaml_form import yaml_graph_schema
from mellea_like.graph.yaml_loading import lint_graph, load_graph
from mellea_like.prompts.file_form import yaml_prompt_schema
from mellea_like.providers import serving

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples" / "yaml"

FINE = """\
state: {text: str, score: float, items: list}
tools: {add: {function: math.sqrt}}
nodes:
  a: {prompt: say, state_key: out}
  b: {type: passthrough}
edges:
  - {from: START, to: a}
  - {from: a, to: b}
  - {from: b, to: END}
"""


def lines_of(text: str, words: str) -> list[int]:
    """List the lines, from 1, that contain the words."""
    return [at for at, line in enumerate(text.splitlines(), 1) if words in line]


def test_a_file_that_is_fine_has_no_faults(write: Writer) -> None:  # noqa: F811
    write("say", "user: '{text}'")
    assert lint_graph(write("g.yaml", FINE)) == []


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_the_examples_have_no_faults(path: Path) -> None:
    assert lint_graph(path) == []


# What is changed in the file above, the line that is told (by what stands there), the fault's code, words of its text.
MISTAKES = [
    ("to: a}", "to: c}", "to: c", "unknown-node", "no node 'c'. Valid: 'END', 'a', 'b'"),
    ("from: b,", "from: bb,", "from: bb", "unknown-node", "Did you mean 'b'?"),
    ("from: START", "from: b", "edges:", "no-entry", "nothing follows START"),
    ("  b: {type", "  END: {}\n  b: {type", "END:", "schema", "needs `prompt`"),
    ("  b: {type", "  END: {type: passthrough}\n  b: {type", "END:", "name", "graph's own node"),
    ("prompt: say", "prompt: sya", "prompt: sya", "prompt", "Did you mean 'say'?"),
    ("prompt: say", "prompt: say, variables: {txt: x}", "txt", "prompt-variable", "needs the variable 'text'"),
    ("prompt: say", "prompt: say, variables: {text: '{topic}'}", "topic", "undeclared-key", "no state key 'topic'"),
    ("prompt: say", "prompt: say, requires: [topic]", "topic", "undeclared-key", "Declare it under `state`"),
    ("prompt: say", "promt: say", "promt", "schema", "Did you mean 'prompt'?"),
    ("prompt: say", "type: lmm, prompt: say", "lmm", "schema", "'llm', 'agent'"),
    ("{type: passthrough}", "{type: passthrough, prompt: x}", "  b:", "schema", "takes no `prompt`"),
    ("{type: passthrough}", "{type: tool, tool: sub}", "sub", "unknown-tool", "no tool 'sub'. Valid: 'add'"),
    ("{type: passthrough}", "{type: map, over: x}", "  b:", "schema", "a node of type 'map' needs `as`"),
    ("{type: passthrough}", "{type: subgraph, graph: no.yaml}", "no.yaml", "subgraph", "no graph file 'no.yaml'"),
    ("prompt: say", "prompt: say, on_error: fallback", "fallback", "schema", "needs `fallback`"),
    ("prompt: say", "type: router, prompt: say, routes: {x: c}", "routes", "unknown-node", "no node 'c'"),
    ("prompt: say", "type: router, prompt: say, routes: {x: a}", "from: a", "router", "do not lead to b"),
    ("to: b}", "to: b, condition: score <}", "score <", "condition", "is not a condition"),
    ("to: b}", "to: b, condition: f(x)}", "f(x)", "condition", "'f(x)' is not allowed"),
    ("to: b}", "to: b, condition: scor > 1}", "scor > 1", "undeclared-key", "Did you mean 'score'?"),
    ("from: a,", "from: [a, b], condition: score > 1,", "[a, b]", "condition", "waits for several nodes"),
    ("to: END", "to: a", "  a:", "endless-circle", "the circle of 'a', 'b' never ends"),
    ("edges:", "loop_limits: {c: 3}\nedges:", "loop_limits", "unknown-node", "no node 'c'"),
    ("edges:", "loop_limits: {a: 0}\nedges:", "loop_limits", "schema", "greater than or equal to 1"),
    ("edges:", "loop_exits: {a: c}\nedges:", "loop_exits", "unknown-node", "no node 'c'"),
    ("score: float", "score: flaot", "flaot", "schema", "no type 'flaot'"),
    ("score: float", "score: {type: int, default: abc}", "abc", "schema", "'abc' is not of the type 'int'"),
    ("score: float", "score: {type: 'list[int]', default: [a]}", "[a]", "schema", "is not of the type 'list[int]'"),
    ("edges:", "nodes: {}\nedges:", "nodes: {}", "twice", "written twice"),
    ("math.sqrt", "math.sqrt, type: shell", "shell", "schema", "'python'"),
]

WARNINGS = [
    ("to: b}", "to: b, condition: score > 1}", "condition", "unmatched-condition", "no condition after 'a' holds"),
    ("  b: {type", "  c: {type: passthrough}\n  b: {type", "  c:", "unreachable", "nothing leads to the node 'c'"),
    ("{type: passthrough}", "{type: interrupt, message: ok?}", "  b:", "no-checkpointer", "kept nowhere"),
    (
        "{type: passthrough}",
        "{type: map, over: '{items}', as: i, node: {prompt: say, state_key: o}, collect: all}",
        "  b:",
        "unbounded-map",
        "no `max_items`",
    ),
    (
        "  - {from: b, to: END}",
        "  - {from: b, to: a, condition: score < 1}\n  - {from: b, to: END}",
        "  a:",
        "unlimited-circle",
        "the circle of 'a', 'b' has no limit",
    ),
]


@pytest.mark.parametrize(("old", "new", "place", "code", "words"), MISTAKES, ids=[case[1] for case in MISTAKES])
def test_a_mistake_is_told_with_its_line_and_the_graph_is_not_loaded(
    write: Writer,  # noqa: F811
    old: str,
    new: str,
    place: str,
    code: str,
    words: str,
) -> None:
    write("say", "user: '{text}'")
    text = FINE.replace(old, new, 1)
    path = write("g.yaml", text)
    faults = [fault for fault in lint_graph(path) if fault.code == code]
    assert faults, lint_graph(path)
    assert any(words in fault.text and fault.line in lines_of(text, place) for fault in faults), faults
    with pytest.raises(InvalidFile) as caught:
        load_graph(path)
    assert words in str(caught.value)


@pytest.mark.parametrize(("old", "new", "place", "code", "words"), WARNINGS, ids=[case[3] for case in WARNINGS])
def test_what_may_not_be_meant_is_a_warning_and_the_graph_is_loaded(
    write: Writer,  # noqa: F811
    old: str,
    new: str,
    place: str,
    code: str,
    words: str,
) -> None:
    write("say", "user: '{text}'")
    text = FINE.replace(old, new, 1)
    path = write("g.yaml", text)
    (fault,) = lint_graph(path)
    assert (fault.code, fault.warning) == (code, True)
    assert words in fault.text
    assert fault.line in lines_of(text, place)
    load_graph(path)


@pytest.mark.parametrize(("shown", "codes"), [("{text}", ["mixed-braces"]), ("{% raw %}{text}{% endraw %}", [])])
def test_single_braces_in_a_jinja_template_may_not_be_meant(write: Writer, shown: str, codes: list[str]) -> None:  # noqa: F811
    write("say", f"user: '{{{{ text }}}} and {shown} and {{other}}'")
    assert [fault.code for fault in lint_graph(write("g.yaml", FINE))] == codes


def test_defaults_that_fit_are_fine(write: Writer) -> None:  # noqa: F811
    write("say", "user: '{text}'")
    keys = "score: {type: float, default: 3}, more: {type: int, default: null}, last: {default: [x]}"
    assert lint_graph(write("g.yaml", FINE.replace("score: float", keys))) == []


def test_a_node_may_be_merged_from_another_and_say_something_else(write: Writer) -> None:  # noqa: F811
    write("say", "user: '{text}'")
    text = FINE.replace("a: {prompt", "a: &a {prompt").replace(
        "b: {type: passthrough}", "b: {<<: *a, state_key: other}"
    )
    path = write("g.yaml", text)
    assert lint_graph(path) == []
    with serving(FakeBackend(answers="Hello")):
        assert load_graph(path).invoke({"text": "hi"}) == {"text": "hi", "out": "Hello", "other": "Hello"}


def test_conditions_that_are_opposites_leave_nothing_open(write: Writer) -> None:  # noqa: F811
    write("say", "user: '{text}'")
    both = "to: b, condition: score > 1}\n  - {from: a, to: END, condition: score <= 1}"
    assert lint_graph(write("g.yaml", FINE.replace("to: b}", both))) == []


def test_a_limit_makes_a_circle_fine(write: Writer) -> None:  # noqa: F811
    write("say", "user: '{text}'")
    assert lint_graph(write("g.yaml", FINE.replace("to: END", "to: a") + "loop_limits: {a: 3}")) == []


def test_all_faults_are_told_at_once_in_the_order_of_their_lines(write: Writer) -> None:  # noqa: F811
    path = write("g.yaml", FINE.replace("to: a}", "to: c}").replace("to: END", "to: d"))
    faults = lint_graph(path)
    assert [fault.line for fault in faults] == sorted(fault.line for fault in faults)
    assert [fault.code for fault in faults] == ["prompt", "unknown-node", "unknown-node"]
    with pytest.raises(InvalidFile) as caught:
        load_graph(path)
    assert [fault.line for fault in caught.value.faults] == [fault.line for fault in faults]


def test_tools_that_are_given_later_can_be_named(write: Writer) -> None:  # noqa: F811
    path = write("g.yaml", "nodes: {a: {type: tool, tool: later, state_key: x}}\nedges: [{from: START, to: a}]")
    assert [fault.code for fault in lint_graph(path)] == ["unknown-tool"]
    assert lint_graph(path, tools=["later"]) == []


@pytest.mark.parametrize("function", ["nomodule.x", "math.nothing", "alone"])
def test_a_function_that_cannot_be_found_is_told_with_its_line(write: Writer, function: str) -> None:  # noqa: F811
    write("say", "user: '{text}'")
    with pytest.raises(InvalidFile, match=r"line 2: .*(nomodule|nothing|named with its module)"):
        load_graph(write("g.yaml", FINE.replace("math.sqrt", function)))


def test_the_schemas_describe_what_the_files_may_say() -> None:
    graph, prompt = yaml_graph_schema(), yaml_prompt_schema()
    assert {"nodes", "edges", "state", "loop_limits"} <= graph["properties"].keys()
    assert {"prompt", "state_key", "as", "routes"} <= graph["$defs"]["NodeForm"]["properties"].keys()
    assert {"from", "to", "condition"} == graph["$defs"]["EdgeForm"]["properties"].keys() - {"type"}
    assert {"user", "template", "system", "schema"} <= prompt["properties"].keys()
    assert graph["additionalProperties"] is prompt["additionalProperties"] is False
