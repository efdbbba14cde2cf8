"""Drivers for what agents make the relay keep: links, binds, tunnels, tokens."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from tests.bounds.drive_link import HANDSHAKE, StuckSocket, linked, sent
from tests.bounds.driving import bound_of, drive_bucket, drives, host, measured, owner, same_table, table
from tests.support.managed import Managed, NoJobs
from tests.support.memory_store import MemoryStore
from tests.support.tunnels import fake_tunnel
from tests.support.waiting import turns
from tunnelctl.bounds import DeclaredBound
from tunnelctl.http1.head import parse_request
from tunnelctl.wire.errors import Code
from tunnelctl.wire.frames import DATA, HEAD, frame
from tunnelctl.wire.messages import AppState, Bind, Hello, Join, Refused
from tunnelctl.wire.stream import INITIAL_WINDOW
from tunnelctl.wire.texts import MAX_LABEL, MAX_LABELS, MAX_METADATA
from tunnelrelay.address import PublicAddress
from tunnelrelay.agents import session as session_module
from tunnelrelay.agents.accept import Acceptor
from tunnelrelay.agents.name_claims import NameClaims
from tunnelrelay.agents.quotas import MAX_LINKS, OwnerQuotas
from tunnelrelay.agents.session import AgentSession
from tunnelrelay.agents.tcp_addresses import TcpAddresses
from tunnelrelay.agents.tunnel_offers import OfferRefused
from tunnelrelay.config.values import PortRange
from tunnelrelay.model import Peer, Token
from tunnelrelay.observe.audit import Audit
from tunnelrelay.observe.metrics import Metrics
from tunnelrelay.policy.rules import Policy
from tunnelrelay.registry.registry import Registry
from tunnelrelay.registry.tunnel import Tunnel
from tunnelrelay.store.base import NameRow, SessionCriteria


class FakeVisit:
    """A visitor's connection that asks to become a link."""

    def __init__(self, peer: str = "203.0.113.9") -> None:
        self.peer = Peer(peer, 1)
        self.socket = StuckSocket()
        self.failed: tuple[str, int] | None = None

    def release(self) -> StuckSocket:
        return self.socket

    def fail(self, code: str, *, detail: str = "", closes: bool = False, retry_after: int = 0) -> None:
        self.failed = code, retry_after


class Door:
    """A relay's door for agents, and those that come through it."""

    def __init__(self, *, needs_tokens: bool = False, max_links: int = MAX_LINKS) -> None:
        self.managed = Managed()
        self.agent_context = self.managed.agent_context
        self.acceptor = Acceptor(
            self.agent_context,
            self.managed.store,
            NoJobs(),
            needs_tokens=needs_tokens,
            metrics=Metrics(),
            clock=self.managed.clock,
            max_links=max_links,
        )

    async def come(self, token: str = "") -> FakeVisit:
        visit = FakeVisit()
        block = HANDSHAKE[:-2] + (b"Authorization: Bearer %b\r\n\r\n" % token.encode() if token else b"\r\n")
        await self.acceptor.accept(visit, parse_request(block), block, b"")
        if visit.failed is None:
            link = self.acceptor.sessions[-1].link
            visit.socket.link = link
        return visit


@asynccontextmanager
async def door(*, max_links: int) -> AsyncIterator[Door]:
    opened = Door(max_links=max_links)
    yield opened
    opened.acceptor.close()
    for session in opened.acceptor.sessions:
        session.link.connection_lost(None)


@drives("tokens revoked lately")
async def drive_revoked(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    acceptor = Door().acceptor
    with measured() as memory:
        for number in range(2 * bound.limit):
            await acceptor.revoke(f"cr_{number:026d}")
            assert len(table(acceptor, bound)) <= bound.limit
        assert memory.taken <= bound.worst_bytes


@drives("agents of links that are open")
async def drive_agents(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    async with door(max_links=64) as opened:
        for _ in range(2):
            await opened.come()
        with measured() as memory:
            visits = [await opened.come() for _ in range(128)]
            for session in opened.acceptor.sessions:
                session.on_message(Hello(agent="a" * 32, version="v" * 9_000, platform="p" * 9_000))
            assert opened.acceptor.link_count == 64
            refused = [visit.failed for visit in visits if visit.failed is not None]
            assert len(refused) == 66
            assert all(code == "relay_busy" and seconds >= 5 for code, seconds in refused)
            for visit in visits:
                visit.__dict__.clear()
            assert memory.taken / 62 <= bound.worst_bytes / bound.limit


@drives("wrong authtokens")
async def drive_wrong(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Door(needs_tokens=True)
    codes = [(await opened.come("tt_wrong")).failed for _ in range(2 * bound.limit)]
    told = [each[0] for each in codes if each is not None]
    assert told == ["token_refused"] * bound.limit + ["too_many_requests"] * bound.limit
    same_table(opened.acceptor, bound)


@drives("tries of agents that find no place")
async def drive_turned_away(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Door(max_links=0)
    waits = [(await opened.come()).failed for _ in range(100 * bound.limit)]
    seconds = [each[1] for each in waits if each is not None]
    assert max(map(seconds.count, seconds)) <= 2 * bound.limit  # they are told in whole seconds
    assert seconds == sorted(seconds)


@drives("links")
def drive_links(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    quotas, opened = OwnerQuotas(lambda: 0.0), 0
    with measured() as memory:
        for number in range(2 * bound.limit):
            opened += quotas.open_link(owner(number), opened)
        assert opened == bound.limit == sum(table(quotas, bound).values())
        assert memory.taken <= bound.worst_bytes


@drives("links of one owner")
def drive_owners_links(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    quotas = OwnerQuotas(lambda: 0.0)
    assert sum(quotas.open_link("mallory", number) for number in range(2 * bound.limit)) == bound.limit


@drives("binds of names that are new to the relay")
def drive_new_names(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    quotas = OwnerQuotas(lambda: 0.0)
    drive_bucket(lambda: quotas.take_claim("mallory"), bound.limit)
    assert not quotas.take_claim("ann")
    same_table(quotas, bound)


class Said:
    """A link that keeps what the relay says on it."""

    is_open = can_open = True
    peer = "203.0.113.9:1"
    stream_count = 0

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self.closed: Code | None = None
        self.session = SimpleNamespace(max_streams=0)

    def send(self, message: Any, *, is_optional: bool = False) -> None:
        self.messages.append(message)

    def close(self, code: Code, reason: str = "") -> None:
        self.closed = self.closed or code
        self.is_open = False

    @property
    def refused(self) -> list[str]:
        return [message.code for message in self.messages if isinstance(message, Refused)]


def greeted(managed: Managed, whose: str = "ann") -> tuple[AgentSession, Said]:
    """A link whose agent has said hello."""
    agent = AgentSession(
        managed.agent_context, token=Token(id="t", owner=whose, created_at=0.0), on_closed=lambda agent: None
    )
    link = Said()
    agent.begin(link)  # type: ignore[arg-type]  # a fake
    agent.on_message(Hello(agent="a" * 32, version="test"))
    return agent, link


def fat_join(number: int) -> Join:
    """A tunnel of which everything is as long as it may be."""
    wide = "\U0001f600"
    labels = tuple(
        (f"{number:04d}-{each:02d}" + wide * (MAX_LABEL - 7), wide * MAX_LABEL) for each in range(MAX_LABELS)
    )
    text = f"{number:06d}"
    return Join(
        tunnel=number,
        name=text + wide * 500,
        upstream=text + wide * 900,
        labels=labels,
        metadata=text + wide * (MAX_METADATA - 6),
    )


@drives("tunnels")
async def drive_tunnels(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    managed = Managed()
    agent, link = greeted(managed)
    with measured() as memory:
        for number in range(1, 2 * bound.limit + 1):
            agent.on_message(fat_join(number))
            assert len(agent.tunnels) <= bound.limit
        assert link.refused == ["too_many"] * bound.limit
        link.messages.clear()
        managed.audit.take()
        assert memory.taken <= bound.worst_bytes


@drives("requests open on one link")
async def drive_streams(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that wishes for more, and answers as much as it may while no visitor reads."""
    agent = AgentSession(
        Managed().agent_context, token=Token(id="t", owner="ann", created_at=0.0), on_closed=lambda agent: None
    )
    unread = bound_of("bytes of a link that wait to be read")
    async with linked() as (link, _, _):
        agent.begin(link)
        agent.on_message(Hello(agent="a" * 32, version="test", max_streams=10 * bound.limit))
        assert link.session.max_streams == bound.limit
        link.session.max_streams = 64
        owners = []
        with measured() as memory:
            while link.can_open:
                owners.append(Unread())
                owners[-1].stream = link.open(b"GET", owner=owners[-1], fin=True)  # type: ignore[arg-type]  # a fake
            assert len(owners) == 64
            for each in owners:
                link.data_received(sent(frame(HEAD, each.stream.id, b"HTTP/1.1 200 OK")))
                for _ in range(INITIAL_WINDOW // 16_384):
                    link.data_received(sent(frame(DATA, each.stream.id, b"x" * 16_384)))
                    await turns(lambda: not table(link, unread))
            assert {sum(map(len, each.kept)) for each in owners} == {INITIAL_WINDOW}
            assert memory.taken / 64 <= 1.1 * bound.worst_bytes / bound.limit
        link.data_received(sent(frame(DATA, owners[0].stream.id, b"x")))
        assert not link.is_open


class Unread:
    """A visitor's side that takes nothing of what the agent sends."""

    def __init__(self) -> None:
        self.kept: list[bytes] = []
        self.stream: Any = None

    def on_data(self, data: bytes | memoryview, fin: bool) -> None:
        self.kept.append(bytes(data))

    def on_head(self, payload: bytes, fin: bool) -> None:
        """None comes."""

    def on_end(self, trailers: bytes) -> None:
        """None comes."""

    def on_reset(self, code: Code, reason: str) -> None:
        """The link ends."""


@drives("binds")
async def drive_binds(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    agent, link = greeted(Managed())
    for number in range(2 * bound.limit):
        assert link.closed is None or number >= bound.limit
        agent.on_message(Bind(tunnel=0, name="n", upstream="http://localhost:1"))
    assert link.closed is Code.LIMIT
    assert len(link.refused) <= bound.limit


@drives("news of local services")
async def drive_states(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    managed = Managed()
    agent, _ = greeted(managed)
    agent.on_message(fat_join(1))
    changes: list[str] = []
    managed.registry.on_change = changes.append
    for number in range(2 * bound.limit):
        agent.on_message(AppState(tunnel=1, reason="" if number % 2 else "refused"))
    assert len(changes) == bound.limit


@drives("news of local services on all links")
async def drive_owners_news(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    managed = Managed()
    changes: list[str] = []
    links = [greeted(managed, "eve")[0] for _ in range(20)]
    anns, _ = greeted(managed)
    for each in (*links, anns):
        each.on_message(fat_join(1))
    managed.registry.on_change = changes.append
    for number in range(bound.limit // 10):
        for link in links:
            link.on_message(AppState(tunnel=1, reason="" if number % 2 else "refused"))
    anns.on_message(AppState(tunnel=1, reason="refused"))
    assert changes.count("eve") == bound.limit
    assert changes.count("ann") == 1
    same_table(managed.agent_context.quotas, bound)


@drives("names held, and tunnels that join edges")
async def drive_names(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "MAX_OWNERS_NAMES", 3)
    managed = Managed()
    for number in range(3):
        managed.registry.expect(host(1_000 + number), "ann")
    agent, link = greeted(managed)
    agent.on_message(Bind(tunnel=1, name="n", upstream="http://localhost:1", subdomain="one-more"))
    for number in range(2, 6):
        agent.on_message(fat_join(number))
    assert link.refused == ["too_many", "too_many"]
    assert managed.table.joined_by("ann") == 3
    tunnels = [(fake_tunnel("bob", f"a{number}"), host(number)) for number in range(300)]
    with measured() as memory:
        for tunnel, name in tunnels:
            managed.registry.claim(tunnel, name, Policy())
        assert memory.taken / 300 <= bound.worst_bytes / bound.limit


@drives("names given up that the store does not know of yet")
async def drive_given_up(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    names = Managed().names
    with measured() as memory:
        for number in range(2 * bound.limit):
            names.given_up(host(number), owner(number))
            assert len(table(names, bound)) <= bound.limit
        assert memory.taken <= bound.worst_bytes


@drives("settings read of binds")
def drive_settings(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    quotas = OwnerQuotas(lambda: 0.0)
    drive_bucket(lambda: quotas.take_settings("mallory", 1024), bound.limit)
    assert not quotas.take_settings("ann", 1024)
    same_table(quotas, bound)


@drives("tcp ports held, for certain")
def drive_tcp_ports(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    """One owner binds for as long as it may; the next one still gets as many as are certain."""
    registry = Registry(clock=lambda: 0.0, monotonic=lambda: 0.0)
    ranges = (PortRange(None, 20_001, 20_000 + 4 * bound.limit),)
    ports = TcpAddresses(
        address=PublicAddress(scheme="https", domain="tun.example", port=443),
        registry=registry,
        ranges=ranges,
        open=lambda host: True,
    )

    def take(owner: str) -> int:
        count = 0
        while not isinstance(found := ports.choose("tcp://", Token(id="", owner=owner, created_at=0.0)), OfferRefused):
            assert isinstance(registry.claim(fake_tunnel(owner), found[0], Policy()), Tunnel)
            count += 1
        assert found.code == "too_many"
        return count

    assert bound.limit <= take("ann") <= 2 * bound.limit
    assert take("bob") == bound.limit


class WaitingStore(MemoryStore):
    """Counts the claims that look a name up at the same time, which end when the driver says so."""

    def __init__(self) -> None:
        super().__init__()
        self.running = 0
        self.goes_on = asyncio.Event()

    async def name(self, host: str) -> NameRow | None:
        self.running += 1
        await self.goes_on.wait()
        return await super().name(host)


async def claims_at_once(owners: list[str]) -> int:
    """How many claims are in the store when every owner of these claims a name at the same time."""
    store = WaitingStore()

    async def end_sessions(criteria: SessionCriteria) -> int:
        return 0

    names = NameClaims(
        store,
        Registry(clock=lambda: 0.0, monotonic=lambda: 0.0),
        cool_seconds=0.0,
        end_sessions=end_sessions,
        audit=Audit(clock=lambda: 0.0),
        clock=lambda: 0.0,
    )
    claims = [asyncio.create_task(names.claim(host(number), each)) for number, each in enumerate(owners)]
    for _ in range(10 * len(owners)):
        await asyncio.sleep(0)
    most = store.running
    store.goes_on.set()
    await asyncio.gather(*claims)
    return most


@drives("claims of names in the store")
async def drive_claims(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await claims_at_once([owner(number) for number in range(10 * bound.limit)]) == bound.limit


@drives("claims of names of one owner in the store")
async def drive_owners_claims(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await claims_at_once(["mallory"] * 10 * bound.limit) == bound.limit
