"""What every store does, run on each of them."""

import asyncio
from dataclasses import replace

import pytest

from tests.support import memory_store
from tunnelrelay.agents.host_names import RANDOM_HOST, RANDOM_LENGTH, random_label
from tunnelrelay.model import Token
from tunnelrelay.store import names
from tunnelrelay.store.base import (
    FREED_AT,
    KEEP_EXPIRED,
    KEEP_REVOKED,
    PURGED_AT_ONCE,
    AuditRow,
    NameRow,
    SessionCriteria,
    SessionHolder,
    SessionRow,
    Store,
    StoreError,
)
from tunnelrelay.store.resources import ApiKeyRow, DomainRow, EdgeRow, SignInRow

TOKEN = Token(id="tok_1", owner="ann", created_at=100.0)
DIGEST = bytes(range(32))
SESSION = SessionRow(
    key=b"k" * 32,
    host="demo.localhost",
    connection_id="conn",
    epoch="e1",
    issuer="https://op.example",
    subject="sub-1",
    email="ann@example.com",
    created_at=100.0,
    last_seen=100.0,
    expires_at=200.5,
    sealed=b"\x00sealed\xff",
)


def signed_in(row: SessionRow) -> SessionHolder:
    return SessionHolder(**{name: getattr(row, name) for name in SessionHolder.__slots__})


async def test_a_token_is_found_by_its_digest_only(store: Store) -> None:
    await store.add_token(TOKEN, DIGEST)
    assert await store.token_by_digest(DIGEST) == TOKEN
    assert await store.token_by_digest(b"x" * 32) is None


async def test_a_revoked_token_opens_nothing_and_stays_in_the_list(store: Store) -> None:
    await store.add_token(TOKEN, DIGEST)
    revoked = await store.revoke_token("tok_1", 150.0)
    assert revoked == replace(TOKEN, revoked_at=150.0)
    assert await store.token_by_digest(DIGEST) is None
    assert await store.tokens() == [revoked]


async def test_revoking_again_keeps_the_first_time(store: Store) -> None:
    await store.add_token(TOKEN, DIGEST)
    await store.revoke_token("tok_1", 150.0)
    again = await store.revoke_token("tok_1", 190.0)
    assert again is not None
    assert again.revoked_at == 150.0


async def test_revoking_an_unknown_token_says_so(store: Store) -> None:
    assert await store.revoke_token("tok_none", 1.0) is None


async def test_tokens_are_listed_oldest_first_and_by_owner(store: Store) -> None:
    younger = replace(TOKEN, id="tok_0", owner="bob", created_at=300.0)
    await store.add_token(younger, b"y" * 32)
    await store.add_token(TOKEN, DIGEST)
    assert await store.tokens() == [TOKEN, younger]
    assert await store.tokens("bob") == [younger]
    assert await store.tokens("nobody") == []


@pytest.mark.parametrize(("token_id", "digest"), [("tok_1", b"z" * 32), ("tok_2", DIGEST)])
async def test_a_token_is_never_overwritten(store: Store, token_id: str, digest: bytes) -> None:
    await store.add_token(TOKEN, DIGEST)
    with pytest.raises(StoreError):
        await store.add_token(replace(TOKEN, id=token_id, owner="eve"), digest)
    assert await store.token_by_digest(DIGEST) == TOKEN


async def test_the_last_use_of_a_token_only_moves_forward(store: Store) -> None:
    await store.add_token(TOKEN, DIGEST)
    await store.touch_token("tok_1", 120.0)
    await store.touch_token("tok_1", 110.0)
    await store.touch_token("tok_none", 110.0)
    assert await store.tokens() == [replace(TOKEN, last_used_at=120.0)]


async def test_a_session_comes_back_as_it_was_saved(store: Store) -> None:
    await store.save_session(SESSION)
    assert await store.load_session(SESSION.key) == SESSION
    assert await store.load_session(b"x" * 32) is None


async def test_saving_a_session_again_replaces_it(store: Store) -> None:
    await store.save_session(SESSION)
    changed = replace(SESSION, sealed=b"new", last_seen=130.0)
    await store.save_session(changed)
    assert await store.load_session(SESSION.key) == changed


async def test_activity_only_moves_a_session_forward(store: Store) -> None:
    await store.save_session(SESSION)
    await store.touch_session(SESSION.key, 150.0)
    await store.touch_session(SESSION.key, 140.0)
    assert await store.load_session(SESSION.key) == replace(SESSION, last_seen=150.0)


async def test_activity_never_brings_an_ended_session_back(store: Store) -> None:
    await store.save_session(SESSION)
    await store.end_sessions(SessionCriteria(key=SESSION.key), 140.0)
    await store.touch_session(SESSION.key, 150.0)
    assert not await store.replace_session(replace(SESSION, version=2))
    assert await store.load_session(SESSION.key) is None


async def test_what_has_expired_goes_and_what_has_not_stays(store: Store) -> None:
    young = replace(SESSION, key=b"y" * 32, expires_at=300.0)
    await store.save_session(SESSION)
    await store.save_session(young)
    await store.use_once(b"old", 200.0)
    await store.use_once(b"young", 300.0)
    assert await store.delete_expired(200.5) == 2
    assert await store.load_session(SESSION.key) is None
    assert await store.load_session(young.key) == young
    assert await store.use_once(b"old", 400.0)
    assert not await store.use_once(b"young", 400.0)


async def test_a_mark_is_given_to_exactly_one_of_many_callers(store: Store) -> None:
    answers = await asyncio.gather(*(store.use_once(b"mark", 10.0) for _ in range(20)))
    assert sorted(answers) == [False] * 19 + [True]


async def test_of_two_writers_who_change_the_same_session_one_wins(store: Store) -> None:
    await store.save_session(SESSION)
    changes = [replace(SESSION, sealed=b"%d" % number, version=2) for number in range(5)]
    answers = await asyncio.gather(*(store.replace_session(change) for change in changes))
    assert sorted(answers) == [False] * 4 + [True]
    assert await store.load_session(SESSION.key) == changes[answers.index(True)]


async def test_which_connections_a_clients_sessions_are_of_is_told_once_for_each(store: Store) -> None:
    rows = [
        replace(SESSION, client_id="app"),
        replace(SESSION, client_id="app", key=b"2" * 32),
        replace(SESSION, client_id="app", key=b"3" * 32, connection_id="another", subject="sub-2"),
        replace(SESSION, client_id="other", key=b"4" * 32, connection_id="other-client"),
        replace(SESSION, client_id="app", key=b"5" * 32, connection_id="other-op", issuer="https://other.example"),
    ]
    for row in rows:
        await store.save_session(row)
    of_app = SessionCriteria(issuer="https://op.example", client_id="app")
    assert await store.load_session(SESSION.key) == rows[0]
    assert await store.connections(of_app, limit=10) == ["another", "conn"]
    assert await store.connections(of_app, limit=1) == ["another"]
    assert await store.connections(replace(of_app, subject="sub-1"), limit=10) == ["conn"]
    assert await store.connections(replace(of_app, connection_id="other-op"), limit=10) == []
    assert await store.connections(SessionCriteria(), limit=10) == []


async def test_sessions_are_ended_by_whom_they_belong_to_and_nobody_elses_are(store: Store) -> None:
    others = {
        "subject": replace(SESSION, key=b"1" * 32, subject="sub-2"),
        "connection": replace(SESSION, key=b"2" * 32, connection_id="other"),
        "sid": replace(SESSION, key=b"3" * 32, sid=b"s" * 32),
    }
    for row in (SESSION, *others.values()):
        await store.save_session(row)

    assert await store.end_sessions(SessionCriteria(connection_id="conn", sid=b"s" * 32), 150.0) == [others["sid"].key]
    assert await store.end_sessions(SessionCriteria(connection_id="conn", subject="sub-1"), 160.0) == [SESSION.key]

    assert await store.sessions() == [signed_in(others["subject"]), signed_in(others["connection"])]
    assert await store.sessions(SessionCriteria(connection_id="other")) == [signed_in(others["connection"])]
    assert await store.ended_since(150.0) == [others["sid"].key, SESSION.key]
    assert await store.ended_since(155.0) == [SESSION.key]


async def test_everybody_who_is_signed_in_is_ended_and_told_of_without_what_is_sealed(store: Store) -> None:
    over = replace(SESSION, key=b"o" * 32, expires_at=150.0)
    others = [replace(SESSION, key=bytes([number]) * 32, host="other.localhost") for number in range(2)]
    for row in (SESSION, over, *others):
        await store.save_session(row)
    assert await store.revoke_sessions(SessionCriteria(host="demo.localhost", live_at=150.0), 150.0) == [
        signed_in(SESSION)
    ]
    assert await store.sessions(SessionCriteria(live_at=150.0)) == [signed_in(row) for row in others]
    told = await store.revoke_sessions(SessionCriteria(live_at=150.0), 150.0)
    assert sorted(row.key for row in told) == [row.key for row in others]
    assert sorted(await store.ended_since(150.0)) == sorted(row.key for row in (SESSION, *others))
    assert await store.sessions() == [signed_in(over)]


async def test_of_more_sessions_than_may_be_kept_those_used_longest_ago_are_ended(store: Store) -> None:
    rows = [replace(SESSION, key=bytes([number]) * 32, last_seen=100.0 + number) for number in range(4)]
    for row in (*rows, replace(SESSION, subject="sub-2")):
        await store.save_session(row)
    person = SessionCriteria(connection_id="conn", subject="sub-1")
    assert await store.end_oldest(person, 4, 150.0) == []
    assert sorted(await store.end_oldest(person, 2, 150.0)) == [rows[0].key, rows[1].key]
    assert sorted(await store.ended_since(150.0)) == [rows[0].key, rows[1].key]
    assert await store.sessions(person) == [signed_in(rows[3]), signed_in(rows[2])]
    assert await store.load_session(SESSION.key)


async def test_the_sessions_of_several_hosts_are_found_with_one_question(store: Store) -> None:
    rows = [replace(SESSION, key=bytes([number]) * 32, host=f"{number}.localhost") for number in range(3)]
    for row in rows:
        await store.save_session(row)
    two = SessionCriteria(hosts=frozenset({"0.localhost", "2.localhost", "none.localhost"}))
    assert {found.key for found in await store.sessions(two)} == {rows[0].key, rows[2].key}
    assert await store.sessions(replace(two, host="1.localhost")) == []
    assert await store.sessions(replace(two, live_at=SESSION.expires_at)) == []


async def test_nobody_in_particular_is_never_everybody(store: Store) -> None:
    await store.save_session(SESSION)
    assert await store.sessions(SessionCriteria(hosts=frozenset())) == []
    assert await store.sessions(SessionCriteria()) == []
    assert await store.end_sessions(SessionCriteria(), 150.0) == []
    assert await store.end_oldest(SessionCriteria(), 0, 150.0) == []
    assert await store.revoke_sessions(SessionCriteria(), 150.0) == []
    assert await store.load_session(SESSION.key) == SESSION


async def test_a_lease_is_held_by_one_until_it_is_given_back_or_runs_out(store: Store) -> None:
    answers = await asyncio.gather(*(store.lease(b"refresh", 100.0, 110.0) for _ in range(5)))
    assert sorted(answers) == [False] * 4 + [True]
    assert not await store.lease(b"refresh", 109.0, 120.0)
    assert await store.lease(b"refresh", 110.0, 120.0)
    await store.give_back(b"refresh")
    assert await store.lease(b"refresh", 111.0, 120.0)


async def test_a_revoked_token_is_told_to_whoever_asks_since_when(store: Store) -> None:
    await store.add_token(TOKEN, DIGEST)
    assert await store.revoked_tokens(0) == []
    await store.revoke_token("tok_1", 150.0)
    assert await store.revoked_tokens(150.0) == ["tok_1"]
    assert await store.revoked_tokens(151.0) == []


async def claim(store: Store, owner: str, at: float) -> NameRow:
    return await store.claim_name("demo.localhost", owner, at, lost_seconds=10, cool_seconds=100)


async def test_a_name_stays_with_whoever_holds_it(store: Store) -> None:
    mine = NameRow(host="demo.localhost", owner="ann", at=10.0)
    assert await claim(store, "ann", 10.0) == mine
    assert await claim(store, "bob", 11.0) == mine
    assert await store.names(0) == [mine]
    assert await store.names(10.5) == []


async def test_a_name_that_was_given_up_cools_down_for_others_and_not_for_its_owner(store: Store) -> None:
    await claim(store, "ann", 10.0)
    await store.release_name("demo.localhost", "bob", 15.0)
    await store.release_name("demo.localhost", "ann", 20.0)
    assert await store.names(0) == []
    assert (await claim(store, "bob", 119.0)).owner == "ann"
    assert await claim(store, "bob", 120.0) == NameRow(host="demo.localhost", owner="bob", at=120.0, generation=2)
    assert (await claim(store, "ann", 121.0)).owner == "bob"


async def test_a_name_whose_relay_died_cools_down_from_when_it_was_last_held(store: Store) -> None:
    await claim(store, "ann", 10.0)
    await store.touch_names(["demo.localhost", "none.localhost"], 50.0)
    assert (await claim(store, "bob", 159.0)).owner == "ann"
    assert (await claim(store, "bob", 160.0)).owner == "bob"


async def test_a_name_that_is_freed_is_anybodys_at_once_and_in_a_new_generation(store: Store) -> None:
    """Row 84."""
    await claim(store, "ann", 10.0)
    assert await store.free_name("none.localhost") is None
    freed = await store.free_name("demo.localhost")
    assert freed == NameRow(host="demo.localhost", owner="ann", at=10.0, released_at=FREED_AT)
    assert (await claim(store, "bob", 10.5)).generation == 2


async def test_names_are_looked_up_one_by_one_and_all_together_those_given_up_too(store: Store) -> None:
    await claim(store, "ann", 10.0)
    await store.claim_name("other.localhost", "bob", 20.0, lost_seconds=10, cool_seconds=100)
    await store.release_name("demo.localhost", "ann", 30.0)
    mine = NameRow(host="demo.localhost", owner="ann", at=10.0, released_at=30.0)
    assert await store.name("demo.localhost") == mine
    assert await store.name("none.localhost") is None
    assert await store.all_names("ann") == [mine]
    assert [row.owner for row in await store.all_names()] == ["ann", "bob"]


async def test_names_that_nobody_has_held_for_long_are_forgotten_if_they_are_meant(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "PAGE", 10)
    hosts = [f"h{number:04}.localhost" for number in range(24)]
    for host in hosts:
        await store.claim_name(host, "ann", 10.0, lost_seconds=10, cool_seconds=100)
    await store.release_name(hosts[1], "ann", 20.0)
    await store.release_name(hosts[2], "ann", 31.0)
    await store.touch_names([hosts[3]], 31.0)
    await store.touch_names([hosts[4]], 31.0)
    await store.free_name(hosts[4])

    assert await store.forget_names(lambda host: host != hosts[0], 30.0) == 24 - 4
    assert [row.host for row in await store.all_names()] == [hosts[0], *hosts[2:5]]
    assert await store.forget_names(lambda host: True, 31.0) == 4


async def test_an_owner_takes_its_own_name_back_at_once_in_the_same_generation(store: Store) -> None:
    await claim(store, "ann", 10.0)
    await store.release_name("demo.localhost", "ann", 20.0)
    assert await claim(store, "ann", 21.0) == NameRow(host="demo.localhost", owner="ann", at=21.0)


async def test_audit_events_are_read_newest_first_and_page_by_page(store: Store) -> None:
    events = [AuditRow(at=float(number), kind="login.ok", host="demo.localhost") for number in range(5)]
    await store.add_audit([*events, AuditRow(at=9.0, kind="keys.rotated")])
    await store.add_audit([])

    page = await store.audit(kind="login.ok", host="demo.localhost", limit=2)
    assert [row.at for row in page] == [4.0, 3.0]
    assert [row.at for row in await store.audit(kind="login.ok", before=page[-1].id)] == [2.0, 1.0, 0.0]
    assert [row.kind for row in await store.audit(since=4.5)] == ["keys.rotated"]
    assert await store.delete_audit(3.0) == 3
    assert len(await store.audit()) == 3


async def test_an_open_store_answers_and_closes_twice(store: Store) -> None:
    await store.ping()
    await store.close()
    await store.close()


async def test_an_owners_sessions_are_those_at_its_names_domains_and_edges(store: Store) -> None:
    at = {"lost_seconds": 1.0, "cool_seconds": 1.0}
    row = {"owner": "ann", "created_at": 1.0, "updated_at": 1.0}
    await store.claim_name("name.localhost", "ann", 1.0, **at)
    await store.claim_name("bobs.localhost", "bob", 1.0, **at)
    await store.domains.add(DomainRow(id="d", host="domain.localhost", **row))
    await store.edges.add(EdgeRow(id="e", host="edge.localhost", settings="{}", **row))
    await store.edges.add(EdgeRow(id="e2", host=None, settings="{}", **row))
    hosts = ("name.localhost", "domain.localhost", "edge.localhost", "bobs.localhost", "nobodys.localhost")
    for number, host in enumerate(hosts):
        await store.save_session(replace(SESSION, key=bytes([number]) * 32, host=host, last_seen=100.0 - number))

    assert [one.host for one in await store.sessions(SessionCriteria(owner="ann"))] == list(hosts[:3])
    assert [one.host for one in await store.sessions(SessionCriteria(owner="bob"))] == ["bobs.localhost"]
    assert await store.sessions(SessionCriteria(owner="eve")) == []
    assert len(await store.end_sessions(SessionCriteria(owner="bob"), 1.0)) == 1


async def test_sessions_are_found_by_the_beginning_of_their_key_and_read_on_behind_one(store: Store) -> None:
    rows = [replace(SESSION, key=bytes([5, number]) + b"k" * 30, last_seen=at) for number, at in enumerate((9, 9, 7))]
    for row in (*rows, replace(SESSION, key=b"\x06" * 32, last_seen=8)):
        await store.save_session(row)

    assert await store.sessions(SessionCriteria(handle=bytes([5, 2]))) == [signed_in(rows[2])]
    assert len(await store.sessions(SessionCriteria(handle=bytes([5])))) == 3
    behind = await store.sessions(after=signed_in(rows[0]))
    assert [(one.last_seen, one.key[:2]) for one in behind] == [(9, b"\x05\x01"), (8, b"\x06\x06"), (7, b"\x05\x02")]


async def test_the_names_an_owner_gave_up_lately_are_told(store: Store) -> None:
    at = {"lost_seconds": 1.0, "cool_seconds": 1.0}
    for host, owner in (("a.localhost", "ann"), ("b.localhost", "ann"), ("c.localhost", "bob")):
        await store.claim_name(host, owner, 1.0, **at)
        await store.release_name(host, owner, 5.0)
    await store.claim_name("b.localhost", "ann", 6.0, **at)

    assert await store.cooling_names("ann", 4.0, unlike="b") == ["a.localhost"]
    assert await store.cooling_names("ann", 5.0, unlike="b") == []


async def test_generated_names_hide_no_others_that_were_given_up(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (names, memory_store):
        monkeypatch.setattr(module, "MAX_COOLING", 3)
    ports = [f"tcp://localhost:{port}" for port in (20_000, 20_001)]
    chosen = ["a.localhost", "word3.localhost", f"{'a' * RANDOM_LENGTH}.h2h2.localhost"]
    for number, host in enumerate([*(f"{random_label()}.localhost" for _ in range(9)), *chosen, *ports]):
        await store.claim_name(host, "ann", 1.0, lost_seconds=1.0, cool_seconds=1.0)
        await store.release_name(host, "ann", 5.0 + number)

    assert sorted(await store.cooling_names("ann", 4.0, unlike=RANDOM_HOST)) == sorted(chosen)
    assert sorted(await store.cooling_ports("ann", 4.0)) == ports
    assert await store.cooling_ports("ann", 99.0) == await store.cooling_ports("bob", 4.0) == []


async def test_what_is_spent_goes_a_while_later_and_what_is_good_stays(store: Store) -> None:
    now, row = 1e9, {"owner": "ann", "created_at": 1.0, "updated_at": 1.0, "user_id": "u"}
    tokens = {
        "good": {},
        "just revoked": {"revoked_at": now - KEEP_REVOKED + 1},
        "revoked": {"revoked_at": now - KEEP_REVOKED},
        "expired": {"expires_at": now - KEEP_EXPIRED},
        "just expired": {"expires_at": now - 1},
    }
    for number, (name, more) in enumerate(tokens.items()):
        await store.add_token(Token(id=name, owner="ann", created_at=1.0, **more), bytes([number]) * 32)
    for number, until in enumerate((None, now - KEEP_EXPIRED, now - 1)):
        key = ApiKeyRow(id=f"k{number}", digest=bytes([number]) * 32, scopes=("*",), expires_at=until, **row)
        await store.api_keys.add(key)
    for number, until in enumerate((now, now + 1)):
        sign_in = {"kind": "session", "last_seen_at": 1.0, "expires_at": until, "key": bytes([number]) * 32}
        await store.sign_ins.add(SignInRow(id=f"s{number}", **sign_in, **row))
    before = await store.revisions()

    assert await store.delete_spent(now) == 4
    assert await store.delete_spent(now) == 0

    assert {token.id for token in await store.tokens()} == {"good", "just revoked", "just expired"}
    assert [key.id for key in await store.api_keys.all()] == ["k0", "k2"]
    assert [one.id for one in await store.sign_ins.all()] == ["s1"]
    after = await store.revisions()
    assert {kind for kind in after if after[kind] > before[kind]} == {"tokens", "api_keys", "sign_ins"}


async def test_old_events_go_in_pieces_the_oldest_first(store: Store) -> None:
    for _ in range(2):
        await store.add_audit([AuditRow(at=float(number), kind="login.ok") for number in range(PURGED_AT_ONCE)])

    gone = [await store.delete_audit(PURGED_AT_ONCE - 1.0) for _ in range(3)]

    assert gone == [PURGED_AT_ONCE, PURGED_AT_ONCE - 2, 0]
    assert [row.at for row in await store.audit()] == [PURGED_AT_ONCE - 1.0] * 2
