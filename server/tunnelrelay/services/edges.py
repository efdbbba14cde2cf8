"""Edges: endpoints that users configure in the store, and that tunnels with matching labels serve.

Every change of an edge is one compare-and-swap in the store, is applied to the running relay before the call returns,
and is audited. Only `set_policy` changes modules. Secrets can be written but not read.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import msgspec

from tunnelctl.bounds import DeclaredBound
from tunnelctl.oidc.findings import Finding
from tunnelctl.policy.check import check_field
from tunnelctl.policy.fields import BY_PATH
from tunnelctl.policy.named import is_named
from tunnelctl.wire.messages import OidcSpec
from tunnelctl.wire.problem import Problem
from tunnelrelay.ids import new_id
from tunnelrelay.policy.compile import PolicyInvalid
from tunnelrelay.services.actor import Actor
from tunnelrelay.services.edge_policy import MAX_OWNERS_BYTES, MAX_SECRETS, Unreadable, size_of
from tunnelrelay.services.edge_settings import (
    HEADERS,
    EdgeSecrets,
    EdgeSettings,
    RouteSettings,
    by_field,
    module_problems,
    provider_name,
    users_of,
    with_values,
    without_secrets,
)
from tunnelrelay.services.edge_sync import EdgeSync
from tunnelrelay.services.edge_views import EdgeView, EdgeViews
from tunnelrelay.services.problems import Kind, ManageError, changed_meanwhile, invalid
from tunnelrelay.services.provider_tests import FailedTest, ProviderTests
from tunnelrelay.services.resource import Quota, Resource, StoredRows, Terms, without_none
from tunnelrelay.services.service_base import ServiceBase
from tunnelrelay.store.resources import DomainRow, EdgeRow, Named

__all__ = ["MAX_EDGES", "Change", "EdgeDraft", "EdgeView", "Edges", "Reserves"]

MAX_EDGES = 1000
"""Maximum edges of one owner, as every relay keeps all of them compiled."""
MAX_TRIES = 5
"""Maximum attempts at a change without an expected version, when other users change the edge meanwhile."""

BOUNDS = (
    DeclaredBound(
        name="edges",
        limit=MAX_EDGES,
        unit="edges",
        per="owner",
        when_full="409 `too_many`",
        worst_bytes=0,
    ),
)

GIVE_AGAIN = "give it again: it was another issuer's or client's"

Change = Callable[[EdgeSettings], EdgeSettings]


class Reserves(Protocol):
    """The method of `domains.Domains` that edges need."""

    async def create(
        self, actor: Actor, host_or_label: str, description: str = "", metadata: str = "", owner: str | None = None
    ) -> DomainRow:
        """Reserve a host name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeDraft:
    """The values of a new edge.

    Attributes:
        host: Host or label, reserved for the owner if it is not reserved yet; None for none.
        owner: Owner of the edge; None for the actor's own. Only administrators may give another one.
        with_route: The edge has its route `/` from the start.
        change: Change that sets its modules, as in `set_policy`; None for none. They are checked before anything is
            written.
        secrets: Secrets of the modules.
        backend_id: Tunnel group that serves it; "" for tunnels with the edge's own label.
    """

    description: str = ""
    metadata: str = ""
    host: str | None = None
    owner: str | None = None
    with_route: bool = True
    change: Change | None = None
    secrets: EdgeSecrets | None = None
    backend_id: str = ""


class Edges(Resource[EdgeRow, EdgeView]):
    """Lists, creates, changes and deletes edges, for the API and the dashboard."""

    terms = Terms(
        area="edges",
        noun="edge",
        kind="edge",
        created="edge.created",
        updated="edge.updated",
        deleted="edge.deleted",
    )
    tries = MAX_TRIES

    def __init__(
        self, base: ServiceBase, sync: EdgeSync, views: EdgeViews, domains: Reserves, tests: ProviderTests
    ) -> None:
        stored = StoredRows(base.store.edges, base.clock, _needs)
        super().__init__(base, stored, lambda actor, row: views.view(row))
        self._stored = stored
        self.views = views
        self._sync = sync
        self._domains = domains
        self._tests = tests

    async def create(self, actor: Actor, new: EdgeDraft) -> EdgeView:
        """Create an edge with its modules. Without modules it is open, and served by tunnels with its own label.

        Either all of it is created or nothing: a refusal leaves neither an edge nor a reserved name.

        Raises:
            ManageError: FORBIDDEN, INVALID, CONFLICT when the host is not available, AWAY.
        """
        owner = self._begin(actor, owner=new.owner, description=new.description, metadata=new.metadata)
        self._quota().check(self._sync.edges_of(owner))  # before anything is compiled or reserved for it
        if new.backend_id:
            await self._check_group(new.backend_id, owner, "backend.backend_id")
        now = self.base.clock()
        route = RouteSettings(id=new_id("route", now), created_at=now) if new.with_route else None
        row = EdgeRow(
            **self._stamp(owner),
            host=None,
            settings=EdgeSettings(route=route).encode(),
            backend_id=new.backend_id,
            description=new.description,
            metadata=new.metadata,
        )
        if new.change is not None:
            row = self._with_policy(row, new.change, new.secrets or EdgeSecrets())
        self._check_size(None, row)
        if new.host:  # last, as a reserved name stays reserved
            row = replace(row, host=await self._host(actor, new.host, owner))
        return await self._add(actor, row, self._stored.add)

    async def update(
        self,
        actor: Actor,
        edge_id: str,
        *,
        description: str | None = None,
        metadata: str | None = None,
        host: str | None = None,
        version: int | None = None,
    ) -> EdgeView:
        """Change the given values of an edge.

        Args:
            host: New host of the edge; "" for none.
            version: Version that the user saw; None to change any version.

        Raises:
            ManageError: FORBIDDEN, MISSING, INVALID, CONFLICT (also when another user changed it meanwhile), AWAY.
        """
        self._begin_change(actor, description=description, metadata=metadata)
        owner = (await self._row(actor, edge_id)).owner
        moved = await self._host(actor, host, owner) if host else None

        def changed(row: EdgeRow) -> EdgeRow:
            row = row if host is None else replace(row, host=moved)
            return replace(row, **without_none(description=description, metadata=metadata))

        return await self._change(actor, edge_id, _of_version(version, changed))

    async def set_policy(
        self,
        actor: Actor,
        edge_id: str,
        change: Change,
        secrets: EdgeSecrets | None = None,
        version: int | None = None,
    ) -> EdgeView:
        """Change the modules of an edge. They apply to the next request, and running exchanges are checked again.

        Args:
            change: Function that computes the new settings from the current ones. Called again when another user
                changed them meanwhile.
            secrets: New secrets; None, or None in it, keeps the stored ones. A client secret is not kept for another
                issuer or client, as it would be sent to an address that its owner did not choose for it.
            version: Version that the user saw; None to change any version.

        Raises:
            ManageError: FORBIDDEN, MISSING, INVALID with all problems, CONFLICT, AWAY.
        """
        self._authorize(actor)

        def changed(row: EdgeRow) -> EdgeRow:
            return self._with_policy(row, change, EdgeSecrets() if secrets is None else secrets)

        return await self._change(actor, edge_id, _of_version(version, changed), are_secrets_given=secrets is not None)

    async def set_backend(
        self, actor: Actor, edge_id: str, backend_id: str | None, version: int | None = None
    ) -> EdgeView:
        """Set which tunnel group serves an edge.

        Args:
            backend_id: A group of the edge's owner; None for tunnels with the label `edge=<its id>`.

        Raises:
            ManageError: FORBIDDEN, MISSING, INVALID when there is no such group, CONFLICT, AWAY.
        """
        self._authorize(actor)
        row = await self._row(actor, edge_id)
        if backend_id:
            await self._check_group(backend_id, row.owner, "backend_id")

        def changed(row: EdgeRow) -> EdgeRow:
            return replace(row, backend_id=backend_id or "")

        return await self._change(actor, edge_id, _of_version(version, changed))

    async def by_name(self, actor: Actor, name: str) -> EdgeView:
        """Return the edge with this id, host or first label of its host.

        Raises:
            ManageError: FORBIDDEN, MISSING, AWAY.
        """
        self._authorize_read(actor)
        lowered = name.strip().lower()
        host = lowered if "." in lowered else self.base.address.host_for_label(lowered)
        edges = self.base.store.edges
        with self.base.store_calls():
            row = await edges.get(lowered) or await edges.find(host=host)
        return self.views.view(self.base.visible(actor, row, "edge"))

    async def redirect_uri(self, actor: Actor, edge_id: str, oidc: OidcSpec) -> str | None:
        """Return the redirect URI to register for a login that is not saved yet; None while it is unknown.

        Raises:
            ManageError: FORBIDDEN, MISSING, AWAY.
        """
        self._authorize_read(actor)
        return self.views.redirect_uri(await self._row(actor, edge_id), oidc)

    async def test_provider(self, actor: Actor, oidc: OidcSpec, edge_id: str | None = None) -> list[Finding]:
        """Return whether people could log in: the findings of `tunnel oidc check`, run on the relay.

        Args:
            oidc: The login to test, also with a named provider. Without a client secret the edge's own is used, if it
                belongs to the same client.
            edge_id: Edge of the login; None without one.

        Raises:
            ManageError: FORBIDDEN, MISSING, BUSY for a user who tests too often, AWAY.
        """
        self._authorize(actor)
        row = await self._row(actor, edge_id) if edge_id else None
        owner = row.owner if row is not None else actor.owner
        if is_named(oidc.issuer):
            found = self.views.policies.resolve(owner, oidc)
            if isinstance(found, Problem):
                fix = "ask the relay's administrator which providers there are for you"
                return [Finding(topic="provider", level="error", found=found.text, fix=fix)]
            oidc = found
        elif row is not None and not oidc.client_secret:
            oidc = msgspec.structs.replace(oidc, client_secret=self.views.kept_for(row, oidc))
        return await self._tests.run(actor, oidc, owner=owner, host=(row.host if row is not None else None) or "")

    async def failed_test(self, actor: Actor, edge_id: str, oidc: OidcSpec) -> FailedTest | None:
        """Return the last test of this login if it failed recently, to warn before the login is saved.

        Args:
            oidc: The login, as for `test_provider`.

        Raises:
            ManageError: FORBIDDEN, MISSING, AWAY.
        """
        self._authorize_read(actor)
        row = await self._row(actor, edge_id)
        if is_named(oidc.issuer):
            return None  # only administrators can repair it
        if not oidc.client_secret:
            oidc = msgspec.structs.replace(oidc, client_secret=self.views.kept_for(row, oidc))
        return self._tests.failed(row.owner, oidc)

    async def _check_group(self, backend_id: str, owner: str, field: str) -> None:
        """Check that this is a tunnel group of the owner. Raises `ManageError` INVALID."""
        with self.base.store_calls():
            group = await self.base.store.backends.get(backend_id)
        if group is None or group.owner != owner:
            raise invalid({field: "there is no such tunnel group"})

    def audit_fields(self, row: EdgeRow) -> Mapping[str, object]:
        return self.views.audit_fields(row)

    def _about(self, row: EdgeRow) -> Mapping[str, str]:
        return {"host": row.host or ""}

    def _more_changes(self, before: EdgeRow, after: EdgeRow) -> Mapping[str, object]:
        return self.views.changed_values(before, after)

    async def _check_needs(self, before: EdgeRow | None, after: EdgeRow) -> None:
        if after.host is not None and (before is None or before.host != after.host):
            domain = await self.base.store.domains.find(host=after.host)
            if domain is None or domain.owner != after.owner:
                raise changed_meanwhile("domain")
        is_other_group = before is None or before.backend_id != after.backend_id
        if after.backend_id and is_other_group and await self.base.store.backends.get(after.backend_id) is None:
            raise changed_meanwhile("tunnel group")
        provider = provider_name(after.settings)
        is_other = before is None or provider_name(before.settings) != provider
        if provider and is_other and await self.base.store.providers.find(name=provider) is None:
            raise changed_meanwhile("provider")

    def _quota(self) -> Quota:
        return Quota(limit=MAX_EDGES, things="edges")

    async def _count(self, row: EdgeRow, limit: int) -> int:
        return self._sync.edges_of(row.owner)

    async def _is_taken(self, row: EdgeRow) -> bool:
        other = await self.base.store.edges.find(host=row.host) if row.host is not None else None
        return other is not None and other.id != row.id

    def _taken(self, row: EdgeRow) -> ManageError:
        return ManageError(Kind.CONFLICT, "host_taken", f"Another edge answers at {row.host}.", "Choose another host.")

    async def _apply(self, row_id: str) -> None:
        await self._sync.edge_changed(row_id)

    def _with_policy(self, row: EdgeRow, change: Change, new_secrets: EdgeSecrets) -> EdgeRow:
        """Return the row with changed modules. Raises `ManageError` INVALID."""
        old, before = self._settings(row), self.views.secrets(row)
        new = change(old)
        kept, fields = with_values(new, old, before)
        new = msgspec.structs.replace(new, policy=without_secrets(new.policy), users=old.users)
        if new.route is None:
            new_secrets = EdgeSecrets(client_secret="", basic_auth=())
        secrets = new_secrets.over(kept).needed_by(new.policy)
        if new_secrets.basic_auth is not None:
            new = msgspec.structs.replace(new, users=users_of(new_secrets.basic_auth))
        fields |= module_problems(new) | by_field(_password_problems(new_secrets.basic_auth or ()))
        if len(msgspec.msgpack.encode(secrets)) > MAX_SECRETS:
            fields["basic_auth"] = f"passwords and headers together have at most {MAX_SECRETS} bytes"
        if new_secrets.client_secret is None and secrets.client_secret and not _same_client(old, new):
            fields |= {"oidc.client_secret": GIVE_AGAIN}
        if not fields.keys() & {"disabled", "policy", *(f"{part}.add" for part in HEADERS)}:
            try:
                self.views.policies.compile(new, secrets, owner=row.owner)
            except PolicyInvalid as error:
                fields = by_field(error.problems) | fields
            except Unreadable:
                fields["basic_auth"] = "give the passwords and headers again: the key they were sealed with is gone"
        if fields:
            raise invalid(fields)
        sealed = row.sealed if secrets == before else self.views.policies.seal(row.id, secrets)
        return replace(row, settings=new.encode(), sealed=sealed)

    def _check_size(self, before: EdgeRow | None, after: EdgeRow) -> None:
        room = MAX_OWNERS_BYTES - self._sync.bytes_of(after.owner, but=after.id)
        if size_of(after) > max(0 if before is None else size_of(before), room):
            raise invalid({"policy": f"all edges of an owner together have at most {MAX_OWNERS_BYTES} bytes"})

    def _settings(self, row: EdgeRow) -> EdgeSettings:
        """Return the settings to change.

        Raises an error for unreadable ones, as a change would lose the rest of them.
        """
        try:
            return self.views.policies.settings(row)
        except Unreadable as error:
            hint = "Delete the edge and make it anew."
            raise ManageError(Kind.CONFLICT, "damaged", "This edge's settings cannot be read.", hint) from error

    async def _host(self, actor: Actor, wish: str, owner: str) -> str:
        """Reserve the host for the owner and return its canonical form."""
        address = self.base.address
        host = wish.strip().lower().removesuffix(".")
        host = host if "." in host else address.host_for_label(host)
        with self.base.store_calls():
            known = await self.base.store.domains.find(host=host)
        if known is not None and known.owner == owner:
            return host
        return (await self._domains.create(actor, host, owner=owner)).host


def _needs(edge: EdgeRow) -> Sequence[Named]:
    """Return the named provider that the edge's login uses; empty without one."""
    provider = provider_name(edge.settings)
    return (Named("providers", "name", provider),) if provider else ()


def _password_problems(pairs: tuple[str, ...]) -> Iterator[Problem]:
    """Yield problems of new passwords. Stored ones may be shorter, from releases without a minimum."""
    return (Problem("basic_auth", text) for text in check_field(BY_PATH["basic_auth"], pairs))


def _same_client(old: EdgeSettings, new: EdgeSettings) -> bool:
    before, after = old.policy.oidc, new.policy.oidc
    if before is None or after is None:
        return False
    return (before.issuer, before.client_id) == (after.issuer, after.client_id)


def _of_version(version: int | None, change: Callable[[EdgeRow], EdgeRow]) -> Callable[[EdgeRow], EdgeRow]:
    """Wrap a change so that it fails if the row's version is not the one that the user saw; None for any version."""

    def changed(row: EdgeRow) -> EdgeRow:
        if version not in (None, row.version):
            raise changed_meanwhile("edge")
        return change(row)

    return changed
