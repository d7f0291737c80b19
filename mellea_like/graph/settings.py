"""What a call of a graph says besides its input: its config, read and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..backends import Backend
from ..content import Message
from ..errors import InvalidArgument
from ..roles import as_message
from .checkpoints import StateBackend


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a call says besides its input; see `CompiledGraph.astream`."""

    config: Mapping[str, Any]
    context: Any = None
    thread_id: str | None = None
    recursion_limit: int | None = None
    max_concurrency: int | None = None
    backend: Backend | None = None
    checkpointer: StateBackend | None = None
    variables: Mapping[str, Any] = field(default_factory=dict)
    chat_history: tuple[Message, ...] = ()

    @classmethod
    def of(cls, config: Mapping[str, Any] | None, *, context: Any) -> Settings:
        """Read a call's config.

        Raises:
            InvalidArgument: a limit is below 1.
        """
        given = dict(config or {})
        flat = {**given, **(given.get("configurable") or {})}
        for name in ("recursion_limit", "max_concurrency"):
            if flat.get(name) is not None and flat[name] < 1:
                raise InvalidArgument(f"{name} is {flat[name]!r} in the run's config; it must be at least 1.")
        backend, thread_id = flat.get("backend"), flat.get("thread_id")
        return cls(
            config=given,
            context=context,
            thread_id=None if thread_id is None else str(thread_id),
            recursion_limit=flat.get("recursion_limit"),
            max_concurrency=flat.get("max_concurrency"),
            backend=getattr(backend, "backend", backend),
            checkpointer=flat.get("checkpointer"),
            variables=flat.get("variables") or {},
            chat_history=tuple(map(as_message, flat.get("chat_history") or ())),
        )
