"""The seams inside the ingress: what a visit offers to the carrier of its request, and what it needs of them."""

import asyncio
from typing import Protocol

from tunnelctl.http1.body import Field
from tunnelctl.http1.head import ResponseHead
from tunnelrelay.ingress.request import Request
from tunnelrelay.model import Peer


class Carried(Protocol):
    """An exchange on its way: over a tunnel, or to the relay's own pages.

    Attributes:
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


class HasRequest(Protocol):
    """A visitor with a request, for those who write down who asked for what."""

    request: Request
    peer: Peer


class Visitor(HasRequest, Protocol):
    """A visit, seen from what carries its request or counts it."""

    transport: asyncio.Transport
    connected_address: str
    is_secure: bool
    sni: str | None
    is_idle: bool
    is_paused: bool
    deadline: float

    @property
    def can_be_closed(self) -> bool:
        """Whether no answer is lost by it."""

    @property
    def request_id(self) -> str:
        """Names this request in logs and on error pages."""

    def clear_site_data_lines(self, response: ResponseHead | None = None) -> bytes:
        """Header lines for a browser that knew the name's former owner; nearly always none."""

    def write(self, data: bytes) -> None:
        """Response bytes, framed already."""

    def write_all(self, data: tuple[bytes | memoryview, ...]) -> None:
        """Response bytes in pieces."""

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

    def hold_reading(self) -> None:
        """Read no more for now."""

    def resume_reading(self) -> None:
        """Read again."""

    def release(self) -> asyncio.Transport:
        """The connection was handed over; nothing is read until its new owner says so."""

    def session_over(self) -> None:
        """What let the request in is over."""

    def endpoint_over(self) -> None:
        """What it was asked of is gone."""

    def time_out(self) -> None:
        """The deadline has passed."""

    def drain(self) -> None:
        """The relay stops."""
