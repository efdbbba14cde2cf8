"""One visitor's connection from first byte to last: START HERE to walk a request.

    bytes -> head (http1.head) -> route (route) -> gate (gate) -> forward (forward, over a tunnel) -> answer (answer)

Every request on a kept-alive connection is parsed, routed and judged anew. Moving bytes is synchronous; a task (one at
most, cancelled with the connection) runs only where something waits: a session that must be looked up, a login that
starts, a tunnel that is away for a moment, a page of the relay's own.
"""

import asyncio
import logging
import time
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Protocol, cast

from tunnelctl.http1.body import Decoder, Field, request_decoder
from tunnelctl.http1.errors import HttpError
from tunnelctl.http1.head import MAX_REQUEST_HEAD, RequestHead, parse_request
from tunnelrelay.ingress.answer import status_line
from tunnelrelay.ingress.forward import Forward
from tunnelrelay.ingress.gate import Passed
from tunnelrelay.ingress.route import Accept, Forwarded, Own, Routed, Unwanted
from tunnelrelay.model import Peer, Reply
from tunnelrelay.observe.access import Exchange
from tunnelrelay.oidc.session import Session
from tunnelrelay.policy.rules import Policy
from tunnelrelay.registry.endpoint import Endpoint

if TYPE_CHECKING:
    from tunnelrelay.ingress.ingress import Ingress

log = logging.getLogger("tunnelrelay.ingress")

HEAD_SECONDS = 10.0
"""From a head's first byte to its last (slow senders would otherwise hold connections for nothing)."""
BODY_SECONDS = 60.0
"""Without a byte of a request body that is due."""
ANSWER_SECONDS = 600.0
"""Without a response head. Long polls and slow model servers take minutes; a hung one must end some time."""
READER_SECONDS = 120.0
"""Without the visitor taking a byte that is due."""
LINGER_SECONDS = 2.0
"""For a visitor to read our last answer while we throw away what it still sends (RFC 9112 section 9.6)."""
MAX_AHEAD = 64 * 1024
"""Bytes read ahead of a response: pipelined requests, or a body whose exchange has not begun."""
MAX_DRAIN = 1024 * 1024
"""Bytes of an unwanted request body that are thrown away to keep the connection; beyond, it is closed."""
WRITE_HIGH = 64 * 1024
"""Bytes in the visitor's send buffer before credit stops going back: what a stopped reader costs beside its window."""
NO_DEADLINE = float("inf")


class Carried(Protocol):
    """An exchange on its way: over a tunnel, or to the relay's own pages."""

    has_answered: bool

    def send(self, data: bytes | memoryview, fin: bool) -> None:
        """A piece of the request's body, or of an upgraded connection."""

    def end(self, trailers: list[Field]) -> None:
        """The request is complete."""

    def cancel(self) -> None:
        """The visitor is gone."""

    def drained(self) -> None:
        """The visitor has taken what was written."""


class Visit(asyncio.Protocol):
    """See the module.

    Attributes:
        head: Of the request under way.
        host: Its canonical host, "" before it is known.
        is_paused: The visitor does not read as fast as we write.
        deadline: Loop time at which waiting ends.
    """

    __slots__ = (
        "_ahead", "_carried", "_counter", "_decoder", "_drained", "_forwarded", "_forwarded_for", "_ingress",
        "_is_idle", "_is_lingering", "_is_opaque", "_is_reading_held", "_saw_eof", "_task", "_tries", "bytes_in",
        "bytes_out", "connected_peer", "deadline", "endpoint", "head", "host", "is_paused", "is_secure", "peer",
        "session", "sni", "started", "started_at", "status", "status_text", "transport",
    )  # fmt: skip

    def __init__(self, ingress: "Ingress", *, is_secure: bool) -> None:
        self._ingress = ingress
        self.is_secure = is_secure
        self._ahead = b""
        self._carried: Carried | None = None
        self._decoder: Decoder | None = None
        self._drained = 0
        self._forwarded = b""
        self._forwarded_for: tuple[bytes, str] | None = None
        self._is_idle = True
        self._is_lingering = False
        self._is_opaque = False
        self._is_reading_held = False
        self._saw_eof = False
        self._task: asyncio.Task[None] | None = None
        self.transport = cast(asyncio.Transport, None)
        self.connected_peer = self.peer = Peer("", 0)
        self.sni: str | None = None
        self.is_paused = False
        self.deadline = NO_DEADLINE
        self.session: Session | None = None
        self.endpoint: Endpoint | None = None
        self.started = self.started_at = 0.0
        self._clear()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A visitor, or an agent: the first request tells."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=WRITE_HIGH)
        name = transport.get_extra_info("peername")
        if isinstance(name, tuple):
            self.connected_peer = self.peer = Peer(name[0].removeprefix("::ffff:"), name[1])
        ssl_object = transport.get_extra_info("ssl_object")
        self.sni = self._ingress.server_name(ssl_object) if ssl_object is not None else None
        self.deadline = self._now() + self._ingress.idle_seconds
        if not self._ingress.enter(self):
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Bytes from the visitor."""
        if self._is_opaque:
            cast(Carried, self._carried).send(data, False)
        elif self._is_lingering:
            return
        elif self._is_idle:
            self._ahead = self._ahead + data if self._ahead else data
            self._read_heads()
        elif self._decoder is not None and (self._carried is not None or self._drained):
            self._read_body(data)
        else:
            self._ahead += data
            if len(self._ahead) > MAX_AHEAD:
                self.hold_reading()

    def eof_received(self) -> bool:
        """The visitor sends no more; it may still read (RFC 9112 section 9.5)."""
        self._saw_eof = True
        if self._is_opaque:
            cast(Carried, self._carried).end([])
            return not self.is_secure
        return not self._is_idle and self._decoder is None and not self.is_secure

    def connection_lost(self, exc: Exception | None) -> None:
        """The visitor is gone."""
        self._ingress.leave(self)
        if self._task is not None:
            self._task.cancel()
        carried, self._carried = self._carried, None
        if carried is not None:
            carried.cancel()
        if not self._is_idle:
            self._record("" if self._is_opaque else "visitor_gone")
            self._is_idle = True

    def pause_writing(self) -> None:
        """The visitor reads more slowly than we write."""
        self.is_paused = True
        self.deadline = self._now() + READER_SECONDS

    def resume_writing(self) -> None:
        """It has caught up."""
        self.is_paused = False
        self.deadline = NO_DEADLINE
        if self._carried is not None:
            self._carried.drained()

    # A request comes in

    def _read_heads(self) -> None:
        """Take requests off what was read, for as long as each is answered at once."""
        while self._is_idle and self._ahead:
            ahead = self._ahead
            if ahead.startswith(b"\r\n"):  # RFC 9112 section 2.2: one empty line before a request is forgiven
                ahead = self._ahead = ahead[2:]
            end = ahead.find(b"\r\n\r\n", 0, MAX_REQUEST_HEAD) + 4
            if end < 4:
                self._await_rest(ahead)
                return
            self._ahead = ahead[end:]
            self._take(ahead[:end])

    def _await_rest(self, part: bytes) -> None:
        if len(part) >= MAX_REQUEST_HEAD:
            line_end = part.find(b"\r\n")
            self._refuse_head(
                "target_too_long" if line_end < 0 or line_end > MAX_REQUEST_HEAD // 2 else "head_too_large"
            )
        elif b"\n\n" in part or b"\n\r\n" in part.replace(b"\r\n\r\n", b""):
            self._refuse_head("bad_request")  # heads end with CR LF CR LF; waiting for it would only time out
        else:
            self.deadline = min(self.deadline, self._now() + HEAD_SECONDS) if part else self.deadline

    def _take(self, block: bytes) -> None:
        self._start_request()
        try:
            self.head = head = parse_request(block)
        except HttpError as error:
            self._refuse_head(error.code)
            return
        if head.has_body:
            self._decoder = request_decoder(is_chunked=head.is_chunked, content_length=head.content_length)
        ingress = self._ingress
        self.peer = ingress.peer_of(self.connected_peer, head) if ingress.trusted else self.connected_peer
        routed = ingress.route(head, sni=self.sni, is_secure=self.is_secure)
        if type(routed) is Forwarded:
            self.host = routed.host
            self.endpoint = routed.endpoint
            self._admit(routed.endpoint)
        else:
            self._handle(routed, block)

    def _handle(self, routed: Routed, block: bytes) -> None:
        match routed:
            case Unwanted():
                self.host = routed.host
                self.fail(routed.code, closes=routed.closes)
            case Reply():
                self.reply(routed)
            case Own():
                self.host = routed.host
                self._begin_task(self._visit_own(routed))
            case Accept():
                self._hand_over(block)
            case Forwarded():
                raise AssertionError("handled by the caller")

    def _admit(self, endpoint: Endpoint) -> None:
        """Judge the request; the usual case needs no task."""
        policy = endpoint.policy
        if policy is None:
            self._begin_task(self._hold())
        elif policy.is_open or self.head.target.startswith(b"/_tunnel/ready"):
            self._forward(endpoint, policy, b"")
        else:
            outcome = self._ingress.gate.check(policy, self.head, self.host, self.peer.host)
            if type(outcome) is Passed:
                self.session = outcome.session
                self._forward(endpoint, policy, outcome.identity)
            else:
                self._begin_task(self._admit_slowly(endpoint, policy))

    async def _admit_slowly(self, endpoint: Endpoint, policy: Policy) -> None:
        outcome = await self._ingress.gate.decide(policy, self.head, self.host, self.peer, self.request_id)
        if isinstance(outcome, Reply):
            self.reply(outcome)
        else:
            self.session = outcome.session
            self._forward(endpoint, policy, outcome.identity)

    # It is carried

    def _forward(self, endpoint: Endpoint, policy: Policy, identity: bytes) -> None:
        tunnel = endpoint.pick()
        if tunnel is None:
            if self._task is not None and self._task is asyncio.current_task():
                self._task = None
            self._begin_task(self._hold())
            return
        carried = Forward(self, tunnel, policy)
        self.deadline = self._now() + ANSWER_SECONDS
        carried.start(self.head, forwarded=self._forwarded_block(), identity=identity)
        self._carry(carried)

    def _carry(self, carried: Carried) -> None:
        self._carried = carried
        if self._decoder is not None and self._ahead:
            ahead, self._ahead = self._ahead, b""
            self._read_body(ahead)
        self.resume_reading()

    async def _hold(self) -> None:
        """Wait for a tunnel that is away for a moment, then judge anew: it may come back with another policy."""
        ingress = self._ingress
        endpoint = self.endpoint
        assert endpoint is not None
        ingress.metrics.held()
        self._tries += 1
        if self._tries <= 3 and await endpoint.hold(ingress.hold_seconds):
            self._task = None
            self._admit(ingress.registry.find(endpoint.host) or endpoint)
        else:
            busy = bool(endpoint.tunnels)
            self.fail("endpoint_busy" if busy else "endpoint_offline")

    async def _visit_own(self, own: Own) -> None:
        carried = await self._ingress.inside.begin(self, own)
        self._task = None
        if self.transport.is_closing():
            carried.cancel()
        else:
            self._carry(carried)

    def forward_again(self) -> None:
        """The tunnel took nothing of the request: try once more, on whichever tunnel there is then."""
        self._carried = None
        self._begin_task(self._hold())

    def _hand_over(self, block: bytes) -> None:
        """An agent: its websocket takes the connection from here on."""
        ahead, self._ahead = self._ahead, b""
        self._begin_task(self._ingress.accept(self, block, ahead))

    def release(self) -> asyncio.Transport:
        """The connection is somebody else's now."""
        self._ingress.leave(self)
        self._task = None
        self._is_idle = True
        self.deadline = NO_DEADLINE
        return self.transport

    def _read_body(self, data: bytes) -> None:
        decoder = self._decoder
        assert decoder is not None
        self.deadline = self._now() + BODY_SECONDS
        try:
            pieces = decoder.feed(data)
        except HttpError:
            self._body_is_broken()
            return
        carried = self._carried
        for piece in pieces:
            self.bytes_in += len(piece)
            if carried is not None:
                carried.send(piece, False)
        if carried is None:
            self._drained += len(data)
            if self._drained > MAX_DRAIN:
                self._linger()
                return
        if decoder.is_done:
            self._decoder = None
            self._ahead = decoder.rest + self._ahead
            self._body_is_done(decoder.trailers)

    def _body_is_done(self, trailers: list[Field]) -> None:
        self.deadline = self._now() + ANSWER_SECONDS
        if self._carried is not None:
            self._carried.end(trailers)
        else:
            self._next_request()

    def _body_is_broken(self) -> None:
        carried, self._carried = self._carried, None
        if carried is None or carried.has_answered:
            self.transport.abort() if carried is not None else self.transport.close()
        if carried is not None:
            carried.cancel()
            if not carried.has_answered:
                self.fail("bad_request", closes=True)

    # It is answered

    def write(self, data: bytes) -> None:
        """Response bytes, framed already."""
        self.transport.write(data)

    def write_all(self, data: tuple[bytes | memoryview, ...]) -> None:
        """Response bytes in pieces."""
        if len(data) == 1:
            self.transport.write(data[0])
        else:
            self.transport.writelines(data)

    def become_opaque(self) -> None:
        """The protocols were switched: bytes pass as they are."""
        self._is_opaque = True
        self.deadline = NO_DEADLINE
        ahead, self._ahead = self._ahead, b""
        self._ingress.upgraded(self)
        if ahead:
            self.data_received(ahead)

    def reply(self, reply: Reply, error: str = "", *, closes: bool = False) -> None:
        """Answer the request ourselves."""
        head = self.head
        # A body that waits for our 100 is never sent now, and one of unknown length cannot be skipped cheaply.
        closes = closes or not head.keep_alive or head.expects_continue or self._saw_eof
        lines = b"".join([b"%b: %b\r\n" % field for field in reply.fields])
        framing = b"Content-Length: %d\r\n" % len(reply.body) if reply.status not in (204, 304) else b""
        connection = b"Connection: close\r\n" if closes else b""
        if not closes and not head.minor:
            connection = b"Connection: keep-alive\r\n"
        block = b"".join((status_line(reply.status), lines, framing, connection, b"\r\n"))
        self.status = reply.status
        self.bytes_out = 0 if head.method == b"HEAD" else len(reply.body)
        self.transport.write(block if head.method == b"HEAD" else block + reply.body)
        self.response_done(keeps_alive=not closes, error=error)

    def fail(self, code: str, *, detail: str = "", closes: bool = False) -> None:
        """Answer with an error of the table."""
        self._carried = None
        self.reply(self._ingress.error(code, self, detail=detail), code, closes=closes)

    def break_off(self, code: str) -> None:
        """The response cannot be completed: close without the clean end that would make it look whole."""
        self._carried = None
        self._record(code)
        self._is_idle = True
        self.transport.abort() if not self._is_opaque else self.transport.close()

    def response_done(self, *, keeps_alive: bool, error: str = "") -> None:
        """The response has been written."""
        self._carried = None
        self._record(error)
        if self._is_opaque:
            self._end_opaque()
        elif not keeps_alive:
            self._is_idle = True
            self._linger() if self._decoder is not None or self._ahead else self.transport.close()
        elif self._decoder is not None:
            self._drained = 1
            ahead, self._ahead = self._ahead, b""
            self.resume_reading()
            if ahead:
                self._read_body(ahead)
        else:
            self._next_request()

    def _end_opaque(self) -> None:
        self._is_opaque = False
        self._is_lingering = True
        self._is_idle = True
        if self._saw_eof or self.is_secure or not self.transport.can_write_eof():
            self.transport.close()
        else:
            self.transport.write_eof()
            self.deadline = self._now() + LINGER_SECONDS

    def _next_request(self) -> None:
        self._clear()
        if self._saw_eof and not self._ahead:
            self.transport.close()
            return
        self.deadline = self._now() + self._ingress.idle_seconds
        self.resume_reading()
        if self._ahead:
            # Not from here: a long pipeline would nest a call for each of its requests.
            asyncio.get_running_loop().call_soon(self._read_heads)

    def _linger(self) -> None:
        """Close so that our last answer arrives though the visitor still sends: a reset would overtake it."""
        self._is_lingering = True
        self._is_idle = True
        self._ahead = b""
        self.resume_reading()
        if self.is_secure or self._saw_eof or not self.transport.can_write_eof():
            self.transport.close()
        else:
            self.transport.write_eof()
            self.deadline = self._now() + LINGER_SECONDS

    # Waiting

    def hold_reading(self) -> None:
        """Read no more for now."""
        if not self._is_reading_held:
            self._is_reading_held = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        if self._is_reading_held:
            self._is_reading_held = False
            self.transport.resume_reading()

    def time_out(self) -> None:
        """The deadline has passed."""
        self.deadline = NO_DEADLINE
        if self.is_paused or self._is_lingering:
            self.transport.abort()
        elif self._is_idle and not self._ahead:
            self.transport.close()
        elif self._is_idle:
            self._start_request()
            self._refuse_head("request_timeout")
        else:
            self._time_out_exchange()

    def _time_out_exchange(self) -> None:
        carried, self._carried = self._carried, None
        if carried is None:
            self.transport.close()
            return
        carried.cancel()
        if carried.has_answered:
            self.break_off("request_timeout")
        else:
            self.fail("request_timeout" if self._decoder is not None else "upstream_timeout", closes=True)

    def drain(self) -> None:
        """The relay stops: an idle connection closes now, a busy one after its response."""
        if self._is_idle:
            self.transport.close()
        elif not self._is_opaque:
            self.head.keep_alive = False

    @property
    def is_idle(self) -> bool:
        """No request is under way."""
        return self._is_idle

    def _begin_task(self, work: Coroutine[object, object, None]) -> None:
        self._task = asyncio.get_running_loop().create_task(self._guard(work))

    async def _guard(self, work: Coroutine[object, object, None]) -> None:
        """The one boundary of a visit's task: its fault is a 500 for this request and nothing more."""
        task = asyncio.current_task()
        try:
            await work
        except Exception:
            log.exception("a request failed id=%s host=%s", self.request_id, self.host)
            if not self.transport.is_closing() and self._carried is None and not self._is_idle:
                self.fail("internal_error", closes=True)
        finally:
            if self._task is task:
                self._task = None

    # Book-keeping

    @property
    def request_id(self) -> str:
        """Names this request in logs and on error pages."""
        return self._ingress.request_id(self._counter)

    def _clear(self) -> None:
        self.head = _NO_HEAD
        self.host = ""
        self.endpoint = None
        self.session = None
        self.status = 0
        self.status_text = ""
        self.bytes_in = self.bytes_out = 0
        self._drained = 0
        self._tries = 0
        self._counter = 0
        self._decoder = None
        self._is_idle = True

    def _start_request(self) -> None:
        self._clear()
        self._is_idle = False
        self.started_at = time.time()
        self.started = self._now()
        self._counter = self._ingress.next_request()

    def _refuse_head(self, code: str) -> None:
        self._ingress.metrics.refused_head(code)
        if self._is_idle:
            self._start_request()
        self._ahead = b"\r\n"  # whatever is behind it cannot be told apart any more
        self.fail(code, closes=True)

    @property
    def public_name(self) -> tuple[bytes, bytes]:
        """The endpoint's host, and its address as a browser's Origin."""
        return self._ingress.public_name(self.host)

    def _forwarded_block(self) -> bytes:
        """The forwarding fields; the same for every request of a connection, as a rule."""
        key = (self.head.host, self.peer.host)
        if self._forwarded_for != key:
            self._forwarded_for = key
            scheme = self._ingress.address.scheme.encode()
            self._forwarded = b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Host: %b\r\n" % (
                self.peer.host.encode(), scheme, self.head.host,
            )  # fmt: skip
        return self._forwarded

    def _record(self, error: str) -> None:
        seconds = self._now() - self.started
        ingress = self._ingress
        ingress.metrics.exchange(self.status or 500, seconds, self.bytes_in, self.bytes_out)
        if error:
            ingress.metrics.error(error)
        head = self.head
        endpoint = self.endpoint
        ingress.access.add(
            Exchange(
                at=self.started_at,
                request_id=self.request_id,
                peer=self.peer.host,
                method=head.method.decode(),
                host=self.host,
                path=head.target.decode(),
                status=self.status,
                seconds=seconds,
                bytes_in=self.bytes_in,
                bytes_out=self.bytes_out,
                error=error,
                source=ingress.source_of(error) if error else "",
                user=ingress.gate.user_of(self.session),
                email=ingress.gate.email_of(self.session),
                agent=endpoint.label if endpoint is not None else "",
                upgrade=head.upgrade.decode(),
            )
        )

    def _now(self) -> float:
        return self._ingress.now()


_NO_HEAD = RequestHead()
