"""What every store does with what people set up: collections, revisions, reserved domains, tokens' further fields."""

import asyncio
from dataclasses import replace

import pytest

from tunnelrelay.model import Token
from tunnelrelay.store.base import NameRow, Store
from tunnelrelay.store.resources import (
    COLLECTIONS,
    ApiKeyRow,
    BackendRow,
    Collection,
    DomainRow,
    EdgeRow,
    Named,
    ProviderRow,
    Row,
    SignInRow,
    TrustRuleRow,
    UserRow,
    Uses,
)

USER = UserRow(id="usr_1", owner="ann", created_at=1.0, updated_at=1.0, name="Ann", key="usr_1")
ROWS: dict[str, Row] = {
    "users": replace(USER, last_seen_at=3.5),
    "api_keys": ApiKeyRow(
        id="ak_1",
        owner="ann",
        created_at=1.0,
        updated_at=1.0,
        user_id="usr_1",
        digest=b"\x00" * 32,
        scopes=("edges:read", "tunnels:read"),
        metadata='{"a": 1}',
    ),
    "sign_ins": SignInRow(
        id="si_1",
        owner="ann",
        created_at=1.0,
        updated_at=1.0,
        user_id="usr_1",
        key=b"k" * 32,
        kind="code",
        last_seen_at=1.0,
        expires_at=2.0,
    ),
    "domains": DomainRow(id="rd_1", owner="ann", created_at=1.0, updated_at=1.0, host="a.localhost", description="ü"),
    "backends": BackendRow(
        id="bkdtg_1", owner="ann", created_at=1.0, updated_at=1.0, labels=(("app", "web"), ("env", "prod"))
    ),
    "edges": EdgeRow(
        id="edghts_1", owner="ann", created_at=1.0, updated_at=1.0, host=None, settings="{}", sealed=b"\xff\x00"
    ),
    "providers": ProviderRow(
        id="prv_1",
        owner="ann",
        created_at=1.0,
        updated_at=1.0,
        name="okta",
        owners=("ann", "bob"),
        settings="{}",
        sealed=b"s",
    ),
    "trust_rules": TrustRuleRow(
        id="trust_1",
        owner="ann",
        created_at=1.0,
        updated_at=1.0,
        issuer="https://gitlab.com",
        audience="https://tun.example",
        claims=(("project_id", "42"), ("ref_protected", "true")),
        acl=("bind:pr-*",),
        description="ü",
    ),
}
KINDS = [kind for kind, _ in COLLECTIONS]


def collection(store: Store, kind: str) -> Collection[Row]:
    found: Collection[Row] = getattr(store, kind)
    return found


def user(number: int, **changes: object) -> UserRow:
    return replace(USER, id=f"usr_{number}", name=f"user {number}", key=f"key {number}", **changes)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_row_of_every_kind_comes_back_as_it_was_added(store: Store, kind: str) -> None:
    rows, row = collection(store, kind), ROWS[kind]
    assert await rows.add(row)
    assert await rows.get(row.id) == row
    assert await rows.all() == [row]
    assert await rows.page(owner="ann") == [row]
    assert await rows.page(owner="bob") == []
    assert await rows.find(id=row.id, owner="ann") == row
    assert await rows.get("other") is None


@pytest.mark.parametrize("kind", KINDS)
async def test_an_id_is_never_given_twice(store: Store, kind: str) -> None:
    rows, row = collection(store, kind), ROWS[kind]
    assert await rows.add(row)
    assert not await rows.add(replace(row, owner="eve"))
    assert await rows.get(row.id) == row


@pytest.mark.parametrize(
    ("kind", "other"),
    [
        ("users", {"name": "another"}),
        ("users", {"key": "another"}),
        ("api_keys", {}),
        ("sign_ins", {}),
        ("domains", {}),
        ("providers", {}),
    ],
)
async def test_what_must_be_unique_is_not_added_again_under_another_id(
    store: Store, kind: str, other: dict[str, str]
) -> None:
    rows, row = collection(store, kind), ROWS[kind]
    await rows.add(row)
    assert not await rows.add(replace(row, id="other", **other))
    assert await rows.all() == [row]


async def test_a_host_has_one_edge_and_any_number_of_edges_have_none(store: Store) -> None:
    edges = [EdgeRow(id=f"e{n}", owner="ann", created_at=1.0, updated_at=1.0, host=None, settings="") for n in range(3)]
    assert [await store.edges.add(edge) for edge in edges] == [True] * 3
    first = replace(edges[0], host="a.localhost", version=2)
    assert await store.edges.replace(first)
    assert not await store.edges.replace(replace(edges[1], host="a.localhost", version=2))
    assert await store.edges.find(host="a.localhost") == first
    assert await store.edges.all() == [first, *edges[1:]]


async def test_a_change_made_from_an_old_version_is_refused(store: Store) -> None:
    await store.users.add(USER)
    changed = replace(USER, role="admin", version=2)
    assert await store.users.replace(changed)
    assert not await store.users.replace(replace(USER, role="member", version=2))
    assert not await store.users.replace(replace(USER, role="member", version=4))
    assert not await store.users.replace(replace(USER, id="usr_none", key="k", name="n", version=2))
    assert await store.users.get("usr_1") == changed


async def test_of_many_who_change_a_row_at_once_one_wins(store: Store) -> None:
    await store.users.add(USER)
    changes = [replace(USER, email=f"{number}@example.com", version=2) for number in range(10)]
    answers = await asyncio.gather(*(store.users.replace(change) for change in changes))
    assert answers.count(True) == 1
    assert await store.users.get("usr_1") == changes[answers.index(True)]


async def test_of_many_who_add_the_same_name_one_wins(store: Store) -> None:
    rows = [replace(USER, id=f"usr_{number}", key=str(number)) for number in range(20)]
    answers = await asyncio.gather(*(store.users.add(row) for row in rows))
    assert answers.count(True) == 1
    assert await store.users.all() == [rows[answers.index(True)]]


async def test_rows_are_read_page_by_page_newest_first_whatever_their_letters(store: Store) -> None:
    ids = ["usr_A", "usr_B", "usr_Z", "usr__", "usr_a", "usr_b", "usr_z"]  # as their bytes sort
    for name in (ids[4], ids[0], ids[6], ids[2], ids[1], ids[5], ids[3]):
        await store.users.add(replace(USER, id=name, name=name, key=name))
    first = await store.users.page(limit=3)
    second = await store.users.page(limit=3, before=first[-1].id)
    last = await store.users.page(limit=3, before=second[-1].id)
    assert [row.id for row in (*first, *second, *last)] == ids[::-1]
    assert [row.id for row in await store.users.all()] == ids
    await store.users.delete("usr__")
    assert [row.id for row in await store.users.page(before="usr__", limit=1)] == ["usr_Z"]


async def test_a_page_holds_only_what_matches(store: Store) -> None:
    for number in range(6):
        await store.users.add(user(number, owner="ann" if number % 2 else "bob", role="admin" if number < 4 else "x"))
    found = await store.users.page(owner="ann", role="admin")
    assert [row.id for row in found] == ["usr_3", "usr_1"]
    assert [row.id for row in await store.users.all(owner="bob", role="admin")] == ["usr_0", "usr_2"]


async def test_a_time_only_moves_forward_and_is_no_change(store: Store) -> None:
    await store.users.add(USER)
    before = await store.revisions()
    await store.users.touch("usr_1", "last_seen_at", 5.0)
    await store.users.touch("usr_1", "last_seen_at", 4.0)
    await store.users.touch("usr_none", "last_seen_at", 4.0)
    assert await store.users.get("usr_1") == replace(USER, last_seen_at=5.0)
    assert await store.revisions() == before


async def test_deleting_gives_back_what_was_there(store: Store) -> None:
    rows = [user(number, owner="bob") for number in range(3)]
    for row in (USER, *rows[1:]):
        await store.users.add(row)
    assert await store.users.delete("usr_none") is None
    assert await store.users.delete("usr_2", version=7) is None
    assert await store.users.delete("usr_2", version=1) == rows[2]
    assert await store.users.delete("usr_2") is None


async def test_what_matches_is_deleted_and_nothing_by_no_criterion(store: Store) -> None:
    rows = [user(number, owner="bob" if number else "ann") for number in range(3)]
    for row in rows:
        await store.users.add(row)
    with pytest.raises(ValueError, match="everything"):
        await store.users.delete_where()
    gone = await store.users.delete_where(owner="bob")
    assert sorted(row.id for row in gone) == ["usr_1", "usr_2"]
    assert await store.users.delete_where(owner="bob") == []
    assert await store.users.all() == [rows[0]]


@pytest.mark.parametrize("kind", KINDS)
async def test_every_change_of_a_kind_moves_its_number_and_no_other(store: Store, kind: str) -> None:
    rows, row = collection(store, kind), ROWS[kind]
    numbers = [await store.revisions()]

    async def moved() -> int:
        numbers.append(await store.revisions())
        assert {name for name in numbers[-1] if numbers[-1][name] != numbers[-2][name]} <= {kind}
        return numbers[-1][kind] - numbers[-2][kind]

    assert numbers[0] == dict.fromkeys([*KINDS, "tokens"], 0)
    await rows.add(row)
    assert await moved() > 0
    await rows.add(row)
    assert await moved() == 0
    await rows.replace(replace(row, version=2))
    assert await moved() > 0
    await rows.replace(replace(row, version=9))
    assert await moved() == 0
    await rows.delete(row.id)
    assert await moved() > 0
    await rows.delete(row.id)
    assert await moved() == 0


# Tokens


def token(number: int, **changes: object) -> Token:
    return replace(Token(id=f"tok_{number}", owner="ann", created_at=100.0), **changes)


async def test_a_token_keeps_what_its_owner_says_about_it(store: Store) -> None:
    made = token(
        1,
        description="CI",
        metadata='{"a": 1}',
        acl=("bind:demo.localhost", "bind:pr-*"),
        expires_at=500.5,
        user_id="usr_1",
    )
    await store.add_token(made, b"d" * 32)
    assert await store.token("tok_1") == made
    assert await store.token_by_digest(b"d" * 32) == made
    assert await store.token("tok_2") is None


async def test_only_what_an_owner_may_change_of_a_token_changes(store: Store) -> None:
    await store.add_token(token(1), b"d" * 32)
    wish = token(1, owner="eve", created_at=7.0, user_id="usr_9", description="new", acl=("bind:x",), expires_at=9.0)
    assert await store.change_token(token(1), wish)
    assert await store.token("tok_1") == token(1, description="new", acl=("bind:x",), expires_at=9.0)
    assert not await store.change_token(token(2), token(2, description="new"))


async def test_two_changes_of_a_token_at_once_undo_nothing_of_each_other(store: Store) -> None:
    await store.add_token(token(1, acl=("bind:*",)), b"d" * 32)
    seen = await store.token("tok_1")
    assert seen is not None
    await store.change_token(seen, replace(seen, acl=("bind:one",)))
    await store.change_token(seen, replace(seen, description="new"))
    assert await store.token("tok_1") == replace(seen, acl=("bind:one",), description="new")


async def test_tokens_are_read_page_by_page_without_those_that_are_revoked(store: Store) -> None:
    for number in range(5):
        await store.add_token(token(number, owner="bob" if number == 3 else "ann"), bytes([number]) * 32)
    await store.revoke_token("tok_2", 150.0)
    assert [found.id for found in await store.token_page(limit=2)] == ["tok_4", "tok_3"]
    assert [found.id for found in await store.token_page(before="tok_3", limit=2)] == ["tok_1", "tok_0"]
    assert [found.id for found in await store.token_page(owner="ann")] == ["tok_4", "tok_1", "tok_0"]
    revoked = await store.token("tok_2")
    assert revoked is not None
    assert revoked.revoked_at == 150.0


async def test_tokens_that_change_move_their_number_and_their_use_does_not(store: Store) -> None:
    async def number() -> int:
        return (await store.revisions())["tokens"]

    await store.add_token(token(1), b"d" * 32)
    assert (added := await number()) > 0
    await store.change_token(token(1), token(1, description="new"))
    assert (changed := await number()) > added
    await store.touch_token("tok_1", 150.0)
    await store.change_token(token(2), token(2, description="new"))
    await store.revoke_token("tok_2", 150.0)
    assert await number() == changed
    await store.revoke_token("tok_1", 150.0)
    assert (revoked := await number()) > changed
    await store.revoke_token("tok_1", 160.0)
    assert await number() == revoked


# Reserved domains

HOST = "a.localhost"


def domain(number: int, owner: str = "ann", host: str = HOST) -> DomainRow:
    return DomainRow(id=f"rd_{number}", owner=owner, created_at=1.0, updated_at=1.0, host=host)


async def reserve(store: Store, row: DomainRow, at: float) -> NameRow | None:
    return await store.reserve_domain(row, at, lost_seconds=10, cool_seconds=100)


async def claim(store: Store, owner: str, at: float, host: str = HOST) -> NameRow:
    return await store.claim_name(host, owner, at, lost_seconds=10, cool_seconds=100)


async def test_a_reserved_domain_is_its_owners_for_as_long_as_it_is_reserved(store: Store) -> None:
    assert await reserve(store, domain(1), 10.0) == NameRow(host=HOST, owner="ann", at=10.0)
    await store.release_name(HOST, "ann", 20.0)
    assert (await claim(store, "bob", 9e6)).owner == "ann"
    assert (await claim(store, "ann", 9e6)).owner == "ann"
    await store.free_name(HOST)
    assert (await claim(store, "bob", 9e6)).owner == "ann"
    assert await store.domains.find(host=HOST) == domain(1)


async def test_reserving_what_is_reserved_already_changes_nothing(store: Store) -> None:
    await reserve(store, domain(1), 10.0)
    await store.release_name(HOST, "ann", 20.0)
    before = (await store.name(HOST), await store.revisions())
    assert await reserve(store, domain(2), 30.0) is None
    assert (await store.name(HOST), await store.revisions()) == before
    held = await reserve(store, domain(3, "bob"), 9e6)
    assert held is not None
    assert held.owner == "ann"
    assert (await store.name(HOST), await store.revisions()) == before
    assert await store.domains.all() == [domain(1)]


async def test_reserving_under_an_id_that_exists_leaves_no_name_behind(store: Store) -> None:
    await reserve(store, domain(1), 10.0)
    assert await reserve(store, domain(1, host="b.localhost"), 10.0) is None
    assert await store.name("b.localhost") is None


async def test_a_name_that_somebody_else_holds_or_that_cools_down_is_not_reserved(store: Store) -> None:
    await claim(store, "bob", 10.0)
    held = await reserve(store, domain(1), 20.0)
    assert held == NameRow(host=HOST, owner="bob", at=10.0)
    await store.release_name(HOST, "bob", 30.0)
    held = await reserve(store, domain(1), 129.0)
    assert held is not None
    assert held.owner == "bob"
    assert await store.domains.all() == []
    assert await reserve(store, domain(1), 130.0) == NameRow(host=HOST, owner="ann", at=130.0, generation=2)


async def test_giving_a_domain_up_begins_its_cool_down_however_long_nobody_served_it(store: Store) -> None:
    await reserve(store, domain(1), 10.0)
    await store.release_name(HOST, "ann", 20.0)
    assert await store.give_up_domain("rd_none", 1000.0) is None
    assert await store.give_up_domain("rd_1", 1000.0) == domain(1)
    assert await store.domains.all() == []
    assert (await claim(store, "bob", 1099.0)).owner == "ann"
    assert await claim(store, "bob", 1100.0) == NameRow(host=HOST, owner="bob", at=1100.0, generation=2)
    assert await store.give_up_domain("rd_1", 1200.0) is None


async def test_a_reserved_name_is_never_forgotten_and_never_a_strangers(store: Store) -> None:
    await reserve(store, domain(1), 10.0)
    await store.release_name(HOST, "ann", 20.0)
    await claim(store, "ann", 10.0, host="b.localhost")
    assert await store.forget_names(lambda _host: True, 9e6) == 1
    assert await store.name(HOST) is not None


async def test_a_domain_without_a_name_is_still_its_owners(store: Store) -> None:
    await store.domains.add(domain(1))
    assert (await claim(store, "bob", 10.0)).owner == "ann"
    assert (await claim(store, "ann", 10.0)).owner == "ann"


async def test_of_many_owners_who_reserve_a_domain_at_once_one_gets_it(store: Store) -> None:
    rows = [domain(number, f"owner {number}") for number in range(20)]
    answers = await asyncio.gather(*(reserve(store, row, 10.0) for row in rows))
    (winner,) = {answer.owner for answer in answers if answer is not None}
    assert [row.owner for row in await store.domains.all()] == [winner]
    held = await store.name(HOST)
    assert held is not None
    assert held.owner == winner


async def test_of_many_who_claim_a_name_that_is_given_up_meanwhile_one_gets_it(store: Store) -> None:
    await reserve(store, domain(1), 10.0)
    answers, _ = await asyncio.gather(
        asyncio.gather(*(claim(store, f"owner {number}", 1000.0) for number in range(20))),
        store.give_up_domain("rd_1", 500.0),
    )
    winners = {answer.owner for answer in answers} - {"ann"}
    assert len(winners) <= 1
    held = await store.name(HOST)
    assert held is not None
    assert {held.owner} == (winners or {"ann"})


USERS_KEY = replace(ROWS["api_keys"], user_id="usr_1")
NEEDS_USER = (Named("users", "id", "usr_1"),)
NAMES_OKTA = Uses("edges", lambda edge: edge.settings == "okta")
EDGE = EdgeRow(id="edghts_9", owner="bob", created_at=1.0, updated_at=1.0, host=None, settings="okta")
NEEDS_OKTA = (Named("providers", "name", "okta"),)


async def test_a_row_is_only_added_while_what_it_needs_is_there(store: Store) -> None:
    assert not await store.api_keys.add(USERS_KEY, needs=NEEDS_USER)
    assert await store.api_keys.all() == []
    assert (await store.revisions())["api_keys"] == 0

    await store.users.add(USER)

    assert await store.api_keys.add(USERS_KEY, needs=NEEDS_USER)
    assert (await store.revisions())["api_keys"] == 1


async def test_a_row_is_only_changed_while_what_it_newly_needs_is_there(store: Store) -> None:
    await store.edges.add(EDGE)
    changed = replace(EDGE, version=2, description="by okta")

    assert not await store.edges.replace(changed, needs=NEEDS_OKTA)
    assert await store.edges.all() == [EDGE]

    await store.providers.add(ROWS["providers"])

    assert await store.edges.replace(changed, needs=NEEDS_OKTA)
    assert await store.edges.all() == [changed]


async def test_rows_that_go_along_with_another_are_deleted_with_it_and_no_others(store: Store) -> None:
    await store.users.add(USER)
    await store.api_keys.add(USERS_KEY)
    other = replace(USERS_KEY, id="ak_2", user_id="usr_2", digest=b"2" * 32)
    await store.api_keys.add(other)
    before = await store.revisions()

    gone = await store.users.delete("usr_1", along=[Named("api_keys", "user_id", "usr_1")])

    assert gone == USER
    assert await store.api_keys.all() == [other]
    after = await store.revisions()
    assert (after["users"], after["api_keys"]) == (before["users"] + 1, before["api_keys"] + 1)


async def test_what_goes_along_stays_when_the_row_is_not_deleted(store: Store) -> None:
    await store.users.add(USER)
    await store.api_keys.add(USERS_KEY)

    along = [Named("api_keys", "user_id", "usr_1")]
    assert await store.users.delete("usr_1", version=7, along=along) is None
    assert await store.api_keys.all() == [USERS_KEY]


async def test_a_row_that_is_used_is_not_deleted(store: Store) -> None:
    provider = ROWS["providers"]
    await store.providers.add(provider)
    await store.edges.add(EDGE)
    before = await store.revisions()

    assert await store.providers.delete(provider.id, unless=NAMES_OKTA) is None
    assert await store.providers.all() == [provider]
    assert await store.revisions() == before

    await store.edges.delete(EDGE.id)
    assert await store.providers.delete(provider.id, unless=NAMES_OKTA) == provider


async def test_no_row_is_left_whose_need_is_deleted_at_the_same_time(store: Store) -> None:
    for number in range(10):
        await store.users.add(USER)
        await store.providers.add(ROWS["providers"])
        key = replace(USERS_KEY, id=f"ak_{number}", digest=bytes([number]) * 32)
        edge = replace(EDGE, id=f"edghts_{number}")
        await asyncio.gather(
            store.api_keys.add(key, needs=NEEDS_USER),
            store.users.delete(USER.id, along=[Named("api_keys", "user_id", USER.id)]),
            store.edges.add(edge, needs=NEEDS_OKTA),
            store.providers.delete("prv_1", unless=NAMES_OKTA),
        )
        assert await store.users.all() == []
        assert await store.api_keys.all() == []
        assert bool(await store.edges.all()) == bool(await store.providers.all())
        await store.edges.delete(edge.id)
        await store.providers.delete("prv_1")
