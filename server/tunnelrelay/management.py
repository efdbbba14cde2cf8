"""Makes the services behind the API and the dashboard, and ties them to the running relay. Part of `assembly.py`."""

from dataclasses import dataclass

from tunnelrelay.agents.accept import Acceptor
from tunnelrelay.agents.remember import NameKeeper
from tunnelrelay.manage.api_keys import ApiKeys
from tunnelrelay.manage.audit_trail import AuditTrail
from tunnelrelay.manage.backends import Backends
from tunnelrelay.manage.catalog import Catalog
from tunnelrelay.manage.credentials import Credentials
from tunnelrelay.manage.dashboard_login import DashboardLogin
from tunnelrelay.manage.domains import Domains
from tunnelrelay.manage.edge_policy import EdgePolicies
from tunnelrelay.manage.edge_views import EdgeViews
from tunnelrelay.manage.edges import Edges
from tunnelrelay.manage.ground import Ground
from tunnelrelay.manage.live import Live
from tunnelrelay.manage.logins import Logins
from tunnelrelay.manage.operators_oidc import OperatorsOidc
from tunnelrelay.manage.provider_tests import AsksProvider, ProviderTests
from tunnelrelay.manage.providers import Providers
from tunnelrelay.manage.services import Services
from tunnelrelay.manage.sign_ins import SignIns
from tunnelrelay.manage.traffic import Traffic
from tunnelrelay.manage.tunnels import Tunnels
from tunnelrelay.manage.users import Users
from tunnelrelay.observe.feed import Feed
from tunnelrelay.observe.traffic import TrafficLog
from tunnelrelay.oidc.sessions import Sessions
from tunnelrelay.registry.edges import EdgeTable
from tunnelrelay.registry.memory import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """What of the running relay the services act on."""

    registry: Registry
    edges: EdgeTable
    acceptor: Acceptor
    names: NameKeeper
    sessions: Sessions
    feed: Feed
    traffic: TrafficLog
    dashboard: DashboardLogin | None
    owner_of_admins: str


def services_on(ground: Ground, running: Running, catalog: Catalog, ask: AsksProvider) -> tuple[Services, Live]:
    """The services, and what brings their changes to the relay. Nothing is in force before `Live.load`."""
    policies = EdgePolicies(ground, catalog.resolve)
    live = Live(ground, table=running.edges, registry=running.registry, catalog=catalog, policies=policies)
    tests = ProviderTests(ground, ask)
    domains = Domains(ground, running.names)
    keys = ApiKeys(ground)
    services = Services(
        edges=Edges(
            ground=ground,
            live=live,
            views=EdgeViews(ground, live, running.edges, policies),
            domains=domains,
            tests=tests,
        ),
        backends=Backends(ground, live),
        domains=domains,
        credentials=Credentials(ground, running.acceptor.revoke, running.acceptor.reread),
        api_keys=keys,
        users=Users.on(ground),
        providers=Providers(ground=ground, live=live, tests=tests),
        sign_ins=SignIns(ground, keys, oidc=_operators_oidc(ground, running)),
        logins=Logins(ground, running.sessions.hear),
        tunnels=Tunnels(ground=ground, registry=running.registry, table=running.edges, acceptor=running.acceptor),
        traffic=Traffic(ground, running.traffic, running.feed),
        audit=AuditTrail(ground),
    )
    return services, live


def _operators_oidc(ground: Ground, running: Running) -> OperatorsOidc | None:
    if running.dashboard is None:
        return None
    return OperatorsOidc(
        ground=ground,
        sessions=running.sessions,
        connection=running.dashboard.connection,
        roles=running.dashboard.roles,
        default_owner=running.owner_of_admins,
    )
