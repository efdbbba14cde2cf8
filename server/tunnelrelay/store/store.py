"""The store in a file: SQLite through SQLAlchemy's async engine. The seam is `base.Store`, the tables `schema.py`.

What it keeps of sessions, names and events is told in modules of their own (`sessions.py`, `names.py`, `audit.py`).
"""

import asyncio
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Row, event, or_, select, text, update
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import create_async_engine

from tunnelrelay.model import Token
from tunnelrelay.store.audit import AuditPart
from tunnelrelay.store.names import NamePart
from tunnelrelay.store.schema import tokens
from tunnelrelay.store.sessions import SessionPart
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


class SqliteStore(SessionPart, NamePart, AuditPart):
    """`base.Store` in one file. Made by `open`."""

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

    async def revoked_tokens(self, since: float) -> list[str]:
        """See `Store.revoked_tokens`."""
        async with self._begin() as connection:
            return [row.id for row in await connection.execute(select(tokens.c.id).where(tokens.c.revoked_at >= since))]

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

    async def ping(self) -> None:
        """See `Store.ping`. Reads from the file, so that a vanished or damaged one shows."""
        async with self._begin() as connection:
            await connection.execute(text("SELECT version_num FROM alembic_version"))

    async def close(self) -> None:
        """See `Store.close`."""
        await self._engine.dispose()


def _prepare(connection: Any, _: object) -> None:
    cursor = connection.cursor()
    for pragma in PRAGMAS:
        cursor.execute(pragma)
    cursor.close()


def _token_values(token: Token) -> dict[str, Any]:
    return {name: getattr(token, name) for name in Token.__slots__}


def _token(row: Row[Any]) -> Token:
    return Token(**{name: getattr(row, name) for name in Token.__slots__})
