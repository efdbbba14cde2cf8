"""Adds edges to a relay that runs in this process, without writing them to the store."""

from typing import Any

from tunnelrelay.app.relay import Relay
from tunnelrelay.policy.rules import Policy
from tunnelrelay.registry.edges import LiveEdge
from tunnelrelay.registry.tunnel import Tunnel

EDGE_ID = "edghts_1"


def put_edge(relay: Relay, name: str = "shop", edge_id: str = EDGE_ID, **more: Any) -> LiveEdge:
    """Add an edge at the host of `name` to a relay that requires no tokens; tunnels with the edge's label serve it.

    Args:
        more: Further fields of `LiveEdge`.
    """
    settings: dict[str, Any] = {"owner": "local", "policy": Policy(), "labels": (("edge", edge_id),), **more}
    edge = LiveEdge(id=edge_id, host=relay.address.host_for_label(name), **settings)
    relay.parts.edges.put(edge)
    return edge


def tunnels_of(relay: Relay, edge: LiveEdge) -> tuple[Tunnel, ...]:
    """Return the tunnels that serve an edge now."""
    assert edge.host is not None
    endpoint = relay.registry.find(edge.host)
    assert endpoint is not None
    return endpoint.tunnels
