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
    from .agent import react as react
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
    from .chunking import Chunk as Chunk
    from .component import CBlock as CBlock
    from .component import Document as Document
    from .component import Instruction as Instruction
    from .component import SimpleComponent as SimpleComponent
    from .component import TemplateComponent as TemplateComponent
    from .content import ImageBlock as ImageBlock
    from .content import Message as Message
    from .content import Request as Request
    from .content import ToolCall as ToolCall
    from .content import make_image_block as make_image_block
    from .context import ChatContext as ChatContext
    from .context import Context as Context
    from .context import SimpleContext as SimpleContext
    from .encoding import Encoder as Encoder
    from .encoding.ag_ui import AGUIEncoder as AGUIEncoder
    from .encoding.ai_sdk import AISDKEncoder as AISDKEncoder
    from .encoding.openai_chunks import OpenAIChunkEncoder as OpenAIChunkEncoder
    from .encoding.openai_responses import OpenAIResponseEncoder as OpenAIResponseEncoder
    from .encoding.sse import SSEEncoder as SSEEncoder
    from .encoding.sse import SSETextEncoder as SSETextEncoder
    from .errors import AlreadyComputed as AlreadyComputed
    from .errors import AlreadyPolled as AlreadyPolled
    from .errors import BackendError as BackendError
    from .errors import BackendTimeout as BackendTimeout
    from .errors import BackendUnavailable as BackendUnavailable
    from .errors import ContextOverflow as ContextOverflow
    from .errors import DependencyFailed as DependencyFailed
    from .errors import FunctionFailed as FunctionFailed
    from .errors import GenerationCancelled as GenerationCancelled
    from .errors import GraphError as GraphError
    from .errors import GraphInvalid as GraphInvalid
    from .errors import Interrupted as Interrupted
    from .errors import InvalidArgument as InvalidArgument
    from .errors import InvalidFile as InvalidFile
    from .errors import InvalidUpdate as InvalidUpdate
    from .errors import LoopBudgetExhausted as LoopBudgetExhausted
    from .errors import MalformedReply as MalformedReply
    from .errors import MelleaError as MelleaError
    from .errors import MissingPackage as MissingPackage
    from .errors import ModelNotFound as ModelNotFound
    from .errors import NodeFailed as NodeFailed
    from .errors import NodeTimeout as NodeTimeout
    from .errors import NotComputed as NotComputed
    from .errors import NothingToResume as NothingToResume
    from .errors import OutputError as OutputError
    from .errors import OutputParseError as OutputParseError
    from .errors import PreconditionFailed as PreconditionFailed
    from .errors import RateLimited as RateLimited
    from .errors import RecursionLimit as RecursionLimit
    from .errors import ReplayMismatch as ReplayMismatch
    from .errors import RequestRefused as RequestRefused
    from .errors import RequestRejected as RequestRejected
    from .errors import RequirementsNotMet as RequirementsNotMet
    from .errors import ResultTimeout as ResultTimeout
    from .errors import ScriptExhausted as ScriptExhausted
    from .errors import SessionClosed as SessionClosed
    from .errors import TemplateError as TemplateError
    from .errors import ToolError as ToolError
    from .errors import ToolFailed as ToolFailed
    from .errors import ToolRefused as ToolRefused
    from .errors import ToolServerUnavailable as ToolServerUnavailable
    from .errors import ToolTimeout as ToolTimeout
    from .errors import Truncated as Truncated
    from .errors import UnknownName as UnknownName
    from .errors import UnknownTool as UnknownTool
    from .errors import UnreadableContext as UnreadableContext
    from .errors import UnsupportedEventLoop as UnsupportedEventLoop
    from .errors import WrongProcess as WrongProcess
    from .errors import WrongToolArguments as WrongToolArguments
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
    from .events import ToolResult as ToolResult
    from .generative_function import GenerativeFunction as GenerativeFunction
    from .generative_function import generative as generative
    from .graph.building import StateGraph as StateGraph
    from .graph.calling import Runtime as Runtime
    from .graph.checkpoints import StateBackend as StateBackend
    from .graph.commands import Command as Command
    from .graph.commands import Interrupt as Interrupt
    from .graph.commands import Send as Send
    from .graph.compiled import CompiledGraph as CompiledGraph
    from .graph.executor import ExecutionContext as ExecutionContext
    from .graph.executor import Executor as Executor
    from .graph.modes import MessageChunk as MessageChunk
    from .graph.now import get_stream_writer as get_stream_writer
    from .graph.now import interrupt as interrupt
    from .graph.retrying import RetryPolicy as RetryPolicy
    from .graph.run import GraphRun as GraphRun
    from .graph.run import StreamReader as StreamReader
    from .graph.spec import END as END
    from .graph.spec import START as START
    from .graph.spec import GraphSpec as GraphSpec
    from .graph.state import add_messages as add_messages
    from .graph.stores import MemoryBackend as MemoryBackend
    from .graph.stores import SQLiteBackend as SQLiteBackend
    from .graph.yaml_form import yaml_graph_schema as yaml_graph_schema
    from .graph.yaml_loading import lint_graph as lint_graph
    from .graph.yaml_loading import load_graph as load_graph
    from .graph.yaml_streaming import NodeTokens as NodeTokens
    from .graph.yaml_streaming import StreamingNode as StreamingNode
    from .graph.yaml_streaming import create_streaming_node as create_streaming_node
    from .log import Log as Log
    from .mified import Mified as Mified
    from .mified import MifiedProtocol as MifiedProtocol
    from .mified import MObject as MObject
    from .mified import Query as Query
    from .mified import Transform as Transform
    from .mified import mify as mify
    from .models import ModelIdentifier as ModelIdentifier
    from .models import model_ids as model_ids
    from .notebook import show as show
    from .options import ModelOption as ModelOption
    from .partial import Partial as Partial
    from .partial import PartialParser as PartialParser
    from .partial import PartialState as PartialState
    from .parts import Component as Component
    from .parts import OffersTools as OffersTools
    from .parts import Parsing as Parsing
    from .prompts.asking import PromptStream as PromptStream
    from .prompts.asking import execute_prompt as execute_prompt
    from .prompts.asking import execute_prompt_async as execute_prompt_async
    from .prompts.asking import execute_prompt_streaming as execute_prompt_streaming
    from .prompts.asking import execute_prompts_concurrent as execute_prompts_concurrent
    from .prompts.file_form import yaml_prompt_schema as yaml_prompt_schema
    from .prompts.loading import Prompt as Prompt
    from .prompts.loading import load_prompt as load_prompt
    from .prompts.marked_yaml import Fault as Fault
    from .providers import aclose_providers as aclose_providers
    from .providers import provider_backend as provider_backend
    from .providers import serving as serving
    from .ready_made import requires as requires
    from .ready_made import uses_tool as uses_tool
    from .requirement import Requirement as Requirement
    from .requirement import check as check
    from .requirement import req as req
    from .requirement import reqify as reqify
    from .requirement import simple_validate as simple_validate
    from .responses.adapter import SSEAdapter as SSEAdapter
    from .roles import AIMessage as AIMessage
    from .roles import HumanMessage as HumanMessage
    from .roles import SystemMessage as SystemMessage
    from .roles import ToolMessage as ToolMessage
    from .samples import Sample as Sample
    from .samples import Usage as Usage
    from .samples import ValidationResult as ValidationResult
    from .sampling import Attempt as Attempt
    from .sampling import SamplingResult as SamplingResult
    from .sampling import SamplingStrategy as SamplingStrategy
    from .sampling.best_of_n import BestofNSamplingStrategy as BestofNSamplingStrategy
    from .sampling.budget_forcing import BudgetForcingSamplingStrategy as BudgetForcingSamplingStrategy
    from .sampling.escalation import EscalationStrategy as EscalationStrategy
    from .sampling.majority import MajorityVotingStrategy as MajorityVotingStrategy
    from .sampling.majority import MajorityVotingStrategyForMath as MajorityVotingStrategyForMath
    from .sampling.multi_turn import MultiTurnStrategy as MultiTurnStrategy
    from .sampling.rejection import RejectionSamplingStrategy as RejectionSamplingStrategy
    from .sampling.repair import RepairTemplateStrategy as RepairTemplateStrategy
    from .server.limits import Access as Access
    from .server.limits import ServerLimits as ServerLimits
    from .server.loading import answerer_of as answerer_of
    from .server.mounting import asgi_app as asgi_app
    from .session import MelleaSession as MelleaSession
    from .session.free_functions import mfuncs as mfuncs
    from .session.opening import start_backend as start_backend
    from .session.opening import start_session as start_session
    from .telemetry import Sink as Sink
    from .telemetry import add_sink as add_sink
    from .telemetry import listening as listening
    from .telemetry import on_event as on_event
    from .telemetry import remove_sink as remove_sink
    from .telemetry.otel import trace_generations as trace_generations
    from .telemetry.telling import flush_sinks as flush_sinks
    from .telemetry.telling import follow as follow
    from .thunk import ComputedModelOutputThunk as ComputedModelOutputThunk
    from .thunk import GenerationMetadata as GenerationMetadata
    from .thunk import ModelOutputThunk as ModelOutputThunk
    from .tools import MelleaTool as MelleaTool
    from .tools import tool as tool
    from .tools.mcp_client import MCPConnection as MCPConnection
    from .tools.mcp_tools import MCPTools as MCPTools
    from .tools.mcp_tools import MCPToolSpec as MCPToolSpec
    from .tools.mcp_tools import discover_mcp_tools as discover_mcp_tools
    from .tools.mcp_tools import http_connection as http_connection
    from .tools.mcp_tools import stdio_connection as stdio_connection
    from .tools.workbench import acall_tools as acall_tools
    from .tools.workbench import call_tools as call_tools

_ROOMS = {
    "encoding.openai_chunks": ["OpenAIChunkEncoder"],
    "encoding.openai_responses": ["OpenAIResponseEncoder"],
    "server.limits": ["Access", "ServerLimits"],
    "server.loading": ["answerer_of"],
    "server.mounting": ["asgi_app"],
    "encoding.ag_ui": ["AGUIEncoder"],
    "encoding.ai_sdk": ["AISDKEncoder"],
    "encoding": ["Encoder"],
    "encoding.sse": ["SSEEncoder", "SSETextEncoder"],
    "responses.adapter": ["SSEAdapter"],
    "graph.stores": ["MemoryBackend", "SQLiteBackend"],
    "graph.executor": [
        "ExecutionContext",
        "Executor",
    ],
    "graph.yaml_streaming": ["NodeTokens", "StreamingNode", "create_streaming_node"],
    "graph.yaml_form": ["yaml_graph_schema"],
    "graph.yaml_loading": ["lint_graph", "load_graph"],
    "prompts.marked_yaml": ["Fault"],
    "prompts.file_form": ["yaml_prompt_schema"],
    "prompts.loading": ["Prompt", "load_prompt"],
    "prompts.asking": [
        "PromptStream",
        "execute_prompt",
        "execute_prompt_async",
        "execute_prompt_streaming",
        "execute_prompts_concurrent",
    ],
    "providers": ["aclose_providers", "provider_backend", "serving"],
    "roles": [
        "AIMessage",
        "HumanMessage",
        "SystemMessage",
        "ToolMessage",
    ],
    "graph.checkpoints": ["StateBackend"],
    "graph.modes": ["MessageChunk"],
    "graph.state": ["add_messages"],
    "graph.retrying": ["RetryPolicy"],
    "graph.calling": ["Runtime"],
    "graph.now": ["get_stream_writer", "interrupt"],
    "graph.commands": ["Command", "Interrupt", "Send"],
    "graph.spec": ["END", "GraphSpec", "START"],
    "graph.run": ["GraphRun", "StreamReader"],
    "graph.compiled": ["CompiledGraph"],
    "graph.building": ["StateGraph"],
    "notebook": ["show"],
    "ready_made": ["requires", "uses_tool"],
    "sampling.escalation": ["EscalationStrategy"],
    "sampling.budget_forcing": ["BudgetForcingSamplingStrategy"],
    "sampling.majority": ["MajorityVotingStrategy", "MajorityVotingStrategyForMath"],
    "sampling.best_of_n": ["BestofNSamplingStrategy"],
    "sampling.multi_turn": ["MultiTurnStrategy"],
    "sampling.repair": ["RepairTemplateStrategy"],
    "partial": ["Partial", "PartialParser", "PartialState"],
    "tools.mcp_client": ["MCPConnection"],
    "tools.mcp_tools": [
        "MCPToolSpec",
        "MCPTools",
        "discover_mcp_tools",
        "http_connection",
        "stdio_connection",
    ],
    "agent": ["react"],
    "tools.workbench": ["acall_tools", "call_tools"],
    "tools": ["MelleaTool", "tool"],
    "parts": ["Component", "OffersTools", "Parsing"],
    "mified": ["MObject", "Mified", "MifiedProtocol", "Query", "Transform", "mify"],
    "telemetry.telling": ["flush_sinks", "follow"],
    "telemetry": ["Sink", "add_sink", "listening", "on_event", "remove_sink"],
    "telemetry.otel": ["trace_generations"],
    "log": ["Log"],
    "sampling.rejection": ["RejectionSamplingStrategy"],
    "sampling": ["Attempt", "SamplingResult", "SamplingStrategy"],
    "samples": ["Sample", "Usage", "ValidationResult"],
    "chunking": ["Chunk"],
    "requirement": ["Requirement", "check", "req", "reqify", "simple_validate"],
    "generative_function": ["GenerativeFunction", "generative"],
    "session.free_functions": ["mfuncs"],
    "backends": ["Backend"],
    "backends.fake": ["Answer", "FakeBackend", "Gate"],
    "backends.huggingface": ["HuggingFaceBackend"],
    "backends.llamacpp": ["LlamaCppBackend"],
    "backends.ollama": ["OllamaModelBackend"],
    "backends.openai": ["OpenAIBackend"],
    "backends.replay": ["RecordingBackend", "ReplayBackend"],
    "component": [
        "CBlock",
        "Document",
        "Instruction",
        "SimpleComponent",
        "TemplateComponent",
    ],
    "content": [
        "ImageBlock",
        "Message",
        "Request",
        "ToolCall",
        "make_image_block",
    ],
    "context": ["ChatContext", "Context", "SimpleContext"],
    "errors": [
        "AlreadyComputed",
        "AlreadyPolled",
        "BackendError",
        "BackendTimeout",
        "BackendUnavailable",
        "ContextOverflow",
        "DependencyFailed",
        "FunctionFailed",
        "GenerationCancelled",
        "GraphError",
        "GraphInvalid",
        "Interrupted",
        "InvalidArgument",
        "InvalidFile",
        "InvalidUpdate",
        "LoopBudgetExhausted",
        "MalformedReply",
        "MelleaError",
        "MissingPackage",
        "ModelNotFound",
        "NodeFailed",
        "NodeTimeout",
        "NotComputed",
        "NothingToResume",
        "OutputError",
        "OutputParseError",
        "PreconditionFailed",
        "RateLimited",
        "RecursionLimit",
        "ReplayMismatch",
        "RequestRefused",
        "RequestRejected",
        "RequirementsNotMet",
        "ResultTimeout",
        "ScriptExhausted",
        "SessionClosed",
        "TemplateError",
        "ToolError",
        "ToolFailed",
        "ToolRefused",
        "ToolServerUnavailable",
        "ToolTimeout",
        "Truncated",
        "UnknownName",
        "UnknownTool",
        "UnreadableContext",
        "UnsupportedEventLoop",
        "WrongProcess",
        "WrongToolArguments",
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
        "ToolResult",
    ],
    "models": ["ModelIdentifier", "model_ids"],
    "options": ["ModelOption"],
    "session.opening": ["start_backend", "start_session"],
    "session": ["MelleaSession"],
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
