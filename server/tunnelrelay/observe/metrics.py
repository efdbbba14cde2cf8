"""Counts the relay's metrics. The hot path only adds to plain numbers; Prometheus' names and text are made at a scrape.

`DEFINITIONS` lists every metric (docs/reference/metrics.md describes them). Labels have fixed values only: if hosts,
paths or users were labels, visitors could fill the operator's Prometheus.
"""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from tunnelctl.bounds import DeclaredBound

SECONDS_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of the duration buckets in seconds: fine for short times, which the tunnel itself influences, and coarse
for long ones, which only the upstream can cause."""

STATUS_CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx")

MAX_LABEL_VALUES = 64
"""Maximum distinct values of a label; further values count as `other`. The longest list, the error codes, has about
30."""

BOUNDS = (
    DeclaredBound(
        name="values of a metric's label",
        limit=MAX_LABEL_VALUES,
        unit="values",
        per="relay",
        when_full="further ones count as `other`",
        worst_bytes=6 * MAX_LABEL_VALUES * 300,
        holds=("Metrics.counts",),
    ),
)


@dataclass(frozen=True, slots=True)
class Definition:
    """Name, type and label of one metric, as Prometheus sees it.

    Attributes:
        name: Name without the suffixes (`_total`, `_bucket`, …) that the text format adds.
        label: Name of the metric's only label; "" for none.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    doc: str
    label: str = ""


DEFINITIONS = (
    Definition("tunnelrelay_exchanges", "counter", "Exchanges answered, by class of status.", "status"),
    Definition("tunnelrelay_exchange_seconds", "histogram", "From the request's head to the answer's last byte."),
    Definition("tunnelrelay_received_bytes", "counter", "Bytes from visitors: request bodies, and of tcp connections."),
    Definition("tunnelrelay_sent_bytes", "counter", "Bytes to visitors: response bodies, and of tcp connections."),
    Definition("tunnelrelay_tcp_connections", "counter", "Visitors' tcp connections, by how they ended.", "outcome"),
    Definition("tunnelrelay_errors", "counter", "Answers the relay wrote itself instead of the upstream.", "code"),
    Definition("tunnelrelay_refused_heads", "counter", "Requests refused before routing (bad, large, slow).", "code"),
    Definition("tunnelrelay_logins", "counter", "Visitors' logins, by how they ended.", "outcome"),
    Definition(
        "tunnelrelay_limited",
        "counter",
        "Refusals because a visitor, agent or owner took more than a fair share.",
        "limit",
    ),
    Definition("tunnelrelay_agents", "counter", "Agents' attempts to connect, by how they ended.", "outcome"),
    Definition("tunnelrelay_held_requests", "counter", "Requests that waited for an agent to come back."),
    Definition("tunnelrelay_retried_requests", "counter", "Requests that went on to another tunnel of an endpoint."),
    Definition("tunnelrelay_dropped_log_records", "counter", "Log lines lost because they were not read fast enough."),
    Definition("tunnelrelay_open_visitors", "gauge", "Visitors' connections open now."),
    Definition("tunnelrelay_open_tcp_connections", "gauge", "Visitors' connections to tcp ports, open now."),
    Definition("tunnelrelay_open_links", "gauge", "Agents' links open now."),
    Definition("tunnelrelay_open_streams", "gauge", "Streams open now on all links."),
    Definition("tunnelrelay_open_endpoints", "gauge", "Endpoints served now."),
    Definition("tunnelrelay_open_tunnels", "gauge", "Tunnels there now, one or more for each endpoint."),
    Definition("tunnelrelay_unhealthy_tunnels", "gauge", "Tunnels whose local service does not answer now."),
    Definition("tunnelrelay_waiting_requests", "gauge", "Requests held now for an agent to come back."),
    Definition("tunnelrelay_info", "gauge", "Always 1; the label tells the release.", "version"),
)

GAUGES = frozenset(
    item.name.removeprefix("tunnelrelay_") for item in DEFINITIONS if item.kind == "gauge" and not item.label
)


class Metrics:
    """The current values of all metrics, as plain numbers. Written by the event loop's thread only.

    Attributes:
        status_counts: Exchanges by the first digit of the status; an invalid status counts as 5.
        bucket_counts: Exchanges by duration; one more than `SECONDS_BUCKETS`, as the last bucket has no upper bound.
        counts: Counts by metric name (without prefix), then by label value.
    """

    __slots__ = (
        "_readers",
        "bucket_counts",
        "counts",
        "held_requests",
        "received_bytes",
        "retried_requests",
        "seconds_sum",
        "sent_bytes",
        "status_counts",
    )

    def __init__(self) -> None:
        self.status_counts = [0] * 6
        self.bucket_counts = [0] * (len(SECONDS_BUCKETS) + 1)
        self.seconds_sum = 0.0
        self.received_bytes = 0
        self.sent_bytes = 0
        self.held_requests = 0
        self.retried_requests = 0
        names = ("errors", "refused_heads", "logins", "limited", "agents", "tcp_connections")
        self.counts: dict[str, dict[str, int]] = {name: {} for name in names}
        self._readers: dict[str, Callable[[], float]] = {}

    def exchange(self, status: int, seconds: float, bytes_in: int, bytes_out: int) -> None:
        """Count a finished exchange. Part of the hot path."""
        self.status_counts[status // 100 if 100 <= status < 600 else 5] += 1
        self.bucket_counts[bisect_left(SECONDS_BUCKETS, seconds)] += 1
        self.seconds_sum += seconds
        self.received_bytes += bytes_in
        self.sent_bytes += bytes_out

    def tcp(self, outcome: str, bytes_in: int, bytes_out: int) -> None:
        """Count a finished TCP connection, by its outcome: `ok`, `visitor_gone`, or an error code."""
        self._count("tcp_connections", outcome)
        self.received_bytes += bytes_in
        self.sent_bytes += bytes_out

    def error(self, code: str) -> None:
        """Count an error response of the relay, by its error code."""
        self._count("errors", code)

    def refused_head(self, code: str) -> None:
        """Count a request that was refused before routing, by its error code."""
        self._count("refused_heads", code)

    def login(self, outcome: str) -> None:
        """Count a step of a login: `started`, `ok`, `denied`, `failed` or `logout`."""
        self._count("logins", outcome)

    def agent(self, outcome: str) -> None:
        """Count an agent's attempt to connect: `accepted`, `refused` or `revoked`."""
        self._count("agents", outcome)

    def limited(self, limit: str) -> None:
        """Count a request that was refused to keep shares fair, by the limit: `visitor_connections`, `login_address`
        and others.
        """
        self._count("limited", limit)

    def held(self) -> None:
        """Count a request that has to wait for its agent."""
        self.held_requests += 1

    def retried(self) -> None:
        """Count a request that was sent to another tunnel because the first could not take it."""
        self.retried_requests += 1

    def watch(self, gauge: str, read: Callable[[], float]) -> None:
        """Set the function that returns a gauge's value at each scrape.

        Args:
            gauge: One of `GAUGES`, or `dropped_log_records`.
        """
        if gauge not in GAUGES and gauge != "dropped_log_records":
            raise ValueError(f"no gauge is called {gauge}")
        self._readers[gauge] = read

    def read(self, gauge: str) -> float:
        """Return the current value of a gauge; 0 before `watch` has set its function."""
        reader = self._readers.get(gauge)
        return 0 if reader is None else reader()

    def _count(self, name: str, value: str) -> None:
        counts = self.counts[name]
        if value not in counts and len(counts) >= MAX_LABEL_VALUES:
            value = "other"
        counts[value] = counts.get(value, 0) + 1
