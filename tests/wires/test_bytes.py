"""A whole answer, cut anywhere on its way, reads the same: text, thoughts, tool calls and the end."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mellea_like import Message, Request
from mellea_like.backends import backend_class
from mellea_like.events import Said

from .conftest import Wire
from .server import CHAT, DONE, LAST, USAGE, begun, chunk, delta, event, finish, line, over, said

FOREIGN = ["grüß", " 你", "好 ", "🎉", '"\\n\\u', "\n\n", "data: x", "\u2028", "[DONE]", "\x00"]

CALL = {"index": 0, "id": "c1", "function": {"name": "look", "arguments": '{"where": '}}
REST = {"index": 0, "function": {"arguments": '"hier 🎉"}'}}

BODIES = {
    "openai": [
        b": comment\n\n",
        event(delta(role="assistant", content="")),
        event(delta(reasoning_content="hm 🎉")),
        *(event(delta(content=text)) for text in FOREIGN),
        event(delta(tool_calls=[CALL])),
        event(delta(tool_calls=[REST])),
        event(finish("tool_calls")),
        event(USAGE),
        DONE,
    ],
    "ollama": [
        line(said("", thinking="hm 🎉")),
        *(line(said(text)) for text in FOREIGN),
        line(said("", tool_calls=[{"function": {"name": "look", "arguments": {"where": "hier 🎉"}}}])),
        line(over()),
    ],
}
BODIES["huggingface"] = BODIES["openai"]


def read(name: str, pieces: list[bytes]) -> list[Said]:
    """Read an answer as the backend does, without a server."""
    backend = backend_class(name)("small")
    decoder, reply = backend._decoder(), backend._reply(Request(messages=(Message("user", "go"),)))
    heard = [one for piece in pieces for one in reply.read_all(decoder.feed(piece))]
    heard += reply.read_all(decoder.flush())
    return [*heard, *reply.end()]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 5000), max_size=40), st.sampled_from([b"\n", b"\r\n", b"\r"]))
@pytest.mark.parametrize("name", BODIES)
def test_any_cut_and_any_line_end_reads_the_same(name: str, at: list[int], end: bytes):
    body = b"".join(BODIES[name])
    expected = read(name, [body])
    assert [one for one in expected if isinstance(one, str)] == FOREIGN
    if not (name == "ollama" and end == b"\r"):
        body = body.replace(b"\n", end)
    points = [0, *sorted({point % (len(body) + 1) for point in at}), len(body)]
    assert read(name, [body[a:b] for a, b in pairwise(points)]) == expected


@pytest.mark.parametrize("name", BODIES)
def test_every_single_cut_reads_the_same(name: str):
    body = b"".join(BODIES[name])
    expected = read(name, [body])
    for at in range(len(body)):
        assert read(name, [body[:at], body[at:]]) == expected


def test_byte_by_byte_over_the_wire(wire: Wire):
    body = b"".join(BODIES[wire.name])
    wire.server.plays([begun(wire.speech.content_type), *(chunk(body[i : i + 1]) for i in range(len(body))), LAST])
    answer = wire.session().instruct("go")
    assert list(answer) == FOREIGN
    assert answer.thinking == "hm 🎉"
    assert [call.name for call in answer.tool_calls] == ["look"]
    assert answer.finish_reason == "tool_calls"


@pytest.mark.parametrize("missing", [1, 2, len(DONE)], ids=["one line end", "two line ends", "the whole [DONE]"])
def test_a_stream_may_lack_its_last_bytes(wire: Wire, missing: int):
    end = wire.speech.end
    end = end[:-missing] if wire.speech is CHAT else end.rstrip()
    wire.server.plays([*wire.speech.start("Hel", "lo"), chunk(end), LAST])
    answer = wire.session().instruct("go")
    assert (answer.value, answer.finish_reason) == ("Hello", "stop")
    assert answer.usage is not None
    assert answer.usage.input_tokens == 3


def test_several_events_in_one_read(wire: Wire):
    texts = [str(n) for n in range(1000)]
    wire.server.plays(
        [
            begun(wire.speech.content_type)
            + b"".join(chunk(wire.speech.text(t)) for t in texts)
            + chunk(wire.speech.end)
            + LAST
        ]
    )
    assert list(wire.session().instruct("go")) == texts
