"""Generative programming: calls to language models that return thunks, values that stream.

```python
from mellea_like import start_session

with start_session() as m:
    for delta in m.instruct("Tell me a story.", await_result=False):
        print(delta, end="", flush=True)
```

Every public name imports from here. Each is loaded when it is first used, so importing the library costs next to
nothing, and a feature's packages are imported with the feature.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .backends import Backend as Backend
    from .backends.fake import Answer as Answer
    from .backends.fake import FakeBackend as FakeBackend
    from .backends.fake import Gate as Gate
    from .backends.huggingface import HuggingFaceBackend as HuggingFaceBackend
    from .backends.llamacpp import LlamaCppBackend as LlamaCppBackend
    from .backends.ollama import OllamaModelBackend as OllamaModelBackend
    from .backends.openai import OpenAIBackend as OpenAIBackend
    from .backends.replay import RecordingBackend as RecordingBackend
    from .backends.replay import ReplayBackend as ReplayBackend
    from .component import CBlock as CBlock
    from .component import Component as Component
    from .component import Instruction as Instruction
    from .content import ImageBlock as ImageBlock
    from .content import Message as Message
    from .content import Request as Request
    from .content import ToolCall as ToolCall
    from .context import ChatContext as ChatContext
    from .context import Context as Context
    from .context import SimpleContext as SimpleContext
    from .errors import AlreadyComputed as AlreadyComputed
    from .errors import AlreadyPolled as AlreadyPolled
    from .errors import BackendError as BackendError
    from .errors import BackendTimeout as BackendTimeout
    from .errors import BackendUnavailable as BackendUnavailable
    from .errors import ContextOverflow as ContextOverflow
    from .errors import DependencyFailed as DependencyFailed
    from .errors import GenerationCancelled as GenerationCancelled
    from .errors import InvalidArgument as InvalidArgument
    from .errors import MalformedReply as MalformedReply
    from .errors import MelleaError as MelleaError
    from .errors import MissingPackage as MissingPackage
    from .errors import ModelNotFound as ModelNotFound
    from .errors import NotComputed as NotComputed
    from .errors import OutputError as OutputError
    from .errors import OutputParseError as OutputParseError
    from .errors import RateLimited as RateLimited
    from .errors import ReplayMismatch as ReplayMismatch
    from .errors import RequestRefused as RequestRefused
    from .errors import ResultTimeout as ResultTimeout
    from .errors import ScriptExhausted as ScriptExhausted
    from .errors import SessionClosed as SessionClosed
    from .errors import TemplateError as TemplateError
    from .errors import Truncated as Truncated
    from .errors import UnknownName as UnknownName
    from .errors import UnsupportedEventLoop as UnsupportedEventLoop
    from .errors import WrongProcess as WrongProcess
    from .errors import WrongUse as WrongUse
    from .events import Cancelled as Cancelled
    from .events import Checked as Checked
    from .events import Custom as Custom
    from .events import Delta as Delta
    from .events import Event as Event
    from .events import Failed as Failed
    from .events import Finished as Finished
    from .events import Retried as Retried
    from .events import Started as Started
    from .events import Thinking as Thinking
    from .events import ToolCallEvent as ToolCallEvent
    from .events import Usage as Usage
    from .models import ModelIdentifier as ModelIdentifier
    from .models import model_ids as model_ids
    from .options import ModelOption as ModelOption
    from .session import MelleaSession as MelleaSession
    from .session import start_session as start_session
    from .thunk import ComputedModelOutputThunk as ComputedModelOutputThunk
    from .thunk import GenerationMetadata as GenerationMetadata
    from .thunk import ModelOutputThunk as ModelOutputThunk

_ROOMS = {
    "backends": ["Backend"],
    "backends.fake": ["Answer", "FakeBackend", "Gate"],
    "backends.huggingface": ["HuggingFaceBackend"],
    "backends.llamacpp": ["LlamaCppBackend"],
    "backends.ollama": ["OllamaModelBackend"],
    "backends.openai": ["OpenAIBackend"],
    "backends.replay": ["RecordingBackend", "ReplayBackend"],
    "component": ["CBlock", "Component", "Instruction"],
    "content": ["ImageBlock", "Message", "Request", "ToolCall"],
    "context": ["ChatContext", "Context", "SimpleContext"],
    "errors": [
        "AlreadyComputed",
        "AlreadyPolled",
        "BackendError",
        "BackendTimeout",
        "BackendUnavailable",
        "ContextOverflow",
        "DependencyFailed",
        "GenerationCancelled",
        "InvalidArgument",
        "MalformedReply",
        "MelleaError",
        "MissingPackage",
        "ModelNotFound",
        "NotComputed",
        "OutputError",
        "OutputParseError",
        "RateLimited",
        "ReplayMismatch",
        "RequestRefused",
        "ResultTimeout",
        "ScriptExhausted",
        "SessionClosed",
        "TemplateError",
        "Truncated",
        "UnknownName",
        "UnsupportedEventLoop",
        "WrongProcess",
        "WrongUse",
    ],
    "events": [
        "Cancelled",
        "Checked",
        "Custom",
        "Delta",
        "Event",
        "Failed",
        "Finished",
        "Retried",
        "Started",
        "Thinking",
        "ToolCallEvent",
        "Usage",
    ],
    "models": ["ModelIdentifier", "model_ids"],
    "options": ["ModelOption"],
    "session": ["MelleaSession", "start_session"],
    "thunk": ["ComputedModelOutputThunk", "GenerationMetadata", "ModelOutputThunk"],
}
_HOME = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = sorted([*_HOME, "__version__"])  # noqa: PLE0605  # names are listed once, above


def __getattr__(name: str) -> Any:
    room = _HOME.get(name)
    if room is None:
        # Python asks modules for many names that they need not have (`__path__`, `__wrapped__`, …).
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; public names: {', '.join(__all__)}")
    found = getattr(import_module(f".{room}", __name__), name)
    if callable(found):
        found.__module__ = __name__
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return __all__
