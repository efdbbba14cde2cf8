"""The store in PostgreSQL, for several relays on several machines: asyncpg with SQLAlchemy's async engine.

Each transaction is READ COMMITTED. An operation on which relays must agree is one statement, or begins with one that
locks its row. `engine.py` has the time limits.
"""

import asyncio
import os
import socket
import ssl
from typing import Any, Self
from weakref import WeakSet

import asyncpg
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from tunnelrelay.config.database import DatabaseUrl
from tunnelrelay.store import upgrade
from tunnelrelay.store.base import StoreError
from tunnelrelay.store.engine import BUSY_SECONDS, error_text
from tunnelrelay.store.sql_store import SqlStore

MAX_CONNECTIONS = 8
"""Maximum connections of one relay. A transaction takes milliseconds; PostgreSQL accepts 100 connections by default."""
RECYCLE_SECONDS = 600
"""Maximum age of a connection in seconds. Firewalls and proxies may drop connections that are idle for longer, without
telling either end."""
PATIENT_SECONDS = 600.0
"""Maximum seconds of a statement in a migration, a backup or a restore."""
ADVISORY_LOCK = 0x74756E6E656C
"""Id of the advisory lock (`tunnel` in ASCII) that a migrating relay holds, so that relays that start together migrate
once."""


_HAS_TABLES = text(
    "SELECT max(relname) FROM pg_class WHERE relname = 'alembic_version'"
    " AND relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname = ANY (current_schemas(false)))"
)
"""SQL query whose result is null if the database does not have our tables. `to_regclass` would not do: within one
transaction it keeps returning nothing, even if another transaction creates the table."""


class PostgresqlStore(SqlStore):
    """`base.Store` in a PostgreSQL database. Created by `open`."""

    @classmethod
    async def open(cls, url: DatabaseUrl, *, may_make: bool = True, is_patient: bool = False) -> Self:
        """Connect to the database and migrate it to this release's schema.

        Args:
            may_make: Create the tables if the database has none.
            is_patient: Allow statements that take minutes, for commands that read every row.

        Raises:
            StoreTooNewError: A newer release wrote the database.
            StoreError: The database cannot be reached or upgraded, or has no tables.
        """
        await _upgrade(url, may_make=may_make)
        connections: WeakSet[Any] = WeakSet()
        return cls(_engine(url, PATIENT_SECONDS if is_patient else BUSY_SECONDS, connections), connections)

    def __init__(self, engine: AsyncEngine, connections: WeakSet[Any]) -> None:
        super().__init__(engine)
        self._connections = connections

    async def close(self) -> None:
        """Close all connections at once, as a server that does not respond takes the whole time-out for each."""
        await asyncio.gather(*map(_close, list(self._connections)))
        await super().close()


def _engine(url: DatabaseUrl, seconds: float, connections: WeakSet[Any]) -> AsyncEngine:
    """Return an engine that adds each connection it opens to `connections`."""

    async def connect() -> Any:
        connection = await _connect(url, seconds)
        connections.add(connection)
        return connection

    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        pool_size=MAX_CONNECTIONS,
        max_overflow=0,
        pool_timeout=BUSY_SECONDS,
        pool_recycle=RECYCLE_SECONDS,
        pool_use_lifo=True,  # one or two stay busy; the others age and are replaced
        hide_parameters=True,  # error texts are logged and must not contain values
    )


async def _connect(url: DatabaseUrl, seconds: float) -> Any:
    """Return a connection of asyncpg, which reads the URL as PostgreSQL's own tools do.

    Raises:
        StoreError: No connection could be opened.
    """
    limit_ms = str(int(seconds * 1000))
    try:
        return await asyncpg.connect(
            url.reveal(),
            ssl=None if url.has_sslmode or url.is_local else True,  # True: verify that the certificate is for this host
            timeout=BUSY_SECONDS,
            command_timeout=seconds,
            server_settings={
                "application_name": "tunnelrelay",
                "default_transaction_isolation": "read committed",
                "statement_timeout": limit_ms,
                "lock_timeout": limit_ms,
                "idle_in_transaction_session_timeout": limit_ms,  # a relay that hangs loses its locks
                "jit": "off",  # just-in-time compilation would cost more than any of our statements
            },
        )
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, ValueError) as problem:
        why, hint = _why(problem)
        raise StoreError(f"{url} cannot be reached: {why}", hint) from None


async def _close(connection: Any) -> None:
    """Close the connection, within a time limit."""
    try:
        await connection.close(timeout=BUSY_SECONDS)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        connection.terminate()


def _why(problem: Exception) -> tuple[str, str]:
    """Return why connecting failed, and what the operator can do.

    Never contains the URL, which may include the password.
    """
    words = str(problem).partition("\nDETAIL")[0] or type(problem).__name__
    match problem:
        case TimeoutError():
            return "it did not answer in time", "does the server run, and does a firewall let this machine reach it?"
        case ConnectionRefusedError():
            return "nothing listens there (connection refused)", "start the server, or put host and port right"
        case socket.gaierror():
            return "there is no host of this name", "put the host right; this machine must be able to look it up"
        case asyncpg.InvalidPasswordError():
            return words, "put the password right, in the file or variable that --database names"
        case asyncpg.InvalidAuthorizationSpecificationError():
            return words, "make the user (`createuser`), and let it in from this machine (pg_hba.conf)"
        case asyncpg.InvalidCatalogNameError():
            return words, "make the database: `createdb --encoding UTF8 --template template0 --owner USER NAME`"
        case asyncpg.TooManyConnectionsError():
            return words, f"a relay takes {MAX_CONNECTIONS} connections: raise the server's max_connections"
        case ssl.SSLError():
            why = f"TLS failed: {getattr(problem, 'verify_message', None) or problem.reason or 'not usable'}".lower()
            return why, "name the authority with sslrootcert=FILE in the URL, or say sslmode"
        case FileNotFoundError():
            return "there is no such socket or file", "start the server, or put host and files in the URL right"
        case OSError():
            return (os.strerror(problem.errno) if problem.errno else words).lower(), "put host and port right"
        case _:
            return words, "put the URL right, as `postgresql://user@host/name`"


async def _upgrade(url: DatabaseUrl, *, may_make: bool) -> None:
    """Upgrade the schema over a separate connection, as a migration may take long, also one by another relay."""
    engine = _engine(url, PATIENT_SECONDS, WeakSet())
    try:
        async with engine.begin() as connection:
            async with asyncio.timeout(BUSY_SECONDS):
                if await _is_up_to_date(connection, url, may_make=may_make):
                    return
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK})
            if (found := await _revision(connection)) != upgrade.HEAD:
                await connection.run_sync(upgrade.to_head, found, name=str(url))
    except (SQLAlchemyError, OSError) as problem:
        what = f"{url} cannot be upgraded to schema {upgrade.HEAD}: {error_text(problem)}"
        raise StoreError(what, "let the user make tables there: it should own the database") from None
    finally:
        await engine.dispose()


async def _is_up_to_date(connection: AsyncConnection, url: DatabaseUrl, *, may_make: bool) -> bool:
    """Return whether the schema is up to date. Raises StoreError when it is not and must not be upgraded."""
    found = await _revision(connection)
    if found is None and not may_make:
        raise StoreError(
            f"{url} holds no relay's data",
            "name the relay's database; `tunnelrelay serve` makes the tables of a new one",
        )
    if found is None and (encoding := (await connection.execute(text("SHOW server_encoding"))).scalar_one()) != "UTF8":
        what = f"{url} keeps text as {encoding}; a relay needs a database in UTF8"
        raise StoreError(what, "make one with `createdb --encoding UTF8 --template template0 NAME`")
    return found == upgrade.HEAD


async def _revision(connection: AsyncConnection) -> str | None:
    """Return the migration that the database is at; None for a database without our tables."""
    if (await connection.execute(_HAS_TABLES)).scalar_one() is None:
        return None
    found = (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalar_one_or_none()
    return None if found is None else str(found)
