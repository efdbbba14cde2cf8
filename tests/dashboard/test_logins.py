"""Visitors' logins in the dashboard: seen by whose host it is, found, and ended one by one or all at a host."""

import hashlib
import time

import pytest_asyncio

from tests.dashboard.test_edges import HOSTILE, Elements, text_of
from tests.dashboard.test_sse import following
from tests.support.dashboard import InMemory, signed_in
from tests.support.managed import ADMIN
from tests.support.world import world
from tunnelrelay.dashboard.listing import PAGE
from tunnelrelay.store.base import SessionRow

RED, BLUE = "red.tun.example", "blue.tun.example"


def session(host: str, who: str, *, now: float, email: str | None = None) -> SessionRow:
    """Somebody who is signed in at a host."""
    return SessionRow(
        key=hashlib.sha256(f"{who} at {host}".encode()).digest(),
        host=host,
        connection_id="conn",
        epoch="e",
        issuer="https://login.acme.example",
        subject=who,
        email=f"{who}@acme.example" if email is None else email,
        created_at=now,
        last_seen=now,
        expires_at=now + 3600,
        sealed=b"sealed",
    )


async def sign_in(house: InMemory, host: str, who: str, *, email: str | None = None) -> None:
    """Signs somebody in at a host."""
    await house.managed.store.save_session(session(host, who, now=house.managed.clock(), email=email))


@pytest_asyncio.fixture
async def busy(house: InMemory) -> InMemory:
    """`red` is ann's, `blue` bob's; visitors are signed in at both."""
    for host, owner in ((RED, "ann"), (BLUE, "bob")):
        await house.managed.services.domains.create(ADMIN, host, owner=owner)
    for host, who in ((RED, "alice"), (RED, "carol"), (BLUE, "alice")):
        await sign_in(house, host, who)
    return house


async def test_a_list_without_logins_says_what_would_be_there(admin):
    assert "Visitors appear here when they sign in" in text_of((await admin.get("/logins")).text)


async def test_an_administrator_sees_all_of_them_and_how_many_there_are(busy, admin):
    page = text_of((await admin.get("/logins")).text)

    assert "3 signed in" in page
    assert page.count("alice@acme.example") >= 2
    assert "in 1 h" in page


async def test_logins_are_found_by_host_and_by_address(busy, admin):
    by_host = text_of((await admin.get(f"/logins?host={BLUE.upper()}")).text)
    by_both = text_of((await admin.get(f"/logins?host={RED}&email=CAROL@acme.example")).text)
    nobody = text_of((await admin.get("/logins?email=nobody@acme.example")).text)

    assert "1 signed in" in by_host
    assert "carol@acme.example" not in by_host
    assert "1 signed in" in by_both
    assert "Nobody like that is signed in" in nobody


async def test_one_login_is_ended_and_the_filter_stays(busy, admin):
    handle = (await busy.managed.services.logins.page(ADMIN, RED))[0].id

    answer = await admin.post(f"/logins/{handle}/revoke", {"host": RED, "email": ""})

    assert answer.headers["location"] == f"/logins?host={RED}&flash=login_ended"
    assert "1 signed in" in text_of((await admin.get(f"/logins?host={RED}")).text)
    assert busy.managed.sessions.heard == 1


async def test_all_logins_at_a_host_are_ended_and_no_other(busy, admin):
    busy.managed.events()

    assert "Everybody who is signed in there has to sign in again" in (await admin.get(f"/logins?host={RED}")).text
    answer = await admin.post("/logins/revoke-all", {"host": RED})

    assert answer.status_code == 303
    assert [login.host for login in await busy.managed.services.logins.page(ADMIN)] == [BLUE]
    (event,) = busy.managed.events("session.revoke")
    assert (event.host, event.details["count"]) == (RED, "2")


async def test_a_long_list_has_pages(house, admin):
    for number in range(PAGE + 2):
        await sign_in(house, RED, f"visitor-{number:03}")

    first = await admin.get("/logins")
    where = first.text.split('rel="next"')[0].rpartition('href="')[2].partition('"')[0]
    second = await admin.get(where)

    assert f"{PAGE + 2} signed in" in text_of(first.text)
    assert "sse-connect" in first.text
    assert "sse-connect" not in second.text
    assert [page.text.count('<button class="button quiet small"') for page in (first, second)] == [PAGE, 2]


async def test_a_member_sees_and_ends_what_is_at_his_own_hosts_only(busy, admin):
    """Row 138."""
    (theirs,) = await busy.managed.services.logins.page(ADMIN, BLUE)
    async with busy.signed_in(await busy.user("ann", "ann")) as ann:
        pages = [(await ann.get(f"/logins{query}")).text for query in ("", f"?host={BLUE}", f"?before={theirs.id}")]
        answers = [
            await ann.post(f"/logins/{theirs.id}/revoke"),
            await ann.post("/logins/revoke-all", {"host": BLUE}),
            await ann.post("/logins/revoke-all", {"host": ""}),
        ]
        none = await ann.post("/logins/0000000000000000/revoke")

    assert "2 signed in" in text_of(pages[0])
    assert not any(theirs.id in page for page in pages)
    assert [answer.status_code for answer in answers] == [404, 404, 404]
    assert answers[0].text == none.text
    assert len(await busy.managed.services.logins.page(ADMIN)) == 3


async def test_who_signs_in_and_out_is_told_to_an_open_page(tmp_path):
    async with world(tmp_path) as w, signed_in(w) as admin, following(admin, "/logins/events") as events:
        await events.until("count", "0 signed in")
        await w.relay.store.save_session(session(RED, "alice", now=time.time()))
        await events.until("rows", "alice@acme.example")
        await events.until("count", "1 signed in")

        await w.relay.parts.services.logins.revoke_all(ADMIN, RED)

        await events.until("count", "0 signed in")


async def test_what_providers_and_visitors_say_is_text(house, admin):
    """Row 139."""
    await sign_in(house, RED, HOSTILE, email="")
    await sign_in(house, RED, "x", email=HOSTILE)

    for path in ("/logins", f"/logins?host={RED}&email=%22%3E%3Cscript%3Ealert(1)"):
        page = (await admin.get(path)).text
        read = Elements(page)
        assert "&lt;script&gt;alert(1)" in page
        assert not read.names & {"img", "iframe", "style"}
        assert not [name for name in read.attributes if name.startswith("on") or name == "style"]
