"""Makes the services behind the API and the dashboard, and ties them to the running relay. Part of `assembly.py`."""

from dataclasses import dataclass

from tunnelrelay.agents.accept import Acceptor
from tunnelrelay.agents.name_claims import NameKeeper
from tunnelrelay.observe.feed import Feed
from tunnelrelay.observe.traffic import TrafficLog
from tunnelrelay.oidc.sessions.sessions import Sessions
from tunnelrelay.registry.edges import EdgeTable
from tunnelrelay.registry.registry import Registry
from tunnelrelay.services.admin_oidc import AdminOidc
from tunnelrelay.services.api_keys import ApiKeys
from tunnelrelay.services.audit_trail import AuditTrail
from tunnelrelay.services.backends import Backends
from tunnelrelay.services.credentials import Credentials
from tunnelrelay.services.dashboard_login import DashboardLogin
from tunnelrelay.services.domains import Domains
from tunnelrelay.services.edge_policy import EdgePolicies
from tunnelrelay.services.edge_sync import EdgeSync
from tunnelrelay.services.edge_views import EdgeViews
from tunnelrelay.services.edges import Edges
from tunnelrelay.services.logins import Logins
from tunnelrelay.services.provider_directory import ProviderDirectory
from tunnelrelay.services.provider_tests import AsksProvider, ProviderTests
from tunnelrelay.services.providers import Providers
from tunnelrelay.services.service_base import ServiceBase
from tunnelrelay.services.services import Services
from tunnelrelay.services.sign_ins import SignIns
from tunnelrelay.services.traffic import Traffic
from tunnelrelay.services.tunnels import Tunnels
from tunnelrelay.services.users import Users


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


def services_on(
    ground: ServiceBase, running: Running, catalog: ProviderDirectory, ask: AsksProvider
) -> tuple[Services, EdgeSync]:
    """The services, and what brings their changes to the relay. Nothing is in force before `EdgeSync.load`."""
    policies = EdgePolicies(ground, catalog.resolve)
    live = EdgeSync(ground, table=running.edges, registry=running.registry, catalog=catalog, policies=policies)
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
        users=Users(ground),
        providers=Providers(ground=ground, live=live, tests=tests),
        sign_ins=SignIns(ground, keys, oidc=_operators_oidc(ground, running)),
        logins=Logins(ground, running.sessions.hear),
        tunnels=Tunnels(ground=ground, registry=running.registry, table=running.edges, acceptor=running.acceptor),
        traffic=Traffic(ground, running.traffic, running.feed),
        audit=AuditTrail(ground),
    )
    return services, live


def _operators_oidc(ground: ServiceBase, running: Running) -> AdminOidc | None:
    if running.dashboard is None:
        return None
    return AdminOidc(
        ground=ground,
        sessions=running.sessions,
        connection=running.dashboard.connection,
        roles=running.dashboard.roles,
        default_owner=running.owner_of_admins,
    )
