"""The suite on real servers and services, where there are any: `uv run pytest -m live`.

A provider takes part where what it needs is there; for each of the others a skip says what is missing.

- `ollama`: a server that answers at `OLLAMA_HOST`, or on port 11434, and has a model.
- `openai`: `OPENAI_API_KEY`, or `OPENAI_BASE_URL` for a server that wants no key.
- `huggingface`: `HF_TOKEN`, or `MELLEA_LIKE_LIVE_HUGGINGFACE_URL` for a server of one's own.

`MELLEA_LIKE_LIVE_OLLAMA`, `…_OPENAI` and `…_HUGGINGFACE` name the models; without them it is Ollama's newest, and the
backends' defaults. `MELLEA_LIKE_LIVE_OLLAMA_CAN` and so on say what a model is able to do, in the words of the suite's
`Ability`, where that is not what is usual there: `"schema stop system images"`. With `images`, the suite does not
expect that an image is refused. Services charge for it: some 40 short calls, and a few that are cancelled at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from functools import cache
from pathlib import Path
from typing import cast, get_args

import pytest

from mellea_like import Backend, HuggingFaceBackend, OllamaModelBackend, OpenAIBackend
from mellea_like.backends._at_hand import USUAL_PLACE, ollama_models

from .suite import Ability, Check, Subject, cases, run


def setting(name: str) -> str | None:
    """Return what the user has set, None for nothing."""
    return os.environ.get(f"MELLEA_LIKE_LIVE_{name}") or None


def abilities(provider: str, usual: Collection[Ability]) -> Collection[Ability]:
    """Return what a provider's model can do: as the user says, else what is usual there."""
    said = setting(f"{provider.upper()}_CAN")
    if said is None:
        return usual
    wrong = sorted({*said.split()} - {*get_args(Ability)})
    assert not wrong, f"MELLEA_LIKE_LIVE_{provider.upper()}_CAN has {wrong}; the abilities are {get_args(Ability)}"
    return cast("list[Ability]", said.split())


def ollama(_: Path) -> Backend:
    return OllamaModelBackend(setting("OLLAMA") or ollama_models()[0])


def openai(_: Path) -> Backend:
    return OpenAIBackend(setting("OPENAI"))


def huggingface(_: Path) -> Backend:
    return HuggingFaceBackend(setting("HUGGINGFACE"), base_url=setting("HUGGINGFACE_URL"))


def live(provider: Callable[[Path], Backend], usual: Collection[Ability]) -> Subject:
    """Describe a provider to the suite."""
    name = provider.__name__
    return Subject(name=name, takes=[provider], can=abilities(name, usual), marks=[pytest.mark.live])


SUBJECTS = [
    live(ollama, {"schema", "seed", "stop", "length", "system", "images"}),
    # OpenAI honours a seed as well as it can, which is not always.
    live(openai, {"schema", "stop", "length", "system", "images", "logprobs"}),
    # What the providers behind the hub have in common.
    live(huggingface, {"stop", "length", "system", "images"}),
]


@cache
def missing(provider: str) -> str:
    """Say what a provider needs and does not find; empty where it can be checked."""
    if provider == "ollama" and not ollama_models():
        place = os.environ.get("OLLAMA_HOST") or USUAL_PLACE
        return f"no Ollama server with a model answers at {place} (OLLAMA_HOST): `ollama serve`, `ollama pull …`"
    if provider == "openai" and not (os.environ.get("OPENAI_API_KEY") or os.environ.get("OPENAI_BASE_URL")):
        return "neither OPENAI_API_KEY nor OPENAI_BASE_URL is set"
    if provider == "huggingface" and not (os.environ.get("HF_TOKEN") or setting("HUGGINGFACE_URL")):
        return "neither HF_TOKEN nor MELLEA_LIKE_LIVE_HUGGINGFACE_URL is set"
    return ""


@pytest.mark.parametrize(("found", "subject"), cases(SUBJECTS))
def test_a_live_backend(found: Check, subject: Subject, tmp_path: Path) -> None:
    if reason := missing(subject.name):
        pytest.skip(f"{subject.name}: {reason}")
    run(found, subject, tmp_path)
