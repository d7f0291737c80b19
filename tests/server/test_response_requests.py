"""What is sent to `/v1/responses` reaches the model as turns, options and tools, or is refused with what to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Literal

import pytest

from mellea_like import Answer, Message, Thinking, start_session
from mellea_like.options import ModelOption

from .conftest import Served
from .test_clients import CALL, client_of

WEATHER: Any = {
    "type": "function",
    "name": "weather",
    "description": "Tell the weather.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "strict": True,
}
NESTED = {"type": "function", "function": {name: value for name, value in WEATHER.items() if name != "type"}}


def test_options_reach_the_backend_under_their_portable_names(serve: Callable[..., Served]) -> None:
    session = start_session("fake")
    with client_of(serve(session)) as client:
        client.responses.create(
            model="m",
            input="hi",
            temperature=0.2,
            top_p=0.9,
            max_output_tokens=5,
            reasoning={"effort": "low", "summary": "auto"},
            extra_body={"top_k": 3, "seed": 7, "stop": ["END"]},
            tools=[WEATHER],
            tool_choice={"type": "function", "name": "weather"},
            parallel_tool_calls=True,
            include=["reasoning.encrypted_content"],
            store=True,
            truncation="auto",
            user="ana",
        )
    (call,) = session.backend.calls
    assert call.options == {
        ModelOption.TEMPERATURE: 0.2,
        ModelOption.TOP_P: 0.9,
        ModelOption.TOP_K: 3,
        ModelOption.SEED: 7,
        ModelOption.STOP_SEQUENCES: ["END"],
        ModelOption.MAX_NEW_TOKENS: 5,
        ModelOption.THINKING: "low",
        ModelOption.TOOL_CHOICE: {"type": "function", "function": {"name": "weather"}},
    }
    assert list(call.tools) == [NESTED]


@pytest.mark.parametrize(("choice", "told"), [("auto", None), ("none", None), ("required", "required")])
def test_a_choice_of_tool_reaches_the_backend(serve: Callable[..., Served], choice: Any, told: Any) -> None:
    session = start_session("fake")
    with client_of(serve(session)) as client:
        response = client.responses.create(model="m", input="hi", tools=[WEATHER], tool_choice=choice)
    (call,) = session.backend.calls
    assert call.options.get(ModelOption.TOOL_CHOICE) == told
    assert bool(call.tools) is (choice != "none")
    assert response.tool_choice == choice


# --- conversations ----------------------------------------------------------------------------------------------------


def test_a_tool_is_called_by_the_client_and_the_model_is_told(serve: Callable[..., Served]) -> None:
    session = start_session("fake", answers=[Answer([Thinking(text="hm"), "Let me look.", *CALL]), "Sunny."])
    served = serve(session)
    said: list[Any] = [{"role": "user", "content": "How is the weather in Rome?"}]
    with client_of(served) as client:
        first = client.responses.create(model="m", input=said, tools=[WEATHER])
        said += first.output
        for item in first.output:
            if item.type == "function_call":
                assert (item.name, json.loads(item.arguments)) == ("weather", {"city": "Rome"})
                said.append({"type": "function_call_output", "call_id": item.call_id, "output": "sun"})
        second = client.responses.create(model="m", input=said, tools=[WEATHER])
    assert second.output_text == "Sunny."
    user, asked, told = session.backend.calls[1].messages
    assert (user.role, asked.role, asked.content, told) == (
        *("user", "assistant", "Let me look."),
        Message("tool", "sun", tool_call_id="c1"),
    )
    assert [(call.name, call.arguments, call.id) for call in asked.tool_calls] == [("weather", CALL[1].arguments, "c1")]  # type: ignore[attr-defined]  # a call


def call(name: str) -> Any:
    return {"type": "function_call", "call_id": name, "name": name, "arguments": "{}"}


def came(name: str) -> Any:
    return {"type": "function_call_output", "call_id": name, "output": [{"type": "input_text", "text": name.upper()}]}


def says(role: str, text: str, kind: Literal["input_text", "output_text"] = "output_text") -> Any:
    return {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}


@pytest.mark.parametrize(
    ("items", "turns"),
    [
        ([call("a"), call("b"), came("a"), came("b")], ["assistant  a b", "tool A", "tool B"]),
        ([call("a"), came("a"), call("b"), came("b")], ["assistant  a", "tool A", "assistant  b", "tool B"]),
        ([says("assistant", "Hm."), call("a"), came("a")], ["assistant Hm. a", "tool A"]),
        ([call("a"), says("assistant", "Hm."), came("a")], ["assistant Hm. a", "tool A"]),
        ([says("assistant", "One."), says("assistant", "Two.")], ["assistant One.", "assistant Two."]),
        (
            [says("developer", "Be brief.", "input_text"), {"role": "user", "content": "hi"}],
            ["system Be brief.", "user hi"],
        ),
        ([{"type": "reasoning", "id": "rs_1", "summary": []}, says("user", "hi", "input_text")], ["user hi"]),
        ([{"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}], ["assistant No."]),
    ],
)
def test_items_are_turns(serve: Callable[..., Served], items: list[Any], turns: list[str]) -> None:
    session = start_session("fake")
    assert serve(session).respond(items).status_code == 200
    messages = session.backend.calls[0].messages
    assert [" ".join([m.role, m.content, *(c.name for c in m.tool_calls)]) for m in messages] == turns


def test_images_and_instructions_are_understood(serve: Callable[..., Served]) -> None:
    session = start_session("fake")
    url = "data:image/png;base64,iVBORw0KGgo="
    parts: Any = [{"type": "input_text", "text": "What is this?"}, {"type": "input_image", "image_url": url}]
    with client_of(serve(session)) as client:
        client.responses.create(model="m", instructions="Be brief.", input=[{"role": "user", "content": parts}])
    system, user = session.backend.calls[0].messages
    assert (system.role, system.content) == ("system", "Be brief.")
    assert (user.content, user.images[0].as_url()) == ("What is this?", url)


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "param", "words"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id", "send the whole conversation as `input`"),
        ({"conversation": "conv_1"}, "conversation", "send the whole conversation as `input`"),
        ({"prompt": {"id": "p"}}, "prompt", "as `instructions`"),
        ({"background": True}, "background", "POST /v1/runs"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type", "no tools of its own"),
        ({"tool_choice": {"type": "web_search"}}, "tool_choice.type", "no tools of its own"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0].type", "Nothing is stored here"),
        ({"input": [{"type": ["message"], "role": "user", "content": "hi"}]}, "input[0].type", "is a message"),
        ({"input": [{"role": "user", "content": 5}]}, "input[0].content", "Give text or a list"),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0].text", ""),
        ({"input": [{"type": "function_call_output", "call_id": "c"}]}, "input[0].output", ""),
        ({"input": ["hi"]}, "input[0]", "Give an object"),
        ({"input": [{"type": "reasoning"}]}, "input", "give a message"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]},
            "input[0].content[0].type",
            "'input_image'",
        ),
        ({"input": []}, "input", ""),
        ({"input": None}, "input", "Give text or a list"),
        ({"max_output_tokens": 0}, "max_output_tokens", ""),
        ({"text": {"format": {"type": "yaml"}}}, "text.format.type", "'json_schema'"),
        ({"text": {"verbosity": "low"}}, "text.verbosity", 'or give "medium"'),
        ({"reasoning": {"effort": "huge"}}, "reasoning.effort", "'high'"),
        ({"include": ["message.output_text.logprobs"]}, "include[0]", "no log probabilities"),
        ({"stop": ["x", ""]}, "stop[1]", ""),
        ({"metadata": {"a": 1}}, "metadata.a", ""),
    ],
)
def test_what_cannot_be_honoured_is_refused_and_says_what_to_do(
    echo: Served, change: dict[str, Any], param: str, words: str
) -> None:
    answer = echo.respond(**{"said": "hi", **{("said" if name == "input" else name): v for name, v in change.items()}})
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (400, "invalid_request_error")
    assert error["param"] == param
    assert words in error["message"]


@pytest.mark.parametrize("store", [True, False, None])
def test_nothing_is_stored(echo: Served, store: bool | None) -> None:
    response = echo.respond(store=store, previous_response_id=None, background=False, conversation=None).json()
    assert (response["store"], response["background"], response["previous_response_id"]) == (False, False, None)
    assert echo.client.get(f"/v1/responses/{response['id']}").status_code == 404
