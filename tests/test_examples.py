"""The examples run unattended, as a user would start them, and show what they promise."""

import re
import sys
from pathlib import Path

import pytest
from example_runs import BACKENDS, command, run

SHOWN = {
    "components/objects.py": [r"\{'total': 330\}"],
    "components/template_file.py": [r"There is no template for Lost\. Looked for:"],
    "observability/watching_events.py": [r"call 1: started", r"call 2: finished", r"mellea_like INFO .* finished \("],
    "observability/opentelemetry_spans.py": [r"# chat .*, inside another span", r"# gen_ai\.client\.token\.usage: "],
    "streaming/streaming_partials.py": [r"title:open minutes:missing", r"steps:done", r"-> .+ in .+, after \d+ char"],
    "tools/agent_with_tools.py": [r"the answer:|no answer:"],
    "tools/mcp_tools.py": [r"the answer:|no answer:|sunrise said"],
    "yaml/yaml_streaming.py": [r"\['greeting', 'name'\]", r"# A graph, token by token\.\n\S"],
}
"""What an example prints, on any model; those whose output says more have tests of their own below."""

SCRIPTED = {
    "components/images.py": [r"\[ImageBlock\(image/png, 70 bytes\), ImageBlock\(https://example\.org/cat\.png\)\]"],
    "streaming/streaming_partials.py": [r"valid integer", r"-> cancelled\n\Z"],
    "tools/agent_with_tools.py": [r"may I run note\(", r"price said '0\.4'", r"the answer: They cost 4\.80 euros\."],
    "tools/mcp_tools.py": [r"sunrise said '04:02'"],
    "yaml/yaml_streaming.py": [r"\| said:\| Write\| a\| friendly\| greeting\| to\| Bo\.\|"],
}
"""What it prints besides, where the answers are scripted."""


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", SHOWN)
def test_an_example_shows_what_it_promises(name: str, backend: str | None) -> None:
    printed = run(name, backend)
    for pattern in SHOWN[name]:
        assert re.search(pattern, printed), printed


@pytest.mark.parametrize("name", SCRIPTED)
def test_an_example_shows_what_it_was_scripted_to(name: str) -> None:
    printed = run(name, "fake")
    for pattern in SCRIPTED[name]:
        assert re.search(pattern, printed), printed


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_chat_that_was_left_goes_on(backend: str | None, tmp_path: Path) -> None:
    kept = ("--file", str(tmp_path / "chat.json"))
    first, second = (run("components/resume_chat.py", backend, *kept) for _ in "12")
    assert len(second) > len(first)


@pytest.mark.parametrize("backend", BACKENDS)
def test_basic_streaming_shows_both_ways(backend: str | None) -> None:
    printed = run("streaming/basic_streaming.py", backend)
    polled, iterated, after = re.split(r"\n# [2A][^\n]*\n", printed)
    assert polled.splitlines()[-1]
    assert iterated.strip()
    assert re.search(r"\d+ characters, finish reason '(stop|length)', Usage\(input_tokens=\d+", after)


@pytest.mark.parametrize("backend", BACKENDS)
def test_advanced_streaming_shows_every_practice(backend: str | None) -> None:
    printed = run("streaming/advanced_streaming.py", backend)
    for heading in ("Buffering", "Errors", "Timeouts", "Cancelling", "Several at once", "Synchronous code"):
        assert f"# {heading}" in printed
    assert printed.count("BackendUnavailable: The server went away.") == 2
    assert "awaiting it: GenerationCancelled" in printed
    assert "left `async with`: cancelled" in printed
    counts = re.findall(r"Paris: (\d+ deltas, \d+ characters)", printed)
    assert len(counts) == 2
    assert counts[0] == counts[1]


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_chat_answers_skips_an_empty_line_and_leaves_at_the_end_of_input(backend: str | None) -> None:
    printed = run("streaming/interactive_chat.py", backend, typed="Say hello.\n\nSay it again.\n")
    assert printed.count("bot> ") == 2
    assert printed.endswith("Bye.\n")


def test_the_scripted_chat_says_what_was_typed() -> None:
    assert "bot> You said: good morning\n" in run("streaming/interactive_chat.py", "fake", typed="good morning\n")


@pytest.mark.skipif(sys.platform == "win32", reason="there is no pseudo-terminal on Windows")
def test_in_the_chat_ctrl_c_stops_an_answer_and_keeps_the_session_and_ctrl_d_leaves() -> None:
    import pexpect

    program, *arguments = command("streaming/interactive_chat.py", "fake")
    chat = pexpect.spawn(program, arguments, encoding="utf-8", timeout=60)
    chat.expect("you> ")
    chat.sendline("word " * 150)
    chat.expect("bot> .*word word")
    chat.sendintr()
    chat.expect(r"\(stopped\)")
    chat.expect("you> ")
    chat.sendintr()
    chat.expect(r"\(Ctrl-D leaves\)")
    chat.expect("you> ")
    chat.sendline("still there?")
    chat.expect("You said: still there?")
    chat.expect("you> ")
    chat.sendeof()
    chat.expect("Bye.")
    chat.expect(pexpect.EOF)
    chat.close()
    assert chat.exitstatus == 0
