"""Sessions live and die as they should (rows 72-75), in memory and over restarts."""

import asyncio
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from tests.oidc.world import APP, EVIL, ISSUER, START, Browser, World, connection
from tunnelrelay.oidc.sealed import KeyRing
from tunnelrelay.oidc.sessions import COOKIE_LENGTH, UNKNOWN, Sessions, SessionsAway
from tunnelrelay.policy.rules import Rules
from tunnelrelay.store.base import SessionRow, StoreError, Whose
from tunnelrelay.store.memory import MemoryStore


async def signed_in(world: World) -> Browser:
    browser = Browser(world)
    await browser.sign_in()
    assert world.find(browser).identity.subject == "alice"
    return browser


async def test_a_session_survives_a_restart_of_the_relay() -> None:
    world = World()
    browser = await signed_in(world)
    world.restart()
    assert world.find(browser) is UNKNOWN
    assert (await world.signed_in(browser)).identity.email == "alice@acme.example"
    assert world.find(browser).identity.email == "alice@acme.example"


@pytest.mark.parametrize("cookie", [b"", b"x", b"A" * COOKIE_LENGTH, b"A" * 42, b"A" * 10_000, b"\xff" * COOKIE_LENGTH])
async def test_an_invented_cookie_is_nobody(cookie: bytes) -> None:
    world = World()
    await signed_in(world)
    assert world.sessions.find(cookie, APP, world.endpoints[APP], START) in (None, UNKNOWN)
    assert await world.sessions.recall(cookie, APP, world.endpoints[APP], START) is None


@pytest.mark.parametrize("restarted", [True, False])
async def test_row_72_a_session_is_good_for_one_host_and_one_connection(restarted: bool) -> None:
    world = World()
    browser = await signed_in(world)
    if restarted:
        world.restart()
    cookie = browser.session_cookie()
    assert cookie is not None
    for host, conn in ((EVIL, connection()), (EVIL, connection(id="conn-evil")), (APP, connection(id="conn-other"))):
        assert await world.sessions.recall(cookie, host, conn, START) is None
        assert world.sessions.find(cookie, host, conn, START) in (None, UNKNOWN)
    assert await world.signed_in(browser)
    assert world.ended == []


@pytest.mark.parametrize("restarted", [True, False])
async def test_row_72_a_session_ends_with_the_configuration_it_was_made_under(restarted: bool) -> None:
    world = World()
    browser = await signed_in(world)
    if restarted:
        world.restart()
    world.endpoints[APP] = connection(epoch="epoch-2")
    assert await world.signed_in(browser) is None
    world.endpoints[APP] = connection()
    assert await world.signed_in(browser) is None


@pytest.mark.parametrize("restarted", [True, False])
async def test_changed_rules_are_applied_to_the_claims_of_the_login(restarted: bool) -> None:
    world = World()
    browser = await signed_in(world)
    if restarted:
        world.restart()
    world.endpoints[APP] = connection(rules_version="rules-2", rules=Rules(emails=frozenset({"alice@acme.example"})))
    assert await world.signed_in(browser)
    world.endpoints[APP] = connection(rules_version="rules-3", rules=Rules(groups=frozenset({"ops"})))
    assert await world.signed_in(browser) is None
    assert len(world.ended) == 1


async def test_row_73_a_chosen_session_id_never_becomes_valid() -> None:
    world = World()
    browser = Browser(world)
    chosen = b"C" * COOKIE_LENGTH
    browser.jars[APP] = {b"__Host-tunnel": chosen}
    await browser.sign_in()
    assert browser.session_cookie() != chosen
    assert await world.sessions.recall(chosen, APP, world.endpoints[APP], START) is None


async def test_row_74_an_ended_session_is_over_at_once_and_after_a_restart() -> None:
    world = World()
    browser = await signed_in(world)
    session = world.find(browser)
    await world.sessions.end(session.id_digest)
    assert world.find(browser) is None
    assert world.ended == [session.id_digest]
    world.restart()
    assert await world.signed_in(browser) is None


async def test_row_75_an_idle_session_is_over() -> None:
    world = World()
    browser = await signed_in(world)
    world.clock.now += 3600
    assert world.find(browser)
    world.clock.now += 3601
    assert world.find(browser) is None
    assert len(world.ended) == 1


async def test_row_75_an_active_session_is_over_at_its_absolute_end() -> None:
    world = World()
    browser = await signed_in(world)
    for _ in range(15):
        world.clock.now += 1800
        assert world.find(browser)
    world.clock.now += 1800
    assert world.find(browser) is None


async def test_row_75_idle_time_counts_over_a_restart() -> None:
    world = World()
    browser = await signed_in(world)
    world.restart()
    world.clock.now += 3601
    assert await world.signed_in(browser) is None


async def test_shorter_limits_hold_at_once_for_sessions_that_exist() -> None:
    world = World()
    browser = await signed_in(world)
    world.clock.now += 100
    world.endpoints[APP] = connection(idle_seconds=60)
    assert world.find(browser) is None
    browser = await signed_in(World())


async def test_what_ran_out_is_found_without_a_request_so_that_open_connections_can_be_closed() -> None:
    world = World()
    browser = await signed_in(world)
    session = world.find(browser)
    world.clock.now += 3601
    world.sessions.sweep(world.clock.now)
    assert world.ended == [session.id_digest]


async def test_bytes_on_an_open_connection_keep_its_session_awake() -> None:
    world = World()
    browser = await signed_in(world)
    session = world.find(browser)
    world.clock.now += 3600
    world.sessions.seen(session, world.clock.now)
    world.clock.now += 3600
    assert world.find(browser)


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

    async def end_sessions(self, whose: Whose, at: float) -> list[bytes]:
        self._answer()
        return await super().end_sessions(whose, at)

    def _answer(self) -> None:
        if self.is_away:
            raise StoreError("away")


async def test_activity_is_written_once_a_minute_however_many_requests_there_are() -> None:
    world = World(store=CountingStore())
    browser = await signed_in(world)
    for _ in range(600):
        world.clock.now += 1
        world.find(browser)
        await world.sessions.flush()
    assert world.store.touches == 10


async def test_known_sessions_go_on_while_the_store_is_away_and_unknown_ones_are_not_judged() -> None:
    world = World(store=CountingStore())
    browser = await signed_in(world)
    world.store.is_away = True
    world.clock.now += 120
    assert world.find(browser)
    await world.sessions.flush()
    world.sessions._sessions.clear()
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
    world.sessions._sessions.clear()
    reading = asyncio.ensure_future(world.signed_in(browser))
    await world.store.asked.wait()
    await world.sessions.end(digest)
    world.store.gate.set()
    assert await reading is None
    assert world.find(browser) is None


async def test_memory_holds_no_more_sessions_than_it_may_and_forgets_none() -> None:
    world = World()
    world.sessions._max_sessions = 3
    browsers = [await signed_in(world) for _ in range(10)]
    assert len(world.sessions._sessions) == 3
    assert [bool(await world.signed_in(browser)) for browser in browsers] == [True] * 10


async def test_a_row_of_another_ring_or_another_row_is_nobody() -> None:
    world = World()
    browser, other = await signed_in(world), await signed_in(world)
    rows = world.store._sessions
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
    (row,) = world.store._sessions.values()
    assert cookie not in repr(row).encode()
    assert b"canary-claim" not in row.sealed


class PurgedStore(MemoryStore):
    """Says when it was cleaned."""

    def __init__(self) -> None:
        super().__init__()
        self.was_purged = asyncio.Event()

    async def delete_expired(self, now: float) -> int:
        self.was_purged.set()
        return await super().delete_expired(now)


async def test_run_writes_sweeps_and_cleans_until_it_is_cancelled() -> None:
    world = World(store=PurgedStore())
    await signed_in(world)
    world.clock.now += 9 * 3600
    running = asyncio.ensure_future(world.sessions.run())
    await world.store.was_purged.wait()
    assert world.store._sessions == {}
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert len(world.ended) == 1


# What the app receives


def fields_of(block: bytes) -> dict[str, str]:
    assert block.endswith(b"\r\n")
    return dict(line.split(": ", 1) for line in block.decode("ascii").split("\r\n")[:-1])


async def test_the_app_receives_the_identity_in_headers() -> None:
    world = World()
    world.provider.claims.update(name="Ada Lovelace é 100%", groups=["a,admins", "ops"], sub="auth0|1")
    browser = Browser(world)
    await browser.sign_in()
    fields = fields_of((await world.signed_in(browser)).header_block(START))
    assertion = fields.pop("X-Tunnel-Assertion")
    assert assertion.count(".") == 2
    assert fields == {
        "X-Tunnel-User": "auth0|1",
        "X-Tunnel-Email": "alice@acme.example",
        "X-Tunnel-Name": "Ada%20Lovelace%20%C3%A9%20100%25",
        "X-Tunnel-Groups": '["a,admins","ops"]',
        "X-Tunnel-Issuer": ISSUER,
        "Ngrok-Auth-User-Id": "auth0|1",
        "Ngrok-Auth-User-Name": "Ada%20Lovelace%20%C3%A9%20100%25",
        "Ngrok-Auth-User-Email": "alice@acme.example",
    }


@pytest.mark.parametrize(
    "claims",
    [
        {"name": "x\r\nX-Tunnel-Email: boss@acme.example"},
        {"name": "n" * 5000},
        {"name": "é" * 5000},
        {"name": 7},
        {"name": "\x00"},
        {"groups": ["a\r\nX-Tunnel-User: boss"]},
        {"groups": ["g" * 300] * 100},
        {"groups": [1]},
        {"groups": {"a": 1}},
        {"groups": "ops"},
        {"preferred_username": "u" * 2000, "name": None},
        {"email": "a@b.example\r\nX: y"},
        {"groups": ["é" * 3000]},
    ],
)
async def test_no_claim_breaks_out_of_its_header_or_fills_the_head(claims: dict[str, Any]) -> None:
    world = World()
    world.provider.claims.update(claims)
    world.provider.userinfo = {"sub": "alice"}
    browser = Browser(world)
    await browser.sign_in()
    block = (await world.signed_in(browser)).header_block(START)
    fields = fields_of(block)
    assert fields["X-Tunnel-User"] == "alice"
    assert fields.get("X-Tunnel-Email", "alice@acme.example") == "alice@acme.example"
    assert len(block) < 24_000
    assert block.isascii()


async def test_a_flood_of_claims_is_kept_within_limits_and_the_rules_groups_come_first() -> None:
    rules = Rules(groups=frozenset({"ops"}), claims=frozenset({("big", "x")}))
    world = World(endpoints={APP: connection(rules=rules)})
    groups = [f"group-{number:04}-{'g' * 200}" for number in range(500)]
    world.provider.userinfo = {
        "sub": "alice",
        "groups": [*groups, "ops"],
        "big": ["x", "y" * 100_000],
        "junk": "j" * 9999,
    }
    browser = Browser(world)
    await browser.sign_in()
    session = await world.signed_in(browser)
    assert session.identity.groups[0] == "ops"
    assert len(session.claims) <= 16 * 1024
    world.restart()
    assert await world.signed_in(browser)


async def test_the_assertion_is_signed_once_a_minute_and_checks_out_against_the_published_key() -> None:
    world = World()
    browser = await signed_in(world)
    session = world.find(browser)
    block = session.header_block(START)
    assert session.header_block(START + 59) is block
    later = session.header_block(START + 60)
    assert later != block
    for at, text in ((START, block), (START + 60, later)):
        (key,) = world.signer.jwks()["keys"]
        token = jwt.decode(fields_of(text)["X-Tunnel-Assertion"], ECKey.import_key(key), algorithms=["ES256"])
        assert token.claims["aud"] == f"https://{APP}"
        assert token.claims["iss"] == "https://tun.example"
        assert (token.claims["sub"], token.claims["idp"]) == ("alice", ISSUER)
        assert (token.claims["iat"], token.claims["exp"]) == (at, at + 120)


def test_sessions_may_be_made_without_anybody_listening() -> None:
    world = World()
    Sessions(address=world.address, ring=world.ring, store=world.store, signer=world.signer, clock=world.clock).sweep(0)
