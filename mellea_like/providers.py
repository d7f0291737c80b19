"""Which backend a provider's or a model's name means: the one place where prompts and graphs look that up.

A model without a provider means OpenAI. Keys and addresses come from `<PROVIDER>_API_KEY` and `<PROVIDER>_BASE_URL`.
`MELLEA_LIKE_OVERRIDE` has one backend serve every name, so that any program runs without network and key.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from .backends import Backend, backend_names
from .engine import on_engine
from .errors import RequestRefused, unknown_name
from .session.opening import DEFAULT_MODEL_VARIABLE, start_backend

OVERRIDE_VARIABLE: Final = "MELLEA_LIKE_OVERRIDE"
PROVIDER_VARIABLE: Final = "PROVIDER"

ADDRESSES: Final = {
    "anthropic": "https://api.anthropic.com/v1",
    "deepseek": "https://api.deepseek.com/v1",
    "google": "https://generativelanguage.googleapis.com/v1beta/openai",
    "lmstudio": "http://localhost:1234/v1",
    "mistral": "https://api.mistral.ai/v1",
    "xai": "https://api.x.ai/v1",
}
"""Providers that speak OpenAI's API, and where."""

_KEYLESS = {"lmstudio"}

_open: dict[tuple[str | None, ...], Backend] = {}
_opening = threading.Lock()
_serving: list[Backend] = []


def provider_backend(provider: str | None = None, model: str | None = None) -> Backend:
    """Return the backend that a provider's and a model's name mean; the same one for the same names.

    Without a provider, a model means OpenAI's, or that of the provider that the variable `PROVIDER` names. Without
    both, it is what `PROVIDER` or `MELLEA_LIKE_MODEL` names, else what a session without a name runs on. Where
    `MELLEA_LIKE_OVERRIDE` names a backend (`llamacpp`, `fake`, `ollama:…`), that serves every name.

    Args:
        provider: `"openai"`, `"anthropic"`, `"mistral"`, … or a backend's name, such as `"ollama"`.
        model: The model as the provider knows it; `"provider:model"` names both.

    Returns:
        A backend that all callers share; it stays open until `aclose_providers`.

    Raises:
        UnknownName: there is no such provider.
        RequestRefused: the provider wants a key and there is none; the message says which variable is missing.

    Example:
        ```python
        import os
        from mellea_like import provider_backend

        os.environ["MELLEA_LIKE_OVERRIDE"] = "fake"
        print(provider_backend("mistral", "mistral-small"))
        ```
    """
    if _serving:
        return _serving[-1]
    override = os.environ.get(OVERRIDE_VARIABLE)
    if override:
        return _shared((override,), override, None)
    provider, model = _named(provider, model)
    if provider is None:
        return _shared((None, os.environ.get(DEFAULT_MODEL_VARIABLE)), None, None)
    if provider == "openai" or provider in ADDRESSES or f"{_prefix(provider)}_BASE_URL" in os.environ:
        return _compatible(provider, model)
    if provider not in backend_names():
        raise unknown_name(
            "provider",
            provider,
            {"openai", *ADDRESSES, *backend_names()},
            hint=f"For another one that speaks OpenAI's API, set {_prefix(provider)}_BASE_URL.",
        )
    return _shared((provider, model), provider, model)


def _named(provider: str | None, model: str | None) -> tuple[str | None, str | None]:
    if provider is None and model is not None:
        first, colon, rest = model.partition(":")
        if colon and (first == "openai" or first in ADDRESSES or first in backend_names()):
            return first, rest
    chosen = provider or os.environ.get(PROVIDER_VARIABLE) or ("openai" if model else None)
    if chosen is not None and model is None:
        model = os.environ.get(f"{_prefix(chosen)}_MODEL")
    return chosen, model


def _prefix(provider: str) -> str:
    return provider.upper().replace("-", "_")


def _shared(key: tuple[str | None, ...], name: str | None, model: str | None, **options: Any) -> Backend:
    with _opening:
        if key not in _open:
            _open[key] = start_backend(name, model, **options)[1]
        return _open[key]


def _compatible(provider: str, model: str | None) -> Backend:
    prefix = _prefix(provider)
    address = os.environ.get(f"{prefix}_BASE_URL") or ADDRESSES.get(provider)
    key = os.environ.get(f"{prefix}_API_KEY")
    if not key and f"{prefix}_BASE_URL" not in os.environ and provider not in _KEYLESS:
        raise RequestRefused(
            f"The provider {provider!r} wants a key, and there is none. Set {prefix}_API_KEY; or set {prefix}_BASE_URL "
            f"to a server of your own; or set {OVERRIDE_VARIABLE}=llamacpp, which serves every model name by the model "
            "inside this process, without network and key.",
            backend="openai",
        )
    options: dict[str, Any] = {name: value for name, value in (("base_url", address), ("api_key", key)) if value}
    return _shared((provider, model, address, key), "openai", model, **options)


@contextmanager
def serving(backend: Backend) -> Iterator[Backend]:
    """Let one backend serve every provider and model inside the `with` block, in all threads: for tests.

    Args:
        backend: What is to serve; it stays the caller's.

    Example:
        ```python
        from mellea_like import FakeBackend, provider_backend, serving

        with serving(FakeBackend(answers="Hello!")) as backend:
            print(provider_backend("openai", "gpt-4") is backend)
        ```
    """
    _serving.append(backend)
    try:
        yield backend
    finally:
        _serving.remove(backend)


async def aclose_providers() -> None:
    """Close every backend that `provider_backend` opened; the next call opens a new one. At exit this is not needed."""
    with _opening:
        opened = list(_open.values())
        _open.clear()
    for backend in opened:
        await on_engine(backend.aclose())
