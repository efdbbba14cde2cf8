"""Migrates a database file to this release's schema, once, by the first relay that opens it.

A relay and a `token` command may open a new file at the same time: a lock file beside it makes one of them wait. The
code blocks and must run in a thread.
"""

import errno
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import URL, Connection, create_engine, event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from tunnelrelay.store.base import StoreError
from tunnelrelay.store.schema import make_tables

HEAD = "0006"
"""The newest migration. Repeated here so that opening an up-to-date database need not import Alembic."""

FILE_MODE = 0o600
"""Mode of the database file. Sessions are encrypted and tokens hashed, but others must not read e-mail addresses and
times either."""


def upgrade(path: Path) -> None:
    """Create the file if it does not exist, and upgrade it to `HEAD`.

    Raises:
        StoreTooNewError: A newer release wrote the file.
        StoreError: The file cannot be opened, is not a database, or cannot be migrated.
    """
    try:
        with _locked(path):
            _make_private(path)
            if (found := _revision(path)) != HEAD:
                _migrate(path, found)
    except OSError as problem:
        why = (problem.strerror or type(problem).__name__).lower()
        raise StoreError(f"{path} cannot be opened: {why}", _hint_of(problem)) from problem
    except sqlite3.Error as problem:
        raise StoreError(f"{path} cannot be opened: {problem}", sqlite_hint(problem)) from problem


def sqlite_hint(problem: BaseException) -> str:
    """Return advice for an error of SQLite."""
    words = str(problem)
    if "not a database" in words or "malformed" in words:
        return "restore a backup (`tunnelrelay restore`); is it the relay's file at all?"
    if "locked" in words or "busy" in words:
        return "another program has the file locked: stop it, a copy or an editor of databases for one"
    if "full" in words:
        return "make room on this disk"
    return "let the relay's user read and write the file, and the directory it is in"


def _hint_of(problem: OSError) -> str:
    if problem.errno in (errno.ENOSPC, errno.EDQUOT):
        return "make room on this disk"
    return "let the relay's user read and write the data directory (`chown`), or give another with --data-dir"


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock file beside the database. The kernel releases the lock even when the process is killed."""
    lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _make_private(path: Path) -> None:
    """Create the file with its mode, before SQLite would create it with the default one; SQLite's WAL files get the
    same mode.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    try:
        if os.fstat(handle).st_mode & 0o077:
            os.fchmod(handle, FILE_MODE)
    finally:
        os.close(handle)


def _revision(path: Path) -> str | None:
    """Return the migration that the file is at; None for a new file."""
    with closing(sqlite3.connect(path)) as connection:
        known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone() if known else None
        return None if row is None else str(row[0])


def _migrate(path: Path, found: str | None) -> None:
    engine = create_engine(URL.create("sqlite", database=str(path)), poolclass=NullPool)
    # Python's driver would commit before each CREATE TABLE; a relay that is killed half-way must leave the file
    # unchanged.
    event.listen(engine, "connect", lambda connection, _: setattr(connection, "isolation_level", None))
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    try:
        with engine.begin() as connection:
            to_head(connection, found, name=str(path))
    except SQLAlchemyError as problem:
        cause = problem.orig if isinstance(problem, DBAPIError) and problem.orig is not None else problem
        what = f"{path} cannot be upgraded to schema {HEAD}: {cause}"
        raise StoreError(what, sqlite_hint(cause)) from problem


def to_head(connection: Connection, found: str | None, *, name: str) -> None:
    """Migrate a database of either kind to `HEAD`, in the connection's current transaction.

    Args:
        found: Migration that the database is at; None for a database without our tables.
        name: Name of the database in messages.

    Raises:
        StoreTooNewError: This release does not know the migration `found`.
    """
    if found is None:
        make_tables(connection, HEAD)
        return
    from tunnelrelay.store.migrate import migrate  # slow to import, and needed only when the schema changes

    migrate(connection, found, HEAD, name=name)
