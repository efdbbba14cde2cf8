"""The composition root: makes every part of a relay and ties them together. What keeps them alive is in `relay.py`.

The order is the order of need: keys and the audit log, then who is signed in, then agents and their names, then the
ingress with the relay's own pages behind it. Nothing runs yet when `assemble` returns.
"""

import logging
import socket
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import httpx

from tunnelrelay.address import PublicAddress
from tunnelrelay.agents.accept import Acceptor
from tunnelrelay.agents.desk import Desk
from tunnelrelay.agents.remember import NameKeeper
from tunnelrelay.agents.revoked import RevokedTokens
from tunnelrelay.agents.shares import OwnerShares
from tunnelrelay.audit_log import AuditKeeper
from tunnelrelay.config import KEYS_FILE_NAME, RelayConfig
from tunnelrelay.control import ControlSocket
from tunnelrelay.ingress.gate import Gate
from tunnelrelay.ingress.handover import Handover
from tunnelrelay.ingress.ingress import Ingress
from tunnelrelay.ingress.inside import Inside
from tunnelrelay.ingress.route import Router
from tunnelrelay.observe.access import AccessLog
from tunnelrelay.observe.audit import Audit
from tunnelrelay.observe.feed import Feed
from tunnelrelay.observe.metrics import Metrics
from tunnelrelay.observe.traffic import TrafficLog
from tunnelrelay.oidc.bearer import Bearers
from tunnelrelay.oidc.fetch import Fetcher
from tunnelrelay.oidc.guard import GuardedTransport, GuardRules
from tunnelrelay.oidc.login import Login
from tunnelrelay.oidc.login_limits import LoginLimits
from tunnelrelay.oidc.logout import Logout
from tunnelrelay.oidc.provider import Providers
from tunnelrelay.oidc.provider_logout import ProviderLogout
from tunnelrelay.oidc.rotation import RelayKeys
from tunnelrelay.oidc.sessions import Sessions
from tunnelrelay.oidc.warm import WarmUps
from tunnelrelay.policy.rules import Connection
from tunnelrelay.registry.edges import EdgeTable
from tunnelrelay.registry.memory import LOST_SECONDS, Registry
from tunnelrelay.store.base import Store
from tunnelrelay.web.app import WebApp

log = logging.getLogger("tunnelrelay")

Work = Callable[[], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What a relay is made of.

    Attributes:
        spawn: Runs what nobody waits for, until the relay stops.
        clock: Unix time.
        transport: Makes the calls to providers; None for the guarded one.
    """

    config: RelayConfig
    address: PublicAddress
    store: Store
    metrics: Metrics
    access: AccessLog
    spawn: Callable[[Coroutine[Any, Any, None]], None]
    clock: Callable[[], float]
    transport: httpx.AsyncBaseTransport | None


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

    def background(self) -> tuple[Work, ...]:
        """What goes on for as long as the relay runs; a piece of it that fails begins anew."""
        return (
            self.revoked.run,
            self.sessions.upkeep.run,
            self.names.run,
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
    feed: Feed
    traffic: TrafficLog


@dataclass(frozen=True, slots=True, kw_only=True)
class _SignIn:
    """Who is signed in, how they come to be, and how they leave."""

    providers: Providers
    sessions: Sessions
    login: Login
    logout: Logout
    provider_logout: ProviderLogout
    bearers: Bearers


async def assemble(given: Given) -> Parts:
    """Every part of a relay, tied together.

    Raises:
        SecretFileError: The keys cannot be read or made.
        StoreError: The names in use cannot be read.
    """
    ground = await _ground(given)
    sign_in = _sign_in(given, ground)
    names = _names(given, ground, sign_in)
    acceptor = _acceptor(given, ground, sign_in, names)
    ingress = _ingress(given, ground, sign_in, acceptor)
    sign_in.sessions.on_session_end = ingress.session_ended
    parts = Parts(
        ingress=ingress,
        registry=ground.registry,
        edges=ground.edges,
        acceptor=acceptor,
        sessions=sign_in.sessions,
        providers=sign_in.providers,
        names=names,
        audit=ground.audit,
        audit_keeper=ground.audit_keeper,
        control=ControlSocket(given.config.data_dir, acceptor.revoke, sign_in.sessions.hear),
        keys=ground.keys,
        revoked=RevokedTokens(given.store, acceptor, given.clock),
        feed=ground.feed,
        traffic=ground.traffic,
    )
    _watch(given.metrics, parts)
    return parts


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
    keeper = AuditKeeper(audit, given.store, keep_days=config.audit_days, clock=given.clock)
    feed = Feed()
    return _Ground(
        keys=keys,
        audit=audit,
        audit_keeper=keeper,
        registry=registry,
        edges=EdgeTable(registry),
        feed=feed,
        traffic=TrafficLog(given.clock, feed),
    )


def _node(address: PublicAddress) -> str:
    """What tells this relay's audit events from those of another relay on the same store."""
    return f"{socket.gethostname()}:{address.port}"


# Who is signed in


def _sign_in(given: Given, ground: _Ground) -> _SignIn:
    address, keys = given.address, ground.keys
    providers = _providers(given)
    sessions = Sessions(
        address=address,
        ring=keys.ring,
        store=given.store,
        signer=keys.signer,
        clock=given.clock,
        providers=providers,
        audit=ground.audit,
    )
    return _SignIn(
        providers=providers,
        sessions=sessions,
        login=_login(given, ground, providers, sessions),
        logout=_logout(given, ground, providers, sessions),
        provider_logout=ProviderLogout(
            providers=providers,
            sessions=sessions,
            store=given.store,
            connections=ground.registry,
            clock=given.clock,
            audit=ground.audit,
        ),
        bearers=Bearers(
            address=address, providers=providers, signer=keys.signer, clock=given.clock, audit=ground.audit
        ),
    )


def _providers(given: Given) -> Providers:
    address = given.address
    transport = given.transport or GuardedTransport(GuardRules.of_relay(address, given.config.issuer_network))
    fetcher = Fetcher(transport)
    return Providers(fetcher=fetcher, clock=given.clock, monotonic=time.monotonic, allow_http=address.is_local)


def _login(given: Given, ground: _Ground, providers: Providers, sessions: Sessions) -> Login:
    return Login(
        address=given.address,
        ring=ground.keys.ring,
        sessions=sessions,
        providers=providers,
        store=given.store,
        endpoints=ground.registry,
        clock=given.clock,
        audit=ground.audit,
        limits=LoginLimits(metrics=given.metrics, audit=ground.audit, monotonic=time.monotonic),
        shared_owners=frozenset(given.config.shared_callback_owner),
    )


def _logout(given: Given, ground: _Ground, providers: Providers, sessions: Sessions) -> Logout:
    return Logout(
        address=given.address,
        ring=ground.keys.ring,
        sessions=sessions,
        providers=providers,
        clock=given.clock,
        spawn=given.spawn,
        audit=ground.audit,
    )


# Agents and their names


def _names(given: Given, ground: _Ground, sign_in: _SignIn) -> NameKeeper:
    return NameKeeper(
        given.store,
        ground.registry,
        cool_seconds=given.config.cool_seconds,
        end_sessions=sign_in.sessions.end_where,
        audit=ground.audit,
        clock=given.clock,
    )


def _acceptor(given: Given, ground: _Ground, sign_in: _SignIn, names: NameKeeper) -> Acceptor:
    warm = ground.edges.warm = _warm_ups(given, ground, sign_in).add
    desk = Desk(
        address=given.address,
        registry=ground.registry,
        edges=ground.edges,
        policy_key=ground.keys.ring.digest_key("policy"),
        mark_key=ground.keys.ring.digest_key("balance"),
        clock=given.clock,
        names=names,
        shares=OwnerShares(time.monotonic),
        audit=ground.audit,
        metrics=given.metrics,
        spawn=given.spawn,
        warm=warm,
    )
    needs_tokens = given.config.needs_tokens
    return Acceptor(desk, given.store, needs_tokens=needs_tokens, metrics=given.metrics, clock=given.clock)


def _warm_ups(given: Given, ground: _Ground, sign_in: _SignIn) -> WarmUps:
    def is_bound(connection: Connection) -> bool:
        policies = (endpoint.policy for endpoint in ground.registry)
        return any(policy is not None and connection in policy.providers() for policy in policies)

    return WarmUps(sign_in.providers, is_bound=is_bound, spawn=given.spawn)


# The public side


def _ingress(given: Given, ground: _Ground, sign_in: _SignIn, acceptor: Acceptor) -> Ingress:
    config, address = given.config, given.address
    redirects = config.https is not None and config.public_url is None
    return Ingress(
        address=address,
        registry=ground.registry,
        router=Router(address, ground.registry, is_token_free=not config.needs_tokens, redirects=redirects),
        gate=_gate(given, sign_in),
        inside=Inside(_web(given, ground, sign_in).build()),
        acceptor=acceptor,
        handover=Handover(ground.keys.ring.digest_key("handover"), is_secure=address.is_secure),
        access=given.access,
        traffic=ground.traffic,
        metrics=given.metrics,
        hold_seconds=config.hold_seconds,
        idle_seconds=config.idle_seconds,
        visitor_requests=config.visitor_requests,
        trusted=config.trusted_proxy,
        audit=ground.audit,
    )


def _gate(given: Given, sign_in: _SignIn) -> Gate:
    return Gate(
        address=given.address,
        sessions=sign_in.sessions,
        bearers=sign_in.bearers,
        login=sign_in.login,
        metrics=given.metrics,
        clock=given.clock,
    )


def _web(given: Given, ground: _Ground, sign_in: _SignIn) -> WebApp:
    return WebApp(
        address=given.address,
        login=sign_in.login,
        logout=sign_in.logout,
        provider_logout=sign_in.provider_logout,
        endpoints=ground.registry,
        signer=ground.keys.signer,
        count_login=given.metrics.login,
        tell_who=ground.traffic.tell_who,
    )


def _watch(metrics: Metrics, parts: Parts) -> None:
    metrics.watch("open_visitors", lambda: parts.ingress.visitor_count)
    metrics.watch("open_links", lambda: parts.acceptor.link_count)
    metrics.watch("open_streams", lambda: parts.acceptor.stream_count)
    metrics.watch("open_endpoints", lambda: parts.registry.served_count)
    metrics.watch("open_tunnels", lambda: parts.registry.tunnel_count)
    metrics.watch("unhealthy_tunnels", lambda: parts.registry.unhealthy_count)
    metrics.watch("waiting_requests", lambda: parts.registry.held_count)
