"""What the far end of a link sends, in any chunks."""

from tests.fuzz.targets_http import check
from tests.wire.pair import REQUEST
from tunnelctl.wire.errors import Code, WireError
from tunnelctl.wire.events import DataReceived, Event
from tunnelctl.wire.frames import GOAWAY, HEADER, HEADER_SIZE
from tunnelctl.wire.limits import Limits
from tunnelctl.wire.session import Session
from tunnelctl.wire.stream import INITIAL_WINDOW

LIMITS = Limits(max_streams=4)


def from_relay(data: bytes) -> None:
    """Row 120: an agent's session reads bytes of a relay."""
    assert_read_in_any_chunks(data, opens=False)


def from_agent(data: bytes) -> None:
    """Row 120: a relay's session, with two streams open, reads bytes of an agent."""
    assert_read_in_any_chunks(data, opens=True)


def assert_read_in_any_chunks(data: bytes, *, opens: bool) -> None:
    """Events or a WireError of the peer's, the same in one chunk and in many; then a GOAWAY and nothing more."""
    whole = heard([data], opens)
    size = 1 + (data[-1] if data else 0)
    assert heard([data[at : at + size] for at in range(0, len(data), size)], opens) == whole


def heard(chunks: list[bytes], opens: bool) -> tuple[list[object], Code | None]:
    session = Session(opens=opens, limits=LIMITS)
    if opens:
        session.open(REQUEST, fin=True)
        session.open(REQUEST, fin=False)
    session.data_to_send(1 << 20)
    events: list[Event] = []
    for chunk in chunks:
        try:
            session.receive_data(chunk, 1.0)
        except WireError as error:
            check(error.is_remote and session.stream_count == 0, error)
            check(is_goodbye(session.data_to_send(1 << 20)), error)
            return [plain(event) for event in events + session.events()], error.code
        events += session.events()
    taken = sum(len(event.data) for event in events if isinstance(event, DataReceived))
    assert taken <= INITIAL_WINDOW * (LIMITS.max_streams + len(events))
    return [plain(event) for event in events], None


def is_goodbye(sent: bytes) -> bool:
    """Whether these bytes are one GOAWAY."""
    word, _number = HEADER.unpack_from(sent)
    return word >> 24 == GOAWAY and len(sent) == HEADER_SIZE + (word & 0xFFFFFF)


def plain(event: Event) -> object:
    """An event to compare: streams by number, views as bytes."""
    values = []
    for name in event.__struct_fields__:
        value = getattr(event, name)
        values.append(value.id if name == "stream" else bytes(value) if isinstance(value, memoryview) else value)
    return (type(event).__name__, *values)


TARGETS = (from_relay, from_agent)
