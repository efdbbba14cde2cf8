"""The store in a file: SQLite through SQLAlchemy's async engine. The seam is `base.Store`, the tables `schema.py`.

Every method is one short transaction of one statement or two, so that a relay and a `token` command share the file
without waiting for each other noticeably.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Row, Table, delete, event, or_, select, text, update
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from tunnelrelay.model import Token
from tunnelrelay.store.base import SessionRow, StoreError
from tunnelrelay.store.schema import names, sessions, tokens, used
from tunnelrelay.store.upgrade import upgrade

FILE_NAME = "relay.db"
BUSY_SECONDS = 5.0
"""How long a statement waits for another process's lock; then the caller refuses rather than hangs."""
MAX_CONNECTIONS = 4
"""Each is a thread of aiosqlite. Writers queue in SQLite anyway; readers rarely come (sessions live in memory)."""

PRAGMAS = (
    "PRAGMA journal_mode = WAL",  # readers and one writer do not wait for each other
    "PRAGMA synchronous = NORMAL",  # a power cut may lose the last second, never the file's integrity
    f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}",
)


class SqliteStore:
    """`base.Store` in one file. Made by `open`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    @classmethod
    async def open(cls, path: Path) -> Self:
        """Opens or makes the file (mode 0600) and brings its schema up to date.

        Raises:
            StoreTooNewError: A newer release wrote it.
            StoreError: It cannot be opened or upgraded.
        """
        await asyncio.to_thread(upgrade, path)
        engine = create_async_engine(
            URL.create("sqlite+aiosqlite", database=str(path)),
            pool_size=MAX_CONNECTIONS,
            max_overflow=0,
            hide_parameters=True,  # error texts are logged; digests, addresses and sealed records are not
            pool_timeout=BUSY_SECONDS,
        )
        event.listen(engine.sync_engine, "connect", _prepare)
        store = cls(engine)
        try:
            await store.ping()
        except BaseException:
            await store.close()
            raise
        return store

    async def add_token(self, token: Token, digest: bytes) -> None:
        """See `Store.add_token`."""
        async with self._begin() as connection:
            await connection.execute(tokens.insert().values(digest=digest, **_token_values(token)))

    async def tokens(self, owner: str | None = None) -> list[Token]:
        """See `Store.tokens`."""
        query = select(tokens).order_by(tokens.c.created_at, tokens.c.id)
        if owner is not None:
            query = query.where(tokens.c.owner == owner)
        async with self._begin() as connection:
            return [_token(row) for row in await connection.execute(query)]

    async def revoke_token(self, token_id: str, at: float) -> Token | None:
        """See `Store.revoke_token`."""
        is_it = tokens.c.id == token_id
        async with self._begin() as connection:
            await connection.execute(update(tokens).where(is_it, tokens.c.revoked_at.is_(None)).values(revoked_at=at))
            row = (await connection.execute(select(tokens).where(is_it))).one_or_none()
        return None if row is None else _token(row)

    async def token_by_digest(self, digest: bytes) -> Token | None:
        """See `Store.token_by_digest`."""
        query = select(tokens).where(tokens.c.digest == digest, tokens.c.revoked_at.is_(None))
        async with self._begin() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else _token(row)

    async def touch_token(self, token_id: str, at: float) -> None:
        """See `Store.touch_token`."""
        is_older = or_(tokens.c.last_used_at.is_(None), tokens.c.last_used_at < at)
        async with self._begin() as connection:
            await connection.execute(update(tokens).where(tokens.c.id == token_id, is_older).values(last_used_at=at))

    async def save_session(self, row: SessionRow) -> None:
        """See `Store.save_session`."""
        await self._put(sessions, {name: getattr(row, name) for name in SessionRow.__slots__})

    async def load_session(self, key: bytes) -> SessionRow | None:
        """See `Store.load_session`."""
        async with self._begin() as connection:
            row = (await connection.execute(select(sessions).where(sessions.c.key == key))).one_or_none()
        return None if row is None else SessionRow(**row._mapping)

    async def touch_session(self, key: bytes, last_seen: float) -> None:
        """See `Store.touch_session`."""
        is_older = (sessions.c.key == key) & (sessions.c.last_seen < last_seen)
        async with self._begin() as connection:
            await connection.execute(update(sessions).where(is_older).values(last_seen=last_seen))

    async def delete_session(self, key: bytes) -> None:
        """See `Store.delete_session`."""
        async with self._begin() as connection:
            await connection.execute(delete(sessions).where(sessions.c.key == key))

    async def delete_expired(self, now: float) -> int:
        """See `Store.delete_expired`."""
        async with self._begin() as connection:
            found = [await connection.execute(delete(t).where(t.c.expires_at <= now)) for t in (sessions, used)]
        return sum(result.rowcount for result in found)

    async def use_once(self, key: bytes, expires_at: float) -> bool:
        """See `Store.use_once`."""
        statement = insert(used).values(key=key, expires_at=expires_at).on_conflict_do_nothing()
        async with self._begin() as connection:
            return (await connection.execute(statement)).rowcount == 1

    async def remember_name(self, host: str, owner: str, at: float) -> None:
        """See `Store.remember_name`."""
        await self._put(names, {"host": host, "owner": owner, "at": at})

    async def release_name(self, host: str) -> None:
        """See `Store.release_name`."""
        async with self._begin() as connection:
            await connection.execute(delete(names).where(names.c.host == host))

    async def remembered_names(self, since: float) -> list[tuple[str, str]]:
        """See `Store.remembered_names`."""
        query = select(names.c.host, names.c.owner).where(names.c.at >= since).order_by(names.c.host)
        async with self._begin() as connection:
            return [(row.host, row.owner) for row in await connection.execute(query)]

    async def ping(self) -> None:
        """See `Store.ping`. Reads from the file, so that a vanished or damaged one shows."""
        async with self._begin() as connection:
            await connection.execute(text("SELECT version_num FROM alembic_version"))

    async def close(self) -> None:
        """See `Store.close`."""
        await self._engine.dispose()

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


def _prepare(connection: Any, _: object) -> None:
    cursor = connection.cursor()
    for pragma in PRAGMAS:
        cursor.execute(pragma)
    cursor.close()


def _token_values(token: Token) -> dict[str, Any]:
    return {name: getattr(token, name) for name in Token.__slots__}


def _token(row: Row[Any]) -> Token:
    return Token(**{name: getattr(row, name) for name in Token.__slots__})
