"""Sessions and their store: what is written when, what happens while it is away, and what it must not hold."""

import asyncio
from dataclasses import replace
from uuid import UUID

import msgspec
import pytest

from tests.oidc.world import APP, START, World, connection, signed_in
from tests.support.memory_store import MemoryStore
from tunnelrelay.keys.keyring import KeyRing
from tunnelrelay.oidc.providers.token_request import MAX_CLAIMS
from tunnelrelay.oidc.sessions.rows import SessionRows
from tunnelrelay.oidc.sessions.session import MAX_ID_TOKEN, MAX_KEPT_TOKEN, NEVER, Grant
from tunnelrelay.oidc.sessions.sessions import UNKNOWN, SessionsAway
from tunnelrelay.store.base import ENDED_SECONDS, SessionCriteria, SessionRow, StoreError


class CountingStore(MemoryStore):
    """Counts writes of activity, and can be away."""

    def __init__(self) -> None:
        super().__init__()
        self.touches = 0
        self.is_away = False

    async def touch_session(self, key: bytes, last_seen: float) -> None:
        self._answer()
        self.touches += 1
        await super().touch_session(key, last_seen)

    async def load_session(self, key: bytes) -> SessionRow | None:
        self._answer()
        return await super().load_session(key)

    async def ended_since(self, at: float) -> list[bytes]:
        self._answer()
        return await super().ended_since(at)

    async def end_sessions(self, criteria: SessionCriteria, at: float) -> list[bytes]:
        self._answer()
        return await super().end_sessions(criteria, at)

    def _answer(self) -> None:
        if self.is_away:
            raise StoreError("away")


async def test_activity_is_written_once_a_minute_however_many_requests_there_are() -> None:
    world = World(store=CountingStore())
    browser = await signed_in(world)
    for _ in range(600):
        world.clock.now += 1
        world.use(browser)
        await world.sessions.flush()
    assert world.store.touches == 10


async def test_known_sessions_go_on_while_the_store_is_away_and_unknown_ones_are_not_judged() -> None:
    world = World(store=CountingStore())
    browser = await signed_in(world)
    world.store.is_away = True
    world.clock.now += 120
    world.use(browser)
    await world.sessions.flush()
    world.forget_sessions()
    with pytest.raises(SessionsAway):
        await world.signed_in(browser)
    world.store.is_away = False
    await world.sessions.flush()
    assert world.store.touches == 1


async def test_a_session_that_ended_while_the_store_was_away_is_deleted_when_it_is_back() -> None:
    world = World(store=CountingStore())
    browser = await signed_in(world)
    world.store.is_away = True
    with pytest.raises(StoreError):
        await world.sessions.end(world.find(browser).id_digest)
    assert world.find(browser) is None
    world.store.is_away = False
    assert await world.signed_in(browser) is None
    await world.sessions.flush()
    world.restart()
    assert await world.signed_in(browser) is None


class SlowStore(MemoryStore):
    """Answers a look-up only when told, with what was there when it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.gate = asyncio.Event(), asyncio.Event()

    async def load_session(self, key: bytes) -> SessionRow | None:
        row = await super().load_session(key)
        self.asked.set()
        await self.gate.wait()
        return row


async def test_a_session_that_ends_while_it_is_being_read_does_not_come_back() -> None:
    world = World(store=SlowStore())
    browser = await signed_in(world)
    digest = world.find(browser).id_digest
    world.forget_sessions()
    reading = asyncio.ensure_future(world.signed_in(browser))
    await world.store.asked.wait()
    await world.sessions.end(digest)
    world.store.gate.set()
    assert await reading is None
    assert world.find(browser) is None


async def test_memory_holds_no_more_sessions_than_it_may_and_forgets_none() -> None:
    world = World()
    world.sessions.in_memory.max_count = 3
    browsers = [await signed_in(world) for _ in range(10)]
    assert len(world.sessions.in_memory) == 3
    assert [bool(await world.signed_in(browser)) for browser in browsers] == [True] * 10


async def test_a_row_of_another_ring_or_another_row_is_nobody() -> None:
    world = World()
    browser, other = await signed_in(world), await signed_in(world)
    rows = world.store.session_rows
    first, second = rows
    kept = rows[first]
    rows[first] = SessionRow(
        **{**{name: getattr(kept, name) for name in kept.__slots__}, "sealed": rows[second].sealed}
    )
    world.restart()
    assert await world.signed_in(browser) is None
    assert await world.signed_in(other)
    world.ring = KeyRing.generate()
    world.restart()
    assert await world.signed_in(other) is None


async def test_the_store_holds_no_cookie_and_no_readable_claims() -> None:
    world = World()
    world.provider.claims["private"] = "canary-claim"
    browser = await signed_in(world)
    cookie = browser.session_cookie()
    assert cookie is not None
    (row,) = world.store.session_rows.values()
    assert cookie not in repr(row).encode()
    assert b"canary-claim" not in row.sealed


async def test_ends_that_could_not_be_heard_are_heard_when_the_store_is_back() -> None:
    world = World(store=CountingStore())
    browser = await signed_in(world)
    digest = world.find(browser).id_digest
    await world.store.end_sessions(SessionCriteria(key=digest), world.clock.now)
    world.store.is_away = True
    world.clock.now += 1200
    assert await world.sessions.apply_revocations() == 0
    assert world.find(browser)
    world.store.is_away = False
    assert await world.sessions.apply_revocations() == 1
    assert world.find(browser) is None


async def test_after_more_time_than_the_store_remembers_ends_for_everybody_is_looked_up_anew() -> None:
    world = World(store=CountingStore())
    browser = await signed_in(world)
    world.clock.now += ENDED_SECONDS
    await world.sessions.apply_revocations()
    assert world.find(browser) is UNKNOWN
    assert await world.signed_in(browser)


async def test_a_row_of_the_first_release_is_a_session_that_nobody_is_asked_about() -> None:
    class FirstRecord(msgspec.Struct, frozen=True, kw_only=True):
        rules_version: str
        claims: bytes

    world = World()
    browser = await signed_in(world)
    session = world.find(browser)
    (row,) = world.store.session_rows.values()
    record = FirstRecord(rules_version=session.rules_version, claims=session.claims)
    sealed = world.ring.seal("session", row.key.hex(), record).encode()
    world.store.session_rows[row.key] = replace(row, sealed=sealed)
    world.restart()
    world.clock.now += 3000
    found = await world.current(browser)
    assert found.identity.subject == "alice"
    assert found.recheck_at == NEVER


async def test_the_providers_tokens_lie_in_the_store_sealed_and_nowhere_else() -> None:
    world = World()
    world.provider.gives_refresh = True
    world.provider.token_answer["access_token"] = "canary-access"
    browser = await signed_in(world)
    session = world.find(browser)
    grant = await world.sessions.grant_of(session)
    assert grant is not None
    assert (grant.refresh_token, grant.access_token) == ("rt0-1", "canary-access")
    assert grant.id_token.count(".") == 2
    (row,) = world.store.session_rows.values()
    kept = await SessionRows(world.store, world.ring).load(row.key)
    in_memory = {name: getattr(session, name) for name in session.__slots__}
    for shown in (repr(row), repr(grant), repr(kept), repr(in_memory)):
        assert not any(secret in shown for secret in ("rt0-1", "canary-access", grant.id_token))


async def test_a_token_that_is_too_long_to_keep_is_left_out_and_the_login_goes_on() -> None:
    world = World()
    world.provider.token_answer.update(refresh_token="r" * 4097, access_token="a" * 4097)
    world.provider.claims["groups"] = [f"group-{number}" for number in range(2000)]
    browser = await signed_in(world)
    grant = await world.sessions.grant_of(world.find(browser))
    assert grant is not None
    assert (grant.refresh_token, grant.access_token, grant.id_token) == ("", "", "")
    world.restart()
    assert await world.signed_in(browser)


async def test_two_hundred_groups_by_their_ids_are_kept_whole_and_so_is_the_token_they_came_in() -> None:
    world = World()
    groups = [str(UUID(int=number)) for number in range(200)]
    world.provider.claims |= {"groups": groups, **{name: str(UUID(int=0)) for name in ("oid", "tid", "uti", "rh")}}
    browser = await signed_in(world)
    session = world.find(browser)
    grant = await world.sessions.grant_of(session)
    assert grant is not None
    assert grant.id_token
    assert msgspec.json.decode(session.claims)["groups"] == groups


async def test_the_largest_record_there_can_be_opens_again() -> None:
    world = World()
    token = "x" * MAX_KEPT_TOKEN
    kept = await SessionRows(world.store, world.ring).add(
        b"k" * 32,
        APP,
        connection(),
        issuer="https://idp.example",
        claims={"sub": "alice", "more": "c" * (MAX_CLAIMS - 100)},
        grant=Grant(refresh_token=token, access_token=token, id_token="i" * MAX_ID_TOKEN, sid="s" * 512, acr="a" * 512),
        now=START,
    )
    again = await SessionRows(world.store, world.ring).load(b"k" * 32)
    assert again == kept
    assert len(kept.row.sealed) < 43_000


async def test_what_is_open_and_no_longer_in_memory_is_looked_up_and_ends_with_its_row() -> None:
    world = World()
    browser, other = await signed_in(world), await signed_in(world)
    gone, there = world.find(browser), world.find(other)
    world.forget_sessions()
    await world.store.end_sessions(SessionCriteria(key=gone.id_digest), START)
    for session in (gone, there):
        assert world.sessions.look_after(session, world.endpoints[APP], START)
    await world.sessions.upkeep.sweep(START)
    assert world.ended == [gone.id_digest]


async def test_a_store_that_stays_away_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    world = World(store=CountingStore())
    world.store.is_away = True
    for _ in range(5):
        await world.sessions.apply_revocations()
    assert len([record for record in caplog.records if "polling session revocations failed" in record.message]) == 1


async def test_a_sweep_of_very_many_sessions_lets_others_have_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunnelrelay.oidc.sessions.cleanup.SWEPT_AT_ONCE", 2)
    world = World()
    for _ in range(4):
        await signed_in(world)
    turns = []
    asyncio.get_running_loop().call_soon(turns.append, 1)
    world.clock.now += 9 * 3600
    await world.sessions.upkeep.sweep(world.clock.now)
    assert turns == [1]
    assert len(world.ended) == 4
