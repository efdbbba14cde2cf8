"""Creates every part of a relay and connects them. Next: `relay.py`, which starts, runs and stops the parts.

`RelayInputs` holds what the parts are created from, `Parts` the parts themselves. `Parts` creates them in the order in
which they need each other: keys and audit log, registry, login, agents, services, and last the ingress with the
relay's own pages behind it. None of them runs before `relay.py` starts it.
"""

import socket
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
from starlette.types import ASGIApp

from tunnelctl.oidc.ports import PortRule
from tunnelrelay.address import PublicAddress
from tunnelrelay.agents.accept import Acceptor
from tunnelrelay.agents.context import AgentContext
from tunnelrelay.agents.health_probes import HealthProbes
from tunnelrelay.agents.name_claims import NameClaims
from tunnelrelay.agents.quotas import MAX_LINKS, OwnerQuotas
from tunnelrelay.agents.tcp_addresses import TcpAddresses
from tunnelrelay.agents.token_revocation import TokenRevocation
from tunnelrelay.app.control_socket import ControlSocket, Done
from tunnelrelay.config.config import KEYS_FILE_NAME, RelayConfig
from tunnelrelay.config.doors import Does
from tunnelrelay.config.values import PortRange
from tunnelrelay.dashboard.app import dashboard
from tunnelrelay.dashboard.context import Deps
from tunnelrelay.ingress.asgi_bridge import AsgiBridge
from tunnelrelay.ingress.clear_site_data import ClearSiteData
from tunnelrelay.ingress.files import links_at_once, visitors_at_once
from tunnelrelay.ingress.gate import Gate
from tunnelrelay.ingress.guesses import Guesses
from tunnelrelay.ingress.ingress import Ingress, IngressSettings
from tunnelrelay.ingress.route import Router
from tunnelrelay.ingress.tcp import TcpPorts
from tunnelrelay.ingress.visitors import known_hosts
from tunnelrelay.keys.rotation import RelayKeys
from tunnelrelay.observe.access import AccessLog
from tunnelrelay.observe.audit import Audit
from tunnelrelay.observe.audit_writer import AuditWriter
from tunnelrelay.observe.feed import Feed
from tunnelrelay.observe.metrics import Metrics
from tunnelrelay.observe.traffic import TrafficLog
from tunnelrelay.oidc.login.limits import LoginLimits
from tunnelrelay.oidc.login.login import Login
from tunnelrelay.oidc.logout.logout import Logout
from tunnelrelay.oidc.logout.provider_logout import ProviderLogout
from tunnelrelay.oidc.providers.check import ProviderCheck
from tunnelrelay.oidc.providers.fetch import Fetcher
from tunnelrelay.oidc.providers.prefetch import Prefetch
from tunnelrelay.oidc.providers.provider import ProviderClient
from tunnelrelay.oidc.providers.ssrf_guard import GuardedTransport, GuardRules, provider_tls
from tunnelrelay.oidc.sessions.access_tokens import AccessTokens
from tunnelrelay.oidc.sessions.job_tokens import JobTokens
from tunnelrelay.oidc.sessions.sessions import Sessions
from tunnelrelay.policy.rules import Connection
from tunnelrelay.policy.trust import TrustRule
from tunnelrelay.registry.edges import EdgeTable
from tunnelrelay.registry.registry import LOST_SECONDS, Registry
from tunnelrelay.services import providers as provider_services
from tunnelrelay.services.addrs import Addrs
from tunnelrelay.services.admin_oidc import AdminOidc
from tunnelrelay.services.api_keys import ApiKeys
from tunnelrelay.services.audit_trail import AuditTrail
from tunnelrelay.services.backends import Backends
from tunnelrelay.services.credentials import Credentials
from tunnelrelay.services.dashboard_login import WithDashboard, dashboard_login
from tunnelrelay.services.domains import Domains
from tunnelrelay.services.edge_policy import EdgePolicies
from tunnelrelay.services.edge_sync import EdgeSync
from tunnelrelay.services.edge_views import EdgeViews
from tunnelrelay.services.edges import Edges
from tunnelrelay.services.logins import Logins
from tunnelrelay.services.provider_directory import ProviderDirectory
from tunnelrelay.services.provider_tests import ChecksProvider, ProviderTests
from tunnelrelay.services.purge import Purge
from tunnelrelay.services.service_base import ServiceBase
from tunnelrelay.services.services import Services
from tunnelrelay.services.sign_ins import SignIns, owner_of_admins
from tunnelrelay.services.traffic import Traffic
from tunnelrelay.services.trust_rules import TrustRules, configured_rules
from tunnelrelay.services.tunnels import Tunnels
from tunnelrelay.services.users import Users
from tunnelrelay.store.base import Store
from tunnelrelay.web.app import WebApp
from tunnelrelay.web.lazy_app import LazyApp

Work = Callable[[], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayInputs:
    """The settings, store, clocks and other values from which `Parts` creates a relay's parts.

    Attributes:
        spawn: Starts a coroutine as a task that no caller waits for; it is cancelled when the relay stops.
        clock: Returns Unix time.
        monotonic: Returns monotonic seconds, for limits and ages.
        transport: Transport of requests to identity providers; None for the network, behind the SSRF guard.
    """

    config: RelayConfig
    address: PublicAddress
    store: Store
    metrics: Metrics
    access: AccessLog
    spawn: Callable[[Coroutine[Any, Any, None]], None]
    clock: Callable[[], float]
    monotonic: Callable[[], float]
    transport: httpx.AsyncBaseTransport | None

    @property
    def guard_rules(self) -> GuardRules:
        """The rules of the SSRF guard: which network addresses of identity providers the relay may call."""
        return GuardRules.of_relay(self.address, self.config.issuer_network, self.config.issuer_port)

    @property
    def port_rule(self) -> PortRule:
        """The rule of which ports of identity providers the relay may call."""
        return self.guard_rules.port_rule if self.transport is None else PortRule()

    def refuses_issuer(self, issuer: str) -> str:
        """Return why the relay may not call this issuer's URL, for the person who set it; "" when it may."""
        return self.guard_rules.issuer_fault(issuer) if self.transport is None else ""

    def provider_transport(self) -> httpx.AsyncBaseTransport:
        """Return a new transport for requests to identity providers.

        Each transport has its own connections, so that checks of settings cannot use up those that logins need.
        """
        return self.transport or GuardedTransport(self.guard_rules, tls=provider_tls(self.config.issuer_ca))


class Parts:
    """All parts of one relay, created and connected by the constructor.

    Raises:
        SecretFileError: The key files cannot be read or created.
        DashboardLoginError: The settings of the dashboard's own OpenID login cannot be used.
        TrustRuleError: A trust rule of the configuration cannot be used.
    """

    def __init__(self, inputs: RelayInputs) -> None:
        self._inputs = inputs
        config, address, store, clock = inputs.config, inputs.address, inputs.store, inputs.clock
        self.keys = RelayKeys(
            config.keys_file or config.data_dir / KEYS_FILE_NAME,
            issuer=address.url(address.domain),
            every=config.key_rotation_seconds,
            clock=clock,
        )
        self.registry = Registry(clock=clock, monotonic=inputs.monotonic)
        self.edges = EdgeTable(self.registry)
        self.audit = Audit(
            clock=clock,
            key=self.keys.ring.digest_key("audit"),
            node=f"{socket.gethostname()}:{address.port}",
            owner_of=self.registry.owner_of,
        )
        self.feed = Feed()
        self.tcp_ports = TcpPorts(
            self.registry,
            where=config.tcp_listen_host,
            hold_seconds=config.hold_seconds,
            most=visitors_at_once(),
        )
        self.registry.on_change = self._tunnels_changed
        self.audit_keeper = AuditWriter(
            self.audit, store, keep_days=config.audit_days, clock=clock, publish=self.feed.publish
        )
        self.traffic = TrafficLog(clock, self.feed)
        self.purge = Purge(store, clock)
        self.probes = HealthProbes(self.registry, now=inputs.monotonic)
        self._make_login()
        self._make_agents()
        self._make_services()
        self.ingress = self.tcp_ports.ingress = self._ingress()
        self.sessions.on_session_end = self.ingress.session_ended
        self.control = ControlSocket(
            config.data_dir, self.acceptor.revoke, self.sessions.apply_revocations, self._about(), self._reread
        )
        self._watch(inputs.metrics)

    async def load(self) -> None:
        """Read the names in use and the edges from the store.

        Raises:
            StoreError: The store cannot be read.
        """
        inputs = self._inputs
        for name in await inputs.store.names(inputs.clock() - LOST_SECONDS):
            self.registry.expect(name.host, name.owner, name.generation)
        await self.edge_sync.load()

    def background(self) -> tuple[Work, ...]:
        """Return the parts' background tasks, which run until the relay stops and are restarted when they fail."""
        return (
            self.revoked.run,
            self.probes.run,
            self.edge_sync.run,
            self.sessions.upkeep.run,
            self.names.run,
            self.purge.run,
            self.audit_keeper.run,
            lambda: self.keys.run(self.audit),
        )

    def _tunnels_changed(self, owner: str) -> None:
        self.feed.publish(f"tunnels:{owner}")
        self.tcp_ports.look_soon()

    # Login and logout

    def _make_login(self) -> None:
        inputs = self._inputs
        address, store, clock, ring = inputs.address, inputs.store, inputs.clock, self.keys.ring
        self._admin_login = dashboard_login(
            inputs.config,
            key=ring.digest_key("policy"),
            is_local=address.is_local,
            refuses_issuer=inputs.refuses_issuer,
        )
        admin_connection = None if self._admin_login is None else self._admin_login.connection
        self._endpoints = WithDashboard(self.registry, address.dashboard_host, admin_connection)
        self.providers = ProviderClient(
            fetcher=Fetcher(inputs.provider_transport()),
            clock=clock,
            monotonic=inputs.monotonic,
            allow_http=address.is_local,
        )
        self.sessions = Sessions(
            address=address,
            ring=ring,
            store=store,
            signer=self.keys.signer,
            clock=clock,
            providers=self.providers,
            audit=self.audit,
        )
        self._login = Login(
            address=address,
            ring=ring,
            sessions=self.sessions,
            providers=self.providers,
            store=store,
            endpoints=self._endpoints,
            clock=clock,
            audit=self.audit,
            limits=LoginLimits(metrics=inputs.metrics, audit=self.audit, monotonic=inputs.monotonic),
            shared_owners=frozenset(inputs.config.shared_callback_owner),
        )

    # Agents

    def _make_agents(self) -> None:
        inputs, ring = self._inputs, self.keys.ring
        self._directory = ProviderDirectory(ring)
        self.names = NameClaims(
            inputs.store,
            self.registry,
            cool_seconds=inputs.config.cool_seconds,
            end_sessions=self.sessions.end_where,
            audit=self.audit,
            clock=inputs.clock,
        )
        prefetch = Prefetch(self.providers, is_bound=self._is_bound, spawn=inputs.spawn)
        self.edges.prefetch = prefetch.add
        max_links = links_at_once(MAX_LINKS)
        context = AgentContext(
            address=inputs.address,
            registry=self.registry,
            edges=self.edges,
            policy_key=ring.digest_key("policy"),
            mark_key=ring.digest_key("balance"),
            clock=inputs.clock,
            names=self.names,
            tcp=TcpAddresses(
                address=inputs.address,
                registry=self.registry,
                ranges=inputs.config.tcp_ports,
                open=self.tcp_ports.open,
            ),
            quotas=OwnerQuotas(inputs.monotonic, max_links=max_links),
            audit=self.audit,
            metrics=inputs.metrics,
            spawn=inputs.spawn,
            prefetch=prefetch.add,
            resolve=self._directory.resolve,
            refuses_issuer=inputs.refuses_issuer,
        )
        self._trust_rules = configured_rules(inputs.config.trust_rule, inputs.address, inputs.refuses_issuer)
        jobs = JobTokens(
            inputs.store,
            self.providers,
            configured=self._trust_rules,
            key=ring.digest_key("policy"),
            refuses_issuer=inputs.refuses_issuer,
            clock=inputs.clock,
        )
        self.acceptor = Acceptor(
            context,
            inputs.store,
            jobs,
            needs_tokens=inputs.config.needs_tokens,
            metrics=inputs.metrics,
            clock=inputs.clock,
            max_links=max_links,
        )
        self.revoked = TokenRevocation(inputs.store, self.acceptor, inputs.clock)

    def _is_bound(self, connection: Connection) -> bool:
        policies = (endpoint.policy for endpoint in self.registry)
        return any(policy is not None and connection in policy.providers() for policy in policies)

    # Services of the API and the dashboard

    def _make_services(self) -> None:
        inputs, ring = self._inputs, self.keys.ring
        base = ServiceBase(
            store=inputs.store,
            ring=ring,
            policy_key=ring.digest_key("policy"),
            address=inputs.address,
            audit=self.audit,
            clock=inputs.clock,
            cool_seconds=inputs.config.cool_seconds,
            publish=self.feed.publish,
            refuses_issuer=inputs.refuses_issuer,
        )
        admin_oidc = None
        if self._admin_login is not None:
            admin_oidc = AdminOidc(
                base=base,
                sessions=self.sessions,
                connection=self._admin_login.connection,
                roles=self._admin_login.roles,
                default_owner=owner_of_admins(needs_tokens=inputs.config.needs_tokens),
            )
        self.check = ProviderCheck(inputs.provider_transport(), inputs.clock, inputs.port_rule)
        self.services, self.edge_sync = make_services(
            base,
            registry=self.registry,
            edges=self.edges,
            acceptor=self.acceptor,
            names=self.names,
            sessions=self.sessions,
            feed=self.feed,
            traffic=self.traffic,
            directory=self._directory,
            check=self.check,
            admin_oidc=admin_oidc,
            tcp_ports=inputs.config.tcp_ports,
            trust_rules=self._trust_rules,
        )

    # Ingress and the relay's own pages

    def _ingress(self) -> Ingress:
        inputs, config, address = self._inputs, self._inputs.config, self._inputs.address
        redirects = config.doors.plan.plain is Does.REDIRECT
        hosts = known_hosts(address)
        return Ingress(
            address=address,
            registry=self.registry,
            hosts=hosts,
            router=Router(
                address,
                self.registry,
                is_token_free=not config.needs_tokens,
                redirects=redirects,
                issuer_ports=inputs.port_rule.to_info(),
            ),
            gate=Gate(
                address=address,
                hosts=hosts,
                sessions=self.sessions,
                bearers=AccessTokens(
                    address=address,
                    providers=self.providers,
                    signer=self.keys.signer,
                    clock=inputs.clock,
                    monotonic=inputs.monotonic,
                    audit=self.audit,
                ),
                login=self._login,
                metrics=inputs.metrics,
                clock=inputs.clock,
                guesses=Guesses(inputs.monotonic),
                audit=self.audit,
            ),
            asgi_bridge=AsgiBridge(self._web().build(), is_secure=address.is_secure),
            acceptor=self.acceptor,
            clear_site_data=ClearSiteData(self.keys.ring.digest_key("handover"), is_secure=address.is_secure),
            access=inputs.access,
            traffic=self.traffic,
            metrics=inputs.metrics,
            settings=IngressSettings(
                hold_seconds=config.hold_seconds,
                idle_seconds=config.idle_seconds,
                visitor_requests=config.visitor_requests,
                max_visitors=visitors_at_once(),
                trusted=config.trusted_proxy,
                redirects=redirects,
                endpoint_hsts_seconds=int(config.endpoint_hsts_seconds),
            ),
            audit=self.audit,
        )

    def _web(self) -> WebApp:
        inputs, address, ring = self._inputs, self._inputs.address, self.keys.ring
        issuer = inputs.config.dashboard_oidc or ""
        return WebApp(
            address=address,
            login=self._login,
            logout=Logout(
                address=address,
                ring=ring,
                sessions=self.sessions,
                providers=self.providers,
                clock=inputs.clock,
                spawn=inputs.spawn,
                audit=self.audit,
            ),
            provider_logout=ProviderLogout(
                providers=self.providers,
                sessions=self.sessions,
                store=inputs.store,
                connections=self._endpoints,
                clock=inputs.clock,
                audit=self.audit,
            ),
            endpoints=self._endpoints,
            signer=self.keys.signer,
            dashboard=dashboard(
                Deps(
                    address=address,
                    services=self.services,
                    key=ring.digest_key("dashboard"),
                    clock=inputs.clock,
                    provider=urlsplit(issuer).hostname or "",
                    issuer=issuer,
                    needs_tokens=inputs.config.needs_tokens,
                )
            ),
            api=LazyApp(self._api),
            count_login=inputs.metrics.login,
            note_sign_in=self.traffic.note_sign_in,
        )

    def _api(self) -> ASGIApp:
        from tunnelrelay.api.app import (
            build_api,  # loaded at the first call, to save memory on relays without API calls
        )

        return build_api(self.services, self._inputs.address)

    # Control socket and metrics

    def _about(self) -> Done:
        """Return the reply to commands on this machine that ask for the dashboard's URL."""
        address = self._inputs.address
        owner = owner_of_admins(needs_tokens=self._inputs.config.needs_tokens)
        return Done(dashboard=address.url(address.dashboard_host), owner=owner)

    async def _reread(self) -> None:
        """Read keys, sessions, tokens and edges again, after a backup has replaced the key files and the store."""
        await self.keys.step(self.audit)
        await self.sessions.reread()
        await self.acceptor.reread()
        await self.edge_sync.reload()

    def _watch(self, metrics: Metrics) -> None:
        metrics.watch("open_visitors", lambda: self.ingress.visitor_count)
        metrics.watch("open_tcp_connections", lambda: self.tcp_ports.connection_count)
        metrics.watch("open_links", lambda: self.acceptor.link_count)
        metrics.watch("open_streams", lambda: self.acceptor.stream_count)
        metrics.watch("open_endpoints", lambda: self.registry.served_count)
        metrics.watch("open_tunnels", lambda: self.registry.tunnel_count)
        metrics.watch("unhealthy_tunnels", lambda: self.registry.unhealthy_count)
        metrics.watch("waiting_requests", lambda: self.registry.held_count)


def make_services(
    base: ServiceBase,
    *,
    registry: Registry,
    edges: EdgeTable,
    acceptor: Acceptor,
    names: NameClaims,
    sessions: Sessions,
    feed: Feed,
    traffic: TrafficLog,
    directory: ProviderDirectory,
    check: ChecksProvider,
    admin_oidc: AdminOidc | None,
    tcp_ports: Sequence[PortRange] = (),
    trust_rules: Sequence[TrustRule] = (),
) -> tuple[Services, EdgeSync]:
    """Create the services behind the API and the dashboard, and the `EdgeSync` that applies their changes to edges.

    No edge is served before `EdgeSync.load`.

    Args:
        check: Tests an identity provider's settings.
        admin_oidc: Signs people in to the dashboard with the operator's own OpenID provider; None without one.
        tcp_ports: Ranges of the ports that owners can reserve.
        trust_rules: The trust rules of the configuration.
    """
    policies = EdgePolicies(base, directory.resolve)
    sync = EdgeSync(base, table=edges, registry=registry, directory=directory, policies=policies)
    views = EdgeViews(base, sync, edges, policies)
    tests = ProviderTests(base, check)
    domains = Domains(base, names)
    api_keys = ApiKeys(base)
    services = Services(
        edges=Edges(base, sync, views, domains, tests),
        backends=Backends(base, sync),
        domains=domains,
        addrs=Addrs(base, names, registry, tcp_ports),
        credentials=Credentials(base, acceptor.revoke, acceptor.reread),
        trust_rules=TrustRules(base, acceptor.reread, trust_rules),
        api_keys=api_keys,
        users=Users(base),
        providers=provider_services.Providers(base, sync, tests),
        sign_ins=SignIns(base, api_keys, oidc=admin_oidc),
        logins=Logins(base, sessions.apply_revocations),
        tunnels=Tunnels(base=base, registry=registry, table=edges, acceptor=acceptor),
        traffic=Traffic(base, traffic, feed),
        audit=AuditTrail(base),
    )
    return services, sync
