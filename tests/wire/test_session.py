import pytest

from tests.wire.pair import EARLY_HINTS, OK, REQUEST, Pair, data_in, frames_of
from tunnelctl.wire.errors import Code, WireError
from tunnelctl.wire.events import (
    ControlReceived,
    DataReceived,
    Ended,
    GoAwayReceived,
    HeadReceived,
    Opened,
    PongReceived,
    WasReset,
)
from tunnelctl.wire.frames import CONTROL, DATA_FIN, GOAWAY, OPTIONAL, frame, pack_head
from tunnelctl.wire.messages import Unbind
from tunnelctl.wire.session import Session
from tunnelctl.wire.stream import INITIAL_WINDOW


def test_an_exchange_goes_through_and_leaves_nothing() -> None:
    pair = Pair()
    near, far = pair.exchange()
    assert pair.agent_heard == [Opened(far, REQUEST, True)]
    pair.agent.send_head(far, OK)
    pair.agent.send_data(far, b"hello", fin=True)
    pair.settle()
    assert pair.relay_heard == [HeadReceived(near, OK, False), DataReceived(near, b"hello", True)]
    assert near.is_closed
    assert far.is_closed
    assert pair.relay.stream_count == pair.agent.stream_count == 0


def test_a_response_without_a_body_is_one_frame() -> None:
    pair = Pair()
    near, far = pair.exchange()
    pair.agent.send_head(far, OK, fin=True)
    pair.settle()
    assert pair.relay_heard == [HeadReceived(near, OK, True)]
    assert pair.relay.stream_count == pair.agent.stream_count == 0


def test_interim_heads_come_before_the_final_one() -> None:
    pair = Pair()
    near, far = pair.exchange()
    pair.agent.send_head(far, EARLY_HINTS)
    pair.agent.send_head(far, EARLY_HINTS)
    pair.agent.send_head(far, OK, fin=True)
    pair.settle()
    assert [event.payload for event in pair.relay_heard if isinstance(event, HeadReceived)] == [
        EARLY_HINTS,
        EARLY_HINTS,
        OK,
    ]
    assert near.is_closed


def test_an_upgraded_stream_carries_bytes_both_ways() -> None:
    pair = Pair()
    near, far = pair.exchange(fin=False)
    pair.agent.send_head(far, pack_head(101, b"Upgrade: websocket\r\n"))
    pair.relay.send_data(near, b"ping")
    pair.agent.send_data(far, b"pong")
    pair.settle()
    assert data_in(pair.agent_heard, far) == b"ping"
    assert data_in(pair.relay_heard, near) == b"pong"


def test_trailers_come_apart_from_heads_in_both_directions() -> None:
    pair = Pair()
    near, far = pair.answered(fin=False)
    pair.relay.end(near, b"Digest: a\r\n")
    pair.agent.end(far, b"Digest: b\r\n")
    pair.settle()
    assert pair.agent_heard[-1] == Ended(far, b"Digest: a\r\n")
    assert pair.relay_heard[-1] == Ended(near, b"Digest: b\r\n")
    assert near.is_closed
    assert far.is_closed


def test_one_half_may_end_long_before_the_other() -> None:
    pair = Pair()
    near, far = pair.exchange(fin=False)
    pair.agent.send_head(far, OK, fin=True)
    pair.settle()
    assert not near.is_closed
    assert not far.is_closed
    pair.relay.send_data(near, b"still talking")
    pair.relay.end(near)
    pair.settle()
    assert data_in(pair.agent_heard, far) == b"still talking"
    assert near.is_closed
    assert far.is_closed


def test_a_stream_is_open_until_its_queue_is_empty() -> None:
    pair = Pair()
    _, far = pair.answered()
    pair.agent.send_data(far, bytes(INITIAL_WINDOW * 3), fin=True)
    assert not far.is_closed
    assert pair.agent.stream_count == 1
    assert pair.read_all() == INITIAL_WINDOW * 3
    assert pair.agent.stream_count == 0


def test_a_stopped_reader_stalls_only_its_own_stream() -> None:
    pair = Pair()
    stopped_near, stopped = pair.answered()
    near, far = pair.answered()
    pair.agent.send_data(stopped, bytes(10 << 20))
    pair.settle()
    pair.relay_heard.clear()
    assert stopped_near.unconsumed == INITIAL_WINDOW
    pair.agent.send_data(far, bytes(5 << 20), fin=True)
    assert pair.read_all() == 5 << 20
    assert near.is_closed
    assert stopped_near.unconsumed == INITIAL_WINDOW


def test_a_reset_tells_the_peer_and_frees_both_ends() -> None:
    pair = Pair()
    near, far = pair.answered(fin=False)
    pair.agent.send_data(far, bytes(1 << 20))
    pair.relay.reset(near, Code.CANCELLED, "the visitor left")
    pair.settle()
    assert pair.agent_heard[-1] == WasReset(far, Code.CANCELLED, "the visitor left")
    assert pair.relay.stream_count == pair.agent.stream_count == 0
    assert far.queued == 0


def test_resets_that_cross_are_no_violation() -> None:
    pair = Pair()
    near, far = pair.answered(fin=False)
    pair.relay.reset(near, Code.CANCELLED)
    pair.agent.reset(far, Code.UPSTREAM_BROKEN)
    pair.settle()
    assert not any(isinstance(event, WasReset) for event in pair.relay_heard + pair.agent_heard)


def test_late_frames_of_a_stream_we_reset_are_skipped() -> None:
    pair = Pair()
    near, far = pair.answered(fin=False)
    pair.agent.send_data(far, b"late", fin=True)
    pair.relay.reset(near, Code.CANCELLED)
    heard = list(pair.relay_heard)
    pair.settle()
    assert pair.relay_heard == heard


def test_commands_on_a_stream_the_peer_has_reset_do_nothing() -> None:
    pair = Pair()
    near, far = pair.answered(fin=False)
    pair.relay.send_data(near, b"12345")
    pair.to_agent()
    pair.relay.reset(near, Code.CANCELLED)
    pair.settle()
    pair.agent.send_data(far, b"x")
    pair.agent.end(far)
    pair.agent.consumed(far, 5)
    pair.agent.reset(far, Code.CANCELLED)
    assert not pair.agent.has_data_to_send


def test_frames_out_of_turn_are_our_callers_fault() -> None:
    pair = Pair()
    near, far = pair.exchange(fin=True)
    with pytest.raises(WireError) as caught:
        pair.agent.send_data(far, b"before the head")
    assert not caught.value.is_remote
    with pytest.raises(WireError):
        pair.relay.send_data(near, b"after fin")
    with pytest.raises(WireError):
        pair.agent.send_head(far, EARLY_HINTS, fin=True)
    pair.agent.send_head(far, OK)
    with pytest.raises(WireError):
        pair.agent.send_head(far, OK)


def test_more_cannot_be_consumed_than_came() -> None:
    pair = Pair()
    near, far = pair.answered()
    pair.agent.send_data(far, b"12345")
    pair.settle()
    with pytest.raises(WireError) as caught:
        pair.relay.consumed(near, 6)
    assert not caught.value.is_remote
    pair.relay.consumed(near, 5)


def test_a_payload_too_large_for_a_frame_is_our_callers_fault() -> None:
    pair = Pair()
    with pytest.raises(WireError) as caught:
        pair.relay.open(bytes(70_000), fin=True)
    assert not caught.value.is_remote
    assert pair.relay.stream_count == 0


def test_only_the_relay_opens_streams() -> None:
    pair = Pair()
    assert not pair.agent.can_open
    with pytest.raises(WireError):
        pair.agent.open(REQUEST, fin=True)


def test_streams_are_limited_and_free_when_they_end() -> None:
    pair = Pair()
    pair.relay.max_streams = 2
    _, far = pair.exchange()
    pair.exchange()
    assert not pair.relay.can_open
    pair.agent.send_head(far, OK, fin=True)
    pair.settle()
    assert pair.relay.can_open


def test_ids_ascend_from_one_and_are_never_used_again() -> None:
    pair = Pair()
    for number in range(1, 6):
        near, far = pair.exchange()
        assert near.id == far.id == number
        pair.agent.send_head(far, OK, fin=True)
        pair.settle()


def test_credit_goes_back_once_half_a_window_is_consumed() -> None:
    pair = Pair()
    near, far = pair.answered()
    pair.agent.send_data(far, bytes(INITIAL_WINDOW))
    pair.settle()
    pair.relay.consumed(near, INITIAL_WINDOW // 2 - 1)
    assert not pair.relay.has_data_to_send
    pair.relay.consumed(near, 1)
    pair.settle()
    assert far.credit == INITIAL_WINDOW // 2


def test_messages_and_pings_pass_between_users() -> None:
    pair = Pair()
    pair.agent.send_control(Unbind(tunnel=7))
    pair.agent.ping(pair.now)
    pair.now += 0.25
    pair.settle()
    assert pair.relay_heard == [ControlReceived(Unbind(tunnel=7))]
    assert pair.agent_heard == [PongReceived(0.25)]
    assert pair.agent.rtt == 0.25
    assert pair.relay.last_received == pair.now


def test_a_leaving_agent_ends_what_it_took_and_begins_nothing_more() -> None:
    pair = Pair()
    near, far = pair.exchange()
    crossing = pair.relay.open(REQUEST, fin=False)
    pair.relay.send_data(crossing, b"body")
    pair.agent.go_away(Code.NO_ERROR, "draining")
    pair.settle()
    assert pair.relay_heard == [
        GoAwayReceived(Code.NO_ERROR, far.id, "draining"),
        WasReset(crossing, Code.REFUSED, "draining"),
    ]
    assert not pair.relay.can_open
    assert pair.agent.stream_count == 1
    pair.agent.send_head(far, OK, fin=True)
    pair.settle()
    assert near.is_closed
    assert pair.relay.stream_count == 0


def test_going_away_twice_never_takes_more_streams() -> None:
    pair = Pair()
    pair.agent.go_away(Code.NO_ERROR)
    pair.relay.open(REQUEST, fin=True)
    pair.relay.open(REQUEST, fin=True)
    pair.to_agent()
    pair.agent.go_away(Code.SUPERSEDED)
    pair.settle()
    assert [event.last_stream for event in pair.relay_heard if isinstance(event, GoAwayReceived)] == [0, 0]
    assert pair.agent.stream_count == pair.relay.stream_count == 0


def test_a_leaving_relay_opens_nothing_and_ends_what_is_open() -> None:
    pair = Pair()
    near, far = pair.exchange()
    pair.relay.go_away(Code.NO_ERROR, "restarting")
    assert not pair.relay.can_open
    pair.settle()
    assert pair.agent_heard[-1] == GoAwayReceived(Code.NO_ERROR, 0, "restarting")
    pair.agent.send_head(far, OK, fin=True)
    pair.settle()
    assert near.is_closed


def test_unknown_kinds_are_skipped_if_their_sender_says_so() -> None:
    session = Session(opens=False)
    session.receive_data(frame(OPTIONAL | 40, 0, b"later") + frame(OPTIONAL | 41, 9, b""), 1.0)
    assert session.events() == []
    with pytest.raises(WireError):
        session.receive_data(frame(40, 0, b"later"), 1.0)


def test_an_unknown_message_is_skipped_if_its_sender_says_so() -> None:
    session = Session(opens=True)
    session.receive_data(frame(OPTIONAL | CONTROL, 0, b'{"type":"later"}'), 1.0)
    assert session.events() == []
    with pytest.raises(WireError):
        session.receive_data(frame(CONTROL, 0, b'{"type":"later"}'), 1.0)


def test_a_violation_leaves_just_a_go_away_and_the_streams_to_close() -> None:
    pair = Pair()
    near, _ = pair.answered(fin=False)
    pair.relay.send_data(near, bytes(100))
    with pytest.raises(WireError) as caught:
        pair.relay.receive_data(frame(63, 0), 2.0)
    pair.relay.receive_data(b"anything", 3.0)
    pair.relay.send_data(near, b"more")
    pair.relay.go_away(Code.NO_ERROR)
    assert pair.relay.error is caught.value
    assert not pair.relay.can_open
    assert [kind for kind, *_ in frames_of(pair.relay.data_to_send(1024))] == [GOAWAY]
    assert pair.relay.close() == (near,)
    assert pair.relay.close() == ()


def test_what_came_before_a_violation_is_still_told() -> None:
    pair = Pair()
    near, far = pair.answered()
    pair.agent.send_data(far, b"good", fin=True)
    data = pair.agent.data_to_send(1024)
    with pytest.raises(WireError):
        pair.relay.receive_data(data + frame(63, 0), 2.0)
    assert pair.relay.events() == [DataReceived(near, b"good", True)]


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_large_data_is_a_view_of_its_chunk_and_small_data_pins_nothing(kind: type) -> None:
    pair = Pair()
    pair.answered()
    chunk = frame(3, 1, bytes(40_000)) + frame(DATA_FIN, 1, b"tiny")
    pair.relay.receive_data(kind(chunk), 1.0)
    large, tiny = (event.data for event in pair.relay.events() if isinstance(event, DataReceived))
    assert isinstance(large, memoryview)
    assert large.readonly
    assert isinstance(tiny, bytes)
