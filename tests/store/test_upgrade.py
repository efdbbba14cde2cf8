"""A database of the release before keeps everything that is in it, and gets the right defaults for what is new."""

import json
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest

from tests.store.older import make_postgresql, make_sqlite
from tests.support.postgres import PostgresServer
from tunnelrelay.config.database import DatabaseUrl
from tunnelrelay.model import Token
from tunnelrelay.store.base import AuditRow, NameRow, SessionRow
from tunnelrelay.store.opening import open_store
from tunnelrelay.store.resources import COLLECTIONS
from tunnelrelay.store.sql_store import SqlStore

BEFORE = "0002"
SESSION = SessionRow(
    key=b"k" * 32,
    host="demo.localhost",
    connection_id="conn",
    epoch="e1",
    issuer="https://op.example",
    subject="sub",
    email="a@b.example",
    created_at=1.5,
    last_seen=2.5,
    expires_at=1e10,
    sealed=b"sealed\x00",
    version=3,
    sid=b"s" * 32,
    client_id="app",
)
EVENT = AuditRow(
    id=1,
    at=7.5,
    kind="login.ok",
    host="demo.localhost",
    owner="ann",
    connection="conn",
    subject="digest",
    peer="192.0.2.1",
    request_id="r1",
    node="here:443",
    reason="why",
    details='{"a": "b"}',
)
ROWS: dict[str, dict[str, object]] = {
    "tokens": {
        "id": "tok_1",
        "owner": "ann",
        "digest": b"d" * 32,
        "created_at": 100.0,
        "last_used_at": 120.0,
        "revoked_at": None,
    },
    "sessions": {name: getattr(SESSION, name) for name in SessionRow.__slots__},
    "ended": {"key": b"e" * 32, "at": 50.0},
    "used": {"key": b"u" * 32, "expires_at": 1e10},
    "names": {"host": "demo.localhost", "owner": "ann", "at": 100.0, "generation": 4, "released_at": 110.0},
    "audit": {name: getattr(EVENT, name) for name in AuditRow.__slots__ if name not in ("id", "actor")},
}
Opened = Callable[[], Awaitable[SqlStore]]


@pytest.fixture(params=["sqlite", "postgresql"])
async def reopened(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Opened]:
    """Opens, and so upgrades, a database of the release before with a row in every table."""
    url = None
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        url = DatabaseUrl(await server.empty_database())
    if url is None:
        make_sqlite(tmp_path / "relay.db", BEFORE)
        _fill_sqlite(tmp_path / "relay.db")
    else:
        await make_postgresql(url.reveal(), BEFORE)
        await _fill_postgresql(url)
    stores: list[SqlStore] = []

    async def opened() -> SqlStore:
        stores.append(await open_store(url, tmp_path))
        return stores[-1]

    yield opened
    for store in stores:
        await store.close()


def _fill_sqlite(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for table, row in ROWS.items():
            marks = ", ".join("?" * len(row))
            connection.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", tuple(row.values()))
        connection.commit()


async def _fill_postgresql(url: DatabaseUrl) -> None:
    connection = await asyncpg.connect(url.reveal())
    for table, row in ROWS.items():
        marks = ", ".join(f"${number}" for number in range(1, len(row) + 1))
        await connection.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", *row.values())
    await connection.close()


async def test_everything_is_still_there_with_the_defaults_of_what_is_new(reopened: Opened) -> None:
    store = await reopened()
    token = Token(id="tok_1", owner="ann", created_at=100.0, last_used_at=120.0)
    assert await store.tokens() == [token]
    assert await store.token_page() == [token]
    assert await store.token_by_digest(b"d" * 32) == token
    assert (token.acl, token.expires_at, token.user_id) == ((), None, "")
    assert await store.load_session(SESSION.key) == SESSION
    assert await store.ended_since(0) == [b"e" * 32]
    assert not await store.use_once(b"u" * 32, 1.0)
    assert await store.all_names() == [
        NameRow(host="demo.localhost", owner="ann", at=100.0, generation=4, released_at=110.0)
    ]
    assert await store.audit() == [EVENT]
    assert await store.revisions() == dict.fromkeys([*(kind for kind, _ in COLLECTIONS), "tokens"], 0)


async def test_what_is_new_can_be_used_at_once(reopened: Opened) -> None:
    store = await reopened()
    for kind, _ in COLLECTIONS:
        assert await getattr(store, kind).all() == []
    changed = Token(id="tok_1", owner="ann", created_at=100.0, last_used_at=120.0, acl=("bind:demo.localhost",))
    assert await store.change_token(replace(changed, acl=()), changed)
    assert await store.token("tok_1") == changed
    await store.add_audit([AuditRow(at=9.0, kind="login.ok", actor="usr_1")])
    assert [(row.id, row.actor) for row in await store.audit()] == [(2, "usr_1"), (1, "")]


async def test_opening_it_again_changes_nothing(reopened: Opened) -> None:
    await reopened()
    again = await reopened()
    assert await again.audit() == [EVENT]


async def test_events_of_the_release_before_forget_values_that_may_be_secrets(tmp_path: Path) -> None:
    """Values of header fields and request parameters, and metadata, stood in the clear."""
    make_sqlite(tmp_path / "relay.db", "0003")
    hidden = "q7d2-no-pattern-knows-this"
    side = {
        "request_headers.add": [["X-Api-Key", hidden], ["X-Other", hidden]],
        "response_headers.add": hidden + "…",
        "oidc.request_params": [["tenant", hidden]],
        "metadata": hidden,
        "description": "the shop",
    }
    details = json.dumps({"id": "edghts_1", "before": json.dumps(side), "after": '{"metadata":"' + hidden})
    with closing(sqlite3.connect(tmp_path / "relay.db")) as connection:
        for _ in range(1200):
            names = "at, kind, host, owner, connection, subject, peer, request_id, node, reason, details"
            row = (1.0, "edge.updated", "", "ann", "", "", "", "", "", "", details)
            connection.execute(f"INSERT INTO audit ({names}) VALUES ({', '.join('?' * len(row))})", row)
        connection.commit()

    store = await open_store(None, tmp_path)
    rows = await store.audit(limit=2000)
    await store.close()

    assert {row.details for row in rows} == {rows[0].details}
    assert len(rows) == 1200
    assert hidden not in rows[0].details
    assert json.loads(json.loads(rows[0].details)["before"]) == {
        "request_headers.add": ["X-Api-Key", "X-Other"],
        "response_headers.add": "(not shown)",
        "oidc.request_params": ["tenant"],
        "metadata": "(not shown)",
        "description": "the shop",
    }
