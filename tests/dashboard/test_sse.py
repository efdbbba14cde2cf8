"""What a page shows stays true without a reload, for as long as whoever looks is signed in, and no longer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.dashboard import DashboardClient, actor_for, signed_in
from tests.support.waiting import PATIENCE
from tests.support.world import World, world
from tunnelctl.wire.messages import PolicySpec
from tunnelrelay.dashboard import sse
from tunnelrelay.observe.feed import MAX_OF_ONE
from tunnelrelay.services.edges import EdgeDraft
from tunnelrelay.store.resources import UserRow

HEADERS = {"Accept": "text/event-stream", "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}


class Events:
    """An event stream that is open.

    Attributes:
        answer: The response.
    """

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self._lines = answer.aiter_lines()

    async def next(self) -> tuple[str, str]:
        """The next event's name and text; ("", "") at the end."""
        name, data = "", []
        async for line in self._lines:
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data:"):
                data.append(line.removeprefix("data:").removeprefix(" "))
            elif not line and name:
                return name, "\n".join(data)
        return "", ""

    async def until(self, name: str, text: str) -> None:
        """Returns at an event of this name with this text in it."""
        while True:
            found, data = await self.next()
            assert found, f"the stream ended before {name} said {text!r}"
            if found == name and text in data:
                return


@asynccontextmanager
async def following(client: DashboardClient, path: str) -> AsyncIterator[Events]:
    async with client.http.stream("GET", path, headers=HEADERS, timeout=PATIENCE) as answer:
        yield Events(answer)


async def first_admin(w: World) -> UserRow:
    return (await w.relay.store.users.all(role="admin"))[0]


async def make_edge(w: World) -> str:
    services = w.relay.parts.services
    return (await services.edges.create(actor_for(await first_admin(w)), EdgeDraft(host="shop"))).id


async def test_tunnels_that_come_and_go_are_told(tmp_path: Path, app):
    async with world(tmp_path) as w, signed_in(w) as admin:
        edge = await make_edge(w)
        async with following(admin, f"/edges/{edge}/events") as events:
            assert events.answer.headers["content-type"].startswith("text/event-stream")
            assert events.answer.headers["cache-control"] == "no-store"
            await events.until("tunnels", "No tunnel is online")
            tunnel = w.agent(app.port, edge="shop")
            await events.until("tunnels", "You have 1 tunnel online")
            other = w.agent(app.port, labels=(("edge", edge),), policy=PolicySpec())
            await events.until("tunnels", "You have 2 tunnels online")
            await other.stop()
            await events.until("tunnels", "You have 1 tunnel online")
            await tunnel.stop()
            await events.until("tunnels", "No tunnel is online")


async def test_the_list_of_edges_is_told_too(tmp_path: Path):
    async with world(tmp_path) as w, signed_in(w) as admin, following(admin, "/edges/events") as events:
        await make_edge(w)
        await events.until("rows", "shop.localhost")


async def test_a_stream_ends_when_its_user_signs_out(tmp_path: Path):
    """Row 145."""
    async with world(tmp_path) as w, signed_in(w) as admin:
        edge = await make_edge(w)
        async with following(admin, f"/edges/{edge}/events") as events:
            await events.until("status", "Offline")
            await admin.post("/sign-out")
            await events.until("over", "")

            assert await events.next() == ("", "")


async def test_row146_a_stream_rests_after_much_work_whatever_changes_and_ends_with_its_user_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Row 146."""
    monkeypatch.setattr(sse, "REST_FACTOR", 1e9)
    monkeypatch.setattr(sse, "MAX_REST_SECONDS", 1e9)
    monkeypatch.setattr(sse, "LOOK_SECONDS", 0.001)
    async with world(tmp_path) as w, signed_in(w) as admin, following(admin, "/edges/events") as events:
        assert (await events.next())[0] == "rows"
        await make_edge(w)
        assert "shop.localhost" in (await admin.get("/edges")).text
        await admin.post("/sign-out")

        assert await events.next() == ("over", "")


async def test_a_stream_ends_when_its_user_is_no_administrator_any_more(tmp_path: Path):
    """Row 138."""
    async with world(tmp_path) as w, signed_in(w) as admin:
        root = actor_for(await first_admin(w))
        users = w.relay.parts.services.users
        other = await users.create(root, "other", owner="ann", role="admin")
        async with signed_in(w, other) as demoted, following(demoted, "/edges/events") as events:
            await make_edge(w)
            await events.until("rows", "shop.localhost")
            await users.update(root, other.id, role="member")
            await events.until("over", "")
        assert (await admin.get("/edges")).status_code == 200


async def test_a_stream_ends_when_what_it_shows_is_gone(tmp_path: Path):
    async with world(tmp_path) as w, signed_in(w) as admin:
        edge = await make_edge(w)
        async with following(admin, f"/edges/{edge}/events") as events:
            await events.until("status", "Offline")
            await w.relay.parts.services.edges.delete(actor_for(await first_admin(w)), edge)
            await events.until("over", "")


async def test_streams_end_when_the_relay_stops_and_it_waits_for_none(tmp_path: Path):
    async with world(tmp_path, drain_seconds=600.0) as w, signed_in(w) as admin:
        edge = await make_edge(w)
        async with following(admin, f"/edges/{edge}/events") as events:
            await events.until("status", "Offline")
            await w.relay.stop()
            while (await events.next())[0]:
                pass


@pytest.mark.parametrize("site", ["same-site", "cross-site"])
async def test_no_other_origin_follows_anything(tmp_path: Path, site):
    """Row 137."""
    async with world(tmp_path) as w, signed_in(w) as admin:
        answer = await admin.http.get("/edges/events", headers={**HEADERS, "Sec-Fetch-Site": site})

        assert answer.status_code == 403


async def test_one_user_has_so_many_streams_and_no_more(tmp_path: Path):
    async with world(tmp_path) as w, signed_in(w) as admin:
        feed, user = w.relay.parts.feed, await first_admin(w)
        held = [feed.follow(["edges"], of=user.id) for _ in range(MAX_OF_ONE)]

        answer = await admin.http.get("/edges/events", headers=HEADERS)

        assert answer.status_code == 503
        assert len(held) == MAX_OF_ONE


async def test_a_stream_ends_at_once_when_its_page_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A browser closes the connection, which on plain http looks as if it had only finished sending."""
    monkeypatch.setattr("tunnelrelay.ingress.connection.HALF_CLOSED_SECONDS", PATIENCE * 4)
    async with world(tmp_path) as w, signed_in(w) as admin:
        request = admin.http.build_request("GET", "/edges/events", headers=HEADERS)
        lines = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
        reader, writer = await asyncio.open_connection("127.0.0.1", w.port)
        writer.write(f"GET /edges/events HTTP/1.1\r\n{lines}\r\n".encode())
        await reader.readuntil(b"event: ")

        writer.write_eof()

        async with asyncio.timeout(PATIENCE):
            await reader.read()
        writer.close()
        await writer.wait_closed()


async def test_a_stream_with_nothing_to_say_says_that_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sse, "PING_SECONDS", 0.0)
    monkeypatch.setattr(sse, "LOOK_SECONDS", 0.001)
    async with world(tmp_path) as w, signed_in(w) as admin, following(admin, "/edges/events") as events:
        async for line in events.answer.aiter_lines():
            if line.startswith(":"):
                break
        else:
            pytest.fail("the stream ended")


@pytest.mark.parametrize("text", ["", "a\nb", "a\r\nevent: over\r\ndata: x", "a\rdata: b", "a\u2028b"])
def test_no_text_ends_its_event_or_begins_another(text):
    """Row 139."""
    lines = sse.event("rows", text).split("\n")

    assert lines[0] == "event: rows"
    assert lines[-2:] == ["", ""]
    assert all(line.startswith("data: ") for line in lines[1:-2])
    assert "\r" not in "".join(lines)
