"""The composition root: makes every part of a relay and ties them together. What keeps them alive is in `relay.py`.

The order is the order of need: keys and the audit log, then who is signed in, then agents and their names, then the
ingress with the relay's own pages behind it. Nothing runs yet when `assemble` returns.
"""

import socket
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from starlette.types import ASGIApp

from tunnelrelay.address import PublicAddress
from tunnelrelay.agents.accept import Acceptor
from tunnelrelay.agents.context import Desk
from tunnelrelay.agents.health_probes import Probes
from tunnelrelay.agents.name_claims import NameKeeper
from tunnelrelay.agents.quotas import MAX_LINKS, OwnerShares
from tunnelrelay.agents.token_revocation import RevokedTokens
from tunnelrelay.app.control_socket import ControlSocket, Done, OnRestored
from tunnelrelay.app.given import Given
from tunnelrelay.app.management import Running, services_on
from tunnelrelay.app.signing_in import SignIn, sign_in
from tunnelrelay.config.config import KEYS_FILE_NAME
from tunnelrelay.config.doors import Does
from tunnelrelay.dashboard.app import dashboard
from tunnelrelay.dashboard.context import Deps
from tunnelrelay.ingress.asgi_bridge import AsgiBridge
from tunnelrelay.ingress.clear_site_data import ClearSiteData
from tunnelrelay.ingress.files import links_at_once, visitors_at_once
from tunnelrelay.ingress.gate import Gate
from tunnelrelay.ingress.ingress import Ingress
from tunnelrelay.ingress.route import Router
from tunnelrelay.keys.rotation import RelayKeys
from tunnelrelay.observe.audit import Audit
from tunnelrelay.observe.audit_writer import AuditKeeper
from tunnelrelay.observe.feed import Feed
from tunnelrelay.observe.metrics import Metrics
from tunnelrelay.observe.traffic import TrafficLog
from tunnelrelay.oidc.providers.check import ProviderCheck
from tunnelrelay.oidc.providers.prefetch import WarmUps
from tunnelrelay.oidc.providers.provider import Providers
from tunnelrelay.oidc.sessions.sessions import Sessions
from tunnelrelay.policy.rules import Connection
from tunnelrelay.registry.edges import EdgeTable
from tunnelrelay.registry.registry import LOST_SECONDS, Registry
from tunnelrelay.services.edge_sync import EdgeSync
from tunnelrelay.services.provider_directory import ProviderDirectory
from tunnelrelay.services.purge import Purge
from tunnelrelay.services.service_base import ServiceBase
from tunnelrelay.services.services import Services
from tunnelrelay.services.sign_ins import owner_of_admins
from tunnelrelay.web.app import WebApp
from tunnelrelay.web.lazy_app import LazyApp

Work = Callable[[], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What is started, stopped and swept."""

    ingress: Ingress
    registry: Registry
    edges: EdgeTable
    acceptor: Acceptor
    sessions: Sessions
    providers: Providers
    names: NameKeeper
    audit: Audit
    audit_keeper: AuditKeeper
    control: ControlSocket
    keys: RelayKeys
    revoked: RevokedTokens
    feed: Feed
    traffic: TrafficLog
    live: EdgeSync
    services: Services
    check: ProviderCheck
    probes: Probes
    purge: Purge

    def background(self) -> tuple[Work, ...]:
        """What goes on for as long as the relay runs; a piece of it that fails begins anew."""
        return (
            self.revoked.run,
            self.probes.run,
            self.live.run,
            self.sessions.upkeep.run,
            self.names.run,
            self.purge.run,
            self.audit_keeper.run,
            lambda: self.keys.run(self.audit),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ground:
    """What all the others need."""

    keys: RelayKeys
    audit: Audit
    audit_keeper: AuditKeeper
    registry: Registry
    edges: EdgeTable
    catalog: ProviderDirectory
    feed: Feed
    traffic: TrafficLog


async def assemble(given: Given) -> Parts:
    """Every part of a relay, tied together.

    Raises:
        SecretFileError: The keys cannot be read or made.
        StoreError: The names in use, or the edges, cannot be read.
        DashboardLoginError: The operator's own OpenID provider cannot be used.
    """
    ground = await _ground(given)
    signed = sign_in(given, ground.keys, ground.audit, ground.registry)
    names = _names(given, ground, signed)
    acceptor = _acceptor(given, ground, signed, names)
    check = ProviderCheck(given.provider_transport(), given.clock, given.port_rule)
    running = _running(given, ground, signed, names, acceptor)
    services, live = services_on(_base(given, ground), running, ground.catalog, check)
    ingress = _ingress(given, ground, signed, acceptor, services)
    signed.sessions.on_session_end = ingress.session_ended
    parts = Parts(
        ingress=ingress,
        registry=ground.registry,
        edges=ground.edges,
        acceptor=acceptor,
        sessions=signed.sessions,
        providers=signed.providers,
        names=names,
        audit=ground.audit,
        audit_keeper=ground.audit_keeper,
        control=ControlSocket(
            given.config.data_dir,
            acceptor.revoke,
            signed.sessions.hear,
            _about(given),
            _reread(ground, signed, acceptor, live),
        ),
        keys=ground.keys,
        revoked=RevokedTokens(given.store, acceptor, given.clock),
        feed=ground.feed,
        traffic=ground.traffic,
        live=live,
        services=services,
        check=check,
        probes=Probes(ground.registry, now=time.monotonic),
        purge=Purge(given.store, given.clock),
    )
    _watch(given.metrics, parts)
    await live.load()
    return parts


def _about(given: Given) -> Done:
    """What commands on this machine are told of the relay."""
    address = given.address
    return Done(
        dashboard=address.url(address.dashboard_host), owner=owner_of_admins(needs_tokens=given.config.needs_tokens)
    )


def _reread(ground: _Ground, signed: SignIn, acceptor: Acceptor, live: EdgeSync) -> OnRestored:
    """What is done when keys and store were restored: nothing that was known of them counts."""

    async def reread() -> None:
        await ground.keys.step(ground.audit)
        await signed.sessions.reread()
        await acceptor.reread()
        await live.reload()

    return reread


# What all the others need


async def _ground(given: Given) -> _Ground:
    config, address = given.config, given.address
    keys = RelayKeys(
        config.keys_file or config.data_dir / KEYS_FILE_NAME,
        issuer=address.url(address.domain),
        every=config.key_rotation_seconds,
        clock=given.clock,
    )
    registry = Registry(clock=given.clock, monotonic=time.monotonic)
    digest_key = keys.ring.digest_key("audit")
    audit = Audit(clock=given.clock, key=digest_key, node=_node(address), owner_of=registry.owner_of)
    for name in await given.store.names(given.clock() - LOST_SECONDS):
        registry.expect(name.host, name.owner, name.generation)
    feed = Feed()
    keeper = AuditKeeper(audit, given.store, keep_days=config.audit_days, clock=given.clock, publish=feed.publish)
    registry.on_change = lambda owner: feed.publish(f"tunnels:{owner}")
    return _Ground(
        keys=keys,
        audit=audit,
        audit_keeper=keeper,
        registry=registry,
        edges=EdgeTable(registry),
        catalog=ProviderDirectory(keys.ring),
        feed=feed,
        traffic=TrafficLog(given.clock, feed),
    )


def _node(address: PublicAddress) -> str:
    """What tells this relay's audit events from those of another relay on the same store."""
    return f"{socket.gethostname()}:{address.port}"


# Agents and their names


def _names(given: Given, ground: _Ground, sign_in: SignIn) -> NameKeeper:
    return NameKeeper(
        given.store,
        ground.registry,
        cool_seconds=given.config.cool_seconds,
        end_sessions=sign_in.sessions.end_where,
        audit=ground.audit,
        clock=given.clock,
    )


def _acceptor(given: Given, ground: _Ground, sign_in: SignIn, names: NameKeeper) -> Acceptor:
    warm = ground.edges.warm = _warm_ups(given, ground, sign_in).add
    max_links = links_at_once(MAX_LINKS)
    desk = Desk(
        address=given.address,
        registry=ground.registry,
        edges=ground.edges,
        policy_key=ground.keys.ring.digest_key("policy"),
        mark_key=ground.keys.ring.digest_key("balance"),
        clock=given.clock,
        names=names,
        shares=OwnerShares(time.monotonic, max_links=max_links),
        audit=ground.audit,
        metrics=given.metrics,
        spawn=given.spawn,
        warm=warm,
        resolve=ground.catalog.resolve,
        refuses_issuer=given.refuses_issuer,
    )
    needs_tokens = given.config.needs_tokens
    return Acceptor(
        desk, given.store, needs_tokens=needs_tokens, metrics=given.metrics, clock=given.clock, max_links=max_links
    )


def _warm_ups(given: Given, ground: _Ground, sign_in: SignIn) -> WarmUps:
    def is_bound(connection: Connection) -> bool:
        policies = (endpoint.policy for endpoint in ground.registry)
        return any(policy is not None and connection in policy.providers() for policy in policies)

    return WarmUps(sign_in.providers, is_bound=is_bound, spawn=given.spawn)


# What people set up


def _base(given: Given, ground: _Ground) -> ServiceBase:
    return ServiceBase(
        store=given.store,
        ring=ground.keys.ring,
        policy_key=ground.keys.ring.digest_key("policy"),
        address=given.address,
        audit=ground.audit,
        clock=given.clock,
        cool_seconds=given.config.cool_seconds,
        publish=ground.feed.publish,
        refuses_issuer=given.refuses_issuer,
    )


def _running(given: Given, ground: _Ground, sign_in: SignIn, names: NameKeeper, acceptor: Acceptor) -> Running:
    return Running(
        registry=ground.registry,
        edges=ground.edges,
        acceptor=acceptor,
        names=names,
        sessions=sign_in.sessions,
        feed=ground.feed,
        traffic=ground.traffic,
        dashboard=sign_in.dashboard,
        owner_of_admins=owner_of_admins(needs_tokens=given.config.needs_tokens),
    )


# The public side


def _ingress(given: Given, ground: _Ground, sign_in: SignIn, acceptor: Acceptor, services: Services) -> Ingress:
    config, address = given.config, given.address
    redirects = config.doors.plan.plain is Does.REDIRECT
    return Ingress(
        address=address,
        registry=ground.registry,
        router=Router(
            address,
            ground.registry,
            is_token_free=not config.needs_tokens,
            redirects=redirects,
            issuer_ports=given.port_rule.to_info(),
        ),
        gate=_gate(given, ground, sign_in),
        asgi_bridge=AsgiBridge(_web(given, ground, sign_in, services).build(), is_secure=address.is_secure),
        acceptor=acceptor,
        clear_site_data=ClearSiteData(ground.keys.ring.digest_key("handover"), is_secure=address.is_secure),
        access=given.access,
        traffic=ground.traffic,
        metrics=given.metrics,
        hold_seconds=config.hold_seconds,
        idle_seconds=config.idle_seconds,
        visitor_requests=config.visitor_requests,
        max_visitors=visitors_at_once(),
        trusted=config.trusted_proxy,
        redirects=redirects,
        endpoint_hsts_seconds=int(config.endpoint_hsts_seconds),
        audit=ground.audit,
    )


def _gate(given: Given, ground: _Ground, sign_in: SignIn) -> Gate:
    return Gate(
        address=given.address,
        sessions=sign_in.sessions,
        bearers=sign_in.bearers,
        login=sign_in.login,
        metrics=given.metrics,
        clock=given.clock,
        audit=ground.audit,
    )


def _web(given: Given, ground: _Ground, sign_in: SignIn, services: Services) -> WebApp:
    return WebApp(
        address=given.address,
        login=sign_in.login,
        logout=sign_in.logout,
        provider_logout=sign_in.provider_logout,
        endpoints=sign_in.endpoints,
        signer=ground.keys.signer,
        dashboard=dashboard(_dashboard_deps(given, ground, services)),
        api=LazyApp(lambda: _api(services, given.address)),
        count_login=given.metrics.login,
        tell_who=ground.traffic.tell_who,
    )


def _dashboard_deps(given: Given, ground: _Ground, services: Services) -> Deps:
    key = ground.keys.ring.digest_key("dashboard")
    issuer = given.config.dashboard_oidc or ""
    provider = urlsplit(issuer).hostname or ""
    return Deps(
        address=given.address,
        services=services,
        key=key,
        clock=given.clock,
        provider=provider,
        issuer=issuer,
        needs_tokens=given.config.needs_tokens,
    )


def _api(services: Services, address: PublicAddress) -> ASGIApp:
    from tunnelrelay.api.app import build_api

    return build_api(services, address)


def _watch(metrics: Metrics, parts: Parts) -> None:
    metrics.watch("open_visitors", lambda: parts.ingress.visitor_count)
    metrics.watch("open_links", lambda: parts.acceptor.link_count)
    metrics.watch("open_streams", lambda: parts.acceptor.stream_count)
    metrics.watch("open_endpoints", lambda: parts.registry.served_count)
    metrics.watch("open_tunnels", lambda: parts.registry.tunnel_count)
    metrics.watch("unhealthy_tunnels", lambda: parts.registry.unhealthy_count)
    metrics.watch("waiting_requests", lambda: parts.registry.held_count)
