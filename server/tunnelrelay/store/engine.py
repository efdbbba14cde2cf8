"""The base class of the store's parts: short transactions, whose failures become `StoreError`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import Column, ColumnElement, Table, false
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tunnelrelay.store.base import StoreError
from tunnelrelay.store.schema import revisions
from tunnelrelay.store.texts import can_be_kept

BUSY_SECONDS = 5.0
"""Maximum seconds that a statement waits for a lock or a server; afterwards it fails, so that the caller can refuse."""


class Part:
    """The base class of every part of the store.

    Every method of a part is one short transaction with one or two statements, so that relays and commands share the
    database without noticeable waiting.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._is_postgresql = engine.dialect.name == "postgresql"
        # Otherwise a server that vanished would block until TCP gives up. SQLite has its own limit.
        self._limit = BUSY_SECONDS if self._is_postgresql else None

    async def _put(self, table: Table, values: dict[str, Any]) -> None:
        """Insert a row, or overwrite the one with the same primary key."""
        statement = self._insert(table).values(values)
        statement = statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=values)
        async with self._begin() as connection:
            await connection.execute(statement)

    def _insert(self, table: Table) -> sqlite.Insert | postgresql.Insert:
        """Return an INSERT that supports ON CONFLICT, which both databases write in the same way."""
        return postgresql.insert(table) if self._is_postgresql else sqlite.insert(table)

    async def _revised(self, connection: AsyncConnection, kind: str) -> None:
        """Record in the current transaction that a row of a kind has changed."""
        grown = revisions.c.number + 1
        statement = self._insert(revisions).values(kind=kind, number=1)
        await connection.execute(statement.on_conflict_do_update(index_elements=["kind"], set_={"number": grown}))

    @asynccontextmanager
    async def _begin(self, passes: type[SQLAlchemyError] | tuple[()] = ()) -> AsyncIterator[AsyncConnection]:
        """Run one transaction. Errors inside become StoreError, except those in `passes`."""
        try:
            async with asyncio.timeout(self._limit), self._engine.begin() as connection:
                yield connection
        except passes:
            raise
        except (SQLAlchemyError, OSError) as problem:
            raise StoreError(f"the store failed: {error_text(problem)}") from (None if self._is_postgresql else problem)


def error_text(problem: Exception) -> str:
    """Return the error's text without the values of the statement, which PostgreSQL and asyncpg quote."""
    if isinstance(problem, TimeoutError):
        return "the database did not answer in time"
    if isinstance(problem, PoolTimeout):
        return "no connection to the database became free in time"
    if not isinstance(problem, DBAPIError) or problem.orig is None:
        return type(problem).__name__ if isinstance(problem, SQLAlchemyError) else str(problem)
    cause = problem.orig.__cause__
    if cause is None:
        return str(problem.orig)  # without the statement, which `str(problem)` contains
    if getattr(cause, "severity", None) is None or not cause.args:
        return type(cause).__name__  # not the server's text
    return f"{type(cause).__name__}: {cause.args[0]}"


def is_equal(column: Column[Any], value: object) -> ColumnElement[bool]:
    """Return the condition that the column has this value; false for a text that PostgreSQL refuses and no row can
    have.
    """
    return false() if isinstance(value, str) and not can_be_kept(value) else column == value


def below(column: Column[str], text: str) -> ColumnElement[bool]:
    """Return the condition that a text sorts before this one."""
    return column < (text if can_be_kept(text) else text.encode(errors="replace").decode().partition("\0")[0])


def frozen(value: Any) -> Any:
    """Convert lists from JSON back to the tuples they were."""
    return tuple(frozen(item) for item in value) if isinstance(value, list) else value
