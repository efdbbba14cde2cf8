"""The service layer of one relay in memory: real services and a real registry, without agents and network.

`managed = Managed()`, then `await managed.services.edges.create(ANN, NewEdge(host="demo"))`. A second one on the same
store, `Managed(store=managed.store, ring=managed.ring)`, acts as another relay.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from tests.support.memory_store import MemoryStore
from tests.support.tunnels import fake_tunnel
from tunnelctl.oidc.findings import Finding, ok
from tunnelrelay.address import PublicAddress
from tunnelrelay.agents.accept import Acceptor
from tunnelrelay.agents.context import AgentContext
from tunnelrelay.agents.name_claims import NameClaims
from tunnelrelay.agents.quotas import OwnerQuotas
from tunnelrelay.agents.tcp_addresses import TcpAddresses
from tunnelrelay.app.wiring import make_services
from tunnelrelay.config.values import PortRange
from tunnelrelay.keys.keyring import KeyRing
from tunnelrelay.observe.audit import Audit, AuditEvent
from tunnelrelay.observe.feed import Feed
from tunnelrelay.observe.metrics import Metrics
from tunnelrelay.observe.traffic import TrafficLog
from tunnelrelay.policy.connections import RefusesIssuer, calls_any
from tunnelrelay.policy.rules import Policy
from tunnelrelay.registry.edges import EdgeTable
from tunnelrelay.registry.registry import Registry
from tunnelrelay.registry.tunnel import Pairs, Tunnel
from tunnelrelay.services.actor import Actor
from tunnelrelay.services.provider_directory import ProviderDirectory
from tunnelrelay.services.service_base import ServiceBase
from tunnelrelay.services.services import Services
from tunnelrelay.store.base import SessionCriteria, Store

COOL_SECONDS = 1000.0
ADDRESS = PublicAddress(scheme="https", domain="tun.example", port=443)


def actor(name: str, owner: str = "", *, is_admin: bool = False, scopes: tuple[str, ...] = ("*",)) -> Actor:
    """Return an `Actor`: a signed-in user, or with `scopes` an API key of the user. The owner defaults to the name."""
    return Actor(
        user_id=f"usr_{name}",
        name=name,
        owner=owner or name,
        is_admin=is_admin,
        via="api",
        scopes=frozenset(scopes),
        peer="203.0.113.9",
        request_id="r-1",
    )


ADMIN = actor("root", "default", is_admin=True)
ANN = actor("ann")
BOB = actor("bob")
"""Two members with different owners, who must not see each other's resources."""

TCP_PORTS = (PortRange(None, 20_001, 20_100),)
"""The TCP ports of the relay to which the services belong. The tests never listen on them."""


class FakeClock:
    """A clock that returns Unix time; only the test moves it, by setting `now`."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class FakeProvider:
    """Replaces the check of an OpenID provider.

    Attributes:
        asked: The arguments of each check.
        gate: When set, checks wait until this event is set.
        findings: The findings that the next check returns.
    """

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []
        self.gate: asyncio.Event | None = None
        self.findings = [ok("discovery", "its discovery document came in 5 ms")]

    async def __call__(
        self, issuer: str, *, client_id: str, client_secret: str, redirect_uri: str, owner: str
    ) -> list[Finding]:
        self.asked.append(
            {
                "issuer": issuer,
                "client_id": client_id,
                "client_secret": client_secret,
                "redirect_uri": redirect_uri,
                "owner": owner,
            }
        )
        if self.gate is not None:
            await self.gate.wait()
        return self.findings


class NoJobs:
    """Replaces the check of CI jobs' ID tokens; knows no trusted issuer."""

    async def judge(self, token: str) -> None:
        return None


class FakeSessions:
    """Replaces `oidc.sessions.Sessions` for the services.

    Attributes:
        heard: How often `apply_revocations` was called.
    """

    def __init__(self) -> None:
        self.heard = 0

    async def apply_revocations(self) -> int:
        self.heard += 1
        return 0


class Managed:
    """The service layer of one relay in memory.

    Args:
        store: The store, which several relays may share; a new one in memory by default.
        ring: The key ring; relays that share a store need the same.
        refuses_issuer: Returns why the relay may not call an issuer; by default it may call all.
    """

    def __init__(
        self,
        *,
        store: Store | None = None,
        ring: KeyRing | None = None,
        clock: Callable[[], float] | None = None,
        address: PublicAddress = ADDRESS,
        refuses_issuer: RefusesIssuer = calls_any,
    ) -> None:
        self.clock = clock or FakeClock()
        self.store: Store = store or MemoryStore()
        self.ring = ring or KeyRing.generate(clock=self.clock)
        self.audit = Audit(clock=self.clock)
        self.registry = Registry(clock=self.clock, monotonic=self.clock)
        self.table = EdgeTable(self.registry)
        self.directory = ProviderDirectory(self.ring)
        self.feed = Feed()
        self.provider = FakeProvider()
        self.sessions = FakeSessions()
        self.base = ServiceBase(
            store=self.store,
            ring=self.ring,
            policy_key=self.ring.digest_key("policy"),
            address=address,
            audit=self.audit,
            clock=self.clock,
            cool_seconds=COOL_SECONDS,
            publish=self.feed.publish,
            refuses_issuer=refuses_issuer,
        )
        self.names = NameClaims(
            self.store,
            self.registry,
            cool_seconds=COOL_SECONDS,
            end_sessions=self._end_sessions,
            audit=self.audit,
            clock=self.clock,
        )
        self.agent_context = self._agent_context(address)
        acceptor = Acceptor(
            self.agent_context,
            self.store,
            NoJobs(),
            needs_tokens=True,
            metrics=self.agent_context.metrics,
            clock=self.clock,
        )
        self.services: Services
        self.services, self.sync = make_services(
            self.base,
            registry=self.registry,
            edges=self.table,
            acceptor=acceptor,
            names=self.names,
            sessions=self.sessions,  # type: ignore[arg-type]  # a fake
            feed=self.feed,
            traffic=TrafficLog(self.clock, self.feed),
            directory=self.directory,
            check=self.provider,
            admin_oidc=None,
            tcp_ports=TCP_PORTS,
        )

    def join(self, owner: str, labels: Pairs, agent: str = "a1") -> Tunnel:
        """Add a tunnel with these labels for an owner's agent, and return it."""
        tunnel = fake_tunnel(owner, agent, labels=labels)
        self.table.join(tunnel)
        return tunnel

    def policy(self, host: str) -> Policy | None:
        """Return the present policy of a host; None when no tunnel serves it."""
        endpoint = self.registry.find(host)
        return endpoint.policy if endpoint is not None else None

    def events(self, kind: str = "") -> list[AuditEvent]:
        """Return the audit events that were recorded since the last call, all or those of one kind."""
        return [event for event in self.audit.take() if event.kind.startswith(kind)]

    def _agent_context(self, address: PublicAddress) -> AgentContext:
        def spawn(work: Any) -> None:
            asyncio.get_running_loop().create_task(work)

        return AgentContext(
            address=address,
            registry=self.registry,
            edges=self.table,
            policy_key=self.ring.digest_key("policy"),
            mark_key=b"m" * 32,
            clock=self.clock,
            names=self.names,
            tcp=TcpAddresses(address=address, registry=self.registry, ranges=(), open=lambda host: True),
            quotas=OwnerQuotas(self.clock),
            audit=self.audit,
            metrics=Metrics(),
            spawn=spawn,
            prefetch=lambda connection: None,
            resolve=self.directory.resolve,
        )

    async def _end_sessions(self, criteria: SessionCriteria) -> int:
        return len(await self.store.end_sessions(criteria, self.clock()))
