"""What the `tunnelrelay token` commands do: open the store, change it, tell a running relay, print."""

import asyncio
import json
import os
import pwd
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import click

from tunnelrelay import control, tokens
from tunnelrelay.model import Token
from tunnelrelay.store.base import Store, StoreError
from tunnelrelay.store.store import FILE_NAME, SqliteStore

DIRECTORY_MODE = 0o700

Result = TypeVar("Result")


class Failure(Exception):
    """The command cannot be done. Carries what the operator can do about it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def create(data_dir: Path, owner: str, *, as_json: bool) -> None:
    """Makes a token; the token alone goes to stdout, so that a script can catch it."""
    if problem := tokens.owner_problem(owner):
        raise Failure(f"`{owner}` cannot be an owner: {problem}")
    text, token = _with_store(data_dir, lambda store: tokens.create(store, owner))
    if as_json:
        click.echo(json.dumps({"token": text, **_record(token)}))
        return
    click.echo(f"token {token.id} of owner {owner}, kept as a digest in {data_dir}; it is not shown again:", err=True)
    click.echo(text)
    click.echo("hint: on the agent's machine: tunnel config add-authtoken TOKEN", err=True)


def show(data_dir: Path, owner: str | None, *, as_json: bool) -> None:
    """Lists tokens, oldest first."""
    found = _with_store(data_dir, lambda store: store.tokens(owner))
    if as_json:
        click.echo(json.dumps([_record(token) for token in found], indent=2))
    elif found:
        _print_table(found)
    else:
        click.echo(f"no tokens in {data_dir}", err=True)


def revoke(data_dir: Path, names: Sequence[str], owner: str | None, *, as_json: bool) -> None:
    """Revokes in the store first, then has a running relay end what those tokens opened."""
    found, unknown = _with_store(data_dir, lambda store: _revoke_in(store, names, owner))
    if as_json:
        click.echo(json.dumps([_record(token) for token in found], indent=2))
    untold = [problem for token in found if (problem := _tell(data_dir, token))]
    if untold:
        raise Failure(f"revoked, but {untold[0]}", "restart the relay to end links that are open")
    if unknown:
        raise Failure(f"there is no token {', '.join(unknown)}", "tunnelrelay token list")
    if not found:
        raise Failure(f"owner {owner} has no good token", "tunnelrelay token list")


def demand_token(data_dir: Path) -> None:
    """Raises Failure when no agent could connect: a public relay starts with a token or not at all."""
    if not _with_store(data_dir, tokens.has_good_token):
        raise Failure(
            f"others can reach this relay, and there is no token in {data_dir} that an agent could connect with",
            f"tunnelrelay token create --owner NAME --data-dir {data_dir}",
        )


def _with_store(data_dir: Path, action: Callable[[Store], Awaitable[Result]]) -> Result:
    """What `action` returns from the store of this directory, which is made if it is not there."""
    path = data_dir / FILE_NAME
    _check_user(path)
    try:
        data_dir.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        return asyncio.run(_opened(path, action))
    except OSError as problem:
        raise Failure(f"the data directory {data_dir} cannot be used: {problem.strerror}") from problem
    except StoreError as problem:
        raise Failure(
            str(problem), f"is {data_dir} the relay's data directory, and may this user write it?"
        ) from problem


async def _opened(path: Path, action: Callable[[Store], Awaitable[Result]]) -> Result:
    store = await SqliteStore.open(path)
    try:
        return await action(store)
    finally:
        await store.close()


def _check_user(path: Path) -> None:
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


async def _revoke_in(store: Store, names: Sequence[str], owner: str | None) -> tuple[list[Token], list[str]]:
    """The tokens revoked, and the names that mean none."""
    if owner is not None:
        names = [token.id for token in await store.tokens(owner) if token.revoked_at is None]
    found, unknown = [], []
    for name in names:
        shown = await tokens.authenticate(store, name)
        token = await store.revoke_token(name if shown is None else shown.id, time.time())
        if token is not None:
            found.append(token)
        else:
            unknown.append("(the one given)" if name.startswith(tokens.PREFIX) else name)
    return found, unknown


def _tell(data_dir: Path, token: Token) -> str:
    """Has a running relay end the token's links, and reports. Returns what went wrong, or ""."""
    try:
        links = control.tell_revoked(data_dir / control.FILE_NAME, token.id)
    except control.ControlError as problem:
        return str(problem)
    live = "no relay is running here" if links is None else f"live links ended: {links}"
    click.echo(f"revoked {token.id} of owner {token.owner}; {live}", err=True)
    return ""


def _record(token: Token) -> dict[str, str | None]:
    return {
        "id": token.id,
        "owner": token.owner,
        "created_at": _when(token.created_at),
        "last_used_at": _when(token.last_used_at),
        "revoked_at": _when(token.revoked_at),
    }


def _print_table(found: list[Token]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("id", "owner", "created", "last used", "state", box=None, pad_edge=False, header_style="bold")
    for token in found:
        state = "good" if token.revoked_at is None else f"revoked {_when(token.revoked_at)}"
        table.add_row(token.id, token.owner, _when(token.created_at), _when(token.last_used_at) or "never", state)
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = 250  # a pipe has no width; rows must not be folded
    console.print(table)


def _when(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
