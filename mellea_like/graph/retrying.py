"""What is done when a node fails: how often it is tried again, and after how many seconds."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from ..errors import InvalidArgument, WrongUse, unknown_name

RetryOn: TypeAlias = "type[BaseException] | tuple[type[BaseException], ...] | Callable[[BaseException], bool]"
"""Errors that are worth another attempt: a kind, several, or a function that is asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How a node that fails is tried again.

    Args:
        max_attempts: How often it runs at most, the first time included.
        initial_interval: Seconds before the second attempt.
        backoff_factor: By how much each wait is longer than the one before.
        max_interval: Seconds that a wait takes at most.
        jitter: Whether each wait is cut by chance, by up to a half, so that many do not come back at once.
        retry_on: Kinds of errors that are worth it, or a function that is asked; None for all but mistakes in the call
            (`WrongUse`).

    Raises:
        InvalidArgument: a number cannot work.

    Example:
        ```python
        from mellea_like import RetryPolicy

        print(RetryPolicy(max_attempts=5, initial_interval=0.1))
        ```

    Source: LangGraph's `RetryPolicy`.
    """

    max_attempts: int = 3
    initial_interval: float = 0.5
    backoff_factor: float = 2.0
    max_interval: float = 128.0
    jitter: bool = True
    retry_on: RetryOn | None = None

    def __post_init__(self) -> None:
        if self.max_attempts < 1 or self.initial_interval < 0 or self.backoff_factor < 0 or self.max_interval < 0:
            raise InvalidArgument(f"{self!r} cannot work: at least one attempt, and no wait below 0 seconds.")

    def delay(self, attempt: int, error: BaseException) -> float | None:
        """Return the seconds to wait before the attempt after `attempt`, None where there is to be none."""
        if attempt >= self.max_attempts or not self._worth_it(error):
            return None
        try:
            wait = min(self.initial_interval * self.backoff_factor ** (attempt - 1), self.max_interval)
        except OverflowError:  # after a thousand attempts
            wait = self.max_interval
        return wait * (1 - random.random() / 2) if self.jitter else wait

    def _worth_it(self, error: BaseException) -> bool:
        if self.retry_on is None:
            return not isinstance(error, WrongUse)
        if isinstance(self.retry_on, type | tuple):
            return isinstance(error, self.retry_on)
        return self.retry_on(error)


_MESH = {"max_retries": "max_attempts", "delay": "initial_interval", "backoff": "backoff_factor"}


def retry_policy(given: object) -> RetryPolicy | None:
    """Make a policy of what a node is given as `retry`: one, a number of attempts, or a mapping of its fields.

    A mapping may also name `max_retries` (attempts after the first), `delay` in seconds and `backoff`.

    Raises:
        InvalidArgument: it is none of these.
        UnknownName: the mapping has another field.
    """
    if given is None or isinstance(given, RetryPolicy):
        return given
    if isinstance(given, int) and not isinstance(given, bool):
        return RetryPolicy(max_attempts=given)
    if isinstance(given, Mapping):
        return RetryPolicy(**_fields(given))
    raise InvalidArgument(f"retry is {given!r}; give a RetryPolicy, a number of attempts, or a dict of its fields.")


def _fields(given: Mapping[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in given.items():
        if name not in RetryPolicy.__dataclass_fields__ and name not in _MESH:
            raise unknown_name("field of a retry", name, [*RetryPolicy.__dataclass_fields__, *_MESH])
        fields[_MESH.get(name, name)] = value + 1 if name == "max_retries" else value
    return fields
