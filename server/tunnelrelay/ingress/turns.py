"""Fair turns between visitors: limits how many requests are read and begun in one turn of the loop, and orders them.

Each request that is begun costs the loop some 200 us until it is answered. While all come from one side, as many are
begun as have arrived, which is cheapest. As soon as two sides ask at once, each begins a few in a turn, and the rest
wait in line: a flood then takes more turns, and no longer ones, so that the other side waits for a few requests and not
for hundreds. Nothing is refused here, and the loop never rests while requests wait.

A side is an address and the endpoint it asked last on that connection. Of one address, whatever it asks, no more than
`MAX_OF_ADDRESS` are begun in a turn; this machine is no address here, as a proxy on it stands for many visitors.

Reading a request takes time even when it has to wait then. Of an address with many connections only a few are therefore
read in a millisecond while another side asks; what the others send waits in the kernel until theirs comes. That is the
one place where the loop rests although requests wait: such an address gets some 4,000 requests a second, and leaves the
processor to the others for the rest of the time.
"""

from collections.abc import Callable
from itertools import islice
from typing import Any

from tunnelctl.bounds import DeclaredBound
from tunnelctl.eventlog import EventLog
from tunnelrelay.ingress.interfaces import Visitor

log = EventLog("tunnelrelay.ingress")

MAX_BEGUN = 2
"""Requests of one side begun in one turn while another side asks, too: about 0.5 ms of work."""
MAX_OF_ADDRESS = 16
"""Requests of one address begun in one turn while another side asks, too."""
MAX_READ_AT_ONCE = 8
"""Connections of one address that are all read as soon as something arrives. Browsers open six."""
MAX_READ = 4
"""Connections of an address with more that begin to be read at once, every `READ_SECONDS`."""
READ_SECONDS = 0.001
MAX_PER_SECOND = round(MAX_READ / READ_SECONDS)
"""Reads of such an address in a second; with heads that come whole, requests."""
MIXED_SECONDS = 1.0
"""How long turns are shared after two sides asked at once."""

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
    """Queues requests and reads of visitors, and gives turns.

    Args:
        call_soon, call_later, now: The loop's.
        connections: How many connections an address has.
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
        self._shares_until = 0.0  # 0 while one side asks
        self._begun: dict[Side | str, int] = {}  # in this turn, by side and by address
        self._waiting: dict[Side, dict[Visitor, None]] = {}
        self._unread: dict[str, dict[Visitor, None]] = {}
        self._is_due = False
        self._is_read_due = False

    def take(self, visitor: Visitor) -> bool:
        """Whether the visitor's request may begin now. If not, its `take_turn` is called later."""
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
        """Whether the visitor may be read now for its next request. If not, its `read_turn` is called later."""
        if not self._shares_until or self._connections(visitor.connected_address) <= MAX_READ_AT_ONCE:
            return True
        self._unread.setdefault(visitor.connected_address, {})[visitor] = None
        self._read_later()
        return False

    def leave(self, visitor: Visitor) -> None:
        """Remove a waiting visitor that is gone."""
        _forget(self._waiting, _side(visitor), visitor)
        _forget(self._unread, visitor.connected_address, visitor)

    def _count(self, side: Side, address: str) -> bool:
        """Count one more in this turn; False when it is one too many."""
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
        """Begin a new turn with the waiting requests, one side after the other."""
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
            self._waiting[side] = self._waiting.pop(side)  # at the end of the line, if its address has too many sides

    def _read_some(self) -> None:
        """Read a few connections of each address that has more than are read at once."""
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
    """Call the visitor's turn; log its errors, so that the others get theirs."""
    try:
        turn()
    except Exception:
        log.exception("request failed", host=visitor.last_host)
