"""Answers a visitor's request: what is written, and what becomes of the connection after the response.

Where the answer comes from is `visit`'s business: from a tunnel, from the relay's own pages, or an error of the table.
"""

from tunnelctl.http1.head import RequestHead, ResponseHead
from tunnelrelay.ingress.clear_site_data import before
from tunnelrelay.ingress.incoming import ANSWER_SECONDS, Incoming
from tunnelrelay.ingress.ingress import NO_DEADLINE
from tunnelrelay.ingress.responses import code_of, reply_head
from tunnelrelay.model import Reply


class Outgoing(Incoming):
    """The base of `Visit`: everything that is answered."""

    __slots__ = ()

    def answer_began(self) -> None:
        """The final response head is there: from now on only a visitor that does not read is waited for."""
        if not self.is_paused:
            self.deadline = NO_DEADLINE

    def become_opaque(self) -> None:
        """The protocols were switched: bytes pass as they are."""
        self._is_opaque = True
        self.deadline = NO_DEADLINE
        ahead, self._ahead = self._ahead, b""
        self.resume_reading()
        if ahead:
            self.data_received(ahead)
        if self.saw_eof and self._carried is not None:
            self._carried.end([])  # the visitor had ended its half before the switch

    def far_half_ended(self) -> None:
        """The other end of an upgraded connection sends no more. The visitor still may, where a half can be closed."""
        carried = self._carried
        if carried is not None and (self.is_secure or not self.transport.can_write_eof()):
            carried.cancel()
            self.response_done(keeps_alive=False)
        else:
            self._has_far_half_ended = True
            self.transport.write_eof()
            self.deadline = self.ingress.now() + ANSWER_SECONDS

    def clear_site_data_lines(self, response: ResponseHead | None = None) -> bytes:
        """Header lines for a browser that knew the name's former owner; nearly always none."""
        host, ingress = self.request.host, self.ingress
        generation = ingress.registry.generation_of(host)
        return ingress.clear_site_data.lines(host, generation, self.request.head, response) if generation > 1 else b""

    def reply(self, reply: Reply, error: str = "", *, closes: bool = False) -> None:
        """Answer the request ourselves."""
        request, head = self.request, self.request.head
        # A visitor that waits for our 100 sends its body never, or at once: it is not known where the next head begins.
        closes = closes or not head.keep_alive or head.expects_continue or self.saw_eof
        body = b"" if head.method == b"HEAD" else reply.body
        request.status = reply.status
        request.bytes_out = len(body)
        written = reply_head(reply, head, closes=closes)
        if lines := self.clear_site_data_lines() + self._strict_transport() + self.ingress.cors_lines(request):
            written = before(written, lines)
        self.transport.write(written + body)
        self.response_done(keeps_alive=not closes, error=error)

    def _strict_transport(self) -> bytes:
        """The HSTS line of the relay's own answers. Over plain http it must not be sent (RFC 6797 section 7.2)."""
        ingress = self.ingress
        return ingress.own_hsts if self.is_secure or self.is_told_secure or not ingress.redirects else b""

    def fail(self, code: str, *, detail: str = "", closes: bool = False, retry_after: int = 0) -> None:
        """Answer with an error of the table."""
        self._carried = None
        self.reply(self.ingress.error(code, self.request, detail=detail, retry_after=retry_after), code, closes=closes)

    def refuse_too_large(self, head: RequestHead) -> None:
        """See `oversized_head`."""
        self.request.head = head
        reply = self.ingress.too_large(self.request, self.sni)
        self.reply(reply, code_of(reply), closes=True)

    def break_off(self, code: str) -> None:
        """The response cannot be completed: close without the clean end that would make it look whole."""
        self._carried = None
        self._record(code)
        if self._is_opaque:
            self._is_opaque = False
            self.close()
        elif self.request.head.minor:
            self.transport.abort()
        else:
            self.cut()

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

    def _record(self, error: str) -> None:
        self.is_idle = True
        self.give_share_back()
        self.ingress.account(self.request, self.peer, error)
        endpoint, tunnel = self.request.endpoint, self.request.tunnel
        if tunnel is not None:
            tunnel.open -= 1
        if endpoint is not None:
            endpoint.room_was_made()
