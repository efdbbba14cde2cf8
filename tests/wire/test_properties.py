"""Two sessions, bytes under way in both directions, and a user at each end who does anything that is allowed."""

from dataclasses import dataclass, field

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.wire.pair import EARLY_HINTS, OK, REQUEST
from tunnelctl.wire.errors import Code
from tunnelctl.wire.events import (
    AboutReceived,
    DataReceived,
    Ended,
    GoAwayReceived,
    HeadReceived,
    Opened,
    PongReceived,
    WasReset,
)
from tunnelctl.wire.limits import Limits
from tunnelctl.wire.session import Session
from tunnelctl.wire.stream import ENDED, FLOWING, HEAD_DUE, INITIAL_WINDOW, Stream
from tunnelctl.wire.window import Budget

SIZES = st.one_of(st.integers(1, 50), st.sampled_from([4096, 4097, 16_384, 65_536, 70_000, 300_000]))
PICK = st.integers(0, 1000)
GROWTH = 512 * 1024


@dataclass
class Half:
    """One direction of one stream, as its two users know it."""

    sent: bytearray = field(default_factory=bytearray)
    heard: bytearray = field(default_factory=bytearray)
    unconsumed: int = 0
    heads_sent: int = 0
    heads_heard: int = 0
    ended: bool = False
    heard_end: bool = False


@dataclass
class End:
    """One session, its user's streams, what it has put on the way, and how many of its PINGs went unanswered."""

    session: Session
    streams: dict[int, Stream] = field(default_factory=dict)
    sends: dict[int, Half] = field(default_factory=dict)
    on_the_way: bytearray = field(default_factory=bytearray)
    pings: int = 0


class TwoSessions(RuleBasedStateMachine):
    """Nothing here may raise; what arrives is compared with what was sent."""

    @initialize()
    def start(self) -> None:
        self.relay_wide = Budget(GROWTH)
        limits = Limits(max_streams=6)
        self.relay = End(Session(opens=True, limits=limits, budget=self.relay_wide))
        self.agent = End(Session(opens=False, limits=limits))
        self.ends = (self.relay, self.agent)
        self.reset: set[int] = set()
        self.refused: set[int] = set()
        self.dropped: set[int] = set()
        self.told: dict[int, bytes] = {}
        self.heard_about: dict[int, bytes] = {}
        self.now = 1.0
        self.seed = 0
        self.most_grown = 0
        self.measure_round_trip()

    def measure_round_trip(self) -> None:
        """Windows grow only when it is known."""
        for end in self.ends:
            end.session.ping(self.now)
            end.pings += 1
        for _ in range(2):
            self.flush(True, 1024)
            self.flush(False, 1024)
            self.deliver(True, 1024, 0.05, bytes)
            self.deliver(False, 1024, 0.05, bytes)

    def far(self, end: End) -> End:
        return self.agent if end is self.relay else self.relay

    def pick(self, end: End, n: int, state: int) -> Stream | None:
        able = [stream for stream in end.streams.values() if stream.sending == state]
        return able[n % len(able)] if able else None

    def noise(self, size: int) -> bytes:
        """Bytes that show any loss, doubling or change of order."""
        self.seed += 1
        return (self.seed.to_bytes(4, "big") * (size // 4 + 1))[:size]

    @precondition(lambda self: self.relay.session.can_open)
    @rule(
        fin=st.booleans(),
        extra=st.sampled_from([0, 0, 0, 5000, 60_000]),
        about=st.one_of(st.none(), st.binary(max_size=5000)),
    )
    def open(self, fin: bool, extra: int, about: bytes | None) -> None:
        stream = self.relay.session.open(REQUEST + bytes(extra), fin=fin)
        if about is not None:
            self.relay.session.send_about(stream, about)
            self.told[stream.id] = about
        self.relay.streams[stream.id] = stream
        self.relay.sends[stream.id] = Half(ended=fin)
        self.agent.sends[stream.id] = Half()

    @rule(n=PICK, interim=st.booleans(), fin=st.booleans())
    def answer(self, n: int, interim: bool, fin: bool) -> None:
        stream = self.pick(self.agent, n, HEAD_DUE)
        if stream is None:
            return
        self.agent.session.send_head(stream, EARLY_HINTS if interim else OK, fin=fin and not interim)
        half = self.agent.sends[stream.id]
        half.heads_sent += 1
        half.ended = fin and not interim

    @rule(from_agent=st.booleans(), n=PICK, size=SIZES, fin=st.booleans(), view=st.booleans())
    def send(self, from_agent: bool, n: int, size: int, fin: bool, view: bool) -> None:
        end = self.agent if from_agent else self.relay
        stream = self.pick(end, n, FLOWING)
        if stream is None:
            return
        data = self.noise(size)
        end.session.send_data(stream, memoryview(data) if view else data, fin=fin)
        end.sends[stream.id].sent += data
        end.sends[stream.id].ended = fin

    @rule(n=PICK, rounds=st.integers(1, 12))
    def download(self, n: int, rounds: int) -> None:
        """A user who reads fast: what makes a window grow."""
        if self.pick(self.agent, n, FLOWING) is None:
            self.begin()
        stream = self.pick(self.agent, n, FLOWING)
        for _ in range(rounds):
            if stream is not None and stream.sending == FLOWING and stream.queued < 300_000:
                data = self.noise(300_000)
                self.agent.session.send_data(stream, data)
                self.agent.sends[stream.id].sent += data
            self.round_trip(n)

    def begin(self) -> None:
        """Open a stream and have it answered, if that can be done now."""
        if self.relay.session.can_open:
            self.open(fin=True, extra=0, about=None)
            self.round_trip(0)
            self.answer(0, interim=False, fin=False)

    def round_trip(self, n: int) -> None:
        """Some bytes to the relay, whose user consumes one stream's, and some back."""
        self.flush(True, 262_144)
        self.deliver(False, 1 << 20, 0.01, bytes)
        self.consume(False, n, 1)
        self.flush(False, 262_144)
        self.deliver(True, 1 << 20, 0.01, bytes)

    @rule(from_agent=st.booleans(), n=PICK, trailers=st.sampled_from([b"", b"Digest: x\r\n"]))
    def finish(self, from_agent: bool, n: int, trailers: bytes) -> None:
        end = self.agent if from_agent else self.relay
        stream = self.pick(end, n, FLOWING)
        if stream is not None:
            end.session.end(stream, trailers)
            end.sends[stream.id].ended = True

    @rule(from_agent=st.booleans(), n=PICK)
    def abort(self, from_agent: bool, n: int) -> None:
        end = self.agent if from_agent else self.relay
        alive = list(end.streams.values())
        if alive and n % 3 == 0:
            stream = alive[n % len(alive)]
            (self.dropped if stream.is_closed else self.reset).add(stream.id)
            end.session.reset(stream, Code.CANCELLED, "changed its mind")

    @rule(at_agent=st.booleans(), n=PICK, part=st.integers(1, 4))
    def consume(self, at_agent: bool, n: int, part: int) -> None:
        end = self.agent if at_agent else self.relay
        waiting = [number for number, half in self.far(end).sends.items() if half.unconsumed and number in end.streams]
        if waiting:
            self.consume_from(end, waiting[n % len(waiting)], part)

    def consume_from(self, end: End, number: int, part: int) -> None:
        half = self.far(end).sends[number]
        n = max(1, half.unconsumed // part)
        half.unconsumed -= n
        end.session.consumed(end.streams[number], n)

    @rule(from_agent=st.booleans(), max_bytes=st.sampled_from([1024, 5000, 66_000, 262_144]))
    def flush(self, from_agent: bool, max_bytes: int) -> None:
        end = self.agent if from_agent else self.relay
        end.on_the_way += end.session.data_to_send(max_bytes)
        end.session.events()

    @rule(
        to_agent=st.booleans(),
        size=st.one_of(st.integers(1, 20), st.sampled_from([1000, 66_000, 1 << 20])),
        seconds=st.sampled_from([0.0, 0.001, 0.1]),
        kind=st.sampled_from([bytes, bytearray, memoryview]),
    )
    def deliver(self, to_agent: bool, size: int, seconds: float, kind: type) -> None:
        self.now += seconds
        near = self.agent if to_agent else self.relay
        far = self.far(near)
        chunk = bytes(far.on_the_way[:size])
        del far.on_the_way[:size]
        near.session.receive_data(kind(chunk), self.now)
        for event in near.session.events():
            self.hear(near, event)

    def hear(self, near: End, event: object) -> None:
        sends = self.far(near).sends
        match event:
            case Opened(stream=stream, fin=fin):
                near.streams[stream.id] = stream
                sends[stream.id].heard_end = fin
            case AboutReceived(stream=stream, payload=payload):
                assert near is self.agent
                assert not sends[stream.id].heard
                self.heard_about[stream.id] = payload
            case HeadReceived(stream=stream, fin=fin):
                sends[stream.id].heads_heard += 1
                sends[stream.id].heard_end = fin
            case DataReceived(stream=stream, data=data, fin=fin):
                half = sends[stream.id]
                assert not half.heard_end
                half.heard += data
                half.unconsumed += len(data)
                half.heard_end = fin
            case Ended(stream=stream):
                assert not sends[stream.id].heard_end
                sends[stream.id].heard_end = True
            case WasReset(stream=stream, code=Code.REFUSED):
                self.refused.add(stream.id)
            case WasReset(stream=stream):
                assert stream.id in self.reset
            case PongReceived():
                near.pings -= 1
            case GoAwayReceived():
                pass
            case _:
                raise AssertionError(event)

    @rule(from_agent=st.booleans())
    def ping(self, from_agent: bool) -> None:
        end = self.agent if from_agent else self.relay
        if end.pings < 3:
            end.session.ping(self.now)
            end.pings += 1

    @precondition(lambda self: self.seed > 20)
    @rule(from_agent=st.booleans())
    def leave(self, from_agent: bool) -> None:
        (self.agent if from_agent else self.relay).session.go_away(Code.NO_ERROR, "draining")

    @invariant()
    def what_was_heard_is_a_prefix_of_what_was_sent(self) -> None:
        for end in self.ends:
            for half in end.sends.values():
                assert half.sent.startswith(half.heard)
                assert half.heads_heard <= half.heads_sent
                assert half.ended or not half.heard_end
                assert not half.heard_end or half.sent == half.heard

    @invariant()
    def what_was_heard_about_a_stream_was_told_about_it(self) -> None:
        assert self.heard_about.items() <= self.told.items()

    @invariant()
    def no_receiver_holds_more_than_its_window(self) -> None:
        for end in self.ends:
            for number, stream in end.streams.items():
                if number not in self.reset | self.refused | self.dropped:
                    assert stream.unconsumed == self.far(end).sends[number].unconsumed <= stream.window
                    assert stream.credit >= 0
                    assert stream.left >= 0 or stream.receiving == ENDED

    @invariant()
    def the_budget_holds_exactly_what_windows_have_grown(self) -> None:
        grown = sum(stream.window - INITIAL_WINDOW for stream in self.relay.streams.values())
        assert self.relay_wide.used == grown <= GROWTH
        self.most_grown = max(grown, self.most_grown)

    def teardown(self) -> None:
        """Finish everything: all bytes arrive, and nothing is left of streams or budget."""
        if not hasattr(self, "ends"):
            return
        for end in self.ends:
            for stream in end.streams.values():
                self.finish_stream(end, stream)
        self.settle()
        for stream in self.agent.streams.values():
            self.finish_stream(self.agent, stream)
        self.settle()
        for end in self.ends:
            for number, half in end.sends.items():
                if number not in self.reset | self.refused:
                    assert half.heard == half.sent
                    assert half.heard_end
                    assert half.heads_heard == half.heads_sent
            assert end.session.stream_count == 0
            assert not end.session.has_data_to_send
        assert self.relay_wide.used == 0
        lost = self.told.keys() - self.heard_about.keys()
        assert lost <= self.reset | self.refused

    def finish_stream(self, end: End, stream: Stream) -> None:
        half = end.sends[stream.id]
        if stream.sending == HEAD_DUE:
            end.session.send_head(stream, OK)
            half.heads_sent += 1
        if stream.sending == FLOWING:
            end.session.end(stream)
            half.ended = True

    def settle(self) -> None:
        """Send, deliver and consume until everything is quiet."""
        for _ in range(2000):
            for end in self.ends:
                end.on_the_way += end.session.data_to_send(262_144)
                end.session.events()
            self.deliver(True, 1 << 22, 0.001, bytes)
            self.deliver(False, 1 << 22, 0.001, bytes)
            for end in self.ends:
                for number, half in self.far(end).sends.items():
                    if half.unconsumed and number in end.streams:
                        self.consume_from(end, number, 1)
            if not any(end.session.has_data_to_send or end.on_the_way for end in self.ends):
                return
        raise AssertionError("the sessions never come to rest")


TestTwoSessions = TwoSessions.TestCase
TestTwoSessions.settings = settings(
    max_examples=60, stateful_step_count=60, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
