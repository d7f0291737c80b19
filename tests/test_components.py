"""Components: what is said, what a thunk in it does, and that nothing of the caller's is ever changed."""

from __future__ import annotations

import asyncio
import json
from collections import namedtuple
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mellea_like import (
    Answer,
    CBlock,
    ComputedModelOutputThunk,
    DependencyFailed,
    Gate,
    Instruction,
    InvalidArgument,
    Message,
    OutputParseError,
    start_session,
)
from mellea_like.component import Document, SimpleComponent, as_json
from mellea_like.parts import Component, Parsing, Saying, once, parsed_by, settled, text_of, thunks_in

GATED = 10.0
"""Seconds after which a wait for the fake model has failed."""


def said(component: Any) -> str:
    """Return what a model is sent for a component."""
    with start_session("fake", answers="ok") as m:
        m.act(component)
        return m.backend.calls[0].messages[-1].content  # type: ignore[attr-defined]


def word(text: str) -> ComputedModelOutputThunk[str]:
    return ComputedModelOutputThunk.of(text)


class Wrapping:
    """The least that a component of a user's can be: two methods, no base class."""

    def __init__(self, inner: object) -> None:
        self.inner = inner
        self.listed = self.rendered = 0

    def parts(self) -> tuple[object, ...]:
        self.listed += 1
        return (self.inner,)

    def messages(self) -> tuple[Message, ...]:
        self.rendered += 1
        return (Message("user", f"<{text_of(self.inner)}>"),)


class Counting(Wrapping):
    """A component that also parses."""

    def parse(self, text: str) -> int:
        return int(text)


# --- how they read --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("component", "text"),
    [
        (Wrapping("a"), "<a>"),
        (Wrapping(Wrapping(word("deep"))), "<<deep>>"),
        (Document("Sales rose."), "Sales rose."),
        (Document("Sales rose.", "Report", "r1"), "[r1] Report\nSales rose."),
        (Document(word("It rained."), title="Weather"), "Weather\nIt rained."),
        (SimpleComponent(), "{}"),
        (
            SimpleComponent(a="é", n=[1, None, True], t=word("thought")),
            '{"a": "é", "n": [1, null, true], "t": "thought"}',
        ),
        (
            SimpleComponent(d=Document("text", "T"), s=SimpleComponent(x={1: word("y")})),
            '{"d": "T\\ntext", "s": {"x": {"1": "y"}}}',
        ),
        (Instruction(description=word("Do {{ it }}."), user_variables={}), "Do {{ it }}."),
        (Instruction(description="Cite {{ d }}.", user_variables={"d": Document("x", "T")}), "Cite T\nx."),
        (Instruction(description="{{ d.title }}", user_variables={"d": Document("x", "T")}), "T"),
    ],
)
def test_a_component_reads_as_it_should(component: Any, text: str) -> None:
    assert said(component) == text


def test_examples_that_a_model_wrote_are_data_and_not_templates() -> None:
    examples = [word("{{ boom }}"), Wrapping("{% boom %}"), "as {{ who }}"]
    text = said(Instruction(description="Go.", icl_examples=examples, user_variables={"who": "Ana"}))
    assert "1. {{ boom }}\n2. <{% boom %}>\n3. as Ana" in text


def test_documents_ground_an_instruction() -> None:
    text = said(Instruction(description="Go.", grounding_context={"r": Document(word("Up."), "Report"), "n": ["a", 1]}))
    assert "[r]\nReport\nUp.\n[n]\n['a', 1]" in text


@pytest.mark.parametrize(
    ("held", "text"),
    [
        ([Document("a"), word("b"), "c"], "a\n\nb\n\nc"),
        ({"x": Document("a"), "y": 1}, "x:\na\n\ny:\n1"),
        ([word("a"), 1], "['a', 1]"),
    ],
)
def test_components_in_a_list_or_dict_read_as_their_text(held: Any, text: str) -> None:
    assert said(Instruction(description="{{ held }}", user_variables={"held": held})) == text


def test_an_instruction_tells_why_the_answer_before_was_not_accepted() -> None:
    text = said(
        Instruction(description="Name a fruit.", requirements=["One word."], repair="- {{ two }} words", prefix="A")
    )
    assert text == (
        "Name a fruit.\n\nRequirements:\n- One word.\n\n"
        "Your answer before this one was not accepted:\n- {{ two }} words\n"
        "Write a new answer that mends this.\n\nBegin your answer with:\nA"
    )
    assert "not accepted" not in said(Instruction(description="Name a fruit.", requirements=["One word."]))


def test_a_named_tuple_keeps_its_names_in_a_template() -> None:
    point = namedtuple("point", "x y")(word("1"), 2)
    assert said(Instruction(description="{{ p.x }},{{ p.y }}", user_variables={"p": point})) == "1,2"


@pytest.mark.parametrize("holder", [list, dict])
def test_what_contains_itself_is_refused(holder: type) -> None:
    circle: Any = holder()
    circle.append(circle) if holder is list else circle.update(me=circle)
    with pytest.raises(InvalidArgument, match="contains itself"):
        said(SimpleComponent(circle=circle))


def test_what_is_no_component_is_refused_with_the_ways_out(fake: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"object cannot be said.*parts\(\).*messages\(\)"):
        fake("ok").act(object())


# --- parsing --------------------------------------------------------------------------------------------------------


def test_two_methods_make_a_component_and_a_third_a_parsing_one() -> None:
    assert isinstance(Wrapping("x"), Component)
    assert not isinstance(Wrapping("x"), Parsing)
    assert isinstance(Counting("x"), Parsing)
    assert parsed_by(Counting("x"), "12") == 12


def test_a_parser_that_does_not_understand_is_an_output_error_that_names_it() -> None:
    with pytest.raises(
        OutputParseError, match="Counting cannot parse the answer: ValueError: invalid literal"
    ) as caught:
        parsed_by(Counting("x"), "twelve")
    assert caught.value.text == "twelve"
    assert isinstance(caught.value.__cause__, ValueError)


# --- read once ------------------------------------------------------------------------------------------------------


def test_a_saying_lists_and_renders_its_component_once() -> None:
    component = Wrapping("before")
    saying = once(component)
    assert isinstance(saying, Saying)
    assert [*saying.parts(), *saying.parts()] == ["before", "before"]
    first = saying.messages()
    component.inner = "after"
    assert saying.messages() == first == (Message("user", "<before>"),)
    assert (component.listed, component.rendered) == (1, 1)


@pytest.mark.parametrize("plain", ["text", Message("user", "x"), word("x")])
def test_what_cannot_change_is_not_wrapped(plain: Any) -> None:
    assert once(plain) is plain


# --- thunks in components -------------------------------------------------------------------------------------------

PLACES = {
    "said": lambda t: t,
    "variable": lambda t: Instruction(description="{{ v }}", user_variables={"v": t}),
    "in a list": lambda t: SimpleComponent(v=["a", [t]]),
    "in a dict": lambda t: SimpleComponent(v={"a": {"b": t}}),
    "in a tuple": lambda t: SimpleComponent(v=(1, (t,))),
    "in a set": lambda t: SimpleComponent(v=frozenset({t})),
    "in a component": lambda t: Wrapping(Wrapping(t)),
    "in a component in a dict": lambda t: SimpleComponent(v={"a": Document(t)}),
    "grounding": lambda t: Instruction(description="x", grounding_context={"g": [Document(t)]}),
    "example": lambda t: Instruction(description="x", icl_examples=[t]),
    "prefix": lambda t: Instruction(description="x", prefix=t),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_running_thunk_is_awaited_wherever_it_stands(place: str, fake: Any) -> None:
    gate = Gate()
    m = fake([Answer(["ear", gate, "lier"]), "later"])
    first = m.instruct("one", await_result=False)
    second = m.act(PLACES[place](first), await_result=False)
    assert gate.reached(GATED)
    assert len(m.backend.calls) == 1
    gate.open()
    assert second.result(GATED).value == "later"
    assert "earlier" in m.backend.calls[1].messages[0].content


@pytest.mark.parametrize("place", PLACES)
def test_a_thunk_that_failed_fails_the_call_that_needs_it(place: str, fake: Any) -> None:
    m = fake([Answer([ValueError("broken")]), "never"])
    first = m.instruct("one", await_result=False)
    with pytest.raises(DependencyFailed, match="broken"):  # at the call, or at its thunk where the call had to wait
        m.act(PLACES[place](first))
    assert len(m.backend.calls) == 1


async def test_independent_thunks_run_at_once(fake: Any) -> None:
    gates = [Gate(), Gate(), Gate()]
    m = fake(
        lambda request: (
            "sum"
            if request.messages[0].content.startswith("{")
            else Answer([gates[int(request.messages[0].content)], "x"])
        )
    )
    parts = [m.instruct(str(number), await_result=False) for number in range(3)]
    whole = m.act(SimpleComponent(parts=parts), await_result=False)
    for gate in gates:  # all wait at once, though none of them has ended
        assert await asyncio.to_thread(gate.reached, GATED)
    for gate in reversed(gates):
        gate.open()
    assert await whole.avalue() == "sum"


async def test_a_diamond_runs_each_node_once(fake: Any) -> None:
    gate = Gate()
    names = []

    def answer(request: Any) -> Any:
        text = request.messages[0].content
        names.append(text.split()[0])
        return Answer([gate, "root"]) if text == "top" else f"({text})"

    m = fake(answer)
    top = m.instruct("top", await_result=False)
    left, right = (
        m.instruct(f"{side} {{{{ top }}}}", user_variables={"top": top}, await_result=False)
        for side in ("left", "right")
    )
    bottom = m.instruct("bottom {{ l }} {{ r }} {{ l }}", user_variables={"l": left, "r": right}, await_result=False)
    gate.open()
    assert await bottom.avalue() == "(bottom (left root) (right root) (left root))"
    assert sorted(names) == ["bottom", "left", "right", "top"]


# --- the caller's own lists and dicts -------------------------------------------------------------------------------

TEXTS = st.text('ab{} é"\n', max_size=6)
LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), TEXTS, TEXTS.map(word))
NESTED = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(TEXTS, inner, max_size=3),
        st.tuples(inner, inner),
        inner.map(Document),
    ),
    max_leaves=12,
)


def shape(part: Any) -> Any:
    """Describe a structure by the identity of everything in it."""
    if isinstance(part, dict):
        return id(part), [(key, shape(value)) for key, value in part.items()]
    if isinstance(part, list | tuple):
        return id(part), [shape(value) for value in part]
    return id(part)


def shown(part: Any) -> Any:
    """Say what a structure is to read as."""
    if isinstance(part, dict):
        return {key: shown(value) for key, value in part.items()}
    if isinstance(part, list | tuple):
        return [shown(value) for value in part]
    if isinstance(part, ComputedModelOutputThunk):
        return part.value
    return text_of(part) if isinstance(part, Document) else part


@given(st.dictionaries(st.sampled_from("abc"), NESTED, max_size=3))
def test_rendering_changes_nothing_of_the_callers(parts: dict[str, Any]) -> None:
    before = shape(parts)
    component = SimpleComponent(**parts)
    list(thunks_in(component))
    assert json.loads(component.messages()[0].content) == shown(parts)
    filled = "".join(f"{{{{ {name} }}}}" for name in parts)
    Instruction(description=filled, user_variables=parts, grounding_context=parts).messages()
    assert shape(parts) == before


@given(NESTED)
def test_settled_has_the_texts_and_leaves_the_original_as_it_was(part: Any) -> None:
    before = shape(part)
    assert json.loads(as_json(settled(part))) == shown(part)
    assert shape(part) == before


def test_a_template_cannot_change_what_it_is_given() -> None:
    names = ["Ana"]
    with pytest.raises(Exception, match="append"):
        said(Instruction(description="{{ names.append('Bo') }}", user_variables={"names": names}))
    assert names == ["Ana"]


def test_a_block_holds_text_only() -> None:
    with pytest.raises(InvalidArgument, match="CBlock holds text, not int: 3"):
        CBlock(3)  # type: ignore[arg-type]
