"""Overview, traffic, endpoints and tunnels without a browser: whose they are, and that nothing in them is believed."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.dashboard import DashboardClient, member, signed_in
from tests.support.raw_http import fetch
from tests.support.scripted_agent import Asked, ScriptedAgent
from tests.support.waiting import PATIENCE
from tests.support.world import World, world
from tunnelctl.wire.messages import Bound, PolicySpec
from tunnelrelay.dashboard.views.kept_out import visitors
from tunnelrelay.services.traffic import TrafficRow

EVIL = "<img src=x onerror=alert(1)>"
PAGES = ("/", "/traffic", "/endpoints", "/tunnels")


@asynccontextmanager
async def published(w: World, name: str, **bind: object) -> AsyncIterator[ScriptedAgent]:
    """An agent without a token, so one of owner `local`, that answers whatever it is asked."""
    agent = ScriptedAgent()
    agent.answers = Asked.answer
    await agent.connect(w.port)
    try:
        bound = await agent.bind(name, **bind)
        assert isinstance(bound, Bound), bound
        yield agent
    finally:
        if agent.closed is None:
            await agent.close()


def ids(w: World) -> dict[str, str]:
    """The only one of each kind."""
    (endpoint,) = w.relay.registry
    (tunnel,) = endpoint.tunnels
    (request,) = w.relay.parts.traffic.recent()
    return {
        f"/endpoints/{endpoint.id}": endpoint.host,
        f"/tunnels/{tunnel.id}": tunnel.id,
        f"/tunnels/agents/{tunnel.session}": tunnel.session,
        f"/traffic/{request.exchange.request_id}": request.exchange.request_id,
    }


@asynccontextmanager
async def stranger(w: World) -> AsyncIterator[DashboardClient]:
    """A member who owns nothing of what is there."""
    async with signed_in(w):
        pass
    async with signed_in(w, await member(w, "eve", "eve")) as client:
        yield client


async def test_a_member_finds_nothing_of_another_owners_on_any_page(tmp_path: Path) -> None:
    """Row 138."""
    async with world(tmp_path) as w, published(w, "secret-name"), stranger(w) as eve:
        await fetch(w.port, "GET", "/secret-path", host="secret-name.localhost")
        for path in PAGES:
            page = await eve.get(path)
            assert page.status_code == 200
            assert "secret" not in page.text, path
        page = await eve.get("/traffic?host=secret-name.localhost")
        assert page.text.count("secret-") == page.text.count('value="secret-name.localhost"') + page.text.count(
            "host=secret-name.localhost"
        )


async def test_another_owners_things_do_not_exist_for_a_member_whatever_he_does(tmp_path: Path) -> None:
    """Row 138."""
    async with world(tmp_path) as w, published(w, "demo") as agent, stranger(w) as eve:
        await fetch(w.port, "GET", "/", host="demo.localhost")
        known = ids(w)
        for path in known:
            assert (await eve.get(path)).status_code == 404, path
            assert (await eve.get(re.sub(r"[^/]+$", "none", path))).status_code == 404
        _, tunnel, session, _ = known
        assert (await eve.post(f"{tunnel}/drain")).status_code == 404
        assert (await eve.post(f"{session}/stop")).status_code == 404
        assert agent.closed is None
        assert (await fetch(w.port, "GET", "/", host="demo.localhost")).status == 200


async def first_events(client: DashboardClient, path: str, count: int) -> str:
    """What an event stream says first."""
    told = ""
    async with (
        asyncio.timeout(PATIENCE),
        client.http.stream("GET", path, headers={"Sec-Fetch-Site": "same-origin"}) as answer,
    ):
        assert answer.headers["content-type"].startswith("text/event-stream")
        async for line in answer.aiter_lines():
            told += line + "\n"
            if told.count("\n\n") >= count:
                break
    return told


async def test_a_members_event_streams_tell_nothing_of_another_owners(tmp_path: Path) -> None:
    """Row 138."""
    async with world(tmp_path) as w, published(w, "secret-name"), stranger(w) as eve:
        await fetch(w.port, "GET", "/secret-path", host="secret-name.localhost")
        for path, count in (("/overview", 2), ("/traffic", 1), ("/endpoints", 1), ("/tunnels", 2)):
            told = await first_events(eve, f"{path}/events", count)
            assert told.count("event: ") == count
            assert "secret" not in told, path
        endpoint, tunnel, session, _ = ids(w)
        for known in (endpoint, tunnel, session):
            unknown = re.sub(r"[^/]+$", "none", known)
            assert await first_events(eve, f"{known}/events", 1) == await first_events(eve, f"{unknown}/events", 1)


async def test_who_may_see_them_sees_them(tmp_path: Path) -> None:
    async with world(tmp_path) as w, published(w, "demo"), signed_in(w) as admin:
        await fetch(w.port, "GET", "/hello", host="demo.localhost")
        for path, text in ids(w).items():
            page = await admin.get(path)
            assert page.status_code == 200
            assert text in page.text


async def test_what_visitors_and_agents_send_is_text_on_every_page(tmp_path: Path) -> None:
    """Row 139."""
    async with world(tmp_path) as w, signed_in(w) as admin:
        agent = ScriptedAgent()
        agent.answers = Asked.answer
        await agent.connect(w.port)
        bound = await agent.bind("demo", metadata=EVIL)
        assert isinstance(bound, Bound)
        (tunnel,) = next(iter(w.relay.registry)).tunnels
        tunnel.name = tunnel.upstream = EVIL
        await fetch(w.port, "GET", "/%3Cimg/<img/src=x/onerror=alert(1)>", host="demo.localhost")
        for path in (*PAGES, *ids(w), "/traffic?host=%3Cimg%20src=x%20onerror=alert(1)%3E"):
            page = await admin.get(path)
            assert page.status_code == 200
            assert "<img" not in page.text, path
        await agent.close()


async def test_a_filter_that_makes_no_sense_is_no_filter(tmp_path: Path) -> None:
    """Row 140."""
    async with world(tmp_path) as w, published(w, "demo"), signed_in(w) as admin:
        await fetch(w.port, "GET", "/found", host="demo.localhost")
        for query in ("status=4'%20OR%201=1", "status=9", "verdict=everybody", "status=2&status=4"):
            assert "/found" in (await admin.get(f"/traffic?{query}")).text, query
        assert "/found" not in (await admin.get("/traffic?status=5")).text
        assert "/found" not in (await admin.get("/traffic?host=%25.localhost")).text
        assert "/found" in (await admin.get("/traffic?host=DEMO.localhost&status=2&verdict=let+in")).text


@pytest.mark.parametrize("path", ["/tunnels/{tunnel}/drain", "/tunnels/agents/{session}/stop"])
async def test_nothing_is_taken_out_of_service_by_a_link_or_from_another_site(tmp_path: Path, path: str) -> None:
    """Row 137."""
    async with world(tmp_path) as w, published(w, "demo") as agent, signed_in(w) as admin:
        (tunnel,) = next(iter(w.relay.registry)).tunnels
        where = path.format(tunnel=tunnel.id, session=tunnel.session)
        assert (await admin.get(where)).status_code in (404, 405)
        assert (await admin.post(where, token="none of ours")).status_code == 403
        from_sibling = {"Origin": "http://demo.localhost", "Sec-Fetch-Site": "same-site"}
        forged = await admin.http.post(where, headers=from_sibling, data={"csrf": await admin.token()})
        assert forged.status_code == 403
        assert agent.closed is None
        assert not tunnel.is_draining


async def test_a_guard_is_told_in_words_and_a_refusal_on_the_overview(tmp_path: Path) -> None:
    policy = PolicySpec(cidr_allow=("10.0.0.0/8",))
    async with world(tmp_path) as w, published(w, "demo", policy=policy), signed_in(w) as admin:
        await fetch(w.port, "GET", "/", host="demo.localhost")
        assert "from 10.0.0.0/8 only" in (await admin.get("/endpoints")).text
        overview = (await admin.get("/")).text
        assert "the visitor&#39;s network may not come in" in overview
        assert "Requests per second over the last 10 minutes" in overview


async def test_a_fresh_relay_says_how_to_begin(tmp_path: Path) -> None:
    async with world(tmp_path) as w, signed_in(w) as admin:
        overview = (await admin.get("/")).text
        assert f"tunnel http 8080 --relay http://localhost:{w.port}" in overview


def test_a_visitor_that_is_kept_out_is_listed_once_for_each_reason() -> None:
    def row(number: int, peer: str, rule: str, email: str = "") -> TrafficRow:
        texts = dict.fromkeys(("owner", "method", "host", "path", "user", "tunnel", "agent", "error", "source"), "")
        return TrafficRow(
            id=f"r{number}",
            at=float(number),
            status=403,
            seconds=0.1,
            peer=peer,
            email=email,
            verdict="kept out",
            rule=rule,
            bytes_in=0,
            bytes_out=0,
            upgrade="",
            **texts,
        )

    rows = [
        row(9, "192.0.2.1", "network"),
        row(8, "192.0.2.1", "network"),
        row(7, "192.0.2.1", "password"),
        row(6, "192.0.2.7", "domain", "eve@other.example"),
        row(5, "192.0.2.8", "domain", "eve@other.example"),
        row(4, "192.0.2.1", "network"),
        row(3, "192.0.2.2", "network"),
    ]

    found = [(each.last.id, each.times) for each in visitors(rows, 3)]

    assert found == [("r9", 3), ("r7", 1), ("r6", 2)]
