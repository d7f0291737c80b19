"""OpenTelemetry: what a generation becomes as a span and in metrics, with the real SDK and exporters in memory."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from opentelemetry.semconv._incubating.metrics import gen_ai_metrics
from opentelemetry.trace import SpanKind, StatusCode

from mellea_like import (
    Answer,
    BackendUnavailable,
    Checked,
    Finished,
    MelleaSession,
    Message,
    ModelOutputThunk,
    OutputParseError,
    Request,
    Retried,
    Started,
    Thinking,
    ToolCall,
    ToolCallEvent,
    Usage,
)
from mellea_like.events import ToolResult
from mellea_like.telemetry import otel
from mellea_like.telemetry.otel import trace_generations
from mellea_like.telemetry.telling import flush_sinks

Start = Callable[..., MelleaSession]
PATIENCE = 10.0


class Collected:
    """Providers with exporters in memory, and what they got."""

    def __init__(self) -> None:
        self.exporter, self.reader = InMemorySpanExporter(), InMemoryMetricReader()
        self.tracer_provider = TracerProvider()
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.meter_provider = MeterProvider(metric_readers=[self.reader])

    @property
    def providers(self) -> dict[str, Any]:
        return {"tracer_provider": self.tracer_provider, "meter_provider": self.meter_provider}

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        assert flush_sinks()
        return self.exporter.get_finished_spans()

    @property
    def span(self) -> ReadableSpan:
        (span,) = self.spans
        return span

    def points(self, metric: str) -> list[Any]:
        """List the points of a metric."""
        assert flush_sinks()
        read = self.reader.get_metrics_data()
        scopes = [scope for resource in (read.resource_metrics if read else []) for scope in resource.scope_metrics]
        return [p for scope in scopes for m in scope.metrics if m.name == metric for p in m.data.data_points]


@pytest.fixture
def collected() -> Iterator[Collected]:
    """Exporters in memory; nothing is traced yet."""
    collected = Collected()
    yield collected
    collected.tracer_provider.shutdown()
    collected.meter_provider.shutdown()


@pytest.fixture(params=[False, True], ids=["without content", "with content"])
def content(request: pytest.FixtureRequest, collected: Collected) -> Iterator[bool]:
    """Trace, without and with content."""
    with trace_generations(**collected.providers, capture_content=request.param):
        yield request.param


@pytest.fixture
def traced(collected: Collected) -> Iterator[Collected]:
    """Trace into exporters in memory, without content."""
    with trace_generations(**collected.providers):
        yield collected


def everything(span: ReadableSpan) -> str:
    """Write all that a span says into one text."""
    return f"{span.name} {dict(span.attributes or {})} {span.status.description} " + " ".join(
        f"{event.name} {dict(event.attributes or {})}" for event in span.events
    )


# --- the span -------------------------------------------------------------------------------------------------------


def test_a_generation_is_one_span_by_the_conventions(fake: Start, traced: Collected) -> None:
    usage = Usage(input_tokens=7, output_tokens=3, cached_tokens=2)
    fake(Answer("a b c", usage=usage), model_id="m1").instruct("?")
    span = traced.span
    attributes = dict(span.attributes or {})
    assert attributes.pop("gen_ai.response.time_to_first_chunk") >= 0
    assert (span.name, span.kind, span.status.status_code) == ("chat m1", SpanKind.CLIENT, StatusCode.UNSET)
    assert attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "fake",
        "gen_ai.request.model": "m1",
        "gen_ai.request.stream": True,
        "gen_ai.response.model": "m1",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 3,
        "gen_ai.usage.cache_read.input_tokens": 2,
        "mellea_like.attempts": 1,
    }


def test_every_name_is_one_of_the_conventions() -> None:
    source = Path(otel.__file__).read_text(encoding="utf-8")
    used = set(re.findall(r'"(gen_ai\.[a-z_.]+)"', source))
    rooms = (gen_ai_attributes, gen_ai_metrics)
    known = {name for room in rooms for name in vars(room).values() if isinstance(name, str)}
    assert len(used) > 15
    assert used - known == set()


def test_the_span_spans_the_generation(fake: Start, traced: Collected) -> None:
    before = time.time_ns()
    thunk = fake(Answer(["a", 0.02, "b"])).instruct("?", await_result=False)
    thunk.result()
    after, span = time.time_ns(), traced.span
    assert before <= span.start_time <= after
    assert span.end_time - span.start_time == round(thunk.generation.seconds * 1e9)


async def test_the_span_is_a_child_of_the_one_that_was_current_at_the_call(fake: Start, traced: Collected) -> None:
    m, tracer = fake("yes"), traced.tracer_provider.get_tracer("test")
    with tracer.start_as_current_span("outer") as outer:
        thunk = await m.ainstruct("?", await_result=False)
    with tracer.start_as_current_span("later"):
        await thunk
    spans = {span.name: span for span in traced.spans}
    assert spans["chat script"].parent.span_id == outer.get_span_context().span_id
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_verdicts_retries_and_tool_results_are_span_events(fake: Start, collected: Collected, content: bool) -> None:
    steps = [
        "bad",
        Checked(requirement="be kind", passed=False, reason="it is rude"),
        Retried(reason="it is rude", void=1, attempt=2),
        Checked(requirement="be kind", passed=None, attempt=2),
        Checked(requirement="be kind", passed=True, attempt=2),
        ToolResult(name="clock", text="noon", id="c1", attempt=2, took=0.5, error=OutputParseError("x")),
    ]
    fake(Answer(steps)).instruct("?", await_result=False).result()
    events = [(event.name, dict(event.attributes or {})) for event in collected.span.events]
    why = {"gen_ai.evaluation.explanation": "it is rude"} if content else {}
    label, name = "gen_ai.evaluation.score.label", {"gen_ai.evaluation.name": "be kind"}
    assert events == [
        ("checked", {"mellea_like.attempt": 1, **name, label: "failed", **why}),
        ("retried", {"mellea_like.attempt": 1, **why}),
        ("checked", {"mellea_like.attempt": 2, **name, label: "open"}),
        ("checked", {"mellea_like.attempt": 2, **name, label: "passed"}),
        (
            "tool_result",
            {
                "mellea_like.attempt": 2,
                "gen_ai.tool.name": "clock",
                "mellea_like.tool.seconds": 0.5,
                "gen_ai.tool.call.id": "c1",
                "error.type": "OutputParseError",
            },
        ),
    ]
    assert (collected.span.attributes or {})["mellea_like.attempts"] == 2


def test_events_stand_at_their_times(fake: Start, traced: Collected) -> None:
    thunk = fake(Answer(["a", 0.02, Checked(requirement="r", passed=True)])).instruct("?", await_result=False)
    (checked,) = [event for event in thunk.events() if event.type == "checked"]
    (event,) = traced.span.events
    assert event.timestamp - traced.span.start_time == round(checked.seconds * 1e9)


def test_a_failure_is_an_error_with_its_kind(fake: Start, collected: Collected, content: bool) -> None:
    answer = Answer(["half ", BackendUnavailable("quotes the prompt", backend="fake")])
    list(fake(answer).instruct("?", await_result=False).events())
    span = collected.span
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description == ("quotes the prompt" if content else None)
    attributes = dict(span.attributes or {})
    assert attributes["error.type"] == "BackendUnavailable"
    assert attributes["gen_ai.usage.output_tokens"] == 1
    assert not attributes.keys() & {"gen_ai.usage.input_tokens", "gen_ai.response.finish_reasons"}


def test_an_answer_cut_off_by_its_limit_names_the_reason_beside_the_error(fake: Start, traced: Collected) -> None:
    thunk = fake("[1, 2").instruct("?", format=list, model_options={"max_new_tokens": 1}, await_result=False)
    list(thunk.events())
    attributes = dict(traced.span.attributes or {})
    assert attributes["error.type"] == "OutputParseError"
    assert attributes["gen_ai.response.finish_reasons"] == ("length",)


def test_a_cancelled_generation_is_no_error(talker: Any, traced: Collected) -> None:
    talker.start().close()
    span = traced.span
    assert span.status.status_code is StatusCode.UNSET
    assert [event.name for event in span.events] == ["cancelled"]
    assert (span.attributes or {})["gen_ai.response.finish_reasons"] == ("cancelled",)
    assert "error.type" not in (span.attributes or {})


def test_an_abandoned_generation_is_stopped_and_recorded(talker: Any, traced: Collected) -> None:
    thunk = talker.start()
    del thunk
    assert talker.is_stopped()
    while not traced.spans:  # it is recorded when the backend has stopped
        assert talker.is_running() is False
    assert [event.name for event in traced.span.events] == ["cancelled"]


# --- content --------------------------------------------------------------------------------------------------------


def test_nothing_that_was_said_is_recorded_unless_asked(fake: Start, traced: Collected) -> None:
    steps = ["secret ", Thinking(text="secret"), Checked(requirement="r", passed=False, reason="secret")]
    fake(Answer([*steps, Retried(reason="secret", void=1), BackendUnavailable("secret")])).instruct(
        "secret", await_result=False
    ).close()
    assert "secret" not in everything(traced.span)


def test_the_answer_is_recorded_where_it_is_asked_for(fake: Start, collected: Collected) -> None:
    call = ToolCallEvent(index=0, id="c1", name="clock", arguments='{"zone": "UTC"}', complete=True)
    broken = ToolCallEvent(index=1, id="c2", name="clock", arguments="{zone", complete=True)
    with trace_generations(**collected.providers, capture_content=True):
        fake(Answer([Thinking(text="hm"), "It is ", "late.", call, broken])).instruct("When?")
    assert json.loads((collected.span.attributes or {})["gen_ai.output.messages"]) == [
        {
            "role": "assistant",
            "parts": [
                {"type": "reasoning", "content": "hm"},
                {"type": "text", "content": "It is late."},
                {"type": "tool_call", "id": "c1", "name": "clock", "arguments": {"zone": "UTC"}},
                {"type": "tool_call", "id": "c2", "name": "clock", "arguments": "{zone"},
            ],
            "finish_reason": "stop",
        }
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked(Started):
    """A start that says what was asked."""

    request: Request = field(compare=False)


def test_the_prompt_is_recorded_where_it_is_known(collected: Collected) -> None:
    call = ToolCall(id="c1", name="clock")
    asked = (
        Message("system", "Be brief."),
        Message("user", "When?"),
        Message("assistant", "", tool_calls=(call,)),
        Message("tool", "noon", tool_call_id="c1"),
    )

    async def source() -> AsyncGenerator[Any, None]:
        yield Asked(model="m1", provider="p", request=Request(messages=asked))
        yield Finished()

    with trace_generations(**collected.providers, capture_content=True):
        ModelOutputThunk[str].start(source()).result()
    assert json.loads((collected.span.attributes or {})["gen_ai.input.messages"]) == [
        {"role": "system", "parts": [{"type": "text", "content": "Be brief."}]},
        {"role": "user", "parts": [{"type": "text", "content": "When?"}]},
        {"role": "assistant", "parts": [{"type": "tool_call", "id": "c1", "name": "clock", "arguments": {}}]},
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": "noon"}]},
    ]


# --- metrics --------------------------------------------------------------------------------------------------------


def test_metrics_count_calls_seconds_and_tokens(fake: Start, traced: Collected) -> None:
    m = fake(Answer("a b", usage=Usage(input_tokens=5, output_tokens=2)), model_id="m1")
    thunks = [m.instruct("?") for _ in range(2)]
    shared = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "fake",
        "gen_ai.request.model": "m1",
        "gen_ai.response.model": "m1",
    }
    (duration,) = traced.points("gen_ai.client.operation.duration")
    assert (dict(duration.attributes), duration.count) == (shared, 2)
    assert duration.sum == pytest.approx(sum(thunk.generation.seconds for thunk in thunks))
    (first,) = traced.points("gen_ai.client.operation.time_to_first_chunk")
    assert first.sum == pytest.approx(sum(thunk.generation.ttft for thunk in thunks))
    tokens = {point.attributes["gen_ai.token.type"]: point.sum for point in traced.points("gen_ai.client.token.usage")}
    assert tokens == {"input": 10, "output": 4}


def test_metrics_have_the_bounds_that_the_conventions_advise(fake: Start, traced: Collected) -> None:
    fake("yes").instruct("?")
    assert traced.points("gen_ai.client.operation.duration")[0].explicit_bounds[:2] == (0.01, 0.02)
    assert traced.points("gen_ai.client.token.usage")[0].explicit_bounds[-1] == 67108864


def test_metrics_of_a_failure_name_its_kind_and_guess_no_tokens(fake: Start, traced: Collected) -> None:
    list(fake(Answer(["half", BackendUnavailable("gone")])).instruct("?", await_result=False).events())
    (duration,) = traced.points("gen_ai.client.operation.duration")
    assert duration.attributes["error.type"] == "BackendUnavailable"
    assert traced.points("gen_ai.client.token.usage") == []


def test_what_is_not_sampled_is_counted_all_the_same(fake: Start, collected: Collected) -> None:
    collected.tracer_provider = TracerProvider(sampler=ALWAYS_OFF)
    with trace_generations(**collected.providers):
        fake("yes").instruct("?")
    assert collected.points("gen_ai.client.operation.duration")[0].count == 1


# --- on and off -----------------------------------------------------------------------------------------------------


def test_leaving_the_block_ends_the_tracing_with_everything_recorded(fake: Start, collected: Collected) -> None:
    m = fake("yes")
    with trace_generations(**collected.providers):
        m.instruct("?")
    assert len(collected.exporter.get_finished_spans()) == 1
    m.instruct("?")
    assert len(collected.spans) == 1


def test_tracing_the_same_providers_again_replaces_the_first(fake: Start, collected: Collected) -> None:
    first = trace_generations(**collected.providers)
    with trace_generations(**collected.providers):
        fake("yes").instruct("?")
    first.stop()
    assert len(collected.spans) == 1


def test_an_exporter_that_blocks_delays_no_answer_and_no_other_call(fake: Start, collected: Collected) -> None:
    let_go, threads = threading.Event(), []

    class Slow(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            threads.append(threading.current_thread().name)
            let_go.wait(PATIENCE)
            return SpanExportResult.SUCCESS

    collected.tracer_provider.add_span_processor(SimpleSpanProcessor(Slow()))
    with trace_generations(**collected.providers):
        m = fake("yes")
        assert [m.instruct("?").value for _ in range(3)] == ["yes"] * 3
        let_go.set()
    assert threads == ["mellea-like listeners"] * 3


def test_without_providers_the_global_ones_are_used(ran: Callable[[str], str]) -> None:
    printed = ran("""
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
        from mellea_like import start_session
        from mellea_like.telemetry.otel import trace_generations

        provider = TracerProvider()
        exporter = ConsoleSpanExporter(formatter=lambda span: span.name + chr(10))
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        trace.set_tracer_provider(provider)
        trace_generations()
        with start_session("fake", answers="yes") as m:
            m.instruct("?")
    """)
    assert printed == "chat script\n"


def test_without_opentelemetry_the_error_says_what_to_install() -> None:
    program = """
import sys
sys.modules["opentelemetry"] = None
from mellea_like.telemetry.otel import trace_generations
trace_generations()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "MissingPackage: Tracing needs OpenTelemetry" in done.stderr
    assert "pip install 'mellea-like[otel]'" in done.stderr
