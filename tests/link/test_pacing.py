"""Frames are found where they are, whatever the reads; and a link reads so many in a turn of the loop, and no more."""

import asyncio
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from tests.link.ends import exchange, linked, websocket
from tunnelctl.link.pacing import MAX_FRAMES_PER_TURN, MAX_IDLE_FRAMES, FramePacer
from tunnelctl.wire.errors import Code
from tunnelctl.wire.frames import DATA, DATA_FIN, OPTIONAL, frame
from tunnelctl.wire.messages import Unbind

LENGTHS = st.one_of(st.integers(0, 140), st.sampled_from([1023, 1024, 65_535, 65_536]))
FRAMES = st.lists(st.tuples(st.sampled_from(list(Opcode)), st.booleans(), LENGTHS, st.booleans()), max_size=20)


def serialized(opcode: Opcode, fin: bool, length: int, mask: bool) -> bytes:
    is_control = opcode >= Opcode.CLOSE
    return Frame(opcode, bytes(min(length, 125) if is_control else length), fin or is_control).serialize(mask=mask)


@given(FRAMES, st.data())
def test_every_frame_is_counted_once_and_cut_at_its_end(frames, data):
    pieces = [serialized(*each) for each in frames]
    stream = b"".join(pieces)
    starts = {sum(map(len, pieces[:count])) for count in range(len(pieces))}
    pacer, passed = FramePacer(), 0
    while passed < len(stream):
        chunk = stream[passed : passed + data.draw(st.integers(1, 70_000))]
        while chunk:
            allowed = data.draw(st.integers(1, 5))
            before, size = passed, pacer.cut(chunk, allowed)
            passed, chunk = passed + size, chunk[size:]
            begun = sum(before <= start < passed for start in starts)
            assert size > 0
            assert begun <= allowed
            assert not chunk or passed in starts


@given(FRAMES)
def test_what_is_called_one_message_is_one(frames):
    data = b"".join(serialized(*each) for each in frames)
    pacer = FramePacer()

    if pacer.is_one_message(data):
        ((opcode, fin, length, _),) = frames
        assert (opcode, fin) == (Opcode.BINARY, True)
        assert length >= 8
        assert pacer.cut(data, 1) == len(data)
        assert (pacer.idle, pacer.is_one_message(data)) == (0, True)


@pytest.mark.parametrize(
    ("sent", "idle"),
    [
        (Frame(Opcode.BINARY, bytes(8)), 0),
        (Frame(Opcode.BINARY, bytes(7)), 1),
        (Frame(Opcode.BINARY, b""), 1),
        (Frame(Opcode.BINARY, bytes(1024), fin=False), 0),
        (Frame(Opcode.BINARY, bytes(1023), fin=False), 1),
        (Frame(Opcode.CONT, bytes(8)), 0),
        (Frame(Opcode.CONT, b""), 1),
        (Frame(Opcode.PING, bytes(125)), 1),
        (Frame(Opcode.PONG, b""), 1),
    ],
    ids=str,
)
def test_what_carries_nothing_is_counted(sent, idle):
    pacer = FramePacer()
    pacer.cut(sent.serialize(mask=True), 1)

    assert pacer.idle == idle


@pytest.mark.parametrize(
    "sent",
    [
        websocket(b""),
        websocket(b"", Opcode.PING),
        websocket(b"x" * 100, Opcode.PONG),
        websocket(b"", fin=False) + websocket(b"", Opcode.CONT),
    ],
    ids=["empty", "ping", "pong", "fragments"],
)
async def test_row116_a_flood_of_frames_that_carry_nothing_ends_the_link(sent):
    async with linked() as (relay, agent):
        agent.link.transport.write(sent * (MAX_IDLE_FRAMES + 100))
        await relay.until(lambda: relay.closed)

        assert relay.closed[0][0] is Code.LIMIT


async def test_a_few_of_them_are_taken():
    async with linked() as (relay, agent):
        agent.link.transport.write((websocket(b"") + websocket(b"", Opcode.PING)) * 100)
        agent.link.send(Unbind(tunnel=7))
        await relay.until(lambda: relay.messages)

        assert relay.messages == [Unbind(tunnel=7)]
        assert relay.closed == []


async def test_row120_a_flood_of_frames_of_the_link_ends_it():
    async with linked() as (relay, agent):
        unknown = frame(OPTIONAL | 40, 0, b"")
        agent.link.transport.write(websocket(unknown * 1000) * 10)
        await relay.until(lambda: relay.closed)

        assert relay.closed[0][0] is Code.LIMIT


@pytest.mark.parametrize("per_message", [1, 3, 500, 20_000], ids="{} a message".format)
async def test_a_turn_reads_a_bounded_number_of_frames_and_loses_none(per_message):
    numbers = [index % 251 for index in range(20_000)]
    async with linked() as (relay, agent):
        near, far = await exchange(relay, agent)
        turns: Counter[int] = Counter()
        turn, is_over = 0, False

        async def count_turns() -> None:
            nonlocal turn
            while not is_over:
                turn += 1
                await asyncio.sleep(0)

        hear = near.on_data

        def counted(data: bytes, fin: bool) -> None:
            turns[turn] += 1
            hear(data, fin)

        near.on_data = counted
        counting = asyncio.create_task(count_turns())
        ones = [frame(DATA, far.stream.id, bytes([number])) for number in numbers]
        for start in range(0, len(ones), per_message):
            agent.link.transport.write(websocket(b"".join(ones[start : start + per_message])))
        agent.link.transport.write(websocket(frame(DATA_FIN, far.stream.id, b"")))
        await near.until(lambda: near.is_ended)
        is_over = True
        await counting

        assert near.data == bytes(numbers)
        assert max(turns.values()) <= MAX_FRAMES_PER_TURN
        agent.link.send(Unbind(tunnel=7))
        await relay.until(lambda: relay.messages)  # the socket is read again


async def test_what_came_before_the_close_is_told_before_it():
    async with linked() as (relay, agent):
        near, far = await exchange(relay, agent)
        ones = frame(DATA, far.stream.id, b"x") * 1000
        agent.link.transport.write(websocket(ones) + websocket(b"\x03\xe8", Opcode.CLOSE))
        await relay.until(lambda: relay.closed)

        assert bytes(near.data) == b"x" * 1000


async def test_a_violation_and_a_close_in_one_segment_end_the_link_without_a_fault(caplog):
    async with linked() as (relay, agent):
        bad = frame(DATA, 77, b"never opened")
        agent.link.transport.write(websocket(bad) + websocket(b"\x03\xe8", Opcode.CLOSE))
        await relay.until(lambda: relay.closed)

        assert relay.closed[0][0] is Code.PROTOCOL
        assert [record for record in caplog.records if record.exc_info] == []


@pytest.mark.parametrize(
    "behind",
    [b"\x81\x05hello", websocket(b"hello", Opcode.TEXT), websocket(b"", Opcode.PING) * 3],
    ids=["unmasked", "text", "pings"],
)
async def test_what_follows_a_violation_or_a_close_is_not_read(behind, caplog):
    async with linked() as (relay, agent):
        agent.link.transport.write(
            websocket(frame(DATA, 77, b"never opened")) + behind + websocket(b"", Opcode.CLOSE) + behind
        )
        await relay.until(lambda: relay.closed)

        assert relay.closed[0][0] is Code.PROTOCOL
        assert [record for record in caplog.records if record.exc_info] == []
