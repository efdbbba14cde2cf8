"""The `tunnelrelay name` commands: list host names with their owners, and end the cool-down of one."""

import json
import time

import click

from tunnelctl.cli.exits import Exit, Failure
from tunnelrelay.cli.store import COMMAND, Place, when, with_store
from tunnelrelay.cli.table import print_table
from tunnelrelay.registry.registry import LOST_SECONDS
from tunnelrelay.store.base import FREED_AT, AuditRow, NameRow, Store


def show(place: Place, owner: str | None, *, as_json: bool) -> None:
    """Print host names and their owners, sorted by host, also names that their owner has released."""
    found = with_store(place, lambda store: store.all_names(owner))
    if as_json:
        click.echo(json.dumps([_record(row) for row in found], indent=2))
    elif found:
        _print_table(found)
    else:
        click.echo(f"no names in {place}", err=True)


def release(place: Place, name: str, *, as_json: bool) -> None:
    """End the cool-down of a host name that no tunnel serves, so that the next owner who asks for it gets it."""
    row = with_store(place, lambda store: _release_in(store, name))
    if as_json:
        click.echo(json.dumps(_record(row), indent=2))
    click.echo(f"{row.host}, which was {row.owner}'s, is anybody's now; its next owner begins anew", err=True)


async def _release_in(store: Store, name: str) -> NameRow:
    found = [row for row in await store.all_names() if name in (row.host, row.host.partition(".")[0])]
    if len(found) != 1:
        known = f"more than one name is called {name}: give it whole" if found else f"no agent ever had the name {name}"
        raise Failure(Exit.FAILED, [known], "`tunnelrelay name list` lists them all")
    row = found[0]
    if _state(row) == "held":
        hint = "stop its agent and try again later"
        if any(token.revoked_at is None for token in await store.tokens(row.owner)):  # the owner `local` has no tokens
            hint += f"; to make it stop: tunnelrelay token revoke --owner {row.owner}"
        raise Failure(
            Exit.FAILED,
            [f"{row.host} is {row.owner}'s: it is served, or was in the last {LOST_SECONDS / 60:.0f} minutes"],
            hint,
        )
    freed = await store.free_name(row.host)
    assert freed is not None  # names are never deleted
    await store.add_audit([AuditRow(at=time.time(), kind="name.freed", host=row.host, owner=row.owner, node=COMMAND)])
    return freed


def _state(row: NameRow) -> str:
    if row.released_at == FREED_AT:
        return "free"
    if row.released_at is not None:
        return "given up"
    return "held" if row.at > time.time() - LOST_SECONDS else "lost"


def _record(row: NameRow) -> dict[str, str | int | None]:
    state = _state(row)
    return {
        "host": row.host,
        "owner": row.owner,
        "generation": row.generation,
        "state": state,
        "last_held_at": when(row.at),
        "given_up_at": when(row.released_at) if state == "given up" else None,
    }


def _print_table(found: list[NameRow]) -> None:
    rows = ([None if value is None else str(value) for value in _record(row).values()] for row in found)
    print_table(("host", "owner", "generation", "state", "last held", "given up"), rows)
