"""Fair scheduling of visitors' requests: limits how many are read and begun in one turn of the event loop.

A request costs the event loop some 200 us until it is answered. While all requests come from one side, all that have
arrived are begun, which is cheapest. When two sides send requests at once, a few of each side are begun per turn, and
the rest wait in a queue: a flood then takes more turns, not longer ones, so that the other side waits for a few
requests and not for hundreds. No request is refused here, and the loop never idles while requests wait in a queue.

A side is a client address with the endpoint of the last request on the connection. In addition, at most
`MAX_OF_ADDRESS` requests of one address are begun per turn. Loopback addresses are exempt, as a proxy on this machine
stands for many visitors.

Reading a request costs time too, even when the request then waits. So of an address with many connections only a few
are read per millisecond while another side sends requests; the bytes of the others wait in the kernel. Only here can
the loop idle while requests wait: such an address gets some 4,000 requests a second, and leaves the rest of the
processor to others.
"""

from collections.abc import Callable
from itertools import islice
from typing import Any

from tunnelctl.bounds import DeclaredBound
from tunnelctl.eventlog import EventLog
from tunnelrelay.ingress.interfaces import Visitor

log = EventLog("tunnelrelay.ingress")

MAX_BEGUN = 2
"""Requests of one side (an address at one endpoint) that are begun per turn of the event loop while another side has
requests too: about 0.5 ms of work."""
MAX_OF_ADDRESS = 16
"""Requests of one address at all endpoints that are begun per turn of the event loop while others have requests too."""
MAX_READ_AT_ONCE = 8
"""An address with at most this many connections is always read at once. Browsers open six."""
MAX_READ = 4
"""Connections of an address with more than `MAX_READ_AT_ONCE` that are read every `READ_SECONDS`."""
READ_SECONDS = 0.001
MAX_PER_SECOND = round(MAX_READ / READ_SECONDS)
"""Reads per second of an address with more than `MAX_READ_AT_ONCE` connections; mostly one read is one request."""
MIXED_SECONDS = 1.0
"""Seconds for which the limits per turn of the event loop apply after two sides (addresses at an endpoint) have sent
requests at once."""

BOUNDS = (
    DeclaredBound(
        name="visitors whose next request waits for its turn",
        limit=1,
        unit="requests",
        per="visitor connection",
        when_full="the connection's later requests stay unread",
        worst_bytes=100,
        holds=("Turns._waiting", "Turns._unread", "Turns._begun"),
    ),
    DeclaredBound(
        name="requests read of an address with more than eight connections, while others ask",
        limit=MAX_PER_SECOND,
        unit="a second",
        per="address",
        when_full="what it sends waits in the kernel",
        worst_bytes=0,
    ),
)

Side = tuple[str, str]


class Turns:
    """Queues visitors' requests and reads, and calls each visitor when its turn comes.

    Args:
        call_soon, call_later, now: `call_soon`, `call_later` and `time` of the event loop.
        connections: Returns how many connections an address has.
    """

    def __init__(
        self,
        call_soon: Callable[[Callable[[], None]], Any],
        call_later: Callable[[float, Callable[[], None]], Any],
        now: Callable[[], float],
        connections: Callable[[str], int],
    ) -> None:
        self._call_soon = call_soon
        self._call_later = call_later
        self._now = now
        self._connections = connections
        self._latest: Side = ("", "")
        self._shares_until = 0.0  # 0 while only one side has requests
        self._begun: dict[Side | str, int] = {}  # in this turn, by side and by address
        self._waiting: dict[Side, dict[Visitor, None]] = {}
        self._unread: dict[str, dict[Visitor, None]] = {}
        self._is_due = False
        self._is_read_due = False

    def take(self, visitor: Visitor) -> bool:
        """Whether the visitor's request may begin now. If not, the visitor's `take_turn` is called later."""
        side = _side(visitor)
        if side != self._latest:
            self._latest = side
            self._shares_until = self._now() + MIXED_SECONDS
        elif not self._shares_until:
            return True
        if side not in self._waiting and self._count(side, visitor.address):
            return True
        self._waiting.setdefault(side, {})[visitor] = None
        return False

    def read(self, visitor: Visitor) -> bool:
        """Whether the visitor's connection may be read now. If not, the visitor's `read_turn` is called later."""
        if not self._shares_until or self._connections(visitor.connected_address) <= MAX_READ_AT_ONCE:
            return True
        self._unread.setdefault(visitor.connected_address, {})[visitor] = None
        self._read_later()
        return False

    def leave(self, visitor: Visitor) -> None:
        """Remove a visitor that has left from the queues."""
        _forget(self._waiting, _side(visitor), visitor)
        _forget(self._unread, visitor.connected_address, visitor)

    def _count(self, side: Side, address: str) -> bool:
        """Count one more request of a side and an address in this turn. False when it is one too many."""
        begun = self._begun
        count, of_address = begun.get(side, 0), begun.get(address, 0) if address else 0
        if count >= MAX_BEGUN or of_address >= MAX_OF_ADDRESS:
            return False
        begun[side] = count + 1
        if address:
            begun[address] = of_address + 1
        self._begin_soon()
        return True

    def _begin_soon(self) -> None:
        if not self._is_due:
            self._is_due = True
            self._call_soon(self._begin_turn)

    def _begin_turn(self) -> None:
        """Start a new turn: begin waiting requests, one side after the other."""
        self._is_due = False
        self._begun.clear()
        for side in list(self._waiting):
            self._begin_some(side)
        if self._shares_until and not self._waiting and self._now() > self._shares_until:
            self._shares_until = 0.0

    def _begin_some(self, side: Side) -> None:
        while (line := self._waiting.get(side)) and self._count(side, (visitor := next(iter(line))).address):
            _forget(self._waiting, side, visitor)
            _give_turn(visitor, visitor.take_turn)
        if line:
            self._waiting[side] = self._waiting.pop(side)  # to the end of the queue, as its address may have many sides

    def _read_some(self) -> None:
        """Let `MAX_READ` waiting connections of each address be read."""
        self._is_read_due = False
        for address, line in list(self._unread.items()):
            for visitor in list(islice(line, MAX_READ)):
                _forget(self._unread, address, visitor)
                _give_turn(visitor, visitor.read_turn)
        if self._unread:
            self._read_later()

    def _read_later(self) -> None:
        if not self._is_read_due:
            self._is_read_due = True
            self._call_later(READ_SECONDS, self._read_some)


def _forget(lines: dict[Any, dict[Visitor, None]], key: Any, visitor: Visitor) -> None:
    line = lines.get(key)
    if line is not None:
        line.pop(visitor, None)
        if not line:
            del lines[key]


def _side(visitor: Visitor) -> Side:
    return visitor.peer.host, visitor.last_host


def _give_turn(visitor: Visitor, turn: Callable[[], None]) -> None:
    """Call a visitor's callback; an error is logged, so that the other visitors get their turn."""
    try:
        turn()
    except Exception:
        log.exception("request failed", host=visitor.last_host)
