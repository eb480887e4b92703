"""Sends traces, metrics and logs to a collector by OpenTelemetry's SDK and OTLP over HTTP.

Imported only where settings enable one of them; ``pip install hotshelf[otel]`` installs the SDK,
which reads the standard ``OTEL_*`` variables. Exports run in threads of the SDK or in one of ours;
while a collector is unreachable, only telemetry is lost.
"""

import logging
import random
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
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace.status import Status, StatusCode

from service.observe.instruments import Described, Kind, Merge
from service.observe.logs import JsonLines, described
from service.observe.totals import Spread, Totals
from service.observe.trace_context import TraceContext
from service.observe.tracing import Attributes

_SCOPE = "hotshelf"
_SPANS_SCOPE = InstrumentationScope(_SCOPE)
_SAMPLED = api.TraceFlags(api.TraceFlags.SAMPLED)
_UNSET, _FAILED = Status(StatusCode.UNSET), Status(StatusCode.ERROR)
_SEVERITY = {
    logging.DEBUG: SeverityNumber.DEBUG,
    logging.INFO: SeverityNumber.INFO,
    logging.WARNING: SeverityNumber.WARN,
    logging.ERROR: SeverityNumber.ERROR,
}


def resource(worker: int) -> Resource:
    """The resource of all telemetry; ``OTEL_SERVICE_NAME`` and ``OTEL_RESOURCE_ATTRIBUTES`` win."""
    named = Resource.create({"hotshelf.worker": worker})
    if str(named.attributes.get("service.name", "")).startswith("unknown_service"):
        named = named.merge(Resource({"service.name": "hotshelf"}))
    return named


class RecordedSpan:
    """A span for observe/tracing.py; it becomes one of the SDK's when it ends.

    Because the SDK's recording span locks and copies at every step, which took as long as the rest
    of a sampled read.
    """

    __slots__ = (
        *("_attributes", "_began_ns", "_export", "_kind"),
        *("_name", "_parent_id", "_span_id", "_trace_id"),
    )

    def __init__(
        self,
        export: "SpanExport",
        kind: api.SpanKind,
        name: str,
        trace_id: int,
        parent_id: int,
        attributes: Attributes,
    ) -> None:
        """``parent_id`` 0: a root span."""
        self._export = export
        self._kind = kind
        self._name = name
        self._trace_id = trace_id
        self._parent_id = parent_id
        self._span_id = random.getrandbits(64) or 1
        self._attributes = dict(attributes)
        self._began_ns = time.time_ns()

    @property
    def trace(self) -> TraceContext:
        return TraceContext(f"{self._trace_id:032x}", f"{self._span_id:016x}", "01")

    def child(self, name: str, attributes: Attributes) -> "RecordedSpan":
        kind = api.SpanKind.CLIENT
        return RecordedSpan(self._export, kind, name, self._trace_id, self._span_id, attributes)

    def end(
        self, attributes: Attributes, error: BaseException | None = None, name: str = ""
    ) -> None:
        """The error's message is left out, as in the log."""
        said = self._attributes
        said.update(attributes)
        if error is not None:
            found = described(error)
            said["error.type"] = str(found["error"])
            if "sqlstate" in found:
                said["db.response.status_code"] = str(found["sqlstate"])
        self._export.add(
            ReadableSpan(
                name or self._name,
                _context(self._trace_id, self._span_id),
                _context(self._trace_id, self._parent_id) if self._parent_id else None,
                self._export.resource,
                said,
                kind=self._kind,
                status=_FAILED if error is not None else _UNSET,
                start_time=self._began_ns,
                end_time=time.time_ns(),
                instrumentation_scope=_SPANS_SCOPE,
            )
        )


class SpanExport:
    """Begins spans, and sends them once they have ended."""

    def __init__(self, endpoint: str, of: Resource) -> None:
        """``endpoint`` empty: as ``OTEL_EXPORTER_OTLP_ENDPOINT`` says."""
        self.resource = of
        self._processor = BatchSpanProcessor(OTLPSpanExporter(_at(endpoint, "traces")))
        self.add = self._processor.on_end

    def begin(self, name: str, caller: TraceContext | None, attributes: Attributes) -> RecordedSpan:
        trace_id, parent_id = random.getrandbits(128) or 1, 0
        if caller is not None and caller.parent_id:
            trace_id, parent_id = int(caller.trace_id, 16), int(caller.parent_id, 16)
        return RecordedSpan(self, api.SpanKind.SERVER, name, trace_id, parent_id, attributes)

    def close(self) -> None:
        """Send what is left, waiting as long as an export may take; call it in a thread."""
        self._processor.shutdown()  # type: ignore[no-untyped-call]


def _context(trace_id: int, span_id: int) -> api.SpanContext:
    return api.SpanContext(trace_id, span_id, is_remote=False, trace_flags=_SAMPLED)


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
        # Because a log line of the SDK about a failed export would cause a further export.
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
    """The host's metrics, cumulative since ``since``, a Unix time in seconds."""

    def __init__(self, endpoint: str, of: Resource) -> None:
        self._exporter = OTLPMetricExporter(_at(endpoint, "metrics"))
        self._resource = of
        self._since_ns = time.time_ns()

    def send(self, metrics: Mapping[str, Described], host: Totals) -> None:
        """Call it in a thread; what cannot be sent is dropped."""
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
                found = _of(name, labels, host.spreads)
                histograms = [self._histogram(metric, said, spread, now) for said, spread in found]
                data = export.Histogram(histograms, cumulative)
            elif metric.kind is Kind.COUNTER:
                points = self._points(_of(name, labels, host.counters), now)
                data = export.Sum(points, cumulative, True)
            else:
                data = export.Gauge(self._points(_of(name, labels, host.gauges), now))
            yield export.Metric(name, metric.text, "", data)

    def _points(
        self, found: Iterable[tuple[dict[str, str], float]], now: int
    ) -> list[export.NumberDataPoint]:
        return [export.NumberDataPoint(said, self._since_ns, now, value) for said, value in found]

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
