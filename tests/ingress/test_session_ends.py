"""What was opened under a session ends with it, whatever it is and for whatever reason: row 74, row 115."""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from tests.ingress.conftest import KeptLog
from tests.ingress.scene import HOST, Scene, closed_without_clean_end, error_of
from tests.support.raw_http import RawConnection, request_bytes
from tests.support.scripted_agent import Asked, scripted_agent
from tunnelctl.wire.messages import Bound, OidcSpec, PolicySpec
from tunnelrelay.app.relay import Relay
from tunnelrelay.ingress.ingress import LOOK_SECONDS
from tunnelrelay.keys.keyring import sha256
from tunnelrelay.oidc.sessions.session import Grant
from tunnelrelay.policy.rules import Connection
from tunnelrelay.store.base import SessionCriteria

pytestmark = pytest.mark.asyncio(loop_scope="module")

CLAIMS = {"sub": "alice", "email": "alice@acme.example", "email_verified": True, "groups": ["staff"]}


def policy(**changes: Any) -> PolicySpec:
    """Nobody listens at that issuer: what these tests need no provider for must not need one."""
    spec = {"issuer": "http://127.0.0.1:9", "client_id": "c", "client_secret": "s", "recheck_seconds": 0, **changes}
    return PolicySpec(oidc=OidcSpec(**spec))


@dataclass
class SignedIn:
    """A visitor who signed in."""

    s: Scene
    cookie: bytes

    @property
    def digest(self) -> bytes:
        return sha256(self.cookie)

    def asking(self, target: str = "/", *fields: tuple[str, str], method: str = "GET") -> bytes:
        cookie = ("Cookie", f"tunnel={self.cookie.decode()}")
        return request_bytes(method, target, host=HOST, fields=[cookie, *fields])

    async def stream(self, visitor: RawConnection) -> Asked:
        """An event stream that has begun."""
        asked = await self.s.exchange(visitor, self.asking("/events"))
        asked.head(200, b"Content-Type: text/event-stream\r\n")
        asked.data(b"data: 1\n\n")
        assert (await visitor.head()).status == 200
        assert b"data: 1" in await visitor.read(14)
        return asked

    async def websocket(self, visitor: RawConnection) -> Asked:
        """A connection that was upgraded."""
        origin = self.s.relay.address.url(HOST)
        upgrade = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Origin", origin)]
        asked = await self.s.exchange(visitor, self.asking("/ws", *upgrade))
        asked.head(101, b"Connection: Upgrade\r\nUpgrade: websocket\r\n")
        assert (await visitor.response()).status == 101
        return asked


@pytest_asyncio.fixture(loop_scope="module")
async def s(relay: tuple[Relay, KeptLog]) -> AsyncIterator[Scene]:
    running, log = relay
    log.kept.clear()
    assert running.http is not None
    async with scripted_agent(running.http[1], HOST.partition(".")[0], policy=policy()) as agent:
        agent.answers = lambda asked: None
        yield Scene(running, agent, log.kept)


def connection_of(s: Scene) -> Connection:
    connection = s.relay.registry.connection_of(HOST)
    assert connection is not None
    return connection


@pytest_asyncio.fixture(loop_scope="module")
async def alice(s: Scene) -> SignedIn:
    cookie = await s.relay.parts.sessions.create(HOST, connection_of(s), issuer="http://127.0.0.1:9", claims=CLAIMS)
    return SignedIn(s, cookie)


def look(s: Scene) -> None:
    """The sweep that judges what is under way comes round."""
    s.relay.ingress.look_after_exchanges()


@pytest.mark.parametrize("kind", ["stream", "websocket"])
async def test_row74_what_is_open_is_closed_when_its_session_ends(s: Scene, alice: SignedIn, kind: str):
    """Rows 74, 115."""
    async with s.visitor() as visitor:
        asked = await getattr(alice, kind)(visitor)
        await s.relay.parts.sessions.end(alice.digest)
        assert await closed_without_clean_end(visitor) == b""
        await asked.until(lambda: asked.reset is not None)

    assert [line.error for line in s.log] == ["session_over"]
    assert (await s.fetch(alice.asking())).status == 401


async def test_row74_all_that_one_visitor_has_open_ends_and_nothing_of_another(s: Scene, alice: SignedIn):
    """Row 74."""
    bob = SignedIn(s, await s.relay.parts.sessions.create(HOST, connection_of(s), issuer="i", claims={"sub": "bob"}))
    async with s.visitor() as one, s.visitor() as two, s.visitor() as three, s.visitor() as other:
        for visitor, kind in ((one, alice.stream), (two, alice.stream), (three, alice.websocket)):
            await kind(visitor)
        his = await bob.stream(other)
        await s.relay.parts.sessions.end_where(SessionCriteria(host=HOST, subject="alice"))
        for visitor in (one, two, three):
            await closed_without_clean_end(visitor)
        his.data(b"data: 2\n\n")
        assert b"data: 2" in await other.read(14)


async def test_row74_a_request_that_has_no_answer_yet_is_told_to_sign_in(s: Scene, alice: SignedIn):
    """Row 74."""
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor, alice.asking("/slow"))
        await s.relay.parts.sessions.end(alice.digest)
        response = await visitor.response()
        assert (response.status, error_of(response)) == (401, "login_required")
        await asked.until(lambda: asked.reset is not None)
        assert await visitor.rest() == b""


async def test_row74_a_reader_that_stopped_reading_is_closed_too(s: Scene, alice: SignedIn):
    """Row 74."""
    async with s.visitor() as visitor:
        asked = await alice.websocket(visitor)
        visitor.writer.transport.pause_reading()
        visit = await s.visit(visitor)
        asked.data(b"x" * 32_000_000)
        await s.turns(lambda: visit.is_paused)
        await s.relay.parts.sessions.end(alice.digest)
        await s.turns(lambda: visit.transport.is_closing())
        await s.turns(lambda: s.relay_link.stream_count == 0)


async def test_row74_what_another_relay_or_a_command_ended_is_closed_here(s: Scene, alice: SignedIn):
    """Row 74."""
    async with s.visitor() as visitor:
        await alice.stream(visitor)
        await s.relay.store.end_sessions(SessionCriteria(key=alice.digest), time.time())
        assert await s.relay.parts.sessions.apply_revocations() == 1
        assert await closed_without_clean_end(visitor) == b""


CHANGES = {
    "rules": {"allow_groups": ("ops",)},
    "client": {"client_secret": "another"},
    "provider": {"issuer": "http://127.0.0.1:10"},
}


@pytest.mark.parametrize("changed", [*CHANGES, "no login", "shorter"])
async def test_what_the_owner_no_longer_lets_in_is_closed_at_the_next_look(s: Scene, alice: SignedIn, changed: str):
    """Rows 72, 74."""
    async with s.visitor() as visitor:
        await alice.stream(visitor)
        look(s)
        new = {"no login": PolicySpec(), "shorter": policy(max_seconds=1)}.get(changed) or policy(**CHANGES[changed])
        assert isinstance(await s.agent.bind("demo", policy=new), Bound)
        s.clock.ahead = 2
        look(s)
        assert await closed_without_clean_end(visitor) == b""


async def test_what_the_owner_still_lets_in_goes_on_over_a_change(s: Scene, alice: SignedIn):
    async with s.visitor() as visitor:
        asked = await alice.stream(visitor)
        assert isinstance(await s.agent.bind("demo", policy=policy(allow_groups=("staff",))), Bound)
        look(s)
        asked.data(b"data: 2\n\n")
        assert b"data: 2" in await visitor.read(14)


async def test_the_look_comes_round_often_enough(s: Scene, alice: SignedIn):
    assert LOOK_SECONDS <= 2
    async with s.visitor() as visitor:
        await alice.stream(visitor)
        await s.agent.bind("demo", policy=policy(allow_groups=("ops",)))
        s.pass_time(LOOK_SECONDS)
        assert await closed_without_clean_end(visitor) == b""


async def test_a_signed_in_request_keeps_its_session_awake_and_one_that_a_neighbours_page_makes_does_not(
    s: Scene, alice: SignedIn
):
    s.agent.answers = lambda asked: asked.answer()
    session = s.relay.parts.sessions.in_memory.get(alice.digest)
    assert session is not None
    session.last_seen = before = time.time() - 100
    refused = await s.fetch(alice.asking("/", ("Sec-Fetch-Site", "same-site"), ("Sec-Fetch-Mode", "no-cors")))
    assert (refused.status, session.last_seen) == (401, before)
    assert (await s.fetch(alice.asking("/", ("Sec-Fetch-Site", "same-origin")))).status == 200
    assert session.last_seen > before + 90


async def test_many_ends_in_one_turn_are_one_look_at_the_visitors(s: Scene, alice: SignedIn, monkeypatch):
    looks = []
    ingress = s.relay.ingress
    monkeypatch.setattr(ingress, "call_soon", looks.append)
    for number in range(1000):
        ingress.session_ended(number.to_bytes(32, "big"))
    assert len(looks) == 1
    looks[0]()
    ingress.session_ended(bytes(32))
    assert len(looks) == 2
    looks[1]()


@pytest.mark.parametrize(
    ("on_error", "status", "code"),
    [("keep", 200, ""), ("502", 502, "provider_unreachable"), ("login", 401, "login_required")],
)
async def test_what_a_visitor_sees_when_the_provider_cannot_be_asked_again(
    s: Scene, on_error: str, status: int, code: str
):
    s.agent.answers = lambda asked: asked.answer()
    await s.agent.bind("demo", policy=policy(recheck_seconds=100, on_recheck_error=on_error))
    cookie = await s.relay.parts.sessions.create(
        HOST, connection_of(s), issuer="http://127.0.0.1:9", claims=CLAIMS, grant=Grant(refresh_token="canary")
    )
    alice = SignedIn(s, cookie)
    assert (await s.fetch(alice.asking())).status == 200
    s.clock.ahead = 140
    response = await s.fetch(alice.asking())
    assert (response.status, error_of(response)) == (status, code)
    assert "canary" not in repr(s.log)
