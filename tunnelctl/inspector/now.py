"""Creates the JSON of the agent's current state, for the inspector's pages. Reads the agent; does no I/O."""

from dataclasses import asdict
from typing import Any

from tunnelctl.agent.agent import Agent
from tunnelctl.agent.config import AgentConfig
from tunnelctl.agent.metrics import MeterReading
from tunnelctl.agent.tunnel import AgentTunnel
from tunnelctl.look.charts import requests_chart, times_chart
from tunnelctl.series import Series


def now_view(agent: Agent, series: Series, *, version: str, clock: float, wall: float) -> dict[str, Any]:
    """Return the state of the session and the tunnels, and the charts. Times are in seconds.

    Args:
        series: The counts of the requests that the tunnels served.
        version: Version of the agent.
        clock: Time from `time.monotonic`.
        wall: The current Unix time.
    """
    status, figures = agent.status, series.last_minutes(wall)
    return {
        "state": status.state.value,
        "reason": status.reason,
        "relay": status.relay,
        "owner": status.owner,
        "latency": status.round_trip,
        "version": version,
        "at": wall,
        "options": _options(agent.config),
        "tunnels": [_tunnel(tunnel, clock) for tunnel in agent.tunnels.values()],
        "charts": [asdict(requests_chart(figures)), asdict(times_chart(figures))],
    }


def _tunnel(tunnel: AgentTunnel, clock: float) -> dict[str, Any]:
    config = tunnel.config
    return {
        "name": tunnel.name,
        "state": tunnel.state.value,
        "urls": list(tunnel.urls),
        "upstream": config.upstream.url,
        "problem": tunnel.upstream.problem or "",
        "let_in": config.who_may_visit,
        "is_tcp": config.is_tcp,
        "is_inspected": tunnel.is_inspected,
        "description": config.description,
        "metadata": config.metadata,
        "started_at": tunnel.started_at,
        "connections": _reading(tunnel.connections(clock)),
        "requests": _reading(tunnel.http_requests(clock)),
    }


def _reading(reading: MeterReading) -> dict[str, float]:
    return asdict(reading)


def _options(config: AgentConfig) -> list[tuple[str, str]]:
    """Return the settings of the agent as names and values for display. They contain no secret."""
    return [
        ("Relay", f"{config.relay.url}, {f'from {config.relay_from}' if config.relay_from else 'the default'}"),
        ("Way to the relay", f"through the proxy {config.proxy.url}" if config.proxy is not None else "direct"),
        (
            "Relay's certificate",
            f"signed by one of {config.relay_ca}" if config.relay_ca else "as the system trusts it",
        ),
        ("Authtoken", "given" if config.token else "none"),
        ("On stop", f"waits {config.drain_seconds:g} s for requests in flight"),
    ]
