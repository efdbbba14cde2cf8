"""The interfaces between the ingress's parts, which avoid circular imports."""

import asyncio
from typing import Protocol

from tunnelctl.http1.body import Field
from tunnelctl.http1.head import RequestHead, ResponseHead
from tunnelctl.http1.request_reader import RequestReader
from tunnelrelay.model import Peer
from tunnelrelay.oidc.sessions.access_tokens import Program
from tunnelrelay.oidc.sessions.session import VisitorSession
from tunnelrelay.policy.rules import Policy
from tunnelrelay.registry.endpoint import Endpoint


class Carried(Protocol):
    """The carrier of an exchange: a tunnel's stream, or the bridge to the relay's own pages.

    Attributes:
        has_answered: A byte of the response has gone to the visitor.
        is_for_a_page: An event stream that keeps a page of the relay's up to date.
    """

    has_answered: bool
    is_for_a_page: bool

    def send(self, data: bytes | memoryview, fin: bool) -> None:
        """Send a piece of the request's body, or of an upgraded connection."""

    def end(self, trailers: list[Field]) -> None:
        """End the request."""

    def cancel(self) -> None:
        """End the exchange, as the visitor is gone."""

    def backlog(self) -> int:
        """Bytes of the request's body that the other end has not taken yet."""

    def drained(self) -> None:
        """Send more, as the visitor has taken what was written."""


class OpenConnection(Protocol):
    """A visitor's connection, seen from an exchange on it and from what carries that; see `VisitorConnection`."""

    transport: asyncio.Transport
    reader: RequestReader
    connected_peer: Peer
    peer: Peer
    address: str
    sni: str | None
    is_secure: bool
    is_secure_at_proxy: bool
    is_held_back: bool
    is_paused: bool
    saw_eof: bool
    deadline: float

    @property
    def exchange(self) -> object:
        """The exchange under way, None between two."""

    @property
    def can_close_one_half(self) -> bool:
        """Whether we can end what we send and still read."""

    def forwarded_block(self, host: bytes) -> bytes:
        """The forwarding fields."""

    def note_visitor(self, peer: Peer, *, is_secure: bool) -> None:
        """Note the visitor that a trusted proxy names."""

    def write(self, data: bytes) -> None:
        """Response bytes, framed already."""

    def write_all(self, data: tuple[bytes | memoryview, ...]) -> None:
        """Response bytes in pieces."""

    def hold_reading(self) -> None:
        """Read no more for now."""

    def resume_reading(self) -> None:
        """Read again."""

    def go_on(self) -> None:
        """Read more of a body, as some of it was taken."""

    def next_request(self) -> None:
        """Go on to the next request on the connection."""

    def end_requests(self, *, is_head_read: bool) -> None:
        """Close, as this exchange was the last one."""

    def linger(self) -> None:
        """Close so that the last answer arrives though the visitor still sends."""

    def close(self) -> None:
        """Close once everything written has gone out."""

    def cut(self, *, is_reset: bool) -> None:
        """Close now."""

    def release(self) -> asyncio.Transport:
        """Give the transport away."""


class Answering(Protocol):
    """An exchange, seen from what carries it; see `Exchange`."""

    peer: Peer
    head: RequestHead
    host: str
    endpoint: Endpoint | None
    status: int
    bytes_out: int

    @property
    def connection(self) -> OpenConnection:
        """Where the answer goes."""

    @property
    def request_id(self) -> str:
        """Names this request in logs and on error pages."""

    def note_forged(self) -> None:
        """Record that the visitor sent fields that only the relay may set."""

    def clear_site_data_lines(self, response: ResponseHead | None = None) -> bytes:
        """`Clear-Site-Data` lines for a browser that may hold data of the name's former owner; mostly b""."""

    def answer_began(self) -> None:
        """Note that the final response head is there."""

    def become_opaque(self) -> None:
        """Pass bytes as they are, as the protocols were switched."""

    def far_half_ended(self) -> None:
        """End our half of an upgraded connection, as the agent sends no more."""

    def response_done(self, *, keeps_alive: bool, error: str = "") -> None:
        """Record the request, of which the answer is written, and go on or close."""

    def break_off(self, code: str) -> None:
        """Close without a clean end, as the response cannot be completed."""

    def fail(self, code: str, *, detail: str = "", closes: bool = False, retry_after: int = 0) -> None:
        """Answer with an error of the table."""

    def can_go_elsewhere(self) -> bool:
        """Whether another tunnel, which has not been tried for this request, can take it now."""

    def forward_again(self) -> None:
        """Try once more, as the tunnel took nothing of the request."""


class Connecting(Protocol):
    """An exchange by which an agent asks for a link, seen from the acceptor."""

    peer: Peer

    def release(self) -> asyncio.Transport:
        """Give the transport away; nothing is read until its new owner says so."""

    def fail(self, code: str, *, detail: str = "", closes: bool = False, retry_after: int = 0) -> None:
        """Answer with an error of the table."""


class UnderWay(Protocol):
    """An exchange, seen from the ingress, which ends those that may not go on."""

    peer: Peer
    head: RequestHead
    host: str
    endpoint: Endpoint | None
    session: VisitorSession | Program | None
    policy: Policy | None
    status: int
    started: float

    def session_over(self) -> None:
        """End the exchange, as its session is over."""

    def endpoint_over(self) -> None:
        """End the exchange, as its edge is gone."""


class Visitor(Protocol):
    """A visitor's connection, seen from the ingress, which counts and ends connections, and gives turns."""

    transport: asyncio.Transport
    connected_address: str
    address: str
    peer: Peer
    last_host: str
    deadline: float

    @property
    def exchange(self) -> UnderWay | None:
        """The request under way."""

    @property
    def is_busy(self) -> bool:
        """Whether a request is under way, or waits for its turn."""

    @property
    def can_be_closed(self) -> bool:
        """Whether no answer is lost by it."""

    def take_turn(self) -> None:
        """Begin the request that is read, unless the visitor has left."""

    def read_turn(self) -> None:
        """Read what the visitor has sent, or will send."""

    def time_out(self) -> None:
        """End what has waited too long."""

    def drain(self) -> None:
        """Close when the connection is or becomes idle."""
