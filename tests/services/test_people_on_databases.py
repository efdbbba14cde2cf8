"""What must not happen twice, on the databases relays share: two connections to one store stand for two relays."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from tests.services.people import OPERATOR, PEER, Office, acting
from tests.support.memory_store import MemoryStore
from tests.support.postgres import PostgresServer
from tunnelrelay.config.database import DatabaseUrl
from tunnelrelay.services.problems import ManageError
from tunnelrelay.services.users import has_enabled_admin
from tunnelrelay.store.opening import open_store

Two = tuple[Office, Office]


@pytest.fixture(params=["sqlite", "postgresql"])
async def relays(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Two]:
    database: DatabaseUrl | None = None
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        database = DatabaseUrl(await server.database())
    stores = [await open_store(database, tmp_path), await open_store(database, tmp_path)]
    one, two = (Office(cast(MemoryStore, store)) for store in stores)
    yield one, two
    for store in stores:
        await store.close()


async def test_a_code_shown_to_both_at_once_signs_in_once(relays: Two) -> None:
    one, two = relays
    ann = await one.person("ann")
    for number in range(4):
        code = await one.sign_ins.invite(None, ann.id)
        tries = [office.sign_ins.redeem(code, peer=f"198.51.100.{number}") for office in (one, two)]
        done = await asyncio.gather(*tries, return_exceptions=True)
        assert sorted(isinstance(each, ManageError) for each in done) == [False, True], done


@pytest.mark.parametrize("former", ["", "admin"])
async def test_first_codes_of_both_make_one_administrator(relays: Two, former: str) -> None:
    """Row 143."""
    one, two = relays
    if former:
        gone = await one.person(former)
        await one.users.update(OPERATOR, gone.id, disabled=True)
    codes = await asyncio.gather(one.sign_ins.first_run("default"), two.sign_ins.first_run("default"))

    tries = [office.sign_ins.redeem(str(code), peer="") for office, code in zip((one, two), codes, strict=True)]
    await asyncio.gather(*tries, return_exceptions=True)

    assert len(await one.store.users.all(role="admin", disabled_at=None)) == 1
    assert await two.sign_ins.first_run("default") is None


async def test_what_one_ends_is_over_at_the_other(relays: Two) -> None:
    """Row 145."""
    one, two = relays
    ann = await one.person("ann")
    cookie = await one.signed_in(ann)
    row, key = await one.keys.create(acting(ann), scopes=("edges:read", "audit:write"))
    actor = await two.keys.authenticate(key, PEER, "r")
    assert actor is not None
    assert actor.scopes == {"edges:read", "audit:write"}
    assert await two.is_in(cookie)

    await one.keys.delete(acting(ann), row.id)
    await one.users.update(OPERATOR, ann.id, disabled=True)

    assert await two.keys.authenticate(key, PEER, "r") is None
    assert not await two.is_in(cookie)


async def test_no_key_is_left_of_a_user_whom_one_removes_while_the_other_makes_a_key(relays: Two) -> None:
    one, two = relays
    for number in range(10):
        ann = await one.person(f"ann {number}")
        tries: list[Any] = [one.users.delete(OPERATOR, ann.id), two.keys.create(OPERATOR, user_id=ann.id)]
        await asyncio.gather(*tries, return_exceptions=True)
        assert await one.store.users.get(ann.id) is None
        assert await one.store.api_keys.all(user_id=ann.id) == []


async def test_one_owner_gets_a_name_that_two_ask_for_at_once(relays: Two) -> None:
    one, two = relays
    red, blue = await one.actor("ann", owner="red"), await two.actor("bob", owner="blue")

    tries: list[Any] = [one.domains.create(red, "demo"), two.domains.create(blue, "demo")]
    done = await asyncio.gather(*tries, return_exceptions=True)

    assert sum(isinstance(each, ManageError) for each in done) == 1, done
    (row,) = await one.store.domains.all()
    assert (await two.store.name(row.host)).owner == row.owner


async def test_the_last_administrator_stays_when_two_demote_each_other(relays: Two) -> None:
    one, two = relays
    ann, bob = await one.person("ann", role="admin"), await one.person("bob", role="admin")

    tries = [one.users.update(acting(ann), bob.id, role="member"), two.users.update(acting(bob), ann.id, disabled=True)]
    await asyncio.gather(*tries, return_exceptions=True)

    assert await has_enabled_admin(one.store)


async def test_a_member_s_pages_hold_his_owner_s_rows(relays: Two) -> None:
    """Row 138."""
    one, two = relays
    red, blue = await one.actor("ann", owner="red"), await one.actor("bob", owner="blue")
    for number in range(3):
        one.clock.now += 1
        await one.credentials.create(red, description=f"red {number}", acl=("bind:pr-*",))
        await one.credentials.create(blue)
        await one.domains.create(red, f"red-{number}")
        await one.domains.create(blue, f"blue-{number}")

    first = await two.credentials.page(red, limit=2)
    assert [token.description for token in first] == ["red 2", "red 1"]
    assert [token.acl for token in await two.credentials.page(red, before=first[-1].id)] == [("bind:pr-*",)]
    assert {row.owner for row in await two.domains.page(blue)} == {"blue"}
