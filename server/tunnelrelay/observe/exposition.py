"""Exports `Metrics` to Prometheus, with a custom collector of prometheus-client that reads our plain numbers."""

from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

import tunnelctl
from tunnelrelay.observe.metrics import DEFINITIONS, SECONDS_BUCKETS, STATUS_CLASSES, Definition, Metrics


def render(metrics: Metrics) -> bytes:
    """Return the metrics in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Ours(metrics))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


class _Ours(Collector):
    """A collector of all metrics in `DEFINITIONS`, which reads the values at each scrape."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        """Return the metrics; the registry calls this at each scrape."""
        for definition in DEFINITIONS:
            match definition.kind:
                case "counter":
                    yield _counter(definition, self._metrics)
                case "gauge":
                    yield _gauge(definition, self._metrics)
                case "histogram":
                    yield _histogram(definition, self._metrics)


def _counter(definition: Definition, metrics: Metrics) -> Metric:
    name = definition.name.removeprefix("tunnelrelay_")
    family = CounterMetricFamily(
        definition.name, definition.doc, labels=[definition.label] if definition.label else None
    )
    match name:
        case "exchanges":
            for status, count in zip(STATUS_CLASSES, metrics.status_counts[1:], strict=True):
                family.add_metric([status], count)
        case "received_bytes" | "sent_bytes" | "held_requests" | "retried_requests":
            family.add_metric([], getattr(metrics, name))
        case "dropped_log_records":
            family.add_metric([], metrics.read(name))
        case _:
            for value, count in sorted(metrics.counts[name].items()):
                family.add_metric([value], count)
    return family


def _gauge(definition: Definition, metrics: Metrics) -> Metric:
    if definition.label:
        family = GaugeMetricFamily(definition.name, definition.doc, labels=[definition.label])
        family.add_metric([tunnelctl.__version__], 1)
        return family
    value = metrics.read(definition.name.removeprefix("tunnelrelay_"))
    return GaugeMetricFamily(definition.name, definition.doc, value=value)


def _histogram(definition: Definition, metrics: Metrics) -> Metric:
    bounds = [*map(str, SECONDS_BUCKETS), "+Inf"]
    buckets = list(zip(bounds, accumulate(metrics.bucket_counts), strict=True))
    return HistogramMetricFamily(definition.name, definition.doc, buckets=buckets, sum_value=metrics.seconds_sum)
