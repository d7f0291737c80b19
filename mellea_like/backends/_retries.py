"""Which failures of an HTTP call are worth another try, and when. Only calls whose text has not begun come here."""

from __future__ import annotations

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_random_exponential

from ..errors import BackendUnavailable, RateLimited
from ._patience import Patience

_LONGEST_WAIT = 60.0
"""Seconds of `Retry-After` that are waited for; a server that wants more gets no silent patience."""

_backoff = wait_random_exponential(multiplier=0.5, max=8)


def attempts(retries: int, patience: Patience) -> AsyncRetrying:
    """Return what runs a call up to `retries` times again, but not once the time for the whole would be over.

    Args:
        retries: Further tries, after the first.
        patience: Knows how many seconds are left of the whole.
    """

    def enough(state: RetryCallState) -> bool:
        return state.attempt_number > retries or state.upcoming_sleep > patience.left()

    return AsyncRetrying(stop=enough, retry=retry_if_exception(_worth_another_try), wait=_wait, reraise=True)


def _worth_another_try(error: BaseException) -> bool:
    if not isinstance(error, RateLimited | BackendUnavailable):
        return False
    return (error.retry_after or 0) <= _LONGEST_WAIT


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome is not None else None
    asked = error.retry_after if isinstance(error, RateLimited | BackendUnavailable) else None
    return _backoff(state) if asked is None else asked
