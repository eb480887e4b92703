"""Sends spans, metrics and logs to a collector if the settings say so; off by default."""

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from service.observe import tracing
from service.observe.metrics import REGISTRY
from service.observe.tracing import Traces
from service.process.host_numbers import HostNumbers
from service.setting_sources import SettingsError
from service.settings import Otel

if TYPE_CHECKING:
    from service.observe.otlp import LogExport, MetricExport, SpanExport


class Telemetry:
    """The telemetry of one worker; only the first worker sends the host's metrics."""

    def __init__(self, settings: Otel, worker: int) -> None:
        """Raises SettingsError where the SDK is needed but not installed."""
        self._settings = settings
        self._worker = worker
        self._spans: SpanExport | None = None
        self._logs: LogExport | None = None
        self._metrics: MetricExport | None = None
        self._sending: asyncio.Task[None] | None = None
        if settings.traces or settings.metrics or settings.logs:
            self._open()

    def _open(self) -> None:
        try:
            from service.observe import otlp
        except ModuleNotFoundError as error:
            raise SettingsError(
                f"otel: {error.name} is not installed; pip install 'hotshelf[otel]'"
            ) from None
        settings, of = self._settings, otlp.resource(self._worker)
        if settings.traces:
            self._spans = otlp.SpanExport(settings.endpoint, of)
            tracing.use(Traces(self._spans.begin, settings.sample, settings.per_s))
        if settings.logs:
            self._logs = otlp.LogExport(settings.endpoint, of)
            logging.root.addHandler(self._logs)
        if settings.metrics and self._worker == 0:
            self._metrics = otlp.MetricExport(settings.endpoint, of)

    def start(self, numbers: HostNumbers) -> None:
        if self._metrics is not None:
            self._sending = asyncio.create_task(self._send(self._metrics, numbers))

    async def _send(self, metrics: "MetricExport", numbers: HostNumbers) -> None:
        while True:
            await asyncio.sleep(self._settings.metrics_every_s)
            await asyncio.to_thread(metrics.send, REGISTRY.described, numbers.read())

    async def close(self) -> None:
        """Send what is left; a collector that hangs delays this by its timeout."""
        tracing.use(None)
        if self._sending is not None:
            self._sending.cancel()
            with suppress(asyncio.CancelledError):
                await self._sending
        if self._metrics is not None:
            await asyncio.to_thread(self._metrics.close)
        if self._spans is not None:
            await asyncio.to_thread(self._spans.close)
        if self._logs is not None:
            logging.root.removeHandler(self._logs)
            await asyncio.to_thread(self._logs.shut)
