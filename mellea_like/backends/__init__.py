"""The seam to models: what a backend is, and how one is found by its name.

A backend is one file with one class and one method that must be written, `stream`. The file's name is the backend's
name: `start_session("fake")` imports `mellea_like.backends.fake`. Packages outside register a class under the
entry-point group `mellea_like.backends`. This file knows no provider.
"""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Mapping
from typing import Any, ClassVar

from ..content import Request
from ..errors import InvalidArgument, unknown_name
from ..events import Said
from ..options import UNIVERSAL, resolve_options

ENTRY_POINTS = "mellea_like.backends"


class Backend(ABC):
    """Where text comes from. Subclasses write `stream`; everything else has a default.

    Args:
        model_id: The model's name as the provider knows it; empty for the backend's default.
        model_options: Options for every call through this backend.

    A constructor opens nothing: connections and models are opened by the first `stream`, closed by `aclose`.
    """

    name: ClassVar[str] = ""
    default_model: ClassVar[str] = ""
    options: ClassVar[frozenset[str]] = frozenset()
    """The options that this backend honours, beyond those that all do."""

    calls_tools: ClassVar[bool] = True
    """Whether its models are likely to call tools by themselves; where not, an agent has them write JSON."""

    def __init__(self, model_id: str | None = None, *, model_options: Mapping[str, Any] | None = None) -> None:
        self.model_id = model_id or self.default_model
        self.model_options = dict(model_options or {})
        self.resolve()  # a wrong default option is reported where it was written, not at the first call

    @abstractmethod
    def stream(self, request: Request) -> AsyncGenerator[Said, None]:
        """Generate the answer to `request`: yield `str` for new text, events for the rest, `Finished` last.

        An async generator. It runs on the library's event loop, in one task from its first step to its closing; when
        that task is cancelled it stops the generation at its source before it returns. Returning without `Finished`
        means that the stream was cut off, and the reader gets `Truncated`.

        Raises:
            BackendError: whatever goes wrong, as the fitting subclass; text that was yielded before is kept.
        """

    async def aclose(self) -> None:  # noqa: B027  # a default, not an omission: most backends open nothing
        """Close what the backend opened; called on the library's loop, when nothing streams any more."""

    def resolve(self, *layers: Mapping[str, Any] | None) -> dict[str, Any]:
        """Merge layers of options, later ones first in rank, over the backend's own; see `resolve_options`."""
        return resolve_options(self.model_options, *layers, supported=self.options, backend=self.name)

    def constrains(self, schema: Mapping[str, Any]) -> bool:
        """Whether it holds the model to a JSON schema; where not, the schema is told to the model in words."""
        return True

    def honours(self, option: str) -> bool:
        """Whether this backend takes the model option."""
        return option in self.options or option in UNIVERSAL

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.model_id!r})"


def backend_names() -> list[str]:
    """List every backend that can be named: the library's own files and those that packages register."""
    own = [m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_")]
    return sorted({*own, *_registered()})


def backend_class(name: str) -> type[Backend]:
    """Find the backend class of a name.

    Raises:
        UnknownName: there is no such backend.
    """
    if name.isidentifier() and any(m.name == name for m in pkgutil.iter_modules(__path__)):
        module = importlib.import_module(f"{__name__}.{name}")
        for found in vars(module).values():
            if isinstance(found, type) and issubclass(found, Backend) and found.name == name:
                return found
    registered = _registered()
    if name in registered:
        found = registered[name].load()
        if not (isinstance(found, type) and issubclass(found, Backend)):
            raise InvalidArgument(f"The entry point {name!r} of {ENTRY_POINTS!r} is {found!r}, not a Backend class.")
        return found
    raise unknown_name("backend", name, backend_names(), hint="A model goes behind a colon: 'llamacpp:/path/to.gguf'.")


def _registered() -> dict[str, Any]:
    from importlib.metadata import entry_points  # 20 ms that a session on one of our own backends does not need

    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}
