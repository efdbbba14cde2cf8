"""Stores the rows of one kind of resource in an SQL table."""

from dataclasses import fields
from typing import Any, Generic

from sqlalchemy import Row as SqlRow
from sqlalchemy import Table, delete, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from tunnelrelay.store.engine import Part, below, frozen, is_equal
from tunnelrelay.store.resources import R
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

    async def add(self, row: R) -> bool:
        statement = self._insert(self._table).values(self._values(row)).on_conflict_do_nothing()
        async with self._begin() as connection:
            is_new = (await connection.execute(statement)).rowcount == 1
            if is_new:
                await self._revised(connection, self._table.name)
        return is_new

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

    async def replace(self, row: R) -> bool:
        is_it = is_equal(self._table.c.id, row.id) & (self._table.c.version == row.version - 1)
        try:
            async with self._begin(passes=IntegrityError) as connection:
                done = await connection.execute(update(self._table).where(is_it).values(self._values(row)))
                if done.rowcount == 1:
                    await self._revised(connection, self._table.name)
        except IntegrityError:
            return False
        return done.rowcount == 1

    async def touch(self, row_id: str, column: str, at: float) -> None:
        time = self._table.c[column]
        is_older = is_equal(self._table.c.id, row_id) & or_(time.is_(None), time < at)
        async with self._begin() as connection:
            await connection.execute(update(self._table).where(is_older).values({column: at}))

    async def delete(self, row_id: str, *, version: int | None = None) -> R | None:
        equal: dict[str, object] = {"id": row_id} if version is None else {"id": row_id, "version": version}
        gone = await self.delete_where(**equal)
        return gone[0] if gone else None

    async def delete_where(self, **equal: object) -> list[R]:
        if not equal:
            raise ValueError("everything would be deleted")
        statement = delete(self._table).where(*self._matches(equal)).returning(*self._table.c)
        async with self._begin() as connection:
            gone = [self._row(row) for row in await connection.execute(statement)]
            if gone:
                await self._revised(connection, self._table.name)
        return gone

    def _matches(self, equal: dict[str, object]) -> list[Any]:
        return [is_equal(self._table.c[name], value) for name, value in equal.items()]

    def _values(self, row: R) -> dict[str, Any]:
        kept = fitted(self._table, row)
        return {name: getattr(kept, name) for name in self._names}

    def _row(self, row: SqlRow[Any]) -> R:
        return self._made_of(**{name: frozen(getattr(row, name)) for name in self._names})
