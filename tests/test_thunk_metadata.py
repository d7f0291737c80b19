"""What is known of a finished thunk, and what tells a finished one from a truncated one."""

from __future__ import annotations

import pytest

from mellea_like import (
    Answer,
    BackendError,
    Cancelled,
    Failed,
    Finished,
    Gate,
    MelleaSession,
    OutputParseError,
    Thinking,
    Truncated,
    Usage,
)

# --- a stream without its terminal event is truncated -----------------------------------------------------------------


@pytest.mark.parametrize("steps", [[], ["half "], ["half ", "a text"], [Thinking(text="hm")]])
async def test_a_stream_that_just_ends_is_truncated_and_keeps_its_text(fake, read, steps):
    thunk = await fake(Answer(steps, truncated=True)).ainstruct("go", await_result=False)
    seen = await read(thunk)
    assert seen.text == "".join(step for step in steps if isinstance(step, str))
    assert type(seen.error) is Truncated
    assert isinstance(seen.error, BackendError)
    assert (thunk.state, thunk.value, thunk.partial_text) == ("failed", None, seen.text)


def test_a_truncated_answer_is_never_returned_as_a_success(fake):
    m = fake(Answer(["half"], truncated=True))
    with pytest.raises(Truncated, match="without a finish reason"):
        m.instruct("go")
    with pytest.raises(Truncated):
        m.chat("go")
    with pytest.raises(Truncated):
        m.instruct("go", format=int)


def test_a_finished_answer_without_text_is_not_truncated(fake):
    thunk = fake(Answer([])).instruct("go")
    assert (thunk.value, list(thunk), thunk.finish_reason) == ("", [], "stop")


@pytest.mark.parametrize("reason", ["stop", "length", "tool_calls", "content_filter"])
def test_the_finish_reason_is_readable(fake, reason):
    thunk = fake(Answer(["text"], finish_reason=reason)).instruct("go")
    assert (thunk.finish_reason, thunk.generation.finish_reason, thunk.value) == (reason, reason, "text")


@pytest.mark.parametrize("text", ["[1, 2]", "[1, "])
def test_an_answer_cut_off_by_its_token_limit_is_an_error_with_a_format(fake, text):
    thunk = fake(Answer([text], finish_reason="length")).instruct("go", format=list[int], await_result=False)
    with pytest.raises(OutputParseError, match="cut off by its token limit") as caught:
        thunk.result()
    assert caught.value.text == thunk.partial_text == text
    assert (thunk.state, thunk.finish_reason) == ("failed", "length")


# --- metadata ---------------------------------------------------------------------------------------------------------

USAGE = Usage(input_tokens=7, output_tokens=2, cached_tokens=3)


def test_a_finished_thunk_knows_how_it_was_made(fake):
    known = fake(Answer("one two", usage=USAGE), model_id="tiny").instruct("go").generation
    assert (known.model, known.provider, known.usage, known.finish_reason) == ("tiny", "fake", USAGE, "stop")
    assert known.usage.total_tokens == 9
    assert 0 <= known.ttft <= known.seconds
    assert known.raw is None


def test_the_raw_reply_is_kept_on_request(fake):
    thunk = fake(Answer(["one", "two"])).instruct("go", model_options={"keep_raw": True})
    assert thunk.generation.raw == ["one", "two"]


def test_the_model_that_the_provider_reports_is_the_one_that_is_shown(fake):
    thunk = fake(Answer(["text", Finished(model="tiny-2026")]), model_id="tiny").instruct("go")
    assert (thunk.generation.model, thunk.generation.provider) == ("tiny-2026", "fake")


def test_time_to_first_token_is_known_while_the_rest_is_awaited(fake):
    gate = Gate()
    thunk = fake(Answer([gate, "one ", Gate()])).instruct("go", await_result=False)
    assert gate.reached(20)
    assert (thunk.generation.ttft, thunk.generation.usage, thunk.generation.model) == (None, None, "script")
    gate.open()
    assert next(iter(thunk)) == "one "
    assert thunk.generation.ttft > 0
    assert thunk.generation.seconds is thunk.generation.finish_reason is None


def test_a_first_thought_counts_as_the_first_token(fake):
    thunk = fake(Answer([Thinking(text="hm"), Gate()])).instruct("go", await_result=False)
    events = thunk.events()
    while next(events).type != "thinking":
        pass
    assert thunk.generation.ttft is not None


@pytest.mark.parametrize(
    ("end", "reason"), [(Failed(error=ValueError("no")), "error"), (Cancelled(), "cancelled"), (Finished(), "stop")]
)
def test_every_end_has_metadata(fake, end, reason):
    thunk = fake(Answer(["one ", "two", end])).instruct("go", await_result=False)
    list(thunk.events())
    assert (thunk.generation.finish_reason, thunk.generation.provider) == (reason, "fake")
    assert thunk.generation.seconds >= thunk.generation.ttft >= 0
    assert reason == "stop" or thunk.usage == Usage(output_tokens=2, estimated=True)


def test_a_session_over_a_callers_backend_shows_that_backend(talker):
    assert isinstance(talker.session, MelleaSession)
    thunk = talker.start()
    assert (thunk.generation.model, thunk.generation.provider) == ("talker", "talker")
