"""Accepts TLS connections, and counts them as visitors before their handshake.

The event loop's own TLS server reports a connection only after its handshake. Until then, for up to 10 s, a silent
connection would take an open file and memory without counting towards the limits of its address.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress

from tunnelctl.bounds import DeclaredBound
from tunnelctl.eventlog import EventLog
from tunnelrelay.ingress.connection import VisitorConnection
from tunnelrelay.ingress.ingress import Ingress

log = EventLog("tunnelrelay.ingress")

HANDSHAKE_SECONDS = 10.0
MAX_HANDSHAKES = 2_000
"""TLS handshakes under way at once; when there are more, the oldest is cancelled. One takes 35 to 105 KB with uvloop,
280 KB with asyncio's own loop. A relay does some 850 a second, so that a handshake has two seconds even in a flood."""
MAX_ACCEPTED = 32
"""Connections accepted in one turn of the event loop."""
AGAIN_SECONDS = 1.0
"""Seconds before accepting connections again after the system could not, mostly for want of open files."""
BOUNDS = (
    DeclaredBound(
        name="TLS handshakes under way",
        limit=MAX_HANDSHAKES,
        unit="handshakes",
        per="relay",
        when_full="the oldest is given up. Each counts as a visitor's connection, too",
        worst_bytes=MAX_HANDSHAKES * 300_000,
        holds=("TlsServer._handshakes",),
    ),
)


class Handshake(asyncio.Transport):
    """The transport of a connection during its TLS handshake: it has the peer's address and can be closed."""

    def __init__(self, sock: socket.socket) -> None:
        name = None
        with suppress(OSError):  # the visitor has disconnected already
            name = sock.getpeername()
        super().__init__({"peername": name})
        self._cancel: Callable[[], object] = sock.close

    def begun(self, task: "asyncio.Task[object]") -> None:
        """Note the task that runs the handshake, which closing cancels."""
        self._cancel = task.cancel

    def get_write_buffer_size(self) -> int:
        """Return 0: nothing is written before the handshake ends."""
        return 0

    def close(self) -> None:
        """Cancel the handshake and close the connection."""
        self._cancel()

    def abort(self) -> None:
        """Cancel the handshake and close the connection."""
        self._cancel()


class TlsServer:
    """Accepts visitors' TLS connections on a socket.

    Args:
        sock: The listening socket.
    """

    def __init__(self, ingress: Ingress, sock: socket.socket, context: ssl.SSLContext) -> None:
        self._ingress = ingress
        self._sock = sock
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._handshakes: dict[asyncio.Task[object], None] = {}  # the oldest first
        self._accepting = self._loop.create_task(self._accept())

    def close(self) -> None:
        """Stop accepting connections and close the listening socket."""
        self._accepting.cancel()

    async def _accept(self) -> None:
        with self._sock:
            self._sock.setblocking(False)
            while True:
                try:
                    for _ in range(MAX_ACCEPTED):
                        sock, _ = await self._loop.sock_accept(self._sock)
                        try:
                            self._begin(sock)
                        except Exception:  # an error of one visitor must not stop accepting others
                            log.exception("connection not accepted")
                            sock.close()
                except ConnectionError:
                    pass  # the connection was closed before it could be accepted
                except OSError as error:
                    log.warning("no connection can be accepted, retrying", error=error)
                    await asyncio.sleep(AGAIN_SECONDS)
                await asyncio.sleep(0)

    def _begin(self, sock: socket.socket) -> None:
        connection, handshake = VisitorConnection(self._ingress, is_secure=True), Handshake(sock)
        if connection.arrive(handshake):
            if len(self._handshakes) >= MAX_HANDSHAKES:
                oldest = next(iter(self._handshakes))
                del self._handshakes[oldest]
                oldest.cancel()
            task = self._loop.create_task(self._shake(connection, sock))
            handshake.begun(task)
            self._handshakes[task] = None
            task.add_done_callback(lambda task: self._end(task, connection, handshake, sock))

    async def _shake(self, connection: VisitorConnection, sock: socket.socket) -> None:
        with suppress(OSError):  # the handshake failed or timed out, or the visitor has disconnected
            await self._loop.connect_accepted_socket(
                lambda: connection, sock, ssl=self._context, ssl_handshake_timeout=HANDSHAKE_SECONDS
            )

    def _end(
        self, task: "asyncio.Task[object]", connection: VisitorConnection, handshake: Handshake, sock: socket.socket
    ) -> None:
        self._handshakes.pop(task, None)
        if connection.transport is handshake:  # the handshake was not completed
            self._ingress.leave(connection)
            sock.close()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("TLS handshake failed", exc_info=error)
