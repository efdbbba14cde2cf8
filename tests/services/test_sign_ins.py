"""Signing in to the dashboard: codes that are good once, cookies that end, and answers that tell nobody anything."""

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest

from tests.oidc.world import TUN_EXAMPLE
from tests.services.people import OPERATOR, PEER, Office, acting
from tests.support.memory_store import MemoryStore
from tunnelctl.secret import redact
from tunnelrelay.services.problems import Kind, ManageError
from tunnelrelay.services.sign_in_rows import CODE_SECONDS, IDLE_SECONDS, MAX_CODES, MAX_SECONDS, MAX_SESSIONS
from tunnelrelay.services.sign_ins import BURST_ATTEMPTS, sign_in_link


@pytest.fixture
def office() -> Office:
    return Office()


async def refusal(attempt: Awaitable[object]) -> ManageError:
    with pytest.raises(ManageError) as refused:
        await attempt
    return refused.value


async def test_a_code_signs_in_once(office: Office) -> None:
    ann = await office.person("ann")
    code = await office.sign_ins.invite(None, ann.id)

    signed_in = await office.sign_ins.redeem(f" {code}\n", peer=PEER, agent="Firefox")

    actor = await office.sign_ins.actor_of(signed_in.cookie, peer=PEER, request_id="r1")
    assert actor is not None
    assert (actor.user_id, actor.owner, actor.is_admin, actor.via) == (ann.id, "team", False, "dashboard")
    assert (await refusal(office.sign_ins.redeem(code, peer=PEER))).code == "sign_in_refused"


async def test_of_two_relays_that_are_shown_a_code_at_once_one_signs_in(office: Office) -> None:
    other = Office(office.store, office.clock)
    ann = await office.person("ann")
    for _ in range(5):
        code = await office.sign_ins.invite(None, ann.id)
        tries = [each.sign_ins.redeem(code, peer="") for each in (office, other, office, other)]
        done = await asyncio.gather(*tries, return_exceptions=True)
        assert sum(not isinstance(each, ManageError) for each in done) == 1


async def test_a_code_is_good_for_an_hour(office: Office) -> None:
    ann = await office.person("ann")
    early, late = await office.sign_ins.invite(None, ann.id), await office.sign_ins.invite(None, ann.id)

    office.clock.now += CODE_SECONDS - 1
    await office.sign_ins.redeem(early, peer=PEER)
    office.clock.now += 1
    assert (await refusal(office.sign_ins.redeem(late, peer=PEER))).kind is Kind.FORBIDDEN


async def test_row143_whatever_is_wrong_with_a_code_the_answer_and_the_work_are_the_same() -> None:
    """Row 143."""
    asked: list[str] = []

    class Watched(MemoryStore):
        """Notes what is asked of it."""

        def __getattribute__(self, name: str) -> Any:
            if name in ("users", "sign_ins", "api_keys"):
                asked.append(name)
            return super().__getattribute__(name)

    office = Office(Watched())
    ann, off = await office.person("ann"), await office.person("off")
    used, disabled = await office.sign_ins.invite(None, ann.id), await office.sign_ins.invite(None, off.id)
    await office.sign_ins.redeem(used, peer="")
    await office.users.update(OPERATOR, off.id, disabled=True)
    old = await office.sign_ins.invite(None, ann.id)
    office.clock.now += CODE_SECONDS

    seen = set()
    for text in ("tc_" + "a" * 43, used, disabled, old, "", "\udc80", "admin", "x" * 10_000):
        asked.clear()
        wrong = await refusal(office.sign_ins.redeem(text, peer=""))
        seen.add((wrong.kind, wrong.code, wrong.message, wrong.hint, tuple(asked)))

    assert len(seen) == 1


async def test_row143_attempts_of_one_address_are_limited_right_ones_too(office: Office) -> None:
    """Row 143."""
    ann = await office.person("ann")
    for number in range(BURST_ATTEMPTS):
        await refusal(office.sign_ins.redeem(f"tc_{number:043}", peer=PEER))

    code = await office.sign_ins.invite(None, ann.id)
    assert (await refusal(office.sign_ins.redeem(code, peer=PEER))).kind is Kind.BUSY
    assert [event.reason for event in office.events("rate.limited")] == ["sign_in"]
    assert (await office.sign_ins.redeem(code, peer="198.51.100.7")).user == ann
    office.clock.now += 3600
    assert (await refusal(office.sign_ins.redeem(code, peer=PEER))).kind is Kind.FORBIDDEN


async def test_row143_attempts_at_one_target_are_limited_wherever_they_come_from(office: Office) -> None:
    """Row 143."""
    ann = await office.person("ann")
    code = await office.sign_ins.invite(None, ann.id)

    answers = []
    for number in range(BURST_ATTEMPTS + 5):
        try:
            await office.sign_ins.redeem(code, peer=f"198.51.100.{number}")
        except ManageError as error:
            answers.append(error.kind)

    assert answers == [Kind.FORBIDDEN] * (BURST_ATTEMPTS - 1) + [Kind.BUSY] * 5


async def test_row141_codes_and_cookies_lie_nowhere_but_with_their_holder(office: Office) -> None:
    """Row 141."""
    ann = await office.person("ann")
    code = await office.sign_ins.invite(None, ann.id)
    signed_in = await office.sign_ins.redeem(code, peer=PEER)

    kept = repr((vars(office.store), await office.store.sign_ins.all(), office.events(), signed_in))
    assert code not in kept
    assert signed_in.cookie not in kept
    assert redact(f"see {sign_in_link(TUN_EXAMPLE, code)}") == (
        "see https://dashboard.tun.example/sign-in#code=[redacted]"
    )


async def test_a_cookie_is_new_at_every_sign_in_and_never_the_visitor_s_choice(office: Office) -> None:
    ann = await office.person("ann")
    planted = await office.signed_in(ann)
    await office.sign_ins.sign_out(planted)

    cookies = {await office.signed_in(ann, peer="") for _ in range(3)} | {planted}

    assert len(cookies) == 4
    assert not await office.is_in(planted)


@pytest.mark.parametrize("cookie", ["", "x", "é" * 43, "a" * 43, "a" * 10_000, "\udc80" * 43])
async def test_a_made_up_cookie_is_nobody_s(office: Office, cookie: str) -> None:
    assert not await office.is_in(cookie)
    await office.sign_ins.sign_out(cookie)


async def test_a_code_is_no_cookie_and_a_cookie_is_no_code(office: Office) -> None:
    ann = await office.person("ann")
    code = await office.sign_ins.invite(None, ann.id)
    cookie = await office.signed_in(ann)

    assert not await office.is_in(code)
    assert not await office.is_in(code.removeprefix("tc_"))
    await refusal(office.sign_ins.redeem(cookie, peer=""))
    assert await office.is_in(cookie)


async def test_a_sign_in_that_is_not_used_ends(office: Office) -> None:
    cookie = await office.signed_in(await office.person("ann"))

    for _ in range(3):
        office.clock.now += IDLE_SECONDS - 1
        assert await office.is_in(cookie)
    office.clock.now += IDLE_SECONDS
    assert not await office.is_in(cookie)
    assert await office.store.sign_ins.all() == []


async def test_a_sign_in_that_is_always_used_ends_after_a_week(office: Office) -> None:
    cookie = await office.signed_in(await office.person("ann"))
    ends = office.clock() + MAX_SECONDS

    while office.clock() < ends:
        assert await office.is_in(cookie)
        office.clock.now += IDLE_SECONDS / 2
    assert not await office.is_in(cookie)


async def test_whoever_signs_out_is_out_at_every_relay(office: Office) -> None:
    other = Office(office.store, office.clock)
    cookie = await office.signed_in(await office.person("ann"))
    assert await other.is_in(cookie)

    await office.sign_ins.sign_out(cookie)

    assert not await office.is_in(cookie)
    assert not await other.is_in(cookie)
    assert [event.reason for event in office.events("sign_in.ended")] == ["signed_out"]


async def test_an_api_key_that_may_everything_signs_in(office: Office) -> None:
    ann = await office.person("ann")
    _, text = await office.keys.create(acting(ann), expires_at=office.clock() + 100)

    cookie = (await office.sign_ins.redeem(text, peer=PEER)).cookie

    assert await office.is_in(cookie)
    office.clock.now += 100
    assert not await office.is_in(cookie)


async def test_row142_a_key_with_scopes_is_not_exchanged_for_everything(office: Office) -> None:
    """Row 142."""
    admin = await office.person("admin", role="admin")
    _, text = await office.keys.create(acting(admin), scopes=("users:write", "credentials:write"))

    assert (await refusal(office.sign_ins.redeem(text, peer=PEER))).code == "sign_in_refused"
    narrow = acting(admin, "users:write", "credentials:write")
    assert (await refusal(office.sign_ins.invite(narrow, admin.id))).code == "scope_missing"


async def test_row145_what_a_key_signed_in_ends_with_the_key(office: Office) -> None:
    """Row 145."""
    ann = await office.person("ann")
    row, text = await office.keys.create(acting(ann))
    by_key = (await office.sign_ins.redeem(text, peer=PEER)).cookie
    by_code = await office.signed_in(ann)

    await office.keys.delete(acting(ann), row.id)

    assert not await office.is_in(by_key)
    assert await office.is_in(by_code)


async def test_one_s_own_sign_ins_are_listed_and_ended(office: Office) -> None:
    ann = await office.person("ann")
    here, there = await office.signed_in(ann), await office.signed_in(ann, peer="198.51.100.7")
    await office.sign_ins.invite(None, ann.id)

    rows = await office.sign_ins.page(acting(ann))
    assert {row.peer for row in rows} == {PEER, "198.51.100.7"}
    lost = next(row for row in rows if row.peer == PEER)
    await office.sign_ins.revoke(acting(ann), lost.id)

    assert not await office.is_in(here)
    assert await office.is_in(there)


async def test_row138_a_member_sees_and_ends_nobody_else_s(office: Office) -> None:
    """Row 138."""
    ann, bob = await office.person("ann"), await office.person("bob")
    cookie = await office.signed_in(ann)
    (row,) = await office.sign_ins.page(acting(ann))

    assert await office.sign_ins.page(acting(bob)) == await office.sign_ins.page(acting(bob), ann.id) == []
    other = await refusal(office.sign_ins.revoke(acting(bob), row.id))
    nobody = await refusal(office.sign_ins.revoke(acting(bob), "si_none"))
    assert (other.kind, str(other)) == (nobody.kind, str(nobody)) == (Kind.MISSING, str(nobody))
    invited = await refusal(office.sign_ins.invite(acting(bob), ann.id))
    assert (invited.kind, str(invited)) == (Kind.MISSING, str(await refusal(office.sign_ins.invite(None, "usr_none"))))
    assert await office.is_in(cookie)
    assert await office.sign_ins.invite(acting(bob), bob.id)


async def test_an_administrator_ends_anybody_s(office: Office) -> None:
    admin, ann = await office.actor("admin", role="admin"), await office.person("ann")
    cookie = await office.signed_in(ann)
    (row,) = await office.sign_ins.page(admin, ann.id)

    await office.sign_ins.revoke(admin, row.id)

    assert not await office.is_in(cookie)
    assert [(event.reason, event.actor) for event in office.events("sign_in.ended")] == [("revoked", admin.user_id)]


async def test_somebody_who_is_disabled_is_not_invited(office: Office) -> None:
    ann = await office.person("ann")
    await office.users.update(OPERATOR, ann.id, disabled=True)

    assert (await refusal(office.sign_ins.invite(None, ann.id))).code == "user_disabled"


async def test_one_user_fills_the_store_neither_with_codes_nor_with_sign_ins(office: Office) -> None:
    ann = await office.person("ann")
    codes = []
    for _ in range(MAX_CODES + 3):
        office.clock.now += 1
        codes.append(await office.sign_ins.invite(None, ann.id))
    await refusal(office.sign_ins.redeem(codes[0], peer=""))
    cookies = []
    for _ in range(MAX_SESSIONS + 3):
        office.clock.now += 1
        cookies.append(await office.signed_in(ann, peer=""))

    assert len(await office.store.sign_ins.all(user_id=ann.id)) <= MAX_CODES + MAX_SESSIONS
    assert [await office.is_in(cookie) for cookie in (cookies[0], cookies[2], cookies[3], cookies[-1])] == [
        False,
        False,
        True,
        True,
    ]


# The first administrator


async def test_the_first_code_makes_the_first_administrator(office: Office) -> None:
    code = await office.sign_ins.first_run("local")
    assert code is not None

    signed_in = await office.sign_ins.redeem(code, peer="127.0.0.1")

    assert (signed_in.user.name, signed_in.user.role, signed_in.user.owner) == ("admin", "admin", "local")
    actor = await office.sign_ins.actor_of(signed_in.cookie, peer="127.0.0.1", request_id="r")
    assert actor is not None
    assert actor.is_admin
    assert await office.sign_ins.first_run("local") is None


async def test_row143_only_the_newest_first_code_is_good_and_only_once(office: Office) -> None:
    """Row 143."""
    old, new = await office.sign_ins.first_run("default"), await office.sign_ins.first_run("default")
    assert old is not None
    assert new is not None

    await refusal(office.sign_ins.redeem(old, peer=""))
    await office.sign_ins.redeem(new, peer="")
    await refusal(office.sign_ins.redeem(new, peer=""))
    assert len(await office.store.users.all()) == 1


async def test_row143_a_first_code_is_worth_nothing_once_there_is_an_administrator(office: Office) -> None:
    """Row 143."""
    code = await office.sign_ins.first_run("default")
    assert code is not None
    await office.person("ann", role="admin")

    await refusal(office.sign_ins.redeem(code, peer=""))

    assert [row.name for row in await office.store.users.all()] == ["ann"]


async def test_two_relays_that_start_at_once_make_one_administrator(office: Office) -> None:
    other = Office(office.store, office.clock)
    codes = await asyncio.gather(office.sign_ins.first_run("default"), other.sign_ins.first_run("default"))
    tries = [office.sign_ins.redeem(code, peer="") for code in codes if code is not None]

    await asyncio.gather(*tries, return_exceptions=True)

    assert [row.name for row in await office.store.users.all()] == ["admin"]


async def test_a_relay_whose_administrators_are_all_disabled_gets_a_new_one(office: Office) -> None:
    await office.person("admin", role="admin")
    row = (await office.store.users.all())[0]
    await office.store.users.delete(row.id)
    await office.person("admin", role="member")

    code = await office.sign_ins.first_run("default")
    assert code is not None

    assert (await office.sign_ins.redeem(code, peer="")).user.role == "admin"
