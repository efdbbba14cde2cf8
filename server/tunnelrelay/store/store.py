"""The store in a file: SQLite through SQLAlchemy's async engine. The seam is `base.Store`, the tables `schema.py`.

What it keeps of tokens, sessions, names and events is told in modules of their own (`tokens.py`, `sessions.py`,
`names.py`, `audit.py`); what people set up in `resource_sql.py`.
"""

import asyncio
from pathlib import Path
from typing import Any, Self

from sqlalchemy import event, select, text
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from tunnelrelay.store import schema
from tunnelrelay.store.audit import AuditPart
from tunnelrelay.store.names import NamePart
from tunnelrelay.store.resource_sql import SqlCollection
from tunnelrelay.store.resources import (
    COLLECTIONS,
    ApiKeyRow,
    BackendRow,
    DomainRow,
    EdgeRow,
    ProviderRow,
    SignInRow,
    UserRow,
)
from tunnelrelay.store.sessions import SessionPart
from tunnelrelay.store.tokens import TokenPart
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


class SqliteStore(TokenPart, SessionPart, NamePart, AuditPart):
    """`base.Store` in one file. Made by `open`."""

    def __init__(self, engine: AsyncEngine) -> None:
        super().__init__(engine)
        self.users = SqlCollection(engine, schema.users, UserRow)
        self.api_keys = SqlCollection(engine, schema.api_keys, ApiKeyRow)
        self.sign_ins = SqlCollection(engine, schema.sign_ins, SignInRow)
        self.domains = SqlCollection(engine, schema.domains, DomainRow)
        self.backends = SqlCollection(engine, schema.backends, BackendRow)
        self.edges = SqlCollection(engine, schema.edges, EdgeRow)
        self.providers = SqlCollection(engine, schema.providers, ProviderRow)

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

    async def revisions(self) -> dict[str, int]:
        """See `Store.revisions`."""
        found = dict.fromkeys((*(kind for kind, _ in COLLECTIONS), "tokens"), 0)
        async with self._begin() as connection:
            found |= {row.kind: row.number for row in await connection.execute(select(schema.revisions))}
        return found

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
