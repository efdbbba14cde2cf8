"""Brings a database file up to this release's schema, once, by the relay that comes first.

A relay and a `token` command may open the same new file at the same moment: a lock file beside it lets one work and
the other wait. Blocking code, run in a thread.
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

HEAD = "0005"
"""The newest migration. Kept here as well, so that opening a database that is up to date need not import Alembic."""

FILE_MODE = 0o600
"""Sessions are sealed and tokens hashed, yet e-mail addresses and times must not be read by others either."""


def upgrade(path: Path) -> None:
    """Makes the file if there is none, and upgrades it to `HEAD`.

    Raises:
        StoreTooNewError: A newer release wrote it.
        StoreError: The file cannot be opened, is no database, or cannot be migrated.
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
    """What to do about an error of SQLite's."""
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
    """Hold the lock file beside the database. The kernel releases it even when the holder is killed."""
    lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _make_private(path: Path) -> None:
    """Creates the file with its mode before SQLite would with the umask's; its WAL files take the mode over."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    try:
        if os.fstat(handle).st_mode & 0o077:
            os.fchmod(handle, FILE_MODE)
    finally:
        os.close(handle)


def _revision(path: Path) -> str | None:
    """The migration the file is at; None for a new one."""
    with closing(sqlite3.connect(path)) as connection:
        known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone() if known else None
        return None if row is None else str(row[0])


def _migrate(path: Path, found: str | None) -> None:
    engine = create_engine(URL.create("sqlite", database=str(path)), poolclass=NullPool)
    # Python's driver would commit before each CREATE TABLE; a relay killed half-way must find the file as it was.
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
    """Bring a database, of either kind, to `HEAD` in the transaction the connection is in.

    Args:
        found: The migration it is at; None for one without our tables.
        name: What messages call the database.

    Raises:
        StoreTooNewError: `found` is none of this release's.
    """
    if found is None:
        make_tables(connection, HEAD)
        return
    from tunnelrelay.store.migrate import migrate  # slow to import, and of use only when the schema changes

    migrate(connection, found, HEAD, name=name)
