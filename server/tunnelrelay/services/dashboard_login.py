"""The dashboard's host as an endpoint with a login, from the operator's settings. `admin_oidc.py` decides who may sign
in.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from tunnelctl.wire.messages import OidcSpec
from tunnelctl.wire.problem import Problem, joined
from tunnelrelay.config.dashboard import DashboardSettings
from tunnelrelay.oidc.login.callback import Endpoints
from tunnelrelay.policy.connections import RefusesIssuer, calls_any, compile_connection, connection_problems
from tunnelrelay.policy.rules import Connection
from tunnelrelay.services.admin_oidc import OWNER, Roles

IDLE_SECONDS = 12 * 3600
MAX_SECONDS = 24 * 3600
"""Signing in again costs a redirect that nobody sees; every day it shows that the account is still there."""
RECHECK_SECONDS = 300
"""How long somebody who lost the group may go on, where the provider can be asked again at all: shorter than for
visitors, because administrators may change everything."""


class DashboardLoginError(Exception):
    """The settings cannot be used; the text is for the operator."""

    hint = "put the settings that begin with `dashboard` right; docs/reference/configuration.md tells what each means"


@dataclass(frozen=True, slots=True, kw_only=True)
class DashboardLogin:
    """The operator's provider.

    Attributes:
        roles: How its claims give roles.
    """

    connection: Connection
    roles: Roles


class Guarded(Endpoints, Protocol):
    """Endpoints with the connections that guard them."""

    def connections(self) -> Iterator[Connection]:
        """One for each endpoint with a login."""


@dataclass(frozen=True, slots=True)
class WithDashboard:
    """Endpoints with the dashboard's host among them, as logins and logouts see them.

    Attributes:
        host: The dashboard's, which no tunnel can take.
        connection: The operator's connection; None without one, so without a login.
    """

    endpoints: Guarded
    host: str
    connection: Connection | None

    def connection_of(self, host: str) -> Connection | None:
        return self.connection if host == self.host else self.endpoints.connection_of(host)

    def owner_of(self, host: str) -> str:
        return "" if host == self.host else self.endpoints.owner_of(host)

    def generation_of(self, host: str) -> int:
        """The dashboard's host never changes hands, so it has one generation."""
        return 1 if host == self.host else self.endpoints.generation_of(host)

    def connections(self) -> Iterator[Connection]:
        yield from self.endpoints.connections()
        if self.connection is not None:
            yield self.connection


def dashboard_login(
    settings: DashboardSettings, *, key: bytes, is_local: bool, refuses_issuer: RefusesIssuer = calls_any
) -> DashboardLogin | None:
    """Compile the operator's provider from the settings; None without one.

    Args:
        key: Of the digests that name a configuration.
        is_local: The relay serves its own machine only.
        refuses_issuer: Knows which providers this relay calls.

    Raises:
        DashboardLoginError: The settings are invalid.
    """
    if settings.dashboard_oidc is None or settings.dashboard_oidc_client_secret is None:
        return None
    spec = OidcSpec(
        issuer=settings.dashboard_oidc,
        client_id=settings.dashboard_oidc_client_id or "",
        client_secret=settings.dashboard_oidc_client_secret.reveal(),
        # The login refuses people without a role, on its own page, before there is a session.
        allow_groups=(*settings.dashboard_admin, *settings.dashboard_member),
        groups_claim=settings.dashboard_role_claim,
        idle_seconds=IDLE_SECONDS,
        max_seconds=MAX_SECONDS,
        recheck_seconds=RECHECK_SECONDS,
    )
    problems: list[Problem] = []
    if not spec.allow_groups:
        problems.append(Problem("oidc.allow_groups", "no value of the role claim lets anybody in"))
    problems += connection_problems(spec, is_local=is_local, refuses_issuer=refuses_issuer)
    if problems:
        raise DashboardLoginError("the dashboard's OpenID provider: " + joined(problems))
    roles = Roles(
        admins=frozenset(settings.dashboard_admin),
        members=frozenset(settings.dashboard_member),
        owner_claim=settings.dashboard_owner_claim or "",
    )
    return DashboardLogin(connection=compile_connection(spec, owner=OWNER, key=key), roles=roles)
