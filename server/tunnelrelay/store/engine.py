"""How the store's parts reach their database: one short transaction at a time, every failure a `StoreError`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tunnelrelay.store.base import StoreError
from tunnelrelay.store.schema import revisions


class Part:
    """What every part of the store builds on.

    Every method of a part is one short transaction of one statement or two, so that relays and commands share the
    database without waiting for each other noticeably.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def _put(self, table: Table, values: dict[str, Any]) -> None:
        """Inserts a row, or overwrites the one with the same primary key."""
        statement = self._insert(table).values(values)
        statement = statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=values)
        async with self._begin() as connection:
            await connection.execute(statement)

    def _insert(self, table: Table) -> sqlite.Insert | postgresql.Insert:
        """An INSERT that may say what to do about a conflict; both databases spell it alike."""
        return postgresql.insert(table) if self._engine.dialect.name == "postgresql" else sqlite.insert(table)

    async def _revised(self, connection: AsyncConnection, kind: str) -> None:
        """Notes, in the transaction that did it, that something of a kind has changed."""
        grown = revisions.c.number + 1
        statement = self._insert(revisions).values(kind=kind, number=1)
        await connection.execute(statement.on_conflict_do_update(index_elements=["kind"], set_={"number": grown}))

    @asynccontextmanager
    async def _begin(self, passes: type[SQLAlchemyError] | tuple[()] = ()) -> AsyncIterator[AsyncConnection]:
        """One transaction; whatever goes wrong inside comes out as StoreError, but for what `passes`."""
        try:
            async with self._engine.begin() as connection:
                yield connection
        except passes:
            raise
        except (SQLAlchemyError, OSError) as problem:
            raise StoreError(f"the store failed: {problem}") from problem


def frozen(value: Any) -> Any:
    """JSON lists as the tuples they were."""
    return tuple(frozen(item) for item in value) if isinstance(value, list) else value
