"""The `tunnelrelay audit` commands: list audit events. `main` has their flags.

They read the store, with and without a running relay; the events of a running relay's last second may be missing.
"""

import json
import time

import click
import msgspec

from tunnelctl.cli.exits import Exit, Failure
from tunnelctl.nearest import nearest
from tunnelctl.policy.durations import parse_duration
from tunnelrelay.cli.store import Place, when, with_store
from tunnelrelay.observe.audit import KINDS
from tunnelrelay.observe.text import printable, quoted
from tunnelrelay.store.base import AuditRow


def show(place: Place, since: str, host: str | None, kind: str | None, limit: int, *, as_json: bool) -> None:
    """Print audit events, oldest first, so that the latest is just above the prompt."""
    if kind is not None and kind not in KINDS:
        raise Failure(Exit.USAGE, [f"there is no kind of event called `{kind}`"], _hint(kind))
    start = time.time() - seconds(since) if since else 0.0
    found = with_store(place, lambda store: store.audit(since=start, host=host, kind=kind, limit=limit))
    found.reverse()
    if as_json:
        click.echo(json.dumps([audit_record(row) for row in found], indent=2))
    elif found:
        click.echo("\n".join(map(_line, found)))
    else:
        click.echo(f"no such events in {place}", err=True)


def _hint(kind: str) -> str:
    near = nearest(kind, KINDS)
    return f"did you mean `{near}`?" if near is not None else f"it is one of {', '.join(KINDS)}"


def seconds(text: str) -> int:
    """Convert a duration such as `90s`, `15m`, `1h` or `7d` to seconds. Raises Failure for any other text."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise Failure(Exit.USAGE, [str(error)], "write it as 90s, 15m, 1h or 7d") from error


def audit_record(row: AuditRow) -> dict[str, object]:
    """Return an audit event as the object that `--json` prints."""
    texts = ("kind", "reason", "host", "owner", "connection", "subject", "peer", "request_id", "node", "actor")
    return {"id": row.id, "at": when(row.at), **{name: getattr(row, name) for name in texts}, "details": _details(row)}


def _line(row: AuditRow) -> str:
    """Return an audit event as a line of text: time, kind, and the other fields as key=value."""
    names = ("reason", "host", "owner", "subject", "peer", "connection", "request_id", "node")
    known = {name: getattr(row, name) for name in names} | _details(row)
    words = [f"{printable(name)}={quoted(value)}" for name, value in known.items() if value]
    return " ".join([str(when(row.at)), f"{row.kind:<20}", *words])


def _details(row: AuditRow) -> dict[str, str]:
    return msgspec.json.decode(row.details, type=dict[str, str])
