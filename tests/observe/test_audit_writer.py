"""Audit events on their way to the store."""

import json

import pytest

from tests.support.memory_store import MemoryStore
from tunnelrelay.observe.audit import Audit
from tunnelrelay.observe.audit_writer import DAY, PING_EVERY, PURGE_EVERY, AuditWriter
from tunnelrelay.store.base import StoreError

START = 1_700_000_000.0


class Fragile(MemoryStore):
    """A store that can be taken away."""

    is_away = False

    async def ping(self):
        self._check()

    async def add_audit(self, rows):
        self._check()
        await super().add_audit(rows)

    def _check(self):
        if self.is_away:
            raise StoreError("away")


class Scene:
    def __init__(self):
        self.now = START
        self.store = Fragile()
        self.audit = Audit(clock=lambda: self.now, key=b"k" * 32, node="relay:443")
        self.told = []
        self.keeper = AuditWriter(
            self.audit, self.store, keep_days=90, clock=lambda: self.now, publish=self.told.append
        )

    async def kinds(self):
        return [row.kind for row in reversed(await self.store.audit())]


@pytest.fixture
def scene():
    return Scene()


async def test_whoever_looks_is_told_once_events_can_be_read_and_not_before(scene):
    scene.audit.record("login.ok", owner="ann")
    scene.audit.record("login.ok", owner="ann")
    scene.store.is_away = True
    await scene.keeper.flush()
    assert scene.told == []

    scene.store.is_away = False
    await scene.keeper.flush()

    assert scene.told == ["audit:ann"]


async def test_an_event_is_kept_with_all_it_says(scene):
    scene.audit.record(
        "login.ok",
        reason="first",
        host="app.test",
        connection="c",
        owner="ann",
        subject="sub",
        issuer="https://op.test",
        peer="192.0.2.1",
        request_id="r",
        how="code",
    )

    await scene.keeper.step()

    (row,) = await scene.store.audit()
    assert (row.at, row.kind, row.reason, row.host, row.connection, row.owner) == (
        START,
        "login.ok",
        "first",
        "app.test",
        "c",
        "ann",
    )
    assert (row.peer, row.request_id, row.node) == ("192.0.2.1", "r", "relay:443")
    assert row.subject == scene.audit.person("https://op.test", "sub")
    assert json.loads(row.details) == {"how": "code", "issuer": "https://op.test"}


async def test_events_wait_in_order_while_the_store_is_away_and_the_failover_is_told(scene):
    await scene.keeper.step()
    scene.store.is_away = True
    scene.now += PING_EVERY
    scene.audit.record("login.ok")
    await scene.keeper.step()
    assert await scene.kinds() == []

    scene.store.is_away = False
    scene.now += PING_EVERY
    await scene.keeper.step()

    assert await scene.kinds() == ["login.ok", "store.away", "store.back"]


async def test_an_outage_is_told_once(scene):
    scene.store.is_away = True
    for _ in range(5):
        scene.now += PING_EVERY
        await scene.keeper.step()
    scene.store.is_away = False
    scene.now += PING_EVERY
    await scene.keeper.step()

    assert await scene.kinds() == ["store.away", "store.back"]


async def test_a_write_that_fails_between_two_looks_loses_nothing(scene):
    await scene.keeper.step()
    scene.store.is_away = True
    scene.audit.record("login.ok")
    await scene.keeper.step()
    scene.store.is_away = False
    await scene.keeper.step()

    assert await scene.kinds() == ["login.ok"]


async def test_events_older_than_the_setting_go(scene):
    scene.audit.record("login.ok")
    await scene.keeper.step()
    scene.now += 89 * DAY
    scene.audit.record("logout.local")
    await scene.keeper.step()
    assert len(await scene.store.audit()) == 2

    scene.now += DAY + PURGE_EVERY
    await scene.keeper.step()

    assert await scene.kinds() == ["logout.local"]


async def test_what_waits_at_the_end_is_written(scene):
    for _ in range(1200):
        scene.audit.record("store.back")

    await scene.keeper.flush()

    assert len(await scene.store.audit(limit=2000)) == 1200
