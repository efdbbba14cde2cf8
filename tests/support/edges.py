"""Edges on a relay that runs in this process, put there without a store."""

from typing import Any

from tunnelrelay.app.relay import Relay
from tunnelrelay.policy.rules import Policy
from tunnelrelay.registry.edges import LiveEdge
from tunnelrelay.registry.tunnel import Tunnel

EDGE_ID = "edghts_1"


def put_edge(relay: Relay, name: str = "shop", edge_id: str = EDGE_ID, **more: Any) -> LiveEdge:
    """An edge of `owner` (the owner of a relay that asks for no tokens) at `name`, served by tunnels of its own label.

    Args:
        more: Fields of `LiveEdge`.
    """
    settings: dict[str, Any] = {"owner": "local", "policy": Policy(), "labels": (("edge", edge_id),), **more}
    edge = LiveEdge(id=edge_id, host=relay.address.host_for_label(name), **settings)
    relay.parts.edges.put(edge)
    return edge


def tunnels_of(relay: Relay, edge: LiveEdge) -> tuple[Tunnel, ...]:
    """Who serves it now."""
    assert edge.host is not None
    endpoint = relay.registry.find(edge.host)
    assert endpoint is not None
    return endpoint.tunnels
