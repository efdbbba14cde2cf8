"""The part of the store that keeps which owner holds which host name."""

from collections.abc import Callable, Sequence

from sqlalchemy import delete, exists, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from tunnelrelay.address import TCP
from tunnelrelay.store.base import FREED_AT, MAX_COOLED, MAX_COOLING, NameRow
from tunnelrelay.store.engine import Part, is_equal
from tunnelrelay.store.resources import DomainRow
from tunnelrelay.store.schema import domains, names
from tunnelrelay.store.texts import fitted

PAGE = 500
"""Maximum names that are processed in one transaction."""
TCP_END = TCP[:-1] + chr(ord(TCP[-1]) + 1)
"""The smallest text that sorts after the hosts of all TCP ports."""
_OF_DOMAINS = DomainRow.__dataclass_fields__.keys()


class NamePart(Part):
    """The tables of names and reserved domains. The methods are documented in `base.NameStore`."""

    async def claim_name(
        self, host: str, owner: str, at: float, *, lost_seconds: float, cool_seconds: float
    ) -> NameRow:
        async with self._begin() as connection:
            return await self._claim(connection, host, owner, at, lost_seconds, cool_seconds)

    async def reserve_domain(
        self, row: DomainRow, at: float, *, lost_seconds: float, cool_seconds: float
    ) -> NameRow | None:
        values = {name: getattr(fitted(domains, row), name) for name in _OF_DOMAINS}
        async with self._begin() as connection:
            held = await self._claim(connection, row.host, row.owner, at, lost_seconds, cool_seconds)
            if held.owner != row.owner:
                return held
            added = await connection.execute(self._insert(domains).values(values).on_conflict_do_nothing())
            if added.rowcount != 1:
                await connection.rollback()  # undo the claim, which has changed the name's time
                return None
            await self._revised(connection, domains.name)
        return held

    async def give_up_domain(self, row_id: str, at: float) -> DomainRow | None:
        """Delete a reserved domain and release its name.

        The name's row is locked first, as in `reserve_domain`, so that two relays cannot deadlock."""
        is_it = is_equal(domains.c.id, row_id)
        is_its = exists().where(is_it, domains.c.host == names.c.host, domains.c.owner == names.c.owner)
        async with self._begin() as connection:
            await connection.execute(update(names).where(is_its).values(released_at=at, at=at))
            gone = await connection.execute(delete(domains).where(is_it).returning(*domains.c))
            row = gone.one_or_none()
            if row is None:
                return None
            await self._revised(connection, domains.name)
        return DomainRow(**row._mapping)

    async def _claim(
        self, connection: AsyncConnection, host: str, owner: str, at: float, lost_seconds: float, cool_seconds: float
    ) -> NameRow:
        """Claim a name.

        The comparisons are made in SQL: the first statement locks the name until the end of the transaction in every
        case, so that two relays cannot both read the row before either writes it.
        """
        fitted(names, NameRow(host=host, owner=owner, at=at))
        is_same = names.c.owner == owner
        is_reserved = exists().where(domains.c.host == host, domains.c.owner != owner)
        given_up = names.c.released_at <= at - cool_seconds
        lost = names.c.released_at.is_(None) & (names.c.at <= at - lost_seconds - cool_seconds)
        reserver = func.coalesce(select(domains.c.owner).where(domains.c.host == host).scalar_subquery(), owner)
        claim = self._insert(names).values(host=host, owner=reserver, at=at, generation=1, released_at=None)
        claim = claim.on_conflict_do_update(
            index_elements=[names.c.host],
            set_={"at": at, "released_at": None},
            where=is_same & ~is_reserved,
        )
        change = update(names).where(names.c.host == host, ~is_same, given_up | lost, ~is_reserved)
        change = change.values(owner=owner, at=at, released_at=None, generation=names.c.generation + 1)
        await connection.execute(claim)
        await connection.execute(change)
        row = (await connection.execute(select(names).where(names.c.host == host))).one()
        return NameRow(**row._mapping)

    async def touch_names(self, hosts: Sequence[str], at: float) -> None:
        async with self._begin() as connection:
            await connection.execute(
                update(names).where(names.c.host.in_(hosts), names.c.released_at.is_(None)).values(at=at)
            )

    async def release_name(self, host: str, owner: str, at: float) -> None:
        is_theirs = (names.c.host == host) & (names.c.owner == owner) & names.c.released_at.is_(None)
        async with self._begin() as connection:
            await connection.execute(update(names).where(is_theirs).values(released_at=at))

    async def name(self, host: str) -> NameRow | None:
        async with self._begin() as connection:
            row = (await connection.execute(select(names).where(is_equal(names.c.host, host)))).one_or_none()
        return NameRow(**row._mapping) if row is not None else None

    async def names(self, since: float) -> list[NameRow]:
        query = select(names).where(names.c.at >= since, names.c.released_at.is_(None)).order_by(names.c.host)
        async with self._begin() as connection:
            return [NameRow(**row._mapping) for row in await connection.execute(query)]

    async def all_names(self, owner: str | None = None) -> list[NameRow]:
        query = select(names).order_by(names.c.host)
        query = query if owner is None else query.where(is_equal(names.c.owner, owner))
        async with self._begin() as connection:
            return [NameRow(**row._mapping) for row in await connection.execute(query)]

    async def cooling_names(self, owner: str, since: float, *, unlike: str) -> list[str]:
        is_cooling = is_equal(names.c.owner, owner) & (names.c.released_at > since)
        last = select(names.c.host).where(is_cooling).order_by(names.c.released_at.desc()).limit(MAX_COOLED).subquery()
        meant = ~last.c.host.startswith(TCP) & ~last.c.host.regexp_match(f"^{unlike}")
        async with self._begin() as connection:
            return [row.host for row in await connection.execute(select(last).where(meant).limit(MAX_COOLING))]

    async def cooling_ports(self, owner: str, since: float) -> list[str]:
        is_port = (names.c.host >= TCP) & (names.c.host < TCP_END)
        # Searches by host and not by owner, as the owner may have given up many more names than there are ports.
        query = select(names.c.host).where(is_port, names.c.owner.concat("") == owner, names.c.released_at > since)
        async with self._begin() as connection:
            return [row.host for row in await connection.execute(query)]

    async def free_name(self, host: str) -> NameRow | None:
        async with self._begin() as connection:
            await connection.execute(update(names).where(is_equal(names.c.host, host)).values(released_at=FREED_AT))
            row = (await connection.execute(select(names).where(is_equal(names.c.host, host)))).one_or_none()
        return NameRow(**row._mapping) if row is not None else None

    async def forget_names(self, is_meant: Callable[[str], bool], before: float) -> int:
        """Delete old names in batches, each in its own transaction, so that a new tunnel does not have to wait for all
        of them.
        """
        is_stale = (names.c.at <= before) & (func.coalesce(names.c.released_at, names.c.at) <= before)
        is_stale &= ~exists().where(domains.c.host == names.c.host)
        last, dropped = "", 0
        while True:
            page = select(names.c.host).where(is_stale, names.c.host > last).order_by(names.c.host).limit(PAGE)
            async with self._begin() as connection:
                hosts = [row.host for row in await connection.execute(page)]
                chosen = [host for host in hosts if is_meant(host)]
                gone = await connection.execute(delete(names).where(names.c.host.in_(chosen), is_stale))
            dropped += gone.rowcount
            if len(hosts) < PAGE:
                return dropped
            last = hosts[-1]
