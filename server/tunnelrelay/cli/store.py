"""Opens the store for commands that need no running relay, and reports why it cannot be opened."""

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
"""What audit events of commands say in the place of a relay's name."""

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a relay keeps its store and keys.

    Attributes:
        data_dir: Has the control sockets of relays that run here, and their keys.
        database: None for the file in `data_dir`.
    """

    data_dir: Path
    database: DatabaseUrl | None = None

    def __str__(self) -> str:
        """The place of the rows, for messages."""
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
        may_make: Make directory and store if they are missing. Only for commands that set a relay up: for all others a
            missing store means a mistyped path.
        is_patient: Allow statements that take minutes, for commands that read every row.

    Raises:
        Failure: There is no store, or it cannot be used.
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
    """Raise Failure when there is no store here, or it cannot be used."""
    with_store(place, lambda store: store.ping())


def _demand_file(place: Place) -> None:
    """Raise Failure when this directory has no store. A database is checked when it is opened."""
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
    """The time as people and programs read it, in UTC."""
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
    """Raise Failure for root on another user's files: what root leaves beside them would lock that user's relay out."""
    try:
        owner = path.stat().st_uid
    except OSError:
        return  # missing, or not readable: opening it reports that
    if owner == os.geteuid():
        return
    try:
        name = pwd.getpwuid(owner).pw_name
    except KeyError:
        name = f"#{owner}"
    raise Failure(
        Exit.FAILED, [f"{path} belongs to user {name}"], f"run the same command as that user: sudo -u '{name}' …"
    )
