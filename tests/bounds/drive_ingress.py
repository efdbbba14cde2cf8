"""Drivers for what visitors make the public side keep."""

import ipaddress
import logging
import socket
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.bounds.driving import (
    ADDRESS,
    OWNER,
    address,
    drive_bucket,
    drives,
    host,
    measured,
    owner,
    same_table,
    table,
    tables,
)
from tests.ingress.conftest import KeptLog, make_relay
from tests.ingress.scene import GET, HOST, Scene, reset
from tests.oidc.world import APP, World
from tests.policy.making import oidc, policy
from tests.support.certificates import Authority
from tests.support.ports import free_ports
from tests.support.raw_http import connect
from tests.support.scripted_agent import scripted_agent
from tunnelctl.bounds import DeclaredBound
from tunnelctl.http1.head import parse_request
from tunnelctl.wire.about import MAX_ABOUT_TEXT
from tunnelctl.wire.messages import Bound
from tunnelctl.wire.stream import INITIAL_WINDOW
from tunnelctl.wire.window import Budget
from tunnelrelay.address import PublicAddress
from tunnelrelay.ingress.about import AboutVisitors
from tunnelrelay.ingress.guesses import Guesses
from tunnelrelay.ingress.tcp import TcpConnection
from tunnelrelay.ingress.turns import MAX_READ_AT_ONCE as MANY
from tunnelrelay.ingress.turns import Turns
from tunnelrelay.ingress.visitors import KnownVisitors, known_hosts
from tunnelrelay.model import Peer
from tunnelrelay.oidc.sessions.session import VisitorSession
from tunnelrelay.policy.rate_limit import SECOND, Counted, RateLimit, RateLimits

ONCE_A_DAY = RateLimit(interval=86_400 * SECOND, burst=2, is_by_visitor=True)


@asynccontextmanager
async def scene(**flags: object) -> AsyncIterator[Scene]:
    """A relay, an agent behind it, and visitors' sockets."""
    log = KeptLog()
    with tempfile.TemporaryDirectory() as folder:
        async with make_relay(Path(folder), log, **flags) as relay:
            assert relay.http is not None
            async with scripted_agent(relay.http[1], HOST.partition(".")[0]) as agent:
                yield Scene(relay, agent, log.kept)


@drives("wrong passwords at one endpoint")
def drive_guesses(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    guesses = Guesses(lambda: 0.0)

    def try_one() -> bool:
        if guesses.must_wait("203.0.113.9", HOST):
            return True
        guesses.wrong("203.0.113.9", HOST)
        return False

    drive_bucket(try_one, bound.limit)
    assert not guesses.must_wait("203.0.113.10", HOST)
    same_table(guesses, bound)


@drives("what a visitor's connection has sent before it is its turn")
async def drive_ahead(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pipelined requests while the first has no answer; and a head that never ends."""
    async with scene() as s, s.visitor() as visitor, s.visitor() as other:
        await s.exchange(visitor)
        visit = await s.visit(visitor)
        visitor.writer.write(GET * (10 * bound.limit // len(GET)))
        await s.turns(lambda: not visit.transport.is_reading())
        assert len(visit.reader.kept) <= bound.limit
        await other.send(b"GET / HTTP/1.1\r\nHost: " + HOST.encode() + b"\r\nA: " + b"x" * 2 * bound.limit)
        assert (await other.response()).status == 431


@drives("what a visitor does not read of an answer")
async def drive_unread(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that sends as much as it may, and a visitor that does not read. Growth of windows has its own bound."""
    monkeypatch.setattr(Budget, "take", lambda self, size: False)
    async with scene() as s, s.visitor() as visitor:
        visitor.writer.transport.pause_reading()  # type: ignore[attr-defined]  # it is one for reading
        asked = await s.exchange(visitor)
        visit = await s.visit(visitor)
        asked.answer(body=bytes(32 << 20))
        await s.turns(lambda: visit.is_paused and not asked.stream.credit)
        assert bound.limit / 2 < visit.transport.get_write_buffer_size() <= bound.limit
        reset(visitor)


@drives("visitors' connections")
async def drive_visitors(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunnelrelay.ingress.ingress.MAX_VISITORS", 60)
    async with scene() as s:
        with ExitStack() as stack, measured() as memory:

            def connect() -> socket.socket:
                return stack.enter_context(socket.create_connection(("127.0.0.1", s.port)))

            socks = [connect() for _ in range(60)]
            await s.turns(lambda: s.relay.ingress.visitor_count >= 60)
            per_visitor = memory.taken / 60
            for _ in range(60):
                connect()
            await s.turns(lambda: all(map(is_over, socks)))
            assert s.relay.ingress.visitor_count <= 60
        assert per_visitor <= bound.worst_bytes / bound.limit


def is_over(sock: socket.socket) -> bool:
    """Whether the relay has closed a connection on which it sends nothing."""
    try:
        return sock.recv(1, socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


@drives("TLS handshakes under way")
async def drive_handshakes(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunnelrelay.ingress.handshakes.MAX_HANDSHAKES", 60)
    with tempfile.TemporaryDirectory() as folder:
        cert, key = Authority(Path(folder)).issue("tun.localhost")
        async with scene(https="127.0.0.1:0", tls_cert=str(cert), tls_key=str(key)) as s:
            assert s.relay.https is not None
            with ExitStack() as stack, measured() as memory:
                socks = [stack.enter_context(socket.create_connection(s.relay.https)) for _ in range(120)]
                for sock in socks:
                    sock.sendall(b"\x16\x03\x01\x40\x00\x01" + b"x" * 8_000)
                await s.turns(lambda: all(map(is_over, socks[:60])))
                await s.turns(lambda: s.relay.ingress.visitor_count == 60)
                assert sum(map(is_over, socks)) == 60
                assert memory.taken / 60 <= bound.worst_bytes / bound.limit


@drives("visitors whom an endpoint's rate limit counts")
def drive_counted(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = RateLimits()
    with measured() as memory:
        for number in range(2 * bound.limit):
            # Each in a share of its own, with texts as long as they can be.
            counted = Counted(f"{number:06d}{ADDRESS}", f"{number:06d}{'i' * 60}")
            assert not limits.wait(OWNER, host(0), ONCE_A_DAY, counted, 1e6)
        (visitors,) = limits.endpoints.values()
        assert len(visitors) == bound.limit
        assert memory.most <= bound.worst_bytes


@drives("visitors whom the rate limits of all endpoints count")
def drive_counted_at_all(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunnelrelay.policy.rate_limit.MAX_BYTES", bound.limit // 64)
    limits = RateLimits()
    with measured() as memory:
        for number in range(2_000):
            for _ in range(number % 3):
                limits.wait(owner(number), host(number), ONCE_A_DAY, Counted(f"{number:06d}{ADDRESS}", "2001:db8"), 1e6)
        assert limits.endpoints.total <= bound.limit // 64
        assert memory.most <= bound.worst_bytes // 64


@drives("hosts in bytes, and addresses as limits count them")
def drive_names(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    with measured() as memory:
        hosts = known_hosts(PublicAddress(scheme="https", domain="tun.example", port=443))
        visitors = KnownVisitors((), lambda: 0.0)
        for number in range(2 * bound.limit):
            assert hosts[host(number)].origin
            visitors.address_of(Peer(address(number), 1))
        assert max(len(hosts), len(visitors)) <= bound.limit
        assert memory.most <= bound.worst_bytes


@drives("proxies whose unreadable words on visitors were logged lately")
def drive_unreadable(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    logger = logging.getLogger("tunnelrelay.ingress")
    monkeypatch.setattr(logger, "disabled", True)  # pytest keeps every line
    head = parse_request(b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: ?\r\n\r\n")
    with measured() as memory:
        visitors = KnownVisitors((ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0")), lambda: 0.0)
        for number in range(2 * bound.limit):
            visitors.behind_proxies(Peer(address(number), 1), head)
        assert len(table(visitors, bound)) == bound.limit
        assert memory.taken <= bound.worst_bytes


class Waiting:
    """As much of a visitor as `Turns` looks at."""

    address = last_host = ""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.connected_address = peer.host
        self.read_turn: Callable[[], object] = lambda: None


@drives("requests read of an address with more than eight connections, while others ask")
def drive_reads(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    due: list[tuple[float, Callable[[], None]]] = []
    turns = Turns(
        lambda work: None, lambda seconds, work: due.append((seconds, work)), lambda: 0.0, lambda address: MANY + 1
    )
    for number in range(2):
        turns.take(Waiting(Peer(f"203.0.113.{number}", 1)))  # type: ignore[arg-type]  # a fake
    read: list[int] = []
    for number in range(bound.limit // 10):
        visit = Waiting(Peer("203.0.113.1", number))
        visit.read_turn = partial(read.append, number)
        assert not turns.read(visit)  # type: ignore[arg-type]  # a fake
    passed = 0.0
    while due:
        seconds, work = due.pop()
        passed += seconds
        before = len(read)
        work()
        assert len(read) > before
    assert len(read) == bound.limit // 10
    assert len(read) / passed <= bound.limit * 1.001  # in floating point


@drives("visitors whose next request waits for its turn")
def drive_turns(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    """A visitor that waits asks for no second turn: its connection reads no head meanwhile."""
    turns = Turns(lambda work: None, lambda seconds, work: None, lambda: 0.0, lambda address: 1_000)
    visits = [Waiting(Peer(f"203.0.{number % 2}.9", 1)) for number in range(1_000)]
    with measured() as memory:
        taken = [turns.take(visit) for visit in visits]  # type: ignore[arg-type]  # a fake
        assert taken.count(False) > 900
        assert memory.taken / 1_000 <= bound.worst_bytes
    waiting, unread, _ = tables(turns, bound)
    assert sum(map(len, waiting.values())) == taken.count(False)
    with measured() as memory:
        assert not any(turns.read(visit) for visit in visits * 2)  # type: ignore[arg-type]  # a fake
        assert memory.taken / 1_000 <= bound.worst_bytes
    assert sum(map(len, unread.values())) == 1_000


@drives("what a visitor of a tcp port has sent and the agent has not taken")
async def drive_tcp(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that grants no credit, and a visitor that sends as much as it may."""
    (port,) = free_ports(1)
    async with scene(tcp_ports=str(port)) as s:
        assert isinstance(await s.agent.bind(host="tcp://"), Bound)
        async with connect(port) as visitor:
            asked = await s.agent.next()
            asked.keeps = True
            asked.head(200)
            visitor.writer.write(bytes(32 << 20))
            await asked.until(lambda: len(asked.body) == INITIAL_WINDOW)
            (stream,) = s.relay_link.session.streams
            (connection,) = (each for each in s.relay.ingress.visitors if isinstance(each, TcpConnection))
            await s.turns(lambda: not connection.transport.is_reading())
            assert bound.limit / 2 < stream.queued <= bound.limit
            reset(visitor)


@drives("logins at inspected tunnels whose rule is remembered")
async def drive_rules(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    """Logins whose rule is as long as it can be told, in letters that take four bytes each."""
    group = "\U0001f600" * MAX_ABOUT_TEXT
    guard = policy(oidc=oidc(allow_groups=(group,)))
    connection = guard.connection
    assert connection is not None
    monkeypatch.setattr("tunnelrelay.ingress.about.MAX_REMEMBERED", 200)
    world = World()
    claims = {"sub": "1", "groups": [group]}
    cookie = await world.sessions.create(APP, connection, issuer=connection.issuer, claims=claims)
    session = world.sessions.find(cookie, APP, connection, world.clock())
    assert isinstance(session, VisitorSession)
    about = AboutVisitors()
    kept = table(about, bound)
    with measured() as memory:
        for number in range(400):
            session.id_digest = number.to_bytes(32, "big")
            assert about.payload("::1", session, guard, "", 1)
            assert len(kept) <= 200
        assert memory.taken <= 200 * bound.worst_bytes / bound.limit
