"""The relay's side of opening a link: the websocket handshake of `GET /_tunnel/connect`."""

from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from tunnelctl.link.link import MAX_RECEIVED
from tunnelctl.wire.messages import SUBPROTOCOL


def accept(head: bytes) -> tuple[ServerProtocol, bytes]:
    """Answer a websocket handshake.

    Args:
        head: The request's head as received, with its empty line.

    Returns:
        The websocket, which is open if the response is a 101, and the response's bytes. The client must offer the
        subprotocol; extensions are never negotiated (compression slowed a tunnel written in Python down by a factor of
        five).
    """
    ws = ServerProtocol(subprotocols=[Subprotocol(SUBPROTOCOL)], extensions=None, max_size=MAX_RECEIVED)
    ws.receive_data(head)
    request = next((event for event in ws.events_received() if isinstance(event, Request)), None)
    if request is None:
        ws.send_response(ws.reject(400, "not a websocket handshake\n"))
    else:
        response = ws.accept(request)
        if response.status_code == 101 and ws.subprotocol != SUBPROTOCOL:
            response = ws.reject(400, f"the subprotocol must be {SUBPROTOCOL}\n")
        ws.send_response(response)
    return ws, b"".join(ws.data_to_send())


def is_accepted(ws: ServerProtocol) -> bool:
    """Return whether the handshake succeeded."""
    return ws.state is State.OPEN
