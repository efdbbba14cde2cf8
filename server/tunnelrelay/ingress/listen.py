"""Listening sockets: plain and TLS, with certificate files that are read again when they change."""

import asyncio
import logging
import socket
import ssl
from pathlib import Path

from tunnelrelay.ingress.ingress import Ingress
from tunnelrelay.ingress.visit import Visit

log = logging.getLogger("tunnelrelay.ingress")

BACKLOG = 2048
HANDSHAKE_SECONDS = 10.0


class Certificate:
    """A certificate and key from files, as a TLS context that follows them.

    Raises:
        OSError, ssl.SSLError: The files cannot be used (at the start; later ones are logged and the old ones kept).
    """

    def __init__(self, cert: Path, key: Path) -> None:
        self._cert = cert
        self._key = key
        self.context = _server_context()
        self.context.load_cert_chain(cert, key)
        self.context.sni_callback = _remember_name
        self._seen = self._stamp()

    def reload_if_changed(self) -> None:
        """Use the files' new content for new connections; those that are open keep what they have."""
        stamp = self._stamp()
        if stamp is None or stamp == self._seen:
            return
        try:
            # Tried apart first: a context that took the certificate and not the key would refuse every handshake.
            _server_context().load_cert_chain(self._cert, self._key)
            self.context.load_cert_chain(self._cert, self._key)
        except (OSError, ssl.SSLError) as error:
            log.error("new certificate not usable, the old one stays: file=%s error=%s", self._cert, error)
        else:
            log.info("certificate reloaded file=%s", self._cert)
        self._seen = stamp

    def _stamp(self) -> tuple[int, ...] | None:
        try:
            stats = [path.stat() for path in (self._cert, self._key)]
        except OSError:
            return None  # being replaced right now
        return tuple(number for stat in stats for number in (stat.st_mtime_ns, stat.st_ino, stat.st_size))


def bind(host: str, port: int) -> socket.socket:
    """A bound socket; `host` "" means every interface, IPv4 and IPv6.

    Raises:
        OSError: The address cannot be had.
    """
    if not host:
        sock = socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=BACKLOG)
    else:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        sock = socket.create_server((host, port), family=family, backlog=BACKLOG)
    # Accepted connections inherit it: a visitor that vanished from a silent stream is noticed some time.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # And this, which uvloop sets by itself and asyncio's own loop does not (40 ms of Nagle against delayed ACK).
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


async def listen(ingress: Ingress, sock: socket.socket, certificate: Certificate | None = None) -> asyncio.Server:
    """Accept visitors on a bound socket, over TLS when there is a certificate."""
    is_secure = certificate is not None
    return await asyncio.get_running_loop().create_server(
        lambda: Visit(ingress, is_secure=is_secure),
        sock=sock,
        backlog=BACKLOG,
        ssl=certificate.context if certificate is not None else None,
        ssl_handshake_timeout=HANDSHAKE_SECONDS if is_secure else None,
    )


def _server_context() -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def _remember_name(tls: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
    """The router compares it with the Host of every request on the connection."""
    tls.server_name_asked = name  # type: ignore[attr-defined]  # Python keeps no server-side record of it
