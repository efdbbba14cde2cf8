"""One request of a visitor and its response: START HERE to follow a request through the relay.

    head (http1.head) -> route (route) -> gate (gate) -> forward (forward, over a tunnel) -> response (responses)

A connection makes an `Exchange` for each request, so that every request on a kept-alive connection is parsed, routed
and authorised anew. Moving bytes is synchronous; a task (one at most, cancelled with the connection) runs only where
something must wait: for a session in the store, the start of a login, a tunnel that has lost its link, a page of the
relay's own. `connection` has the layer below HTTP.
"""

import asyncio
import time
from collections.abc import Coroutine
from typing import assert_never

from tunnelctl.eventlog import EventLog
from tunnelctl.http1.body import Piece
from tunnelctl.http1.errors import HttpError
from tunnelctl.http1.head import COMMON_METHODS, RequestHead, ResponseHead
from tunnelrelay.ingress import oversized_head
from tunnelrelay.ingress.clear_site_data import before
from tunnelrelay.ingress.forward import Forward
from tunnelrelay.ingress.gate import NOTHING, Passed
from tunnelrelay.ingress.ingress import NO_DEADLINE, Ingress
from tunnelrelay.ingress.interfaces import Carried, OpenConnection
from tunnelrelay.ingress.responses import code_of, reply_head
from tunnelrelay.ingress.route import Accept, Forwarded, Own, Routed, Unwanted, is_probe
from tunnelrelay.model import Reply
from tunnelrelay.observe.access import ExchangeRecord
from tunnelrelay.observe.traffic import FinishedExchange
from tunnelrelay.oidc.sessions.access_tokens import Program
from tunnelrelay.oidc.sessions.session import VisitorSession
from tunnelrelay.pages.errors import ERRORS
from tunnelrelay.pages.page import error_reply
from tunnelrelay.policy.classify import wants_html
from tunnelrelay.policy.limits import give_back
from tunnelrelay.policy.rate_limit import RateLimit, counted_by_address, counted_by_identity
from tunnelrelay.policy.rules import Policy
from tunnelrelay.registry.endpoint import Endpoint
from tunnelrelay.registry.tunnel import Tunnel

log = EventLog("tunnelrelay.ingress")

BODY_SECONDS = 60.0
"""Seconds in which the next byte of a request's body must come; of a body with known length, the next `BODY_BYTES`.
Otherwise the request is ended."""
BODY_BYTES = 240 * 60
"""Bytes of a body of known length that must come in `BODY_SECONDS`. Otherwise a sender of one byte a minute could hold
an exchange without end. Bodies of unknown length may be slow streams, and so may bytes after the response has begun or
on an upgraded connection: for them only the number of open requests per address is limited."""
ANSWER_SECONDS = 600.0
"""Seconds without a response head after which a request fails. Long polls and slow model servers take minutes."""
AGENT_FIELD = b"tunnel-agent"
"""Header field of an agent's probe of its own endpoint. It holds the agent's proof (`Tunnel.proof`), so that the probe
reaches this agent where several serve the endpoint."""
NO_BACKLOG = 1 << 62
"""Backlog before its first measurement: larger than any real one, so that the first measurement counts as progress."""
MAX_TRIES = 3
"""How often one request is sent to another tunnel, or waits for one. Tunnels that accept requests and drop them must
not keep a request without end."""
MAX_FORGED = 5
"""Names of forged header fields that one audit event lists."""
VISITOR_GONE = 499
"""Status that is logged, and never sent, for a visitor who left before the response. Log tools know it from nginx."""

_NO_HEAD = RequestHead()
_CORS_LINES = (
    b"Access-Control-Allow-Origin: %b\r\nAccess-Control-Allow-Credentials: true\r\n"
    b"Access-Control-Expose-Headers: WWW-Authenticate, Tunnel-Error, Retry-After\r\nVary: Origin\r\n"
)


class Exchange:
    """One request of a visitor and its response.

    Attributes:
        number: Number of the request in this process, from which its id is made.
        peer: The visitor, behind trusted proxies.
        started: Loop time of the head's last byte.
        started_at: `started` as Unix time.
        head: The request's head; empty when the request was refused before its head was read.
        host: The request's canonical host; "" before it is known.
        endpoint: The endpoint that the request is for; None for the relay's own pages.
        session: The login or token that let the request in; None without one.
        exempt: The rule that exempted the request from the login (`Exempt.rule`); "" for none.
        policy: The policy that let the request in.
        tunnel: The last tunnel that the request was sent to.
        tried: Tunnels that could not serve the request.
        tries: How often the request waited for a tunnel.
        status: Status of the response; 0 before it has begun.
        carried: The `Forward` or `AsgiExchange` that carries the request on; None before and after.
        is_opaque: Whether protocols were switched, so that bytes pass unchanged.
    """

    __slots__ = (
        "_backlog",
        "_body_bytes",
        "_has_far_half_ended",
        "_ingress",
        "_is_counted",
        "_share",
        "_task",
        "bytes_in",
        "bytes_out",
        "carried",
        "connection",
        "endpoint",
        "exempt",
        "head",
        "host",
        "is_opaque",
        "number",
        "peer",
        "policy",
        "session",
        "started",
        "started_at",
        "status",
        "tried",
        "tries",
        "tunnel",
    )

    def __init__(self, connection: OpenConnection, ingress: Ingress) -> None:
        self.connection = connection
        self.number = ingress.next_number()
        self.peer = connection.peer
        self.started = ingress.now()
        self.started_at = time.time()
        self.head = _NO_HEAD
        self.host = ""
        self.endpoint: Endpoint | None = None
        self.session: VisitorSession | Program | None = None
        self.exempt = ""
        self.policy: Policy | None = None
        self.tunnel: Tunnel | None = None
        self.tried: tuple[Tunnel, ...] = ()
        self.tries = 0
        self.status = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.carried: Carried | None = None
        self.is_opaque = False
        self._ingress = ingress
        self._backlog = NO_BACKLOG
        self._body_bytes = 0  # of the request's body since the deadline was moved
        self._has_far_half_ended = False
        self._is_counted = False  # by the endpoint's rate limit: once, however often it waits for a tunnel
        self._share: dict[str, int] | None = None  # the endpoint at which it counts for its visitor's address
        self._task: asyncio.Task[None] | None = None
        connection.deadline = self.started + ANSWER_SECONDS

    @property
    def request_id(self) -> str:
        """The id by which logs and error pages name this request."""
        return self._ingress.request_id(self.number)

    # The request arrives

    def begin(self) -> None:
        """Parse the head that the connection has read, and route the request; the module's docstring has the steps."""
        connection, ingress = self.connection, self._ingress
        try:
            self.head, block = connection.reader.take_head()
            if self.head.has_body:
                # The part of the body that has arrived is checked before the app gets any of the request.
                connection.reader.check_body()
        except HttpError as error:
            self.refuse_head(error)
            return
        head = self.head
        if ingress.known.has_proxies:
            self.peer, is_secure_at_proxy = ingress.known.behind_proxies(connection.connected_peer, head)
            connection.note_visitor(self.peer, is_secure=is_secure_at_proxy)
        routed = ingress.route(
            head, sni=connection.sni, is_secure=connection.is_secure or connection.is_secure_at_proxy
        )
        if type(routed) is Forwarded:
            self.host = routed.host
            if not connection.address or self._take_share(routed.endpoint.open_by):
                self._admit(routed.endpoint)
            else:
                ingress.limited("visitor_requests", routed.host, self.peer)
                self.fail("too_many_requests")
        else:
            self._handle(routed, block)

    def refuse_head(self, error: HttpError) -> None:
        """Answer a malformed or incomplete request head with an error.

        The connection is closed, as the start of the next request is unknown.
        """
        self._ingress.metrics.refused_head(error.code)
        if error.code == "bad_request":
            self.note_smuggling(error.detail)
        refused = self.connection.reader.refused
        head = oversized_head.glimpse(refused) if error.code == "head_too_large" and refused else None
        if head is not None:
            self.head = head
            self._refuse_oversized()
        else:
            self.fail(error.code, closes=True)

    def _refuse_oversized(self) -> None:
        """Answer a request whose head is too large, by the part of the head that was read."""
        ingress, sni = self._ingress, self.connection.sni
        host = ingress.address.canonical_host(self.head.host) or ""
        self.host = host if sni in (None, host) else ""
        origin = ingress.address.url(host).encode()
        reply = oversized_head.reply(self.head, host=self.host, origin=origin, request_id=self.request_id)
        self.reply(reply, code_of(reply), closes=True)

    def _handle(self, routed: Routed, block: bytes) -> None:
        match routed:
            case Unwanted():
                self.host = routed.host
                self.fail(routed.code, closes=routed.closes)
            case Reply():
                self.reply(routed)
            case Own():
                self.host = routed.host
                self._show_own(routed)
            case Accept():
                # The client is an agent: its websocket takes the connection over.
                ahead = self.connection.reader.take_rest()
                self._begin_task(self._ingress.accept(self, self.head, block, ahead))
            case Forwarded():
                self._admit(routed.endpoint)
            case _:
                assert_never(routed)

    def _show_own(self, own: Own) -> None:
        """Pass the request to the relay's own pages. On an endpoint's host, the endpoint's network rules apply."""
        endpoint = self._ingress.registry.find(own.host)
        policy = endpoint.policy if endpoint is not None else None
        if self.head.method not in COMMON_METHODS:
            self.fail("method_not_allowed")
        elif policy is not None and not self._ingress.gate.may_see_pages(policy, self.peer.host):
            self.fail(policy.refusal)
        else:
            self._begin_task(self._visit_own(own))

    def _admit(self, endpoint: Endpoint) -> None:
        """Let the request pass by the endpoint's policy, or refuse it. A task runs only when something must wait."""
        self.endpoint = endpoint
        policy = endpoint.policy
        if policy is None:
            self._begin_task(self._hold())
        elif policy.is_open or is_probe(self.head):
            self._forward(endpoint, policy, b"")
        else:
            passed = self._ingress.gate.check(policy, self.head, self.host, self.peer.host)
            if passed is not None:
                self._pass(endpoint, policy, passed)
            else:
                self._begin_task(self._admit_slowly(endpoint, policy))

    async def _admit_slowly(self, endpoint: Endpoint, policy: Policy) -> None:
        outcome = await self._ingress.gate.decide(policy, self.head, self.host, self.peer, self.request_id)
        self._task = None
        current = self._ingress.registry.find(endpoint.host) or endpoint
        if isinstance(outcome, Reply):
            self.reply(outcome, code_of(outcome))
        elif current.policy is not policy:
            self._admit(current)  # the rules changed while this waited
        else:
            self._pass(current, policy, outcome)

    def _pass(self, endpoint: Endpoint, policy: Policy, passed: Passed) -> None:
        self.session = passed.session
        self.exempt = passed.exempt
        if policy.rate_limit is not None and not self._is_counted and self._is_too_often(endpoint, policy.rate_limit):
            return
        self._forward(endpoint, policy, passed.identity, passed.spent)

    def _is_too_often(self, endpoint: Endpoint, limit: RateLimit) -> bool:
        """Count the request by the endpoint's rate limit. True when it is one too many; then 429 is sent."""
        ingress, session = self._ingress, self.session
        self._is_counted = True
        if session is not None and limit.is_by_visitor:
            counted = counted_by_identity(session.identity)
        else:
            counted = counted_by_address(self.connection.address or self.peer.host)
        wait = ingress.rate_limits.wait(endpoint.owner, endpoint.host, limit, counted, ingress.now())
        if wait:
            ingress.limited("rate_limit", self.host, self.peer)
            self.fail("too_many_requests", retry_after=wait)
        return wait > 0

    # The request is carried on

    def _forward(self, endpoint: Endpoint, policy: Policy, identity: bytes, spent: frozenset[bytes] = NOTHING) -> None:
        tunnel = endpoint.only
        if tunnel is None or not tunnel.link.can_open:
            tunnel = self._choose(endpoint)
            if tunnel is None:
                self._begin_task(self._hold())
                return
        connection = self.connection
        self.tunnel = tunnel
        self.policy = policy
        tunnel.requests += 1
        tunnel.open += 1
        carried = Forward(self._ingress, self, tunnel, policy)
        is_due = connection.reader.is_in_body and not self.head.expects_continue
        connection.deadline = self._ingress.now() + (BODY_SECONDS if is_due else ANSWER_SECONDS)
        carried.start(self.head, forwarded=connection.forwarded_block(self.head.host), identity=identity, spent=spent)
        self._carry(carried)

    def about(self) -> bytes:
        """Return the payload of an ABOUT frame: the visitor, the rule that let the request in, and the time it took."""
        assert self.policy is not None
        gate_ns = max(0, int((time.time() - self.started_at) * 1e9))  # below 0 when the clock was set back
        return self._ingress.about_visitors.payload(self.peer.host, self.session, self.policy, self.exempt, gate_ns)

    def _carry(self, carried: Carried) -> None:
        self.carried = carried
        self._backlog = NO_BACKLOG
        reader = self.connection.reader
        if reader.is_in_body and reader.kept:
            self.read_body()
        self.connection.resume_reading()

    def _choose(self, endpoint: Endpoint) -> Tunnel | None:
        """Choose one of the endpoint's tunnels: the one that an agent's probe names, the visitor's sticky one, or the
        one with the fewest requests. None when no tunnel can take the request."""
        head = self.head
        if is_probe(head) and (proof := head.get(AGENT_FIELD)) and (tunnel := endpoint.named(proof)):
            return tunnel
        mark = self._ingress.sticky.mark(head) if endpoint.is_sticky else b""
        return endpoint.pick(mark, self.tried)

    async def _hold(self) -> None:
        """Wait for a tunnel that has lost its link, then check the policy anew, which may be another one then."""
        ingress, endpoint = self._ingress, self.endpoint
        assert endpoint is not None
        self.tries += 1
        seconds = ingress.registry.patience(endpoint, ingress.settings.hold_seconds)
        if seconds and not endpoint.can_take(self.tried):
            ingress.metrics.held()
        is_back = self.tries <= MAX_TRIES and await endpoint.hold(seconds, self.tried)
        self._task = None
        current = ingress.registry.find(endpoint.host)
        if current is None:  # an edge that was removed, or an agent that stopped and gave the name up meanwhile
            self.fail("endpoint_not_found" if endpoint.is_dropped else "endpoint_offline")
        elif is_back:
            self._admit(current)
        else:
            self.fail("endpoint_busy" if endpoint.is_served else "endpoint_offline")

    async def _visit_own(self, own: Own) -> None:
        carried = await self._ingress.asgi_bridge.begin(self, own)
        self._task = None
        if self.connection.transport.is_closing():
            carried.cancel()
        else:
            self._carry(carried)

    def can_go_elsewhere(self) -> bool:
        """Whether a tunnel that was not tried for this request can take it now."""
        endpoint, tunnel = self.endpoint, self.tunnel
        if endpoint is None or tunnel is None or self.tries >= MAX_TRIES or len(endpoint.tunnels) < 2:
            return False
        return endpoint.can_take((*self.tried, tunnel))

    def forward_again(self) -> None:
        """Send the request again after a tunnel took nothing of it, to another tunnel where there are several."""
        self.carried = None
        endpoint, tunnel = self.endpoint, self.tunnel
        assert endpoint is not None
        assert tunnel is not None
        self.tunnel = None
        tunnel.open -= 1
        if len(endpoint.tunnels) > 1:
            self.tried += (tunnel,)
            self._ingress.metrics.retried()
        if self._ingress.is_draining:
            self.fail("endpoint_offline", closes=True)
        else:
            self._begin_task(self._hold())

    def release(self) -> asyncio.Transport:
        """Hand the connection's transport over to an agent's link, with reading paused."""
        self._task = None
        return self.connection.release()

    def _begin_task(self, work: Coroutine[object, object, None]) -> None:
        self._task = asyncio.get_running_loop().create_task(self._guard(work))

    async def _guard(self, work: Coroutine[object, object, None]) -> None:
        """Run the exchange's task; after an unexpected error, log it and answer this request with 500."""
        try:
            await work
        except Exception:
            log.exception("request failed", request_id=self.request_id, host=self.host)
            self._task = None
            connection = self.connection
            if not connection.transport.is_closing() and self.carried is None and connection.exchange is self:
                self.fail("internal_error", closes=True)

    # The request's body

    def read_body(self) -> None:
        """Pass on the part of the request's body that the connection has read."""
        carried, connection = self.carried, self.connection
        assert carried is not None
        reader = connection.reader
        size = len(reader.kept)
        try:
            pieces = reader.take_body()
        except HttpError as error:
            self.note_smuggling(error.detail)
            self._break_body("bad_request")
            return
        if not carried.has_answered:
            self._note_progress(size - len(reader.kept))
        if pieces:
            self._send_on(carried, pieces)
        if self.carried is not carried:
            return  # the carrier has refused the body: the response is written, and ends the connection
        if not reader.is_in_body:
            if not carried.has_answered:
                connection.deadline = self._ingress.now() + ANSWER_SECONDS
            carried.end(reader.trailers)
        elif reader.is_too_fine(self._ingress.now()):
            self._ingress.limited("small_chunks", self.host, self.peer)
            self._break_body("chunks_too_small")
            return
        connection.go_on()

    def _send_on(self, carried: Carried, pieces: list[Piece]) -> None:
        """Pass on pieces of the request's body as one, which costs both ends of the link much less."""
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self.bytes_in += len(data)
        carried.send(data, False)

    def _note_progress(self, size: int) -> None:
        """Move the deadline when `size` bytes more of the request's body are enough since it was moved last."""
        now, moved, connection = self._ingress.now(), self._body_bytes + size, self.connection
        if moved >= BODY_BYTES or self.head.is_chunked or connection.deadline > now + BODY_SECONDS:
            self._body_bytes = 0
            connection.deadline = now + BODY_SECONDS
        else:
            self._body_bytes = moved

    def _break_body(self, code: str) -> None:
        """End the request with an error in its body, and close, as the start of the next request is unknown."""
        carried, self.carried = self.carried, None
        assert carried is not None
        carried.cancel()
        if carried.has_answered:
            self.break_off(code)
        else:
            self.fail(code, closes=True)

    # An upgraded connection

    def become_opaque(self) -> None:
        """Pass bytes unchanged from now on, as the response has switched protocols (status 101)."""
        connection = self.connection
        self.is_opaque = True
        connection.deadline = NO_DEADLINE
        ahead = connection.reader.take_rest()
        connection.resume_reading()
        if ahead:
            self.opaque_received(ahead)
        if connection.saw_eof and self.carried is not None:
            self.carried.end([])  # the visitor had ended its half before the switch

    def opaque_received(self, data: bytes) -> None:
        """Pass on bytes that the visitor has sent on an upgraded connection."""
        if self.session is not None:
            self._ingress.gate.seen(self.session)
        assert self.carried is not None
        self.carried.send(data, False)

    def near_half_ended(self) -> None:
        """Pass on that the visitor has closed its half of an upgraded connection."""
        assert self.carried is not None
        self.carried.end([])
        if self._has_far_half_ended:
            self.response_done(keeps_alive=False)

    def far_half_ended(self) -> None:
        """Close the relay's half of an upgraded connection, as the agent sends no more.

        The visitor may go on sending, except over TLS, which has no half-closed state.
        """
        carried, connection = self.carried, self.connection
        if carried is not None and not connection.can_close_one_half:
            carried.cancel()
            self.response_done(keeps_alive=False)
        else:
            self._has_far_half_ended = True
            connection.transport.write_eof()
            connection.deadline = self._ingress.now() + ANSWER_SECONDS

    # The response is sent

    def answer_began(self) -> None:
        """Remove the deadline, as the final response head has come; a visitor that does not read keeps its own."""
        if not self.connection.is_paused:
            self.connection.deadline = NO_DEADLINE

    def fail(self, code: str, *, detail: str = "", closes: bool = False, retry_after: int = 0) -> None:
        """Answer the request with an error of `pages.errors.ERRORS`.

        Args:
            code: The error's code.
            detail: Text that the error page adds.
            closes: Whether the connection is closed after the response.
            retry_after: Seconds of `Retry-After`; 0 for none.
        """
        self.carried = None
        reply = error_reply(
            code,
            request_id=self.request_id,
            host=self.host,
            wants_html=wants_html(self.head),
            detail=detail,
            retry_after=retry_after,
        )
        self.reply(reply, code, closes=closes)

    def reply(self, reply: Reply, error: str = "", *, closes: bool = False) -> None:
        """Answer the request with a response of the relay's own, and record it.

        Args:
            error: The response's error code, for the log; "" for none.
            closes: Whether the connection is closed after the response.
        """
        head, connection = self.head, self.connection
        # A visitor that waits for `100 Continue` may send its body or not: the next head's start is unknown.
        closes = closes or not head.keep_alive or head.expects_continue or connection.saw_eof
        body = b"" if head.method == b"HEAD" else reply.body
        self.status = reply.status
        self.bytes_out = len(body)
        written = reply_head(reply, head, closes=closes)
        if lines := self.clear_site_data_lines() + self._strict_transport() + self._cors_lines():
            written = before(written, lines)
        connection.write(written + body)
        self.response_done(keeps_alive=not closes, error=error)

    def clear_site_data_lines(self, response: ResponseHead | None = None) -> bytes:
        """Return `Clear-Site-Data` lines for a browser that may hold data of the host's former owner; mostly b""."""
        ingress = self._ingress
        generation = ingress.registry.generation_of(self.host)
        return ingress.clear_site_data.lines(self.host, generation, self.head, response) if generation > 1 else b""

    def _strict_transport(self) -> bytes:
        """Return the HSTS line of the relay's own responses; b"" over plain http (RFC 6797 section 7.2)."""
        ingress, connection = self._ingress, self.connection
        return (
            ingress.own_hsts
            if connection.is_secure or connection.is_secure_at_proxy or not ingress.settings.redirects
            else b""
        )

    def _cors_lines(self) -> bytes:
        """Return the CORS lines by which pages of the endpoint's allowed origins can read the relay's own responses.

        Without them a page's script would see only "Failed to fetch" for a 401, and could not ask people to sign in.
        """
        endpoint = self.endpoint or self._ingress.registry.find(self.host)
        policy = self.policy or (endpoint.policy if endpoint is not None else None)
        if policy is None or not policy.origins:
            return b""
        origin = self.head.get(b"origin")
        return _CORS_LINES % origin if origin in policy.origins else b"Vary: Origin\r\n"

    def response_done(self, *, keeps_alive: bool, error: str = "") -> None:
        """Record the request, whose response is written, and begin the next request or close the connection."""
        self.carried = None
        self._record(error)
        if self.is_opaque:
            self.is_opaque = False
            self.connection.linger()
        elif not keeps_alive:
            self.connection.end_requests(is_head_read=bool(self.head.method))
        else:
            self.connection.next_request()

    def break_off(self, code: str) -> None:
        """Record the request, and close the connection so that the visitor sees that the response is incomplete."""
        self.carried = None
        self._record(code)
        connection = self.connection
        if self.is_opaque:
            self.is_opaque = False
            connection.close()
        else:
            # In HTTP/1.0 a close ends the body, so only a reset shows that the body is incomplete.
            connection.cut(is_reset=not self.head.minor)

    # The exchange ends early

    def session_over(self) -> None:
        """End the exchange, as its session has ended. An exchange that waits for a tunnel goes on: its policy will be
        checked again."""
        self._end_now("session_over", "bearer_invalid" if isinstance(self.session, Program) else "login_required")

    def endpoint_over(self) -> None:
        """End the exchange or its upgraded connection, as its edge was removed."""
        self._end_now("endpoint_not_found", "endpoint_not_found")

    def _end_now(self, code: str, unanswered: str) -> None:
        """End an exchange that is carried on.

        Args:
            code: The error to log when the response has begun.
            unanswered: The error to answer with when it has not.
        """
        carried = self.carried
        if carried is None:
            return
        carried.cancel()
        self.is_opaque = False  # an upgraded connection is cut too, with what is in its buffers
        if carried.has_answered:
            self.break_off(code)
        else:
            self.fail(unanswered, closes=True)

    def time_out(self) -> None:
        """End the exchange, as its deadline has passed; an upstream that reads slowly gets more time."""
        connection = self.connection
        if connection.is_held_back and self._has_moved():
            connection.deadline = self._ingress.now() + BODY_SECONDS  # the upstream is reading, though slowly
            return
        is_upstreams_fault = not connection.reader.is_in_body or connection.is_held_back
        carried, self.carried = self.carried, None
        if carried is None:
            connection.transport.abort()
            return
        carried.cancel()
        if not is_upstreams_fault:
            self._ingress.limited("slow_body", self.host, self.peer)
        if carried.has_answered:
            self.break_off("request_timeout")
        else:
            self.fail("upstream_timeout" if is_upstreams_fault else "request_timeout", closes=True)

    def _has_moved(self) -> bool:
        """Whether the tunnel or app has taken any of the request's body since the last call."""
        before, self._backlog = self._backlog, self.carried.backlog() if self.carried is not None else 0
        return 0 < self._backlog < before

    def visitor_left(self) -> None:
        """Cancel the exchange's task and its carrier, and record the request, as the visitor's connection is closed."""
        if self._task is not None:
            self._task.cancel()
        carried, self.carried = self.carried, None
        if carried is not None:
            carried.cancel()
        if not self.connection.reader.is_skipping:  # otherwise it was recorded when it was answered
            self._record("" if self.is_opaque else "visitor_gone")

    # Records

    def note_forged(self) -> None:
        """Record that the visitor sent header fields which only the relay may set (`Ingress.forged`) and removes."""
        ingress = self._ingress
        names = b" ".join(ingress.forged[:MAX_FORGED]).decode("latin-1")
        ingress.forged.clear()
        ingress.audit.record(
            "headers.stripped", host=self.host, peer=self.peer.host, request_id=self.request_id, names=names
        )

    def note_smuggling(self, reason: str) -> None:
        """Record that the request was refused because another server might parse it differently."""
        self._ingress.audit.record(
            "smuggling.refused", reason=reason, host=self.host, peer=self.peer.host, request_id=self.request_id
        )

    def _take_share(self, held: dict[str, int]) -> bool:
        """Count the request for its visitor's address. False when the address has too many open at this endpoint."""
        is_granted = self._ingress.quotas.take(held, self.connection.address)
        if is_granted:
            self._share = held
        return is_granted

    def _record(self, error: str) -> None:
        """Count and log the finished request, and let a request that waits for room at the endpoint go on."""
        share, self._share = self._share, None
        if share is not None:
            give_back(share, self.connection.address)
        self._account(error)
        endpoint, tunnel = self.endpoint, self.tunnel
        if tunnel is not None:
            tunnel.open -= 1
        if endpoint is not None:
            endpoint.room_was_made()

    def _account(self, error: str) -> None:
        ingress = self._ingress
        seconds = ingress.now() - self.started
        metrics = ingress.metrics
        metrics.exchange(self.status or VISITOR_GONE, seconds, self.bytes_in, self.bytes_out)
        source = ""
        if error in ERRORS:
            metrics.error(error)
            source = ERRORS[error].source
        record = self._to_record(seconds, error, source)
        ingress.access.add(record)
        # Requests for the relay's own pages on an owner's host are the owner's traffic too; others are not kept.
        endpoint, tunnel = self.endpoint or ingress.registry.find(self.host), self.tunnel
        if endpoint is not None:
            served_by = tunnel.id if tunnel is not None else ""
            policy = self.policy or endpoint.policy
            ingress.traffic.add(FinishedExchange(record, endpoint.owner, served_by, policy, self.session, self.exempt))

    def _to_record(self, seconds: float, error: str, source: str) -> ExchangeRecord:
        """Return the access log's record of this request."""
        head, endpoint = self.head, self.endpoint
        identity = self.session.identity if self.session is not None else None
        return ExchangeRecord(
            at=self.started_at,
            request_id=self.request_id,
            peer=self.peer.host,
            method=head.method.decode(),
            host=self.host,
            path=head.target.decode(),
            status=self.status or VISITOR_GONE,
            seconds=seconds,
            bytes_in=self.bytes_in,
            bytes_out=self.bytes_out,
            error=error,
            source=source,
            user=identity.subject if identity is not None else "",
            email=identity.email if identity is not None else "",
            agent=self.tunnel.label if self.tunnel is not None else endpoint.label if endpoint is not None else "",
            job=self.tunnel.job if self.tunnel is not None else "",
            upgrade=head.upgrade.decode(),
        )
