"""The interfaces inside the ingress: what its parts see of each other, so that none imports what imports it."""

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
    """An exchange on its way: over a tunnel, or to the relay's own pages.

    Attributes:
        has_answered: A byte of the response has gone to the visitor.
        is_for_a_page: An event stream that keeps a page of the relay's up to date.
    """

    has_answered: bool
    is_for_a_page: bool

    def send(self, data: bytes | memoryview, fin: bool) -> None:
        """A piece of the request's body, or of an upgraded connection."""

    def end(self, trailers: list[Field]) -> None:
        """The request is complete."""

    def cancel(self) -> None:
        """The visitor is gone."""

    def backlog(self) -> int:
        """Bytes of the request's body that the other end has not taken yet."""

    def drained(self) -> None:
        """The visitor has taken what was written."""


class OpenConnection(Protocol):
    """A visitor's connection, seen from an exchange on it and from what carries that; see `VisitorConnection`."""

    transport: asyncio.Transport
    reader: RequestReader
    connected_peer: Peer
    peer: Peer
    address: str
    sni: str | None
    is_secure: bool
    is_told_secure: bool
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

    def speaks_for(self, peer: Peer, *, is_secure: bool) -> None:
        """A trusted proxy has said whose request this is."""

    def write(self, data: bytes) -> None:
        """Response bytes, framed already."""

    def write_all(self, data: tuple[bytes | memoryview, ...]) -> None:
        """Response bytes in pieces."""

    def hold_reading(self) -> None:
        """Read no more for now."""

    def resume_reading(self) -> None:
        """Read again."""

    def go_on(self) -> None:
        """Some of a body was taken: read more of it."""

    def next_request(self) -> None:
        """The exchange is over; another may follow on the connection."""

    def end_requests(self, *, is_head_read: bool) -> None:
        """The exchange is over, and the last one."""

    def linger(self) -> None:
        """Close so that the last answer arrives though the visitor still sends."""

    def close(self) -> None:
        """Close once everything written has gone out."""

    def cut(self, *, is_reset: bool) -> None:
        """Close now."""

    def release(self) -> asyncio.Transport:
        """The connection is another's from here on."""


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
        """The visitor sent fields that only the relay may set."""

    def clear_site_data_lines(self, response: ResponseHead | None = None) -> bytes:
        """Header lines for a browser that knew the name's former owner; nearly always none."""

    def answer_began(self) -> None:
        """The final response head is there."""

    def become_opaque(self) -> None:
        """The protocols were switched."""

    def far_half_ended(self) -> None:
        """The agent's half of an upgraded connection is over, and the visitor's is not."""

    def response_done(self, *, keeps_alive: bool, error: str = "") -> None:
        """The response has been written."""

    def break_off(self, code: str) -> None:
        """The response cannot be completed."""

    def fail(self, code: str, *, detail: str = "", closes: bool = False, retry_after: int = 0) -> None:
        """Answer with an error of the table."""

    def can_go_elsewhere(self) -> bool:
        """Whether another tunnel, which has not been tried for this request, can take it now."""

    def forward_again(self) -> None:
        """The tunnel took nothing of the request: try once more."""


class Connecting(Protocol):
    """An exchange by which an agent asks for a link, seen from the acceptor."""

    peer: Peer

    def release(self) -> asyncio.Transport:
        """The connection was handed over; nothing is read until its new owner says so."""

    def fail(self, code: str, *, detail: str = "", closes: bool = False, retry_after: int = 0) -> None:
        """Answer with an error of the table."""


class UnderWay(Protocol):
    """An exchange, seen from the ingress, which ends those that would not be let in any more."""

    peer: Peer
    head: RequestHead
    host: str
    endpoint: Endpoint | None
    session: VisitorSession | Program | None
    policy: Policy | None
    status: int
    started: float

    def session_over(self) -> None:
        """What let the request in is over."""

    def endpoint_over(self) -> None:
        """What it was asked of is gone."""


class Visitor(Protocol):
    """A visitor's connection, seen from the ingress, which counts and ends connections, and gives turns."""

    transport: asyncio.Transport
    connected_address: str
    address: str
    peer: Peer
    asked_host: str
    deadline: float

    @property
    def exchange(self) -> UnderWay | None:
        """The request under way."""

    @property
    def can_be_closed(self) -> bool:
        """Whether no answer is lost by it."""

    def take_turn(self) -> None:
        """Begin the request that is read, unless the visitor has left."""

    def read_turn(self) -> None:
        """Read what the visitor has sent, or will send."""

    def time_out(self) -> None:
        """The deadline has passed."""

    def drain(self) -> None:
        """The relay stops."""
