"""What a session can do besides `instruct`, `act` and `chat`: ask about objects, judge, remember, be copied."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mellea_like import (
    ChatContext,
    FakeBackend,
    Gate,
    InvalidArgument,
    MelleaSession,
    NotComputed,
    Request,
    SessionClosed,
    ToolCallEvent,
    UnknownName,
    UnknownTool,
    WrongToolArguments,
    check,
    mfuncs,
    mify,
    start_backend,
    start_session,
)

Fake = Callable[..., MelleaSession]


@mify(funcs_include={"transposed", "scaled"})
class Table:
    """Two rows."""

    def __init__(self, rows: list[list[int]]) -> None:
        self.rows = rows

    def __str__(self) -> str:
        return " / ".join(",".join(map(str, row)) for row in self.rows)

    def transposed(self) -> "Table":
        """Swap rows and columns."""
        return Table([list(column) for column in zip(*self.rows, strict=True)])

    async def scaled(self, by: int) -> "Table":
        """Multiply every number."""
        return Table([[by * cell for cell in row] for row in self.rows])


def wish(name: str, arguments: str = "{}") -> list[Any]:
    return [ToolCallEvent(id="1", name=name, arguments=arguments, complete=True)]


def test_a_query_shows_the_object_and_the_question(fake: Fake) -> None:
    m = fake("4")
    assert m.query([1, 4, 2], "Which is the largest?").value == "4"
    sent = m.last_prompt()
    assert sent is not None
    assert "[1, 4, 2]" in sent[-1].content
    assert "Which is the largest?" in sent[-1].content


def test_a_query_streams_and_can_have_a_type(fake: Fake) -> None:
    m = fake(["4", "4"])
    assert "".join(m.query([1], "Largest?", await_result=False)) == "4"
    assert m.query([1], "Largest?", format=int).parsed == 4


def test_a_transform_without_a_tool_gives_the_answer(fake: Fake) -> None:
    assert fake("b, a").transform("a, b", "Turn it around.").value == "b, a"


@pytest.mark.parametrize(
    ("name", "arguments", "text"), [("transposed", "{}", "1,3 / 2,4"), ("scaled", '{"by": 2}', "2,4 / 6,8")]
)
async def test_a_transform_calls_the_method_that_the_model_chose(
    name: str, arguments: str, text: str, fake: Fake
) -> None:
    table = Table([[1, 2], [3, 4]])
    m = fake([wish(name, arguments)])
    assert str(await m.atransform(table, "Do it.")) == text
    assert str(table) == "1,2 / 3,4"


def test_a_transform_offers_the_chosen_methods_and_works_without_a_loop(fake: Fake) -> None:
    m = fake([wish("scaled", '{"by": 3}')])
    assert str(m.transform(Table([[1]]), "Three times, please.")) == "3"
    assert isinstance(m.backend, FakeBackend)
    offered = [tool["function"]["name"] for tool in m.backend.calls[0].tools]
    assert sorted(offered) == ["scaled", "transposed"]


def test_a_transform_with_a_wrong_call_says_so(fake: Fake) -> None:
    m = fake([wish("deleted"), wish("scaled", '{"by": "many"}')])
    with pytest.raises(UnknownTool, match=r"'deleted'.*'scaled', 'transposed'"):
        m.transform(Table([[1]]), "Delete it.")
    with pytest.raises(WrongToolArguments, match="by"):
        m.transform(Table([[1]]), "Scale it.")


def test_validate_judges_the_last_answer_or_a_given_one(fake: Fake) -> None:
    m = fake("all lower", ctx=ChatContext())
    with pytest.raises(InvalidArgument, match="no answer to judge"):
        m.validate([str.islower])
    m.chat("Hi")
    (lower,) = m.validate([str.islower])
    assert lower
    upper, context = m.validate(
        [check("upper", lambda ctx: ctx.last_output().value.isupper()), str.islower], output="A"
    )
    assert (upper.result, context.result) == (True, False)
    assert [verdict.requirement for verdict in (upper, context)] == ["upper", "islower"]


def test_validate_has_model_options_for_the_model_that_judges(fake: Fake) -> None:
    m = fake("yes")
    told = {"system": "Be strict.", "seed": 3, "temperature": 0.5}
    assert all(m.validate("It is short.", output="x", model_options=told))
    assert all(mfuncs.validate("It is short.", m.ctx, m.backend, output="x", model_options=told))
    elsewhere = FakeBackend("other", answers="yes")
    assert all(m.validate(check("It is short.", judge=elsewhere), output="x", model_options=told))
    assert isinstance(m.backend, FakeBackend)
    for request in (*m.backend.calls, *elsewhere.calls):
        assert [message.role for message in request.messages] == ["system", "user"]
        assert (request.options["seed"], request.options["temperature"]) == (3, 0.5)
    with pytest.raises(UnknownName, match="temprature"):
        m.validate("It is short.", output="x", model_options={"temprature": 1})


def test_a_turn_has_its_role_by_position_too(fake: Fake) -> None:
    m = fake("yes")
    m.chat("Be brief.", "system")
    mfuncs.chat("Be brief.", m.ctx, m.backend, role="system")
    assert isinstance(m.backend, FakeBackend)
    assert [request.messages[0].role for request in m.backend.calls] == ["system", "system"]


def test_validate_waits_for_a_running_answer(fake: Fake) -> None:
    gate = Gate()
    m = fake([["low", gate, "er"]])
    thunk = m.instruct("Go.", await_result=False)
    assert gate.reached(10)
    gate.open()
    assert m.validate([lambda text: text == "lower"], output=thunk)[0]


def test_a_clone_shares_the_backend_and_goes_on_by_itself() -> None:
    with start_session("fake", ctx=ChatContext(), answers=["one", "two", "three"]) as m:
        m.chat("a")
        with m.clone() as other:
            other.chat("b")
            assert (len(m.ctx.view()), len(other.ctx.view())) == (1, 2)
            assert other.backend is m.backend
        with pytest.raises(SessionClosed):
            other.chat("c")
        assert m.chat("c").content == "three"


def test_the_last_prompt_is_what_was_sent(fake: Fake) -> None:
    m = fake("x", ctx=ChatContext())
    assert m.last_prompt() is None
    m.chat("first")
    m.instruct("Say {{ word }}.", user_variables={"word": "this"}, model_options={"system_prompt": "Be brief."})
    assert isinstance(m.backend, FakeBackend)
    assert m.last_prompt() == m.backend.calls[-1].messages


def test_a_chat_is_saved_and_resumed(fake: Fake, tmp_path: Path) -> None:
    m = fake(lambda request: f"{len(request.messages)} turns", ctx=ChatContext())
    m.chat("one")
    m.save(tmp_path / "chat.json")
    resumed = fake(lambda request: f"{len(request.messages)} turns")
    resumed.load(tmp_path / "chat.json")
    assert resumed.chat("two").content == "3 turns"
    assert isinstance(resumed.ctx, ChatContext)


def test_saving_while_an_answer_runs_is_refused(fake: Fake, tmp_path: Path) -> None:
    gate = Gate()
    m = fake([[gate, "x"]], ctx=ChatContext())
    thunk = m.chat("Hi", await_result=False)
    with pytest.raises(NotComputed):
        m.save(tmp_path / "chat.json")
    gate.open()
    thunk.result()


def test_an_option_of_the_call_wins_by_whatever_name(fake: Fake) -> None:
    m = fake("one two three", model_options={"max_tokens": 1})
    assert m.instruct("Count.", model_options={"max_new_tokens": 2}).value == "one two"
    assert m.instruct("Count.", model_options={"num_predict": None}).value == "one two three"


def test_a_typed_agent_shows_its_answer_as_it_grows(fake: Fake) -> None:
    thunk = fake("[1, 2]").react("Count.", tools=[], format=list[int], await_result=False)
    assert list(thunk.items()) == [1, 2]


# --- samples --------------------------------------------------------------------------------------------------------


def test_an_answer_that_nothing_judges_is_a_sample_too(fake: Fake) -> None:
    m = fake(["one", "two", "three"])
    for strategy in ({}, {"strategy": None}):
        found = m.instruct("Go.", return_sampling_results=True, **strategy)
        assert (found.success, found.result_index, found.result_validations) == (True, 0, [])
        assert [sample.text for sample in found.samples] == [found.value]
    assert m.act("Go.", return_sampling_results=True).sample_generations[0].value == "three"


def test_samples_cannot_be_streamed(fake: Fake) -> None:
    m = fake("text")
    for verb in (m.instruct, m.act):
        with pytest.raises(InvalidArgument, match="so there is nothing to stream"):
            verb("Go.", return_sampling_results=True, await_result=False)
    assert m.backend.calls == []


# --- without a session ----------------------------------------------------------------------------------------------


def test_free_functions_take_a_context_and_give_the_next() -> None:
    def answer(request: Request) -> str:
        return f"{len(request.messages)} messages"

    empty, backend = start_backend("fake", ctx=ChatContext(), answers=answer)
    first, one = mfuncs.instruct("a", empty, backend)
    left, two = mfuncs.chat("b", one, backend)
    right, other = mfuncs.act("c", one, backend)
    assert [thunk.value for thunk in (first, left, right)] == ["1 messages", "3 messages", "3 messages"]
    assert [len(context.view()) for context in (empty, one, two, other)] == [0, 1, 2, 2]
    assert left.parsed.role == "assistant"


async def test_free_functions_stream_and_judge() -> None:
    context, backend = start_backend("fake", ctx=ChatContext(), answers=["no", "YES", "4"])
    thunk, after = await mfuncs.ainstruct("a", context, backend, requirements=[str.isupper], await_result=False)
    assert [delta async for delta in thunk] == ["YES"]
    assert (await mfuncs.avalidate([str.isupper, str.islower], after, backend))[0]
    found, _ = await mfuncs.aquery([1, 4], "Largest?", after, backend)
    assert found.value == "4"


def test_free_functions_give_samples() -> None:
    context, backend = start_backend("fake", ctx=ChatContext(), answers=["no", "YES", "maybe"])
    found, after = mfuncs.instruct("a", context, backend, requirements=[str.isupper], return_sampling_results=True)
    assert ([sample.text for sample in found.samples], found.value, found.result_index) == (["no", "YES"], "YES", 1)
    assert after.last_output().value == "YES"
    found, _ = mfuncs.act("b", after, backend, return_sampling_results=True)
    assert (found.value, found.success) == ("maybe", True)
    with pytest.raises(InvalidArgument, match="so there is nothing to stream"):
        mfuncs.act("b", after, backend, return_sampling_results=True, await_result=False)


async def test_a_free_transform_gives_the_methods_result() -> None:
    context, backend = start_backend("fake", answers=[wish("transposed"), "as it is"])
    turned, _ = await mfuncs.atransform(Table([[1, 2]]), "Turn it.", context, backend)
    assert str(turned) == "1 / 2"
    answer, _ = mfuncs.transform(Table([[1, 2]]), "Leave it.", context, backend)
    assert answer.value == "as it is"
