# /// script
# requires-python = ">=3.11"
# dependencies = ["mellea-like[otel]"]
#
# [tool.uv.sources]
# mellea-like = { path = "../../..", editable = true }
# ///
"""Record calls as OpenTelemetry spans and metrics, by the conventions for generative AI, and show them here.

    uv run docs/examples/observability/opentelemetry_spans.py
    uv run docs/examples/observability/opentelemetry_spans.py --backend fake     # scripted, no model

To send them to a collector, put the OTLP exporters in the place of those in memory; nothing else changes.
"""

import argparse

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from mellea_like import start_session, trace_generations


def show_spans(exporter: InMemorySpanExporter) -> None:
    for span in exporter.get_finished_spans():
        inside = "" if span.parent is None else ", inside another span"
        print(f"# {span.name}: {(span.end_time - span.start_time) / 1e9:.3f} s{inside}")
        for name, value in span.attributes.items():
            print(f"  {name} = {value!r}")


def show_metrics(reader: InMemoryMetricReader) -> None:
    for resource in reader.get_metrics_data().resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                total = sum(point.sum for point in metric.data.data_points)
                print(f"# {metric.name}: {total:.3f} {metric.unit}")


def main(backend: str | None) -> None:
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracers, meters = TracerProvider(), MeterProvider(metric_readers=[reader])
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    options = {"max_new_tokens": 40}
    with (
        # At the start of a program, `trace_generations()` by itself is enough; answers are recorded when asked for.
        trace_generations(tracer_provider=tracers, meter_provider=meters, capture_content=True),
        start_session(backend, model_options=options) as m,
        tracers.get_tracer("example").start_as_current_span("greet"),
    ):
        m.instruct("Greet Ana.")
    show_spans(exporter)
    show_metrics(reader)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", help="a backend, or 'backend:model'; default: the model in this process")
    main(parser.parse_args().backend)
