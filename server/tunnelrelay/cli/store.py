"""How a command that needs no running relay opens its store, and what it says when that cannot be done."""

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
    """Where a relay keeps what it keeps.

    Attributes:
        data_dir: The control sockets of relays that run here, and their keys.
        database: None for the file in `data_dir`.
    """

    data_dir: Path
    database: DatabaseUrl | None = None

    def __str__(self) -> str:
        """Where the rows are, for messages."""
        return str(self.data_dir if self.database is None else self.database)


def with_store(
    place: Place,
    action: Callable[[SqlStore], Awaitable[Result]],
    *,
    may_make: bool = False,
    is_patient: bool = False,
) -> Result:
    """What `action` returns from the store of this place.

    Args:
        may_make: Make directory and store if they are not there. Only for what sets a relay up: to all else, that they
            are missing says that the place was mistyped.
        is_patient: For what looks at every row: statements may take minutes.

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
        told = of_data_dir(place.data_dir, problem)
        raise Failure(Exit.FAILED, [str(told)], told.hint) from problem
    except StoreError as problem:
        raise Failure(Exit.FAILED, [str(problem)], problem.hint or _hint(place)) from problem


def demand_store(place: Place) -> None:
    """Raises Failure when no relay ever kept anything here, or nothing can be kept now."""
    with_store(place, lambda store: store.ping())


def _demand_file(place: Place) -> None:
    """Raises Failure when no relay ever kept anything in this directory. Of a database, opening it tells."""
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
    """Files that root leaves beside another user's database would lock that user's relay out."""
    try:
        owner = path.stat().st_uid
    except OSError:
        return  # not there yet, or not to be seen: opening it tells
    if owner == os.geteuid():
        return
    try:
        name = pwd.getpwuid(owner).pw_name
    except KeyError:
        name = f"#{owner}"
    raise Failure(
        Exit.FAILED, [f"{path} belongs to user {name}"], f"run the same command as that user: sudo -u '{name}' …"
    )
