"""What an inspected exchange tells, as it happens. The exchange does not know who listens; see `inspector.capture`."""

from collections.abc import Callable
from typing import Protocol

from tunnelctl.http1.body import Piece
from tunnelctl.wire.errors import Code
from tunnelctl.wire.frames import OpenHead


class ExchangeTap(Protocol):
    """Takes the parts of one exchange. Called in the event loop, for each piece of a body: never block or raise."""

    def about(self, payload: bytes) -> None:
        """What the relay tells about the visitor: `wire.about.unpack_about` reads it. Older relays tell nothing."""

    def sending(self) -> None:
        """There is a connection to the local service, and the request goes out on it. Comes again when it is repeated
        on another connection."""

    def request_data(self, data: Piece) -> None:
        """A piece of the request's body, or of what a visitor sends on an upgraded connection."""

    def request_ended(self) -> None:
        """The request is complete. Not called for one that ended with its head."""

    def answered(self, status: int, lines: bytes) -> None:
        """The head of the response; 1xx heads before it are not told.

        Args:
            lines: The field lines, each with its CR LF.
        """

    def response_data(self, data: Piece) -> None:
        """A piece of the response's body, or of what the service sends on an upgraded connection."""

    def ended(self, code: Code | None, reason: str) -> None:
        """The exchange is over. Nothing is told after this.

        Args:
            code: Why it failed, None when it did not.
            reason: The same in words; may be empty.
        """


OpenTap = Callable[[str, OpenHead], ExchangeTap]
"""Called when an exchange begins, with the tunnel's name; returns what listens to it."""
