"""What a server allows: how much, how long, how many, and who may ask. Pure data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import InvalidArgument


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLimits:
    """What a server allows.

    Args:
        running: How many generations run at once.
        waiting: How many more wait for their turn; beyond them a request gets 429.
        body_bytes: How large a request's body may be, in bytes.
        body_timeout: Seconds in which a body must have arrived.
        timeout: Seconds that a generation may take, waiting for its turn not counted; None for no limit.
        choices: How many answers one request may ask for (`n`).
        kept_runs: How many runs that have ended are kept, for readers that were cut off.
        linger: Seconds that a run goes on when its last reader was cut off, so that it can come back. A chat completion
            has no second reader: it is stopped at once.
        ping: Seconds of silence after which a stream says that it is alive.

    Raises:
        InvalidArgument: a number is below its least.
    """

    running: int = 8
    waiting: int = 64
    body_bytes: int = 10 * 1024 * 1024
    body_timeout: float = 30.0
    timeout: float | None = 600.0
    choices: int = 8
    kept_runs: int = 200
    linger: float = 10.0
    ping: float = 15.0

    def __post_init__(self) -> None:
        least = {"running": 1, "choices": 1, "waiting": 0, "body_bytes": 1, "kept_runs": 0, "linger": 0}
        for name, low in least.items():
            if getattr(self, name) < low:
                raise InvalidArgument(f"{name} is {getattr(self, name)!r}; it must be at least {low}.")
        for name in ("body_timeout", "timeout", "ping"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InvalidArgument(f"{name} is {value!r}; it must be a positive number of seconds.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Who may ask.

    Args:
        keys: API keys, one of which a request must bear; none lets everybody in.
        origins: Web pages of these origins may ask (`"https://example.org"`, `"*"`); the server's own page always may.
        hosts: The host names under which the server may be asked; none allows every name. It keeps pages elsewhere,
            whose name can be made to point here, from asking a server without a key.
        told: Whether clients are told the whole text of an error of the model's side, which may hold addresses.
    """

    keys: Sequence[str] = ()
    origins: Sequence[str] = ()
    hosts: Sequence[str] = ()
    told: bool = True
