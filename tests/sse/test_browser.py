"""A browser's own `EventSource` reads what is sent: every character, every named event, and again after a cut."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from itertools import count
from typing import Any

import pytest
from playwright.sync_api import Page, sync_playwright
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from mellea_like import Delta, Finished, MelleaError
from mellea_like.events import Event
from mellea_like.responses.adapter import SSEAdapter

from .serving import served

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")

TOKENS = ["Hello", "\n\n", " world", "a\nb", "[DONE]", " ", "data: x", "\n", ": no", "id: 9", "\u2028", "é🎉", "  two"]

# As on the page, and it says when it is done.
TEXT = """<pre id="output"></pre><script>
const eventSource = new EventSource('/stream');
eventSource.onmessage = (e) => {
    if (e.data === '[DONE]') { eventSource.close(); document.title = 'done'; }
    else { document.getElementById('output').textContent += e.data; }
};
eventSource.addEventListener('error', (e) => { if (e.data) document.body.dataset.error = e.data; });
</script>"""

NAMED = """<pre id="output"></pre><script>
const heard = [];
const eventSource = new EventSource('/stream');
for (const name of ['delta', 'finished'])
    eventSource.addEventListener(name, (e) => heard.push([e.lastEventId, e.type, JSON.parse(e.data).text ?? '']));
eventSource.onerror = () => { if (eventSource.readyState === EventSource.CLOSED) document.title = 'done'; };
</script>"""


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser.new_page()
        browser.close()


def site(html: str, answer: Any) -> Starlette:
    async def home(request: Request) -> Response:
        return HTMLResponse(html)

    async def stream(request: Request) -> Response:
        response: Response = answer(request)
        return response

    return Starlette(routes=[Route("/", home), Route("/stream", stream)])


def opened(page: Page, address: str) -> None:
    page.goto(address)
    page.wait_for_function("document.title === 'done'")


async def said(tokens: list[str]) -> AsyncIterator[str]:
    for token in tokens:
        yield token


def test_every_character_is_on_the_page(page: Page) -> None:
    adapter = SSEAdapter(data_only=True)
    with served(site(TEXT, lambda request: adapter.to_streaming_response(said(TOKENS)))) as address:
        opened(page, address)
    assert page.evaluate("document.getElementById('output').textContent") == "".join(TOKENS)


def test_a_failure_stops_the_page_from_asking_again_and_is_told(page: Page) -> None:
    asked = count()

    async def failing() -> AsyncIterator[str]:
        next(asked)
        yield "half"
        raise MelleaError("secret")

    adapter = SSEAdapter(data_only=True)
    with served(site(TEXT, lambda request: adapter.to_streaming_response(failing()))) as address:
        opened(page, address)
    assert page.evaluate("document.body.dataset.error") == "MelleaError"
    assert page.evaluate("document.getElementById('output').textContent") == "half"
    assert next(asked) == 1


def test_a_browser_that_is_cut_off_goes_on_where_it_was_and_stops_at_the_end(page: Page) -> None:
    whole: list[Event] = [
        *(Delta(text=text, seq=number) for number, text in enumerate(TOKENS)),
        Finished(seq=len(TOKENS)),
    ]
    seen: list[str | None] = []

    async def up_to(end: int) -> AsyncIterator[Event]:
        for event in whole[:end]:
            yield event

    def answer(request: Request) -> Response:
        last = request.headers.get("last-event-id")
        seen.append(last)
        # Each connection lasts for four events only.
        source = up_to((int(last) + 1 if last else 0) + 4)
        return SSEAdapter(retry=0.01).to_streaming_response(source, last_event_id=last)

    with served(site(NAMED, answer)) as address:
        opened(page, address)
    assert page.evaluate("heard") == [
        [str(event.seq), event.type, event.text if isinstance(event, Delta) else ""] for event in whole
    ]
    assert seen == [None, "3", "7", "11", "13"]
