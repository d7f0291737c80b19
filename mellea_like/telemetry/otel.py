"""OpenTelemetry spans and metrics of generations, by the semantic conventions for generative AI.

A sink that reads a log once, when it has ended: streaming costs nothing. It knows logs; it knows no backend and no
exporter, and imports OpenTelemetry only when it is asked to trace.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ..content import Message, Request, ToolCall
from ..errors import MissingPackage
from ..events import Cancelled, Checked, Event, Failed, Finished, Retried, ToolCallEvent, ToolResult
from ..log import Log
from . import add_sink, beginning, remove_sink
from .telling import flush_sinks, tell_end

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import Span, TracerProvider

OPERATION = "chat"
"""`gen_ai.operation.name`: every backend is asked in messages."""

_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_TOKENS = tuple(4.0**power for power in range(14))
"""The bounds that the conventions advise for histograms of seconds and of tokens."""


def trace_generations(
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    capture_content: bool = False,
) -> Tracing:
    """Record every generation of this process as an OpenTelemetry span and in its metrics, from now on.

    A generation is one span, `chat <model>`, child of the span that was current where the call was made, with
    verdicts (`checked`) and retries (`retried`) as span events. The metrics are `gen_ai.client.token.usage`,
    `gen_ai.client.operation.duration` and `gen_ai.client.operation.time_to_first_chunk`. Both are written when the
    generation has ended, in a thread of the library's own. What was said stays out, and so do messages of errors and
    reasons of verdicts, which may quote it.

    Args:
        tracer_provider: Where spans go; None for OpenTelemetry's global one.
        meter_provider: Where metrics go; None for OpenTelemetry's global one.
        capture_content: Record the answers, tool calls, reasons and error messages too; and the prompts, where known.

    Returns:
        A switch: `stop()`, or leaving a `with` block over it, ends the tracing. A second call with the same providers
        replaces the first.

    Raises:
        MissingPackage: OpenTelemetry is not installed.

    Example:
        ```python
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

        from mellea_like import start_session, trace_generations

        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter()))
        with trace_generations(tracer_provider=provider), start_session("fake", answers="Hello!") as m:
            m.instruct("Say hello.")
        ```

    Source: https://github.com/open-telemetry/semantic-conventions-genai
    """
    try:
        return Tracing(_Recorder(tracer_provider, meter_provider, capture_content))
    except ImportError as error:
        raise MissingPackage(
            f"Tracing needs OpenTelemetry, which is not installed: {error}. Install it: pip install 'mellea-like[otel]'"
        ) from error


class Tracing:
    """Tracing that is on; what `trace_generations` returns."""

    def __init__(self, sink: _Recorder) -> None:
        self._sink = add_sink(sink)

    def stop(self) -> None:
        """Trace no generation that starts after this, and wait until those that have ended are recorded."""
        remove_sink(self._sink)
        flush_sinks()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: TracebackType | None) -> None:
        self.stop()


class _Recorder:
    """The sink: remembers when and under which span a generation was started, and writes it down when it has ended."""

    def __init__(
        self, tracer_provider: TracerProvider | None, meter_provider: MeterProvider | None, capture_content: bool
    ) -> None:
        from opentelemetry import metrics, trace

        self._providers = (tracer_provider, meter_provider)
        self._capture = self.sees_prompts = capture_content
        self._tracer = trace.get_tracer("mellea_like", tracer_provider=tracer_provider)
        meter = metrics.get_meter("mellea_like", meter_provider=meter_provider)
        seconds = partial(meter.create_histogram, unit="s", explicit_bucket_boundaries_advisory=_SECONDS)
        self._duration = seconds("gen_ai.client.operation.duration", description="GenAI operation duration.")
        self._first_chunk = seconds(
            "gen_ai.client.operation.time_to_first_chunk", description="Time to receive the first chunk."
        )
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage",
            unit="{token}",
            description="Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=_TOKENS,
        )

    def __eq__(self, other: object) -> bool:
        # So that a notebook's cell can be run again: the second replaces the first.
        return isinstance(other, _Recorder) and self._providers == other._providers

    def __hash__(self) -> int:
        return hash(self._providers)

    def opened(self, log: Log) -> None:
        from opentelemetry import context

        tell_end(log, partial(self._record, context.get_current(), time.time_ns()))

    def _record(self, parent: Context, began: int, log: Log) -> None:
        """Write the span and the metrics; `began` in nanoseconds since 1970."""
        from opentelemetry.trace import SpanKind, set_span_in_context

        others = log.others()
        shared = _shared(log, others)
        span = self._tracer.start_span(
            f"{OPERATION} {beginning(others).model}".rstrip(),
            context=parent,
            kind=SpanKind.CLIENT,
            attributes=shared | _measured(log, others),
            start_time=began,
        )
        if span.is_recording():
            self._describe(span, began, log)
        span.end(began + _nanoseconds(others[-1].seconds))
        self._measure(log, shared, under=set_span_in_context(span, parent))

    def _describe(self, span: Span, began: int, log: Log) -> None:
        """Give the span its events, its status and, where they are wanted, its contents."""
        from opentelemetry.trace import Status, StatusCode

        for event in log.others():
            if (about := self._about(event)) is not None:
                span.add_event(event.type, about, timestamp=began + _nanoseconds(event.seconds))
        if isinstance(log.end, Failed):
            span.set_status(Status(StatusCode.ERROR, str(log.end.error) if self._capture else None))
        if self._capture:
            for name, messages in (("input", _prompt(log)), ("output", [_answer(log)])):
                if messages:
                    span.set_attribute(f"gen_ai.{name}.messages", json.dumps(messages, ensure_ascii=False))

    def _about(self, event: Event) -> dict[str, Any] | None:
        """Give the attributes of the span event that an event becomes, None where it becomes none."""
        reason: str | None = None
        about: dict[str, Any] = {"mellea_like.attempt": event.attempt}
        if isinstance(event, Checked):
            about["gen_ai.evaluation.name"] = event.requirement
            about["gen_ai.evaluation.score.label"] = {True: "passed", False: "failed", None: "open"}[event.passed]
            reason = event.reason
        elif isinstance(event, Retried):
            about["mellea_like.attempt"] = event.void
            reason = event.reason
        elif isinstance(event, ToolResult):
            about |= {"gen_ai.tool.name": event.name, "mellea_like.tool.seconds": event.took}
            about |= {"gen_ai.tool.call.id": event.id} if event.id else {}
            about |= {} if event.error is None else {"error.type": type(event.error).__qualname__}
        elif not isinstance(event, Cancelled):
            return None
        return about | ({"gen_ai.evaluation.explanation": reason} if self._capture and reason else {})

    def _measure(self, log: Log, shared: dict[str, Any], *, under: Context) -> None:
        end, first = log.event(len(log) - 1), log.first_text_at()
        self._duration.record(end.seconds, shared, context=under)
        if first is not None:
            self._first_chunk.record(first, shared, context=under)
        usage = log.end.usage if log.end is not None else None
        if usage is None or usage.estimated:  # the conventions want no guesses here
            return
        for kind, amount in (("input", usage.input_tokens), ("output", usage.output_tokens)):
            self._tokens.record(amount, shared | {"gen_ai.token.type": kind}, context=under)


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)


def _shared(log: Log, others: Sequence[Event]) -> dict[str, Any]:
    """Give the attributes that the span and the metrics share."""
    began, end = beginning(others), log.end
    shared = {
        "gen_ai.operation.name": OPERATION,
        "gen_ai.provider.name": began.provider or "unknown",
        "gen_ai.request.model": began.model,
        "gen_ai.response.model": end.model if isinstance(end, Finished) else None,
        "error.type": type(end.error).__qualname__ if isinstance(end, Failed) else None,
    }
    return {name: value for name, value in shared.items() if value}


def _measured(log: Log, others: Sequence[Event]) -> dict[str, Any]:
    """Give the attributes of the span that count and time."""
    measured: dict[str, Any] = {
        "gen_ai.request.stream": True,
        "mellea_like.attempts": max(event.attempt for event in others),
        "gen_ai.response.time_to_first_chunk": log.first_text_at(),
    }
    end = log.end
    if end is not None and end.finish_reason != "error":
        measured["gen_ai.response.finish_reasons"] = (end.finish_reason,)
    usage = end.usage if end is not None else None
    if usage is not None:
        # An estimate counts the pieces that came; of the prompt it knows nothing.
        measured["gen_ai.usage.input_tokens"] = None if usage.estimated else usage.input_tokens
        measured["gen_ai.usage.output_tokens"] = usage.output_tokens
        measured["gen_ai.usage.cache_read.input_tokens"] = usage.cached_tokens
    return {name: value for name, value in measured.items() if value is not None}


def _answer(log: Log) -> dict[str, Any]:
    """Give the answer in the form of `gen_ai.output.messages`."""
    calls = [
        event.as_tool_call()
        for event in log.others()
        if isinstance(event, ToolCallEvent) and event.complete and event.attempt == log.accepted
    ]
    said = _said(Message("assistant", log.text(), tool_calls=tuple(calls)))
    if thinking := log.thinking():
        said["parts"].insert(0, {"type": "reasoning", "content": thinking})
    return said | {"finish_reason": log.end.finish_reason if log.end is not None else ""}


def _prompt(log: Log) -> list[dict[str, Any]]:
    """Give the prompt in the form of `gen_ai.input.messages`; nothing where the log does not hold it."""
    request = getattr(beginning(log.others()), "request", None)
    return [_said(message) for message in request.messages] if isinstance(request, Request) else []


def _said(message: Message) -> dict[str, Any]:
    if message.role == "tool":
        answered = {"type": "tool_call_response", "id": message.tool_call_id, "response": message.content}
        return {"role": "tool", "parts": [answered]}
    parts: list[dict[str, Any]] = [{"type": "text", "content": message.content}] if message.content else []
    parts += [
        {"type": "tool_call", "id": call.id, "name": call.name, "arguments": _arguments(call)}
        for call in message.tool_calls
    ]
    return {"role": message.role, "parts": parts}


def _arguments(call: ToolCall) -> Any:
    try:
        return json.loads(call.arguments)
    except ValueError:  # the model's JSON is broken: what it wrote, as it wrote it
        return call.arguments
