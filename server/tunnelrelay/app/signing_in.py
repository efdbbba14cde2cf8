"""Makes the parts that know who is signed in, how they come to be, and how they leave. Part of `assembly.py`."""

import time
from dataclasses import dataclass

from tunnelrelay.app.given import Given
from tunnelrelay.keys.rotation import RelayKeys
from tunnelrelay.observe.audit import Audit
from tunnelrelay.oidc.login.limits import LoginLimits
from tunnelrelay.oidc.login.login import Login
from tunnelrelay.oidc.logout.logout import Logout
from tunnelrelay.oidc.logout.provider_logout import ProviderLogout
from tunnelrelay.oidc.providers.fetch import Fetcher
from tunnelrelay.oidc.providers.provider import Providers
from tunnelrelay.oidc.sessions.access_tokens import Bearers
from tunnelrelay.oidc.sessions.sessions import Sessions
from tunnelrelay.registry.registry import Registry
from tunnelrelay.services.dashboard_login import DashboardLogin, WithDashboard, dashboard_login


@dataclass(frozen=True, slots=True, kw_only=True)
class SignIn:
    """Who is signed in, how they come to be, and how they leave."""

    providers: Providers
    sessions: Sessions
    login: Login
    logout: Logout
    provider_logout: ProviderLogout
    bearers: Bearers
    endpoints: WithDashboard
    dashboard: DashboardLogin | None


def sign_in(given: Given, keys: RelayKeys, audit: Audit, registry: Registry) -> SignIn:
    """The parts, tied together. Nothing runs yet.

    Raises:
        DashboardLoginError: The operator's own provider cannot be used.
    """
    address = given.address
    dashboard = dashboard_login(
        given.config,
        key=keys.ring.digest_key("policy"),
        is_local=address.is_local,
        refuses_issuer=given.refuses_issuer,
    )
    endpoints = WithDashboard(registry, address.dashboard_host, None if dashboard is None else dashboard.connection)
    providers = _providers(given)
    sessions = Sessions(
        address=address,
        ring=keys.ring,
        store=given.store,
        signer=keys.signer,
        clock=given.clock,
        providers=providers,
        audit=audit,
    )
    return SignIn(
        providers=providers,
        sessions=sessions,
        login=_login(given, keys, audit, endpoints, providers, sessions),
        logout=_logout(given, keys, audit, providers, sessions),
        provider_logout=ProviderLogout(
            providers=providers,
            sessions=sessions,
            store=given.store,
            connections=endpoints,
            clock=given.clock,
            audit=audit,
        ),
        bearers=Bearers(address=address, providers=providers, signer=keys.signer, clock=given.clock, audit=audit),
        endpoints=endpoints,
        dashboard=dashboard,
    )


def _providers(given: Given) -> Providers:
    fetcher = Fetcher(given.provider_transport())
    return Providers(fetcher=fetcher, clock=given.clock, monotonic=time.monotonic, allow_http=given.address.is_local)


def _login(
    given: Given, keys: RelayKeys, audit: Audit, endpoints: WithDashboard, providers: Providers, sessions: Sessions
) -> Login:
    return Login(
        address=given.address,
        ring=keys.ring,
        sessions=sessions,
        providers=providers,
        store=given.store,
        endpoints=endpoints,
        clock=given.clock,
        audit=audit,
        limits=LoginLimits(metrics=given.metrics, audit=audit, monotonic=time.monotonic),
        shared_owners=frozenset(given.config.shared_callback_owner),
    )


def _logout(given: Given, keys: RelayKeys, audit: Audit, providers: Providers, sessions: Sessions) -> Logout:
    return Logout(
        address=given.address,
        ring=keys.ring,
        sessions=sessions,
        providers=providers,
        clock=given.clock,
        spawn=given.spawn,
        audit=audit,
    )
