"""What each backend sends for what it was asked, and what it reads out of what comes back."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from mellea_like import ImageBlock, InvalidArgument, Message, RequestRefused, UnknownName, start_session
from mellea_like.content import ToolCall
from mellea_like.events import ToolCallEvent, Usage

from .conftest import Wire
from .server import DONE, LAST, Server, begun, chunk, delta, event, finish, line, over, said

PNG = ImageBlock.from_bytes(b"\x89PNG\r\n\x1a\n" + bytes(8))
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}

OBEYING = [{"role": "system", "content": "Obey."}, {"role": "user", "content": "go"}]

CHAT_OPTIONS = [
    ("temperature", 0.5, {"temperature": 0.5}),
    ("top_p", 0.9, {"top_p": 0.9}),
    ("max_new_tokens", 7, {"max_tokens": 7}),
    ("max_tokens", 7, {"max_tokens": 7}),
    ("seed", 3, {"seed": 3}),
    ("stop", "END", {"stop": ["END"]}),
    ("stop_sequences", ["a", "b"], {"stop": ["a", "b"]}),
    ("logprobs", True, {"logprobs": True}),
    ("logprobs", 5, {"logprobs": True, "top_logprobs": 5}),
    ("tool_choice", "auto", {"tool_choice": "auto"}),
    ("tools", [TOOL], {"tools": [TOOL]}),
    ("extra", {"min_p": 0.1}, {"min_p": 0.1}),
    ("extra", {"temperature": 0.25}, {"temperature": 0.25}),
    ("system_prompt", "Obey.", {"messages": OBEYING}),
]
LINES_OPTIONS = [
    ("temperature", 0.5, {"options": {"temperature": 0.5}}),
    ("top_p", 0.9, {"options": {"top_p": 0.9}}),
    ("top_k", 40, {"options": {"top_k": 40}}),
    ("max_new_tokens", 7, {"options": {"num_predict": 7}}),
    ("context_window", 4096, {"options": {"num_ctx": 4096}}),
    ("num_ctx", 4096, {"options": {"num_ctx": 4096}}),
    ("seed", 3, {"options": {"seed": 3}}),
    ("stop", "END", {"options": {"stop": ["END"]}}),
    ("logprobs", True, {"logprobs": True}),
    ("logprobs", 5, {"logprobs": True, "top_logprobs": 5}),
    ("thinking", True, {"think": True}),
    ("thinking", False, {"think": False}),
    ("thinking", "high", {"think": "high"}),
    ("tools", [TOOL], {"tools": [TOOL]}),
    ("extra", {"keep_alive": "5m"}, {"keep_alive": "5m"}),
    ("extra", {"options": {"num_ctx": 4096}}, {"options": {"num_ctx": 4096}}),
    ("system_prompt", "Obey.", {"messages": OBEYING}),
]
SENT = [
    *(("openai", *case) for case in [*CHAT_OPTIONS, ("thinking", "low", {"reasoning_effort": "low"})]),
    ("openai", "thinking", True, {"reasoning_effort": "medium"}),
    *(("ollama", *case) for case in LINES_OPTIONS),
    *(("huggingface", *case) for case in CHAT_OPTIONS),
]

PLAIN: dict[str, dict[str, Any]] = {
    "openai": {"stream_options": {"include_usage": True}},
    "ollama": {"options": {}},
    "huggingface": {"stream_options": {"include_usage": True}},
}


def sent(wire: Wire, *, ask=lambda m: m.instruct("go"), **options: Any) -> dict[str, Any]:
    """Ask, and return the body that the server got."""
    wire.server.always_plays(wire.speech.answer("{}"))
    ask(wire.session(model_options=options))
    body: dict[str, Any] = wire.server.asked[-1].body
    return body


@pytest.mark.parametrize(("wire", "option", "value", "fields"), SENT, indirect=["wire"])
def test_an_option_becomes_its_field_and_nothing_else(wire: Wire, option: str, value: Any, fields: dict[str, Any]):
    plain = {"model": "small", "messages": [{"role": "user", "content": "go"}], "stream": True, **PLAIN[wire.name]}
    assert sent(wire, **{option: value}) == {**plain, **fields}


@pytest.mark.parametrize(
    ("wire", "option"),
    [
        ("openai", "top_k"),
        ("openai", "context_window"),
        ("huggingface", "top_k"),
        ("huggingface", "thinking"),
        ("ollama", "tool_choice"),
    ],
    indirect=["wire"],
)
def test_an_option_that_the_provider_does_not_have_is_refused_by_name(wire: Wire, option: str):
    with pytest.raises(UnknownName, match=f"Backend '{wire.name}' cannot honour the model option '{option}'"):
        wire.session(model_options={option: 1})


CIRCLE: dict[str, Any] = {}
CIRCLE["again"] = CIRCLE

NOT_JSON = [
    ("extra", {"ids": {1, 2}}, "'ids'.*type set"),
    ("extra", {"deep": [{"er": object()}]}, "'deep'.*type object"),
    ("extra", {("a", "b"): 1}, "keys must be"),
    ("extra", CIRCLE, "Circular"),
    ("extra", {"text": "\ud800"}, "surrogates"),
    ("extra", {"min_p": float("inf")}, "inf.*Out of range float"),
    ("logprobs", {5}, "type 'set'"),
    ("tools", [{"function": print}], "type builtin_function_or_method"),
]


@pytest.mark.parametrize(("option", "value", "words"), NOT_JSON, ids=lambda part: str(part)[:20])
def test_a_value_that_is_not_json_is_refused_by_name(wire: Wire, option: str, value: Any, words: str):
    with pytest.raises(InvalidArgument, match=f"(?s)model option '{option}' is .*{words}"):
        sent(wire, **{option: value})
    assert wire.server.asked == []


@pytest.mark.parametrize("at", ["said", "called"])
def test_a_message_that_is_no_text_is_refused_by_its_place(wire: Wire, at: str):
    call = ToolCall(name="look", arguments='{"at": "\ud83d"}', id="1")
    halves = {"said": Message("user", "Hi \ud83d!"), "called": Message("assistant", "", tool_calls=[call])}
    place = {"said": 3, "called": 8}[at]
    with pytest.raises(InvalidArgument, match=rf"Message 1 of the request .* character {place} is '\\ud83d', half"):
        sent(wire, ask=lambda m: m.act(halves[at]))
    assert wire.server.asked == []


def test_ollamas_own_options_must_be_a_dict(ollama: Wire):
    with pytest.raises(InvalidArgument, match="'extra' has 5 as 'options'"):
        sent(ollama, extra={"options": 5})


class Person(BaseModel):
    """What a model is asked for."""

    name: str = ""


def test_a_type_becomes_a_schema(wire: Wire):
    body = sent(wire, ask=lambda m: m.instruct("go", format=Person))
    schema = body["format"] if wire.name == "ollama" else body["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["name"]["type"] == "string"
    if wire.name != "ollama":
        assert body["response_format"]["type"] == "json_schema"
        assert body["response_format"]["json_schema"]["strict"] is True


def test_images_are_sent(wire: Wire):
    (message,) = sent(wire, ask=lambda m: m.chat("Look.", images=[PNG, PNG]))["messages"]
    if wire.name == "ollama":
        assert message == {"role": "user", "content": "Look.", "images": [PNG.value] * 2}
    else:
        image = {"type": "image_url", "image_url": {"url": PNG.as_url()}}
        assert message == {"role": "user", "content": [{"type": "text", "text": "Look."}, image, image]}


def test_the_address_of_an_image_is_sent_or_refused(wire: Wire):
    image = ImageBlock(url="https://example.org/cat.png")
    if wire.name == "ollama":
        with pytest.raises(RequestRefused, match="Fetch the image"):
            sent(wire, ask=lambda m: m.chat("Look.", images=[image]))
        assert wire.server.asked == []
    else:
        (message,) = sent(wire, ask=lambda m: m.chat("Look.", images=[image]))["messages"]
        assert message["content"][1]["image_url"]["url"] == image.url


def test_a_conversation_with_tools_is_sent(wire: Wire):
    call = ToolCall(name="look", arguments='{"where": "here"}', id="c1")
    (message,) = sent(wire, ask=lambda m: m.act(Message("assistant", "", tool_calls=(call,))))["messages"]
    if wire.name == "ollama":
        assert message["tool_calls"] == [{"function": {"name": "look", "arguments": {"where": "here"}}}]
    else:
        function = {"name": "look", "arguments": '{"where": "here"}'}
        assert message["tool_calls"] == [{"type": "function", "id": "c1", "function": function}]


def test_a_tools_answer_is_sent(wire: Wire):
    (message,) = sent(wire, ask=lambda m: m.act(Message("tool", "a cat", tool_call_id="c1")))["messages"]
    assert (message["role"], message["content"]) == ("tool", "a cat")
    assert message.get("tool_call_id") == (None if wire.name == "ollama" else "c1")


@pytest.mark.parametrize("arguments", ["{", "[1]", '"text"'])
def test_arguments_that_are_no_object_are_refused_where_one_is_needed(ollama: Wire, arguments: str):
    call = ToolCall(name="look", arguments=arguments)
    with pytest.raises(RequestRefused, match="'look'"):
        sent(ollama, ask=lambda m: m.act(Message("assistant", "", tool_calls=(call,))))
    assert ollama.server.asked == []


# --- addresses and keys -----------------------------------------------------------------------------------------------

ENVIRONMENT = [
    ("openai", "OPENAI_BASE_URL", "/v1", "OPENAI_API_KEY"),
    ("ollama", "OLLAMA_HOST", "", "OLLAMA_API_KEY"),
]


@pytest.mark.parametrize(("name", "place", "path", "key"), ENVIRONMENT)
def test_address_and_key_come_from_the_environment(
    name: str, place: str, path: str, key: str, server: Server, monkeypatch: pytest.MonkeyPatch, request
):
    speech = request.getfixturevalue(name).speech
    server.always_plays(speech.answer("Hello"))
    monkeypatch.setenv(place, server.url + path)
    monkeypatch.setenv(key, "from outside")
    with start_session(name, "small") as m:
        assert m.instruct("go").value == "Hello"
    with start_session(name, "small", api_key="given") as m:
        m.instruct("go")
    assert [asked.headers["authorization"] for asked in server.asked] == ["Bearer from outside", "Bearer given"]


def test_a_bare_host_is_enough_for_ollama(ollama: Wire, monkeypatch: pytest.MonkeyPatch):
    ollama.server.always_plays(ollama.speech.answer("Hello"))
    for place in (f"127.0.0.1:{ollama.server.port}", f":{ollama.server.port}"):
        monkeypatch.setenv("OLLAMA_HOST", place)
        with start_session("ollama", "small") as m:
            assert m.instruct("go").value == "Hello"
    assert "authorization" not in ollama.server.asked[0].headers


def test_the_hubs_token_comes_from_the_environment(huggingface: Wire, monkeypatch: pytest.MonkeyPatch):
    huggingface.server.always_plays(huggingface.speech.answer("Hello"))
    huggingface.session(api_key=None).instruct("go")
    monkeypatch.setenv("HF_TOKEN", "hf_outside")
    huggingface.session(api_key=None).instruct("go")
    huggingface.session(api_key="given").instruct("go")
    keys = [asked.headers["authorization"] for asked in huggingface.server.asked]
    assert keys == ["Bearer none", "Bearer hf_outside", "Bearer given"]


def test_openai_itself_wants_a_key():
    with start_session("openai") as m, pytest.raises(RequestRefused, match="OPENAI_API_KEY"):
        m.instruct("go")


def test_a_server_of_ones_own_wants_none(openai: Wire):
    openai.server.always_plays(openai.speech.answer("Hello"))
    assert openai.session(api_key=None).instruct("go").value == "Hello"


def test_each_backend_asks_at_its_place(wire: Wire):
    sent(wire)
    asked = wire.server.asked[0]
    expected = "/api/chat" if wire.name == "ollama" else "/v1/chat/completions"
    assert (asked.method, asked.path) == ("POST", expected)


# --- what is read -----------------------------------------------------------------------------------------------------


def answered(wire: Wire, *messages: bytes, **options: Any):
    wire.server.plays([begun(wire.speech.content_type), *map(chunk, messages), LAST])
    return wire.session(model_options=options).instruct("go")


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
@pytest.mark.parametrize("wire", ["openai", "huggingface"], indirect=True)
def test_thoughts_are_read(wire: Wire, field: str):
    thoughts = [event(delta(**{field: text})) for text in ("h", "m")]
    answer = answered(wire, *thoughts, wire.speech.text("Hello"), wire.speech.end)
    assert (answer.thinking, answer.value) == ("hm", "Hello")
    assert [e.type for e in answer.events()][1:4] == ["thinking", "thinking", "delta"]


def test_ollamas_thoughts_are_read(ollama: Wire):
    answer = answered(ollama, line(said(thinking="h")), line(said(thinking="m")), line(said("Hello")), line(over()))
    assert (answer.thinking, answer.value) == ("hm", "Hello")


@pytest.mark.parametrize("wire", ["openai", "huggingface"], indirect=True)
def test_tool_calls_are_read_in_pieces_and_whole(wire: Wire):
    pieces = [
        {"index": 0, "id": "a", "function": {"name": "look", "arguments": ""}},
        {"index": 1, "id": "b", "function": {"name": "hear", "arguments": "{}"}},
        {"index": 0, "function": {"arguments": '{"x"'}},
        {"index": 0, "function": {"arguments": ": 1}"}},
    ]
    answer = answered(wire, *(event(delta(tool_calls=[p])) for p in pieces), event(finish("tool_calls")), DONE)
    assert answer.tool_calls == (
        ToolCall(name="look", arguments='{"x": 1}', id="a"),
        ToolCall(name="hear", arguments="{}", id="b"),
    )
    events = [e for e in answer.events() if isinstance(e, ToolCallEvent)]
    assert [e.complete for e in events] == [False] * 4 + [True] * 2
    assert answer.finish_reason == "tool_calls"


def test_ollamas_tool_calls_are_read(ollama: Wire):
    calls = [{"function": {"name": "look", "arguments": {"x": 1}}}, {"id": "b", "function": {"name": "hear"}}]
    quiet = line(said(tool_calls=calls)).replace(b'"content": ""', b'"content": null')
    answer = answered(ollama, quiet, line(over()))
    assert answer.tool_calls == (
        ToolCall(name="look", arguments='{"x":1}'),
        ToolCall(name="hear", arguments="{}", id="b"),
    )
    assert answer.finish_reason == "tool_calls"


@pytest.mark.parametrize("reason", ["stop", "length", "tool_calls", "content_filter"])
@pytest.mark.parametrize("wire", ["openai", "huggingface"], indirect=True)
def test_finish_reasons_are_read(wire: Wire, reason: str):
    assert answered(wire, wire.speech.text("H"), event(finish(reason)), DONE).finish_reason == reason


@pytest.mark.parametrize(("told", "reason"), [("stop", "content_filter"), ("length", "length")])
@pytest.mark.parametrize("wire", ["openai", "huggingface"], indirect=True)
def test_a_models_refusal_is_text_that_says_what_it_is(wire: Wire, told: str, reason: str):
    pieces = [event(delta(content=None, refusal=text)) for text in ("", "I cannot ", "help.")]
    answer = answered(wire, *pieces, event(finish(told)), DONE)
    assert list(answer) == ["I cannot ", "help."]
    assert answer.finish_reason == reason


@pytest.mark.parametrize(("said_by_it", "reason"), [("function_call", "tool_calls"), ("eos", "stop")])
def test_foreign_finish_reasons_become_known_ones(openai: Wire, said_by_it: str, reason: str):
    assert answered(openai, event(finish(said_by_it)), DONE).finish_reason == reason


def test_an_empty_finish_reason_is_none(openai: Wire):
    texts = [event({"choices": [{"delta": {"content": t}, "finish_reason": ""}]}) for t in ("Hel", "lo")]
    assert answered(openai, *texts, openai.speech.end).value == "Hello"


@pytest.mark.parametrize(("reason", "read"), [("stop", "stop"), ("length", "length"), ("load", "stop"), (None, "stop")])
def test_ollamas_finish_reasons_are_read(ollama: Wire, reason, read: str):
    assert answered(ollama, line(over(reason))).finish_reason == read


def test_usage_and_model_are_read(wire: Wire):
    answer = answered(wire, wire.speech.text("H"), wire.speech.end)
    assert answer.usage == Usage(input_tokens=3, output_tokens=2)
    assert (answer.generation.model, answer.generation.provider) == ("small", wire.name)


@pytest.mark.parametrize("wire", ["openai", "huggingface"], indirect=True)
def test_cached_tokens_are_read(wire: Wire):
    usage = {"prompt_tokens": 9, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 8}}
    answer = answered(wire, event(finish("stop")), event({"choices": [], "usage": usage}), DONE)
    assert answer.usage == Usage(input_tokens=9, output_tokens=1, cached_tokens=8)


def test_the_model_that_answered_is_read_without_usage(openai: Wire):
    first = event({**delta(content="H"), "model": "small-2026"})
    answer = answered(openai, first, event(finish("stop")).replace(b"small", b"small-2026"), DONE)
    assert answer.generation.model == "small-2026"
    assert answer.usage is None


@pytest.mark.parametrize("nothing", ['{"choices": null}', '{"choices": [{}]}', '{"choices": [{"delta": null}]}', "{}"])
def test_chunks_that_say_nothing_are_passed_over(openai: Wire, nothing: str):
    empty = f"data: {nothing}\n\n".encode()
    assert answered(openai, empty, openai.speech.text("H"), empty, openai.speech.end).value == "H"


def test_the_raw_reply_is_kept_on_request(wire: Wire):
    raw = answered(wire, wire.speech.text("H"), wire.speech.end, keep_raw=True, logprobs=True).generation.raw
    assert "'H'" in repr(raw)
    assert raw[-1].get("usage") or raw[-1].get("done")
    assert answered(wire, wire.speech.text("H"), wire.speech.end).generation.raw is None


def test_logprobs_are_in_the_raw_reply(openai: Wire):
    logprobs = {"content": [{"token": "H", "logprob": -0.5}]}
    spoken = event({"choices": [{"delta": {"content": "H"}, "logprobs": logprobs}]})
    raw = answered(openai, spoken, openai.speech.end, keep_raw=True, logprobs=True).generation.raw
    assert raw[0]["choices"][0]["logprobs"] == logprobs
