"""Traces, metrics and logs to a collector, by OpenTelemetry's SDK and OTLP over HTTP.

Imported only where settings ask for one of them; ``pip install hotshelf[otel]`` brings the SDK.
It reads the standard ``OTEL_*`` variables itself. Exports run in threads of the SDK or in one of
ours; a collector that is away costs nothing but what could not be told.
"""

import logging
import time
from collections.abc import Iterable, Mapping
from typing import Any

from opentelemetry import trace as api
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import export
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from service.observe.instruments import Described, Kind, Merge
from service.observe.logs import JsonLines, described
from service.observe.totals import Spread, Totals
from service.observe.trace_context import TraceContext
from service.observe.tracing import Attributes

_SCOPE = "hotshelf"
_SEVERITY = {
    logging.DEBUG: SeverityNumber.DEBUG,
    logging.INFO: SeverityNumber.INFO,
    logging.WARNING: SeverityNumber.WARN,
    logging.ERROR: SeverityNumber.ERROR,
}


def resource(worker: int) -> Resource:
    """Who tells: ``OTEL_SERVICE_NAME`` and ``OTEL_RESOURCE_ATTRIBUTES`` come before ours."""
    named = Resource.create({"hotshelf.worker": worker})
    if str(named.attributes.get("service.name", "")).startswith("unknown_service"):
        named = named.merge(Resource({"service.name": "hotshelf"}))
    return named


class RecordedSpan:
    """A span of the SDK, as observe/tracing.py wants it."""

    __slots__ = ("_span", "_tracer")

    def __init__(self, tracer: api.Tracer, span: api.Span) -> None:
        self._tracer = tracer
        self._span = span

    @property
    def trace(self) -> TraceContext:
        context = self._span.get_span_context()
        return TraceContext(f"{context.trace_id:032x}", f"{context.span_id:016x}", "01")

    def child(self, name: str, attributes: Attributes) -> "RecordedSpan":
        inside = api.set_span_in_context(self._span)
        kind = api.SpanKind.CLIENT
        made = self._tracer.start_span(name, inside, kind=kind, attributes=dict(attributes))
        return RecordedSpan(self._tracer, made)

    def end(
        self, attributes: Attributes, error: BaseException | None = None, name: str = ""
    ) -> None:
        """What the error says is left out, as in the log."""
        self._span.set_attributes(dict(attributes))
        if name:
            self._span.update_name(name)
        if error is not None:
            said = described(error)
            self._span.set_attribute("error.type", said["error"])
            if "sqlstate" in said:
                self._span.set_attribute("db.response.status_code", said["sqlstate"])
            self._span.set_status(api.StatusCode.ERROR)
        self._span.end()


class SpanExport:
    """Begins spans and sends those that have ended."""

    def __init__(self, endpoint: str, of: Resource) -> None:
        """``endpoint`` empty: as ``OTEL_EXPORTER_OTLP_ENDPOINT`` says."""
        self._provider = TracerProvider(ALWAYS_ON, of, shutdown_on_exit=False)
        exporter = OTLPSpanExporter(_at(endpoint, "traces"))
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer(_SCOPE)

    def begin(self, name: str, caller: TraceContext | None, attributes: Attributes) -> RecordedSpan:
        inside = None
        if caller is not None and caller.parent_id:
            parent = api.SpanContext(
                int(caller.trace_id, 16), int(caller.parent_id, 16), True, api.TraceFlags(1)
            )
            inside = api.set_span_in_context(api.NonRecordingSpan(parent))
        kind = api.SpanKind.SERVER
        span = self._tracer.start_span(name, inside, kind=kind, attributes=dict(attributes))
        return RecordedSpan(self._tracer, span)

    def close(self) -> None:
        """Send what is left, waiting as long as an export may take; to be called in a thread."""
        self._provider.shutdown()


class LogExport(logging.Handler):
    """The fields of every log line, as JSON lines have them."""

    def __init__(self, endpoint: str, of: Resource) -> None:
        super().__init__()
        self._lines = JsonLines()
        self._provider = LoggerProvider(of, shutdown_on_exit=False)
        processor = BatchLogRecordProcessor(OTLPLogExporter(_at(endpoint, "logs")))
        self._provider.add_log_record_processor(processor)
        self._logger = self._provider.get_logger(_SCOPE)

    def emit(self, record: logging.LogRecord) -> None:
        # Of the SDK's own lines about an export that failed each would make another.
        if record.name.startswith(("opentelemetry", "urllib3")):
            return
        said = self._lines.said(record)
        del said["time"]
        event = said.pop("event")
        self._logger.emit(
            LogRecord(
                timestamp=int(record.created * 1e9),
                severity_text=record.levelname,
                severity_number=_SEVERITY.get(record.levelno, SeverityNumber.INFO),
                body=event,
                attributes={name: _flat(value) for name, value in said.items()},
            )
        )

    def shut(self) -> None:
        """As SpanExport.close."""
        self._provider.shutdown()


class MetricExport:
    """The host's numbers, cumulative since ``since`` of the Unix time in seconds."""

    def __init__(self, endpoint: str, of: Resource) -> None:
        self._exporter = OTLPMetricExporter(_at(endpoint, "metrics"))
        self._resource = of
        self._since_ns = time.time_ns()

    def send(self, metrics: Mapping[str, Described], host: Totals) -> None:
        """To be called in a thread; what cannot be sent is left out."""
        scope = export.ScopeMetrics(
            InstrumentationScope(_SCOPE), list(self._metrics(metrics, host)), ""
        )
        data = export.MetricsData([export.ResourceMetrics(self._resource, [scope], "")])
        self._exporter.export(data)

    def close(self) -> None:
        self._exporter.shutdown()

    def _metrics(self, metrics: Mapping[str, Described], host: Totals) -> Iterable[export.Metric]:
        now = time.time_ns()
        cumulative = export.AggregationTemporality.CUMULATIVE
        for name, metric in metrics.items():
            labels = (*metric.labels, "worker") if metric.merge is Merge.EACH else metric.labels
            data: export.Histogram | export.Sum | export.Gauge
            if metric.kind is Kind.HISTOGRAM:
                spreads = _of(name, labels, host.spreads)
                histograms = [self._histogram(metric, a, spread, now) for a, spread in spreads]
                data = export.Histogram(histograms, cumulative)
            else:
                values = host.counters if metric.kind is Kind.COUNTER else host.gauges
                points = [
                    export.NumberDataPoint(attributes, self._since_ns, now, value)
                    for attributes, value in _of(name, labels, values)
                ]
                is_counter = metric.kind is Kind.COUNTER
                data = export.Sum(points, cumulative, True) if is_counter else export.Gauge(points)
            yield export.Metric(name, metric.text, "", data)

    def _histogram(
        self, metric: Described, attributes: dict[str, str], spread: Spread, now: int
    ) -> export.HistogramDataPoint:
        return export.HistogramDataPoint(
            attributes,
            self._since_ns,
            now,
            sum(spread.counts),
            spread.total,
            spread.counts,
            metric.buckets,
            None,  # type: ignore[arg-type]  # optional in the protocol, and not kept by us
            None,  # type: ignore[arg-type]
        )


def _of(
    name: str, labels: Iterable[str], values: Mapping[tuple[str, tuple[str, ...]], Any]
) -> list[tuple[dict[str, str], Any]]:
    return [
        (dict(zip(labels, key[1], strict=True)), value)
        for key, value in values.items()
        if key[0] == name
    ]


def _at(endpoint: str, signal: str) -> str | None:
    return f"{endpoint.rstrip('/')}/v1/{signal}" if endpoint else None


def _flat(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool) else str(value)
