"""Every limit has its attacker here, and every rule of order somebody who breaks it. All bytes are written by hand."""

import tracemalloc
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.every import every
from tests.wire.pair import EARLY_HINTS, OK, REQUEST, Pair
from tunnelctl.wire.errors import Code, WireError
from tunnelctl.wire.events import DataReceived, Opened
from tunnelctl.wire.frames import (
    ABOUT,
    CONTROL,
    DATA,
    DATA_FIN,
    END_FIN,
    FIN,
    GOAWAY,
    HEAD,
    HEADER,
    MAX_CREDIT,
    MAX_PAYLOAD,
    OPEN,
    OPEN_FIN,
    OPTIONAL,
    PING,
    PONG,
    RESET,
    WINDOW,
    frame,
    pack_reset,
    pack_window,
)
from tunnelctl.wire.limits import Limits
from tunnelctl.wire.session import Session
from tunnelctl.wire.stream import INITIAL_WINDOW

OPENED = frame(OPEN, 1, REQUEST)
CANCEL = pack_reset(Code.CANCELLED, "")


def refused(data: bytes, *, opens: bool = False, limits: Limits | None = None) -> Code:
    """The code with which a fresh session refuses these bytes."""
    session = Session(opens=opens, limits=limits)
    if opens:
        session.open(REQUEST, fin=False)
    with pytest.raises(WireError) as caught:
        session.receive_data(data, 1.0)
    assert caught.value.is_remote
    assert session.stream_count == 0
    return caught.value.code


@every(
    "data",
    [
        frame(DATA, 1, b"x"),
        frame(WINDOW, 7, pack_window(1)),
        frame(RESET, 1, CANCEL),
        frame(END_FIN, 3),
        frame(OPEN, 2, REQUEST),
        frame(OPEN, 0, REQUEST),
        OPENED + OPENED,
        OPENED + frame(OPEN, 3, REQUEST),
        OPENED + frame(END_FIN, 1) + frame(DATA, 1, b"x"),
        OPENED + frame(HEAD, 1, OK),
        OPENED + frame(DATA, 1),
        frame(DATA, 0, b"x"),
        frame(RESET, 0, CANCEL),
        frame(WINDOW, 0, pack_window(1)),
        frame(PING, 1, b"12345678"),
        OPENED + frame(PING, 1, b"12345678"),
        OPENED + frame(CONTROL, 1, b"{}"),
        frame(GOAWAY, 1, bytes(8)),
        frame(0, 0),
        frame(12, 0),
        frame(OPTIONAL | ABOUT, 0, b"{}"),
        frame(OPTIONAL | ABOUT, 1, b"{}"),
        OPENED + frame(OPTIONAL | ABOUT, 1, b"{}") * 2,
        OPENED + frame(OPTIONAL | ABOUT | FIN, 1, b"{}"),
        frame(63, 0),
        frame(255, 0),
        frame(PING | FIN, 0, b"12345678"),
        OPENED + frame(RESET | FIN, 1, CANCEL),
        OPENED + frame(WINDOW | FIN, 1, pack_window(1)),
        OPENED + frame(4, 1),
        OPENED + frame(WINDOW, 1, pack_window(0)),
        OPENED + frame(WINDOW, 1, b"\1"),
        OPENED + frame(RESET, 1, b"\0"),
        OPENED + frame(RESET, 1, bytes(4 + 513)),
        frame(GOAWAY, 0, b"\0"),
        frame(GOAWAY, 0, bytes(8 + 513)),
        frame(PING, 0, b"1234567"),
        frame(PONG, 0, b"12345678"),
        frame(CONTROL, 0),
        frame(CONTROL, 0, b"{}"),
        frame(CONTROL, 0, b'{"type":"unbind","tunnel":"\xff"}'),
        frame(CONTROL, 0, b'{"type":"unbind","tunnel":1e999}'),
        frame(CONTROL, 0, b'{"type":"unbind","x":' + b"[" * 60_000),
        frame(CONTROL, 0, b'{"type":"unbind","tunnel":1,"x":' + b"[" * 30_000 + b"]" * 30_000 + b"}"),
        frame(OPTIONAL | CONTROL, 0, b'{"type":'),
        OPENED + frame(OPTIONAL | OPEN, 1, REQUEST),
    ],
)
def test_what_breaks_the_order_ends_the_link(data: bytes) -> None:
    """Row 120."""
    assert refused(data) is Code.PROTOCOL


@pytest.mark.parametrize(
    "data",
    [
        frame(OPEN, 1, REQUEST),
        frame(OPEN, 2, REQUEST),
        frame(DATA, 1, b"before the head"),
        frame(END_FIN, 1),
        frame(HEAD, 1, OK) + frame(HEAD, 1, OK),
        frame(HEAD, 1, OK) + frame(DATA, 1, b"x") + frame(HEAD, 1, OK),
        frame(HEAD, 1, OK) + frame(DATA_FIN, 1) + frame(END_FIN, 1),
        frame(HEAD | FIN, 1, EARLY_HINTS),
        frame(DATA, 2, b"never opened"),
        frame(OPTIONAL | ABOUT, 1, b"{}"),
    ],
)
def test_an_agent_that_answers_out_of_turn_ends_its_link(data: bytes) -> None:
    """Row 120."""
    assert refused(data, opens=True) is Code.PROTOCOL


@pytest.mark.parametrize("payload", [b"", b"\0"])
def test_a_head_without_a_status_is_refused(payload: bytes) -> None:
    """Row 120."""
    assert refused(frame(HEAD, 1, payload), opens=True) is Code.LIMIT


@pytest.mark.parametrize("kind", [OPEN, DATA, CONTROL, OPTIONAL | 40])
def test_a_length_over_the_limit_is_refused_by_the_header_alone(kind: int) -> None:
    """Row 120."""
    assert refused(HEADER.pack(kind << 24 | MAX_PAYLOAD + 1, 1)) is Code.LIMIT
    assert refused(HEADER.pack(kind << 24 | 0xFFFFFF, 1)) is Code.LIMIT
    assert refused(frame(kind, 1, bytes(MAX_PAYLOAD + 1))) is Code.LIMIT


def test_heads_trailers_and_messages_have_limits_of_their_own() -> None:
    """Row 120."""
    limits = Limits(max_head=100, max_control=100)
    assert refused(frame(OPEN, 1, bytes(101)), limits=limits) is Code.LIMIT
    assert refused(OPENED + frame(OPTIONAL | ABOUT, 1, bytes(101)), limits=limits) is Code.LIMIT
    assert refused(OPENED + frame(END_FIN, 1, bytes(101)), limits=limits) is Code.LIMIT
    assert refused(frame(HEAD, 1, OK + bytes(101)), opens=True, limits=limits) is Code.LIMIT
    assert refused(frame(CONTROL, 0, bytes(101)), limits=limits) is Code.LIMIT


def test_an_endless_run_of_interim_heads_is_refused() -> None:
    """Row 104."""
    assert refused(frame(HEAD, 1, EARLY_HINTS) * 10_000, opens=True) is Code.LIMIT
    assert refused(frame(HEAD, 1, b"\0\x67") * 10_000, opens=True) is Code.LIMIT


def test_more_streams_than_allowed_are_refused() -> None:
    """Row 120."""
    opens = b"".join(frame(OPEN, number, REQUEST) for number in range(1, 12))
    assert refused(opens, limits=Limits(max_streams=10)) is Code.LIMIT


def test_more_data_than_credit_is_refused() -> None:
    """Row 120."""
    full = OPENED + frame(DATA, 1, bytes(INITIAL_WINDOW))
    Session(opens=False).receive_data(full, 1.0)
    assert refused(full + frame(DATA, 1, b"x")) is Code.FLOW_CONTROL
    assert refused(full + frame(DATA_FIN, 1, b"x")) is Code.FLOW_CONTROL


def test_credit_beyond_counting_is_refused() -> None:
    """Row 120."""
    assert refused(OPENED + frame(WINDOW, 1, pack_window(MAX_CREDIT))) is Code.FLOW_CONTROL
    assert refused(OPENED + frame(WINDOW, 1, b"\xff\xff\xff\xff")) is Code.FLOW_CONTROL


def test_a_flood_of_pings_from_one_who_does_not_read_is_refused() -> None:
    """Row 122."""
    assert refused(frame(PING, 0, b"12345678") * 2000) is Code.LIMIT
    assert refused(frame(CONTROL, 0, b'{"type":"unbind","tunnel":1}') * 2000) is Code.LIMIT


def test_pings_of_one_who_reads_are_answered_for_ever() -> None:
    session = Session(opens=False)
    for number in range(5000):
        session.receive_data(frame(PING, 0, b"12345678"), number / 100)
        assert session.data_to_send(1024) == frame(PONG, 0, b"12345678")


def test_questions_faster_than_allowed_are_refused_though_the_answers_are_read() -> None:
    """Row 116."""
    message = b'{"type":"unbind","tunnel":1}'
    for asked in (frame(PING, 0, b"12345678"), frame(CONTROL, 0, message), frame(OPTIONAL | 40, 0, b"")):
        session = Session(opens=False)
        for _ in range(Limits().max_link_frame_burst):
            session.receive_data(asked, 1.0)
            session.data_to_send(1024)
        with pytest.raises(WireError) as caught:
            session.receive_data(asked, 1.0)
        assert caught.value.code is Code.LIMIT


@given(st.lists(st.sampled_from(["data", "head", "end", "ping", "window"]), max_size=30), st.data())
def test_frames_read_a_few_at_a_time_say_the_same_as_all_at_once(kinds: list[str], data: st.DataObject) -> None:
    frames = {
        "data": frame(DATA, 1, b"some bytes"),
        "head": frame(OPEN_FIN, 2, REQUEST),
        "end": frame(DATA_FIN, 1, b"last"),
        "ping": frame(PING, 0, b"12345678"),
        "window": frame(WINDOW, 1, pack_window(100)),
    }
    chunk = OPENED + b"".join(frames[kind] for kind in kinds)
    whole, few = Session(opens=False), Session(opens=False)
    with suppress(WireError):
        whole.receive_data(chunk, 1.0)
    with suppress(WireError):
        few.receive_data(chunk, 1.0, 1)
        while few.is_behind:
            most = data.draw(st.integers(1, 4))
            assert few.receive_data(b"", 1.0, most) <= most
    assert [repr(event) for event in few.events()] == [repr(event) for event in whole.events()]
    assert repr(few.error) == repr(whole.error)


def test_rapid_reset_by_the_opener_ends_the_link() -> None:
    """Row 121."""
    session = Session(opens=False)
    data = b"".join(frame(OPEN_FIN, number, REQUEST) + frame(RESET, number, CANCEL) for number in range(1, 100_001))
    with pytest.raises(WireError) as caught:
        session.receive_data(data, 1.0)
    assert len(session.events()) <= 2 * Limits().max_reset_burst + 2
    assert caught.value.code is Code.TOO_MANY_RESETS
    assert session.stream_count == 0


def test_rapid_reset_by_the_acceptor_ends_the_link() -> None:
    """Row 121."""
    session = Session(opens=True)
    for _ in range(Limits().max_reset_burst):
        stream = session.open(REQUEST, fin=True)
        session.receive_data(frame(RESET, stream.id, CANCEL), 1.0)
    stream = session.open(REQUEST, fin=True)
    with pytest.raises(WireError) as caught:
        session.receive_data(frame(RESET, stream.id, CANCEL), 1.0)
    assert caught.value.code is Code.TOO_MANY_RESETS
    assert session.stream_count == 0


def test_an_upstream_that_is_down_is_no_rapid_reset() -> None:
    session = Session(opens=True)
    for _ in range(20_000):
        stream = session.open(REQUEST, fin=True)
        session.data_to_send(1024)
        session.receive_data(frame(RESET, stream.id, pack_reset(Code.UPSTREAM_UNREACHABLE, "")), 1.0)
    assert session.can_open


def test_resets_that_are_spread_out_are_allowed_for_ever() -> None:
    """Row 121."""
    session = Session(opens=False)
    for number in range(1, 20_001):
        data = frame(OPEN_FIN, number, REQUEST) + frame(RESET, number, CANCEL)
        session.receive_data(data, number * 0.002)
    assert session.error is None


def test_visitors_who_hang_up_cost_the_relay_its_turn_to_open_and_never_the_link() -> None:
    """Row 121."""
    pair = Pair()
    opened = 0
    for _ in range(100_000):
        if pair.relay.can_open:
            pair.relay.reset(pair.relay.open(REQUEST, fin=True), Code.CANCELLED)
            opened += 1
    pair.to_agent()
    assert pair.agent.error is None
    assert 1000 < opened < Limits().max_reset_burst
    assert not pair.relay.can_open
    pair.now += 1.0
    pair.agent.ping(pair.now)
    pair.settle()
    assert pair.relay.can_open


def test_all_open_streams_may_always_be_reset_at_once() -> None:
    """Row 121."""
    pair = Pair()
    for _ in range(20):
        while pair.relay.can_open:
            pair.relay.open(REQUEST, fin=True)
        for stream in pair.relay.streams:
            pair.relay.reset(stream, Code.CANCELLED)
        pair.to_agent()
    assert pair.agent.error is None
    assert pair.agent.stream_count == 0


def test_grants_for_one_who_does_not_read_stay_one_for_each_stream() -> None:
    """Row 122."""
    session = Session(opens=False)
    session.receive_data(OPENED, 1.0)
    (opened,) = session.events()
    assert isinstance(opened, Opened)
    for _ in range(1000):
        session.receive_data(frame(DATA, 1, bytes(INITIAL_WINDOW)), 1.0)
        session.events()
        session.consumed(opened.stream, INITIAL_WINDOW)
    assert len(session.data_to_send(1 << 20)) == 12


def test_a_byte_does_not_pin_the_message_it_came_in() -> None:
    """Row 122."""
    session = Session(opens=False)
    session.receive_data(OPENED + frame(OPEN, 2, REQUEST) + frame(END_FIN, 2), 1.0)
    late = frame(DATA, 2, bytes(50_000)) * 5
    session.reset(session.streams[1], Code.CANCELLED)  # so that what fills the message is skipped
    session.events()
    tracemalloc.start()
    kept = []
    for _ in range(100):
        session.receive_data(late + frame(DATA, 1, b"x"), 1.0)
        kept += session.events()
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(kept) == 100
    assert used < 200_000


def test_a_frame_that_comes_byte_by_byte_costs_no_quadratic_work() -> None:
    session = Session(opens=False)
    data = OPENED + frame(DATA, 1, bytes(INITIAL_WINDOW))
    for position in range(len(data)):
        session.receive_data(data[position : position + 1], 1.0)
    events = session.events()
    assert [type(event) for event in events] == [Opened, DataReceived]


FRAMES = st.builds(
    lambda first, number, payload: frame(first, number, payload),
    st.one_of(st.integers(0, 255), st.sampled_from([kind | fin for kind in range(1, 12) for fin in (0, FIN)])),
    st.one_of(st.integers(0, 4), st.integers(0, 2**32 - 1)),
    st.one_of(
        st.binary(max_size=20),
        st.sampled_from([REQUEST, OK, EARLY_HINTS, CANCEL, pack_window(1000), b'{"type":"unbind","tunnel":1}']),
    ),
)


@given(st.lists(st.one_of(FRAMES, st.binary(max_size=40)), max_size=30), st.booleans(), st.integers(1, 50))
def test_any_bytes_give_events_or_a_wire_error(parts: list[bytes], opens: bool, chunk: int) -> None:
    session = Session(opens=opens)
    if opens:
        session.open(REQUEST, fin=False)
        session.open(REQUEST, fin=True)
    data = b"".join(parts)
    try:
        for position in range(0, len(data), chunk):
            session.receive_data(data[position : position + chunk], 1.0)
            session.events()
            session.data_to_send(100_000)
    except WireError as error:
        assert error.is_remote  # noqa: PT017  # not every input is an error
        assert session.data_to_send(1024)[0] == GOAWAY
        assert session.stream_count == 0


@given(st.lists(FRAMES, max_size=20), st.lists(st.integers(1, 100), min_size=1, max_size=50))
def test_chunking_changes_nothing(parts: list[bytes], cuts: list[int]) -> None:
    data = b"".join(parts)
    assert outcome([data]) == outcome(cut(data, cuts))


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    """The data in chunks of these sizes, over and over."""
    chunks, position = [], 0
    while position < len(data):
        for size in sizes:
            chunks.append(data[position : position + size])
            position += size
    return chunks


def outcome(chunks: list[bytes]) -> tuple[list[str], str]:
    """What a session says to these chunks: its events, and how it failed."""
    session = Session(opens=False)
    try:
        for chunk in chunks:
            session.receive_data(chunk, 1.0)
    except WireError as error:
        return [repr(event) for event in session.events()], str(error)
    return [repr(event) for event in session.events()], ""
