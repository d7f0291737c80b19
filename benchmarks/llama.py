"""The embedded model: through a session, and with `xllamacpp` called directly, with the same parameters."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator

from measure import Effort, Row

from mellea_like import MelleaSession, start_session
from mellea_like.backends._native import Settings, load_server
from mellea_like.backends._weights import resolve_weights

PROMPT = "Tell me a long story about a lighthouse."
TOKENS = 200
# One core is left to the program, as the backend does by itself.
WINDOW, SLOTS, THREADS = 4096, 4, max(1, min((os.cpu_count() or 1) - 1, 4))


def through_session(m: MelleaSession, tokens: int) -> float:
    """Return the tokens per second of one answer."""
    options = {"max_new_tokens": tokens, "temperature": 0, "extra": {"ignore_eos": True, "cache_prompt": False}}
    began = time.perf_counter()
    thunk = m.instruct(PROMPT, model_options=options, await_result=False)
    for _ in thunk:
        pass
    taken = time.perf_counter() - began
    assert thunk.usage is not None
    assert thunk.usage.output_tokens == tokens, thunk.usage
    return tokens / taken


def direct(server: object, tokens: int) -> float:
    """Return the tokens per second of `xllamacpp` alone, its chunks counted and dropped."""
    body = {
        # What the backend adds for the embedded model, so that both do the same work.
        "messages": [
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": PROMPT},
        ],
        "repeat_penalty": 1.05,
        "max_tokens": tokens,
        "temperature": 0,
        "top_p": 0.9,
        "ignore_eos": True,
        "cache_prompt": False,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    said = 0

    def receive(chunk: dict[str, object]) -> bool:
        nonlocal said
        usage = chunk.get("usage")
        said = usage["completion_tokens"] if isinstance(usage, dict) else said
        return False

    began = time.perf_counter()
    server.handle_chat_completions(body, receive)  # type: ignore[attr-defined]  # a class of an untyped extension
    taken = time.perf_counter() - began
    assert said == tokens, said
    return tokens / taken


def speed(effort: Effort) -> Iterator[Row]:
    """Tokens per second, in turns, on two copies of the model loaded alike; then how fast it stops."""
    tokens = effort.size(TOKENS)
    server = load_server(Settings(path=resolve_weights(""), context_window=WINDOW, slots=SLOTS, threads=THREADS))
    with start_session("llamacpp", context_window=WINDOW, slots=SLOTS, threads=THREADS) as m:
        pairs = [(through_session(m, tokens), direct(server, tokens)) for _ in range(effort.rounds + 1)][1:]
        stops = [stopping(m) for _ in range(effort.rounds)]
    ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    yield Row(name="embedded model, session", figure=ours, unit="tokens/s")
    yield Row(name="embedded model, xllamacpp", figure=theirs, unit="tokens/s")
    yield Row(
        name="embedded model, ratio", figure=ratio, unit="times", at_least=0.95, against="xllamacpp called directly"
    )
    yield Row(name="embedded model, close() while it speaks", figure=statistics.median(stops), unit="ms", at_most=1000)


def stopping(m: MelleaSession) -> float:
    """Return the milliseconds from `close()` in the middle of an answer until the engine has stopped."""
    thunk = m.instruct(PROMPT, await_result=False, model_options={"max_new_tokens": 500})
    reader = iter(thunk)
    for _ in range(5):
        next(reader)
    began = time.perf_counter()
    thunk.close()
    return (time.perf_counter() - began) * 1e3


MEASURES = (speed,)
