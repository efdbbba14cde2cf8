"""How the store's parts reach their database: one short transaction at a time, every failure a `StoreError`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import Table
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tunnelrelay.store.base import StoreError


class Part:
    """What every part of the store builds on.

    Every method of a part is one short transaction of one statement or two, so that relays and commands share the
    database without waiting for each other noticeably.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def _put(self, table: Table, values: dict[str, Any]) -> None:
        """Inserts a row, or overwrites the one with the same primary key."""
        statement = insert(table).values(values)
        statement = statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=values)
        async with self._begin() as connection:
            await connection.execute(statement)

    @asynccontextmanager
    async def _begin(self) -> AsyncIterator[AsyncConnection]:
        """One transaction; whatever goes wrong inside comes out as StoreError."""
        try:
            async with self._engine.begin() as connection:
                yield connection
        except (SQLAlchemyError, OSError) as problem:
            raise StoreError(f"the store failed: {problem}") from problem
