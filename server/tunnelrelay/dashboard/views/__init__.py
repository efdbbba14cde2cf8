"""The dashboard's areas, one module each. `AREAS` lists them; the docstring of `dashboard` tells how to add one."""

from collections.abc import Callable

from starlette.routing import Route

from tunnelrelay.dashboard.context import Deps
from tunnelrelay.dashboard.views import (
    account,
    addrs,
    api_keys,
    audit,
    credentials,
    domains,
    edge,
    edge_modules,
    edge_oidc,
    edge_setup,
    edges,
    endpoints,
    logins,
    overview,
    providers,
    traffic,
    trust_rules,
    tunnels,
    users,
)

AREAS: tuple[Callable[[Deps], list[Route]], ...] = (
    overview.routes,
    traffic.routes,
    edges.routes,
    edge.routes,
    edge_oidc.routes,
    edge_modules.routes,
    edge_setup.routes,
    endpoints.routes,
    tunnels.routes,
    account.routes,
    domains.routes,
    addrs.routes,
    logins.routes,
    providers.routes,
    credentials.routes,
    trust_rules.routes,
    api_keys.routes,
    users.routes,
    audit.routes,
)
"""For each area, the function that returns its routes."""
