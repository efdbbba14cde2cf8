"""Views of edges for API and dashboard: without secrets, with live data of the running relay."""

from dataclasses import dataclass, replace

from tunnelctl.policy.named import is_named
from tunnelctl.wire.messages import OidcSpec
from tunnelctl.wire.problem import Problem
from tunnelrelay.registry.edges import EdgeTable
from tunnelrelay.services.edge_policy import EdgePolicies, Unreadable
from tunnelrelay.services.edge_settings import (
    EdgeSecrets,
    EdgeSettings,
    StoredSecrets,
    changed_values,
    stored_secrets_of,
    summary,
)
from tunnelrelay.services.edge_sync import EdgeSync
from tunnelrelay.services.provider_tests import redirect_uri
from tunnelrelay.services.service_base import ServiceBase
from tunnelrelay.store.resources import EdgeRow


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeView:
    """An edge as API and dashboard show it.

    Attributes:
        row: The stored row, without the encrypted part.
        url: URL of the edge; "" without a host.
        redirect_uri: Redirect URI to register at its provider; None without a login.
        online: How many tunnels of this relay serve it now.
        stored_secrets: Which secrets it has.
        problem: Why it refuses all visitors now; "" when it does not.
    """

    row: EdgeRow
    settings: EdgeSettings
    url: str
    redirect_uri: str | None
    online: int
    stored_secrets: StoredSecrets
    problem: str = ""

    @property
    def id(self) -> str:
        """Id of the edge."""
        return self.row.id


@dataclass(frozen=True, slots=True)
class EdgeViews:
    """Creates the views of edges that services return."""

    base: ServiceBase
    sync: EdgeSync
    table: EdgeTable
    policies: EdgePolicies

    def view(self, row: EdgeRow) -> EdgeView:
        """Return the current view of an edge."""
        settings = self.settings(row)
        return EdgeView(
            row=replace(row, sealed=b""),
            settings=settings,
            url=self.base.address.url(row.host) if row.host is not None else "",
            redirect_uri=self.redirect_uri(row, settings.policy.oidc),
            online=self.table.online(row.id),
            stored_secrets=self._stored_secrets(row, settings),
            problem=self.sync.problem_of(row.id),
        )

    def settings(self, row: EdgeRow) -> EdgeSettings:
        """Return the settings in an edge's row; empty ones for an unreadable row (which refuses all visitors)."""
        try:
            return self.policies.settings(row)
        except Unreadable:
            return EdgeSettings()

    def secrets(self, row: EdgeRow) -> EdgeSecrets:
        """Return the secrets in an edge's row, which must never be shown; empty when their key is gone."""
        try:
            return self.policies.open(row)
        except Unreadable:
            return EdgeSecrets()

    def audit_fields(self, row: EdgeRow) -> dict[str, object]:
        """Return the fields of an edge for audit events, without secrets."""
        settings = self.settings(row)
        fields = {"description": row.description, "metadata": row.metadata, "host": row.host, "backend": row.backend_id}
        return fields | summary(settings, self._stored_secrets(row, settings))

    def changed_values(self, before: EdgeRow, after: EdgeRow) -> dict[str, object]:
        """Return which header fields of an edge have a new value."""
        return dict(changed_values(self.secrets(before), self.secrets(after), self.settings(after)))

    def redirect_uri(self, row: EdgeRow, oidc: OidcSpec | None) -> str | None:
        """Return the redirect URI to register for a login of this edge; None while it is unknown."""
        if oidc is None:
            return None
        whole = self.policies.resolve(row.owner, oidc) if is_named(oidc.issuer) else oidc
        if isinstance(whole, Problem):
            return None
        return redirect_uri(self.base, whole, owner=row.owner, host=row.host or "")

    def kept_for(self, row: EdgeRow, oidc: OidcSpec) -> str:
        """Return the edge's client secret if it belongs to this client at this issuer, else ""."""
        kept = self.settings(row).policy.oidc
        is_same = kept is not None and (kept.issuer, kept.client_id) == (oidc.issuer, oidc.client_id)
        return (self.secrets(row).client_secret or "") if is_same else ""

    def _stored_secrets(self, row: EdgeRow, settings: EdgeSettings) -> StoredSecrets:
        return stored_secrets_of(settings, self.secrets(row))
