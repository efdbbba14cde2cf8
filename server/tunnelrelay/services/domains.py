"""Reserved host names, which belong to an owner whether an agent serves them or not.

The store decides who owns a name, for reservations and for agents alike: a name that another owner holds, or gave up
recently, cannot be reserved. The error does not reveal that owner.
"""

from collections.abc import Mapping
from dataclasses import replace

from tunnelctl.bounds import DeclaredBound
from tunnelrelay.address import host_label_problem
from tunnelrelay.agents.host_names import RANDOM_HOST, random_label
from tunnelrelay.agents.name_claims import NameClaims
from tunnelrelay.services.actor import Actor
from tunnelrelay.services.problems import Kind, ManageError, invalid
from tunnelrelay.services.resource import Quota, Resource, StoredRows, Terms, as_it_is, without_none
from tunnelrelay.services.service_base import ServiceBase
from tunnelrelay.store.resources import DomainRow

MAX_DOMAINS = 1000
"""Maximum names of one owner, including released ones until their cool-down is over: otherwise an owner could block
many more names by reserving and releasing them again and again."""

BOUNDS = (
    DeclaredBound(
        name="domains, and names given up that are kept from others",
        limit=MAX_DOMAINS,
        unit="domains",
        per="owner",
        when_full="409 `too_many`",
        worst_bytes=0,
    ),
)


class Domains(Resource[DomainRow, DomainRow]):
    """Lists, reserves, changes and releases host names, for the API and the dashboard.

    Args:
        names: Claims names in the store, and ends the sessions of former owners' visitors.
    """

    terms = Terms(
        area="domains",
        noun="domain",
        kind="domain",
        created="domain.reserved",
        updated="domain.updated",
        deleted="domain.released",
    )

    def __init__(self, base: ServiceBase, names: NameClaims) -> None:
        super().__init__(base, ReservedRows(base, names, "http"), as_it_is)
        self.names = names

    async def create(
        self,
        actor: Actor,
        host_or_label: str = "",
        description: str = "",
        metadata: str = "",
        owner: str | None = None,
    ) -> DomainRow:
        """Reserve a host name.

        Args:
            host_or_label: One label, or a host one label below the relay's domain; "" for a random name.
            owner: Owner of the name; None for the actor's own. Only administrators may give another one.

        Raises:
            ManageError: FORBIDDEN, INVALID, CONFLICT when the name is not available, AWAY.
        """
        new_owner = self._begin(actor, owner=owner, description=description, metadata=metadata)
        host = self._host(host_or_label)
        row = DomainRow(**self._stamp(new_owner), host=host, description=description, metadata=metadata)
        return await self._add(actor, row, self._reserve)

    async def update(
        self, actor: Actor, domain_id: str, *, description: str | None = None, metadata: str | None = None
    ) -> DomainRow:
        """Change the given values of a reservation.

        Raises:
            ManageError: FORBIDDEN, MISSING, INVALID, CONFLICT when another user changed it meanwhile; AWAY.
        """
        self._begin_change(actor, description=description, metadata=metadata)
        texts = without_none(description=description, metadata=metadata)
        return await self._change(actor, domain_id, lambda row: replace(row, **texts))

    def _about(self, row: DomainRow) -> Mapping[str, str]:
        return {"host": row.host}

    def _quota(self) -> Quota:
        days = round(self.base.cool_seconds / 86_400)
        hint = f"Release counts too: a name you gave up is kept from others for {days} days."
        return Quota(limit=MAX_DOMAINS, things="domains", hint=hint, spares_admins=True)

    async def _count(self, row: DomainRow, limit: int) -> int:
        count = await super()._count(row, limit)
        if count < limit:
            # Generated names do not count, nor does a name that the owner reserves again.
            since = self.base.clock() - self.base.cool_seconds
            cooling = await self.base.store.cooling_names(row.owner, since, unlike=RANDOM_HOST)
            count += sum(name != row.host for name in cooling)
        return count

    async def _check_unused(self, row: DomainRow) -> None:
        if await self.base.store.edges.find(host=row.host) is not None:
            raise ManageError(
                Kind.CONFLICT, "in_use", f"An edge answers at {row.host}.", "Delete the edge, or move it, first."
            )

    def _taken(self, row: DomainRow) -> ManageError:
        text = f"{row.host} is reserved or in use already."
        return ManageError(Kind.CONFLICT, "domain_taken", text, "Choose another name.")

    async def _reserve(self, row: DomainRow) -> bool:
        held = await self.names.reserve(row)
        return held is not None and held.owner == row.owner

    def _host(self, wish: str) -> str:
        """Return the canonical host for the name that a user asks for."""
        address = self.base.address
        wish = wish.strip().lower().removesuffix(".")
        if not wish:
            return address.host_for_label(random_label())
        label = address.label_of(wish) if "." in wish else wish
        problem = (
            f"{wish[:120]!r} is not one name below {address.domain}" if label is None else host_label_problem(label)
        )
        if label is None or problem:
            raise invalid({"domain": str(problem)}, f"This relay serves *.{address.domain}.")
        return address.host_for_label(label)


class ReservedRows(StoredRows[DomainRow]):
    """The rows of reserved names of one kind. A deleted name has a cool-down before other owners can have it.

    An agent that serves a deleted name continues, and keeps it as a claimed name.

    Args:
        proto: Kind of the rows: `http` or `tcp`, as in `DomainRow`.
    """

    def __init__(self, base: ServiceBase, names: NameClaims, proto: str) -> None:
        super().__init__(base.store.domains, base.clock)
        self._names = names
        self._proto = proto

    async def get(self, row_id: str) -> DomainRow | None:
        row = await super().get(row_id)
        return row if row is not None and row.proto == self._proto else None

    async def page(self, *, owner: str | None, before: str | None, limit: int, **equal: object) -> list[DomainRow]:
        return await super().page(owner=owner, before=before, limit=limit, proto=self._proto, **equal)

    async def drop(self, row: DomainRow) -> bool:
        await self._names.give_up_domain(row)
        return True
