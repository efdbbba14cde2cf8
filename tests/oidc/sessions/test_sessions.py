"""Sessions live and die as they should (rows 72-75), in memory and over restarts."""

import asyncio

import pytest

from tests.oidc.world import APP, EVIL, START, Browser, World, connection, signed_in
from tests.support.memory_store import MemoryStore
from tunnelrelay.oidc.sessions.session import sid_key
from tunnelrelay.oidc.sessions.sessions import COOKIE_LENGTH, UNKNOWN
from tunnelrelay.oidc.tokens.id_token import LEEWAY
from tunnelrelay.policy.rules import Rules
from tunnelrelay.store.base import SessionCriteria


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
async def test_row72_a_session_is_good_for_one_host_and_one_connection(restarted: bool) -> None:
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
async def test_row72_a_session_ends_with_the_configuration_it_was_made_under(restarted: bool) -> None:
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


async def test_row73_a_chosen_session_id_never_becomes_valid() -> None:
    world = World()
    browser = Browser(world)
    chosen = b"C" * COOKIE_LENGTH
    browser.jars[APP] = {b"__Host-tunnel": chosen}
    await browser.sign_in()
    assert browser.session_cookie() != chosen
    assert await world.sessions.recall(chosen, APP, world.endpoints[APP], START) is None


async def test_row74_an_ended_session_is_over_at_once_and_after_a_restart() -> None:
    world = World()
    browser = await signed_in(world)
    session = world.find(browser)
    await world.sessions.end(session.id_digest)
    assert world.find(browser) is None
    assert world.ended == [session.id_digest]
    world.restart()
    assert await world.signed_in(browser) is None


async def test_row75_an_idle_session_is_over() -> None:
    world = World()
    browser = await signed_in(world)
    world.clock.now += 3600
    world.use(browser)
    world.clock.now += 3601
    assert world.find(browser) is UNKNOWN
    assert await world.signed_in(browser) is None
    assert len(world.ended) == 1
    assert world.told("session.end") == ["idle"]


async def test_row75_an_active_session_is_over_at_its_absolute_end() -> None:
    world = World()
    browser = await signed_in(world)
    for _ in range(15):
        world.clock.now += 1800
        world.use(browser)
    world.clock.now += 1800
    assert world.find(browser) is None
    assert world.told("session.end") == ["expired"]


async def test_row75_idle_time_counts_over_a_restart() -> None:
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
    assert await world.signed_in(browser) is None
    world = World()
    browser = await signed_in(world)
    world.clock.now += 100
    world.endpoints[APP] = connection(max_seconds=60)
    assert world.find(browser) is None


async def test_what_ran_out_is_found_without_a_request_so_that_open_connections_can_be_closed() -> None:
    world = World()
    browser = await signed_in(world)
    session = world.find(browser)
    world.clock.now += 3601
    await world.sessions.upkeep.sweep(world.clock.now)
    assert world.ended == [session.id_digest]


async def test_bytes_on_an_open_connection_keep_its_session_awake() -> None:
    world = World()
    browser = await signed_in(world)
    session = world.find(browser)
    world.clock.now += 3600
    world.sessions.seen(session, world.clock.now)
    world.clock.now += 3600
    assert world.find(browser)


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
    running = asyncio.ensure_future(world.sessions.upkeep.run())
    await world.store.was_purged.wait()
    assert world.store.session_rows == {}
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert len(world.ended) == 1


async def test_looking_a_session_up_is_no_activity_before_the_request_was_let_in() -> None:
    world = World()
    browser = await signed_in(world)
    for _ in range(4):
        world.clock.now += 900
        assert world.find(browser)
    world.clock.now += 1
    assert world.find(browser) is UNKNOWN


async def test_a_session_that_is_used_at_another_relay_is_not_idle_here() -> None:
    world = World()
    browser = await signed_in(world)
    second = world.second_relay()
    assert await second.current(browser)
    world.clock.now += 3000
    second.use(browser)
    await second.sessions.flush()
    world.clock.now += 1000
    await world.sessions.upkeep.sweep(world.clock.now)
    assert world.find(browser)
    assert world.ended == []


async def test_row74_what_is_ended_at_one_relay_is_over_at_the_other_once_it_has_listened() -> None:
    """Row 74."""
    world = World()
    browser, other = await signed_in(world), await signed_in(world)
    second = world.second_relay()
    assert await second.current(browser)
    assert await second.current(other)
    await world.sessions.end(world.find(browser).id_digest)
    assert await second.sessions.apply_revocations() == 1
    assert second.find(browser) is None
    assert second.find(other)
    assert await second.sessions.apply_revocations() == 0
    assert len(second.ended) == 1


async def test_an_end_that_was_written_late_or_by_a_slow_clock_is_heard_all_the_same() -> None:
    world = World()
    browser = await signed_in(world)
    for _ in range(5):
        world.clock.now += 2
        await world.sessions.apply_revocations()
    await world.store.end_sessions(SessionCriteria(key=world.find(browser).id_digest), world.clock.now - 50)
    await world.sessions.apply_revocations()
    assert world.find(browser) is None


async def test_a_store_that_was_restored_ends_whoever_is_not_in_it_and_no_other() -> None:
    world = World()
    browser, other = await signed_in(world), await signed_in(world)
    session = world.find(browser)
    del world.store.session_rows[session.id_digest]
    await world.sessions.reread()
    assert await world.current(browser) is None
    assert await world.current(other)
    assert world.ended == [session.id_digest]


async def test_an_owner_or_operator_ends_all_that_are_meant_and_no_other() -> None:
    world = World()
    browser = await signed_in(world)
    world.provider.claims.update(sub="bob", email="bob@acme.example")
    bob = Browser(world)
    await bob.sign_in()
    assert await world.sessions.end_where(SessionCriteria(email="alice@acme.example")) == 1
    assert world.find(browser) is None
    assert world.find(bob)
    assert await world.sessions.end_where(SessionCriteria()) == 0
    assert await world.sessions.end_where(SessionCriteria(host=APP)) == 1


async def test_the_providers_session_is_found_by_a_digest_that_names_nobody() -> None:
    world = World()
    world.provider.claims["sid"] = "provider-session-1"
    browser = await signed_in(world)
    (row,) = world.store.session_rows.values()
    assert row.sid == sid_key("conn-app", "provider-session-1") != sid_key("conn-evil", "provider-session-1")
    assert await world.sessions.end_where(SessionCriteria(connection_id="conn-app", sid=row.sid)) == 1
    assert world.find(browser) is None


async def test_a_login_that_is_older_than_max_age_allows_is_over_for_the_next_request() -> None:
    world = World(endpoints={APP: connection(max_age=600)})
    world.provider.claims["auth_time"] = int(START) - 100
    browser = await signed_in(world)
    world.clock.now += 499 + LEEWAY
    assert world.find(browser)
    world.clock.now += 1
    assert world.find(browser) is None
    assert world.told("session.end") == ["max_age"]


async def test_what_is_open_is_judged_by_the_rules_as_they_are_now() -> None:
    world = World()
    browser = await signed_in(world)
    session = world.find(browser)
    assert world.sessions.look_after(session, world.endpoints[APP], START + 1)
    assert not world.sessions.look_after(session, connection(id="conn-other"), START + 1)
    assert world.find(browser)
    narrower = connection(rules_version="rules-2", rules=Rules(groups=frozenset({"ops"})))
    assert not world.sessions.look_after(session, narrower, START + 1)
    assert world.ended == [session.id_digest]
    assert world.told("session.end") == ["rules_group"]


async def test_what_is_open_and_idle_ends_unless_another_relay_saw_its_visitor() -> None:
    world = World()
    browser = await signed_in(world)
    session = world.find(browser)
    world.clock.now += 3601
    assert world.sessions.look_after(session, world.endpoints[APP], world.clock.now)
    await world.sessions.upkeep.sweep(world.clock.now)
    assert world.ended == [session.id_digest]


@pytest.mark.parametrize("limit", ["MAX_OF_PERSON", "MAX_TOGETHER"])
async def test_past_the_limit_a_login_ends_the_session_that_was_used_longest_ago(
    monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(f"tunnelrelay.oidc.sessions.sessions.{limit}", 3)
    world = World()
    first, second, third = browsers = [await signed_in(world) for _ in range(3)]
    digest = world.find(second).id_digest
    world.clock.now += 600
    world.use(first)
    world.use(third)
    await world.sessions.flush()
    elsewhere = world.second_relay()
    await elsewhere.signed_in(second)

    fourth = await signed_in(world)
    assert [bool(world.find(browser)) for browser in (*browsers, fourth)] == [True, False, True, True]
    assert world.ended == [digest]
    assert world.told("session.end") == ["too_many"]
    await elsewhere.sessions.apply_revocations()
    assert elsewhere.find(second) is None


async def test_one_persons_sessions_push_out_nobody_elses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunnelrelay.oidc.sessions.sessions.MAX_OF_PERSON", 2)
    world = World()
    alice = await signed_in(world)
    world.provider.claims["sub"] = "bob"
    bobs = [Browser(world) for _ in range(5)]
    for bob in bobs:
        world.clock.now += 1
        await bob.sign_in()
    assert world.find(alice)
    assert [bool(world.find(bob)) for bob in bobs] == [False, False, False, True, True]


async def test_connections_do_not_push_out_each_others_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunnelrelay.oidc.sessions.sessions.MAX_TOGETHER", 1)
    world = World()
    world.endpoints[EVIL] = connection(id="conn-evil")
    alice, mallory = await signed_in(world), Browser(world)
    await mallory.sign_in(host=EVIL)
    assert world.find(alice)
    assert world.find(mallory, EVIL)


async def test_a_host_whose_client_changes_its_name_has_no_room_for_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunnelrelay.oidc.sessions.sessions.MAX_TOGETHER", 2)
    world = World()
    for number in range(4):
        world.clock.now += 1
        world.endpoints[APP] = connection(id=f"conn-{number}")
        await signed_in(world)
        world.forget_sessions()
    assert [row.connection_id for row in await world.store.sessions()] == ["conn-3", "conn-2"]
    assert [event.host for event in world.audit.take() if event.kind == "session.end"] == [APP, APP]
