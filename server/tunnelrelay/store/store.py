"""The store in a SQLite file, through SQLAlchemy's async engine. The interface is `base.Store`, the tables
`schema.py`."""

import asyncio
from pathlib import Path
from threading import Thread
from typing import Any, Self
from weakref import WeakSet

import aiosqlite
from sqlalchemy import event
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from tunnelrelay.store.engine import BUSY_SECONDS
from tunnelrelay.store.sql_store import SqlStore
from tunnelrelay.store.upgrade import upgrade

FILE_NAME = "relay.db"
MAX_CONNECTIONS = 4
"""Each is a thread of aiosqlite. Writers queue in SQLite anyway; readers rarely come (sessions live in memory)."""

PRAGMAS = (
    "PRAGMA journal_mode = WAL",  # readers and one writer do not wait for each other
    "PRAGMA synchronous = NORMAL",  # a power cut may lose the last second, never the file's integrity
    f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}",
    # Deleted and replaced values are zeros in the file at once, and in no backup of it: digests, sealed secrets and
    # addresses of people would lie in its free pages until these are used again. Some builds of SQLite have it so
    # anyway (Debian's), others do not. Until the next checkpoint the log beside the file still has them.
    "PRAGMA secure_delete = ON",
)


class SqliteStore(SqlStore):
    """`base.Store` in one file. Made by `open`."""

    @classmethod
    async def open(cls, path: Path) -> Self:
        """Opens or makes the file (mode 0600) and brings its schema up to date.

        Raises:
            StoreTooNewError: A newer release wrote it.
            StoreError: It cannot be opened or upgraded.
        """
        await asyncio.to_thread(upgrade, path)
        threads: WeakSet[Thread] = WeakSet()

        def connect(*args: Any, **kwargs: Any) -> aiosqlite.Connection:
            connection = aiosqlite.connect(*args, **kwargs)
            thread = connection._thread  # noqa: SLF001  # as SQLAlchemy has it
            thread.daemon = True  # a connection that was lost keeps no program alive
            threads.add(thread)
            return connection

        engine = create_async_engine(
            URL.create("sqlite+aiosqlite", database=str(path)),
            pool_size=MAX_CONNECTIONS,
            max_overflow=0,
            hide_parameters=True,  # error texts are logged; digests, addresses and sealed records are not
            pool_timeout=BUSY_SECONDS,
            connect_args={"async_creator_fn": connect},
        )
        event.listen(engine.sync_engine, "connect", _prepare)
        store = cls(engine, threads)
        try:
            await store.ping()
        except BaseException:
            await store.close()
            raise
        return store

    def __init__(self, engine: AsyncEngine, threads: WeakSet[Thread]) -> None:
        super().__init__(engine)
        self._threads = threads

    async def close(self) -> None:
        """Close the database, and wait for the threads of its connections.

        A call that was cancelled goes on in its thread, which then tells the loop how it ended: were the loop closed by
        then, the thread would die with a traceback on the terminal.
        """
        await super().close()
        for thread in list(self._threads):
            await asyncio.to_thread(thread.join, BUSY_SECONDS)


def _prepare(connection: Any, _: object) -> None:
    cursor = connection.cursor()
    for pragma in PRAGMAS:
        cursor.execute(pragma)
    cursor.close()
