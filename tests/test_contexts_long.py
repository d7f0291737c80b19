"""Long chats: they copy and pickle, and what of them is sent."""

from __future__ import annotations

import copy
import pickle
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mellea_like import (
    Answer,
    BackendUnavailable,
    ChatContext,
    ComputedModelOutputThunk,
    Context,
    Message,
    ModelOutputThunk,
    start_session,
)


def told(ctx: Context) -> list[Message]:
    return [message for turn in ctx.view() for message in turn.messages()]


def long_chat(turns: int) -> ChatContext:
    ctx = ChatContext()
    for number in range(turns):
        ctx = ctx.add(f"{number}", ComputedModelOutputThunk.of(f"<{number}>"))
    return ctx


class Named(ChatContext):
    """A context with something of its own."""

    title = ""


def test_a_long_chat_copies_and_pickles() -> None:
    ctx = long_chat(5_000)
    assert copy.deepcopy(ctx) is copy.copy(ctx) is ctx
    assert copy.deepcopy(ctx.view()) == ctx.view()
    again = pickle.loads(pickle.dumps(ctx))
    assert (told(again), repr(again), type(again)) == (told(ctx), repr(ctx), ChatContext)
    assert told(again.add("x")) == [*told(ctx), Message("user", "x")]


def test_what_two_contexts_share_they_share_after_pickling() -> None:
    ctx = long_chat(3)
    left, right = pickle.loads(pickle.dumps((ctx.add("left"), ctx.add("right"))))
    assert left.view()[:3] == right.view()[:3]
    assert [turn.said for turn in (left.last_turn(), right.last_turn())] == ["left", "right"]


def test_a_pickled_context_keeps_what_a_subclass_added() -> None:
    ctx = Named(window_size=2)
    ctx.title = "On Rivers"
    again = pickle.loads(pickle.dumps(ctx))
    assert (type(again), again.title, again.window_size, again.view()) == (Named, "On Rivers", 2, [])


# --- system messages --------------------------------------------------------------------------------------------------

BE_BRIEF = Message("system", "Be brief.")


def failed() -> ModelOutputThunk[Any]:
    with start_session("fake", answers=Answer([BackendUnavailable("gone")])) as m:
        thunk = m.act("x", await_result=False)
        list(thunk.events())
        return thunk


def contents(ctx: Context) -> list[str]:
    return [message.content for message in told(ctx)]


def test_a_window_keeps_system_messages_however_old() -> None:
    m = start_session("fake", answers="ok", ctx=ChatContext(window_size=1).add(BE_BRIEF))
    with m:
        for said in ("One", "Two", "Three"):
            m.chat(said)
        sent = m.last_prompt()
    assert sent is not None
    assert [message.content for message in sent] == ["Be brief.", "Two", "ok", "Three"]
    assert contents(pickle.loads(pickle.dumps(m.ctx))) == ["Be brief.", "Three", "ok"]
    assert contents(Context.from_json(m.ctx.to_json())) == ["Be brief.", "Three", "ok"]
    assert contents(m.ctx.emptied()) == []


@given(st.lists(st.sampled_from(["system", "user", "answered system", "failed system"])), st.integers(1, 4))
def test_a_window_is_the_newest_exchanges_and_all_system_messages(kinds: list[str], size: int) -> None:
    whole, window = ChatContext(), ChatContext(window_size=size)
    for number, kind in enumerate(kinds):
        said = Message("user" if kind == "user" else "system", f"{number}")
        answer = failed() if "failed" in kind else None if kind == "system" else ComputedModelOutputThunk.of("ok")
        whole, window = whole.add(said, answer), window.add(said, answer)
    exchanges = [number for number, kind in enumerate(kinds) if kind != "system"][-size:]
    since = exchanges[0] if len(exchanges) == size else 0
    expected = [f"{n}" for n, kind in enumerate(kinds) if n < since and kind in {"system", "answered system"}]
    assert contents(window) == [*expected, *(m.content for turn in whole.view()[since:] for m in turn.messages())]
