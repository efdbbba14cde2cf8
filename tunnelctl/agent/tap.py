"""The interface that receives the parts of an inspected exchange as they come. `inspector.store` implements it."""

from collections.abc import Callable
from typing import Protocol

from tunnelctl.http1.body import Piece
from tunnelctl.wire.errors import Code
from tunnelctl.wire.frames import OpenHead


class ExchangeTap(Protocol):
    """Receives the parts of one exchange.

    Called in the event loop, for each piece of a body, so it must not block or raise.
    """

    def about(self, payload: bytes) -> None:
        """Receive what the relay reports about the visitor, for `wire.about.unpack_about`.

        Older relays report nothing.
        """

    def sending(self) -> None:
        """Note that the request is being sent to the local service.

        Called again when it is repeated on another connection.
        """

    def request_data(self, data: Piece) -> None:
        """Receive a piece of the request's body, or of the bytes that a visitor sends on an upgraded connection."""

    def request_ended(self) -> None:
        """Note that the request's body is complete. Not called for a request without a body."""

    def answered(self, status: int, lines: bytes) -> None:
        """Receive the head of the final response; interim (1xx) heads are not reported.

        Args:
            lines: The field lines, each with its CR LF.
        """

    def response_data(self, data: Piece) -> None:
        """Receive a piece of the response's body, or of the bytes that the service sends on an upgraded connection."""

    def ended(self, code: Code | None, reason: str) -> None:
        """Note the end of the exchange. No call follows.

        Args:
            code: Reason of a failure; None without one.
            reason: Description of the failure; may be empty.
        """


OpenTap = Callable[[str, OpenHead], ExchangeTap]
"""Function that is called when an exchange begins, with the tunnel's name and the request's head, and returns its
tap."""
