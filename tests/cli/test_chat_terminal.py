"""`mellea-like chat` at a terminal: typed into and read as a person would."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from mellea_like import ChatContext, FakeBackend, MelleaSession, Message, RecordingBackend, ToolCallEvent
from mellea_like.agent import react
from mellea_like.cli.settings import tools_in
from mellea_like.events import Thinking

from .conftest import fake
from .terminal import ALT_ENTER, CTRL_C, CTRL_D, ENTER, TAB, UP, Terminal

Start = Callable[..., Terminal]
MARKDOWN = """# Title

Some **bold** text with `List<int>` and a <b>tag</b>,
on two lines.

1. one
1. two
   - within

| name | age |
|------|-----|
| Ana  | 36  |

```python
def f() -> str:
    return "日本"
```

The end."""
SHOWN = """Title

Some bold text with List<int> and a <b>tag</b>,
on two lines.

  1 one
  2 two
     • within

 name  age
 ─────────
 Ana   36

```python
def f() -> str:
    return "日本"
```

The end."""


def say(terminal: Terminal, line: str) -> None:
    terminal.prompt()
    terminal.type(line + ENTER)


def told(terminal: Terminal, question: str) -> str:
    """Return what is on the screen between a question and the figures after its answer."""
    terminal.until(rf"(?s)^> {re.escape(question)}$.* to the first token.*^>\Z")
    return terminal.text.partition(f"> {question}\n")[2].rpartition(" to the first token")[0].rpartition("\n")[0]


# --- what is shown ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [24, 6])
def test_an_answer_streams_as_markdown_whole_in_the_scrollback(terminal: Start, rows: int) -> None:
    chat = terminal("chat", *fake(MARKDOWN, delay=0.005), rows=rows)
    say(chat, "go")
    assert told(chat, "go") == SHOWN


def test_a_block_is_drawn_while_it_is_open(terminal: Start) -> None:
    chat = terminal("chat", *fake("first second " + "word " * 500, delay=0.05))
    say(chat, "go")
    chat.until("^first second")
    assert "to the first token" not in chat.text
    chat.type(CTRL_C)
    chat.until("stopped")


def test_narrow_and_wide_signs(terminal: Start) -> None:
    text = "日本語のテキストは全角で、幅が二つ分です。" * 4 + " naïve 👍 café."
    chat = terminal("chat", *fake(text, delay=0.01), columns=40, rows=10)
    say(chat, "go")
    assert told(chat, "go").replace("\n", "").replace(" ", "") == text.replace(" ", "")


def test_a_resize_in_the_middle_neither_loses_nor_doubles(terminal: Start) -> None:
    # Short lines: the terminal here cuts what does not fit, as terminals do that do not wrap anew.
    text = "\n\n".join(f"Number {i}." for i in range(60))
    chat = terminal("chat", *fake(text, delay=0.01), rows=10)
    say(chat, "go")
    chat.until("Number 5.")
    chat.resize(40, 10)
    chat.until("Number 15.")
    chat.resize(100, 10)
    assert told(chat, "go") == text


def test_figures_follow_an_answer_and_are_summed(terminal: Start) -> None:
    chat = terminal("chat", *fake("one two", "three"))
    say(chat, "go")
    chat.until(r"\d\.\d\d s to the first token · 2 tokens, \d+ a second")
    say(chat, "go")
    say(chat, "/stats")
    chat.until("2 answers, 5 tokens in, 3 out")
    chat.until("s to the first token on average")


def test_codes_in_an_answer_do_not_reach_the_terminal(terminal: Start) -> None:
    chat = terminal("chat", *fake("ab\x1b[2Jc\x1b]0;title\x07d"))
    say(chat, "go")
    assert told(chat, "go") == "ab[2Jc]0;titled"


@pytest.mark.parametrize(("flags", "env"), [(["--no-color"], {}), ([], {"NO_COLOR": "1"})])
def test_no_colour_where_none_is_wanted(terminal: Start, flags: list[str], env: dict[str, str]) -> None:
    chat = terminal("chat", *fake(MARKDOWN, ""), *flags, env=env)
    say(chat, "go")
    assert told(chat, "go") == SHOWN
    chat.type(CTRL_D)
    assert chat.end() == 0
    colours = {cell.fg for line in chat.screen.buffer.values() for cell in line.values()}
    assert colours == {"default"}


def test_thoughts_are_shown_and_are_no_part_of_the_answer(terminal: Start, recorded: Callable[..., list[str]]) -> None:
    model = recorded("go", Thinking(text="Let me "), Thinking(text="think.\nHm."), "The ", "answer.")
    chat = terminal("chat", *model)
    say(chat, "go")
    assert told(chat, "go") == "Let me think.\nHm.\n\nThe answer."
    thought = next(y for y, line in enumerate(chat.screen.display) if line.startswith("Let me"))
    assert chat.screen.buffer[thought][0].italics


# --- attempts, tools --------------------------------------------------------------------------------------------------

SHORT = """
def short(text):
    return len(text) < 20, f"{len(text)} characters"
"""


def test_attempts_and_verdicts_are_shown(terminal: Start, tmp_path: Path) -> None:
    (tmp_path / "checks.py").write_text(SHORT)
    chat = terminal("chat", *fake("a very much too long answer", "*short*", delay=0.01))
    say(chat, "/require checks.py:short")
    chat.until("Each answer has 2 attempts")
    say(chat, "go")
    assert told(chat, "go").splitlines() == [
        "attempt 1",
        "a very much too long answer",
        "✗ short: 27 characters",
        "",
        "short",
        "✓ short",
    ]
    void = next(y for y, line in enumerate(chat.screen.display) if line.startswith("a very"))
    assert chat.screen.buffer[void][0].strikethrough


def test_an_attempt_is_seen_while_it_is_made(terminal: Start, tmp_path: Path) -> None:
    (tmp_path / "checks.py").write_text(SHORT)
    chat = terminal(
        "chat", *fake("one two three four five " + "word " * 300, delay=0.05), "--require", "checks.py:short"
    )
    say(chat, "go")
    chat.until(r"^attempt 1\none two")
    chat.type(CTRL_C)
    chat.until("stopped")


def test_when_no_attempt_passes_the_first_is_given_and_that_is_said(terminal: Start, tmp_path: Path) -> None:
    (tmp_path / "checks.py").write_text(SHORT)
    chat = terminal("chat", *fake("first is too long by far", "second is too long as well"), "-r", "checks.py:short")
    say(chat, "go")
    assert told(chat, "go").endswith("No attempt meets the requirements. This is attempt 1:\nfirst is too long by far")


TOOLS = """
from mellea_like import tool

@tool(confirm=True)
def add(a: int, b: int) -> int:
    "Add two numbers."
    return a + b
"""


@pytest.fixture
def adding(tmp_path: Path) -> Callable[[bool], list[str]]:
    """Record a model that asks for the tool `add`, is or is not given the sum, and answers."""

    def record(agreed: bool) -> list[str]:
        (tmp_path / "tools.py").write_text(TOOLS)
        call = ToolCallEvent(id="1", name="add", arguments='{"a": 20, "b": 3}', complete=True)
        turns = [["Let me ", "see.", call], ["It is ", "23." if agreed else "a secret."]]
        with MelleaSession(RecordingBackend(FakeBackend(answers=turns), tmp_path / "calls.jsonl")) as m:
            goal = Message("user", "How much?")
            tools = tools_in(str(tmp_path / "tools.py")).values()
            asyncio.run(react(goal, ChatContext(), m.backend, tools=tools, confirm=lambda _: agreed))
        return ["-m", "replay:calls.jsonl", "--tools", "tools.py"]

    return record


@pytest.mark.parametrize("agreed", [True, False])
def test_a_tool_is_run_when_it_was_agreed_to(
    terminal: Start, adding: Callable[[bool], list[str]], agreed: bool
) -> None:
    chat = terminal("chat", *adding(agreed))
    say(chat, "/tools")
    chat.until("add: Add two numbers.")
    say(chat, "How much?")
    chat.until(r"""Run add \{"a": 20, "b": 3\}\? \[y/N\]""")
    chat.type("y" * agreed + ENTER)
    chat.until("to the first token")
    shown = told(chat, "How much?")
    assert shown.startswith("Let me see.\n⚙ add {")
    assert ("  → 23\nIt is 23." if agreed else "It is a secret.") in shown


# --- stopping and leaving ---------------------------------------------------------------------------------------------


def test_ctrl_c_stops_an_answer_and_what_came_is_remembered(terminal: Start) -> None:
    chat = terminal("chat", *fake("one two three " + "word " * 500, delay=0.05))
    say(chat, "go")
    chat.until("one two three")
    chat.type(CTRL_C)
    chat.until(r"\(stopped\)")
    say(chat, "/save chat.json")
    chat.until("Saved 1 turn")
    chat.type(CTRL_D)
    assert chat.end() == 0
    saved = json.loads((Path(chat.home) / "chat.json").read_text())
    assert saved["turns"][0]["answer"]["state"] == "cancelled"
    assert saved["turns"][0]["answer"]["text"].startswith("one two three")


def test_ctrl_c_twice_leaves(terminal: Start) -> None:
    chat = terminal("chat", *fake("word " * 500, delay=0.05))
    say(chat, "go")
    chat.until("^word")
    chat.type(CTRL_C)
    chat.until("stopped")
    chat.prompt()
    chat.type(CTRL_C)
    assert chat.end() == 130


def test_ctrl_c_at_the_prompt_clears_the_line_then_warns_then_leaves(terminal: Start) -> None:
    chat = terminal("chat", *fake("hello"))
    chat.prompt()
    chat.type("half a que")
    chat.until("half a que")
    chat.type(CTRL_C)
    chat.prompt()
    chat.type(CTRL_C)
    chat.until("Ctrl-C once more leaves")
    chat.prompt()
    chat.type(CTRL_C)
    assert chat.end() == 130


@pytest.mark.parametrize("way", [CTRL_D, "/quit" + ENTER])
def test_leaving(terminal: Start, way: str) -> None:
    chat = terminal("chat", *fake("hello"))
    chat.prompt()
    chat.type(way)
    assert chat.end() == 0


def test_a_broken_backend_is_one_line_and_the_chat_goes_on(terminal: Start) -> None:
    chat = terminal("chat", "-m", "openai:m", "-o", "base_url=http://127.0.0.1:9/v1", "-o", "api_key=x", columns=200)
    say(chat, "go")
    chat.until("^Nothing answers at 'http://127.0.0.1:9/v1'.*")
    say(chat, "/model fake")
    chat.until("The model is script")
    say(chat, "again")
    chat.until("^You said: again")
    assert "Traceback" not in chat.text
    chat.type(CTRL_D)
    assert chat.end() == 0


# --- typing -----------------------------------------------------------------------------------------------------------


def test_many_lines(terminal: Start) -> None:
    chat = terminal("chat", "-m", "fake")
    say(chat, "one\\" + ENTER + "two" + ALT_ENTER + "three")
    chat.until("You said: one\ntwo\nthree")


def test_history_lasts_from_one_session_to_the_next(terminal: Start) -> None:
    first = terminal("chat", "-m", "fake")
    say(first, "remember me")
    first.until("You said: remember me")
    first.type(CTRL_D)
    assert first.end() == 0
    second = terminal("chat", "-m", "fake")
    second.prompt()
    second.type(UP)
    second.until("^> remember me")
    assert (Path(second.home) / "mellea-like" / "chat_history").stat().st_mode & 0o077 == 0


def test_completion_of_commands_and_files(terminal: Start, tmp_path: Path) -> None:
    (tmp_path / "yesterday.json").write_text("")
    chat = terminal("chat", "-m", "fake")
    chat.prompt()
    chat.type("/he")
    chat.until("^> /he$")
    chat.type(TAB)
    chat.until("^> /help")
    chat.type(ENTER)
    chat.until("Alt-Enter")
    chat.prompt()
    chat.type("/load yest")
    chat.until("yesterday.json")
    chat.type(TAB)
    chat.until("^> /load yesterday.json")


def test_what_is_typed_during_an_answer_is_the_next_line(terminal: Start) -> None:
    chat = terminal("chat", *fake("one two three four five six seven eight nine ten", "second", delay=0.05))
    say(chat, "go")
    chat.until("^one")
    chat.type("next" + ENTER)
    chat.until(r"(?s)^> next$.*^second$")
    assert "nex" not in chat.text.partition("> go")[2].partition("to the first token")[0]


# --- commands ---------------------------------------------------------------------------------------------------------


def test_a_conversation_is_kept_and_gone_on_with(terminal: Start) -> None:
    first = terminal("chat", *fake("Hello, Ana."))
    say(first, "I am Ana.")
    say(first, "/save chat.json")
    first.until("Saved 1 turn to chat.json")
    first.type(CTRL_D)
    assert first.end() == 0
    second = terminal("chat", "--load", "chat.json", *fake("You are Ana."))
    second.until(r"Loaded 1 turn from chat.json.\n> I am Ana.\nHello, Ana.")
    say(second, "Who am I?")
    say(second, "/undo")
    second.until("Forgotten: Who am I")
    say(second, "/undo")
    second.until("Forgotten: I am Ana")
    say(second, "/undo")
    second.until("Nothing was said yet")
    say(second, "/load chat.json")
    say(second, "/stats")
    second.until("1 turn$")


def test_retry_asks_again_and_keeps_one_turn(terminal: Start) -> None:
    chat = terminal("chat", *fake("first", "second"))
    say(chat, "go")
    say(chat, "/retry")
    chat.until(r"Again: go\nsecond")
    say(chat, "/stats")
    chat.until(r"1 turn$")


def test_commands_say_how_things_are(terminal: Start) -> None:
    chat = terminal("chat", "-m", "fake", "--system", "Be brief.")
    for line, shown in (
        ("/system", "The system prompt is: Be brief."),
        ("/system Be long.", "The system prompt is: Be long."),
        ("/system off", "There is no system prompt."),
        ("/require", "Nothing is required."),
        ("/require Be polite.", "- Be polite."),
        ("/require off", "Nothing is required."),
        ("/tools", "There are no tools."),
        ("/tools no.py", "There is no file 'no.py'."),
        ("/load", "/load needs a file"),
        ("/load no.json", "'no.json': No such file or directory."),
        ("/model", "The model is script"),
        ("/model nope", "There is no backend 'nope'"),
        ("/rest", r"There is no command '/rest'. Did you mean '/reset'\?"),
        ("/reset", "Forgotten"),
    ):
        say(chat, line)
        chat.until(rf"(?s)^> {line}$.*{shown}")


# --- the real model ---------------------------------------------------------------------------------------------------


@pytest.mark.model
def test_the_embedded_model_talks(terminal: Start) -> None:
    chat = terminal("chat", "-m", "llamacpp", "-o", "max_tokens=20", "-o", "temperature=0")
    say(chat, "What is the capital of France?")
    chat.until("Paris")
    chat.until(r"s to the first token · \d+ tokens, \d+ a second")
    say(chat, "/retry")
    chat.until("(?s)Again: .*Paris.*to the first token")
    chat.type(CTRL_D)
    assert chat.end() == 0
