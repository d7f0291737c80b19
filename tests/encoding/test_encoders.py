"""The wire formats out: each passes the common suite, and any text in is the same text out, whatever reads it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mellea_like import Delta, Failed, Finished, InvalidArgument, MelleaError
from mellea_like.encoding import Encoder, is_failure, number_of
from mellea_like.encoding.sse import SSEEncoder, SSETextEncoder
from mellea_like.graph.events import ExecutionComplete, ExecutionError, InterruptEvent, Place, Token

from .reading import by_client, by_decoder, by_splitting, text_until_done
from .suite import EncoderSuite

ENCODERS: dict[str, Callable[[], Encoder]] = {
    "sse": SSEEncoder,
    "sse one name": lambda: SSEEncoder(event_name="message", retry=2.5),
    "sse text": SSETextEncoder,
    "sse text as json": lambda: SSETextEncoder(json=True, retry=0),
}

TRICKY = [
    "\n",
    "\r",
    "\r\n",
    "\n\n",
    " ",
    "  lead",
    "a\rb",
    "[DONE]",
    "data: x",
    ":",
    "id: 7",
    "\u2028",
    "\x85",
    "\x00",
]
tricky = st.sampled_from(TRICKY)
texts = st.one_of(tricky, st.text(), st.lists(tricky).map("".join))


class TestEveryEncoder(EncoderSuite):
    @pytest.fixture(params=ENCODERS)
    def encoder(self, request: pytest.FixtureRequest) -> Encoder:
        return ENCODERS[request.param]()

    def frames(self, stream: bytes) -> list[Any]:
        found = by_client(stream)
        assert [event.data for event in found] == by_decoder(stream)
        return [(event.event, event.data, event.id) for event in found]


def stream(encoder: Encoder, said: list[str]) -> bytes:
    frames = (encoder.encode(text, number) for number, text in enumerate(said))
    return b"".join([encoder.begin(), *frames, encoder.end()])


def without_returns(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


@given(st.lists(texts))
def test_any_text_in_is_the_same_text_out(said: list[str]) -> None:
    whole = stream(SSETextEncoder(), said)
    assert text_until_done(whole) == "".join(map(without_returns, said))
    assert by_decoder(whole)[-1] == "[DONE]"
    assert [event.data for event in by_client(whole)] == by_decoder(whole)


@given(st.lists(texts))
def test_as_json_every_character_arrives_even_a_carriage_return(said: list[str]) -> None:
    *pieces, done = by_decoder(stream(SSETextEncoder(json=True), said))
    assert [json.loads(piece) for piece in pieces] == [text for text in said if text]
    assert done == "[DONE]"


@given(st.lists(texts))
def test_with_names_every_piece_arrives_whole_numbered_and_typed(said: list[str]) -> None:
    found = by_client(stream(SSEEncoder(), said))
    assert [json.loads(event.data)["text"] for event in found] == [text for text in said if text]
    assert [event.id for event in found] == [str(number) for number, text in enumerate(said) if text]
    assert {event.event for event in found} <= {"delta"}


@given(st.lists(texts))
def test_json_stays_on_its_line_for_readers_that_cut_at_every_line_end(said: list[str]) -> None:
    whole = stream(SSEEncoder(), said)
    assert [json.loads(line)["text"] for line in by_splitting(whole)] == [text for text in said if text]


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts, st.binary(), st.complex_numbers()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.one_of(texts, st.integers()), inner), st.tuples(inner)),
)


@given(json_values)
def test_every_value_is_one_event_of_json(value: Any) -> None:
    (event,) = by_client(SSEEncoder().encode({"value": value}, 3))
    assert "value" in json.loads(event.data)
    assert event.id == "3"


@pytest.mark.parametrize("cut", ["\ud83c", "a\ud83c", "\udf89b"])
def test_half_a_character_is_replaced_and_breaks_nothing(cut: str) -> None:
    assert "\ufffd" in text_until_done(stream(SSETextEncoder(), ["ok ", cut, " ok"]))
    assert "\ufffd" in by_client(stream(SSEEncoder(), [cut]))[0].data


def test_a_piece_that_reads_done_goes_in_two_and_is_numbered_once() -> None:
    frame = SSETextEncoder().encode("[DONE]", 7)
    assert frame == b"data: [\n\nid: 7\ndata: DONE]\n\n"


def test_text_looks_on_the_wire_as_on_the_page() -> None:
    encoder = SSETextEncoder()
    assert encoder.encode("Hello", 0) == b"id: 0\ndata: Hello\n\n"
    assert encoder.encode("a\nb", 1) == b"id: 1\ndata: a\ndata: b\n\n"
    assert encoder.end() == b"data: [DONE]\n\n"


def test_of_events_only_the_text_of_the_answer_goes_over_the_wire() -> None:
    encoder = SSETextEncoder()
    assert encoder.encode(Delta(text="Hi", seq=4), 4) == b"id: 4\ndata: Hi\n\n"
    assert encoder.encode(Token(content="Hi", seq=5), 5) == b"id: 5\ndata: Hi\n\n"
    assert encoder.encode(Finished(seq=6), 6) == b""
    assert encoder.encode({"not": "text"}, 7) == b""


@pytest.mark.parametrize("end", [Failed(error=MelleaError("x")), ExecutionError(error=MelleaError("x"))])
def test_a_failed_end_is_an_error_event_in_text_too(end: Failed) -> None:
    (event,) = by_client(SSETextEncoder().encode(end, 3))
    assert (event.event, event.data) == ("error", "MelleaError")
    assert is_failure(end)


def test_an_event_is_its_name_its_number_and_its_fields() -> None:
    (event,) = by_client(SSEEncoder().encode(Delta(text="Hi", seq=4, seconds=0.5, attempt=2), 4))
    assert (event.event, event.id) == ("delta", "4")
    assert json.loads(event.data) == {"type": "delta", "seq": 4, "seconds": 0.5, "attempt": 2, "text": "Hi"}


@given(texts)
def test_the_short_way_of_a_delta_is_the_long_way(text: str) -> None:
    delta, form = Delta(text=text, seq=4, seconds=0.5), SSEEncoder()._json
    assert json.loads(form.event(delta)) == json.loads(form.value(delta.as_dict()))


def test_an_event_of_a_graph_says_where_it_was_said() -> None:
    token = Token(content="Hi", place=Place(run_id="r", node_id="llm", metadata={"step": 1}), seq=2)
    (event,) = by_client(SSEEncoder().encode(token, 2))
    said = json.loads(event.data)
    assert event.event == "token"
    assert (said["type"], said["content"], said["node_id"], said["metadata"]) == ("token", "Hi", "llm", {"step": 1})


def test_events_within_events_are_events_too() -> None:
    end = ExecutionComplete(interrupts=(InterruptEvent(id="1", value="sure?"),), seq=9)
    (event,) = by_client(SSEEncoder().encode(end, 9))
    assert json.loads(event.data)["interrupts"][0]["type"] == "interrupt"


def test_one_name_for_all_is_what_onmessage_hears() -> None:
    encoder = SSEEncoder(event_name="message")
    whole = encoder.encode(Delta(text="a", seq=0), 0) + encoder.encode({"a": 1}, 1) + encoder.fail(MelleaError(), 2)
    assert [event.event for event in by_client(whole)] == ["message"] * 3


def test_an_error_says_what_it_is_told_to_say() -> None:
    assert b"the model is away" in SSEEncoder(error_text=str).fail(MelleaError("the model is away"), 0)
    assert b"the model is away" in SSETextEncoder(error_text=str).fail(MelleaError("the model is away"), 0)


def test_the_wait_before_trying_again_is_told_in_milliseconds_and_is_no_event() -> None:
    assert SSEEncoder(retry=2.5).begin() == b"retry: 2500\n"
    assert by_client(SSEEncoder(retry=2.5).begin() + SSEEncoder().keep_alive())[1:] == []


@pytest.mark.parametrize("wrong", [{"event_name": "two\nlines"}, {"event_name": "a\r"}, {"retry": -1}])
def test_what_would_break_the_framing_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        SSEEncoder(**wrong)


def test_what_has_no_number_of_its_own_is_numbered_by_its_place() -> None:
    assert number_of(Delta(text="a", seq=7), 2) == 7
    assert number_of(Delta(text="a"), 2) == number_of("text", 2) == 2
