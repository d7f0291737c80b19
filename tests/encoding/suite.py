"""What every wire format out must do; a new one is added to ENCODERS in `test_encoders.py` and passes all of this."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field
from typing import Any

import pytest

from mellea_like import (
    Cancelled,
    Checked,
    Custom,
    Delta,
    Failed,
    Finished,
    MelleaError,
    Retried,
    Started,
    Thinking,
    ToolCallEvent,
    ToolResult,
    Usage,
)
from mellea_like.encoding import Encoder
from mellea_like.events import Event

SECRET = "sk-very-secret"


class Loud:
    """An object that cannot even be shown."""

    def __repr__(self) -> str:
        raise ValueError(SECRET)


@dataclass
class Note:
    text: str
    inner: Any = None
    hidden: str = field(default="x", repr=False)


ITSELF: dict[str, Any] = {"name": "circle"}
ITSELF["me"] = ITSELF
MODEL = pickle  # a module: an object like many that a state may hold

EVENTS: list[Event] = [
    Started(model="m", provider="fake", seq=0),
    Delta(text="Hello\n", seq=1),
    Thinking(text="hm", seq=2),
    ToolCallEvent(name="add", arguments='{"a": 1}', complete=True, seq=3),
    ToolResult(name="add", text="2", seq=4, error=MelleaError(SECRET)),
    Checked(requirement="short", passed=None, seq=5),
    Retried(reason="too long", void=1, seq=6),
    Custom(name="progress", payload={"at": 0.5}, seq=7),
    Finished(usage=Usage(input_tokens=1, output_tokens=2), raw=object(), seq=8),
    Failed(error=MelleaError(SECRET), seq=9),
    Cancelled(seq=10),
]
PAYLOADS: list[Any] = [
    object(),
    Loud(),
    MODEL,
    Note("n", inner=Loud()),
    ITSELF,
    {(1, 2): "a tuple for a key", None: 1, Note("k").text: {1, 2}},
    [2**70, float("nan"), float("inf"), 3 + 4j, b"bytes", "half \ud83c", MelleaError(SECRET)],
    {"half \ud83c": "\u2028\x85\u2029", "deep": Note("\ud83c")},
    Delta(text="within", seq=3),
]
OTHERS: list[object] = [None, 5, ("messages", "chunk"), {"a": 1}, object(), Loud(), "text", ""]


class EncoderSuite:
    """Bytes for everything, whole frames, the same each time, and nothing of an error but its kind."""

    @pytest.fixture
    def encoder(self) -> Encoder:
        raise NotImplementedError

    def frames(self, stream: bytes) -> list[Any]:
        """Read frames as a client of this format does; override in the suite's user."""
        raise NotImplementedError

    def test_it_is_an_encoder(self, encoder: Encoder) -> None:
        assert isinstance(encoder, Encoder)
        assert "/" in encoder.media_type
        assert all(isinstance(text, str) for pair in encoder.headers.items() for text in pair)

    @pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.type)
    def test_every_event_is_bytes_that_a_client_reads(self, encoder: Encoder, event: Event) -> None:
        encoded = encoder.encode(event, event.seq)
        assert isinstance(encoded, bytes)
        assert bool(self.frames(encoded)) == bool(encoded)

    @pytest.mark.parametrize("payload", PAYLOADS, ids=lambda payload: type(payload).__name__)
    def test_no_payload_ends_the_stream(self, encoder: Encoder, payload: Any) -> None:
        self.frames(encoder.encode(Custom(payload=payload, seq=1), 1))

    @pytest.mark.parametrize("said", OTHERS, ids=lambda said: type(said).__name__)
    def test_whatever_a_source_gives_does_not_end_the_stream(self, encoder: Encoder, said: object) -> None:
        self.frames(encoder.encode(said, 0))

    def test_encoding_is_a_pure_function(self, encoder: Encoder) -> None:
        once = [encoder.encode(event, event.seq) for event in EVENTS]
        assert [encoder.encode(event, event.seq) for event in reversed(EVENTS)] == once[::-1]

    def test_keeping_alive_says_nothing_wherever_it_stands(self, encoder: Encoder) -> None:
        said = [encoder.begin(), *(encoder.encode(event, event.seq) for event in EVENTS), encoder.end()]
        assert self.frames(encoder.keep_alive().join(said)) == self.frames(b"".join(said))
        assert encoder.keep_alive()

    def test_an_error_is_told_by_its_kind_alone(self, encoder: Encoder) -> None:
        said = [encoder.encode(event, event.seq) for event in EVENTS] + [encoder.fail(MelleaError(SECRET), 11)]
        said += [encoder.encode(Custom(payload=payload), 0) for payload in PAYLOADS]
        assert SECRET.encode() not in b"".join(said)
        assert b"MelleaError" in encoder.fail(MelleaError(SECRET), 11)

    def test_a_failure_is_a_frame_and_the_stream_still_ends(self, encoder: Encoder) -> None:
        assert len(self.frames(encoder.fail(MelleaError("x"), 1))) == 1
        assert isinstance(encoder.end(), bytes)
