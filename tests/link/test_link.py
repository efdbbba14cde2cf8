"""A link over a real socket: frames both ways, who hears of what, and every way to end."""

import asyncio
from functools import partial

import pytest
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol, Side, State

from tests.link.ends import OK, REQUEST, Owner, User, exchange, linked, websocket
from tunnelctl.link.link import MAX_UNSENT, Link
from tunnelctl.wire.errors import Code
from tunnelctl.wire.frames import OPTIONAL, frame
from tunnelctl.wire.messages import Unbind
from tunnelctl.wire.session import Session
from tunnelctl.wire.window import Budget

MIB = 1 << 20
SKIPPED = websocket(frame(OPTIONAL | 40, 0, b""))
"""A frame that the session takes note of and does not know."""


async def test_a_stream_carries_heads_and_bytes_both_ways():
    async with linked() as (relay, agent):
        near, far = await exchange(relay, agent)
        relay.link.send_data(near.stream, b"question", fin=True)
        agent.link.send_data(far.stream, b"answer", fin=True)
        await near.until(lambda: near.is_ended)
        await far.until(lambda: far.is_ended)

        assert (near.heads, bytes(near.data), bytes(far.data)) == ([OK], b"answer", b"question")
        assert relay.link.stream_count == agent.link.stream_count == 0


async def test_messages_arrive_in_order():
    async with linked() as (relay, agent):
        for number in range(1, 20):
            agent.link.send(Unbind(tunnel=number))
        await relay.until(lambda: len(relay.messages) == 19)

        assert relay.messages == [Unbind(tunnel=number) for number in range(1, 20)]


async def test_the_round_trip_is_measured_at_once_on_both_ends():
    async with linked() as (relay, agent):
        await relay.until(lambda: relay.pongs)
        await agent.until(lambda: agent.pongs)

        assert relay.link.rtt is not None
        assert agent.link.rtt is not None


async def test_a_megabyte_crosses_when_the_reader_consumes():
    async with linked() as (relay, agent):
        near, far = await exchange(relay, agent)
        sent = bytes(range(256)) * (4 * MIB // 256)
        agent.link.send_data(far.stream, sent, fin=True)
        await near.until(lambda: near.is_ended)

        assert near.data == sent


async def test_a_sender_is_told_to_go_on_as_soon_as_its_queue_has_drained():
    """Not only when something else arrives: with a large window nothing needs to, before the next heartbeat."""
    async with linked(heartbeat=1000) as (relay, agent):
        near, far = await exchange(relay, agent, keeps=True)
        far.stream.credit = 10 * MIB
        near.stream.left = near.stream.window = 10 * MIB
        agent.link.send_data(far.stream, b"x" * 300_000)
        await far.until(lambda: far.writables)

        assert far.stream.queued < 64 * 1024


async def test_a_reader_that_does_not_consume_stalls_its_own_stream_only():
    async with linked() as (relay, agent):
        stalled, source = await exchange(relay, agent, keeps=True)
        agent.link.send_data(source.stream, b"x" * MIB)
        lively, other = await exchange(relay, agent)
        agent.link.send_data(other.stream, b"y" * MIB, fin=True)
        await lively.until(lambda: lively.is_ended)

        assert len(lively.data) == MIB
        assert len(stalled.data) == 64 * 1024
        assert source.stream.queued == MIB - 64 * 1024


async def test_a_small_exchange_passes_a_download():
    async with linked() as (relay, agent):
        bulk, source = await exchange(relay, agent)
        agent.link.send_data(source.stream, b"x" * 32 * MIB, fin=True)
        await bulk.until(lambda: bulk.data)
        small, other = await exchange(relay, agent)
        agent.link.send_data(other.stream, b"y", fin=True)
        await small.until(lambda: small.is_ended)

        assert not bulk.is_ended
        relay.link.reset(bulk.stream, Code.CANCELLED)


class Clumsy(Owner):
    """Fails at whatever it is given."""

    def on_head(self, payload: bytes, fin: bool) -> None:
        raise RuntimeError("a fault of ours")


async def test_a_faulty_owner_ends_its_stream_only_and_both_ends_hear_of_it(caplog):
    async with linked() as (relay, agent):
        clumsy = Clumsy(relay.link)
        clumsy.stream = relay.link.open(REQUEST, owner=clumsy, fin=False)
        await agent.until(lambda: agent.opened)
        far = agent.opened[0]
        owner = far.owner
        agent.link.send_head(far, OK)
        await owner.until(lambda: owner.reset is not None)
        await exchange(relay, agent)

        assert clumsy.reset is Code.INTERNAL
        assert owner.reset is Code.INTERNAL
        assert "stream callback raised" in caplog.text


async def test_a_user_that_fails_at_an_opened_stream_resets_it(caplog):
    async with linked() as (relay, agent):
        agent.greet = lambda stream: 1 / 0
        near = Owner(relay.link)
        near.stream = relay.link.open(REQUEST, owner=near, fin=False)
        await near.until(lambda: near.reset is not None)

        assert near.reset is Code.INTERNAL
        assert relay.link.is_open
        assert "ZeroDivisionError" in caplog.text


async def test_after_a_reset_its_owner_hears_nothing_more():
    async with linked() as (relay, agent):
        near, far = await exchange(relay, agent)
        relay.link.reset(near.stream, Code.CANCELLED, "gone")
        agent.link.send_data(far.stream, b"late")
        await far.until(lambda: far.reset is not None)
        await exchange(relay, agent)

        assert far.reset is Code.CANCELLED
        assert (bytes(near.data), near.reset) == (b"", None)


@pytest.mark.parametrize("ending", ["peer aborts", "peer closes", "we close"])
async def test_every_stream_is_told_when_the_link_dies_however_it_does(ending):
    async with linked() as (relay, agent):
        owners = [owner for _ in range(3) for owner in await exchange(relay, agent)]
        match ending:
            case "peer aborts":
                agent.link.transport.abort()
            case "peer closes":
                agent.link.close(Code.NO_ERROR, "bye")
            case "we close":
                relay.link.close(Code.UNAUTHORIZED, "revoked")
        for user in (relay, agent):
            await user.until(lambda user=user: user.closed)

        assert [owner.reset for owner in owners] == [Code.HEARTBEAT] * 6
        assert len(relay.closed) == len(agent.closed) == 1
        assert not relay.link.can_open


async def test_row120_a_violation_ends_the_link_with_its_code_and_every_stream_is_told():
    async with linked() as (relay, agent):
        near, _ = await exchange(relay, agent)
        agent.link.transport.write(websocket(frame(63, 0, b"")))  # an unknown frame that is not optional
        for user in (relay, agent):
            await user.until(lambda user=user: user.closed)

        assert near.reset is Code.HEARTBEAT
        assert relay.closed[0][0] is Code.PROTOCOL
        assert agent.closed[0][0] is Code.PROTOCOL


async def test_growth_of_windows_is_given_back_with_the_link(monkeypatch):
    monkeypatch.setattr("tunnelctl.wire.window.GROWTH_RTTS", 1e9)
    relay_wide = Budget(64 * MIB)
    async with linked(budget=relay_wide) as (relay, agent):
        await relay.until(lambda: relay.pongs)
        near, far = await exchange(relay, agent)
        agent.link.send_data(far.stream, b"x" * MIB)
        await near.until(lambda: relay_wide.used)
        agent.link.transport.abort()
        await relay.until(lambda: relay.closed)

        assert relay_wide.used == 0


@pytest.mark.parametrize(
    "data",
    [
        b"\x81\x05hello",  # row 116: unmasked, and text
        b"\xf2\x80\x00\x00\x00\x00",  # reserved bits
        b"\x83\x80\x00\x00\x00\x00",  # reserved opcode
        b"\x82\xff" + b"\x00\x00\x00\x00\x40\x00\x00\x00" + b"\x00" * 4,  # 1 GB declared
        b"\x89\xfe\x01\x00" + b"\x00" * 260,  # a ping of 256 bytes
        b"\x80\x80\x00\x00\x00\x00",  # a continuation of nothing
    ],
    ids=["unmasked", "reserved-bits", "reserved-opcode", "1-gb", "long-ping", "stray-continuation"],
)
async def test_row116_what_is_no_websocket_closes_the_link_at_once(data):
    async with linked() as (relay, agent):
        near, _ = await exchange(relay, agent)
        agent.link.transport.write(data)
        await relay.until(lambda: relay.closed)

        assert relay.closed[0][0] is Code.PROTOCOL
        assert near.reset is Code.HEARTBEAT


async def test_a_text_message_closes_the_link():
    async with linked() as (relay, agent):
        agent.link.transport.write(websocket(b"hello", Opcode.TEXT))
        await relay.until(lambda: relay.closed)

        assert relay.closed[0][0] is Code.PROTOCOL


async def test_row116_a_peer_that_pings_and_does_not_read_is_dropped():
    async with linked() as (relay, agent):
        agent.link.transport.pause_reading()
        pings = Frame(Opcode.PING, b"x" * 125).serialize(mask=True) * 1000
        for _ in range(200):
            agent.link.transport.write(pings)
            if relay.closed:
                break
            await asyncio.sleep(0)
        await relay.until(lambda: relay.closed)

        assert relay.closed[0][0] is Code.LIMIT


async def test_what_waits_for_the_socket_stays_in_the_session():
    async with linked() as (relay, agent):
        _, far = await exchange(relay, agent)
        far.stream.credit = 100 * MIB
        relay.link.transport.pause_reading()
        agent.link.send_data(far.stream, b"x" * 32 * MIB)
        written = agent.link.transport.get_write_buffer_size
        for _ in range(50):
            await asyncio.sleep(0)
            assert written() < MAX_UNSENT

        assert far.stream.queued > 16 * MIB
        agent.link.reset(far.stream, Code.CANCELLED)
        relay.link.transport.resume_reading()


class StillTransport:
    """A transport whose peer never says anything."""

    def __init__(self) -> None:
        self.written = b""
        self.is_aborted = False

    def set_write_buffer_limits(self, high: int, low: int) -> None: ...
    def set_protocol(self, protocol: object) -> None: ...
    def get_extra_info(self, name: str) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None: ...

    def abort(self) -> None:
        self.is_aborted = True


def still_link(loop: "TurnedLoop") -> tuple[Link, StillTransport, User]:
    user, transport = User(), StillTransport()
    user.link = Link(Session(opens=True), user, heartbeat=1000, loop=loop)
    user.link.take_over(transport, Protocol(Side.SERVER, state=State.OPEN))
    return user.link, transport, user


class TurnedLoop:
    """A loop whose clock stands until the test turns it."""

    def __init__(self) -> None:
        self.now = 1e6
        self._timers: list[tuple[float, Timer]] = []

    def time(self) -> float:
        return self.now

    def call_soon(self, callback, *args) -> "Timer":
        return self.call_later(0, callback, *args)

    def call_later(self, delay, callback, *args) -> "Timer":
        timer = Timer(partial(callback, *args))
        self._timers.append((self.now + delay, timer))
        return timer

    def turn(self, seconds: float) -> None:
        self.now += seconds
        due = [timer for at, timer in self._timers if at <= self.now]
        self._timers = [(at, timer) for at, timer in self._timers if at > self.now]
        for timer in due:
            if not timer.is_cancelled:
                timer.call()


class Timer:
    """What a loop gives for a call that is to come."""

    def __init__(self, call) -> None:
        self.call = call
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


async def test_a_peer_that_never_answers_is_dropped_after_three_heartbeats():
    loop = TurnedLoop()
    link, transport, user = still_link(loop)
    for _ in range(2):
        loop.turn(1000)
        assert not transport.is_aborted
    loop.turn(1000)
    link.connection_lost(None)

    assert transport.is_aborted
    assert user.closed[0][0] is Code.HEARTBEAT


async def test_a_peer_that_talks_but_never_answers_a_ping_is_dropped_too():
    loop = TurnedLoop()
    link, transport, user = still_link(loop)
    for _ in range(3):
        assert not transport.is_aborted
        link.data_received(SKIPPED)
        loop.turn(1000)
    link.connection_lost(None)

    assert transport.is_aborted
    assert user.closed[0][0] is Code.HEARTBEAT


async def test_a_silent_link_is_dropped_and_its_streams_are_told():
    loop = TurnedLoop()
    link, transport, user = still_link(loop)
    owner = Owner(link)
    owner.stream = link.open(REQUEST, owner=owner, fin=True)
    link.data_received(SKIPPED)
    loop.turn(3001)
    link.connection_lost(None)

    assert transport.is_aborted
    assert owner.reset is Code.HEARTBEAT
    assert user.closed == [(Code.HEARTBEAT, "nothing heard for 3000 s")]


async def test_a_link_lives_on_while_its_heartbeats_are_answered():
    async with linked() as (relay, agent):
        for count in range(1, 6):
            for user in (relay, agent):
                user.link.ping()
                await user.until(lambda user=user, count=count: len(user.pongs) >= count)

        assert relay.link.is_open
        assert agent.link.is_open


async def test_a_heartbeat_follows_another_by_itself():
    async with linked(heartbeat=1) as (relay, _):
        await relay.until(lambda: len(relay.pongs) > 1)


async def test_go_away_stops_new_streams_and_lets_open_ones_end():
    async with linked() as (relay, agent):
        near, far = await exchange(relay, agent)
        agent.link.go_away(Code.NO_ERROR, "draining")
        await relay.until(lambda: relay.went_away is not None)
        assert not relay.link.can_open
        agent.link.send_data(far.stream, b"last words", fin=True)
        await near.until(lambda: near.is_ended)

        assert bytes(near.data) == b"last words"


async def test_a_stream_opened_while_the_agent_goes_away_is_refused_so_that_it_can_go_elsewhere():
    async with linked() as (relay, agent):
        agent.link.go_away(Code.NO_ERROR, "draining")
        near = Owner(relay.link)
        near.stream = relay.link.open(REQUEST, owner=near, fin=True)
        await near.until(lambda: near.reset is not None)

        assert near.reset is Code.REFUSED
        assert agent.opened == []


async def test_what_is_told_about_a_visitor_comes_with_the_stream():
    async with linked() as (relay, agent):
        near = Owner(relay.link)
        stream = relay.link.open(REQUEST, owner=near, fin=True)
        relay.link.send_about(stream, b'{"address":"::1"}')
        await agent.until(lambda: agent.abouts)

        assert agent.abouts == [(agent.opened[0], b'{"address":"::1"}')]
