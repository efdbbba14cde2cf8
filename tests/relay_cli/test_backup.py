"""`tunnelrelay backup` and `restore`: everything there and back, from either database to either, or nothing at all."""

import asyncio
import gzip
import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select

import tunnelctl
from tests.store.test_contract import SESSION
from tests.store.test_contract_resources import ROWS
from tests.support.postgres import PostgresServer, new_database
from tests.support.processes import environment
from tunnelrelay.cli import archive
from tunnelrelay.cli.main import cli
from tunnelrelay.config.database import DatabaseUrl
from tunnelrelay.keys.assertion import SigningKeys
from tunnelrelay.keys.keyring import KeyRing
from tunnelrelay.model import Token
from tunnelrelay.store import dump
from tunnelrelay.store.base import AuditRow, SessionCriteria, StoreError
from tunnelrelay.store.dump import TABLES
from tunnelrelay.store.opening import open_store
from tunnelrelay.store.sql_store import SqlStore
from tunnelrelay.store.upgrade import HEAD

T = TypeVar("T")
KEYS = ("keys.json", "assertion.json")


class Relay:
    """What a relay keeps: a data directory and, maybe, a database elsewhere."""

    def __init__(self, data_dir: Path, url: str | None = None) -> None:
        self.data_dir = data_dir
        self.database = None if url is None else DatabaseUrl(url)
        self.flags = ["--data-dir", str(data_dir), *(() if url is None else ("--database", url))]

    def make(self) -> "Relay":
        """As a relay leaves it behind that was never used."""
        self.data_dir.mkdir(mode=0o700)
        KeyRing.file(self.data_dir / KEYS[0]).load_or_create()
        SigningKeys.file(self.data_dir / KEYS[1]).load_or_create()
        self.do(_nothing)
        return self

    def do(self, action: Callable[[SqlStore], Awaitable[T]]) -> T:
        """What `action` does with its store."""

        async def opened() -> T:
            store = await open_store(self.database, self.data_dir)
            try:
                return await action(store)
            finally:
                await store.close()

        return asyncio.run(opened())

    def keys(self) -> list[bytes]:
        return [(self.data_dir / name).read_bytes() for name in KEYS]

    def rows(self) -> dict[str, list[tuple[Any, ...]]]:
        """All there are, but for how often what has changed, and what the commands themselves noted."""

        async def read(store: SqlStore) -> dict[str, list[tuple[Any, ...]]]:
            async with store.engine.connect() as connection:
                found = {table.name: [*map(tuple, await connection.execute(select(table)))] for table in TABLES}
            del found["revisions"]
            found["audit"] = [row for row in found["audit"] if not any(str(it).startswith("backup.") for it in row)]
            return {name: sorted(rows, key=repr) for name, rows in found.items()}

        return self.do(read)

    def run(self, *args: str, stdin: bytes | None = None) -> Result:
        return CliRunner().invoke(cli, [*args, *self.flags], input=stdin, prog_name="tunnelrelay")


async def _nothing(_store: SqlStore) -> None:
    pass


async def fill(store: SqlStore) -> None:
    """A row or more in every table."""
    for kind, row in ROWS.items():
        await getattr(store, kind).add(row)
    await store.add_token(Token(id="tok_1", owner="ann", created_at=1.1, acl=("bind:a", "bind:b")), b"\xffd" * 16)
    await store.save_session(SESSION)
    await store.use_once(b"once", 1e10)
    await store.claim_name("demo.localhost", "änn", 5.5, lost_seconds=1, cool_seconds=1)
    await store.add_audit(
        [AuditRow(at=float(number), kind="login.ok", details='{"a": "ü\\u0000"}') for number in range(5)]
    )
    await store.save_session(replace(SESSION, key=b"2" * 32, email="2@example.com"))
    await store.end_sessions(SessionCriteria(email="2@example.com"), 7.5)


@dataclass(frozen=True)
class Originals:
    """Made once, and copied for each test.

    Attributes:
        relay: One that keeps something, in SQLite.
        backup: A backup of it.
        other: Another relay, which keeps one token.
    """

    relay: Relay
    backup: Path
    other: Relay


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Originals:
    folder = tmp_path_factory.mktemp("originals")
    relay, other = Relay(folder / "relay").make(), Relay(folder / "other").make()
    relay.do(fill)
    other.do(lambda store: store.add_token(Token(id="tok_other", owner="bob", created_at=1.0), b"o" * 32))
    backup = folder / "backup.tar.gz"
    result = relay.run("backup", str(backup))
    assert result.exit_code == 0, result.output
    return Originals(relay, backup, other)


@pytest.fixture
def relay(originals: Originals, tmp_path: Path) -> Relay:
    return Relay(shutil.copytree(originals.relay.data_dir, tmp_path / "data"))


@pytest.fixture
def other(originals: Originals, tmp_path: Path) -> Relay:
    return Relay(shutil.copytree(originals.other.data_dir, tmp_path / "other"))


@pytest.fixture
def backup(originals: Originals, tmp_path: Path) -> Path:
    return Path(shutil.copy2(originals.backup, tmp_path))


def made(kind: str, folder: Path, postgres: PostgresServer) -> Relay:
    return Relay(folder, new_database(postgres) if kind == "postgresql" else None).make()


@pytest.mark.parametrize("source", ["sqlite", "postgresql"])
@pytest.mark.parametrize("target", ["sqlite", "postgresql"])
def test_everything_comes_back_from_either_database_to_either(
    source: str, target: str, tmp_path: Path, postgres: PostgresServer
) -> None:
    before, after = made(source, tmp_path / "a", postgres), made(target, tmp_path / "b", postgres)
    before.do(fill)
    assert all(before.rows().values())
    assert before.keys() != after.keys()
    backed_up = before.run("backup", str(tmp_path / "file"))
    assert backed_up.exit_code == 0, backed_up.output

    restored = after.run("restore", "--yes", str(tmp_path / "file"))
    assert restored.exit_code == 0, restored.output
    assert after.rows() == before.rows()
    assert after.keys() == before.keys()


def test_nobody_else_may_read_it_and_its_manifest_tells_what_is_in_it(backup: Path) -> None:
    assert backup.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in backup.parent.iterdir() if file.name.startswith(".")] == []
    with tarfile.open(backup) as tar:
        names = tar.getnames()
        member = tar.extractfile("manifest.json")
        assert member is not None
        manifest = json.load(member)
    assert names[-1] == "manifest.json"
    assert set(manifest["sha256"]) == set(names[:-1])
    assert {"keys/keys.json", "keys/assertion.json", "tables/tokens/00001.jsonl"} <= set(names)
    assert manifest["rows"]["audit"] == 5
    assert manifest["schema"] == HEAD


def test_a_file_that_exists_is_replaced_only_by_force(relay: Relay, backup: Path) -> None:
    content = backup.read_bytes()
    result = relay.run("backup", str(backup))
    assert result.exit_code == 1
    assert "--force" in result.stderr
    assert backup.read_bytes() == content
    assert relay.run("backup", "--force", str(backup)).exit_code == 0
    assert backup.read_bytes() != content


def test_a_backup_that_fails_leaves_no_file(relay: Relay, tmp_path: Path) -> None:
    (relay.data_dir / "keys.json").chmod(0o644)
    result = relay.run("backup", str(tmp_path / "new"))
    assert result.exit_code == 1
    assert "can be read by others" in result.stderr
    assert sorted(file.name for file in tmp_path.iterdir()) == ["data"]
    assert relay.run("backup", str(tmp_path / "no" / "where")).exit_code == 1
    assert Relay(tmp_path / "other").run("backup", str(tmp_path / "new")).exit_code == 1
    assert sorted(file.name for file in tmp_path.iterdir()) == ["data"]


def test_a_disk_that_is_full_is_named_as_such(relay: Relay) -> None:
    with Path("/dev/full").open("wb") as full:
        args = [sys.executable, "-m", "tunnelrelay", "backup", "-", *relay.flags]
        done = subprocess.run(args, stdout=full, stderr=subprocess.PIPE, text=True, env=environment({}))
    assert done.returncode == 1
    assert "the backup cannot be written: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert "ignored" not in done.stderr


def test_it_goes_through_pipes(relay: Relay, tmp_path: Path) -> None:
    piped = relay.run("backup", "-")
    assert piped.exit_code == 0, piped.stderr
    other = Relay(tmp_path / "other").make()
    assert other.run("restore", "-", stdin=piped.stdout_bytes).exit_code == 2
    result = other.run("restore", "--yes", "-", stdin=piped.stdout_bytes)
    assert result.exit_code == 0, result.output
    assert other.rows() == relay.rows()


def test_what_was_there_is_gone_and_its_keys_lie_beside(backup: Path, relay: Relay, other: Relay) -> None:
    former = other.keys()
    result = other.run("restore", "--yes", str(backup))
    assert result.exit_code == 0, result.output
    assert [token.id for token in other.do(lambda store: store.tokens())] == ["tok_1"]
    assert [(other.data_dir / f"{name}.before-restore").read_bytes() for name in KEYS] == former
    assert {(other.data_dir / f"{name}.before-restore").stat().st_mode & 0o777 for name in KEYS} == {0o600}
    assert other.keys() == relay.keys()


def test_a_new_machine_needs_nothing_but_the_file(backup: Path, relay: Relay, tmp_path: Path) -> None:
    new = Relay(tmp_path / "new")
    assert new.run("restore", "--yes", str(backup)).exit_code == 0
    assert new.rows() == relay.rows()
    assert new.keys() == relay.keys()
    assert new.data_dir.stat().st_mode & 0o777 == 0o700


def test_nobody_to_ask_is_no_yes(backup: Path, relay: Relay) -> None:
    before = relay.rows()
    result = relay.run("restore", str(backup))
    assert result.exit_code == 2
    assert "--yes" in result.stderr
    assert relay.rows() == before


def test_relays_everywhere_notice_what_changed_and_whose_session_is_over(backup: Path, tmp_path: Path) -> None:
    other = Relay(tmp_path / "other").make()
    gone = replace(SESSION, key=b"gone" * 8)

    async def live(store: SqlStore) -> dict[str, int]:
        await store.save_session(SESSION)
        await store.save_session(gone)
        for number in range(3):
            await store.add_token(Token(id=f"tok_o{number}", owner="bob", created_at=1.0), bytes([number]) * 32)
        return await store.revisions()

    before = other.do(live)
    assert other.run("restore", "--yes", str(backup)).exit_code == 0
    after = other.do(lambda store: store.revisions())
    assert all(after[kind] > before[kind] for kind in before)
    ended = other.do(lambda store: store.ended_since(1000.0))
    assert ended == [gone.key]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_events_after_a_restore_count_on(kind: str, backup: Path, tmp_path: Path, postgres: PostgresServer) -> None:
    other = made(kind, tmp_path / "other", postgres)
    assert other.run("restore", "--yes", str(backup)).exit_code == 0
    events = other.do(lambda store: store.audit())
    assert [(row.id, row.kind) for row in events[:2]] == [(6, "backup.restored"), (5, "login.ok")]


# Damage


def members(file: Path) -> dict[str, bytes]:
    with tarfile.open(file) as tar:
        return {info.name: tar.extractfile(info).read() for info in tar}


def packed(files: dict[str, bytes], kind: bytes = tarfile.REGTYPE) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.type, info.size = kind, len(content) if kind == tarfile.REGTYPE else 0
            tar.addfile(info, io.BytesIO(content))
    return made.getvalue()


def signed(files: dict[str, bytes], **changes: object) -> bytes:
    """A backup of these files whose manifest is right about them, but for `changes`."""
    manifest = json.loads(files.pop("manifest.json"))
    manifest["sha256"] = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    return packed({**files, "manifest.json": json.dumps({**manifest, **changes}).encode()})


def row_changed(table: str = "tokens", **changes: object) -> Callable[[dict[str, bytes]], bytes]:
    def change(files: dict[str, bytes]) -> bytes:
        name = f"tables/{table}/00001.jsonl"
        first = json.loads(files[name].splitlines()[0])
        row = {key: value for key, value in {**first, **changes}.items() if value != "drop"}
        return signed({**files, name: json.dumps(row).encode() + b"\n"})

    return change


DAMAGE: dict[str, Callable[[dict[str, bytes]], bytes]] = {
    "empty": lambda files: b"",
    "no archive": lambda files: b"a shopping list " * 1000,
    "gzip of nothing": lambda files: gzip.compress(b""),
    "cut short": lambda files: packed(files)[:-200],
    "a flipped bit": lambda files: bytes([*(p := packed(files))[:600], p[600] ^ 1, *p[601:]]),
    "no end": lambda files: packed({name: text for name, text in files.items() if name != "manifest.json"}),
    "a part missing": lambda files: packed({name: text for name, text in files.items() if "tokens" not in name}),
    "a part changed": lambda files: packed({**files, "keys/keys.json": b"{}"}),
    "a part more": lambda files: packed({**files, "tables/tokens/00009.jsonl": b""}),
    "links": lambda files: packed(files, kind=tarfile.SYMTYPE),
    "rows missing": lambda files: signed({name: text for name, text in files.items() if "tokens" not in name}),
    "keys that are none": lambda files: signed({**files, "keys/keys.json": b"{}"}),
    "another schema": lambda files: signed(files, schema="0002"),
    "a newer schema": lambda files: signed(files, schema="9999"),
    "another format": lambda files: signed(files, format=2),
    "no row": lambda files: signed({**files, "tables/tokens/00001.jsonl": b"[]\n"}),
    "a column missing": row_changed(owner="drop"),
    "a column more": row_changed(more="x"),
    "a text too long": row_changed(owner="x" * 201),
    "no text": row_changed(owner="\x00"),
    "no value": row_changed(owner=None),
    "no bytes": row_changed(digest="not base64"),
    "a number as a text": row_changed(created_at="1"),
    "a text as a number": row_changed(owner=1),
    "an object as a list": row_changed(acl={}),
    "a number too large": row_changed(created_at=10**400),
    "a count too large": row_changed(table="names", generation=2**70),
    "a part without a table's name": lambda files: signed({**files, "tables": b""}),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_backup_changes_nothing(damage: str, backup: Path, other: Relay) -> None:
    before = (other.rows(), other.keys())
    backup.write_bytes(DAMAGE[damage](members(backup)))

    result = other.run("restore", "--yes", str(backup))
    assert result.exit_code == 1, result.output
    assert result.stderr.startswith("error: ")
    assert "Traceback" not in result.output
    assert (other.rows(), other.keys()) == before
    assert sorted(file.name for file in other.data_dir.iterdir() if "before" in file.name) == []


def test_a_backup_of_another_schema_says_which_release_restores_it(backup: Path, relay: Relay) -> None:
    backup.write_bytes(signed(members(backup), schema="0002", release="0.0.9"))
    result = relay.run("restore", "--yes", str(backup))
    assert "hint: restore it with tunnelrelay 0.0.9, then start this release" in result.stderr


def test_a_backup_of_the_same_release_and_another_schema_names_the_checkout(backup: Path, relay: Relay) -> None:
    backup.write_bytes(signed(members(backup), schema="0002", release=tunnelctl.__version__))
    result = relay.run("restore", "--yes", str(backup))
    assert "from the checkout that made it, then start this release" in result.stderr


def test_a_backup_of_a_newer_schema_is_not_said_to_be_upgraded(backup: Path, relay: Relay) -> None:
    backup.write_bytes(signed(members(backup), schema="9999", release="9.9.9"))
    result = relay.run("restore", "--yes", str(backup))
    assert "hint: restore it with tunnelrelay 9.9.9\n" in result.stderr


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_rows_that_the_database_refuses_change_nothing(
    kind: str, backup: Path, tmp_path: Path, postgres: PostgresServer
) -> None:
    other = made(kind, tmp_path / "other", postgres)
    other.do(lambda store: store.add_token(Token(id="tok_other", owner="bob", created_at=1.0), b"o" * 32))
    before = (other.rows(), other.keys())
    files, name = members(backup), "tables/tokens/00001.jsonl"
    rows = json.loads(files["manifest.json"])["rows"]
    backup.write_bytes(signed({**files, name: files[name] * 2}, rows={**rows, "tokens": 2}))
    result = other.run("restore", "--yes", str(backup))
    assert result.exit_code == 1
    assert "nothing was changed" in result.stderr
    assert (other.rows(), other.keys()) == before


# How it is read and written


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_backup_is_one_moment_whatever_is_written_meanwhile(
    kind: str, tmp_path: Path, postgres: PostgresServer
) -> None:
    async def read(store: SqlStore) -> tuple[int, int]:
        sessions, tokens = dump.schema.sessions, dump.schema.tokens
        async with dump.snapshot(store) as moment:
            before = [line async for line in moment.lines(sessions)]
            await store.add_token(Token(id="tok_1", owner="ann", created_at=1.0), b"d" * 32)
            after = [line async for line in moment.lines(tokens)]
        return len(before), len(after)

    assert made(kind, tmp_path / "data", postgres).do(read) == (0, 0)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_rows_are_read_and_written_in_pieces(
    kind: str, tmp_path: Path, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "PIECE", 2000)
    monkeypatch.setattr(dump, "AT_ONCE", 7)
    before, after = Relay(tmp_path / "a").make(), made(kind, tmp_path / "b", postgres)
    events = [AuditRow(at=float(number), kind="login.ok", reason=str(number)) for number in range(100)]
    before.do(lambda store: store.add_audit(events))
    assert before.run("backup", str(tmp_path / "file")).exit_code == 0
    assert len([name for name in members(tmp_path / "file") if name.startswith("tables/audit/")]) > 5
    assert after.run("restore", "--yes", str(tmp_path / "file")).exit_code == 0
    assert after.rows() == before.rows()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_restore_that_breaks_off_changes_nothing(kind: str, tmp_path: Path, postgres: PostgresServer) -> None:
    async def break_off(store: SqlStore) -> None:
        def rows() -> Any:
            yield dump.schema.used, {"key": b"1", "expires_at": 1.0}
            raise archive.ArchiveError("the disk is gone")

        with pytest.raises(archive.ArchiveError):
            await dump.replace_all(store, rows(), 1.0)
        with pytest.raises(StoreError, match="nothing was changed"):
            await dump.replace_all(store, [(dump.schema.used, {"key": b"1", "expires_at": None})], 1.0)

    relay = made(kind, tmp_path / "data", postgres)
    relay.do(fill)
    before = relay.rows()
    relay.do(break_off)
    assert relay.rows() == before
