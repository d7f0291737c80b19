"""How `xllamacpp` is set up: parameters, loading, and what keeps its threads from outliving their use.

This file knows the quirks of `xllamacpp`; it does not know who uses a model, nor for what.
"""

from __future__ import annotations

import ctypes
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import BackendUnavailable, MissingPackage

BATCH = 64
"""Prompt tokens between two looks at the stop flag: 0.2 seconds on two cores, and no slower in all than 512."""
PROMPT_CACHE = 256
"""MiB of prompts that the engine remembers beyond its slots; its own 8192 would let a long run grow by as much."""

# What Cython makes of C++ exceptions, and `json` of a body that it cannot write: a closed list.
NATIVE_ERRORS = (ArithmeticError, LookupError, MemoryError, OSError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a model is loaded with; equal settings share one model. `context_window` is in tokens per slot."""

    path: Path
    context_window: int
    slots: int
    threads: int


def load_server(settings: Settings) -> Any:
    """Load a model and return its `xllamacpp.Server`; dropping the last reference to that frees the memory.

    Raises:
        MissingPackage: `xllamacpp` is not installed.
        BackendUnavailable: the file cannot be loaded.
    """
    try:
        import xllamacpp
    except ImportError as error:
        raise MissingPackage(
            f"The backend 'llamacpp' needs the package 'xllamacpp' ({error}). Install it with `pip install xllamacpp`."
        ) from error
    parameters = _parameters(xllamacpp, settings)
    try:
        server = xllamacpp.Server(parameters)
    except NATIVE_ERRORS as error:
        raise BackendUnavailable(
            f"The model file {str(settings.path)!r} cannot be loaded (backend 'llamacpp'): {error} The file is "
            "damaged or cut off, or of a kind that this xllamacpp does not know, or the memory is too small for it.",
            backend="llamacpp",
        ) from error
    _calm(xllamacpp)
    return server


def _parameters(xllamacpp: Any, settings: Settings) -> Any:
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(settings.path)
    parameters.n_ctx = settings.context_window * settings.slots
    parameters.n_parallel = settings.slots
    parameters.n_batch = parameters.n_ubatch = BATCH
    parameters.cpuparams.n_threads = settings.threads
    parameters.verbosity = 0
    parameters.warmup = parameters.fit_params = False
    # The engine opens a port of its own on 127.0.0.1, which is not wanted: a key that nobody knows closes it.
    parameters.api_keys = [secrets.token_hex(32)]
    parameters.endpoint_slots = False
    parameters.n_threads_http = 1
    parameters.cache_ram_mib = PROMPT_CACHE
    return parameters


def _calm(xllamacpp: Any) -> None:
    """Stop the thread that all servers of the process share for their ports' sake.

    A forked child inherits that thread's traces without the thread, and its exit would wait for it for ever. A server
    that fails to start stops it on its way out.
    """
    parameters = xllamacpp.CommonParams()
    parameters.model.path = os.devnull
    parameters.verbosity = 0
    parameters.warmup = parameters.fit_params = False
    try:
        xllamacpp.Server(parameters)
    except RuntimeError:
        return


def keep_forever(server: object) -> None:
    """Take a reference that is never given back: not even the teardown of modules can free the object then."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(server))
