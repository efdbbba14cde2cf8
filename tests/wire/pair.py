"""Two sessions and the bytes between them: what tests of the wire are written with."""

from collections.abc import Iterator

from tunnelctl.wire.events import DataReceived, Event, Opened
from tunnelctl.wire.frames import HEADER, HEADER_SIZE, LENGTH_MASK, MAX_PAYLOAD, pack_head, pack_open
from tunnelctl.wire.limits import Limits
from tunnelctl.wire.session import Session
from tunnelctl.wire.stream import Stream
from tunnelctl.wire.window import Budget

REQUEST = pack_open(1, 0, 0, b"GET / HTTP/1.1\r\nHost: demo\r\n")
OK = pack_head(200, b"Server: app\r\n")
EARLY_HINTS = pack_head(103, b"Link: </a.css>\r\n")
MESSAGE = 256 * 1024


class Pair:
    """A relay's session and an agent's, the clock they share, and what each has heard."""

    def __init__(
        self, *, relay: Limits | None = None, agent: Limits | None = None, budget: Budget | None = None
    ) -> None:
        self.relay = Session(opens=True, limits=relay, budget=budget)
        self.agent = Session(opens=False, limits=agent)
        self.now = 1.0
        self.relay_heard: list[Event] = []
        self.agent_heard: list[Event] = []

    def to_agent(self) -> None:
        """Bring over everything the relay may send."""
        while self.relay.has_data_to_send:
            self.agent.receive_data(self.relay.data_to_send(MESSAGE), self.now)
        self.agent_heard += self.agent.events()

    def to_relay(self) -> None:
        """Bring over everything the agent may send."""
        while self.agent.has_data_to_send:
            self.relay.receive_data(self.agent.data_to_send(MESSAGE), self.now)
        self.relay_heard += self.relay.events()

    def settle(self) -> None:
        """Bring bytes over in both directions until both are quiet."""
        while self.relay.has_data_to_send or self.agent.has_data_to_send:
            self.to_agent()
            self.to_relay()
        self.relay_heard += self.relay.events()
        self.agent_heard += self.agent.events()

    def exchange(self, *, fin: bool = True) -> tuple[Stream, Stream]:
        """Open a stream. Returns the relay's view of it and the agent's."""
        near = self.relay.open(REQUEST, fin=fin)
        self.settle()
        opened = self.agent_heard[-1]
        assert isinstance(opened, Opened)
        return near, opened.stream

    def answered(self, *, fin: bool = True) -> tuple[Stream, Stream]:
        """Open a stream whose final head has come."""
        near, far = self.exchange(fin=fin)
        self.agent.send_head(far, OK)
        self.settle()
        return near, far

    def read_all(self, *, rtt: float = 0.0) -> int:
        """Let the relay's user consume whatever arrives until nothing more does. Returns how many bytes."""
        total = 0
        while True:
            self.now += rtt
            self.settle()
            arrived = [event for event in self.relay_heard if isinstance(event, DataReceived)]
            self.relay_heard = [event for event in self.relay_heard if not isinstance(event, DataReceived)]
            if not arrived:
                return total
            for event in arrived:
                total += len(event.data)
                self.relay.consumed(event.stream, len(event.data))


def frames_of(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(first byte, stream id, payload) of every frame. Fails when the last one is cut."""
    position = 0
    while position < len(data):
        word, number = HEADER.unpack_from(data, position)
        position += HEADER_SIZE + (word & LENGTH_MASK)
        assert word & LENGTH_MASK <= MAX_PAYLOAD
        assert position <= len(data)
        yield word >> 24, number, data[position - (word & LENGTH_MASK) : position]


def data_in(events: list[Event], stream: Stream) -> bytes:
    """All bytes of DATA that came for the stream."""
    return b"".join(event.data for event in events if isinstance(event, DataReceived) and event.stream is stream)
