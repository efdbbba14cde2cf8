"""One visitor's connection from first byte to last: START HERE to walk a request.

    bytes -> head (http1.head) -> route (route) -> gate (gate) -> forward (forward, over a tunnel) -> answer (answer)

Every request on a kept-alive connection is parsed, routed and judged anew. Moving bytes is synchronous; a task (one at
most, cancelled with the connection) runs only where something waits: a session that must be looked up, a login that
starts, a tunnel that is away for a moment, a page of the relay's own.
"""

import asyncio
import logging
import re
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Protocol, assert_never, cast

from tunnelctl.http1.body import Decoder, Field, request_decoder
from tunnelctl.http1.errors import HttpError
from tunnelctl.http1.head import MAX_REQUEST_HEAD, parse_request
from tunnelrelay.ingress.answer import reply_head
from tunnelrelay.ingress.connection import NO_DEADLINE, VisitorConnection
from tunnelrelay.ingress.forward import Forward
from tunnelrelay.ingress.gate import Passed
from tunnelrelay.ingress.request import Request
from tunnelrelay.ingress.route import READY_PATH, Accept, Forwarded, Own, Routed, Unwanted
from tunnelrelay.model import Reply
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
MAX_AHEAD = 64 * 1024
"""Bytes read ahead of a response: pipelined requests, or a body whose exchange has not begun."""
MAX_DRAIN = 1024 * 1024
"""Bytes of an unwanted request body that are thrown away to keep the connection; beyond, it is closed."""
MAX_TRIES = 3
"""Times one request waits for a tunnel: a tunnel that takes requests and drops them must not keep it for ever."""
_BARE_LF = re.compile(rb"(?<!\r)\n")


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


class Visit(VisitorConnection):
    """See the module.

    Attributes:
        request: The one under way, or the last one.
        peer: The visitor, behind trusted proxies.
        is_idle: No request is under way.
    """

    __slots__ = (
        "_ahead", "_carried", "_decoder", "_drained", "_forwarded", "_forwarded_for", "_is_opaque", "_task",
        "is_idle", "peer", "request",
    )  # fmt: skip

    def __init__(self, ingress: "Ingress", *, is_secure: bool) -> None:
        super().__init__(ingress, is_secure=is_secure)
        self.request = Request(0, 0.0)
        self.peer = self.connected_peer
        self.is_idle = True
        self._ahead = b""
        self._carried: Carried | None = None
        self._decoder: Decoder | None = None
        self._drained = 0
        self._forwarded = b""
        self._forwarded_for: tuple[bytes, str] | None = None
        self._is_opaque = False
        self._task: asyncio.Task[None] | None = None

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `VisitorConnection.connection_made`."""
        super().connection_made(transport)
        self.peer = self.connected_peer
        if not self.ingress.enter(self):
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Bytes from the visitor."""
        if self._is_opaque:
            cast(Carried, self._carried).send(data, False)
        elif self.is_lingering:
            return
        elif self.is_idle:
            self._ahead = self._ahead + data if self._ahead else data
            self._read_heads()
        elif self._decoder is not None and (self._carried is not None or self._drained):
            self._read_body(data)
        else:
            self._ahead += data
            if len(self._ahead) > MAX_AHEAD:
                self.hold_reading()

    def eof_received(self) -> bool:
        """The visitor sends no more; it may still read (RFC 9112 section 9.5). TLS connections have no such half."""
        self.saw_eof = True
        if self._is_opaque:
            cast(Carried, self._carried).end([])
            return not self.is_secure
        return not self.is_idle and self._decoder is None and not self.is_secure

    def connection_lost(self, exc: Exception | None) -> None:
        """The visitor is gone."""
        self.ingress.leave(self)
        if self._task is not None:
            self._task.cancel()
        carried, self._carried = self._carried, None
        if carried is not None:
            carried.cancel()
        if not self.is_idle:
            self._record("" if self._is_opaque else "visitor_gone")

    def resume_writing(self) -> None:
        """The visitor has caught up: the other end may send as much again."""
        super().resume_writing()
        if self._carried is not None:
            self._carried.drained()

    # A request comes in

    def _read_heads(self) -> None:
        """Take requests off what was read, for as long as each is answered at once."""
        while self.is_idle and self._ahead and not self.is_lingering:
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
        """A head that is not whole yet. One that never can be is refused now, not after the time-out."""
        if len(part) >= MAX_REQUEST_HEAD:
            self._refuse_head("head_too_large" if b"\r\n" in part[: MAX_REQUEST_HEAD // 2] else "target_too_long")
        elif _BARE_LF.search(part):
            self._refuse_head("bad_request")
        elif part:
            self.deadline = min(self.deadline, self.ingress.now() + HEAD_SECONDS)

    def _take(self, block: bytes) -> None:
        self._start_request()
        request, ingress = self.request, self.ingress
        try:
            request.head = head = parse_request(block)
        except HttpError as error:
            self._refuse_head(error.code)
            return
        if head.has_body:
            self._decoder = request_decoder(is_chunked=head.is_chunked, content_length=head.content_length)
        if ingress.trusted:
            self.peer = ingress.peer_of(self.connected_peer, head)
        routed = ingress.route(head, sni=self.sni, is_secure=self.is_secure)
        if type(routed) is Forwarded:
            request.host = routed.host
            self._admit(routed.endpoint)
        else:
            self._handle(routed, block)

    def _handle(self, routed: Routed, block: bytes) -> None:
        match routed:
            case Unwanted():
                self.request.host = routed.host
                self.fail(routed.code, closes=routed.closes)
            case Reply():
                self.reply(routed)
            case Own():
                self.request.host = routed.host
                self._begin_task(self._visit_own(routed))
            case Accept():
                self._hand_over(block)
            case Forwarded():
                self._admit(routed.endpoint)
            case _:
                assert_never(routed)

    def _admit(self, endpoint: Endpoint) -> None:
        """Judge the request; the usual case needs no task."""
        request = self.request
        request.endpoint = endpoint
        policy = endpoint.policy
        if policy is None:
            self._begin_task(self._hold())
        elif policy.is_open or request.head.path == READY_PATH:
            self._forward(endpoint, policy, b"")
        else:
            passed = self.ingress.gate.check(policy, request.head, request.host, self.peer.host)
            if passed is not None:
                self._pass(endpoint, policy, passed)
            else:
                self._begin_task(self._admit_slowly(endpoint, policy))

    async def _admit_slowly(self, endpoint: Endpoint, policy: Policy) -> None:
        request = self.request
        gate = self.ingress.gate
        outcome = await gate.decide(policy, request.head, request.host, self.peer, self.request_id)
        self._task = None
        if isinstance(outcome, Reply):
            self.reply(outcome)
        else:
            self._pass(endpoint, policy, outcome)

    def _pass(self, endpoint: Endpoint, policy: Policy, passed: Passed) -> None:
        self.request.session = passed.session
        self._forward(endpoint, policy, passed.identity)

    # It is carried

    def _forward(self, endpoint: Endpoint, policy: Policy, identity: bytes) -> None:
        tunnel = endpoint.pick()
        if tunnel is None:
            self._begin_task(self._hold())
            return
        carried = Forward(self, tunnel, policy)
        self.deadline = self.ingress.now() + ANSWER_SECONDS
        carried.start(self.request.head, forwarded=self._forwarded_block(), identity=identity)
        self._carry(carried)

    def _carry(self, carried: Carried) -> None:
        self._carried = carried
        if self._decoder is not None and self._ahead:
            ahead, self._ahead = self._ahead, b""
            self._read_body(ahead)
        self.resume_reading()

    async def _hold(self) -> None:
        """Wait for a tunnel that is away for a moment, then judge anew: it may come back with another policy."""
        ingress, request, endpoint = self.ingress, self.request, self.request.endpoint
        assert endpoint is not None
        ingress.metrics.held()
        request.tries += 1
        is_back = request.tries <= MAX_TRIES and await endpoint.hold(ingress.hold_seconds)
        self._task = None
        if is_back:
            self._admit(ingress.registry.find(endpoint.host) or endpoint)
        else:
            self.fail("endpoint_busy" if endpoint.tunnels else "endpoint_offline")

    async def _visit_own(self, own: Own) -> None:
        carried = await self.ingress.inside.begin(self, own)
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
        self._begin_task(self.ingress.accept(self, block, ahead))

    def release(self) -> asyncio.Transport:
        """The connection is somebody else's now."""
        self.ingress.leave(self)
        self._task = None
        self.is_idle = True
        self.deadline = NO_DEADLINE
        return self.transport

    def _read_body(self, data: bytes) -> None:
        decoder, carried = self._decoder, self._carried
        assert decoder is not None
        if carried is None or not carried.has_answered:
            self.deadline = self.ingress.now() + BODY_SECONDS
        try:
            pieces = decoder.feed(data)
        except HttpError:
            self._break_body()
            return
        if carried is None:
            self._drained += len(data)
            if self._drained > MAX_DRAIN:
                self.linger()
                return
        else:
            for piece in pieces:
                self.request.bytes_in += len(piece)
                carried.send(piece, False)
        if decoder.is_done:
            self._decoder = None
            self._ahead = decoder.rest + self._ahead
            self._end_body(decoder.trailers)

    def _end_body(self, trailers: list[Field]) -> None:
        if self._carried is not None:
            if not self._carried.has_answered:
                self.deadline = self.ingress.now() + ANSWER_SECONDS
            self._carried.end(trailers)
        elif self._drained:
            self._next_request()

    def _break_body(self) -> None:
        """The body's framing is broken: nothing behind it can be told apart any more."""
        carried, self._carried = self._carried, None
        if carried is None:
            self.close()
            return
        carried.cancel()
        if carried.has_answered:
            self.break_off("bad_request")
        else:
            self.fail("bad_request", closes=True)

    # It is answered

    def answer_began(self) -> None:
        """The final response head is there: from now on only a visitor that does not read is waited for."""
        if not self.is_paused:
            self.deadline = NO_DEADLINE

    def become_opaque(self) -> None:
        """The protocols were switched: bytes pass as they are."""
        self._is_opaque = True
        self.deadline = NO_DEADLINE
        ahead, self._ahead = self._ahead, b""
        self.ingress.upgraded(self)
        if ahead:
            self.data_received(ahead)

    def reply(self, reply: Reply, error: str = "", *, closes: bool = False) -> None:
        """Answer the request ourselves."""
        request, head = self.request, self.request.head
        # A visitor that waits for our 100 sends its body never, or at once: nobody can tell where the next head begins.
        closes = closes or not head.keep_alive or head.expects_continue or self.saw_eof
        body = b"" if head.method == b"HEAD" else reply.body
        request.status = reply.status
        request.bytes_out = len(body)
        self.transport.write(reply_head(reply, head, closes=closes) + body)
        self.response_done(keeps_alive=not closes, error=error)

    def fail(self, code: str, *, detail: str = "", closes: bool = False) -> None:
        """Answer with an error of the table."""
        self._carried = None
        self.reply(self.ingress.error(code, self, detail=detail), code, closes=closes)

    def break_off(self, code: str) -> None:
        """The response cannot be completed: close without the clean end that would make it look whole."""
        self._carried = None
        self._record(code)
        if self._is_opaque:
            self._is_opaque = False
            self.close()
        else:
            self.transport.abort()

    def response_done(self, *, keeps_alive: bool, error: str = "") -> None:
        """The response has been written."""
        self._carried = None
        self._record(error)
        if self._is_opaque:
            self._is_opaque = False
            self.linger()
        elif not keeps_alive:
            self._stop_reading_requests()
        elif self._decoder is not None:
            self._drain_body()
        else:
            self._next_request()

    def _stop_reading_requests(self) -> None:
        """The connection ends here. Only what may still come needs lingering."""
        is_clean = self._decoder is None and not self._ahead and self.request.head.method
        self._decoder = None
        self._ahead = b""
        self.close() if is_clean else self.linger()

    def _drain_body(self) -> None:
        """Answered before the whole request came: throw the rest away, then go on with the next."""
        self.is_idle = False
        self._drained = 1
        ahead, self._ahead = self._ahead, b""
        self.resume_reading()
        if ahead:
            self._read_body(ahead)

    def _next_request(self) -> None:
        self.is_idle = True
        self._drained = 0
        if self.saw_eof and not self._ahead:
            self.close()
            return
        self.deadline = self.ingress.now() + self.ingress.idle_seconds
        self.resume_reading()
        if self._ahead:
            # Not from here: a long pipeline would nest a call for each of its requests.
            asyncio.get_running_loop().call_soon(self._read_heads)

    # Waiting

    def time_out(self) -> None:
        """The deadline has passed."""
        self.deadline = NO_DEADLINE
        if self.is_paused or self.is_lingering or self._drained:
            self.transport.abort()
        elif self._is_reading_held:
            self.deadline = self.ingress.now() + ANSWER_SECONDS  # it is the upstream that does not read
        elif not self.is_idle:
            self._time_out_exchange()
        elif self._ahead:
            self._refuse_head("request_timeout")
        else:
            self.close()

    def _time_out_exchange(self) -> None:
        carried, self._carried = self._carried, None
        if carried is None:
            self.transport.abort()
            return
        carried.cancel()
        if carried.has_answered:
            self.break_off("request_timeout")
        else:
            self.fail("request_timeout" if self._decoder is not None else "upstream_timeout", closes=True)

    def drain(self) -> None:
        """The relay stops: an idle connection closes now, a busy one after its response."""
        if self.is_idle:
            self.close()
        else:
            self.request.head.keep_alive = False

    def _begin_task(self, work: Coroutine[object, object, None]) -> None:
        self._task = asyncio.get_running_loop().create_task(self._guard(work))

    async def _guard(self, work: Coroutine[object, object, None]) -> None:
        """The one boundary of a visit's task: its fault is a 500 for this request and nothing more."""
        try:
            await work
        except Exception:
            log.exception("a request failed id=%s host=%s", self.request_id, self.request.host)
            self._task = None
            if not self.transport.is_closing() and self._carried is None and not self.is_idle:
                self.fail("internal_error", closes=True)

    # Book-keeping

    @property
    def request_id(self) -> str:
        """Names this request in logs and on error pages."""
        return self.ingress.request_id(self.request.number)

    def _start_request(self) -> None:
        self.is_idle = False
        self.request = self.ingress.new_request()

    def _refuse_head(self, code: str) -> None:
        self.ingress.metrics.refused_head(code)
        if self.is_idle:
            self._start_request()
        self.fail(code, closes=True)

    def _forwarded_block(self) -> bytes:
        """The forwarding fields; the same for every request of a connection, as a rule."""
        host = self.request.head.host
        key = (host, self.peer.host)
        if self._forwarded_for != key:
            self._forwarded_for = key
            self._forwarded = self.ingress.forwarded_block(self.peer, host)
        return self._forwarded

    def _record(self, error: str) -> None:
        self.is_idle = True
        self.ingress.account(self.request, self.peer, error)
