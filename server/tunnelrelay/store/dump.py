"""Exports a whole store as lines of JSON, in one snapshot, and replaces a store's content by such lines.

A line is one row. Its format does not depend on the database. `cli/archive.py` writes the archive that contains the
lines.
"""

import base64
import binascii
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Float,
    Integer,
    LargeBinary,
    String,
    Table,
    delete,
    func,
    literal,
    select,
    text,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from tunnelrelay.store import schema
from tunnelrelay.store.base import StoreError, UnstorableError
from tunnelrelay.store.engine import error_text
from tunnelrelay.store.resources import COLLECTIONS
from tunnelrelay.store.sql_store import SqlStore
from tunnelrelay.store.texts import fitted_text

TABLES: tuple[Table, ...] = tuple(schema.metadata.sorted_tables)
AT_ONCE = 500
"""Maximum rows that are read or written at once; no more are in memory."""

_MADE_OF: tuple[tuple[type, tuple[type, ...]], ...] = (
    (String, (str,)),
    (Integer, (int,)),
    (Float, (float, int)),
    (JSON, (list,)),
)


class RowError(Exception):
    """A line is not a valid row of its table."""


class Snapshot:
    """All rows at one moment, unaffected by later writes. Created by `snapshot`."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def lines(self, table: Table) -> AsyncIterator[bytes]:
        """Yield the rows of a table, each as a line with its line end."""
        result = await self._connection.stream(select(table))
        async for some in result.partitions(AT_ONCE):
            for row in some:
                yield msgspec.json.encode(dict(row._mapping)) + b"\n"


@asynccontextmanager
async def snapshot(store: SqlStore) -> AsyncIterator[Snapshot]:
    """Take a snapshot of a store. Raises StoreError when it cannot be read."""
    try:
        async with store.engine.connect() as connection:
            if store.engine.dialect.name == "postgresql":
                options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
                connection = await connection.execution_options(**options)
            else:
                await connection.exec_driver_sql("BEGIN")  # the driver would begin only with the first write
            yield Snapshot(connection)
    except (SQLAlchemyError, OSError) as problem:
        raise StoreError(f"the store failed: {error_text(problem)}") from None


def parse(table: Table, line: bytes) -> dict[str, Any]:
    """Parse a line to a row, with texts cut as every store cuts them.

    Raises:
        RowError: The line is not a row of this table, or one that not every database can store.
    """
    try:
        told_row = msgspec.json.decode(line, type=dict[str, Any])
    except msgspec.MsgspecError as problem:
        raise RowError(f"a row of `{table}` cannot be read") from problem
    if set(told_row) != set(table.c.keys()):
        raise RowError(f"a row of `{table}` has not the columns of this table")
    return {column.name: _value(column, told_row[column.name]) for column in table.c}


async def replace_all(store: SqlStore, rows: Iterable[tuple[Table, dict[str, Any]]], at: float) -> None:
    """Replace all rows in one transaction, for which writes of relays wait.

    To relays, sessions that disappear count as ended, and all kinds of rows as changed.

    Args:
        rows: The new rows; those of one table follow each other.
        at: Unix time.

    Raises:
        StoreError: Writing failed. After this, or an exception of `rows`, the store is unchanged.
    """
    try:
        async with store.engine.begin() as connection:
            await _lock(connection)
            numbers = {row.kind: row.number for row in await connection.execute(select(schema.revisions))}
            await connection.execute(delete(schema.ended))
            was_signed_in = select(schema.sessions.c.key, literal(at))
            await connection.execute(schema.ended.insert().from_select(["key", "at"], was_signed_in))
            for table in TABLES:
                if table is not schema.ended:
                    await connection.execute(delete(table))
            await _insert_all(connection, rows)
            await _tell_of_changes(connection, numbers)
    except (SQLAlchemyError, OSError) as problem:
        raise StoreError(f"the store failed, nothing was changed: {error_text(problem)}") from None


async def _lock(connection: AsyncConnection) -> None:
    """Block every writer. Readers still see the old rows."""
    if connection.dialect.name == "postgresql":
        # In the order in which relays lock tables, names first and revisions last, to avoid deadlocks.
        order = sorted(TABLES, key=lambda table: (table is schema.revisions, table is not schema.names, table.name))
        names = ", ".join(f'"{table.name}"' for table in order)
        await connection.execute(text(f"LOCK TABLE {names} IN EXCLUSIVE MODE"))
    else:
        await connection.exec_driver_sql("BEGIN IMMEDIATE")


async def _insert_all(connection: AsyncConnection, rows: Iterable[tuple[Table, dict[str, Any]]]) -> None:
    waiting: list[dict[str, Any]] = []
    last: Table | None = None
    for table, row in rows:
        if last is not None and (table is not last or len(waiting) >= AT_ONCE):
            await _insert(connection, last, waiting)
            waiting = []
        last = table
        waiting.append(row)
    if last is not None:
        await _insert(connection, last, waiting)


async def _insert(connection: AsyncConnection, table: Table, rows: list[dict[str, Any]]) -> None:
    if table is schema.ended:
        # Sessions that end by this change are already recorded there.
        keys = [row["key"] for row in rows]
        await connection.execute(delete(table).where(table.c.key.in_(keys)))
    await connection.execute(table.insert(), rows)


async def _tell_of_changes(connection: AsyncConnection, numbers: dict[str, int]) -> None:
    """Give every kind a new revision number, delete the records of ended sessions that exist again, and continue the
    audit ids.
    """
    revisions, ended, audit = schema.revisions, schema.ended, schema.audit
    numbers |= {
        row.kind: max(row.number, numbers.get(row.kind, 0)) for row in await connection.execute(select(revisions))
    }
    kinds = {*numbers, "tokens", *(kind for kind, _ in COLLECTIONS)}
    await connection.execute(delete(revisions))
    await connection.execute(
        revisions.insert(), [{"kind": kind, "number": numbers.get(kind, 0) + 1} for kind in sorted(kinds)]
    )
    await connection.execute(delete(ended).where(ended.c.key.in_(select(schema.sessions.c.key))))
    if connection.dialect.name == "postgresql":
        next_id = select(func.coalesce(func.max(audit.c.id), 0) + 1).scalar_subquery()
        sequence = func.pg_get_serial_sequence("audit", "id")
        await connection.execute(select(func.setval(sequence, next_id, False)))


def _value(column: Column[Any], value: object) -> object:
    where = f"`{column.name}` of a row of `{column.table}`"
    if value is None:
        if not column.nullable:
            raise RowError(f"{where} is missing")
        return None
    if isinstance(column.type, LargeBinary):
        return _bytes(where, value)
    allowed = next(types for kind, types in _MADE_OF if isinstance(column.type, kind))
    if not isinstance(value, allowed) or isinstance(value, bool):
        raise RowError(f"{where} is of the wrong type")
    if isinstance(column.type, Integer) and isinstance(value, int) and not _fits(column.type, value):
        raise RowError(f"{where} is too large")
    try:
        return fitted_text(column, value) if isinstance(value, str) else value
    except UnstorableError as problem:
        raise RowError(str(problem)) from problem


def _fits(kind: Integer, value: int) -> bool:
    """Return whether every database can store the number: an integer in PostgreSQL has 32 bits."""
    most = 1 << (63 if isinstance(kind, BigInteger) else 31)
    return -most <= value < most


def _bytes(where: str, value: object) -> bytes:
    try:
        return base64.b64decode(value if isinstance(value, str) else "!", validate=True)
    except (binascii.Error, ValueError) as problem:
        raise RowError(f"{where} is not written as bytes are") from problem
