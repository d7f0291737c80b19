"""What wire formats that follow one stream must do besides: the common suite, each test on an encoder of its own."""

from __future__ import annotations

from typing import Any

import pytest

from mellea_like import Delta, MelleaError
from mellea_like.encoding.blocks import BlockEncoder

from .sayings import frames_in, stream
from .suite import EVENTS, PAYLOADS, SECRET, EncoderSuite


class BlockEncoderSuite(EncoderSuite):
    """The common suite; an encoder is a function of all the events of one stream."""

    @pytest.fixture
    def encoder(self) -> BlockEncoder:
        raise NotImplementedError

    def frames(self, stream: bytes) -> list[Any]:
        return frames_in(stream)

    def test_encoding_is_a_pure_function(self, encoder: BlockEncoder) -> None:  # type: ignore[override]  # of a stream
        assert stream(encoder.fresh(), EVENTS) == stream(encoder.fresh(), EVENTS)

    def test_keeping_alive_says_nothing_wherever_it_stands(self, encoder: BlockEncoder) -> None:  # type: ignore[override]  # of a stream
        said = [encoder.begin(), *(encoder.encode(event, event.seq) for event in EVENTS), encoder.end()]
        assert self.frames(encoder.keep_alive().join(said)) == self.frames(b"".join(said))

    def test_an_error_is_told_by_its_kind_alone(self, encoder: BlockEncoder) -> None:  # type: ignore[override]  # of a stream
        said = stream(encoder.fresh(), EVENTS) + stream(encoder.fresh(), [{"at": payload} for payload in PAYLOADS])
        assert SECRET.encode() not in said
        told = encoder.fail(MelleaError(SECRET), 11)
        assert b"MelleaError" in told
        assert SECRET.encode() not in told

    def test_an_error_says_what_it_is_told_to(self, encoder: BlockEncoder) -> None:
        kind = type(encoder)
        assert SECRET.encode() in kind(error_text=str).fail(MelleaError(SECRET), 0)

    def test_nothing_follows_a_failure(self, encoder: BlockEncoder) -> None:
        encoder.fail(MelleaError(), 0)
        assert encoder.encode(Delta(text="late"), 1) == b""
        assert encoder.fail(MelleaError(), 2) == b""

    def test_one_for_another_stream_begins_anew(self, encoder: BlockEncoder) -> None:
        encoder.fail(MelleaError(), 0)
        assert encoder.fresh().encode(Delta(text="here"), 0)
