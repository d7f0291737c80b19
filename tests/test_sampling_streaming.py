"""A judged call streams: plain readers see accepted text only, events show every attempt live."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
import weakref

import pytest

from mellea_like import (
    Answer,
    BackendUnavailable,
    Gate,
    ModelNotFound,
    RequirementsNotMet,
    Thinking,
    Truncated,
    Usage,
)
from mellea_like.requirement import Requirement, check, simple_validate
from mellea_like.sampling import SamplingStrategy
from mellea_like.sampling.rejection import RejectionSamplingStrategy

LOWER = check("lower", simple_validate(lambda text: text == text.lower(), reason="It shouts."))
PATIENCE = 10


def told(thunk):
    """Read the events as short tuples."""
    shown = []
    for e in thunk.events():
        match e.type:
            case "delta" | "thinking":
                shown.append((e.attempt, e.text))
            case "checked":
                shown.append((e.attempt, e.requirement, e.passed, e.reason))
            case "retried":
                shown.append((e.attempt, "retried", e.void, e.reason))
            case _:
                shown.append((e.attempt, e.type))
    return shown


TWO = [Answer(["NO", "NO"]), Answer(["ye", "s"])]
EVENTS_OF_TWO = [
    (1, "started"),
    (1, "NO"),
    (1, "NO"),
    (1, "lower", False, "It shouts."),
    (1, "retried", 1, "lower: It shouts."),
    (2, "started"),
    (2, "ye"),
    (2, "s"),
    (2, "lower", True, None),
    (2, "finished"),
]


async def test_every_plain_reader_sees_only_the_accepted_attempt(fake, read):
    thunk = await fake(TWO).ainstruct("?", requirements=[LOWER], await_result=False)
    seen = await read(thunk)
    assert (seen.text, seen.error) == ("yes", None)
    assert thunk.attempt == 2


async def test_many_readers_of_many_kinds_see_the_same(fake):
    gate = Gate()
    thunk = await fake([Answer(["NO", gate]), Answer(["ye", "s"])]).ainstruct(
        "?", requirements=[LOWER], await_result=False
    )

    async def iterate():
        return [delta async for delta in thunk]

    readers = [asyncio.create_task(iterate()) for _ in range(5)]
    await asyncio.sleep(0)
    gate.open()
    assert await asyncio.gather(*readers) == [["ye", "s"]] * 5
    assert list(thunk) == ["ye", "s"]


def test_events_are_in_exact_order_live_and_replayed(fake):
    thunk = fake(TWO).instruct("?", requirements=[LOWER], await_result=False)
    assert told(thunk) == EVENTS_OF_TWO
    assert told(thunk.result()) == EVENTS_OF_TWO


def test_events_show_an_attempt_before_its_verdict_while_plain_readers_wait(fake):
    gate = Gate()
    thunk = fake([Answer(["NO", gate, "NO"]), "yes"]).instruct("?", requirements=[LOWER], await_result=False)
    events = iter(thunk.events())
    assert [next(events).type, next(events).text] == ["started", "NO"]
    assert thunk.partial_text == ""
    assert thunk.attempt is None
    gate.open()
    assert next(iter(thunk)) == "yes"


async def test_a_poller_waits_for_the_verdict_and_then_has_the_text(fake):
    gate = Gate()
    thunk = await fake(Answer(["yes", gate])).ainstruct("?", requirements=[LOWER], await_result=False)
    poll = asyncio.create_task(thunk.astream())
    await asyncio.to_thread(gate.reached, PATIENCE)
    assert not poll.done()
    gate.open()
    assert await poll == "yes"


def test_without_a_strategy_the_text_is_live_and_judged_at_its_end(fake):
    gate = Gate()
    thunk = fake(Answer(["NO", gate])).instruct("?", requirements=[LOWER], strategy=None, await_result=False)
    assert next(iter(thunk)) == "NO"
    assert thunk.success is None
    gate.open()
    assert thunk.result().success is False
    assert told(thunk)[-2:] == [(1, "lower", False, "It shouts."), (1, "finished")]
    assert len(thunk.samples) == 1


def test_without_requirements_nothing_is_judged(fake):
    answer = fake("NO").instruct("?")
    assert (answer.success, answer.validations, answer.samples) == (None, (), ())


# --- failure is visible -----------------------------------------------------------------------------------------------


def test_a_model_that_never_passes_is_visible_and_every_attempt_is_kept(fake):
    answer = fake(["A", "B", "C"]).instruct(
        "?", requirements=[LOWER], strategy=RejectionSamplingStrategy(loop_budget=3)
    )
    assert (answer.value, answer.success, answer.attempt) == ("A", False, 1)
    assert [sample.text for sample in answer.samples] == ["A", "B", "C"]
    assert [v.reason for v in answer.validations] == ["It shouts."]


def test_by_default_there_are_two_attempts(fake):
    m = fake("A")
    assert len(m.instruct("?", requirements=[LOWER]).samples) == len(m.backend.calls) == 2


def test_on_failure_raise_carries_the_samples_and_after_the_text(fake):
    thunk = fake(["A", "B"]).instruct("?", requirements=[LOWER], on_failure="raise", await_result=False)
    with pytest.raises(RequirementsNotMet, match=r"in 2 attempts. The one that was kept: lower: It shouts") as raised:
        thunk.result()
    assert [sample.text for sample in raised.value.samples] == ["A", "B"]
    assert (raised.value.text, thunk.partial_text, thunk.success) == ("A", "A", False)


def test_on_failure_raise_lets_a_good_answer_pass(fake):
    assert fake(["A", "b"]).instruct("?", requirements=[LOWER], on_failure="raise").value == "b"


def test_sampling_results_hold_everything(fake):
    result = fake(TWO).instruct("?", requirements=[LOWER], return_sampling_results=True)
    assert (result.success, result.result_index, result.value) == (True, 1, "yes")
    assert [g.value for g in result.sample_generations] == ["NONO", "yes"]
    assert [[v.result for _, v in each] for each in result.sample_validations] == [[False], [True]]
    assert result.result_validations[0][0] == "lower"


def test_usage_is_that_of_all_attempts_together(fake):
    answers = [Answer("NO", usage=Usage(input_tokens=5, output_tokens=2)), Answer("y", usage=Usage(input_tokens=5))]
    answer = fake(answers).instruct("?", requirements=[LOWER])
    assert answer.usage == Usage(input_tokens=10, output_tokens=2)
    assert [sample.usage.output_tokens for sample in answer.samples] == [2, 0]


def test_usage_counts_the_models_that_judge(fake):
    judge = fake(Answer("yes", usage=Usage(input_tokens=100, output_tokens=1))).backend
    wise = Requirement("wise", judge=judge)
    answer = fake(Answer("y", usage=Usage(input_tokens=5))).instruct("?", requirements=[wise])
    assert answer.usage == Usage(input_tokens=105, output_tokens=1)


def test_the_seed_counts_up_so_that_attempts_differ(fake):
    m = fake(["A", "B", "c"])
    m.instruct("?", requirements=[LOWER], strategy=RejectionSamplingStrategy(loop_budget=3), model_options={"seed": 7})
    assert [call.options["seed"] for call in m.backend.calls] == [7, 8, 9]


def test_the_strategys_requirements_add_to_the_calls_and_keep_their_order(fake):
    strategy = RejectionSamplingStrategy(loop_budget=1, requirements=[check("third", simple_validate(bool))])
    wanted = [LOWER, check("second", simple_validate(bool))]
    answer = fake("NO").instruct("?", requirements=wanted, strategy=strategy)
    assert [(v.requirement, v.result) for v in answer.validations] == [
        ("lower", False),
        ("second", True),
        ("third", True),
    ]


# --- connections and backends -----------------------------------------------------------------------------------------


def test_a_dropped_connection_is_a_failed_attempt_visible_and_tried_again(fake):
    drop = Answer(["half", BackendUnavailable("gone", backend="fake")])
    thunk = fake([drop, "yes"]).instruct("?", requirements=[LOWER], await_result=False)
    assert told(thunk)[:3] == [(1, "started"), (1, "half"), (1, "retried", 1, "gone")]
    assert list(thunk) == ["yes"]
    assert isinstance(thunk.samples[0].error, BackendUnavailable)
    assert thunk.samples[0].text == "half"


def test_a_stream_without_its_end_is_tried_again(fake):
    answer = fake([Answer("half", truncated=True), "yes"]).instruct("?", requirements=[LOWER])
    assert answer.value == "yes"
    assert isinstance(answer.samples[0].error, Truncated)


async def test_a_drop_in_the_last_attempt_is_the_error_after_the_text(fake, read):
    drop = Answer(["half", BackendUnavailable("gone", backend="fake")])
    thunk = await fake(drop).ainstruct("?", requirements=[LOWER], await_result=False)
    seen = await read(thunk)
    assert seen.text == "half"
    assert isinstance(seen.error, BackendUnavailable)
    assert len(thunk.samples) == 2


def test_a_whole_answer_that_failed_is_kept_rather_than_a_half(fake):
    drop = Answer(["half", BackendUnavailable("gone", backend="fake")])
    answer = fake([drop, "WHOLE"]).instruct("?", requirements=[LOWER])
    assert (answer.value, answer.success) == ("WHOLE", False)


def test_without_a_strategy_a_drop_is_the_thunks_error(fake):
    drop = Answer(["half", BackendUnavailable("gone", backend="fake")])
    m = fake(drop)
    with pytest.raises(BackendUnavailable):
        m.instruct("?", requirements=[LOWER], strategy=None)
    assert len(m.backend.calls) == 1


def test_an_error_that_another_attempt_would_meet_again_is_raised_at_once(fake):
    m = fake(Answer([ModelNotFound("no such model", backend="fake", model="x")]))
    with pytest.raises(ModelNotFound):
        m.instruct("?", requirements=[LOWER], strategy=RejectionSamplingStrategy(loop_budget=5))
    assert len(m.backend.calls) == 1


# --- stopping early ---------------------------------------------------------------------------------------------------


class Watched:
    """A script whose model says something, then waits at a gate that nobody opens; `Gate.reached` tells it waits."""

    def __init__(self, said):
        self.gate = Gate()
        self.answer = Answer([said, self.gate, "never said"])


NO_SHOUTING = check("calm", lambda chunk: (not chunk.isupper(), f"{chunk!r} shouts."), chunking="sentence")


@pytest.mark.parametrize("kind", ["word", "sentence", "line", "paragraph"])
def test_a_hopeless_attempt_is_stopped_while_its_model_still_talks(fake, kind):
    watched = Watched("STOP THIS.\n\nAnd so")
    calm = check("calm", lambda chunk: not chunk.isupper(), chunking=kind)
    answer = fake([watched.answer, "fine."]).instruct("?", requirements=[calm])
    assert answer.value == "fine."
    assert answer.samples[0].text == "STOP THIS.\n\nAnd so"
    assert (answer.samples[0].stopped, answer.samples[0].success) == (True, False)


def test_the_model_is_stopped_at_its_source(talker):
    talker.session.instruct(
        "Talk.", requirements=[check("mute", lambda chunk: False, chunking="word")], strategy=None, await_result=True
    )
    assert talker.is_stopped()


def test_the_reason_of_an_early_stop_is_in_the_events_and_the_sample(fake):
    watched = Watched("Well. STOP IT. And")
    thunk = fake([watched.answer, "fine."]).instruct("?", requirements=[NO_SHOUTING], await_result=False)
    assert told(thunk)[:4] == [
        (1, "started"),
        (1, "Well. STOP IT. And"),
        (1, "calm", False, "'STOP IT.' shouts."),
        (1, "retried", 1, "calm: 'STOP IT.' shouts."),
    ]


def test_chunks_are_judged_to_the_last_one_which_the_end_closes(fake):
    answer = fake(["Calm. LOUD", "fine"]).instruct("?", requirements=[NO_SHOUTING])
    assert answer.samples[0].validations[0].reason == "'LOUD' shouts."
    assert answer.value == "fine"


def test_an_asynchronous_function_judges_chunks_too(fake):
    async def calm(chunk):
        return not chunk.isupper()

    answer = fake([Watched("STOP IT. And").answer, "fine."]).instruct(
        "?", requirements=[check("calm", calm, chunking="sentence")]
    )
    assert (answer.value, answer.samples[0].stopped) == ("fine.", True)


def test_an_attempt_that_fails_while_it_is_watched_keeps_its_error(fake):
    drop = Answer(["half. ", BackendUnavailable("gone", backend="fake")])
    answer = fake([drop, "fine."]).instruct("?", requirements=[NO_SHOUTING])
    assert isinstance(answer.samples[0].error, BackendUnavailable)
    assert answer.value == "fine."


def test_chunk_verdicts_stand_where_their_requirements_do(fake):
    wanted = [check("a", simple_validate(bool)), NO_SHOUTING, check("c", simple_validate(bool))]
    answer = fake("fine.").instruct("?", requirements=wanted)
    assert [v.requirement for v in answer.validations] == ["a", "calm", "c"]


def test_a_typed_answer_is_stopped_at_its_first_wrong_field(fake):
    watched = Watched('[1, "two", ')
    answer = fake([watched.answer, "[1, 2]"]).instruct("?", format=list[int], strategy=RejectionSamplingStrategy())
    assert answer.parsed == [1, 2]
    assert answer.samples[0].stopped
    assert "valid integer" in answer.samples[0].validations[0].reason


# --- as an object -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("twin_of", [copy.copy, copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))])
def test_a_judged_thunk_copies_and_pickles_with_its_verdicts(fake, twin_of):
    answer = fake(TWO).instruct("?", requirements=[LOWER])
    twin = twin_of(answer)
    assert (twin.value, twin.success, twin.attempt) == ("yes", True, 2)
    assert twin.samples == answer.samples
    assert told(twin) == EVENTS_OF_TWO


def test_nothing_holds_a_judged_thunk_once_it_is_dropped(fake):
    m = fake("yes")
    thunk = m.instruct("?", requirements=[LOWER, NO_SHOUTING])
    gone = weakref.ref(thunk)
    del thunk
    gc.collect()
    assert gone() is None


# --- the seam ---------------------------------------------------------------------------------------------------------


class Planned(SamplingStrategy):
    """A strategy made of a generator function."""

    def __init__(self, plan, *, in_place):
        super().__init__()
        self._as_planned, self.steps_in_place = plan, in_place

    def plan(self, first):
        return self._as_planned(first)


@pytest.mark.parametrize("in_place", [True, False])
def test_a_plan_that_waits_for_nothing_is_an_error_not_a_hang(fake, in_place):
    def plan(first):
        yield [first]
        yield []

    with pytest.raises(Exception, match="waits for a sample, but none of its attempts runs"):
        fake("yes").instruct("?", strategy=Planned(plan, in_place=in_place))


@pytest.mark.parametrize("in_place", [True, False])
def test_a_plan_that_returns_no_sample_is_an_error(fake, in_place):
    def plan(first):
        yield [first]

    with pytest.raises(Exception, match="it must return a sample"):
        fake("yes").instruct("?", strategy=Planned(plan, in_place=in_place))


def test_what_a_plan_raises_is_what_the_call_fails_with(fake):
    def plan(first):
        yield [first, first]
        raise ZeroDivisionError("my own")

    with pytest.raises(ZeroDivisionError, match="my own"):
        fake("yes").instruct("?", strategy=Planned(plan, in_place=False))


def test_thinking_of_the_model_itself_is_live_in_each_attempt(fake):
    answers = [[Thinking(text="hm"), "NO"], [Thinking(text="ah"), "yes"]]
    thunk = fake(answers).instruct("?", requirements=[LOWER], await_result=False)
    assert [(e.attempt, e.text) for e in thunk.events() if e.type == "thinking"] == [(1, "hm"), (2, "ah")]
    assert thunk.thinking == "ah"
    assert [sample.thinking for sample in thunk.samples] == ["hm", "ah"]
