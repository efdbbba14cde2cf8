"""Opens the store for commands that need no running relay, and turns the store's errors into messages."""

import asyncio
import os
import pwd
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from tunnelctl.cli.exits import Exit, Failure
from tunnelrelay.app.start_problems import of_data_dir
from tunnelrelay.config.database import DatabaseUrl
from tunnelrelay.store.base import StoreError
from tunnelrelay.store.opening import open_store
from tunnelrelay.store.sql_store import SqlStore
from tunnelrelay.store.store import FILE_NAME

DIRECTORY_MODE = 0o700
COMMAND = "command"
"""Written to audit events of commands where events of a relay have the relay's name."""

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a relay's store and keys are.

    Attributes:
        data_dir: Directory with the keys, and the control sockets of relays that run on this machine.
        database: The database of the store; None for the SQLite file in `data_dir`.
    """

    data_dir: Path
    database: DatabaseUrl | None = None

    def __str__(self) -> str:
        """Return the database or file of the store, for messages."""
        return str(self.data_dir if self.database is None else self.database)


def with_store(
    place: Place,
    action: Callable[[SqlStore], Awaitable[Result]],
    *,
    may_make: bool = False,
    is_patient: bool = False,
) -> Result:
    """Open the store, run `action` on it, and return its result.

    Args:
        may_make: Whether to create a missing directory and store. Only for commands that set a relay up: for all others
            a missing store means a mistyped path.
        is_patient: Whether statements may take minutes, for commands that read every row.

    Raises:
        Failure: There is no store, or the store cannot be used.
    """
    try:
        if place.database is None:
            check_user(place.data_dir / FILE_NAME)
        if may_make:
            place.data_dir.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        else:
            _demand_file(place)
        return asyncio.run(_opened(place, action, may_make=may_make, is_patient=is_patient))
    except OSError as problem:
        described = of_data_dir(place.data_dir, problem)
        raise Failure(Exit.FAILED, [str(described)], described.hint) from problem
    except StoreError as problem:
        raise Failure(Exit.FAILED, [str(problem)], problem.hint or _hint(place)) from problem


def demand_store(place: Place) -> None:
    """Raise Failure when there is no store at this place, or it cannot be used."""
    with_store(place, lambda store: store.ping())


def _demand_file(place: Place) -> None:
    """Raise Failure when the data directory has no SQLite file. A database on a server is checked when it is opened."""
    if place.database is None and not (place.data_dir / FILE_NAME).exists():
        raise Failure(
            Exit.FAILED,
            [f"there is no relay data in {place}"],
            "give the relay's own directory by --data-dir, or its --database; "
            "`tunnelrelay token create` or `serve` makes a new one",
        )


def _hint(place: Place) -> str:
    if place.database is not None:
        return "is this the relay's database, does it run, and may this user use it?"
    return f"is {place.data_dir} the relay's data directory, and may this user write it?"


def when(at: float | None) -> str | None:
    """Convert Unix time to a text that people and programs can read, in UTC; None stays None."""
    return None if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


async def _opened(
    place: Place, action: Callable[[SqlStore], Awaitable[Result]], *, may_make: bool, is_patient: bool
) -> Result:
    store = await open_store(place.database, place.data_dir, may_make=may_make, is_patient=is_patient)
    try:
        return await action(store)
    finally:
        await store.close()


def check_user(path: Path) -> None:
    """Raise Failure when root runs a command on another user's files.

    Files that root creates beside them would be unreadable for that user's relay.
    """
    try:
        owner = path.stat().st_uid
    except OSError:
        return  # the file is missing or not readable, which opening it reports
    if owner == os.geteuid():
        return
    try:
        name = pwd.getpwuid(owner).pw_name
    except KeyError:
        name = f"#{owner}"
    raise Failure(
        Exit.FAILED, [f"{path} belongs to user {name}"], f"run the same command as that user: sudo -u '{name}' …"
    )
