"""The page in a real browser, headless Chromium: what a person does with it, by mouse and by keyboard alone."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from mellea_like import (
    Answer,
    BackendUnavailable,
    BestofNSamplingStrategy,
    FakeBackend,
    Gate,
    Message,
    Requirement,
    simple_validate,
    start_session,
)
from mellea_like.graph.building import StateGraph
from mellea_like.server.answering import ModelAnswerer
from mellea_like.server.limits import Access

from .conftest import Served

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

QUIET = Requirement("in small letters", validation_fn=simple_validate(str.islower))

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here; `.ci/run` installs Debian's")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def show(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open the page of a server; whatever it said on the console, or asked of others, fails the test."""
    opened: list[tuple[Page, list[str]]] = []

    def open_page(served: Served, *, quiet: bool = True, path: str = "/", **settings: Any) -> Page:
        page = browser.new_page(**settings)
        wrong: list[str] = []
        if quiet:
            page.on("console", lambda message: message.type in {"error", "warning"} and wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda asked: asked.url.startswith((served.url, "data:,")) or wrong.append(asked.url))
        page.set_default_timeout(8000)
        page.goto(served.url + path)
        opened.append((page, wrong))
        return page

    yield open_page
    for page, wrong in opened:
        page.close()
        assert wrong == []


def test_a_message_is_answered_token_by_token(serve: Callable[..., Served], show: Callable[..., Page]) -> None:
    gate = Gate()
    page = show(serve(Answer(["Good ", gate, "morning!"])))
    page.get_by_label("Message").fill("Say good morning")
    page.get_by_role("button", name="Send").click()
    answer = page.locator("li.assistant .text")
    expect(answer).to_have_text("Good")
    expect(page.get_by_role("button", name="Stop")).to_be_enabled()
    expect(page.locator("#turns")).to_have_attribute("aria-busy", "true")
    gate.open()
    expect(answer).to_have_text("Good morning!")
    expect(page.locator("li.user .text")).to_have_text("Say good morning")
    expect(page.get_by_role("status")).to_have_text("Done.")
    expect(page.locator("#turns")).to_have_attribute("aria-busy", "false")
    expect(page.get_by_role("heading")).to_have_text("script")


def test_the_conversation_goes_with_every_message(serve: Callable[..., Served], show: Callable[..., Page]) -> None:
    session = start_session("fake", answers=["Hello, Ana!", "Ana."])
    page = show(serve(session))
    for text, reply in (("I am Ana.", "Hello, Ana!"), ("Who am I?", "Ana.")):
        page.get_by_label("Message").fill(text)
        page.keyboard.press("Enter")
        expect(page.locator("li.assistant .text").last).to_have_text(reply)
        expect(page.get_by_role("status")).to_have_text("Done.")
    assert [m.content for m in session.backend.calls[1].messages] == ["I am Ana.", "Hello, Ana!", "Who am I?"]


def test_by_keyboard_alone_it_is_asked_stopped_and_asked_again(
    serve: Callable[..., Served], show: Callable[..., Page]
) -> None:
    session = start_session("fake", answers=[Answer(["Half ", Gate()]), "Whole."])
    served = serve(session)
    page = show(served)
    expect(page.get_by_label("Message")).to_be_focused()
    page.keyboard.type("one")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("two")
    page.keyboard.press("Enter")
    expect(page.locator("li.assistant .text")).to_have_text("Half")
    page.keyboard.press("Escape")
    expect(page.get_by_role("status")).to_have_text("Stopped.")
    assert served.reaches(running=0)
    expect(page.get_by_label("Message")).to_be_focused()
    for _ in range(2):  # past Send, to Retry; Stop has nothing to stop
        page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Retry")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("li.assistant .text")).to_have_text("Whole.")
    assert [m.content for m in session.backend.calls[1].messages] == ["one\ntwo"]


def test_attempts_are_shown_with_their_verdicts(serve: Callable[..., Served], show: Callable[..., Page]) -> None:
    gate = Gate()
    session = start_session("fake", answers=["LOUD WORDS", Answer(["quiet ", gate, "words"])])
    page = show(serve(ModelAnswerer(session, requirements=[QUIET])))
    page.get_by_label("Message").fill("Say something")
    page.keyboard.press("Enter")
    answer = page.locator("li.assistant > .text")
    expect(answer).to_have_text("quiet")
    gate.open()
    expect(answer).to_have_text("quiet words")
    page.get_by_text("2 attempts").click()
    first, second = page.locator("li.attempt").all()
    expect(first).to_contain_text("Attempt 1, given up")
    expect(first).to_contain_text("failed: in small letters")
    expect(first.locator(".draft")).to_have_text("LOUD WORDS")
    expect(second.locator(".pass")).to_have_text(re.compile("passed: in small letters"))


def test_an_answer_is_shown_though_no_attempt_passed(serve: Callable[..., Served], show: Callable[..., Page]) -> None:
    session = start_session("fake", answers=["LOUD WORDS", "MORE LOUD WORDS"])
    served = serve(ModelAnswerer(session, requirements=[QUIET]))
    page = show(served)
    page.get_by_label("Message").fill("Say something")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("Done.")
    expect(page.locator("li.assistant > .text")).to_have_text("LOUD WORDS")
    page.get_by_text("2 attempts").click()
    expect(page.locator("li.attempt .who")).to_have_text(["Attempt 1, taken: none was better", "Attempt 2"])


def test_attempts_that_grow_at_once_stand_apart(serve: Callable[..., Served], show: Callable[..., Page]) -> None:
    gate = Gate()
    session = start_session("fake", answers=[Answer(["one ", gate, "more"]), Answer(["two ", gate, "words"])])

    async def program(messages: list[Message]) -> Any:
        strategy = BestofNSamplingStrategy(loop_budget=2)
        return await session.ainstruct("x", requirements=[QUIET], strategy=strategy, await_result=False)

    page = show(serve(program))
    page.get_by_label("Message").fill("Say something")
    page.keyboard.press("Enter")
    expect(page.locator(".text .saying")).to_have_text(["one", "two"])
    gate.open()
    expect(page.locator(".text .saying")).to_have_text([re.compile("^(one more|two words)$")])


def test_a_failure_keeps_the_text_and_says_what_happened(
    serve: Callable[..., Served], show: Callable[..., Page]
) -> None:
    broken = Answer(["Half of ", BackendUnavailable("The model went away.", backend="fake")])
    page = show(serve([broken, "Whole."]))
    page.get_by_label("Message").fill("hi")
    page.keyboard.press("Enter")
    expect(page.locator(".note.bad")).to_have_text("The model went away.")
    expect(page.locator("li.assistant .text")).to_have_text("Half of")
    page.get_by_role("button", name="Retry").click()
    expect(page.locator("li.assistant .text")).to_have_text("Whole.")


def test_a_new_chat_forgets_the_old_one(serve: Callable[..., Served], show: Callable[..., Page]) -> None:
    session = start_session("fake")
    page = show(serve(session))
    for text in ("first", "second"):
        page.get_by_label("Message").fill(text)
        page.keyboard.press("Enter")
        expect(page.locator("li.assistant .text")).to_have_text(f"You said: {text}")
        expect(page.get_by_role("status")).to_have_text("Done.")
        page.get_by_role("button", name="New chat").click()
        expect(page.locator("#turns li")).to_have_count(0)
    assert len(session.backend.calls[1].messages) == 1


def test_markup_in_an_answer_is_text(serve: Callable[..., Served], show: Callable[..., Page]) -> None:
    gate = Gate()
    page = show(serve(Answer(["<img src=x onerror=alert(1)> <b>bold</b>", gate])))
    page.get_by_label("Message").fill("<i>hi</i>")
    page.keyboard.press("Enter")
    for _ in range(2):  # while it grows, and when it is whole
        expect(page.locator("li.assistant .text")).to_have_text("<img src=x onerror=alert(1)> <b>bold</b>")
        expect(page.locator("li.user .text")).to_have_text("<i>hi</i>")
        gate.open()
        expect(page.get_by_role("status")).to_have_text("Done.")


def test_with_a_key_the_page_asks_for_it(serve: Callable[..., Served], show: Callable[..., Page]) -> None:
    page = show(serve(None, access=Access(keys=["sk-page"])), quiet=False)  # the browser itself logs the 401
    page.get_by_label("API key").fill("sk-page")
    page.keyboard.press("Tab")
    expect(page.get_by_role("heading")).to_have_text("script")
    page.get_by_label("Message").fill("hi")
    page.keyboard.press("Enter")
    expect(page.locator("li.assistant .text")).to_have_text("You said: hi")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_light_and_in_dark(echo: Served, show: Callable[..., Page], scheme: str) -> None:
    page = show(echo, color_scheme=scheme)
    page.get_by_label("Message").fill("hi")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("Done.")
    colours = page.evaluate(
        "() => ['.text', '.note', '.who', '#send', 'h1'].map(s => {"
        " let e = document.querySelector(s), c = getComputedStyle(e).color, b;"
        " for (; e; e = e.parentElement) {"
        " b = getComputedStyle(e).backgroundColor; if (!b.startsWith('rgba(0, 0, 0, 0')) break; }"
        " return [s, c, b]; })"
    )
    for where, ink, ground in colours:
        assert contrast(ink, ground) >= 4.5, (where, ink, ground)
    dark = luminance(page.evaluate("getComputedStyle(document.body).backgroundColor")) < 0.2
    assert dark is (scheme == "dark")


def luminance(colour: str) -> float:
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_on_a_narrow_screen_nothing_is_cut_off(echo: Served, show: Callable[..., Page]) -> None:
    page = show(echo, viewport={"width": 320, "height": 480})
    page.get_by_label("Message").fill("w" * 300)
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("Done.")
    assert page.evaluate("document.documentElement.scrollWidth") <= 320


def test_a_graph_is_drawn_and_its_nodes_show_how_far_it_is(
    serve: Callable[..., Served], show: Callable[..., Page]
) -> None:
    gate = Gate()
    graph = StateGraph()
    graph.add_node("plan", lambda state: {"plan": "three lines"})
    graph.add_node("poet", node_type="llm", system_prompt="You are a poet.")
    graph.add_sequence(["plan", "poet"])
    graph.set_entry_point("plan")
    compiled = graph.compile(backend=FakeBackend(answers=Answer(["Roses ", gate, "are red."])), name="poem")
    page = show(serve(compiled))
    expect(page.get_by_role("img", name="Graph poem: plan, poet")).to_be_visible()
    page.get_by_label("Message").fill("A poem")
    page.keyboard.press("Enter")
    expect(page.locator("g[data-node=plan]")).to_have_class("done")
    expect(page.locator("g[data-node=poet]")).to_have_class("runs")
    expect(page.locator("li.assistant .text")).to_have_text("Roses")
    gate.open()
    expect(page.locator("li.assistant .text")).to_have_text("Roses are red.")
    expect(page.locator("g[data-node=poet]")).to_have_class("done")


def judged_twice(session: Any) -> StateGraph:
    """Build a graph whose one node asks a model twice, and judges both answers."""

    async def poet(state: Any) -> Any:
        verses = [str(await session.ainstruct("A verse", requirements=[QUIET])) for _ in range(2)]
        return {"poem": verses}

    graph = StateGraph()
    graph.add_node("poet", poet)
    graph.set_entry_point("poet")
    return graph


def test_attempts_of_a_judged_node_are_shown_like_a_chats(
    serve: Callable[..., Served], show: Callable[..., Page]
) -> None:
    gates = Gate(), Gate()
    answers = [Answer(["LOUD ", gates[0], "WORDS"]), Answer(["quiet ", gates[1], "words"]), "at once"]
    page = show(serve(judged_twice(start_session("fake", answers=answers))))
    page.get_by_label("Message").fill("A poem")
    page.keyboard.press("Enter")
    answer = page.locator("li.assistant > .text")
    expect(answer).to_have_text("LOUD")
    gates[0].open()
    expect(answer).to_have_text("quiet")
    gates[1].open()
    expect(answer.locator(".saying")).to_have_text(["quiet words", "at once"])
    page.get_by_text("3 attempts").click()
    first, second, third = page.locator("li.attempt").all()
    expect(first).to_contain_text("Attempt 1 of poet, given up")
    expect(first).to_contain_text("failed: in small letters")
    expect(first.locator(".draft")).to_have_text("LOUD WORDS")
    expect(second.locator(".who")).to_have_text("Attempt 2 of poet")
    expect(second.locator(".verdicts")).to_have_text("passed: in small letters")
    expect(third.locator(".who")).to_have_text("Attempt 1 of poet (2)")
    expect(third.locator(".verdicts")).to_have_text("passed: in small letters")


SNIPPET = """
const eventSource = new EventSource('/stream?prompt=hello');
eventSource.onmessage = (e) => {
    if (e.data === '[DONE]') {
        eventSource.close();
        document.title = 'closed';
    } else {
        document.getElementById('output').textContent += e.data;
    }
};
"""


def test_the_event_source_of_the_streaming_page_works(serve: Callable[..., Served], show: Callable[..., Page]) -> None:
    session = start_session("fake")
    page = show(serve(session))
    page.evaluate("() => { const p = document.createElement('p'); p.id = 'output'; document.body.append(p); }")
    page.evaluate(f"() => {{ {SNIPPET} }}")
    expect(page.locator("#output")).to_have_text("You said: hello")
    expect(page).to_have_title("closed")
    assert len(session.backend.calls) == 1


def test_a_broken_connection_is_taken_up_again(serve: Callable[..., Served], show: Callable[..., Page]) -> None:
    gate = Gate()
    served = serve(Answer(["one ", gate, "two"]))
    page = show(served, quiet=False)  # the browser itself logs the broken connection
    page.get_by_label("Message").fill("count")
    page.keyboard.press("Enter")
    expect(page.locator("li.assistant .text")).to_have_text("one")
    broken = list(served.server.server_state.connections)
    loop = broken[0].loop  # type: ignore[union-attr]  # of every protocol there is
    for connection in broken:
        loop.call_soon_threadsafe(connection.transport.abort)  # type: ignore[union-attr]
    expect(page.get_by_role("status")).to_have_text("Connecting again …")
    gate.open()
    expect(page.locator("li.assistant .text")).to_have_text("one two")
    expect(page.get_by_role("status")).to_have_text("Done.")


@pytest.mark.model
def test_the_embedded_model_answers_on_the_page(model: Served, show: Callable[..., Page]) -> None:
    page = show(model)
    page.get_by_label("Message").fill("Say hello.")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("Done.", timeout=30_000)
    assert page.locator("li.assistant .text").inner_text()
