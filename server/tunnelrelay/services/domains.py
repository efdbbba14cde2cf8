"""Reserved host names: kept for their owner whether anybody serves them or not.

The store decides whose a name is, for reservations as for agents' binds (`agents.remember`): one that another owner
holds, or gave up a moment ago, is not to be had. What is said then does not tell whose it is.
"""

from dataclasses import dataclass, replace

from tunnelctl.bounds import DeclaredBound
from tunnelrelay.address import label_problem
from tunnelrelay.agents.names import is_random, random_label
from tunnelrelay.agents.remember import NameKeeper
from tunnelrelay.ids import new_id
from tunnelrelay.services.actor import Access, Actor
from tunnelrelay.services.problems import Kind, ManageError, invalid
from tunnelrelay.services.service_base import ServiceBase, check_texts, page_size
from tunnelrelay.store.resources import DomainRow

AREA = "domains"
WHAT = "domain"
MAX_DOMAINS = 1000
"""Of one owner, with the names that it gave up and that are kept from others until their cool-down is over: to
reserve and release without end takes no more names from others than to keep them."""

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


@dataclass(frozen=True, slots=True)
class Domains:
    """See the module.

    Attributes:
        names: Asks the store for names, and ends what their former owners' visitors had.
    """

    ground: ServiceBase
    names: NameKeeper

    async def reserve(
        self,
        actor: Actor,
        host_or_label: str = "",
        description: str = "",
        metadata: str = "",
        owner: str | None = None,
    ) -> DomainRow:
        """Keeps a name.

        Args:
            host_or_label: One label, or a host one label below the relay's domain; "" for a random one.
            owner: Whose it is to be; None for the actor's own, anybody else only for administrators.

        Raises:
            ManageError: FORBIDDEN, INVALID, CONFLICT when it is not to be had, AWAY.
        """
        ground = self.ground
        ground.authorize(actor, AREA, Access.WRITE)
        whose = ground.owner_for(actor, owner)
        check_texts(description=description, metadata=metadata)
        host = self._host(host_or_label)
        now = ground.clock()
        row = DomainRow(
            id=new_id("domain", now),
            owner=whose,
            created_at=now,
            updated_at=now,
            host=host,
            description=description,
            metadata=metadata,
        )
        with ground.asking():
            if not actor.is_admin:
                await self._check_count(whose, host)
            held = await self.names.reserve(row)
        if held is None or held.owner != whose:
            raise _taken(host)
        ground.record(actor, "domain.reserved", id=row.id, owner=whose, host=host, after=said(row))
        return row

    async def update(
        self, actor: Actor, domain_id: str, *, description: str | None = None, metadata: str | None = None
    ) -> DomainRow:
        """Changes what is given.

        Raises:
            ManageError: FORBIDDEN, MISSING, INVALID, CONFLICT when another user changed it meanwhile; AWAY.
        """
        ground = self.ground
        ground.authorize(actor, AREA, Access.WRITE)
        check_texts(description=description, metadata=metadata)
        with ground.asking():
            before = ground.visible(actor, await ground.store.domains.get(domain_id), WHAT)
            after = replace(
                before,
                description=before.description if description is None else description,
                metadata=before.metadata if metadata is None else metadata,
            )
            after = await ground.written(ground.store.domains, before, after, WHAT)
            if after is before:
                return before
        ground.record(
            actor,
            "domain.updated",
            id=after.id,
            owner=after.owner,
            host=after.host,
            before=said(before),
            after=said(after),
        )
        return after

    async def release(self, actor: Actor, domain_id: str) -> None:
        """Gives a name up: it is kept from other owners for the relay's cool-down.

        The agent that serves it at the moment goes on, and keeps it as an agent's name.

        Raises:
            ManageError: FORBIDDEN, MISSING, CONFLICT while an edge answers there, AWAY.
        """
        ground = self.ground
        ground.authorize(actor, AREA, Access.WRITE)
        with ground.asking():
            row = ground.visible(actor, await ground.store.domains.get(domain_id), WHAT)
            if await ground.store.edges.find(host=row.host) is not None:
                raise ManageError(
                    Kind.CONFLICT, "in_use", f"An edge answers at {row.host}.", "Delete the edge, or move it, first."
                )
            await self.names.give_up_domain(row)
        ground.record(actor, "domain.released", id=row.id, owner=row.owner, host=row.host, before=said(row))

    async def delete(self, actor: Actor, domain_id: str) -> None:
        """The same, as other services call it."""
        await self.release(actor, domain_id)

    async def page(
        self, actor: Actor, *, before: str | None = None, limit: int = 100, owner: str | None = None
    ) -> list[DomainRow]:
        """Domains, the newest first.

        Args:
            owner: Only this one's. A member who asks for another's gets none.
        """
        ground = self.ground
        ground.authorize(actor, AREA, Access.READ)
        if owner is not None and not actor.owns(owner):
            return []
        with ground.asking():
            return await ground.store.domains.page(
                owner=actor.owner_filter(owner), before=before, limit=page_size(limit)
            )

    async def get(self, actor: Actor, domain_id: str) -> DomainRow:
        """One domain.

        Raises:
            ManageError: FORBIDDEN, MISSING, AWAY.
        """
        self.ground.authorize(actor, AREA, Access.READ)
        with self.ground.asking():
            return self.ground.visible(actor, await self.ground.store.domains.get(domain_id), WHAT)

    async def _check_count(self, owner: str, host: str) -> None:
        """Whether this owner may have one more name. Raises `ManageError` CONFLICT."""
        store, since = self.ground.store, self.ground.clock() - self.ground.cool_seconds
        count = len(await store.domains.page(owner=owner, limit=MAX_DOMAINS))
        if count < MAX_DOMAINS:
            cooling = await store.cooling_names(owner, since)
            # A generated one takes a name from no owner; one that is wanted again is no further one.
            count += sum(name != host and not is_random(name.partition(".")[0]) for name in cooling)
        if count >= MAX_DOMAINS:
            days = round(self.ground.cool_seconds / 86_400)
            hint = f"Release counts too: a name you gave up is kept from others for {days} days."
            raise ManageError(Kind.CONFLICT, "too_many", f"An owner has at most {MAX_DOMAINS} domains.", hint)

    def _host(self, wish: str) -> str:
        """The canonical host for the name that a user asks for."""
        address = self.ground.address
        wish = wish.strip().lower().removesuffix(".")
        if not wish:
            return address.host_for_label(random_label())
        label = address.label_of(wish) if "." in wish else wish
        problem = f"{wish[:120]!r} is not one name below {address.domain}" if label is None else label_problem(label)
        if label is None or problem:
            raise invalid({"domain": str(problem)}, f"This relay serves *.{address.domain}.")
        return address.host_for_label(label)


def said(row: DomainRow) -> dict[str, object]:
    """What an audit event tells of a domain."""
    return {"description": row.description, "metadata": row.metadata}


def _taken(host: str) -> ManageError:
    return ManageError(Kind.CONFLICT, "domain_taken", f"{host} is reserved or in use already.", "Choose another name.")
