"""Reading too early is loud, and a computed thunk says what it is."""

from __future__ import annotations

import copy

import pytest

from mellea_like import (
    AlreadyComputed,
    Answer,
    ComputedModelOutputThunk,
    Gate,
    NotComputed,
)

# --- reading too early is loud ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "use", [str, "{}".format, "{:>5}".format, lambda thunk: f"{thunk}", lambda thunk: "n" in thunk]
)
def test_an_unfinished_thunk_as_text_raises_and_shows_the_spelling(fake, use):
    thunk = fake(Answer(["one ", Gate()])).instruct("go", await_result=False)
    assert next(iter(thunk)) == "one "
    with pytest.raises(NotComputed, match=r"`await thunk`.*`thunk\.result\(\)`"):
        use(thunk)


def test_a_text_is_looked_for_in_the_whole_answer_and_not_in_its_deltas(fake):
    thunk = fake(Answer(["Hel", "lo"])).instruct("go")
    assert ("ell" in thunk, "Hello" in thunk, "hell" in thunk) == (True, True, False)


def test_the_value_of_an_unfinished_thunk_is_none_and_its_partial_text_is_there(fake):
    thunk = fake(Answer(["one ", Gate()])).instruct("go", await_result=False)
    assert next(iter(thunk)) == "one "
    assert (thunk.value, thunk.parsed, thunk.partial_text, thunk.state) == (None, None, "one ", "running")


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        (Answer(["x" * 100]), "finished: 'xxx"),
        (Answer(["a", ValueError("no")]), "failed, ValueError: 'a'"),
        (Answer(["a"], truncated=True), "failed, Truncated: 'a'"),
        (Answer([]), "finished: ''"),
    ],
)
async def test_repr_never_raises(fake, answer, shown):
    thunk = await fake(answer).ainstruct("go", await_result=False)
    assert repr(thunk).startswith("<ModelOutputThunk ")
    await thunk.ended()
    assert shown in repr(thunk)
    assert len(repr(thunk)) < 120


async def test_a_computed_thunk_can_be_iterated_and_awaited_but_not_streamed(fake):
    computed = await fake("one two").ainstruct("go")
    assert isinstance(computed, ComputedModelOutputThunk)
    assert [delta async for delta in computed] == list(computed) == ["one", " two"]
    assert (await computed).value == (await computed.avalue()) == computed.result().value == "one two"
    assert computed.is_computed()
    with pytest.raises(AlreadyComputed, match="already computed and cannot be streamed"):
        await computed.astream()


def test_an_unfinished_thunk_cannot_be_made_into_a_computed_one(fake):
    thunk = fake(Answer([Gate()])).instruct("go", await_result=False)
    with pytest.raises(NotComputed, match="await thunk"):
        ComputedModelOutputThunk(thunk._log)
    assert copy.copy(thunk) is copy.deepcopy(thunk) is thunk
