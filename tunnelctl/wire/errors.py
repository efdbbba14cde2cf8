"""The error codes that end a stream or a link, and the exception that carries such a code."""

from enum import IntEnum


class Code(IntEnum):
    """The reason why a stream was reset or a link ended.

    The numbers are part of the wire protocol and never change meaning.
    """

    NO_ERROR = 0
    """The end was regular: for example the link was drained, or the tunnel was unbound."""
    CANCELLED = 1
    """The sender of the request, usually the visitor, went away before the response was complete."""
    REFUSED = 2
    """The request was refused before any work on it began: it is safe to send it again to another agent."""
    UPSTREAM_UNREACHABLE = 3
    """The agent could not connect to the local service."""
    UPSTREAM_BROKEN = 4
    """The local service closed the connection early or did not speak HTTP."""
    UPSTREAM_TIMEOUT = 5
    """The local service did not begin its response in time."""
    PROTOCOL = 16
    """The peer broke a rule of the protocol."""
    FLOW_CONTROL = 17
    """The peer sent more data than it had credit for."""
    LIMIT = 18
    """The peer exceeded one of the advertised limits."""
    TOO_MANY_RESETS = 19
    """The peer opened and reset streams faster than allowed (the rapid reset attack)."""
    HEARTBEAT = 20
    """The peer was silent for longer than the heartbeat allows."""
    SUPERSEDED = 21
    """Another agent of the same owner took over the tunnel's name."""
    UNAUTHORIZED = 22
    """The credential was revoked or was never valid."""
    STOPPED = 23
    """A user who manages the relay stopped this agent; the agent must not reconnect by itself."""
    INTERNAL = 31
    """The sender of this code has a bug or an internal failure."""


class WireError(Exception):
    """The link cannot continue and must be closed.

    Attributes:
        code: Error code to send to the peer.
        is_remote: True when the peer broke the rules, False when our own caller did.
    """

    def __init__(self, code: Code, detail: str, *, is_remote: bool = True) -> None:
        super().__init__(f"{code.name.lower()}: {detail}")
        self.code = code
        self.detail = detail
        self.is_remote = is_remote
