"""The JSON of the local API for a tunnel and for the session, in ngrok's format. Does no I/O."""

import hashlib
from typing import Any
from urllib.parse import quote, urlsplit

from tunnelctl.agent.agent import Agent
from tunnelctl.agent.metrics import MeterReading
from tunnelctl.agent.status import SessionState
from tunnelctl.localapi.listing import Entry

NANOSECONDS = 1_000_000_000
_QUANTILES = ("p50", "p90", "p95", "p99")
_RATES = ("rate1", "rate5", "rate15")


def tunnel_view(entry: Entry, *, collection: str, instance: str, now: float) -> dict[str, Any]:
    """Return the JSON of a tunnel, with the members that ngrok has in both `tunnels` and `endpoints`.

    Args:
        collection: `tunnels` or `endpoints`.
        instance: Instance id of the agent.
        now: Time from `time.monotonic`.
    """
    tunnel = entry.tunnel
    id_ = hashlib.sha256(f"{instance} {tunnel.number} {entry.name}".encode()).hexdigest()[:32]
    upstream = upstream_of(entry)
    view: dict[str, Any] = {
        "name": entry.name,
        "ID": id_,
        "id": id_,
        "uri": f"/api/{collection}/{quote(entry.name, safe='')}",
        "public_url": entry.url,
        "url": entry.url,
        "proto": entry.proto,
        "config": {"addr": upstream, "inspect": tunnel.is_inspected},
        "upstream": {"url": upstream},
        "inspect": tunnel.is_inspected,
        "pooling_enabled": tunnel.config.pooling,
        "metrics": {
            "conns": _reading(tunnel.connections(now), has_gauge=True),
            "http": _reading(tunnel.http_requests(now), has_gauge=False),
        },
    }
    if tunnel.config.description:
        view["description"] = tunnel.config.description
    if tunnel.config.metadata:
        view["metadata"] = tunnel.config.metadata
    return view


def upstream_of(entry: Entry) -> str:
    """Return the address of the local service: `http://localhost:80`, or `localhost:22` for TCP."""
    address = entry.tunnel.config.upstream
    return address.authority if address.scheme == "tcp" else address.url


def status_view(agent: Agent, version: str) -> dict[str, Any]:
    """Return the JSON of the session with the relay."""
    status = agent.status
    legs = []
    if status.state is SessionState.ONLINE:
        latency = "" if status.round_trip is None else f"{status.round_trip * 1000:.0f}ms"
        legs.append({"region": urlsplit(status.relay).hostname or "", "latency": latency})
    return {
        "status": status.state.value,
        "agent_version": version,
        "session": {"legs": legs},
        "uri": "/api/status",
    }


def _reading(reading: MeterReading, *, has_gauge: bool) -> dict[str, Any]:
    """Return the JSON of a meter's reading, with durations in nanoseconds."""
    view: dict[str, Any] = {"count": reading.count}
    if has_gauge:
        view["gauge"] = reading.gauge
    view |= {name: getattr(reading, name) for name in _RATES}
    view |= {name: round(getattr(reading, name) * NANOSECONDS) for name in _QUANTILES}
    return view
