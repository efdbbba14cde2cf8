"""One visitor's connection from first byte to last: START HERE to walk a request.

    bytes -> head (http1.head) -> route (route) -> gate (gate) -> forward (forward, over a tunnel) -> answer (answer)

Every request on a kept-alive connection is parsed, routed and judged anew. Moving bytes is synchronous; a task (one at
most, cancelled with the connection) runs only where something waits: a session that must be looked up, a login that
starts, a tunnel that is away for a moment, a page of the relay's own. What is read of the visitor is in `incoming`,
what is written in `outgoing`.
"""

import asyncio
from collections.abc import Coroutine
from typing import assert_never

from tunnelctl.eventlog import EventLog
from tunnelctl.http1.body import request_decoder
from tunnelctl.http1.errors import HttpError
from tunnelctl.http1.head import COMMON_METHODS, RequestHead, parse_request
from tunnelrelay.ingress.forward import Forward
from tunnelrelay.ingress.gate import NOTHING, Passed
from tunnelrelay.ingress.incoming import ANSWER_SECONDS, BODY_SECONDS, MAX_LINES
from tunnelrelay.ingress.ingress import NO_DEADLINE, Ingress
from tunnelrelay.ingress.interfaces import Carried
from tunnelrelay.ingress.outgoing import Outgoing
from tunnelrelay.ingress.responses import code_of
from tunnelrelay.ingress.route import Accept, Forwarded, Own, Routed, Unwanted, is_probe
from tunnelrelay.model import Reply
from tunnelrelay.policy.rules import Policy
from tunnelrelay.registry.endpoint import Endpoint
from tunnelrelay.registry.tunnel import Tunnel

log = EventLog("tunnelrelay.ingress")

AGENT_FIELD = b"tunnel-agent"
"""In an agent's own probe: the proof (`Tunnel.proof`) of the agent that is meant, where several serve one address."""
NO_BACKLOG = 1 << 62
"""More than any: what comes after it is less."""
MAX_TRIES = 3
"""Times one request goes to another tunnel, or waits for one: tunnels that take requests and drop them must not keep it
for ever."""


class Visit(Outgoing):
    """See the module."""

    __slots__ = ("_backlog", "_forwarded", "_forwarded_for", "_task")

    def __init__(self, ingress: Ingress, *, is_secure: bool) -> None:
        super().__init__(ingress, is_secure=is_secure)
        self._backlog = NO_BACKLOG
        self._forwarded = b""
        self._forwarded_for: tuple[bytes, str] | None = None
        self._task: asyncio.Task[None] | None = None

    # asyncio.Protocol

    def arrive(self, transport: asyncio.BaseTransport) -> bool:
        """See `VisitorConnection.arrive`."""
        super().arrive(transport)
        self.peer = self.connected_peer
        may_stay = self.ingress.enter(self)
        if not may_stay:
            self.transport.abort()
        return may_stay

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `VisitorConnection.connection_made`. Over TLS the visitor has arrived before (see `handshakes`)."""
        if self.is_secure or self.arrive(transport):
            super().connection_made(transport)
            self._await_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """The visitor is gone."""
        self.ingress.leave(self)
        if self._waits or self._is_unread:
            self.ingress.turns.leave(self)
        if self._task is not None:
            self._task.cancel()
        carried, self._carried = self._carried, None
        if carried is not None:
            carried.cancel()
        if not self.is_idle and not self._drained:
            self._record("" if self._is_opaque else "visitor_gone")

    # A request comes in

    def _take(self, block: bytes) -> None:
        self._start_request()
        request, ingress = self.request, self.ingress
        try:
            request.head = head = parse_request(block)
        except HttpError as error:
            self._refuse_head(error.code, block, error.detail)
            return
        if head.has_body:
            self._decoder = request_decoder(is_chunked=head.is_chunked, content_length=head.content_length)
            if self._ahead and self._refuses_body(head):
                return
        if ingress.trusted:
            self.peer, self.is_told_secure = ingress.told_by_proxies(self.connected_peer, head)
            self.address = ingress.address_of(self.peer)
        routed = ingress.route(head, sni=self.sni, is_secure=self.is_secure or self.is_told_secure)
        if type(routed) is Forwarded:
            request.host = routed.host
            if not self.address or self.take_share(routed.endpoint.open_by):
                self._admit(routed.endpoint)
            else:
                ingress.limited("visitor_requests", self)
                self.fail("too_many_requests")
        else:
            self._handle(routed, block)

    def _refuses_body(self, head: RequestHead) -> bool:
        """Judge what came of the body together with the head, before the app sees any of the request."""
        try:
            request_decoder(is_chunked=head.is_chunked, content_length=head.content_length).feed(self._ahead, MAX_LINES)
        except HttpError as error:
            self._refuse_head(error.code, detail=error.detail)
            return True
        return False

    def _handle(self, routed: Routed, block: bytes) -> None:
        match routed:
            case Unwanted():
                self.request.host = routed.host
                self.fail(routed.code, closes=routed.closes)
            case Reply():
                self.reply(routed)
            case Own():
                self.request.host = routed.host
                self._show_own(routed)
            case Accept():
                self._hand_over(block)
            case Forwarded():
                self._admit(routed.endpoint)
            case _:
                assert_never(routed)

    def _show_own(self, own: Own) -> None:
        """A page of the relay's own; on an endpoint's host its rules about networks hold for these too."""
        endpoint = self.ingress.registry.find(own.host)
        policy = endpoint.policy if endpoint is not None else None
        if self.request.head.method not in COMMON_METHODS:
            self.fail("method_not_allowed")
        elif policy is not None and not self.ingress.gate.may_see_pages(policy, self.peer.host):
            self.fail(policy.refusal)
        else:
            self._begin_task(self._visit_own(own))

    def _admit(self, endpoint: Endpoint) -> None:
        """Judge the request; the usual case needs no task."""
        request = self.request
        request.endpoint = endpoint
        policy = endpoint.policy
        if policy is None:
            self._begin_task(self._hold())
        elif policy.is_open or is_probe(request.head):
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
        current = self.ingress.registry.find(endpoint.host) or endpoint
        if isinstance(outcome, Reply):
            self.reply(outcome, code_of(outcome))
        elif current.policy is not policy:
            self._admit(current)  # the rules changed while this waited
        else:
            self._pass(current, policy, outcome)

    def _pass(self, endpoint: Endpoint, policy: Policy, passed: Passed) -> None:
        self.request.session = passed.session
        self._forward(endpoint, policy, passed.identity, passed.spent)

    # It is carried

    def _forward(self, endpoint: Endpoint, policy: Policy, identity: bytes, spent: frozenset[bytes] = NOTHING) -> None:
        tunnel = endpoint.only
        if tunnel is None or not tunnel.link.can_open:
            tunnel = self._choose(endpoint)
            if tunnel is None:
                self._begin_task(self._hold())
                return
        request = self.request
        request.tunnel = tunnel
        request.policy = policy
        tunnel.requests += 1
        tunnel.open += 1
        carried = Forward(self.ingress, self, tunnel, policy)
        is_due = self._decoder is not None and not self.request.head.expects_continue
        self.deadline = self.ingress.now() + (BODY_SECONDS if is_due else ANSWER_SECONDS)
        carried.start(self.request.head, forwarded=self._forwarded_block(), identity=identity, spent=spent)
        self._carry(carried)

    def _carry(self, carried: Carried) -> None:
        self._carried = carried
        self._backlog = NO_BACKLOG
        if self._decoder is not None and self._ahead:
            ahead, self._ahead = self._ahead, b""
            self._read_body(ahead)
        self.resume_reading()

    def _choose(self, endpoint: Endpoint) -> Tunnel | None:
        """One of several tunnels: the one an agent's probe asks for, the visitor's, or the idlest."""
        head = self.request.head
        if is_probe(head) and (proof := head.get(AGENT_FIELD)) and (tunnel := endpoint.named(proof)):
            return tunnel
        mark = self.ingress.sticky.mark(head) if endpoint.is_sticky else b""
        return endpoint.pick(mark, self.request.tried)

    async def _hold(self) -> None:
        """Wait for a tunnel that is away for a moment, then judge anew: it may come back with another policy."""
        ingress, request, endpoint = self.ingress, self.request, self.request.endpoint
        assert endpoint is not None
        request.tries += 1
        seconds = ingress.registry.patience(endpoint, ingress.hold_seconds)
        if seconds and not endpoint.can_take(request.tried):
            ingress.metrics.held()
        is_back = request.tries <= MAX_TRIES and await endpoint.hold(seconds, request.tried)
        self._task = None
        current = ingress.registry.find(endpoint.host)
        if current is None:  # an edge that was removed, or an agent that stopped and gave the name up meanwhile
            self.fail("endpoint_not_found" if endpoint.is_dropped else "endpoint_offline")
        elif is_back:
            self._admit(current)
        else:
            self.fail("endpoint_busy" if endpoint.is_served else "endpoint_offline")

    async def _visit_own(self, own: Own) -> None:
        carried = await self.ingress.asgi_bridge.begin(self, own)
        self._task = None
        if self.transport.is_closing():
            carried.cancel()
        else:
            self._carry(carried)

    def can_go_elsewhere(self) -> bool:
        """Whether another tunnel, which has not been tried for this request, can take it now."""
        request, endpoint = self.request, self.request.endpoint
        if endpoint is None or request.tunnel is None or request.tries >= MAX_TRIES or len(endpoint.tunnels) < 2:
            return False
        return endpoint.can_take((*request.tried, request.tunnel))

    def forward_again(self) -> None:
        """The tunnel took nothing of the request: try once more, on another one where there are several."""
        self._carried = None
        request, tunnel = self.request, self.request.tunnel
        assert request.endpoint is not None
        assert tunnel is not None
        request.tunnel = None
        tunnel.open -= 1
        if len(request.endpoint.tunnels) > 1:
            request.tried += (tunnel,)
            self.ingress.metrics.retried()
        if self.ingress.is_draining:
            self.fail("endpoint_offline", closes=True)
        else:
            self._begin_task(self._hold())

    def _hand_over(self, block: bytes) -> None:
        """An agent: its websocket takes the connection from here on."""
        ahead, self._ahead = self._ahead, b""
        self._begin_task(self.ingress.accept(self, block, ahead))

    def release(self) -> asyncio.Transport:
        """The connection was handed over."""
        self.ingress.leave(self)
        self._task = None
        self.is_idle = True
        self.deadline = NO_DEADLINE
        self.transport.pause_reading()  # a loop that reads goes on with the protocol it began with
        return self.transport

    # Waiting

    def time_out(self) -> None:
        """The deadline has passed."""
        self.deadline = NO_DEADLINE
        if self.is_paused or self.is_lingering or self._drained:
            self.transport.abort()
        elif self._is_full and self._has_moved():
            self.deadline = self.ingress.now() + BODY_SECONDS  # the upstream reads, if slowly
        elif not self.is_idle:
            self._time_out_exchange()
        elif self._ahead:
            self._refuse_head("request_timeout")
        else:
            self.close()

    def _has_moved(self) -> bool:
        """Whether the other end has taken any of the request's body since this was asked last."""
        before, self._backlog = self._backlog, self._carried.backlog() if self._carried is not None else 0
        return 0 < self._backlog < before

    def _time_out_exchange(self) -> None:
        is_upstreams_fault = self._decoder is None or self._is_full
        carried, self._carried = self._carried, None
        if carried is None:
            self.transport.abort()
            return
        carried.cancel()
        if not is_upstreams_fault:
            self.ingress.limited("slow_body", self)
        if carried.has_answered:
            self.break_off("request_timeout")
        else:
            self.fail("upstream_timeout" if is_upstreams_fault else "request_timeout", closes=True)

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
            log.exception("request failed", request_id=self.request_id, host=self.request.host)
            self._task = None
            if not self.transport.is_closing() and self._carried is None and not self.is_idle:
                self.fail("internal_error", closes=True)

    # Book-keeping

    def _forwarded_block(self) -> bytes:
        """The forwarding fields; the same for every request of a connection, as a rule."""
        host = self.request.head.host
        key = (host, self.peer.host)
        if self._forwarded_for != key:
            self._forwarded_for = key
            self._forwarded = self.ingress.forwarded_block(self.peer, host)
        return self._forwarded
