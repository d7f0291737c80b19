"""What a notebook shows: one output per thunk, live while it grows, rendered Markdown in the end, never a script."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from markdown_it import MarkdownIt
from notebook_runs import Ran, run
from pydantic import BaseModel

from mellea_like import (
    Answer,
    Gate,
    InvalidArgument,
    MelleaSession,
    Message,
    Thinking,
    ToolCall,
    WrongUse,
    check,
    show,
    simple_validate,
)
from mellea_like.backends._weights import resolve_weights

TOUR = Path(__file__).parent.parent / "docs" / "examples" / "notebooks" / "tour.ipynb"
EVIL = "<script>alert(1)</script><img src=x onerror=alert(1)>"

# --- in a kernel ----------------------------------------------------------------------------------------------------

CELLS = {
    "set up": """
        import asyncio, gc, time, threading
        from dataclasses import dataclass
        from mellea_like import Answer, BackendUnavailable, Gate, RejectionSamplingStrategy, check, simple_validate
        from mellea_like import start_session
        from mellea_like import show

        def begin(*steps, **call):
            m = start_session("fake", answers=Answer(list(steps)))
            return m.instruct("go", await_result=False, **call)
    """,
    "synchronous": "start_session('fake', answers='**Paris**').instruct('go')",
    "awaited": "await start_session('fake', answers='**Paris**').ainstruct('go')",
    "running": """
        gate = Gate()
        running = begin("some ", gate, "**text**")
        next(iter(running))
        running
    """,
    "then awaited": "gate.open(); print(await running)",
    "another loop blocked": """
        gate = Gate()
        blocked = begin("some ", gate, "text")
        blocked
    """,
    "while a cell blocks": "gate.open(); print(blocked.result())",
    "of an earlier cell": "earlier = begin('made before')",
    "shown later": "earlier",
    "ended by then": "earlier.result(); print('ended')",
    "failed": "await show(begin('some text', BackendUnavailable('The *server* went away.')))",
    "cancelled": """
        cancelled = begin("some text", Gate())
        showing = show(cancelled)
        async for _ in cancelled:
            break
        await cancelled.cancel()
        await showing
    """,
    "two in a cell": "one, two = show(begin('1')), show(begin('2')); await one; await two",
    "a burst": """
        begun = time.monotonic()
        await show(begin(*(f"{n} " for n in range(400)), 0.5, *(step for n in range(200) for step in (f"{n} ", 0.002))))
        took = time.monotonic() - begun
    """,
    "how long it took": "print(took)",
    "nobody else holds it": """
        gate = Gate()
        showing = show(begin("some ", gate, "text"))
        gc.collect()
        gate.open()
        await showing
    """,
    "polled": "begin('one ', 'two')",
    "polled after it was shown": """
        polled = begin('one ', 'two')
        await show(polled)
        while not polled.is_computed():
            text = await polled.astream()
        print(text)
    """,
    "judged": """
        short = check("short", simple_validate(lambda text: len(text) < 6, reason="It is too long."))
        m = start_session("fake", answers=["much too long", "short"])
        await show(m.instruct("go", requirements=[short], await_result=False))
    """,
    "judged on the kernel's own loop": """
        async def slowly(text):
            await asyncio.sleep(0)
            return len(text) < 6

        m = start_session("fake", answers=["much too long", "short"])
        own = await m.ainstruct("go", requirements=[check("short", simple_validate(slowly))], await_result=False)
        own
    """,
    "and awaited": "print(await own)",
    "sampling": """
        m = start_session("fake", answers=["much too long", "short"])
        m.instruct("go", requirements=[short], return_sampling_results=True)
    """,
    "typed": """
        @dataclass
        class Person:
            name: str
            age: int

        await show(begin('{"name": "Ada<b>", ', '"age": 36}', format=Person))
    """,
    "hostile": f"await show(begin({EVIL!r}))",
    "piece by piece": """
        page, first, second = get_ipython().display_pub, Gate(), Gate()
        publish, seen = page.publish, {"one": threading.Event(), "one two": threading.Event()}

        def watched(**drawn):
            publish(**drawn)
            seen.get(drawn["data"]["text/plain"].strip(), threading.Event()).set()

        page.publish = watched
        showing = show(begin("one ", first, "two ", second, "three"))
        drawn = [seen["one"].wait(10), first.open() or seen["one two"].wait(10)]
        second.open()
        await showing
        page.publish = publish
        print(*drawn)
    """,
    "a slow page": """
        def slowly(**drawn):
            if "text/markdown" in drawn["data"]:
                time.sleep(0.1)
            publish(**drawn)

        page.publish = slowly
        gate = Gate()
        slow = begin("slow ", gate, "page")
        slow
    """,
    "awaited on a slow page": "gate.open(); print(await slow)",
    "the cell after it": "page.publish = publish",
    "ends between two cells": """
        gate = Gate()
        between = begin("in ", gate, "between")
        showing = show(between)

        def end():
            gate.open()
            showing.wait()

        def after_the_cell(result):
            get_ipython().events.unregister("post_run_cell", after_the_cell)
            asyncio.get_running_loop().call_later(0.003, end)  # when the cell is idle, and the next has not begun

        get_ipython().events.register("post_run_cell", after_the_cell)
    """,
    "and the next": "between.done()",
    "a graph's run": """
        from mellea_like import FakeBackend, StateGraph

        gate = Gate()
        graph = StateGraph()
        graph.add_node("count", lambda state: {"n": 3})
        graph.add_node("poet", node_type="llm")
        graph.add_edge("count", "poet")
        graph.set_entry_point("count")
        graph = graph.compile(backend=FakeBackend(answers=Answer(["Roses **are** ", gate, "red."])))
        poem = graph.start("A poem.")
        async for event in poem.events():
            if event.type == "token":
                break
        poem
    """,
    "and the run awaited": "gate.open(); print((await poem).parsed['n'])",
    "what a run came to": "await poem",
    "no thunk": """
        try:
            show(5)
        except ValueError as error:
            print(error)
    """,
    "waited for": "print(show(begin('text')).wait(30))",
    "threads": "print(*{thread.name for thread in threading.enumerate() if 'display' in thread.name})",
}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return run(list(CELLS.values()), tmp_path_factory.mktemp("kernel"))


@pytest.fixture(scope="module")
def cell(ran: Ran) -> Callable[[str], Any]:
    return dict(zip(CELLS, ran.cells, strict=True)).__getitem__


@pytest.mark.parametrize("name", ["synchronous", "awaited"])
def test_a_result_is_one_output_of_markdown(cell: Callable[[str], Any], name: str) -> None:
    assert cell(name).only == {"text/plain": "**Paris**", "text/markdown": "**Paris**"}


def test_a_running_thunk_is_one_output_that_a_later_cell_finishes(cell: Callable[[str], Any]) -> None:
    assert cell("running").only == {"text/plain": "some **text**", "text/markdown": "some **text**"}
    assert cell("then awaited").printed == "some **text**\n"


def test_the_output_grew_through_one_display(ran: Ran) -> None:
    first, *_, last = ran.display_of("some **text**")
    assert (first.kind, last.kind) == ("display_data", "update_display_data")
    assert first.picture == {"text/plain": "some ", "text/html": '<div style="white-space: pre-wrap">some </div>'}
    assert set(last.picture) == {"text/plain", "text/markdown"}


def test_each_piece_is_drawn_while_the_model_still_speaks(cell: Callable[[str], Any]) -> None:
    assert cell("piece by piece").outputs[-1]["text"] == "True True\n"


def test_a_cell_that_awaits_lasts_until_the_page_is_whole(ran: Ran) -> None:
    awaits = list(CELLS).index("awaited on a slow page")
    assert awaits in [drawn.cell for drawn in ran.display_of("slow page") if "text/markdown" in drawn.picture]


def test_what_ends_between_two_cells_is_drawn(cell: Callable[[str], Any]) -> None:
    assert cell("ends between two cells").only["text/markdown"] == "in between"


def test_a_cell_that_blocks_the_loop_does_not_stop_the_display(cell: Callable[[str], Any]) -> None:
    assert cell("while a cell blocks").printed == "some text\n"
    assert cell("another loop blocked").only["text/markdown"] == "some text"


def test_a_thunk_of_an_earlier_cell_is_shown_where_it_is_asked_for(cell: Callable[[str], Any]) -> None:
    assert cell("of an earlier cell").outputs == []
    assert cell("shown later").only["text/markdown"] == "made before"


def test_a_failure_shows_the_text_and_then_the_error_in_a_line(cell: Callable[[str], Any]) -> None:
    text, error = cell("failed").only["text/markdown"].split("\n\n")
    assert text == "some text"
    assert MarkdownIt().render(error) == "<p><em>✗ BackendUnavailable: The *server* went away.</em></p>\n"


def test_what_was_cancelled_keeps_its_text_and_says_so(cell: Callable[[str], Any]) -> None:
    assert cell("cancelled").only["text/markdown"] == "some text\n\n*cancelled after 9 characters*"


def test_two_displays_in_a_cell_are_two_outputs(cell: Callable[[str], Any]) -> None:
    assert [output["data"]["text/markdown"] for output in cell("two in a cell").outputs] == ["1", "2"]


def test_a_burst_is_no_flood(ran: Ran, cell: Callable[[str], Any]) -> None:
    whole = cell("a burst").only["text/plain"]
    drawn = ran.display_of(whole)
    assert len(whole.split()) == 600
    assert Counter(kind for kind, *_ in drawn)["display_data"] == 1
    assert 2 < len(drawn) <= 20 * float(cell("how long it took").printed)  # a second


def test_showing_keeps_a_generation_running_that_nobody_else_holds(cell: Callable[[str], Any]) -> None:
    assert cell("nobody else holds it").only["text/markdown"] == "some text"


def test_showing_takes_nothing_from_a_polling_loop(cell: Callable[[str], Any]) -> None:
    shown, printed = cell("polled after it was shown").outputs
    assert (shown["data"]["text/markdown"], printed["text"]) == ("one two", "one two\n")


def test_a_judged_call_ends_as_its_answer_with_the_verdict(cell: Callable[[str], Any]) -> None:
    answer, verdict = cell("judged").only["text/markdown"].split("\n\n")
    assert answer == "short"
    assert "✓ attempt 2 of 2: 1 of 1 requirements met" in MarkdownIt().render(verdict)


def test_the_display_leaves_the_kernels_loop_to_asynchronous_requirements(cell: Callable[[str], Any]) -> None:
    assert cell("and awaited").printed == "short\n"
    assert cell("judged on the kernel's own loop").only["text/markdown"].startswith("short\n\n")


def test_a_sampling_result_is_a_table(cell: Callable[[str], Any]) -> None:
    shown = cell("sampling").only
    assert shown["text/html"].count("<tr>") == 3
    assert "✗ short: It is too long." in shown["text/html"]
    assert "<strong>2 (answer)</strong>" in shown["text/html"]
    assert "much too long" in MarkdownIt("commonmark").enable("table").render(shown["text/markdown"])


def test_a_typed_answer_ends_as_a_table_of_its_fields(cell: Callable[[str], Any]) -> None:
    shown = cell("typed").only
    assert re.findall(r'<td [^>]*title="(\w+)">.</td><th [^>]*>(\w+)</th>', shown["text/html"]) == [
        ("done", "name"),
        ("done", "age"),
    ]
    assert "Ada&lt;b&gt;" in shown["text/html"]
    assert shown["text/markdown"].startswith("```json\n{")


def test_a_models_text_runs_no_script(ran: Ran, cell: Callable[[str], Any]) -> None:
    assert cell("hostile").only["text/plain"] == EVIL
    drawn = [text for drawn in ran.drawn for kind, text in drawn.picture.items() if kind != "text/plain"]
    assert [text for text in drawn if "<script" in text or "<img" in text] == []


def test_a_graphs_run_shows_what_its_nodes_say_and_then_its_state(ran: Ran, cell: Callable[[str], Any]) -> None:
    state = {
        "text/plain": "input: A poem.\nn: 3\noutput: Roses **are** red.",
        "text/markdown": "**input**\n\nA poem.\n\n**n**\n\n3\n\n**output**\n\nRoses **are** red.",
    }
    assert cell("a graph's run").only == cell("what a run came to").only == state
    assert cell("and the run awaited").printed == "3\n"
    begun = list(CELLS).index("a graph's run")
    first = next(drawn for drawn in ran.drawn if (drawn.kind, drawn.cell) == ("display_data", begun))
    last = [drawn for drawn in ran.drawn if drawn.display == first.display][-1]
    assert first.picture["text/plain"] == "[count]\n[poet] Roses **are**"
    assert re.sub("<[^>]*>", "|", first.picture["text/html"]) == "||count| ✓|||poet|||Roses **are** |"
    assert last.picture == state


def test_what_is_no_thunk_is_not_shown(cell: Callable[[str], Any]) -> None:
    assert cell("no thunk").printed == "`show` takes a thunk or a graph's run, not int: 5.\n"


def test_waiting_works_in_synchronous_code_and_no_thread_is_left(cell: Callable[[str], Any]) -> None:
    assert cell("waited for").outputs[-1]["text"] == "True\n"
    assert cell("threads").printed == "\n"


# --- the tour -------------------------------------------------------------------------------------------------------

SCRIPT = """
from mellea_like import start_session

RECIPE = '{"name": "Pancakes", "minutes": 20, "ingredients": ["flour", "milk", "eggs"]}'
LONG = "The very best of all the breads that were ever baked by any baker in town."

def script(request):
    asked = request.messages[-1].content
    if "slogan" in asked:
        return LONG if len(m.backend.calls) % 2 else "Bread worth waking for."
    answers = {"colours": "- red\\n- yellow\\n- blue", "story": "The light **never** slept.", "Count": "1 " * 500}
    return next((answer for word, answer in answers.items() if word in asked), RECIPE)

m = start_session("fake", answers=script, delay=0.005)
"""


def tour(first: str, folder: Path) -> list[Any]:
    sources = [cell["source"] for cell in nbformat.read(TOUR, as_version=4).cells if cell["cell_type"] == "code"]
    assert "m = start_session()" in sources[0]
    return run([first, *sources[1:]], folder).cells


def looked_at(cells: list[Any]) -> None:
    """Check what holds whatever the model says: one picture for each cell that shows one, and of which kind."""
    start, colours, story, told, slogan, samples, recipe, parsed, stopped, closed = cells
    assert start.outputs == closed.outputs == []
    for shown in (colours, story, slogan, stopped):
        assert set(shown.only) == {"text/plain", "text/markdown"}
    assert re.fullmatch(r"\S+ (stop|length) \d+ tokens\n", told.printed)
    assert re.search(r"attempt.{6,20}of", slogan.only["text/markdown"])
    assert set(samples.only) == {"text/plain", "text/html", "text/markdown"}
    assert "<th" in recipe.only["text/html"]
    assert parsed.only["text/plain"].startswith("Recipe(")
    assert "cancelled" in stopped.only["text/markdown"]


def test_the_tour_runs_on_scripted_answers(tmp_path: Path) -> None:
    cells = tour(SCRIPT, tmp_path)
    looked_at(cells)
    assert cells[1].only["text/markdown"] == "- red\n- yellow\n- blue"
    assert cells[2].only["text/markdown"] == "The light **never** slept."


@pytest.mark.model
def test_the_tour_runs_on_the_embedded_model(tmp_path: Path) -> None:
    resolve_weights("")  # where they must be fetched first, it takes longer than a cell may
    options = "{'max_new_tokens': 60, 'temperature': 0.0}"
    looked_at(
        tour(f"from mellea_like import start_session\nm = start_session('llamacpp', model_options={options})", tmp_path)
    )


def test_the_tour_is_kept_without_outputs() -> None:
    cells = [cell for cell in nbformat.read(TOUR, as_version=4).cells if cell["cell_type"] == "code"]
    assert [(cell["outputs"], cell["execution_count"]) for cell in cells] == [([], None)] * len(cells)


# --- pictures, without a kernel -------------------------------------------------------------------------------------


class Person(BaseModel):
    name: str
    age: int


def test_a_judged_call_shows_attempts_and_verdicts_while_it_runs(fake: Callable[..., MelleaSession]) -> None:
    gate = Gate()
    short = check("short", simple_validate(lambda text: len(text) < 9, reason="It is too long."))
    answers = [Answer(["much too", " long"]), Answer(["sho", gate, "rt"])]
    thunk = fake(answers).instruct("go", requirements=[short], await_result=False)
    next(event for event in thunk.events() if event.type == "delta" and event.attempt == 2)
    drawn = thunk._repr_html_()
    assert "<em>attempt 1</em>, given up<div>✗ short: It is too long.</div>" in drawn
    assert "much too long" not in drawn
    assert drawn.endswith('<em>attempt 2</em></div><div style="white-space: pre-wrap">sho</div>')
    assert thunk.partial_text == ""
    gate.open()
    thunk.result()


def test_a_typed_answer_shows_its_fields_as_they_come(fake: Callable[..., MelleaSession]) -> None:
    gate = Gate()
    thunk = fake(Answer(['{"name": "A', gate, 'da", "age": 3}'])).instruct("go", format=Person, await_result=False)
    partial = next(iter(thunk.partials()))
    for drawn in (thunk._repr_html_(), partial._repr_html_()):
        assert re.findall(r'<td [^>]*title="(\w+)">', drawn) == ["open", "missing"]
        assert ">A</span>" in drawn
    assert partial._repr_markdown_() == '```json\n{\n  "name": "A"\n}\n```'
    gate.open()
    thunk.result()


def test_thinking_is_shown_faintly_until_the_answer_begins(fake: Callable[..., MelleaSession]) -> None:
    before, after = Gate(), Gate()
    thunk = fake(Answer([Thinking(text="hm <b>"), before, "answer", after])).instruct("go", await_result=False)
    next(event for event in thunk.events() if event.type == "thinking")
    assert "<em>thinking</em>: hm &lt;b&gt;" in thunk._repr_html_()
    before.open()
    next(iter(thunk))
    assert "hm" not in thunk._repr_html_()
    after.open()
    thunk.result()


def test_a_message_shows_its_role_and_its_tool_calls() -> None:
    message = Message("assistant", "**yes** <b>", tool_calls=[ToolCall(name="add", arguments='{"a": 1}')])
    drawn = MarkdownIt("commonmark").render(message._repr_markdown_())
    assert "<strong>assistant</strong>" in drawn
    assert "<strong>yes</strong> &lt;b&gt;" in drawn
    assert "tool call: <code>add({&quot;a&quot;: 1})</code>" in drawn


def test_outside_a_notebook_show_says_what_to_do(fake: Callable[..., MelleaSession]) -> None:
    with pytest.raises(WrongUse, match=r"no notebook here.*for delta in thunk"):
        show(fake("text").instruct("go"))
    with pytest.raises(InvalidArgument, match="not int: 5"):
        show(5)  # type: ignore[arg-type]  # which is what it tells


def test_ipython_in_a_terminal_shows_the_repr(tmp_path: Path) -> None:
    program = "from mellea_like import start_session; m = start_session('fake', answers='hello')\nm.instruct('go')"
    command = [sys.executable, "-m", "IPython", "--no-banner", "--HistoryManager.enabled=False", "-c", program]
    own = {**os.environ, "IPYTHONDIR": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env=own)
    assert "<ComputedModelOutputThunk finished: 'hello'>" in done.stdout
    assert done.stderr == ""
