"""The options of a generation: one set of names for every backend, checked before anything is sent."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Collection, Mapping
from enum import StrEnum
from typing import Any

from .errors import InvalidArgument, UnknownName, unknown_name


class ModelOption(StrEnum):
    """Portable names of what can be set per session or per call; members are plain strings.

    `{"temperature": 0.2}` and `{ModelOption.TEMPERATURE: 0.2}` are the same. The names that providers use for the same
    things (`max_tokens`, `num_predict`, `stop`, …) are understood too. A backend refuses options that it cannot honour;
    `EXTRA` holds a dict of provider-only fields that goes to the provider as it is.

    Example:
        ```python
        from mellea_like import ModelOption, start_session

        with start_session("fake", answers="one two three") as m:
            print(m.instruct("count", model_options={ModelOption.MAX_NEW_TOKENS: 2}))
        ```
    """

    TEMPERATURE = "temperature"
    """How freely the next token is chosen; 0 takes the likeliest."""

    TOP_P = "top_p"
    """Choose among the likeliest tokens that together have this probability, 0 to 1."""

    TOP_K = "top_k"
    """Choose among this many of the likeliest tokens."""

    MAX_NEW_TOKENS = "max_new_tokens"
    """Tokens that the answer may take."""

    CONTEXT_WINDOW = "context_window"
    """Tokens that prompt and answer may take together, where that is chosen for each call (`ollama`)."""

    SEED = "seed"
    """A whole number that makes choices repeatable, where the provider can."""

    STOP_SEQUENCES = "stop_sequences"
    """Text, or several texts, before which the answer ends."""

    SYSTEM_PROMPT = "system_prompt"
    """What the model is told before the conversation."""

    LOGPROBS = "logprobs"
    """How many alternatives to report with each token, in the provider's raw reply; True for the tokens alone."""

    TOOLS = "tools"
    """Tools that the model may call: `MelleaTool`s, or plain functions."""

    TOOL_CHOICE = "tool_choice"
    """Whether the model is to call one, as the provider words it: `"auto"`, `"required"`, `"none"`, …."""

    THINKING = "thinking"
    """Whether, or how hard, the model reasons before it answers."""

    KEEP_RAW = "keep_raw"
    """Whether the provider's reply is kept, in `thunk.generation.raw`."""

    STREAM = "stream"
    """Changes nothing: every call streams. It is there for those who come from Mellea."""

    STREAM_TIMEOUT = "stream_timeout"
    """Seconds of silence after which the call fails; None waits for ever."""

    EXTRA = "extra"
    """A dict of fields that go to the provider as they are."""


_ALIASES = {
    "max_tokens": ModelOption.MAX_NEW_TOKENS,
    "max_completion_tokens": ModelOption.MAX_NEW_TOKENS,
    "num_predict": ModelOption.MAX_NEW_TOKENS,
    "n_predict": ModelOption.MAX_NEW_TOKENS,
    "num_ctx": ModelOption.CONTEXT_WINDOW,
    "stop": ModelOption.STOP_SEQUENCES,
    "system": ModelOption.SYSTEM_PROMPT,
    "think": ModelOption.THINKING,
    "extra_body": ModelOption.EXTRA,
}

OPTION_NAMES = frozenset({*map(str, ModelOption), *_ALIASES})
"""What the options may be called, by providers too."""

UNIVERSAL = frozenset(
    {
        # `SYSTEM_PROMPT` becomes a message. `STREAM` is accepted and changes nothing: everything streams.
        # `KEEP_RAW` is for whoever reads the thunk; `EXTRA` is the provider's own affair.
        ModelOption.SYSTEM_PROMPT,
        ModelOption.STREAM,
        ModelOption.STREAM_TIMEOUT,
        ModelOption.KEEP_RAW,
        ModelOption.EXTRA,
    }
)
"""Options that every backend accepts."""


def _number(low: float, high: float = sys.float_info.max) -> Callable[[Any], bool]:
    return lambda v: isinstance(v, int | float) and not isinstance(v, bool) and low <= v <= high


def _whole(low: int | None) -> Callable[[Any], bool]:
    return lambda v: isinstance(v, int) and not isinstance(v, bool) and (low is None or v >= low)


_CHECKS: dict[ModelOption, tuple[Callable[[Any], bool], str]] = {
    ModelOption.TEMPERATURE: (_number(0), "a finite number from 0"),
    ModelOption.TOP_P: (_number(0, 1), "a number from 0 to 1"),
    ModelOption.TOP_K: (_whole(0), "a whole number from 0"),
    ModelOption.MAX_NEW_TOKENS: (_whole(1), "a whole number of tokens from 1"),
    ModelOption.CONTEXT_WINDOW: (_whole(1), "a whole number of tokens from 1"),
    ModelOption.SEED: (_whole(None), "a whole number"),
    ModelOption.STOP_SEQUENCES: (
        lambda v: isinstance(v, list | tuple) and all(isinstance(s, str) and s for s in v),
        "a string or a list of non-empty strings",
    ),
    ModelOption.SYSTEM_PROMPT: (lambda v: isinstance(v, str), "a string"),
    ModelOption.STREAM_TIMEOUT: (_number(0, math.inf), "a number of seconds, or None for no limit"),
    ModelOption.EXTRA: (lambda v: isinstance(v, Mapping), "a dict of provider-only fields"),
}


def resolve_options(*layers: Mapping[str, Any] | None, supported: Collection[str], backend: str) -> dict[str, Any]:
    """Merge layers of options, later ones first in rank, into one dict keyed by `ModelOption`.

    Args:
        layers: Options of the backend, the session and the call; a None layer is empty, a None value unsets.
        supported: What the backend honours, beyond `UNIVERSAL`.
        backend: The backend's name, for the message.

    Raises:
        UnknownName: an option does not exist, or this backend cannot honour it.
        InvalidArgument: a value is of the wrong kind or out of range.
    """
    merged: dict[str, Any] = {}
    for layer in layers:
        if not isinstance(layer, Mapping | None):
            raise InvalidArgument(f"model_options is {layer!r}; it must be a dict of options by their names.")
        for name, value in (layer or {}).items():
            option = _option(name, supported, backend)
            if value is None and option is not ModelOption.STREAM_TIMEOUT:
                merged.pop(option, None)
            else:
                merged[option] = _checked(option, name, value)
    return merged


def _option(name: str, supported: Collection[str], backend: str) -> ModelOption:
    valid = sorted({*supported, *UNIVERSAL})
    option = _ALIASES.get(name)
    if option is None:
        try:
            option = ModelOption(name)
        except ValueError:
            hint = "Provider-only fields go in `extra`: model_options={'extra': {…}}."
            raise unknown_name("model option", name, valid, hint=hint) from None
    if option not in valid:
        listing = ", ".join(repr(str(v)) for v in valid)
        raise UnknownName(
            f"Backend {backend!r} cannot honour the model option {name!r}. It takes: {listing}.", valid=tuple(valid)
        )
    return option


def _checked(option: ModelOption, name: str, value: Any) -> Any:
    if value is None:
        return None
    if option is ModelOption.STOP_SEQUENCES and isinstance(value, str):
        value = [value]
    check, wanted = _CHECKS.get(option, (lambda _: True, ""))
    if not check(value):
        raise InvalidArgument(f"The model option {name!r} is {value!r}; it must be {wanted}.")
    return value
