"""The `tunnelrelay session` commands: list and end visitors' sessions.

They change the store, then tell the relays on this machine, which would otherwise find the change within two seconds.
"""

import json
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import click

from tunnelctl.cli.exits import Exit, Failure
from tunnelrelay.app import control_socket
from tunnelrelay.cli.store import COMMAND, Place, when, with_store
from tunnelrelay.cli.table import print_table
from tunnelrelay.keys.key_files import SecretFileError
from tunnelrelay.keys.keyring import KeyRing
from tunnelrelay.observe.audit import Audit
from tunnelrelay.observe.text import printable
from tunnelrelay.store.base import AuditRow, SessionCriteria, SessionHolder, Store

MAX_LISTED = 100_000
"""Sessions that are read for a list at most, about 1 kB each without their encrypted part."""
ID_LENGTH = 12
"""Characters of a session's id in these commands: the beginning of its key's digest, which is no credential."""
MIN_PREFIX = 4


def show(place: Place, host: str | None, user: str | None, *, as_json: bool) -> None:
    """Print sessions, the most recently used first."""
    found = with_store(place, lambda store: _found(store, host, user))
    if as_json:
        click.echo(json.dumps([_record(row) for row in found], indent=2))
    elif found:
        _print_table(found)
    else:
        _say_none_found(host, user)


def revoke(
    place: Place, keys_file: Path, ids: Sequence[str], host: str | None, user: str | None, *, as_json: bool
) -> None:
    """End sessions in the store, then make running relays close their connections. Without id, host or user: all.

    Finding no session is not an error: an operator who removes a person's access wants exactly that.

    Raises:
        Failure: An id matches no session, or several, and none was ended; or a running relay did not answer.
    """
    ended = with_store(place, lambda store: _revoke_in(store, keys_file, ids, host, user))
    if as_json:
        click.echo(json.dumps([_record(row) for row in ended], indent=2))
    if not ended:
        _say_none_found(host, user)
        return
    try:
        done = control_socket.tell(place.data_dir, control_socket.Order(sessions_ended=True))
    except control_socket.ControlError as problem:
        raise Failure(
            Exit.FAILED,
            [f"ended, but {problem}"],
            control_socket.UNTOLD_HINT,
        ) from problem
    live = "no relay is running here" if done is None else "what they had open is closed"
    click.echo(f"ended {len(ended)} session{'s'[: len(ended) != 1]}; {live}", err=True)


def _say_none_found(host: str | None, user: str | None) -> None:
    click.echo("nobody is signed in" if host is user is None else "nobody like that is signed in", err=True)


def _criteria(host: str | None, user: str | None, now: float) -> list[SessionCriteria]:
    """Return criteria that match live sessions of a host and of a user; None matches all.

    Args:
        user: E-mail address, or subject at the identity provider.
    """
    live = SessionCriteria(host=host, live_at=now)
    return [live] if user is None else [replace(live, email=user.lower()), replace(live, subject=user)]


async def _found(store: Store, host: str | None, user: str | None) -> list[SessionHolder]:
    lists = [await store.sessions(criteria, limit=MAX_LISTED) for criteria in _criteria(host, user, time.time())]
    return _newest_first({row.key: row for rows in lists for row in rows}.values())


def _newest_first(rows: Iterable[SessionHolder]) -> list[SessionHolder]:
    return sorted(rows, key=lambda row: -row.last_seen)


async def _revoke_in(
    store: Store, keys_file: Path, ids: Sequence[str], host: str | None, user: str | None
) -> list[SessionHolder]:
    """End all matching sessions in one statement, so that sessions begun meanwhile end too. Returns the ended ones."""
    now = time.time()
    criteria_list = _criteria(host, user, now)
    if ids:
        rows = await _found(store, None, None)
        criteria_list = [SessionCriteria(key=_named(rows, name).key) for name in ids]
    ended = _newest_first([row for criteria in criteria_list for row in await store.revoke_sessions(criteria, now)])
    await store.add_audit(_events(ended, now, keys_file))
    return ended


def _events(ended: Sequence[SessionHolder], now: float, keys_file: Path) -> list[AuditRow]:
    """Return an audit event for each ended session, with the keyed digest that relays write for its person.

    If this command cannot read the digest's key (relays that share a database may keep it elsewhere), one event per
    host gives the number of sessions: a digest by another key would look like another person's.
    """
    event = partial(AuditRow, at=now, kind="session.revoke", node=COMMAND)
    try:
        digests = Audit(clock=time.time, key=KeyRing.file(keys_file).load().digest_key("audit"))
    except SecretFileError:
        counts = Counter(row.host for row in ended)
        return [event(host=host, details=json.dumps({"count": str(count)})) for host, count in counts.items()]
    return [
        event(
            host=row.host,
            connection=row.connection_id,
            subject=digests.person(row.issuer, row.subject),
            details=json.dumps({"issuer": row.issuer}),
        )
        for row in ended
    ]


def _named(rows: list[SessionHolder], name: str) -> SessionHolder:
    criteria_list = [row for row in rows if row.key.hex().startswith(name.lower())] if len(name) >= MIN_PREFIX else []
    if len(criteria_list) != 1:
        many = "means more than one session" if criteria_list else "is no session's id"
        raise Failure(
            Exit.FAILED, [f"`{name[:64]}` {many}; nothing was ended"], "`tunnelrelay session list` lists them"
        )
    return criteria_list[0]


def _record(row: SessionHolder) -> dict[str, str | None]:
    return {
        "id": row.key.hex()[:ID_LENGTH],
        "host": row.host,
        "email": row.email,
        "subject": row.subject,
        "issuer": row.issuer,
        "signed_in_at": when(row.created_at),
        "last_seen_at": when(row.last_seen),
        "expires_at": when(row.expires_at),
    }


def _print_table(found: list[SessionHolder]) -> None:
    print_table(("id", "user", "host", "signed in", "last seen", "ends"), map(_row, found))


def _row(row: SessionHolder) -> tuple[str | None, ...]:
    times = (when(at) for at in (row.created_at, row.last_seen, row.expires_at))
    return row.key.hex()[:ID_LENGTH], printable(row.email or row.subject), row.host, *times
