"""Carries one exchange over a tunnel: the visitor's request into a stream, and the stream's response to the visitor."""

from tunnelctl.eventlog import EventLog
from tunnelctl.http1.body import Field
from tunnelctl.http1.errors import HttpError
from tunnelctl.http1.fields import from_lines, to_lines
from tunnelctl.http1.head import RequestHead
from tunnelctl.wire.errors import Code
from tunnelctl.wire.frames import BODY_CHUNKED, BODY_LENGTH, BODY_NONE, TYPE_EXCHANGE, TYPE_UPGRADE, pack_open
from tunnelctl.wire.stream import Stream
from tunnelrelay.ingress.clear_site_data import before
from tunnelrelay.ingress.ingress import Ingress
from tunnelrelay.ingress.interfaces import Answering
from tunnelrelay.ingress.responses import MAX_INTERIM, OPAQUE, Framing, final, interim, read_head
from tunnelrelay.ingress.route import is_probe
from tunnelrelay.policy.headers import request_block, request_trailers, response_trailers
from tunnelrelay.policy.rules import Policy
from tunnelrelay.registry.tunnel import Tunnel

log = EventLog("tunnelrelay.ingress")

MAX_JOINED = 4096
"""Bytes up to which it is cheaper to join pieces of a body than to write them one by one."""
QUEUE_HIGH = 256 * 1024
"""Bytes of a request's body that wait for the agent's credit, above which the visitor is not read any more."""
ERROR_OF = {
    Code.UPSTREAM_UNREACHABLE: "upstream_unreachable",
    Code.UPSTREAM_BROKEN: "upstream_broken",
    Code.UPSTREAM_TIMEOUT: "upstream_timeout",
    Code.HEARTBEAT: "agent_lost",
}
_MAY_REPEAT = (b"GET", b"HEAD", b"OPTIONS")


class Forward:
    """Carries one exchange on one stream of a tunnel's link: `Exchange` sends the request, the link calls `on_…`.

    Attributes:
        has_answered: Whether the response has begun.
    """

    is_for_a_page = False
    __slots__ = (
        "_connection",
        "_exchange",
        "_framing",
        "_has_ended",
        "_has_sent",
        "_head",
        "_ingress",
        "_interims",
        "_is_over",
        "_is_write_due",
        "_owed",
        "_pieces",
        "_policy",
        "_stream",
        "_tunnel",
        "has_answered",
    )

    def __init__(self, ingress: Ingress, exchange: Answering, tunnel: Tunnel, policy: Policy) -> None:
        self._ingress = ingress
        self._exchange = exchange
        self._connection = exchange.connection
        self._tunnel = tunnel
        self._policy = policy
        self._framing: Framing | None = None
        self._has_ended = False
        self._head = b""  # written together with the body of the same turn, as each write is a system call
        self._has_sent = False  # whether some of the body, or its end, is in the stream already
        self._interims = 0
        self._is_write_due = False
        self._pieces: list[bytes | memoryview] = []  # small pieces of this turn, which are written together
        self._owed = 0
        self._is_over = False
        self._stream: Stream
        self.has_answered = False

    def start(self, head: RequestHead, *, forwarded: bytes, identity: bytes, spent: frozenset[bytes]) -> None:
        """Open the stream with the request's head, rewritten for the upstream.

        Args:
            forwarded, identity, spent: See `policy.headers.request_block`.
        """
        policy, forged = self._policy, self._ingress.forged
        block = request_block(
            head,
            forwarded=forwarded,
            identity=identity,
            policy=policy,
            upgrade=head.upgrade,
            spent=spent,
            forged=forged,
            origin=b"" if policy.own is None else self._ingress.hosts[self._exchange.host].origin,
        )
        if forged:
            self._exchange.note_forged()
        if head.is_chunked:
            framing, block = BODY_CHUNKED, block + b"Transfer-Encoding: chunked\r\n"
        elif head.content_length or (head.content_length == 0 and head.method != b"GET"):
            framing, block = BODY_LENGTH, block + b"Content-Length: %d\r\n" % head.content_length
        else:
            framing = BODY_NONE
        kind = TYPE_UPGRADE if head.upgrade else TYPE_EXCHANGE
        fin = not head.has_body and not head.upgrade
        self._has_ended = fin
        payload = pack_open(self._tunnel.number, kind, framing, block)
        link = self._tunnel.link
        self._stream = link.open(payload, owner=self, fin=fin)
        if self._tunnel.inspect:
            link.send_about(self._stream, self._exchange.about())

    # From the exchange

    def send(self, data: bytes | memoryview, fin: bool) -> None:
        """Send a piece of the request's body, or of an upgraded connection, to the agent."""
        if self._stream.is_closed:
            return
        self._has_sent = True
        self._tunnel.link.send_data(self._stream, data, fin)
        if self._stream.queued > QUEUE_HIGH:
            self._connection.hold_reading()

    def end(self, trailers: list[Field]) -> None:
        """End the request's body. Trailer fields are filtered like header fields."""
        self._has_sent = self._has_ended = True
        if not self._stream.is_closed:
            sent = request_trailers(self._exchange.head, trailers, policy=self._policy) if trailers else trailers
            self._tunnel.link.end(self._stream, to_lines(sent))

    def backlog(self) -> int:
        """Return how many bytes of the request's body wait for the agent's credit."""
        return self._stream.queued

    def cancel(self) -> None:
        """Reset the stream, as the exchange has ended."""
        if not self._is_over:
            self._is_over = True
            self._tunnel.link.reset(self._stream, Code.CANCELLED)

    def drained(self) -> None:
        """Give the agent credit for the bytes of the response that the visitor has read."""
        owed, self._owed = self._owed, 0
        if owed:
            self._tunnel.link.consumed(self._stream, owed)

    # From the link

    def on_head(self, payload: bytes, fin: bool) -> None:
        """Process a response head of the agent, interim or final."""
        exchange = self._exchange
        request = exchange.head
        try:
            head = read_head(payload[0] << 8 | payload[1], payload[2:])
            if head.status < 200 and head.status != 101:
                self._interim(interim(head, request, self._policy, *self._ingress.hosts[exchange.host]))
                return
            if head.status == 101 and not request.upgrade:
                raise HttpError("agent_bad_response", "it switched protocols unasked")
            framing = self._framing = Framing(request, head, fin=fin)
            if request.expects_continue and not self._has_ended:
                # The visitor may still send its body or not: its next bytes may be a body or a head.
                framing.keeps_alive = False
            exchange.status = head.status
            self.has_answered = True
            exchange.answer_began()
            self._head = final(head, request, framing, self._policy, *self._ingress.hosts[exchange.host])
            if self._ingress.endpoint_hsts and framing.mode != OPAQUE:
                # After the app's own field, which wins (RFC 6797 section 8.1: the first one counts).
                self._head = self._head[:-2] + self._ingress.endpoint_hsts + b"\r\n"
            endpoint = exchange.endpoint
            if endpoint is not None and framing.mode != OPAQUE:
                if endpoint.generation > 1:
                    self._head = before(self._head, exchange.clear_site_data_lines(head))
                if endpoint.is_sticky:
                    self._head = before(self._head, self._ingress.sticky.lines(request, self._tunnel))
            if not self._tunnel.health.is_good and not is_probe(request):
                self._ingress.registry.mark_healthy(self._tunnel)
        except HttpError as error:
            self._refuse(error)
            return
        if fin:
            self._write_head()
            self._done()
        elif framing.mode == OPAQUE:
            self._write_head()
            exchange.become_opaque()
        else:
            self._write_soon()

    def on_data(self, data: bytes | memoryview, fin: bool) -> None:
        """Write a piece of the response's body. Small pieces of one turn are written together, as each write is a
        system call."""
        if len(data) < MAX_JOINED and not fin:
            self._pieces.append(data)
            if not self._is_write_due:
                self._write_soon()
            return
        if self._pieces:
            data = self._joined(data)
        self._write(data, fin)

    def _write(self, data: bytes | memoryview, fin: bool) -> None:
        connection, framing = self._connection, self._framing
        assert framing is not None  # the wire session accepts DATA only after a final head
        size = len(data)
        try:
            pieces = framing.body(data) if size else ()
            if fin and (tail := framing.end()):
                pieces += (tail,)
            if self._head:
                pieces = (self._head, *pieces)
                self._head = b""
            connection.write_all(pieces)
            self._exchange.bytes_out += size
        except HttpError as error:
            self._refuse(error)
            return
        self._owed += size
        if not connection.is_paused:
            self.drained()
        if fin:
            self._done()

    def on_end(self, trailers: bytes) -> None:
        """End the response, which is complete."""
        framing = self._framing
        assert framing is not None
        self._write_waiting()
        if self._is_over:
            return
        try:
            tail = framing.end(response_trailers(from_lines(trailers), policy=self._policy) if trailers else [])
        except HttpError as error:
            self._refuse(error)
            return
        if tail:
            self._connection.write(tail)
        self._done()

    def on_reset(self, code: Code, reason: str) -> None:
        """Send the request to another tunnel, or end it with an error, as the agent has reset the stream."""
        if self._pieces and not self._head:
            self._write_waiting()
        self._is_over = True
        exchange = self._exchange
        self._tunnel.errors += 1
        if code is Code.UPSTREAM_UNREACHABLE:
            self._ingress.registry.mark_unhealthy(self._tunnel, "upstream_unreachable")
        if self._is_written():
            exchange.break_off(ERROR_OF.get(code, "agent_lost"))
        elif self._goes_again(code):
            exchange.forward_again()
        elif code is Code.REFUSED:
            exchange.fail("endpoint_offline", closes=True)  # the body that was sent to the agent cannot be sent again
        else:
            exchange.fail(ERROR_OF.get(code, "agent_lost"), detail=reason if code in ERROR_OF else "")

    def on_writable(self) -> None:
        """Read from the visitor again, as the link has sent what was queued of the request's body."""
        self._connection.resume_reading()

    # Helpers

    def _is_written(self) -> bool:
        """Drop a response head that was not written yet. Returns whether any of the response was written."""
        if self._head:
            self._head = b""
            self._pieces = []
            self.has_answered = False
        return self.has_answered

    def _write_soon(self) -> None:
        self._is_write_due = True
        self._ingress.call_soon(self._write_waiting)

    def _write_waiting(self) -> None:
        """Write the head and the small pieces that came in this turn of the event loop, in one write."""
        self._is_write_due = False
        if self._is_over:
            return
        if self._pieces:
            self._write(self._joined(), False)
        else:
            self._write_head()

    def _joined(self, last: bytes | memoryview = b"") -> bytes:
        pieces, self._pieces = self._pieces, []
        return b"".join([*pieces, last])

    def _write_head(self) -> None:
        head, self._head = self._head, b""
        if head and not self._connection.transport.is_closing():
            self._connection.write(head)

    def _interim(self, text: bytes) -> None:
        self._interims += 1
        if self._interims > MAX_INTERIM:
            raise HttpError("agent_bad_response", "too many interim responses")
        if text:
            self._connection.write(text)

    def _goes_again(self, code: Code) -> bool:
        """Whether the request may be sent again, as it cannot have had an effect.

        Args:
            code: The code with which the agent has reset the stream.
        """
        if code is Code.HEARTBEAT:
            return self._may_repeat()
        if self._has_sent:
            return False
        # The agent reports that nothing reached the app, so any method may be sent elsewhere.
        return code is Code.REFUSED or (code is Code.UPSTREAM_UNREACHABLE and self._exchange.can_go_elsewhere())

    def _may_repeat(self) -> bool:
        """Whether the request has a safe method and no body, so that it may be repeated (RFC 9110 section 9.2.2)."""
        head = self._exchange.head
        return head.method in _MAY_REPEAT and not head.has_body and not head.upgrade

    def _done(self) -> None:
        # Also when the visitor is slow: no more data comes, and a window that has grown must be given back.
        self.drained()
        if not self._stream.is_closed:
            if self._framing is not None and self._framing.mode == OPAQUE:
                self._exchange.far_half_ended()
                return
            # The response is complete before the request was: the agent does not need the rest.
            self._tunnel.link.reset(self._stream, Code.NO_ERROR)
        self._is_over = True
        self._exchange.response_done(keeps_alive=self._framing is not None and self._framing.keeps_alive)

    def _refuse(self, error: HttpError) -> None:
        """End the exchange and the visitor's connection, as the agent's response is invalid."""
        log.warning("bad response", host=self._exchange.host, agent=self._tunnel.label, detail=error.detail)
        self._is_over = True
        self._tunnel.errors += 1
        self._tunnel.link.reset(self._stream, Code.PROTOCOL, error.detail)
        if self._is_written():
            self._exchange.break_off("agent_bad_response")
        else:
            self._exchange.fail("agent_bad_response", closes=True)
