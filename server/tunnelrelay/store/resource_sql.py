"""Stores the rows of one kind of resource in an SQL table."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Generic

from sqlalchemy import Row as SqlRow
from sqlalchemy import Table, delete, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tunnelrelay.store.engine import Part, below, frozen, is_equal
from tunnelrelay.store.resources import COLLECTIONS, Named, R, Uses
from tunnelrelay.store.texts import fitted


class SqlCollection(Part, Generic[R]):
    """A `resources.Collection` in one table.

    Args:
        made_of: The class of the rows.
    """

    def __init__(self, engine: AsyncEngine, table: Table, made_of: type[R]) -> None:
        super().__init__(engine)
        self._table = table
        self._made_of = made_of
        self._names = tuple(field.name for field in fields(made_of))

    async def add(self, row: R, *, needs: Sequence[Named] = ()) -> bool:
        statement = self._insert(self._table).values(self._values(row)).on_conflict_do_nothing()
        async with self._begin() as connection:
            if (await connection.execute(statement)).rowcount != 1:
                return False
            return await self._finished(connection, needs)

    async def get(self, row_id: str) -> R | None:
        return await self.find(id=row_id)

    async def find(self, **equal: object) -> R | None:
        async with self._begin() as connection:
            row = (await connection.execute(select(self._table).where(*self._matches(equal)))).one_or_none()
        return None if row is None else self._row(row)

    async def page(
        self, *, owner: str | None = None, before: str | None = None, limit: int = 100, **equal: object
    ) -> list[R]:
        ids = self._table.c.id
        query = select(self._table).where(*self._matches(equal)).order_by(ids.desc()).limit(limit)
        query = query if owner is None else query.where(is_equal(self._table.c.owner, owner))
        query = query if before is None else query.where(below(ids, before))
        async with self._begin() as connection:
            return [self._row(row) for row in await connection.execute(query)]

    async def all(self, **equal: object) -> list[R]:
        query = select(self._table).where(*self._matches(equal)).order_by(self._table.c.id)
        async with self._begin() as connection:
            return [self._row(row) for row in await connection.execute(query)]

    async def replace(self, row: R, *, needs: Sequence[Named] = ()) -> bool:
        is_it = is_equal(self._table.c.id, row.id) & (self._table.c.version == row.version - 1)
        try:
            async with self._begin(passes=IntegrityError) as connection:
                done = await connection.execute(update(self._table).where(is_it).values(self._values(row)))
                return done.rowcount == 1 and await self._finished(connection, needs)
        except IntegrityError:
            return False

    async def touch(self, row_id: str, column: str, at: float) -> None:
        time = self._table.c[column]
        is_older = is_equal(self._table.c.id, row_id) & or_(time.is_(None), time < at)
        async with self._begin() as connection:
            await connection.execute(update(self._table).where(is_older).values({column: at}))

    async def delete(
        self,
        row_id: str,
        *,
        version: int | None = None,
        along: Sequence[Named] = (),
        unless: Uses | None = None,
    ) -> R | None:
        """Delete a row and return it, as described in `Collection.delete`.

        The row is deleted before uses are looked for: the deletion waits for the transactions that write a use of it,
        and later ones wait for this one (see `_finished`). So no use is overlooked.
        """
        equal: dict[str, object] = {"id": row_id} if version is None else {"id": row_id, "version": version}
        async with self._begin() as connection:
            gone = await self._delete(connection, equal)
            if not gone:
                return None
            if unless is not None and await self._is_used(connection, unless):
                await connection.rollback()
                return None
            for named in along:
                table = self._table.metadata.tables[named.kind]
                of_them = is_equal(table.c[named.column], named.value)
                if (await connection.execute(delete(table).where(of_them))).rowcount:
                    await self._revised(connection, named.kind)
        return gone[0]

    async def delete_where(self, **equal: object) -> list[R]:
        if not equal:
            raise ValueError("everything would be deleted")
        async with self._begin() as connection:
            return await self._delete(connection, equal)

    async def _delete(self, connection: AsyncConnection, equal: dict[str, object]) -> list[R]:
        statement = delete(self._table).where(*self._matches(equal)).returning(*self._table.c)
        gone = [self._row(row) for row in await connection.execute(statement)]
        if gone:
            await self._revised(connection, self._table.name)
        return gone

    async def _finished(self, connection: AsyncConnection, needs: Sequence[Named]) -> bool:
        """Increment the revision for the row that was written; roll back and return False if a needed row is missing.

        Needed rows cannot be deleted until the transaction ends: on PostgreSQL they are locked, and on SQLite this
        transaction is the file's only writer since it wrote the row.
        """
        for named in needs:
            column = self._table.metadata.tables[named.kind].c[named.column]
            query = select(column).where(is_equal(column, named.value)).with_for_update(read=True, key_share=True)
            if (await connection.execute(query)).first() is None:
                await connection.rollback()
                return False
        await self._revised(connection, self._table.name)
        return True

    async def _is_used(self, connection: AsyncConnection, uses: Uses) -> bool:
        """Return whether any row of another kind uses the deleted row."""
        rows = await connection.execute(select(self._table.metadata.tables[uses.kind]))
        made_of = dict(COLLECTIONS)[uses.kind]
        return any(uses.is_use(_made(made_of, row)) for row in rows)

    def _matches(self, equal: dict[str, object]) -> list[Any]:
        return [is_equal(self._table.c[name], value) for name, value in equal.items()]

    def _values(self, row: R) -> dict[str, Any]:
        kept = fitted(self._table, row)
        return {name: getattr(kept, name) for name in self._names}

    def _row(self, row: SqlRow[Any]) -> R:
        return _made(self._made_of, row)


def _made(made_of: type[R], row: SqlRow[Any]) -> R:
    """Return the resource in a row of its table."""
    return made_of(**{field.name: frozen(getattr(row, field.name)) for field in fields(made_of)})
