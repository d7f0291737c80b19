"""The stores: what is saved is what is loaded, in memory and in a file, alone and from many at once."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mellea_like import FakeBackend, InvalidArgument
from mellea_like.graph.building import StateGraph
from mellea_like.graph.checkpoints import StateBackend
from mellea_like.graph.executor import ExecutionContext, Executor
from mellea_like.graph.stores import MemoryBackend, SQLiteBackend

plain = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
)


@pytest.fixture(params=["memory", "sqlite", "sqlite in memory"])
async def backend(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[StateBackend]:
    if request.param == "memory":
        yield MemoryBackend()
        return
    async with SQLiteBackend(tmp_path / "states.db" if request.param == "sqlite" else ":memory:") as store:
        yield store


async def test_it_is_a_store(backend: StateBackend) -> None:
    assert isinstance(backend, StateBackend)
    assert await backend.load("a") is None
    assert not await backend.exists("a")
    await backend.save("b", {"n": 1})
    await backend.save("a", {"n": 2})
    await backend.save("a", {"n": 3})
    assert await backend.load("a") == {"n": 3}
    assert await backend.list_sessions() == ["a", "b"]
    assert await backend.delete("a")
    assert not await backend.delete("a")
    assert await backend.list_sessions() == ["b"]


@given(st.dictionaries(st.text(), plain))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20, deadline=None)
async def test_what_is_saved_is_what_is_loaded(backend: StateBackend, state: dict[str, Any]) -> None:
    await backend.save("s", state)
    assert await backend.load("s") == state


async def test_a_state_that_is_changed_later_is_not_changed_in_the_store(backend: StateBackend) -> None:
    state: dict[str, Any] = {"list": [1]}
    await backend.save("s", state)
    state["list"].append(2)
    loaded = await backend.load("s")
    assert loaded == {"list": [1]}
    loaded["list"].append(3)
    assert await backend.load("s") == {"list": [1]}


async def test_many_save_at_once(backend: StateBackend) -> None:
    await asyncio.gather(*(backend.save(f"s{n:03}", {"n": n}) for n in range(100)))
    assert await backend.list_sessions() == [f"s{n:03}" for n in range(100)]


def test_one_store_serves_one_event_loop_after_the_other(tmp_path: Path) -> None:
    store = SQLiteBackend(tmp_path / "states.db")
    asyncio.run(store.save("s", {"n": 1}))
    assert asyncio.run(store.load("s")) == {"n": 1}
    asyncio.run(store.aclose())


async def test_a_file_is_there_for_the_next_program(tmp_path: Path, ran: Callable[[str], str]) -> None:
    async with SQLiteBackend(tmp_path / "states.db") as store:
        await store.save("s", {"who": "Ana"})
        program = f"""
            import asyncio
            from mellea_like.graph.stores import SQLiteBackend
            print(asyncio.run(SQLiteBackend({str(tmp_path / "states.db")!r}).load("s")))
        """
        assert ran(program) == "{'who': 'Ana'}\n"
    with sqlite3.connect(tmp_path / "states.db") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


async def test_a_closed_store_opens_again(tmp_path: Path) -> None:
    store = SQLiteBackend(tmp_path / "states.db")
    await store.save("s", {"n": 1})
    await store.aclose()
    assert await store.load("s") == {"n": 1}
    await store.aclose()


async def test_what_a_file_cannot_keep_is_named(tmp_path: Path) -> None:
    async with SQLiteBackend(tmp_path / "states.db") as store:
        with pytest.raises(InvalidArgument, match=r"session 's'.*'lock' holds a object.*MemoryBackend"):
            await store.save("s", {"fine": 1, "lock": object()})
        assert await store.load("s") is None


async def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"nowhere.*cannot be used as a store"):
        await SQLiteBackend(tmp_path / "nowhere" / "states.db").load("s")


async def test_memory_keeps_what_cannot_be_copied() -> None:
    backend, lock = MemoryBackend(), threading.Lock()
    await backend.save("s", {"lock": lock})
    assert await backend.load("s") == {"lock": lock}


async def test_a_chat_with_messages_goes_on_from_a_file(tmp_path: Path) -> None:
    graph = StateGraph()
    graph.add_node("llm", node_type="llm")
    graph.set_entry_point("llm")
    fake = FakeBackend(answers="Yes.")
    async with SQLiteBackend(tmp_path / "states.db") as store:
        for _ in range(2):
            context = ExecutionContext(graph_id="g", session_id="s")
            execution = Executor(graph.compile(backend=fake), store).execute({"messages": ["Sure?"]}, context)
            assert [event.type async for event in execution][-1] == "execution_complete"
    assert [message.role for message in fake.calls[-1].messages] == ["user", "assistant", "user"]
    assert [message.content for message in context.state["messages"]] == ["Sure?", "Yes."] * 2
