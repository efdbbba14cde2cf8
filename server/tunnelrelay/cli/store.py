"""How a command that needs no running relay opens its store, and what it says when that cannot be done."""

import asyncio
import os
import pwd
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from tunnelrelay.store.base import Store, StoreError
from tunnelrelay.store.store import FILE_NAME, SqliteStore

DIRECTORY_MODE = 0o700
COMMAND = "command"
"""What audit events of commands say in the place of a relay's name."""

Result = TypeVar("Result")


class Failure(Exception):
    """The command cannot be done. Carries what the operator can do about it, and the exit code."""

    code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class Misused(Failure):
    """What was typed cannot be meant."""

    code = 2


def with_store(data_dir: Path, action: Callable[[Store], Awaitable[Result]], *, may_make: bool = False) -> Result:
    """What `action` returns from the store of this directory.

    Args:
        may_make: Make directory and store if they are not there. Only for what sets a relay up: to all else, that they
            are missing says that the directory was mistyped.

    Raises:
        Failure: There is no store, or it cannot be used.
    """
    path = data_dir / FILE_NAME
    check_user(path)
    try:
        if may_make:
            data_dir.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        else:
            demand_store(data_dir)
        return asyncio.run(_opened(path, action))
    except OSError as problem:
        raise Failure(f"the data directory {data_dir} cannot be used: {problem.strerror}") from problem
    except StoreError as problem:
        raise Failure(
            str(problem), f"is {data_dir} the relay's data directory, and may this user write it?"
        ) from problem


def demand_store(data_dir: Path) -> None:
    """Raises Failure when no relay ever kept anything here."""
    if not (data_dir / FILE_NAME).exists():
        raise Failure(
            f"there is no relay data in {data_dir}",
            "give the relay's own directory by --data-dir; `tunnelrelay token create` or `serve` makes a new one",
        )


def when(at: float | None) -> str | None:
    """The time as people and programs read it, in UTC."""
    return None if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


async def _opened(path: Path, action: Callable[[Store], Awaitable[Result]]) -> Result:
    store = await SqliteStore.open(path)
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
    raise Failure(f"{path} belongs to user {name}", f"run the same command as that user: sudo -u '{name}' …")
