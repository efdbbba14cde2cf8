from tests.wire.pair import EARLY_HINTS, OK, REQUEST, Pair, data_in, frames_of
from tunnelctl.wire.errors import Code
from tunnelctl.wire.events import Opened, Writable
from tunnelctl.wire.frames import DATA, DATA_FIN, END_FIN, HEAD, OPEN_FIN, PING, RESET
from tunnelctl.wire.scheduler import HIGH_WATER, MAX_DIRECT, MAX_DIRECT_BESIDE, MAX_SMALL, QUANTUM
from tunnelctl.wire.session import Session
from tunnelctl.wire.stream import INITIAL_WINDOW, Stream

ALL = 1 << 30


def sent_by(session: Session, max_bytes: int = ALL) -> list[tuple[int, int, bytes]]:
    return list(frames_of(session.data_to_send(max_bytes)))


def two_answered() -> tuple[Pair, Stream, Stream]:
    pair = Pair()
    return pair, pair.answered()[1], pair.answered()[1]


def test_streams_take_turns_of_a_quantum() -> None:
    pair, first, second = two_answered()
    pair.agent.send_data(first, bytes(40_000))
    pair.agent.send_data(second, bytes(40_000))
    turns = [(number, len(payload)) for _, number, payload in sent_by(pair.agent)]
    assert [number for number, _ in turns[:4]] == [first.id, second.id, first.id, second.id]
    assert all(size <= QUANTUM for _, size in turns[:4])
    assert sum(size for _, size in turns) == 80_000


def test_a_stream_alone_sends_whole_payloads() -> None:
    pair = Pair()
    _, far = pair.answered()
    pair.agent.send_data(far, bytes(INITIAL_WINDOW))
    assert [len(payload) for *_, payload in sent_by(pair.agent)] == [INITIAL_WINDOW]


def test_fin_rides_on_the_last_data_and_only_there() -> None:
    pair, first, second = two_answered()
    pair.agent.send_data(first, bytes(40_000), fin=True)
    pair.agent.send_data(second, bytes(40_000))
    pair.agent.end(second)
    sent = sent_by(pair.agent)
    for stream in (first, second):
        kinds = [kind for kind, number, _ in sent if number == stream.id]
        assert kinds == [DATA] * (len(kinds) - 1) + [DATA_FIN]
    assert pair.agent.stream_count == 0


def test_trailers_follow_all_data() -> None:
    pair = Pair()
    _, far = pair.answered()
    pair.agent.send_data(far, bytes(20_000))
    pair.agent.end(far, b"Digest: x\r\n")
    assert [kind for kind, *_ in sent_by(pair.agent)] == [DATA, END_FIN]


def test_an_idle_streams_small_frames_pass_the_bulk_by() -> None:
    pair = Pair()
    _, bulk = pair.answered()
    _, small = pair.exchange()
    pair.agent.send_data(bulk, bytes(INITIAL_WINDOW))
    pair.agent.send_head(small, OK)
    pair.agent.send_data(small, b"hello", fin=True)
    assert [number for _, number, _ in sent_by(pair.agent)] == [small.id, small.id, bulk.id]


def test_small_frames_never_starve_the_streams_that_wait() -> None:
    pair = Pair()
    _, bulk = pair.answered()
    talkers = [pair.answered()[1] for _ in range(8)]
    pair.agent.send_data(bulk, bytes(INITIAL_WINDOW))
    for _ in range(10):
        for talker in talkers:
            pair.agent.send_data(talker, bytes(MAX_SMALL))
    sent = sent_by(pair.agent, 4 * MAX_DIRECT_BESIDE)
    assert bulk.id in {number for _, number, _ in sent}


def test_what_is_made_ready_at_once_is_bounded_and_the_rest_shows_as_queued() -> None:
    pair = Pair()
    _, far = pair.answered()
    for _ in range(100):
        pair.agent.send_data(far, bytes(1000))
    assert 100 * 1000 - MAX_DIRECT - MAX_SMALL <= far.queued < 100 * 1000


def test_dribbled_bytes_are_merged_while_they_wait() -> None:
    pair = Pair()
    near, far = pair.answered()
    pair.agent.send_data(far, bytes(INITIAL_WINDOW))
    for n in range(10_000):
        pair.agent.send_data(far, bytes([n % 256]), fin=n == 9999)
    assert far.queue is not None
    assert len(far.queue) == 2
    assert pair.read_all() == INITIAL_WINDOW + 10_000
    assert near.is_closed


def test_merging_keeps_the_bytes_that_are_already_cut() -> None:
    pair = Pair()
    near, far = pair.answered()
    pair.agent.send_data(far, b"a" * INITIAL_WINDOW)
    pair.agent.send_data(far, b"b" * 3000)
    pair.settle()
    pair.relay.consumed(near, INITIAL_WINDOW)
    pair.to_agent()
    assert len(sent_by(pair.agent, 1024 + 8)) == 1
    pair.agent.send_data(far, b"c" * 10, fin=True)
    rest = b"".join(payload for *_, payload in sent_by(pair.agent))
    assert rest == b"b" * (3000 - 1024) + b"c" * 10


def test_a_stream_without_credit_waits_outside_the_ring() -> None:
    pair = Pair()
    near, far = pair.answered()
    pair.agent.send_data(far, bytes(INITIAL_WINDOW + 1))
    pair.settle()
    assert far.queued == 1
    assert not pair.agent.has_data_to_send
    pair.relay.consumed(near, INITIAL_WINDOW)
    pair.to_agent()
    assert pair.agent.has_data_to_send
    assert [len(payload) for *_, payload in sent_by(pair.agent)] == [1]


def test_fin_needs_no_credit() -> None:
    pair = Pair()
    near, far = pair.answered()
    pair.agent.send_data(far, bytes(INITIAL_WINDOW))
    pair.agent.end(far)
    pair.settle()
    assert near.is_closed


def test_writable_is_told_once_the_queue_has_drained() -> None:
    pair = Pair()
    _, far = pair.answered()
    pair.agent.send_data(far, bytes(HIGH_WATER + INITIAL_WINDOW + 1))
    pair.settle()
    assert not any(isinstance(event, Writable) for event in pair.agent_heard)
    assert pair.read_all() == HIGH_WATER + INITIAL_WINDOW + 1
    assert [event for event in pair.agent_heard if isinstance(event, Writable)] == [Writable(far)]


def test_what_is_taken_keeps_to_max_bytes_and_every_frame_is_whole() -> None:
    pair, first, second = two_answered()
    for stream in (first, second):
        pair.agent.send_data(stream, bytes(MAX_SMALL))
        pair.agent.send_data(stream, bytes(INITIAL_WINDOW - MAX_SMALL), fin=True)
    pair.agent.ping(1.0)
    total = 0
    while pair.agent.has_data_to_send:
        data = pair.agent.data_to_send(5000)
        assert 0 < len(data) <= 5000
        total += sum(len(payload) for kind, _, payload in frames_of(data) if kind != PING)
    assert total == 2 * INITIAL_WINDOW


def test_a_frame_that_cannot_be_cut_goes_alone_even_when_it_is_larger() -> None:
    pair = Pair()
    pair.relay.open(REQUEST + bytes(50_000), fin=True)
    pair.relay.open(REQUEST, fin=True)
    assert [len(payload) > 50_000 for *_, payload in sent_by(pair.relay, 1024)] == [True]
    assert [len(payload) > 50_000 for *_, payload in sent_by(pair.relay, 1024)] == [False]


def test_a_large_head_waits_for_its_turn_and_stays_before_its_data() -> None:
    pair = Pair()
    _, bulk = pair.answered()
    _, far = pair.exchange()
    pair.agent.send_data(bulk, bytes(INITIAL_WINDOW))
    pair.agent.send_head(far, OK + bytes(30_000))
    pair.agent.send_data(far, b"body", fin=True)
    kinds = []
    while pair.agent.has_data_to_send:
        kinds += [(kind, number) for kind, number, _ in sent_by(pair.agent, 20_000)]
    assert [kind for kind, number in kinds if number == far.id] == [HEAD, DATA_FIN]


def test_interim_heads_stay_in_order_behind_queued_ones() -> None:
    pair = Pair()
    near, far = pair.exchange()
    pair.agent.send_head(far, EARLY_HINTS + bytes(10_000))
    pair.agent.send_head(far, OK)
    pair.agent.end(far)
    pair.settle()
    assert near.is_closed
    assert data_in(pair.relay_heard, near) == b""


def test_a_reset_never_overtakes_its_open_and_drops_what_is_queued() -> None:
    pair = Pair()
    stream = pair.relay.open(REQUEST, fin=False)
    pair.relay.send_data(stream, bytes(200_000))
    pair.relay.reset(stream, Code.CANCELLED)
    assert [kind & 0x3F for kind, *_ in sent_by(pair.relay)] == [OPEN_FIN & 0x3F, RESET]
    assert stream.queued == 0


def test_opens_are_never_queued_whatever_waits() -> None:
    pair = Pair()
    for _ in range(100):
        pair.relay.open(REQUEST + bytes(4000), fin=True)
    pair.settle()
    assert [event.stream.id for event in pair.agent_heard if isinstance(event, Opened)] == list(range(1, 101))
