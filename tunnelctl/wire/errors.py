"""Codes that end a stream or a link, and the errors that carry them."""

from enum import IntEnum


class Code(IntEnum):
    """Why a stream was reset or a link ended. The numbers are the wire's and never change meaning."""

    NO_ERROR = 0
    """A clean end: drained, unbound, asked to stop."""
    CANCELLED = 1
    """The visitor, or another sender of the request, went away."""
    REFUSED = 2
    """Not taken and not begun: safe to send again elsewhere."""
    UPSTREAM_UNREACHABLE = 3
    """The local service could not be connected to."""
    UPSTREAM_BROKEN = 4
    """The local service closed early or did not speak HTTP."""
    UPSTREAM_TIMEOUT = 5
    """The local service did not begin to answer in time."""
    PROTOCOL = 16
    """The peer broke the protocol's rules."""
    FLOW_CONTROL = 17
    """The peer sent more than it had credit for."""
    LIMIT = 18
    """The peer went over an advertised limit."""
    TOO_MANY_RESETS = 19
    """Rapid reset: streams opened and reset faster than allowed."""
    HEARTBEAT = 20
    """Nothing was heard for too long."""
    SUPERSEDED = 21
    """Another agent of the same owner took the name."""
    UNAUTHORIZED = 22
    """The credential was revoked or never valid."""
    STOPPED = 23
    """A user who manages the relay stopped this agent: it is not to come back by itself."""
    INTERNAL = 31
    """The sender's own fault."""


class WireError(Exception):
    """The link cannot go on.

    Attributes:
        code: What to tell the peer.
        is_remote: True when the peer broke the rules, False when our own caller did.
    """

    def __init__(self, code: Code, detail: str, *, is_remote: bool = True) -> None:
        super().__init__(f"{code.name.lower()}: {detail}")
        self.code = code
        self.detail = detail
        self.is_remote = is_remote
