"""Opens the listening sockets for visitors, plain and TLS, and reads changed certificate files again."""

import asyncio
import datetime
import socket
import ssl
from pathlib import Path
from typing import Protocol

from tunnelctl.eventlog import EventLog
from tunnelrelay.ingress.certificate_check import CertificateError, check_files, misgivings
from tunnelrelay.ingress.connection import VisitorConnection
from tunnelrelay.ingress.handshakes import TlsServer
from tunnelrelay.ingress.ingress import Ingress

log = EventLog("tunnelrelay.ingress")

BACKLOG = 2048


class Certificate:
    """A TLS context with certificate and key from files, which are read again when they change.

    Args:
        domain: The domain that the certificate should be for; "" skips this check.

    Attributes:
        misgivings: Reasons for which browsers will refuse the certificate, each with a hint.

    Raises:
        CertificateError: The files cannot be used. This is for the constructor; when later files cannot be used, the
            error is logged and the former certificate stays.
    """

    def __init__(self, cert: Path, key: Path, domain: str = "") -> None:
        self._cert = cert
        self._key = key
        self._domain = domain
        self.misgivings = self._checked()
        self.context = _server_context()
        _load(self.context, cert, key)
        self.context.sni_callback = _remember_name
        self._seen = self._stamp()

    def reload_if_changed(self) -> None:
        """Read the files again if they have changed, and use the new certificate for new connections."""
        stamp = self._stamp()
        if stamp is None or stamp == self._seen:
            return
        try:
            # Tried in another context first: a context that took the certificate but not the key would fail every
            # handshake.
            self.misgivings = self._checked()
            _load(_server_context(), self._cert, self._key)
            _load(self.context, self._cert, self._key)
        except CertificateError as error:
            log.error(
                "new certificate not usable, the old one stays", file=str(self._cert), error=str(error), hint=error.hint
            )
        else:
            log.info("certificate reloaded", file=str(self._cert))
            for what, hint in self.misgivings:
                log.warning("certificate warning", warning=what, file=str(self._cert), hint=hint)
        self._seen = stamp

    def _checked(self) -> list[tuple[str, str]]:
        chain = check_files(self._cert, self._key)
        return misgivings(chain, self._domain, datetime.datetime.now(datetime.UTC))

    def _stamp(self) -> tuple[int, ...] | None:
        try:
            stats = [path.stat() for path in (self._cert, self._key)]
        except OSError:
            return None  # a file is being replaced right now
        return tuple(number for stat in stats for number in (stat.st_mtime_ns, stat.st_ino, stat.st_size))


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket; `host` "" means every interface, IPv4 and IPv6.

    Raises:
        OSError: The address is in use, or is not one of this machine.
    """
    if not host:
        sock = socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=BACKLOG)
    else:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        sock = socket.create_server((host, port), family=family, backlog=BACKLOG)
    # Accepted connections inherit keep-alive, which detects that the visitor of a silent stream has vanished.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # uvloop sets it by itself, asyncio's own loop does not (40 ms of Nagle against delayed ACK).
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


class Server(Protocol):
    """A server that accepts visitors' connections on a socket."""

    def close(self) -> None:
        """Stop accepting connections."""


async def listen(ingress: Ingress, sock: socket.socket, certificate: Certificate | None = None) -> Server:
    """Accept visitors' connections on a socket, over TLS when there is a certificate. Returns the server."""
    if certificate is not None:
        return TlsServer(ingress, sock, certificate.context)
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: VisitorConnection(ingress, is_secure=False), sock=sock, backlog=BACKLOG)


def _load(context: ssl.SSLContext, cert: Path, key: Path) -> None:
    """Load certificate and key into a TLS context.

    Raises:
        CertificateError: OpenSSL refuses files that could be parsed, for example a key that is too short.
    """
    try:
        context.load_cert_chain(cert, key, password="")  # without `password`, OpenSSL's prompt would block the relay
    except ssl.SSLError as error:
        why = (error.reason or "not usable").replace("_", " ").lower()
        hint = "make a new key and certificate: RSA with 2048 bits, or P-256"
        raise CertificateError(f"OpenSSL refuses --tls-cert {cert}: {why}", hint) from error
    except OSError as error:
        raise CertificateError(f"--tls-cert {cert} cannot be read: {error.strerror}", "try again") from error


def _server_context() -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def _remember_name(tls: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
    """Store the server name (SNI) of a handshake; the router compares it with each request's Host."""
    tls.server_name_asked = name  # type: ignore[attr-defined]  # Python keeps no server-side record of it
