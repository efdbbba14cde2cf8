"""The `tunnelrelay token` commands: create, list and revoke agents' tokens in the store, and tell running relays."""

import json
import time
from collections.abc import Sequence
from typing import Any

import click

from tunnelctl.cli.exits import Exit, Failure
from tunnelrelay.agents import authtokens
from tunnelrelay.agents.token_acl import acl_problem
from tunnelrelay.app import control_socket
from tunnelrelay.cli.audit import seconds
from tunnelrelay.cli.store import COMMAND, Place, when, with_store
from tunnelrelay.cli.table import print_table
from tunnelrelay.model import Token
from tunnelrelay.observe.text import printable
from tunnelrelay.services.problems import ManageError
from tunnelrelay.services.service_base import check_texts
from tunnelrelay.store.base import AuditRow, Store


def create(place: Place, owner: str, description: str, acl: Sequence[str], expires: str, *, as_json: bool) -> None:
    """Create a token and print it. Only the token goes to stdout, for scripts.

    Args:
        acl: What the token may bind; none for everything.
        expires: How long the token is valid, as in 30d; "" for ever.
    """
    if problem := authtokens.owner_problem(owner):
        raise Failure(Exit.FAILED, [f"`{owner}` cannot be an owner: {problem}"], "give another name with --owner")
    fields = _token_fields(description, acl, expires)
    text, token = with_store(place, lambda store: _create_in(store, owner, fields), may_make=True)
    if as_json:
        click.echo(json.dumps({"token": text, **_record(token)}))
        return
    click.echo(f"token {token.id} of owner {owner}, kept as a digest in {place}; it is not shown again:", err=True)
    click.echo(text)
    click.echo("hint: on the agent's machine: tunnel config add-authtoken TOKEN", err=True)


def show(place: Place, owner: str | None, *, as_json: bool) -> None:
    """Print tokens without their secrets, oldest first."""
    found = with_store(place, lambda store: store.tokens(owner))
    if as_json:
        click.echo(json.dumps([_record(token) for token in found], indent=2))
    elif found:
        _print_table(found)
    else:
        click.echo(f"no tokens in {place}", err=True)


def revoke(place: Place, names: Sequence[str], owner: str | None, *, as_json: bool) -> None:
    """Revoke tokens in the store, then make running relays end their links."""
    found, unknown = with_store(place, lambda store: _revoke_in(store, names, owner))
    if as_json:
        click.echo(json.dumps([_record(token) for token in found], indent=2))
    untold = [problem for token in found if (problem := _tell(place, token))]
    if untold:
        raise Failure(
            Exit.FAILED,
            [f"revoked, but {untold[0]}"],
            control_socket.UNTOLD_HINT,
        )
    if unknown:
        raise Failure(Exit.FAILED, [f"there is no token {', '.join(unknown)}"], "`tunnelrelay token list` lists them")
    if not found:
        raise Failure(Exit.FAILED, [f"owner {owner} has no good token"], "`tunnelrelay token list` lists them")


def _token_fields(description: str, acl: Sequence[str], expires: str) -> dict[str, Any]:
    """Return the fields of a new token that the options set. Raises Failure for invalid values."""
    try:
        check_texts(description=description)
    except ManageError as error:
        raise Failure(Exit.FAILED, [error.message], error.hint or "give a shorter --description") from error
    problems = [problem for rule in acl if (problem := acl_problem(rule))]
    if problems:
        raise Failure(Exit.USAGE, problems, "a rule is like bind:pr-* or bind:*.tun.example")
    return {
        "description": description,
        "acl": tuple(acl),
        "expires_at": time.time() + seconds(expires) if expires else None,
    }


async def _create_in(store: Store, owner: str, fields: dict[str, Any]) -> tuple[str, Token]:
    text, token = await authtokens.create(store, owner, **fields)
    await store.add_audit([_event("token.created", token, token.created_at)])
    return text, token


async def _revoke_in(store: Store, names: Sequence[str], owner: str | None) -> tuple[list[Token], list[str]]:
    """Revoke tokens by id, by token, or all of an owner. Returns the revoked tokens, and the names that match none."""
    if owner is not None:
        names = [token.id for token in await store.tokens(owner) if token.revoked_at is None]
    found, unknown = [], []
    for name in names:
        shown = await authtokens.find(store, name)
        token = await store.revoke_token(name if shown is None else shown.id, time.time())
        if token is not None:
            found.append(token)
            await store.add_audit([_event("token.revoked", token, time.time())])
        else:
            unknown.append("(the one given)" if name.startswith(authtokens.PREFIX) else name)
    return found, unknown


def _tell(place: Place, token: Token) -> str:
    """Make running relays end the token's links, and print how many there were. Returns what went wrong, or ""."""
    try:
        done = control_socket.tell(place.data_dir, control_socket.Order(revoked=token.id))
    except control_socket.ControlError as problem:
        return str(problem)
    live = "no relay is running here" if done is None else f"live links ended: {done.links}"
    click.echo(f"revoked {token.id} of owner {token.owner}; {live}", err=True)
    return ""


def _event(kind: str, token: Token, at: float) -> AuditRow:
    return AuditRow(at=at, kind=kind, owner=token.owner, node=COMMAND, details=json.dumps({"token": token.id}))


def _record(token: Token) -> dict[str, Any]:
    return {
        "id": token.id,
        "owner": token.owner,
        "description": token.description,
        "acl": list(token.acl),
        "expires_at": when(token.expires_at),
        "created_at": when(token.created_at),
        "last_used_at": when(token.last_used_at),
        "revoked_at": when(token.revoked_at),
    }


def _print_table(found: list[Token]) -> None:
    headings = ("id", "owner", "created", "last used", "state", "may bind", "description")
    print_table(headings, map(_row, found))


def _row(token: Token) -> tuple[str | None, ...]:
    last_used = when(token.last_used_at) or "never"
    acl, description = " ".join(token.acl) or "everything", printable(token.description)
    return token.id, token.owner, when(token.created_at), last_used, _state(token), acl, description


def _state(token: Token) -> str:
    if token.revoked_at is not None:
        return f"revoked {when(token.revoked_at)}"
    if authtokens.has_expired(token, time.time()):
        return f"expired {when(token.expires_at)}"
    return "good" if token.expires_at is None else f"good until {when(token.expires_at)}"
