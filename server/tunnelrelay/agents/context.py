"""`AgentContext`: one record of the relay's parts that every agent session uses."""

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
    """The relay's parts that every agent session uses, such as the registry, the quotas and the audit log.

    Attributes:
        edges: The edges that tunnels with labels join.
        policy_key: HMAC key of the digests that identify a login configuration and its rules.
        mark_key: HMAC key of the digests that identify a tunnel in a visitor's sticky cookie.
        clock: Returns Unix time.
        spawn: Starts a coroutine as a task, which is cancelled when the relay stops.
        prefetch: Called with every OpenID connection bound; reads its provider's metadata before the first login.
        resolve: Finds a named identity provider for a policy that refers to one.
        refuses_issuer: Returns why the relay may not call an issuer's URL.
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
