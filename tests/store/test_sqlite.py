"""What only the store in a file does: it keeps, upgrades, and guards the file."""

# ruff: noqa: ASYNC240 (a test may wait for its own disk)

import asyncio
import os
import sqlite3
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiosqlite
import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, event

from tests.store.older import make_sqlite
from tunnelrelay.model import Token
from tunnelrelay.store import store as opening
from tunnelrelay.store import upgrade as upgrading
from tunnelrelay.store.base import (
    KEEP_REVOKED,
    AuditRow,
    NameRow,
    SessionCriteria,
    SessionRow,
    StoreError,
    StoreTooNewError,
)
from tunnelrelay.store.resources import ProviderRow
from tunnelrelay.store.schema import metadata
from tunnelrelay.store.store import SqliteStore

TOKEN = Token(id="tok_1", owner="ann", created_at=100.0)
SESSION = SessionRow(
    key=b"k" * 32,
    host="demo.localhost",
    connection_id="conn",
    epoch="e1",
    issuer="https://op.example",
    subject="sub-1",
    email="",
    created_at=100.0,
    last_seen=100.0,
    expires_at=200.0,
    sealed=b"sealed",
)
ALEMBIC_INI = Path(__file__).parents[2] / "server" / "alembic.ini"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "relay.db"


async def test_what_was_saved_is_there_after_a_restart(path: Path) -> None:
    first = await SqliteStore.open(path)
    await first.add_token(TOKEN, b"d" * 32)
    await first.close()
    second = await SqliteStore.open(path)
    assert await second.token_by_digest(b"d" * 32) == TOKEN
    await second.close()


async def test_two_processes_worth_of_stores_share_one_file(path: Path) -> None:
    stores = await asyncio.gather(*(SqliteStore.open(path) for _ in range(4)))
    for number, store in enumerate(stores):
        await store.add_token(Token(id=f"tok_{number}", owner="ann", created_at=number), bytes([number]) * 32)
    assert len(await stores[0].tokens()) == 4
    answers = await asyncio.gather(*(store.use_once(b"mark", 1.0) for store in stores for _ in range(5)))
    assert sum(answers) == 1
    for store in stores:
        await store.close()


async def test_nobody_else_may_read_the_files(path: Path) -> None:
    before = os.umask(0)
    try:
        store = await SqliteStore.open(path)
        await store.add_token(TOKEN, b"d" * 32)
        modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
        await store.close()
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(["relay.db", "relay.db-wal", "relay.db-shm", "relay.db.lock"], 0o600)


async def test_a_file_others_may_read_is_closed_to_them(path: Path) -> None:
    path.touch(mode=0o644)
    path.chmod(0o644)
    await (await SqliteStore.open(path)).close()
    assert path.stat().st_mode & 0o777 == 0o600


async def test_the_file_is_written_ahead_of_the_database(path: Path) -> None:
    await (await SqliteStore.open(path)).close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


async def test_a_file_of_a_newer_release_is_refused_and_left_alone(path: Path) -> None:
    await (await SqliteStore.open(path)).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    with pytest.raises(StoreTooNewError, match="newer tunnelrelay"):
        await SqliteStore.open(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == ("9999",)


async def test_a_file_that_is_no_database_is_a_clear_error(path: Path) -> None:
    path.write_text("this is a shopping list, and long enough to be looked at by SQLite as a header " * 5)
    with pytest.raises(StoreError, match="cannot be opened"):
        await SqliteStore.open(path)


async def test_a_missing_directory_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be opened"):
        await SqliteStore.open(tmp_path / "nowhere" / "relay.db")


async def test_a_damaged_store_fails_as_a_store_and_shows_no_values(path: Path) -> None:
    store = await SqliteStore.open(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE tokens")
        connection.commit()
    with pytest.raises(StoreError) as caught:
        await store.add_token(TOKEN, b"digest-canary-digest-canary-dige")
    assert "canary" not in str(caught.value)
    await store.close()


async def test_a_cancelled_call_leaves_the_store_usable(path: Path) -> None:
    store = await SqliteStore.open(path)
    calls = [asyncio.ensure_future(store.tokens()) for _ in range(8)]
    await asyncio.sleep(0)  # lets every call begin
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    assert await store.tokens() == []
    await store.close()


async def test_a_cancelled_write_keeps_no_lock(path: Path) -> None:
    store = await SqliteStore.open(path)
    loop, began = asyncio.get_running_loop(), asyncio.Event()

    def note(statement: str) -> None:
        if statement.startswith("INSERT"):
            loop.call_soon_threadsafe(began.set)

    async with store.engine.connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        assert isinstance(driver, aiosqlite.Connection)
        await driver.set_trace_callback(note)
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        events = [AuditRow(at=1.0, kind="login.ok"), AuditRow(at=2.0, kind="login.ok")]
        call = asyncio.ensure_future(store.add_audit(events))
        await began.wait()  # now the statement waits for the lock, in its thread
        call.cancel()
        other.rollback()
    with pytest.raises(asyncio.CancelledError) as caught:
        await call

    await store.add_token(TOKEN, b"d" * 32)

    assert caught.value.__traceback__ is not None  # it was kept until here, and the statement with it
    assert await store.tokens() == [TOKEN]
    await store.close()


async def test_a_store_closes_once_its_calls_have_ended_in_their_threads(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread tells the loop how its call ended; it dies with a traceback when the loop was closed by then."""
    monkeypatch.setattr("tunnelrelay.store.store.PRAGMAS", ("PRAGMA busy_timeout = 200",))
    before = set(threading.enumerate())
    store = await SqliteStore.open(path)
    began = asyncio.Event()
    event.listen(store.engine.sync_engine, "before_cursor_execute", lambda *_: began.set())
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN EXCLUSIVE")
        call = asyncio.ensure_future(store.add_token(TOKEN, b"d" * 32))
        await began.wait()
        for _ in range(2):  # the second time it waits for the connection to close
            await asyncio.sleep(0)
            call.cancel()
        await asyncio.gather(call, return_exceptions=True)

        await store.close()

        left = {thread.name for thread in set(threading.enumerate()) - before}
        assert [name for name in left if "connection_worker" in name] == []


async def test_a_path_with_odd_characters_works(tmp_path: Path) -> None:
    path = tmp_path / "50% ?a#b" / "relay.db"
    path.parent.mkdir()
    store = await SqliteStore.open(path)
    await store.ping()
    await store.close()
    assert path.stat().st_size > 0


@pytest.mark.parametrize("made", [None, "0001"], ids=["new", "older"])
def test_an_upgrade_that_fails_half_way_leaves_the_file_as_it_was(path: Path, made: str | None) -> None:
    def tables() -> list[str]:
        with closing(sqlite3.connect(path)) as connection:
            return [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]

    if made is not None:
        make_sqlite(path, made)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE revisions (in_the_way)")  # the last one that either makes
    before = tables()
    with pytest.raises(StoreError, match="cannot be upgraded"):
        upgrading.upgrade(path)
    assert tables() == before
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE revisions")
    upgrading.upgrade(path)
    assert {"tokens", "revisions"} <= {*tables()}


def differences(path: Path) -> list[object]:
    """What the tables of a file have and the schema has not, or the reverse."""
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        found = list(compare_metadata(context, metadata))
    engine.dispose()
    return found


def test_a_new_database_and_one_that_was_upgraded_have_exactly_the_tables_of_the_schema(tmp_path: Path) -> None:
    new, older = tmp_path / "new.db", tmp_path / "older.db"
    upgrading.upgrade(new)
    make_sqlite(older, "0001")
    upgrading.upgrade(older)

    assert differences(new) == []
    assert differences(older) == []


def test_the_head_kept_in_the_code_is_alembics_head() -> None:
    scripts = ScriptDirectory.from_config(Config(str(ALEMBIC_INI)))
    assert scripts.get_heads() == [upgrading.HEAD]


async def test_a_file_of_the_release_before_keeps_what_is_in_it(path: Path) -> None:
    make_sqlite(path, "0001")
    session = ("k" * 32, "demo.localhost", "conn", "e1", "https://op.example", "sub", "a@b.example", 1.0, 2.0, 3.0, "s")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("INSERT INTO tokens VALUES ('tok_1', 'ann', ?, 100.0, NULL, NULL)", (b"d" * 32,))
        connection.execute(
            f"INSERT INTO sessions VALUES ({', '.join('?' * 11)})", (session[0].encode(), *session[1:10], b"sealed")
        )
        connection.execute("INSERT INTO names VALUES ('demo.localhost', 'ann', 100.0)")
        connection.commit()

    store = await SqliteStore.open(path)
    assert await store.tokens() == [TOKEN]
    kept = await store.load_session(b"k" * 32)
    assert kept
    assert (kept.key, kept.subject, kept.version, kept.sid, kept.sealed) == (b"k" * 32, "sub", 1, None, b"sealed")
    assert await store.names(0) == [NameRow(host="demo.localhost", owner="ann", at=100.0)]
    await store.close()


async def test_more_sessions_than_a_statement_takes_variables_are_ended_together(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await SqliteStore.open(path)
    for number in range(40):
        await store.save_session(replace(SESSION, key=bytes([number]) * 32))
    await store.close()
    connect = sqlite3.connect

    def connect_limited(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        connection = connect(*args, **kwargs)
        connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 20)
        return connection

    monkeypatch.setattr(sqlite3, "connect", connect_limited)
    store = await SqliteStore.open(path)
    ended = await store.end_sessions(SessionCriteria(connection_id="conn", subject="sub-1"), 150.0)
    assert len(ended) == 40
    assert sorted(await store.ended_since(150.0)) == sorted(ended)
    await store.close()


async def test_deleted_and_replaced_secrets_are_not_left_in_the_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where SQLite was built to leave them there."""
    monkeypatch.setattr(opening, "PRAGMAS", ("PRAGMA secure_delete = OFF", *opening.PRAGMAS))
    digest, sealed, old, new = (os.urandom(32) for _ in range(4))
    store = await SqliteStore.open(path)
    for number in range(200):  # neighbours, so that the rows meant lie in the middle of a page
        await store.add_token(Token(id=f"tok_{number}", owner="ann", created_at=number), os.urandom(32))
    await store.add_token(Token(id="tok_gone", owner="ann", created_at=300.0), digest)
    await store.save_session(replace(SESSION, sealed=sealed * 100))
    provider = ProviderRow(
        id="op_1", owner="ann", created_at=1.0, updated_at=1.0, name="acme", owners=(), settings="{}", sealed=old
    )
    await store.providers.add(provider)
    await store.close()
    assert all(secret in path.read_bytes() for secret in (digest, sealed, old))

    store = await SqliteStore.open(path)
    await store.revoke_token("tok_gone", 400.0)
    assert await store.delete_spent(400.0 + KEEP_REVOKED) == 1
    assert await store.end_sessions(SessionCriteria(host=SESSION.host), 150.0) == [SESSION.key]
    assert await store.providers.replace(replace(provider, sealed=new, version=2))
    await store.close()

    left = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert [secret in left for secret in (digest, sealed, old, new)] == [False, False, False, True]
