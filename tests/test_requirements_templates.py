"""Requirements with templates: filled once, for the model that writes and for whoever judges."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mellea_like import (
    Answer,
    CBlock,
    ChatContext,
    FakeBackend,
    Gate,
    Instruction,
    MelleaSession,
    RejectionSamplingStrategy,
    RepairTemplateStrategy,
    Request,
    TemplateError,
    check,
    mfuncs,
    req,
    requires,
    simple_validate,
)

Fake = Callable[..., MelleaSession]

ANA = {"name": "Ana"}


def prompts(m: MelleaSession) -> list[str]:
    assert isinstance(m.backend, FakeBackend)
    return [request.messages[-1].content for request in m.backend.calls]


def test_writer_and_judge_are_told_the_filled_sentence(fake: Fake) -> None:
    m = fake("yes")
    answer = m.instruct("Greet {{ name }}.", requirements=["It names {{ name }}."], user_variables=ANA)
    written, judged = prompts(m)
    assert written == "Greet Ana.\n\nRequirements:\n- It names Ana."
    assert "Requirement: It names Ana." in judged
    assert [verdict.requirement for verdict in answer.validations] == ["It names Ana."]


@pytest.mark.parametrize(
    "ask",
    [
        lambda m, **rest: m.chat("Greet {{ name }}.", user_variables=ANA, await_result=False, **rest).result(),
        lambda m, **rest: m.act(Instruction(description="Greet {{ name }}.", user_variables=ANA), **rest),
        lambda m, **rest: mfuncs.instruct("Go.", m.ctx, m.backend, user_variables=ANA, **rest)[0],
    ],
    ids=["chat", "act", "mfuncs"],
)
@pytest.mark.parametrize("make", [req, check])
def test_every_verb_with_variables_fills_them(fake: Fake, ask: Callable[..., Any], make: Callable[..., Any]) -> None:
    m = fake("yes")
    answer = ask(m, requirements=make("It names {{ name }}."))
    assert [verdict.requirement for verdict in answer.validations] == ["It names Ana."]
    assert "Requirement: It names Ana." in prompts(m)[-1]


def test_those_of_a_strategy_are_filled_for_each_call(fake: Fake) -> None:
    m = fake("yes")
    strategy = RejectionSamplingStrategy(requirements=["It names {{ name }}."])
    for name in ("Ana", "Bob"):
        answer = m.instruct("Go.", user_variables={"name": name}, strategy=strategy)
        assert [verdict.requirement for verdict in answer.validations] == [f"It names {name}."]


def test_a_repair_says_what_was_told(fake: Fake) -> None:
    m = fake(["no", "yes"])
    short = req("as {{ how }} as can be", simple_validate(lambda text: (text == "yes", "It is not.")))
    m.instruct("Go.", requirements=[short], user_variables={"how": "short"}, strategy=RepairTemplateStrategy())
    assert "- as short as can be: It is not." in prompts(m)[1]
    assert short.description == "as {{ how }} as can be"


def test_those_that_judge_while_it_grows_are_filled_too(fake: Fake) -> None:
    polite = check("no {{ word }}", lambda chunk: "damn" not in str(chunk), chunking="word")
    answer = fake("oh damn it").instruct("Go.", requirements=polite, user_variables={"word": "curses"}, strategy=None)
    assert [(v.requirement, v.result) for v in answer.validations] == [("no curses", False)]


def test_a_thunk_among_the_variables_is_waited_for(fake: Fake) -> None:
    gate = Gate()

    def answers(request: Request) -> Any:
        return Answer(["An", gate, "a"]) if request.messages[-1].content == "A name." else "yes"

    m = fake(answers)
    name = m.instruct("A name.", await_result=False)
    thunk = m.instruct("Go.", requirements="It names {{ n }}.", user_variables={"n": name}, await_result=False)
    assert gate.reached(10)
    gate.open()
    assert [verdict.requirement for verdict in thunk.result().validations] == ["It names Ana."]


def test_without_variables_braces_stay_braces(fake: Fake) -> None:
    m = fake("yes")
    answer = m.instruct("Go.", requirements=["It has {{ name }} in it."])
    assert "- It has {{ name }} in it." in prompts(m)[0]
    assert [verdict.requirement for verdict in answer.validations] == ["It has {{ name }} in it."]


def test_a_name_that_is_not_there_is_an_error_where_the_call_was_made(fake: Fake) -> None:
    m = fake("yes")
    for wrong in (req("It names {{ nmae }}."), check("It names {{ nmae }}.")):
        with pytest.raises(TemplateError, match=r"'nmae' is undefined\. Variables given: name"):
            m.instruct("Go.", requirements=[wrong], user_variables=ANA)
    assert prompts(m) == []


def test_the_sentence_of_a_ready_made_one_is_no_template(fake: Fake) -> None:
    m = fake("Dear {{ name }}")
    ready = [requires.contains("{{ name }}"), requires.matches(r"{{ \w+ }}"), requires.one_of("Dear {{ name }}")]
    answer = m.instruct("Write a template for {{ name }}.", requirements=ready, user_variables=ANA)
    assert (answer.success, answer.validations[0].requirement) == (True, "Include '{{ name }}'.")
    assert r"- Match the regular expression '{{ \\w+ }}'." in prompts(m)[0]
    own = requires.matches("Ana", description="It names {{ name }}.")
    told = m.instruct("Go.", requirements=own, user_variables=ANA, strategy=None)
    assert told.validations[0].requirement == "It names Ana."


def test_an_instruction_takes_sentences_and_blocks(fake: Fake) -> None:
    m = fake("ok", ctx=ChatContext())
    m.act(Instruction(description="Go.", requirements=["a {{ x }}", CBlock("b {{ x }}")], user_variables={"x": 1}))
    assert prompts(m)[0].endswith("- a 1\n- b {{ x }}")
