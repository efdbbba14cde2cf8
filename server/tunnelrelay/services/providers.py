"""Named providers: an OpenID provider that an administrator registers once, and that owners use by name (`@work`).

Owners do not know its client secret, and cannot change the requests to it or how its responses are interpreted. All
endpoints that use it have one redirect URI. `provider_settings.py` defines what administrator and owner may set;
`provider_directory.py` looks providers up.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import msgspec

from tunnelctl.oidc.findings import Finding
from tunnelctl.policy.named import SIGN
from tunnelctl.wire.messages import OidcSpec
from tunnelrelay.agents.authtokens import owner_problem
from tunnelrelay.policy.connections import connection_problems
from tunnelrelay.policy.named_provider import NamedOidc
from tunnelrelay.services.actor import Actor
from tunnelrelay.services.edge_settings import by_field, provider_name
from tunnelrelay.services.edge_sync import EdgeSync
from tunnelrelay.services.problems import Kind, ManageError, changed_meanwhile, invalid
from tunnelrelay.services.provider_directory import may_name, open_secret, seal_secret
from tunnelrelay.services.provider_settings import ProviderSettings, merged, name_problem
from tunnelrelay.services.provider_tests import FailedTest, ProviderTests, redirect_uri
from tunnelrelay.services.resource import Resource, StoredRows, Terms, without_none
from tunnelrelay.services.service_base import ServiceBase
from tunnelrelay.store.resources import EdgeRow, ProviderRow, Uses

MAX_OWNERS = 1000
MAX_SECRET = 4096
"""Maximum characters of a client secret; providers use some dozens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderView:
    """A named provider as API and dashboard show it.

    Attributes:
        row: The stored row, without the encrypted part; for members without the other owners who may use it.
        redirect_uri: Redirect URI to register at the provider, once for all endpoints that use it.
        has_secret: Whether its client secret can be read; if not, endpoints that use it refuse all visitors.
    """

    row: ProviderRow
    settings: ProviderSettings
    redirect_uri: str
    has_secret: bool

    @property
    def id(self) -> str:
        """Id of the provider."""
        return self.row.id


class Providers(Resource[ProviderRow, ProviderView]):
    """Lists, creates, changes, deletes and tests named providers, for the API and the dashboard."""

    terms = Terms(
        area="providers",
        noun="provider",
        kind="provider",
        created="provider.created",
        updated="provider.updated",
        deleted="provider.deleted",
        admin_only=True,
    )

    def __init__(self, base: ServiceBase, sync: EdgeSync, tests: ProviderTests) -> None:
        super().__init__(base, _Providers(base.store.providers, base.clock), self._view)
        self._sync = sync
        self._tests = tests

    async def create(
        self,
        actor: Actor,
        name: str,
        settings: ProviderSettings,
        client_secret: str,
        owners: Iterable[str] = (),
        description: str = "",
        metadata: str = "",
    ) -> ProviderView:
        """Register a provider. Administrators only.

        Args:
            name: Name with or without `@`.
            owners: Owners that may use it; empty for all.

        Raises:
            ManageError: FORBIDDEN, INVALID, CONFLICT when the name is taken, AWAY.
        """
        owner = self._begin(actor, description=description, metadata=metadata)
        name = name.strip().removeprefix(SIGN)
        if problem := name_problem(name):
            raise invalid({"name": problem})
        row = ProviderRow(
            **self._stamp(owner),
            name=name,
            owners=_checked_owners(owners),
            settings=settings.encode(),
            sealed=b"",
            description=description,
            metadata=metadata,
        )
        self._check(row, settings, client_secret)
        row = replace(row, sealed=seal_secret(self.base.ring, row.id, client_secret))
        return await self._add(actor, row, self.base.store.providers.add)

    async def update(
        self,
        actor: Actor,
        provider_id: str,
        *,
        settings: ProviderSettings | None = None,
        client_secret: str | None = None,
        owners: Iterable[str] | None = None,
        description: str | None = None,
        metadata: str | None = None,
        version: int | None = None,
    ) -> ProviderView:
        """Change the given values, and apply them to all endpoints that use the provider before this returns.

        Administrators only.

        Args:
            client_secret: New secret; None keeps the stored one, unless the issuer or the client id changes.
            version: Version that the user saw; None to change any version.

        Raises:
            ManageError: FORBIDDEN, MISSING, INVALID, CONFLICT when another user changed it meanwhile; AWAY.
        """
        self._begin_change(actor, description=description, metadata=metadata)

        def change(before: ProviderRow) -> ProviderRow:
            if version not in (None, before.version):
                raise changed_meanwhile("provider")
            after = replace(
                before,
                **without_none(
                    settings=None if settings is None else settings.encode(),
                    owners=None if owners is None else _checked_owners(owners),
                    description=description,
                    metadata=metadata,
                ),
            )
            return self._with_secret(before, after, client_secret)

        return await self._change(actor, provider_id, change, are_secrets_given=client_secret is not None)

    async def test(
        self, actor: Actor, settings: ProviderSettings, client_secret: str = "", provider_id: str | None = None
    ) -> list[Finding]:
        """Return whether people could log in at a provider; see `edges.Edges.test_provider`. Administrators only.

        Args:
            client_secret: Client secret; "" for the provider's own, if it belongs to the same client.

        Raises:
            ManageError: FORBIDDEN, MISSING, BUSY, AWAY.
        """
        self._authorize(actor)
        whole = await self._tested(actor, settings, client_secret, provider_id)
        return await self._tests.run(actor, whole, owner=actor.owner)

    async def failed_test(
        self, actor: Actor, settings: ProviderSettings, client_secret: str = "", provider_id: str | None = None
    ) -> FailedTest | None:
        """Return the last test of this provider if it failed recently, to warn before it is saved.

        Administrators only.

        Raises:
            ManageError: FORBIDDEN, MISSING, AWAY.
        """
        self._authorize_read(actor, admin_only=True)
        return self._tests.failed(actor.owner, await self._tested(actor, settings, client_secret, provider_id))

    async def _tested(
        self, actor: Actor, settings: ProviderSettings, client_secret: str, provider_id: str | None
    ) -> OidcSpec:
        """Return the login settings for a test of a provider.

        Without a secret, the stored one of the same client is used.
        """
        row = await self._row(actor, provider_id) if provider_id else None
        if row is not None and not client_secret and _same_client(settings_of(row), settings):
            client_secret = open_secret(self.base.ring, row) or ""
        return _whole(settings, row.id if row is not None else "new", client_secret)

    def audit_fields(self, row: ProviderRow) -> Mapping[str, object]:
        settings = settings_of(row)
        # Only the names of request parameters: a value may be a secret, whatever it is called.
        params = [name for name, _ in settings.request_params]
        fields = {"owners": list(row.owners), **super().audit_fields(row)}
        return {**fields, **msgspec.to_builtins(settings), "request_params": params}

    def _about(self, row: ProviderRow) -> Mapping[str, str]:
        return {"name": row.name}

    def _may_see(self, actor: Actor, row: ProviderRow) -> bool:
        return actor.only_owner is None or may_name(row, actor.only_owner)

    async def _page(self, actor: Actor, before: str | None, limit: int, owner: str | None) -> list[ProviderRow]:
        """Return a page of providers. Members get those that their owner may use, whichever owner registered them."""
        found = list[ProviderRow]()
        while len(found) < limit:
            rows = await self.rows.page(owner=owner, before=before, limit=limit)
            found += [row for row in rows if self._may_see(actor, row)]
            if len(rows) < limit:
                break
            before = rows[-1].id
        return found[:limit]

    async def _check_unused(self, row: ProviderRow) -> None:
        users = [edge.host or edge.id for edge in await self.base.store.edges.all() if _names(edge, row)]
        if users:
            others = f" and {len(users) - 1} more" if len(users) > 1 else ""
            raise ManageError(
                Kind.CONFLICT,
                "in_use",
                f"Edges log in by @{row.name}: {users[0]}{others}.",
                "Give them another login first.",
            )

    def _taken(self, row: ProviderRow) -> ManageError:
        return ManageError(Kind.CONFLICT, "name_taken", f"There is a provider @{row.name} already.")

    async def _apply(self, row_id: str) -> None:
        await self._sync.providers_changed()

    def _with_secret(self, before: ProviderRow, after: ProviderRow, new_secret: str | None) -> ProviderRow:
        """Return the changed row, checked and with its secret. Raises `ManageError` INVALID."""
        old, new = settings_of(before), settings_of(after)
        if new_secret is None and not _same_client(old, new):
            raise invalid({"client_secret": "give it again: it was another issuer's or client's"})
        secret = open_secret(self.base.ring, before) if new_secret is None else new_secret
        if secret is None:
            raise invalid({"client_secret": "give it again: the key it was sealed with is gone"})
        self._check(after, new, secret)
        return after if new_secret is None else replace(after, sealed=seal_secret(self.base.ring, after.id, new_secret))

    def _check(self, row: ProviderRow, settings: ProviderSettings, client_secret: str) -> None:
        """Check that logins with these settings can be compiled. Raises `ManageError` INVALID."""
        base, whole = self.base, _whole(settings, row.id, client_secret)
        problems = connection_problems(whole, is_local=base.address.is_local, refuses_issuer=base.refuses_issuer)
        fields = {name.removeprefix("oidc."): problem for name, problem in by_field(problems).items()}
        if settings.callback == "host":
            fields["callback"] = "relay or shared: one for each host would have to be registered for each"
        if len(client_secret) > MAX_SECRET:
            fields["client_secret"] = f"at most {MAX_SECRET} characters"
        if fields:
            raise invalid(fields)

    def _view(self, actor: Actor, row: ProviderRow) -> ProviderView:
        settings = settings_of(row)
        has_secret = open_secret(self.base.ring, row) is not None
        whole = _whole(settings, row.id, "")
        uri = redirect_uri(self.base, whole, owner=row.owner, host="") or ""
        shown = replace(row, sealed=b"", owners=tuple(filter(actor.owns, row.owners)))
        return ProviderView(row=shown, settings=settings, redirect_uri=uri, has_secret=has_secret)


class _Providers(StoredRows[ProviderRow]):
    """The rows of providers. A provider that an edge uses is not deleted."""

    async def drop(self, row: ProviderRow) -> bool:
        uses = Uses("edges", lambda edge: _names(edge, row))
        return await self.collection.delete(row.id, unless=uses) is not None


def settings_of(row: ProviderRow) -> ProviderSettings:
    """Return the row's settings; empty ones for an unreadable row, with which no login works until it is saved
    again.
    """
    try:
        return ProviderSettings.parse(row.settings)
    except msgspec.MsgspecError:
        return ProviderSettings(issuer="", client_id="")


def _whole(settings: ProviderSettings, provider_id: str, client_secret: str) -> NamedOidc:
    spec = OidcSpec(issuer=SIGN, client_id="", client_secret="")
    whole = merged(spec, settings, provider=provider_id, client_secret=client_secret)
    assert isinstance(whole, NamedOidc)  # it has none of the settings that an owner may not give
    return whole


def _same_client(old: ProviderSettings, new: ProviderSettings) -> bool:
    return (old.issuer, old.client_id) == (new.issuer, new.client_id)


def _names(edge: EdgeRow, provider: ProviderRow) -> bool:
    return provider_name(edge.settings) == provider.name


def _checked_owners(owners: Iterable[str]) -> tuple[str, ...]:
    found = tuple(sorted(set(owners)))
    if len(found) > MAX_OWNERS:
        raise invalid({"owners": f"at most {MAX_OWNERS}"})
    for owner in found:
        if problem := owner_problem(owner):
            raise invalid({"owners": f"{owner[:64]!r}: {problem}"})
    return found
