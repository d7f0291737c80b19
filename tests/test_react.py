"""The agent loop: turns, tools, budget, formats and confirmation, with tool calls of the model's own and in JSON."""

import asyncio
import json
import threading
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from pydantic import BaseModel

from mellea_like.agent import react
from mellea_like.backends.fake import Answer, FakeBackend, Gate
from mellea_like.content import Message, Request
from mellea_like.context import ChatContext, SimpleContext
from mellea_like.errors import (
    BackendUnavailable,
    GenerationCancelled,
    InvalidArgument,
    LoopBudgetExhausted,
    RequestRefused,
    Truncated,
)
from mellea_like.events import Delta, Event, Finished, Said, Started, ToolCallEvent, ToolResult, Usage
from mellea_like.session import MelleaSession
from mellea_like.tools import tool

PATIENCE = 10.0


class City(BaseModel):
    name: str
    people: int


def add(a: int, b: int) -> int:
    """Add two whole numbers."""
    return a + b


async def double(a: int) -> int:
    """Double a whole number."""
    return 2 * a


@tool(confirm=True)
def erase(path: str) -> str:
    """Erase a file."""
    return f"erased {path}"


def calling(*calls: tuple[str, str], text: str = "") -> Answer:
    wanted = [
        ToolCallEvent(index=i, name=name, arguments=arguments, id=f"id{i}", complete=True)
        for i, (name, arguments) in enumerate(calls)
    ]
    return Answer([*([text] if text else []), *wanted], finish_reason="tool_calls", usage=Usage(output_tokens=1))


def answering(text: str) -> Answer:
    return Answer(text, usage=Usage(output_tokens=10))


ADD = calling(("add", '{"a": 1, "b": 2}'))


async def run(backend: FakeBackend, **rest: Any) -> Any:
    tools = rest.pop("tools", [add, double])
    return (await react("Work it out.", rest.pop("context", SimpleContext()), backend, tools=tools, **rest))[0]


async def events(backend: FakeBackend, **rest: Any) -> list[Event]:
    thunk = await run(backend, await_result=False, **rest)
    return [event async for event in thunk.events()]


def told(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, ToolResult)]


# --- turns -----------------------------------------------------------------------------------------------------------


async def test_a_model_without_a_wish_answers_at_once() -> None:
    answer = await run(FakeBackend(answers="It is so."))
    assert (answer.value, answer.finish_reason, answer.tool_calls) == ("It is so.", "stop", ())


async def test_tools_are_offered_carried_out_and_told_until_there_is_an_answer() -> None:
    both = calling(("add", '{"a": 1, "b": 2}'), ("double", '{"a": 5}'), text="Let me see. ")
    backend = FakeBackend(answers=[both, calling(("double", '{"a": 3}')), answering("It is 6.")])
    answer = await run(backend)
    assert answer.value == "It is 6."
    first, second, third = backend.calls
    assert [one["function"]["name"] for one in first.tools] == ["add", "double"]
    assert first.messages == (Message("user", "Work it out."),)
    wish, *results = second.messages[1:]
    assert (wish.role, wish.content, [call.name for call in wish.tool_calls]) == (
        "assistant",
        "Let me see. ",
        ["add", "double"],
    )
    assert results == [Message("tool", "3", tool_call_id="id0"), Message("tool", "10", tool_call_id="id1")]
    assert third.messages[-1] == Message("tool", "6", tool_call_id="id0")


async def test_events_show_every_turn_live_with_its_number() -> None:
    gate = Gate()
    backend = FakeBackend(answers=[ADD, Answer(["It ", gate, "is 3."])])
    thunk = await run(backend, await_result=False)
    seen = []
    async for event in thunk.events():
        seen.append((event.type, event.attempt))
        if isinstance(event, Delta) and event.text == "It ":
            assert thunk.partial_text == ""
            assert not thunk.done()
            gate.open()
    assert seen == [
        ("started", 1),
        ("tool_call", 1),
        ("tool_result", 1),
        ("started", 2),
        ("delta", 2),
        ("delta", 2),
        ("finished", 2),
    ]


async def test_plain_readers_see_the_answer_alone() -> None:
    backend = FakeBackend(answers=[calling(("add", '{"a": 1, "b": 2}'), text="Not this. "), "It is 3."])
    thunk = await run(backend, await_result=False)
    assert "".join([delta async for delta in thunk]) == "It is 3."
    assert (await thunk).tool_calls == ()


async def test_usage_is_that_of_all_turns() -> None:
    assert (await run(FakeBackend(answers=[ADD, ADD, answering("3")]))).usage == Usage(output_tokens=12)


async def test_calls_without_ids_are_given_some() -> None:
    bare = Answer([ToolCallEvent(name="add", arguments='{"a": 1, "b": 2}', complete=True)], finish_reason="tool_calls")
    backend = FakeBackend(answers=[bare, "3"])
    await run(backend)
    wish, result = backend.calls[1].messages[1:]
    assert wish.tool_calls[0].id == result.tool_call_id == "call_1_0"


async def test_the_context_holds_goal_calls_results_and_answer() -> None:
    before = ChatContext().add(Message("user", "I am Ana."))
    backend = FakeBackend(answers=[ADD, "It is 3."])
    thunk, after = await react("Go on.", before, backend, tools=[add], await_result=False)
    assert thunk is after.last_output()
    await thunk
    assert [message.content for message in backend.calls[0].messages] == ["I am Ana.", "Go on."]
    roles = [message.role for turn in after.view() for message in turn.messages()]
    assert roles == ["user", "user", "assistant", "tool", "assistant"]


async def test_a_thunk_in_the_conversation_is_awaited_first() -> None:
    gate = Gate()
    earlier, context = await react(
        "Earlier.", ChatContext(), FakeBackend(answers=Answer([gate, "Yes."])), tools=[], await_result=False
    )
    backend = FakeBackend(answers="Later.")
    thunk, _ = await react("And?", context, backend, tools=[], await_result=False)
    gate.open()
    assert (await thunk).value == "Later."
    assert [message.content for message in backend.calls[0].messages] == ["Earlier.", "Yes.", "And?"]
    assert earlier.done()


# --- what goes wrong -------------------------------------------------------------------------------------------------


async def test_what_goes_wrong_with_a_tool_is_told_and_the_model_may_mend_it() -> None:
    backend = FakeBackend(
        answers=[calling(("ad", "{}"), ("add", '{"a": "x"}')), calling(("add", '{"a": 1, "b": 2}')), "3"]
    )
    seen = await events(backend)
    assert min(told(seen)[:2]).startswith("The arguments of tool 'add' are wrong: a: Input should be")
    assert "There is no tool 'ad'. Did you mean 'add'?" in told(seen)[0] + told(seen)[1]
    assert told(seen)[2] == "3"
    assert isinstance(seen[-1], Finished)


async def test_an_agent_that_finds_no_end_says_what_it_did() -> None:
    thunk = await run(FakeBackend(answers=ADD), loop_budget=3, await_result=False)
    with pytest.raises(LoopBudgetExhausted, match="no answer after 3 turns; tools called: add, add, add") as caught:
        await thunk
    assert [message.role for message in caught.value.messages] == ["assistant", "tool"] * 3
    assert thunk.usage == Usage(output_tokens=3)


async def test_a_backend_that_fails_in_a_later_turn_fails_the_agent() -> None:
    with pytest.raises(BackendUnavailable, match="gone"):
        await run(FakeBackend(answers=[ADD, [BackendUnavailable("gone")]]))


async def test_a_turn_without_its_end_is_truncated() -> None:
    with pytest.raises(Truncated):
        await run(FakeBackend(answers=[ADD, Answer("It is", truncated=True)]))


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ({"loop_budget": 0}, "loop_budget is 0"),
        ({"tools": [add, add]}, "Two tools are called 'add'"),
        ({"tools": [erase]}, "'erase' runs only after it was confirmed"),
    ],
)
async def test_a_mistaken_call_is_refused_before_anything_is_sent(rest: dict[str, Any], said: str) -> None:
    backend = FakeBackend(answers="x")
    with pytest.raises(InvalidArgument, match=said):
        await run(backend, **rest)
    assert backend.calls == []


async def test_cancelling_stops_the_tool_that_runs() -> None:
    begun, gone = asyncio.Event(), asyncio.Event()

    async def hang() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            gone.set()

    thunk = await run(FakeBackend(answers=calling(("hang", "{}"))), tools=[hang], await_result=False)
    await asyncio.wait_for(begun.wait(), PATIENCE)
    await thunk.cancel()
    await asyncio.wait_for(gone.wait(), PATIENCE)
    with pytest.raises(GenerationCancelled):
        await thunk


async def test_a_caller_that_is_cancelled_stops_the_agent() -> None:
    gate = Gate()
    asking = asyncio.create_task(run(FakeBackend(answers=[ADD, Answer([gate, "3"])])))
    await asyncio.to_thread(gate.reached, PATIENCE)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking  # the fixture sees that nothing was left running


async def test_tools_run_where_the_caller_is() -> None:
    seen: list[Any] = []

    def threaded() -> None:
        seen.append(threading.current_thread().name)

    async def looped() -> None:
        seen.append(asyncio.get_running_loop())

    await run(FakeBackend(answers=[calling(("threaded", ""), ("looped", "")), "3"]), tools=[threaded, looped])
    assert set(seen) == {"mellea-like worker", asyncio.get_running_loop()}


async def test_a_tool_may_call_the_session_that_remembers_its_agent() -> None:
    said = iter([calling(("look", "{}"), ("look", "{}")), answering("It is blue.")])

    def look() -> str:
        return m.instruct("Which colour?").value

    def answer(request: Request) -> Any:
        return "blue" if request.messages[-1].content == "Which colour?" else next(said)

    async with MelleaSession(FakeBackend(answers=answer), ChatContext()) as m:
        thunk = await m.areact("Look.", tools=[look], native=True, await_result=False)
        assert (await asyncio.wait_for(thunk, PATIENCE)).value == "It is blue."
        assert thunk.done()


# --- confirmation ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("agreed", "result"), [(True, "erased a"), (False, "Tool 'erase' was not run")])
async def test_a_tool_that_must_be_confirmed_asks(agreed: bool, result: str) -> None:
    asked = []

    async def ask(call: Any) -> bool:
        asked.append(call.arguments)
        return agreed

    backend = FakeBackend(answers=[calling(("erase", '{"path": "a"}')), "Done."])
    seen = await events(backend, tools=[erase], confirm=ask)
    assert (asked, told(seen)[0][: len(result)]) == (['{"path": "a"}'], result)
    assert backend.calls[1].messages[-1].content == told(seen)[0]


# --- formats ---------------------------------------------------------------------------------------------------------

OSLO = '{"name": "Oslo", "people": 700000}'


async def test_an_answer_that_has_the_type_is_taken_as_it_is() -> None:
    backend = FakeBackend(answers=[ADD, OSLO])
    assert (await run(backend, format=City)).parsed == City(name="Oslo", people=700000)


async def test_an_answer_in_prose_is_asked_for_again_in_the_type_without_tools() -> None:
    backend = FakeBackend(answers=[ADD, "Oslo, I think.", [OSLO]])
    answer = await run(backend, format=City)
    assert (answer.value, answer.parsed) == (OSLO, City(name="Oslo", people=700000))
    assert [bool(request.schema) for request in backend.calls] == [False, False, True]
    assert [bool(request.tools) for request in backend.calls] == [True, True, False]


async def test_a_typed_answer_that_stays_wrong_uses_the_budget_up() -> None:
    backend = FakeBackend(answers=["Oslo.", '{"name": 1}', '{"name": 2}'])
    with pytest.raises(LoopBudgetExhausted):
        await run(backend, format=City, loop_budget=3)
    assert "people: Field required" in backend.calls[2].messages[-1].content


# --- in JSON ---------------------------------------------------------------------------------------------------------


def move(**said: Any) -> list[str]:
    return [json.dumps(said)]


async def test_a_model_that_cannot_call_tools_says_its_moves_in_json() -> None:
    backend = FakeBackend(answers=[move(tool="add", arguments={"a": 1, "b": 2}), move(answer="It is 3.")])
    seen = await events(backend, native=False)
    assert [(event.type, event.attempt) for event in seen] == [
        ("started", 1),
        ("delta", 1),
        ("tool_call", 1),
        ("tool_result", 1),
        ("started", 2),
        ("delta", 2),
        ("delta", 3),
        ("finished", 3),
    ]
    rules, goal, wish, result = backend.calls[1].messages
    assert rules.role == "system"
    assert "- add: Add two whole numbers." in rules.content
    assert (goal.role, wish.role, result) == ("user", "assistant", Message("user", "Result of add: 3"))
    assert backend.calls[1].tools == ()


async def test_in_json_plain_readers_see_the_answer_alone() -> None:
    backend = FakeBackend(answers=[move(tool="add", arguments={"a": 1, "b": 2}), move(answer="It is 3.")])
    thunk = await run(backend, native=False, await_result=False)
    assert [delta async for delta in thunk] == ["It is 3."]


async def test_in_json_the_schema_offers_each_tool_and_the_answer() -> None:
    def visit(city: City) -> None:
        """Go there."""

    backend = FakeBackend(answers=move(answer=json.loads(OSLO)))
    answer = await run(backend, native=False, tools=[visit, add], format=City)
    assert answer.parsed == City(name="Oslo", people=700000)
    schema = backend.calls[0].schema
    assert schema is not None
    said, went, added = schema["anyOf"]
    assert said["properties"]["answer"]["title"] == "City"
    assert went["properties"]["tool"] == {"const": "visit"}
    assert went["properties"]["arguments"]["properties"]["city"] == {"$ref": "#/$defs/visit.City"}
    assert set(schema["$defs"]) == {"visit.City"}
    assert added["properties"]["arguments"]["required"] == ["a", "b"]


async def test_in_json_a_reply_that_is_no_move_is_told_so() -> None:
    backend = FakeBackend(answers=["Well,", move(other=1), move(answer="3")])
    assert (await run(backend, native=False)).value == "3"
    assert backend.calls[1].messages[-1].content.startswith("Your reply is not JSON")
    assert backend.calls[2].messages[-1].content == 'Your reply has neither "tool" nor "answer". Try again.'


async def test_in_json_an_answer_of_the_wrong_type_is_told_so() -> None:
    backend = FakeBackend(answers=[move(answer={"name": "Oslo"}), move(answer=json.loads(OSLO))])
    assert (await run(backend, native=False, format=City)).parsed.name == "Oslo"
    assert "people: Field required" in backend.calls[1].messages[-1].content


async def test_in_json_the_rules_join_the_system_prompt_that_there_is() -> None:
    backend = FakeBackend(answers=move(answer="3"))
    await run(backend, native=False, model_options={"system_prompt": "Be kind."})
    assert [message.role for message in backend.calls[0].messages] == ["system", "user"]
    assert backend.calls[0].messages[0].content.startswith("Be kind.\n\nYou solve")


class NoTools(FakeBackend):
    """A backend whose model refuses tools, as Ollama's do."""

    name = "no_tools"

    async def stream(self, request: Request) -> AsyncGenerator[Said, None]:
        if request.tools:
            raise RequestRefused("this model does not support tools", backend=self.name, status=400)
        async for said in super().stream(request):
            yield said


async def test_a_model_that_refuses_tools_is_asked_again_in_json() -> None:
    seen = await events(NoTools(answers=[move(tool="add", arguments={"a": 1, "b": 2}), move(answer="3")]))
    assert told(seen) == ["3"]
    assert [event.attempt for event in seen if isinstance(event, Started)] == [1, 1, 2]


async def test_a_model_that_refuses_tools_fails_where_they_were_insisted_on() -> None:
    with pytest.raises(RequestRefused, match="does not support tools"):
        await run(NoTools(answers="x"), native=True)


@pytest.mark.model
async def test_on_the_embedded_model_a_loop_with_a_calculator_ends() -> None:
    from mellea_like.backends.llamacpp import LlamaCppBackend
    from mellea_like.engine import on_engine

    backend = LlamaCppBackend(model_options={"temperature": 0, "max_new_tokens": 80})
    try:
        thunk, _ = await react(
            "What is 12 + 30?", SimpleContext(), backend, tools=[add], loop_budget=3, await_result=False
        )
        seen = [event async for event in thunk.events()]
    finally:
        await on_engine(backend.aclose())
    # What so small a model makes of it is its own affair; that it calls, is told and comes to an end is ours.
    assert 1 <= sum(isinstance(event, Started) for event in seen) <= 3
    assert all(event.ok for event in seen if isinstance(event, ToolResult))
    assert thunk.state == "finished" or isinstance(thunk.error, LoopBudgetExhausted)
