"""Every backend of the library passes the suite. A new one is a new `Subject` in the list."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mellea_like import (
    Answer,
    Backend,
    FakeBackend,
    HuggingFaceBackend,
    LlamaCppBackend,
    MelleaSession,
    OllamaModelBackend,
    OpenAIBackend,
    ReplayBackend,
    Request,
)
from mellea_like.backends import _llama
from mellea_like.engine import block_on_engine
from mellea_like.events import Said

from . import servers
from .suite import BRIEF, Check, Subject, cases, run


class TinyModel(FakeBackend):
    """A scripted model that answers as a real one would: at length, in JSON, or with nothing. Counts its streams."""

    running = 0

    def __init__(self) -> None:
        super().__init__("tiny", answers=answer)

    async def stream(self, request: Request) -> AsyncGenerator[Said, None]:
        TinyModel.running += 1
        try:
            async with aclosing(super().stream(request)) as stream:
                async for said in stream:
                    yield said
        finally:
            TinyModel.running -= 1


def answer(request: Request) -> Answer:
    if request.extra.get("silent"):
        return Answer([])
    if request.schema is not None:
        text = json.dumps(example(request.schema), ensure_ascii=False)
        return Answer([text[i : i + 2] for i in range(0, len(text), 2)])
    if request.messages[-1].content.endswith(BRIEF):
        return Answer("Hi there!")
    return Answer([f"word{n} " for n in range(100)], delay=0.001)


def example(schema: Mapping[str, Any]) -> Any:
    if "const" in schema:
        return schema["const"]
    if "properties" in schema:
        return {name: example(inner) for name, inner in schema["properties"].items()}
    return {"string": "Ana", "integer": 30}[schema["type"]]


FAKE = Subject(
    name="fake",
    takes=[lambda path: TinyModel()],
    can={"schema", "seed", "stop", "length", "system", "images"},
    silence={"extra": {"silent": True}},
    idle=lambda: TinyModel.running == 0,
)
LLAMACPP = Subject(
    name="llamacpp",
    # One thread: several wait for each other in a loop, which takes ten times as long where other tests use the cores.
    takes=[lambda path: LlamaCppBackend(context_window=1024, threads=1)],
    can={"schema", "seed", "stop", "length", "system", "logprobs"},
    silence={"extra": {"grammar": 'root ::= ""'}},
    window=1024,
    idle=lambda: not any(model.running for model in _llama.registry.models.values()),
    marks=[pytest.mark.model],
)


def replayed(subject: Subject) -> Subject:
    """Check `replay` twice on the same calls: while it records a subject, and while it plays them without it."""

    def record(path: Path) -> Backend:
        return ReplayBackend(path, record=subject.takes[0](path))

    return replace(subject, name=f"replay-of-{subject.name}", takes=[record, ReplayBackend])


OPENAI = Subject(
    name="openai",
    takes=[lambda path: OpenAIBackend("smol", base_url=servers.openai_url(), api_key="none")],
    can={"schema", "seed", "stop", "length", "system", "logprobs"},
    silence={"extra": {"grammar": 'root ::= ""'}},
    window=servers.WINDOW,
    idle=servers.idle,
    marks=[pytest.mark.model],
)
OPENAI_AIOHTTP = replace(
    OPENAI,
    name="openai-aiohttp",
    takes=[
        lambda path: OpenAIBackend("smol", base_url=servers.openai_url(), api_key="none", transport="aiohttp"),
    ],
)
HUGGINGFACE = replace(
    OPENAI,
    name="huggingface",
    takes=[lambda path: HuggingFaceBackend("smol", base_url=servers.openai_url(), api_key="none")],
)
OLLAMA = Subject(
    name="ollama",
    takes=[lambda path: OllamaModelBackend("llama/smol", base_url=servers.ollama_url())],
    # Ollama itself can do more: this server passes no seed on, calls every end "stop", and leaves images out.
    can={"schema", "stop", "system", "images"},
    window=servers.WINDOW,
    idle=servers.idle,
    marks=[pytest.mark.model],
)

SUBJECTS = [FAKE, replayed(FAKE), LLAMACPP, replayed(LLAMACPP), OPENAI, OPENAI_AIOHTTP, HUGGINGFACE, OLLAMA]


@pytest.fixture(scope="module")
def loaded_model() -> Iterator[None]:
    """Keep the model in memory from one test to the next."""
    with MelleaSession(LLAMACPP.takes[0](Path())) as m:
        m.instruct(BRIEF, model_options={"max_new_tokens": 1})
        yield
        block_on_engine(m.backend.aclose())


@pytest.fixture(autouse=True)
def model_is_loaded_once(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("model"):
        request.getfixturevalue("loaded_model")


@pytest.mark.parametrize(("found", "subject"), cases(SUBJECTS))
def test_a_backend(found: Check, subject: Subject, tmp_path: Path) -> None:
    run(found, subject, tmp_path)
