"""The `tunnelrelay keys` commands: list, rotate and drop keys. `main` has their flags.

They change the key files under the files' lock; relays read changed files again within seconds.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from tunnelctl.cli.exits import Exit, Failure
from tunnelrelay.cli.store import COMMAND, Place, check_user, demand_store, when, with_store
from tunnelrelay.cli.table import print_table
from tunnelrelay.keys.assertion import FILE_NAME as SIGNING_FILE
from tunnelrelay.keys.assertion import KEEP_SECONDS as SIGN_KEEP_SECONDS
from tunnelrelay.keys.assertion import SigningKeys
from tunnelrelay.keys.key_files import KeyFile, SecretFileError
from tunnelrelay.keys.keyring import KEEP_SECONDS as SEAL_KEEP_SECONDS
from tunnelrelay.keys.keyring import KeyRefused, KeyRing
from tunnelrelay.keys.rotation import ring_kids, signing_kids
from tunnelrelay.store.base import AuditRow

Record = dict[str, str | None]
Result = TypeVar("Result")


def show(_place: Place, keys_file: Path, *, as_json: bool) -> None:
    """Print the keys of both key files, without their secrets."""
    ring, signing = _guarded(keys_file, lambda: (KeyRing.file(keys_file).load(), _signing(keys_file).load()))
    records = [*_ring_records(ring, time.time()), *_signing_records(signing, time.time())]
    if as_json:
        click.echo(json.dumps(records, indent=2))
    else:
        _print_table(records)


def rotate(place: Place, keys_file: Path, *, as_json: bool) -> None:
    """Create a new sealing key and a new signing key."""
    demand_store(place)  # no key is changed if its audit event cannot be stored
    now = time.time()
    made = _guarded(keys_file, lambda: _rotated(keys_file, now))
    _keep_events(place, "keys.rotated", made)
    if as_json:
        click.echo(json.dumps(made, indent=2))
        return
    for item in made:
        click.echo(f"new key {item['kid']}: {item['use']}s from {item['from']}", err=True)


def drop(place: Place, keys_file: Path, kid: str, *, as_json: bool) -> None:
    """Delete one key before its time: what it sealed or signed becomes invalid."""
    demand_store(place)
    dropped = _guarded(keys_file, lambda: _dropped(keys_file, kid))
    _keep_events(place, "keys.dropped", [dropped])
    if as_json:
        click.echo(json.dumps(dropped, indent=2))
        return
    lost = (
        "what it sealed opens no more: sessions a relay has not in memory must log in again"
        if dropped["use"] == "seal"
        else "assertions it signed are refused once apps have read the keys again"
    )
    click.echo(f"dropped {kid}; {lost}", err=True)


def _rotated(keys_file: Path, now: float) -> list[Record]:
    ring_before, ring = KeyRing.file(keys_file).change(lambda keys: keys.with_new_key(now))
    sign_before, signing = _signing(keys_file).change(lambda keys: keys.with_new_key(now))
    new = (ring_kids(ring) - ring_kids(ring_before)) | (signing_kids(signing) - signing_kids(sign_before))
    return [item for item in [*_ring_records(ring, now), *_signing_records(signing, now)] if item["kid"] in new]


def _dropped(keys_file: Path, kid: str) -> Record:
    """Delete a key from the key file that has it. Returns its record. Raises KeyRefused for an unknown id."""
    if kid in signing_kids(_signing(keys_file).load()):
        _signing(keys_file).change(lambda keys: keys.without(kid))
        return {"kid": kid, "use": "sign"}
    KeyRing.file(keys_file).change(lambda keys: keys.without(kid))
    return {"kid": kid, "use": "seal"}


def _guarded(keys_file: Path, action: Callable[[], Result]) -> Result:
    """Run `action` on the key files, and turn its errors into `Failure`.

    Root is refused on another user's files: a file that root rewrites would be unreadable for that user's relay.
    """
    check_user(keys_file)
    if not keys_file.exists():
        raise Failure(
            Exit.FAILED,
            [f"there are no keys in {keys_file}"],
            "a relay makes them when it starts; name its own with --keys-file or --data-dir",
        )
    try:
        return action()
    except KeyRefused as problem:
        hint = "`tunnelrelay keys list` lists them; the newest can go a day after `tunnelrelay keys rotate`"
        raise Failure(Exit.FAILED, [str(problem)], hint) from problem
    except SecretFileError as problem:
        raise Failure(Exit.FAILED, [problem.message], problem.hint) from problem


def _signing(keys_file: Path) -> KeyFile[SigningKeys]:
    return SigningKeys.file(keys_file.with_name(SIGNING_FILE))


def _ring_records(ring: KeyRing, now: float) -> list[Record]:
    spans = [(master.kid, master.created) for master in ring.masters]
    return _records("seal", "opens", spans, ring.sealing(now).kid, SEAL_KEEP_SECONDS)


def _signing_records(signing: SigningKeys, now: float) -> list[Record]:
    spans = [(item.kid, item.signs_from) for item in signing.keys]
    return _records("sign", "published", spans, signing.signing(now).kid, SIGN_KEEP_SECONDS)


def _records(use: str, former: str, spans: list[tuple[str, float]], active: str, keep_seconds: float) -> list[Record]:
    """Return a record for each key of a file, oldest first, with its state: former, in use, or used later.

    Args:
        use: What the keys are for, `seal` or `sign`.
        former: The state of a key that is not used for new data any more.
        spans: Id of each key, with the Unix time of its creation or first use.
        active: Id of the key in use.
        keep_seconds: How long a former key is kept.
    """
    states = [former, f"{use}s", "next"]
    at = next(number for number, (kid, _) in enumerate(spans) if kid == active)
    ends = [start + keep_seconds for _, start in spans[1:]] + [None]
    return [
        {
            "kid": kid,
            "use": use,
            "state": states[(number >= at) + (number > at)],
            "from": when(start) if start else None,
            "until": when(ends[number]) if number < at else None,
        }
        for number, (kid, start) in enumerate(spans)
    ]


def _print_table(records: list[Record]) -> None:
    names = ("kid", "use", "state", "from", "until")
    print_table(("id", "use", "state", "from", "dropped at"), ([record[name] for name in names] for record in records))


def _keep_events(place: Place, kind: str, keys: list[Record]) -> None:
    details = [json.dumps({"use": key["use"], "kid": key["kid"]}) for key in keys]
    rows = [AuditRow(at=time.time(), kind=kind, reason="asked", node=COMMAND, details=text) for text in details]
    with_store(place, lambda store: store.add_audit(rows))
