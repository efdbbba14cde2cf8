"""The parts of the relay that every agent session uses, as one record."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from tunnelrelay.address import PublicAddress
from tunnelrelay.agents.name_claims import NameClaims
from tunnelrelay.agents.quotas import OwnerQuotas
from tunnelrelay.agents.tcp_addresses import TcpAddresses
from tunnelrelay.observe.audit import Audit
from tunnelrelay.observe.metrics import Metrics
from tunnelrelay.policy.connections import RefusesIssuer, calls_any
from tunnelrelay.policy.named_provider import Resolve, knows_none
from tunnelrelay.policy.rules import Connection
from tunnelrelay.registry.edges import EdgeTable
from tunnelrelay.registry.registry import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentContext:
    """The parts of the relay that every agent session uses.

    Attributes:
        edges: The edges that tunnels with labels join.
        policy_key: Key of the digests that name a configuration.
        mark_key: Key of the digests that name a tunnel in a visitor's cookie.
        clock: Unix time.
        spawn: Runs what waits for the store, until the relay stops.
        prefetch: Called with every OpenID connection bound; reads its provider's metadata before the first login.
        resolve: Knows the named providers.
        refuses_issuer: Knows which providers this relay calls.
    """

    address: PublicAddress
    registry: Registry
    edges: EdgeTable
    policy_key: bytes = field(repr=False)
    mark_key: bytes = field(repr=False)
    clock: Callable[[], float]
    names: NameClaims
    tcp: TcpAddresses
    quotas: OwnerQuotas
    audit: Audit
    metrics: Metrics
    spawn: Callable[[Coroutine[Any, Any, None]], None]
    prefetch: Callable[[Connection], None]
    resolve: Resolve = knows_none
    refuses_issuer: RefusesIssuer = calls_any
