"""The store in a SQLite file, with SQLAlchemy's async engine. The interface is `base.Store`; the tables are in
`schema.py`.
"""

import asyncio
from pathlib import Path
from threading import Thread
from typing import Any, Self
from weakref import WeakSet

import aiosqlite
from sqlalchemy import event
from sqlalchemy.engine import URL, ExceptionContext
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from tunnelrelay.store.engine import BUSY_SECONDS
from tunnelrelay.store.sql_store import SqlStore
from tunnelrelay.store.upgrade import upgrade

FILE_NAME = "relay.db"
MAX_CONNECTIONS = 4
"""Maximum connections, each with a thread of aiosqlite. SQLite queues writers anyway; reads are rare (sessions are
cached in memory)."""

PRAGMAS = (
    "PRAGMA journal_mode = WAL",  # readers and one writer do not block each other
    "PRAGMA synchronous = NORMAL",  # a power cut may lose the last second, but does not damage the file
    f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}",
    # Overwrite deleted values in the file with zeros, so that the file and its backups contain no old digests,
    # encrypted secrets and addresses. Some builds of SQLite do so by default (Debian's), others do not. The write-ahead
    # log beside the file keeps the values until the next checkpoint.
    "PRAGMA secure_delete = ON",
)


class SqliteStore(SqlStore):
    """`base.Store` in one file. Created by `open`."""

    @classmethod
    async def open(cls, path: Path) -> Self:
        """Open or create the file (mode 0600) and migrate it to this release's schema.

        Raises:
            StoreTooNewError: A newer release wrote the file.
            StoreError: The file cannot be opened or upgraded.
        """
        await asyncio.to_thread(upgrade, path)
        threads: WeakSet[Thread] = WeakSet()

        def connect(*args: Any, **kwargs: Any) -> aiosqlite.Connection:
            connection = aiosqlite.connect(*args, **kwargs)
            thread = connection._thread  # noqa: SLF001  # SQLAlchemy does so too
            thread.daemon = True  # a lost connection does not keep the program alive
            threads.add(thread)
            return connection

        engine = create_async_engine(
            URL.create("sqlite+aiosqlite", database=str(path)),
            pool_size=MAX_CONNECTIONS,
            max_overflow=0,
            hide_parameters=True,  # error texts are logged and must not contain values
            pool_timeout=BUSY_SECONDS,
            connect_args={"async_creator_fn": connect},
        )
        event.listen(engine.sync_engine, "connect", _prepare)
        event.listen(engine.sync_engine, "handle_error", _keep_when_cancelled)
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

        A cancelled call continues in its thread, which then reports its result to the event loop. If the loop were
        closed by then, the thread would print a traceback.
        """
        await super().close()
        for thread in list(self._threads):
            await asyncio.to_thread(thread.join, BUSY_SECONDS)


def _prepare(connection: Any, _: object) -> None:
    cursor = connection.cursor()
    for pragma in PRAGMAS:
        cursor.execute(pragma)
    cursor.close()


def _keep_when_cancelled(context: ExceptionContext) -> None:
    """Make SQLAlchemy roll a cancelled transaction back and keep its connection.

    By default SQLAlchemy closes the connection without a rollback, because a server's driver may be in the middle of a
    response. A closed SQLite connection keeps its lock while one of its statements is in memory, so that the next
    writer would wait in vain. aiosqlite finishes the statement in its thread, and can roll back afterwards.
    """
    if isinstance(context.original_exception, asyncio.CancelledError):
        context.is_disconnect = False
