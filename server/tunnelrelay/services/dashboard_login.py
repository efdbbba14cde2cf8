"""The login of the dashboard's host, which works like that of an endpoint, compiled from the operator's settings.

`admin_oidc.py` decides who may sign in.
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
"""Maximum seconds of a session. Signing in again is only an invisible redirect, and checks every day that the account
still exists."""
RECHECK_SECONDS = 300
"""Seconds between re-checks, where the provider supports them. Shorter than for visitors, as administrators may change
everything: a person who lost the group must lose access soon."""


class DashboardLoginError(Exception):
    """The operator's settings for the dashboard login are invalid; the message is for the operator."""

    hint = "put the settings that begin with `dashboard` right; docs/reference/configuration.md tells what each means"


@dataclass(frozen=True, slots=True, kw_only=True)
class DashboardLogin:
    """The compiled login of the dashboard: the operator's connection and the roles.

    Attributes:
        roles: Rules that map the provider's claims to roles.
    """

    connection: Connection
    roles: Roles


class Guarded(Endpoints, Protocol):
    """Interface to endpoints and to the connections that protect them."""

    def connections(self) -> Iterator[Connection]:
        """Return the connections of all endpoints with a login."""


@dataclass(frozen=True, slots=True)
class WithDashboard:
    """The endpoints plus the dashboard's host, for logins and logouts.

    Attributes:
        host: Host of the dashboard, which no tunnel can have.
        connection: The operator's connection; None if the dashboard has no login by OpenID.
    """

    endpoints: Guarded
    host: str
    connection: Connection | None

    def connection_of(self, host: str) -> Connection | None:
        return self.connection if host == self.host else self.endpoints.connection_of(host)

    def owner_of(self, host: str) -> str:
        return "" if host == self.host else self.endpoints.owner_of(host)

    def generation_of(self, host: str) -> int:
        """The generation of a host. The dashboard's host never changes its owner, so it has only one."""
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
        key: Key of the digests that identify a configuration.
        is_local: The relay serves its own machine only.
        refuses_issuer: Function that decides which providers this relay may call.

    Raises:
        DashboardLoginError: The settings are invalid.
    """
    if settings.dashboard_oidc is None or settings.dashboard_oidc_client_secret is None:
        return None
    spec = OidcSpec(
        issuer=settings.dashboard_oidc,
        client_id=settings.dashboard_oidc_client_id or "",
        client_secret=settings.dashboard_oidc_client_secret.reveal(),
        # The login refuses people without a role on its own page, before a session exists.
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
