"""The parts of a visitor's request that logins and logouts use."""

from dataclasses import dataclass, field

from tunnelrelay.model import Peer
from tunnelrelay.policy.rules import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class VisitorRequest:
    """A request to one of the relay's own login or logout pages.

    Attributes:
        connection: The endpoint's current OpenID connection.
        cookie_values: The request's Cookie fields, unparsed.
    """

    host: str
    connection: Connection
    cookie_values: list[bytes] = field(repr=False)
    request_id: str
    peer: Peer

    def about(self) -> dict[str, str]:
        """Return the fields of an audit event about the request."""
        return {
            "host": self.host,
            "connection": self.connection.id,
            "peer": self.peer.host,
            "request_id": self.request_id,
        }
