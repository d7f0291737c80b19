"""The options of a generation: one set of names for every backend, checked before anything is sent."""

from __future__ import annotations

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
    TOP_P = "top_p"
    TOP_K = "top_k"
    MAX_NEW_TOKENS = "max_new_tokens"
    SEED = "seed"
    STOP_SEQUENCES = "stop_sequences"
    SYSTEM_PROMPT = "system_prompt"
    LOGPROBS = "logprobs"
    TOOLS = "tools"
    TOOL_CHOICE = "tool_choice"
    THINKING = "thinking"
    KEEP_RAW = "keep_raw"
    STREAM = "stream"
    STREAM_TIMEOUT = "stream_timeout"
    EXTRA = "extra"


_ALIASES = {
    "max_tokens": ModelOption.MAX_NEW_TOKENS,
    "max_completion_tokens": ModelOption.MAX_NEW_TOKENS,
    "num_predict": ModelOption.MAX_NEW_TOKENS,
    "n_predict": ModelOption.MAX_NEW_TOKENS,
    "stop": ModelOption.STOP_SEQUENCES,
    "system": ModelOption.SYSTEM_PROMPT,
    "think": ModelOption.THINKING,
    "extra_body": ModelOption.EXTRA,
}

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


def _number(low: float, high: float | None = None) -> Callable[[Any], bool]:
    return lambda v: isinstance(v, int | float) and not isinstance(v, bool) and v >= low and (high is None or v <= high)


def _whole(low: int | None) -> Callable[[Any], bool]:
    return lambda v: isinstance(v, int) and not isinstance(v, bool) and (low is None or v >= low)


_CHECKS: dict[ModelOption, tuple[Callable[[Any], bool], str]] = {
    ModelOption.TEMPERATURE: (_number(0), "a number from 0"),
    ModelOption.TOP_P: (_number(0, 1), "a number from 0 to 1"),
    ModelOption.TOP_K: (_whole(0), "a whole number from 0"),
    ModelOption.MAX_NEW_TOKENS: (_whole(1), "a whole number of tokens from 1"),
    ModelOption.SEED: (_whole(None), "a whole number"),
    ModelOption.STOP_SEQUENCES: (
        lambda v: isinstance(v, list | tuple) and all(isinstance(s, str) and s for s in v),
        "a string or a list of non-empty strings",
    ),
    ModelOption.SYSTEM_PROMPT: (lambda v: isinstance(v, str), "a string"),
    ModelOption.STREAM_TIMEOUT: (_number(0), "a number of seconds, or None for no limit"),
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
