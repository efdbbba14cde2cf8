"""Protocols by which modules of the ingress use each other's classes without circular imports."""

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
    """What carries an exchange on: `Forward` to a tunnel, or `AsgiExchange` to the relay's own pages.

    Attributes:
        has_answered: Whether the response has begun.
        is_for_a_page: Whether it is an event stream that keeps one of the relay's own pages up to date.
    """

    has_answered: bool
    is_for_a_page: bool

    def send(self, data: bytes | memoryview, fin: bool) -> None:
        """Send a piece of the request's body, or of an upgraded connection, to the tunnel or app."""

    def end(self, trailers: list[Field]) -> None:
        """End the request's body, with its trailer fields."""

    def cancel(self) -> None:
        """Abort the exchange at the tunnel or app."""

    def backlog(self) -> int:
        """Return how many bytes of the request's body the tunnel or app has not taken yet."""

    def drained(self) -> None:
        """Let the tunnel or app send more of the response, as the visitor has read what was written."""


class OpenConnection(Protocol):
    """The part of a `VisitorConnection` that an exchange and its carrier use."""

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
        """The exchange under way on the connection; None between two."""

    @property
    def can_close_one_half(self) -> bool:
        """Whether the relay can close its sending half and still read."""

    def forwarded_block(self, host: bytes) -> bytes:
        """Return the `X-Forwarded-*` lines for a request."""

    def note_visitor(self, peer: Peer, *, is_secure: bool) -> None:
        """Note the visitor that a trusted proxy reports, and whether the visitor came over TLS."""

    def write(self, data: bytes) -> None:
        """Write bytes of a response, which are framed already."""

    def write_all(self, data: tuple[bytes | memoryview, ...]) -> None:
        """Write bytes of a response in several pieces."""

    def hold_reading(self) -> None:
        """Stop reading from the visitor."""

    def resume_reading(self) -> None:
        """Read from the visitor again."""

    def go_on(self) -> None:
        """Go on reading a request's body after a part of it was processed."""

    def next_request(self) -> None:
        """Go on to the next request on the connection."""

    def end_requests(self, *, is_head_read: bool) -> None:
        """Close the connection after the last response."""

    def linger(self) -> None:
        """Close the sending half, and discard what the visitor still sends, so that the last response arrives."""

    def close(self) -> None:
        """Close the connection when all that was written has been sent."""

    def cut(self, *, is_reset: bool) -> None:
        """Close the connection at once, with a TCP reset if `is_reset`."""

    def release(self) -> asyncio.Transport:
        """Hand the transport over to an agent's link."""


class Answering(Protocol):
    """The part of an `Exchange` that its carrier uses, to send the response."""

    peer: Peer
    head: RequestHead
    host: str
    endpoint: Endpoint | None
    status: int
    bytes_out: int

    @property
    def connection(self) -> OpenConnection:
        """The visitor's connection, to which the response is written."""

    @property
    def request_id(self) -> str:
        """The id by which logs and error pages name this request."""

    def note_forged(self) -> None:
        """Record that the visitor sent header fields that only the relay may set."""

    def clear_site_data_lines(self, response: ResponseHead | None = None) -> bytes:
        """Return `Clear-Site-Data` lines for a browser that may hold data of the host's former owner; mostly b""."""

    def about(self) -> bytes:
        """Return the payload of the ABOUT frame, which tells the agent of an inspected tunnel about the visitor."""

    def answer_began(self) -> None:
        """Note that the final response head has come."""

    def become_opaque(self) -> None:
        """Pass bytes unchanged from now on, as the response has switched protocols."""

    def far_half_ended(self) -> None:
        """Close the relay's half of an upgraded connection, as the agent sends no more."""

    def response_done(self, *, keeps_alive: bool, error: str = "") -> None:
        """Record the request, whose response is written, and begin the next one or close the connection."""

    def break_off(self, code: str) -> None:
        """Close the connection so that the visitor sees that the response is incomplete."""

    def fail(self, code: str, *, detail: str = "", closes: bool = False, retry_after: int = 0) -> None:
        """Answer the request with an error of `pages.errors.ERRORS`."""

    def can_go_elsewhere(self) -> bool:
        """Whether a tunnel that was not tried for this request can take it now."""

    def forward_again(self) -> None:
        """Send the request again, as the tunnel took nothing of it."""


class Connecting(Protocol):
    """The part of an `Exchange` that the acceptor of agents uses, when an agent requests a link."""

    peer: Peer

    def release(self) -> asyncio.Transport:
        """Hand the transport over to the agent's link, with reading paused."""

    def fail(self, code: str, *, detail: str = "", closes: bool = False, retry_after: int = 0) -> None:
        """Answer the request with an error of `pages.errors.ERRORS`."""


class UnderWay(Protocol):
    """The part of an `Exchange` that the ingress uses, to end exchanges that may not go on."""

    peer: Peer
    head: RequestHead
    host: str
    endpoint: Endpoint | None
    session: VisitorSession | Program | None
    policy: Policy | None
    status: int
    started: float

    def session_over(self) -> None:
        """End the exchange, as its session has ended."""

    def endpoint_over(self) -> None:
        """End the exchange, as its edge was removed."""


class Visitor(Protocol):
    """The part of a visitor's connection that the ingress uses, to count and end connections and to give turns."""

    transport: asyncio.Transport
    connected_address: str
    address: str
    peer: Peer
    last_host: str
    deadline: float

    @property
    def exchange(self) -> UnderWay | None:
        """The exchange under way on the connection; None between two."""

    @property
    def is_busy(self) -> bool:
        """Whether a request on the connection is under way, or waits for its turn."""

    @property
    def can_be_closed(self) -> bool:
        """Whether the connection can be closed without losing a response."""

    def take_turn(self) -> None:
        """Begin the request that has waited for its turn, unless the visitor has left."""

    def read_turn(self) -> None:
        """Start to read from the connection, as its turn has come."""

    def time_out(self) -> None:
        """End what the connection waits for, as its deadline has passed."""

    def drain(self) -> None:
        """Close an idle connection now, a busy one after its response, as the relay stops."""
