"""Graphs in YAML files: what each type of node does, where it goes on, how it fails, how it streams."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prompts.conftest import Writer, write  # noqa: F401  # a fixture

from mellea_like import Answer, BackendUnavailable, FakeBackend, Gate, RequestRefused
from mellea_like.errors import InvalidFile, NodeFailed
from mellea_like.graph.commands import Command
from mellea_like.graph.stores import MemoryBackend
from mellea_like.graph.yaml_loading import load_graph
from mellea_like.providers import serving

Graph = Callable[..., Any]


def said(request: Any) -> str:
    """Answer with what was asked, in brackets."""
    return f"[{request.messages[-1].content}]"


@pytest.fixture
def graph(write: Writer) -> Graph:  # noqa: F811
    """Load a graph that is written here, on a backend that says what it was asked, in brackets."""

    def load(text: str, *, answers: Any = said, **rest: Any) -> Any:
        write("say", "user: '{text}'")
        return load_graph(write("graph.yaml", text), backend=rest.pop("backend", FakeBackend(answers=answers)), **rest)

    return load


def causes(error: BaseException) -> list[BaseException]:
    """List an error and what it came from."""
    found = [error]
    while (cause := found[-1].__cause__) is not None:
        found.append(cause)
    return found


def fails_with(compiled: Any, state: Any, kind: type[BaseException], words: str) -> None:
    with pytest.raises(NodeFailed) as caught:
        compiled.invoke(state)
    assert any(isinstance(error, kind) and words in str(error) for error in causes(caught.value))


ONE = """
nodes:
  generate: {type: llm, prompt: say, stream: true, state_key: response}
edges:
  - {from: START, to: generate}
  - {from: generate, to: END}
"""


def test_a_node_writes_its_state_key(graph: Graph) -> None:
    assert graph(ONE).invoke({"text": "hi"}) == {"text": "hi", "response": "[hi]"}


async def test_a_graph_streams_its_tokens_before_the_model_is_done(graph: Graph) -> None:
    gate = Gate()
    stream = graph(ONE, answers=Answer(["one ", gate, "two"])).astream({"text": "hi"}, stream_mode="messages")
    mode, chunk = await anext(stream)
    assert (mode, chunk.content, chunk.node) == ("messages", "one ", "generate")
    gate.open()
    assert [chunk.content async for _, chunk in stream] == ["two"]


async def test_leaving_the_loop_stops_the_model(graph: Graph, talker: Any) -> None:
    async with graph(ONE, backend=talker).astream({"text": "hi"}, stream_mode="messages") as stream:
        async for _ in stream:
            break
    assert await asyncio.to_thread(talker.is_stopped)


def test_variables_name_places_in_the_state(graph: Graph) -> None:
    compiled = graph(
        """
        state: {user: dict, note: str, seen: list}
        nodes:
          a:
            prompt: say
            state_key: out
            variables: {text: "{state.user.name} of {user.towns}, {note}|", unused: "{user}"}
        edges: [{from: START, to: a}]
        """
    )
    assert compiled.invoke({"user": {"name": "Ana", "towns": ["X", "Y"]}})["out"] == "[Ana of X, Y, |]"


def test_a_place_that_the_state_has_not_is_named(graph: Graph) -> None:
    compiled = graph(ONE.replace("state_key: response", "state_key: response, variables: {text: '{state.nobody}'}"))
    fails_with(compiled, {"somebody": 1}, Exception, "nothing at 'nobody'. It holds: 'somebody'")


def test_what_a_node_requires_must_be_there(graph: Graph) -> None:
    compiled = graph(ONE.replace("stream: true", "requires: [text, topic]"))
    fails_with(compiled, {"text": "hi"}, Exception, "'generate' requires 'topic'")


def test_a_node_can_be_skipped_where_its_key_is_there(graph: Graph) -> None:
    compiled = graph(ONE.replace("stream: true", "skip_if_exists: true"))
    assert compiled.invoke({"text": "hi", "response": "old"})["response"] == "old"


def test_a_prompts_schema_makes_an_object_that_conditions_look_into(graph: Graph, write: Writer) -> None:  # noqa: F811
    write("judge", "user: '{text}'\nschema: {fields: {score: {type: float}}}")
    compiled = graph(
        """
        nodes:
          judge: {prompt: judge, state_key: verdict}
          good: {type: passthrough, output: {word: "fine: {verdict.score}"}}
          bad: {type: passthrough, output: {word: poor}}
        edges:
          - {from: START, to: judge}
          - {from: judge, to: good, condition: verdict.score >= 0.5}
          - {from: judge, to: bad}
        """,
        answers=['{"score": 0.9}', '{"score": 0.1}'],
    )
    assert compiled.invoke({"text": "x"})["word"] == "fine: 0.9"
    assert compiled.invoke({"text": "x"})["word"] == "poor"


def test_the_first_condition_that_holds_is_taken(graph: Graph) -> None:
    compiled = graph(
        """
        state: {n: int, word: str}
        nodes:
          small: {type: passthrough, output: {word: small}}
          middle: {type: passthrough, output: {word: middle}}
          large: {type: passthrough, output: {word: large}}
        edges:
          - {from: START, to: small, condition: n < 10}
          - {from: START, to: middle, condition: n < 100}
          - {from: START, to: large}
        """
    )
    assert [compiled.invoke({"n": n})["word"] for n in (1, 50, 500)] == ["small", "middle", "large"]


def test_where_no_condition_holds_the_run_fails_and_lists_them(graph: Graph) -> None:
    compiled = graph(
        """
        nodes: {a: {type: passthrough}}
        edges:
          - {from: START, to: a, condition: n < 10}
          - {from: START, to: a, condition: n > 10}
        """
    )
    with pytest.raises(Exception, match=r"none of the conditions holds: 'n < 10', 'n > 10'"):
        compiled.invoke({"n": 10})


LOOP = """
state: {n: int}
tools: {more: {function: steps.more}}
nodes:
  step: {type: python, tool: more, state_key: n}
  exit: {type: passthrough, output: {left: true}}
edges:
  - {from: START, to: step}
  - {from: step, to: step, condition: n < 10}
  - {from: step, to: END, condition: n >= 10}
loop_limits: {step: 3}
"""


@pytest.mark.parametrize(("exits", "left"), [("", None), ("loop_exits: {step: exit}", True)])
def test_a_loop_ends_at_its_limit_and_leaves_by_its_exit(graph: Graph, write: Writer, exits: str, left: Any) -> None:  # noqa: F811
    write("steps.py", "def more(state): return state['n'] + 1")
    state = graph(LOOP + exits).invoke({"n": 0})
    assert (state["n"], state.get("left")) == (3, left)
    assert graph(LOOP + exits).invoke({"n": 8})["n"] == 10
    updates = graph(LOOP + exits).stream({"n": 0}, stream_mode="updates")
    assert [next(iter(update.values())) for update in updates][:3] == [{"n": 1}, {"n": 2}, {"n": 3}]


def test_nodes_of_one_step_run_at_once_and_a_join_waits_for_them(graph: Graph) -> None:
    gates = {"left": Gate(), "right": Gate()}

    def answer(request: Any) -> Answer:
        word = request.messages[-1].content
        return Answer([gates[word], word])

    compiled = graph(
        """
        nodes:
          a: {prompt: say, state_key: one, variables: {text: left}}
          b: {prompt: say, state_key: two, variables: {text: right}}
          c: {type: passthrough, output: {both: "{one}+{two}"}}
        edges:
          - {from: START, to: [a, b]}
          - {from: [a, b], to: c}
        """,
        answers=answer,
    )
    run = compiled.start({})
    for gate in gates.values():  # both wait before either may go on
        assert gate.reached(10)
    for gate in gates.values():
        gate.open()
    assert run.result().parsed["both"] == "left+right"


def test_reducers_join_what_several_nodes_write(graph: Graph) -> None:
    compiled = graph(
        """
        state:
          notes: {type: list, reducer: add, default: [begin]}
          ranked: {type: list, reducer: sorted_add}
          found: {type: dict, reducer: merge}
        nodes:
          a: {type: passthrough, output: {notes: [a], ranked: [2], found: {x: 1}}}
          b: {type: passthrough, output: {notes: [b], ranked: [1], found: {y: 2}}}
        edges: [{from: START, to: [a, b]}]
        """
    )
    for _ in range(2):  # a default is every run's own
        state = compiled.invoke({})
        assert state == {"notes": ["begin", "a", "b"], "ranked": [1, 2], "found": {"x": 1, "y": 2}}


def test_a_default_is_every_runs_own(graph: Graph, write: Writer) -> None:  # noqa: F811
    write("mine.py", "def grow(state):\n    state['seen']['all'].append(1)\n    return state['seen']")
    compiled = graph(
        """
        state: {seen: {type: dict, default: {all: []}}}
        tools: {grow: {function: mine.grow}}
        nodes: {a: {type: python, tool: grow, state_key: seen}}
        edges: [{from: START, to: a}]
        """
    )
    assert [compiled.invoke({}) for _ in range(2)] == [{"seen": {"all": [1]}}] * 2


# --- routers, maps, tools, subgraphs, interrupts ----------------------------------------------------------------------


ROUTER = """
nodes:
  route: {type: router, prompt: say, routes: {happy: up, sad: down}, state_key: mood DEFAULT}
  up: {type: passthrough, output: {word: up}}
  down: {type: passthrough, output: {word: down}}
edges:
  - {from: START, to: route}
  - {from: route, to: [up, down], type: conditional}
"""


def test_a_router_holds_the_model_to_its_routes(graph: Graph) -> None:
    backend = FakeBackend(answers=['"sad"', "happy"])
    compiled = graph(ROUTER.replace(" DEFAULT", ""), backend=backend)
    state = compiled.invoke({"text": "x"})
    assert (state["mood"], state["word"]) == ("sad", "down")
    assert compiled.invoke({"text": "x"})["word"] == "up"
    assert backend.calls[0].schema["enum"] == ["happy", "sad"]


def test_a_router_that_has_its_answer_goes_where_it_leads(graph: Graph) -> None:
    compiled = graph(ROUTER.replace(" DEFAULT", ", skip_if_exists: true"), backend=FakeBackend(answers=[]))
    assert compiled.invoke({"text": "Hm.", "mood": "sad"})["word"] == "down"


@pytest.mark.parametrize("default", [None, "down"])
def test_a_router_that_fails_is_passed_over_where_it_has_a_default(graph: Graph, default: str | None) -> None:
    how = ", on_error: skip" + (f", default_route: {default}" if default else "")
    compiled = graph(ROUTER.replace(" DEFAULT", how), backend=FakeBackend(answers="[no route"))
    if default is None:
        with pytest.raises(NodeFailed, match="OutputParseError"):
            compiled.invoke({"text": "Hm."})
    else:
        state = compiled.invoke({"text": "Hm."})
        assert (state["word"], len(state["errors"])) == ("down", 1)


def test_a_router_may_look_at_a_field_of_a_schema(graph: Graph, write: Writer) -> None:  # noqa: F811
    write("tone", "user: '{text}'\nschema: {fields: {tone: {type: str}}}")
    text = ROUTER.replace("prompt: say", "prompt: tone, route_field: tone")
    compiled = graph(text.replace("DEFAULT", ", default_route: down"), answers=['{"tone": "happy"}', '{"tone": "odd"}'])
    assert [compiled.invoke({"text": "x"})["word"] for _ in range(2)] == ["up", "down"]


def test_a_route_that_nobody_knows_is_an_error_that_lists_those_there_are(graph: Graph, write: Writer) -> None:  # noqa: F811
    write("tone", "user: '{text}'\nschema: {fields: {tone: {type: str}}}")
    compiled = graph(ROUTER.replace("prompt: say", "prompt: tone").replace(" DEFAULT", ""), answers='{"tone": "odd"}')
    fails_with(compiled, {"text": "x"}, ValueError, "'odd'. Valid: 'happy', 'sad'")


MAP = """
nodes:
  each:
    type: map
    over: "{state.words}"
    as: word
    node: {prompt: say, variables: {text: "{word.name} {_map_index}"}, state_key: said}
    collect: all
    max_items: 3
edges: [{from: START, to: each}]
"""


def test_a_map_runs_its_node_for_each_item_and_keeps_the_order(graph: Graph) -> None:
    words = [{"name": name} for name in "abcd"]
    assert graph(MAP).invoke({"words": words})["all"] == ["[a 0]", "[b 1]", "[c 2]"]


def test_the_items_of_a_map_run_at_once_and_one_that_fails_stops_the_others(graph: Graph) -> None:
    gates = [Gate(), Gate()]

    def answer(request: Any) -> Answer:
        at = int(request.messages[-1].content[-1])
        return Answer([gates[at], BackendUnavailable("gone") if at else Gate()])

    run = graph(MAP, answers=answer).start({"words": [{"name": "a"}, {"name": "b"}]})
    for gate in gates:
        assert gate.reached(10)
    for gate in gates:
        gate.open()
    with pytest.raises(NodeFailed, match="gone"):
        run.result(10)


def test_a_map_over_no_list_says_what_it_found(graph: Graph) -> None:
    fails_with(graph(MAP), {"words": "abc"}, Exception, "which is 'abc' and no list")


def test_tools_are_functions_of_files_and_modules(graph: Graph, write: Writer) -> None:  # noqa: F811
    write("mine.py", "def whole(state): return {'x': state['n'] + 1}\nasync def named(a, b): return f'{a}-{b}'")
    compiled = graph(
        """
        state: {n: int, which: str}
        tools:
          whole: {type: python, function: mine.whole}
          named: {module: mine, function: named}
          root: {function: math.sqrt}
        nodes:
          a: {type: python, tool: whole, state_key: x}
          b: {type: tool, tool: named, args: {a: "{n}", b: "{x}"}, state_key: y}
          c: {type: tool_call, tool: "{which}", args: {x: 9}, state_key: z}
        edges: [{from: START, to: a}, {from: a, to: b}, {from: b, to: c}]
        """,
        tools={"given": lambda x: x * 2},
    )
    assert compiled.invoke({"n": 3, "which": "given"}) == {"n": 3, "which": "given", "x": 4, "y": "3-4", "z": 18}
    fails_with(compiled, {"n": 3, "which": "no"}, ValueError, "There is no tool 'no'. Valid: 'given', 'named'")


def test_an_agent_calls_the_files_tools(graph: Graph, write: Writer) -> None:  # noqa: F811
    from mellea_like import ToolCallEvent

    write("mine.py", 'def add(a: int, b: int) -> int:\n    """Add."""\n    return a + b\n')
    call = ToolCallEvent(index=0, id="1", name="add", arguments='{"a": 2, "b": 3}', complete=True)
    backend = FakeBackend(answers=[Answer([call]), "It is 5."])
    compiled = graph(
        """
        tools: {add: {function: mine.add}}
        nodes: {a: {type: agent, prompt: say, tools: [add], state_key: out}}
        edges: [{from: START, to: a}]
        """,
        backend=backend,
    )
    assert compiled.invoke({"text": "2 + 3?"})["out"] == "It is 5."
    assert "5" in backend.calls[1].messages[-1].content


def test_a_graph_in_a_graph_is_a_node(graph: Graph, write: Writer) -> None:  # noqa: F811
    write("inner/graph.yaml", ONE.replace("prompt: say", "prompt: ./shout.yaml"))
    write("inner/shout.yaml", "user: '{text}!'")
    compiled = graph(
        """
        nodes:
          sub:
            type: subgraph
            graph: inner/graph.yaml
            input_mapping: {text: "{topic}"}
            output_mapping: {out: response}
        edges: [{from: START, to: sub}]
        """
    )
    assert compiled.invoke({"topic": "cats"}) == {"topic": "cats", "out": "[cats!]"}
    tokens = [chunk.content for _, chunk in compiled.stream({"topic": "cats"}, stream_mode="messages")]
    assert tokens == ["[cats!]"]


def test_a_graph_cannot_contain_itself(graph: Graph) -> None:
    with pytest.raises(InvalidFile, match=r"contains itself: graph.yaml -> graph.yaml"):
        graph("nodes: {a: {type: subgraph, graph: graph.yaml}}\nedges: [{from: START, to: a}]")


def test_an_interrupt_waits_for_an_answer(graph: Graph) -> None:
    compiled = graph(
        """
        nodes:
          ask: {type: interrupt, message: "Who is {topic}?", resume_key: name, state_key: question}
          greet: {prompt: say, variables: {text: "Hi {name}"}, state_key: out}
        edges: [{from: START, to: ask}, {from: ask, to: greet}]
        checkpointer: {type: memory}
        """
    )
    thread = {"thread_id": "1"}
    assert compiled.invoke({"topic": "it"}, thread)["__interrupt__"][0].value == "Who is it?"
    state = compiled.invoke(Command(resume="Ana"), thread)
    assert (state["name"], state["question"], state["out"]) == ("Ana", "Who is it?", "[Hi Ana]")


def test_a_checkpointer_may_be_a_file(graph: Graph, tmp_path: Path) -> None:
    compiled = graph(ONE + "checkpointer: {type: sqlite, path: runs.db}")
    compiled.invoke({"text": "hi"}, {"thread_id": "1"})
    assert (tmp_path / "runs.db").exists()


# --- failing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plain", [True, False])
def test_a_node_that_fails_fails_the_run_after_its_tokens(graph: Graph, plain: bool) -> None:
    text = ONE if plain else ONE.replace("stream: true", "parse_json: true")
    compiled = graph(text, answers=Answer(["Hel", "lo", BackendUnavailable("gone")]))
    stream = compiled.stream({"text": "hi"}, stream_mode="messages")
    assert [next(stream)[1].content, next(stream)[1].content] == ["Hel", "lo"]
    with pytest.raises(NodeFailed, match="gone"):
        next(stream)


def test_a_node_may_be_passed_over_where_it_fails(graph: Graph) -> None:
    compiled = graph(ONE.replace("stream: true", "on_error: skip"), answers=[BackendUnavailable("gone"), "fine"])
    state = compiled.invoke({"text": "hi"})
    assert "response" not in state
    assert state["errors"] == ["generate: BackendUnavailable: gone"]
    assert compiled.invoke({"text": "hi"})["response"] == "fine"


def test_a_node_may_be_tried_again(graph: Graph) -> None:
    retry = ONE.replace("stream: true", "on_error: retry, max_retries: 2, retry_delay: 0")
    gone = BackendUnavailable("gone")
    assert graph(retry, answers=[gone, gone, "fine"]).invoke({"text": "hi"})["response"] == "fine"
    with pytest.raises(NodeFailed, match="gone"):
        graph(retry, answers=[gone, gone, gone]).invoke({"text": "hi"})


def test_another_provider_may_be_asked_where_one_fails(
    graph: Graph,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fallback = ONE.replace("stream: true", "on_error: fallback, fallback: {provider: mistral, model: m}")
    with serving(FakeBackend(answers=[BackendUnavailable("gone"), "from the other"])):
        assert graph(fallback, backend=None).invoke({"text": "hi"})["response"] == "from the other"


def test_closing_a_synchronous_stream_stops_the_model(graph: Graph, talker: Any) -> None:
    with graph(ONE, backend=talker).stream({"text": "hi"}, stream_mode="messages") as stream:
        next(stream)
    assert talker.is_stopped()


def test_a_timeout_ends_a_node(graph: Graph, talker: Any) -> None:
    compiled = graph(ONE.replace("stream: true", "timeout: 0.05"), backend=talker)
    with pytest.raises(Exception, match=r"0\.05"):
        compiled.invoke({"text": "hi"})
    assert talker.is_stopped()


def test_an_answer_may_be_read_as_json(graph: Graph) -> None:
    compiled = graph(ONE.replace("stream: true", "parse_json: true"), answers=['```json\n{"a": [1]}\n```', "no"])
    assert compiled.invoke({"text": "hi"})["response"] == {"a": [1]}
    fails_with(compiled, {"text": "hi"}, ValueError, "not JSON")


def test_whom_a_node_asks_is_its_own_then_its_prompts_then_the_files(
    graph: Graph,
    write: Writer,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("MELLEA_LIKE_OVERRIDE", "MISTRAL_API_KEY", "ANTHROPIC_API_KEY", "XAI_API_KEY", "PROVIDER"):
        monkeypatch.delenv(name, raising=False)
    write("own", "user: '{text}'\nprovider: anthropic")
    usual = ONE + "defaults: {provider: mistral, temperature: 0.1, max_tokens: 7}"
    for text, wanted in (
        (usual, "mistral"),
        (usual.replace("prompt: say", "prompt: own"), "anthropic"),
        (usual.replace("prompt: say", "prompt: own, provider: xai"), "xai"),
    ):
        fails_with(graph(text, backend=None), {"text": "x"}, RequestRefused, f"'{wanted}' wants a key")
    backend = FakeBackend(answers="ok")
    graph(usual, backend=backend).invoke({"text": "x"})
    assert dict(backend.calls[0].options) == {"temperature": 0.1, "max_new_tokens": 7}


def test_a_checkpointer_can_be_given(graph: Graph) -> None:
    store = MemoryBackend()
    graph(ONE, checkpointer=store).invoke({"text": "hi"}, {"thread_id": "mine"})
    assert asyncio.run(store.exists("mine"))


@pytest.mark.model
@pytest.mark.parametrize(
    ("name", "state", "key"),
    [
        ("greeting", {"name": "World"}, "greeting"),
        ("reflection", {"topic": "cats"}, "words"),
        ("routing", {"message": "Hooray!", "names": ["Ana", "Bo"]}, "greetings"),
    ],
)
def test_the_example_graphs_run_on_a_real_model(
    monkeypatch: pytest.MonkeyPatch, name: str, state: dict[str, Any], key: str
) -> None:
    monkeypatch.setenv("MELLEA_LIKE_OVERRIDE", "llamacpp")
    folder = Path(__file__).parents[2] / "docs" / "examples" / "yaml"
    assert load_graph(folder / f"{name}.yaml").invoke(state)[key]


MAP_ALONE = MAP.replace("{word.name} {_map_index}", "{word}")


def test_closing_a_synchronous_stream_stops_what_a_map_began(graph: Graph, talker: Any) -> None:
    with graph(MAP_ALONE, backend=talker).stream({"words": ["a"]}, stream_mode="messages") as stream:
        next(stream)
    assert talker.is_stopped()
