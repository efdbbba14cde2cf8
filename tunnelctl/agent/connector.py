"""Opens connections to a local service: by TCP, to a unix socket, or to a file server inside this process.

`upstream` (for web apps) and `tcp` (for other services) use these connections.
"""

import asyncio
import errno
import ipaddress
import os
import ssl
import stat
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from tunnelctl.agent.address import UpstreamAddress

if TYPE_CHECKING:
    from tunnelctl.agent.file_server import FileServer

MakeProtocol = Callable[[], asyncio.BaseProtocol]
MAX_SOCKET_PATH = 103
"""Maximum bytes of the path of a unix socket. macOS has room for 104 including the final zero, Linux for 108."""
DIRECTORY_PROBLEMS = {
    errno.ENOENT: "there is no such directory",
    errno.ENOTDIR: "it is not a directory; name the directory that the file is in",
    errno.EACCES: "this user may not read the directory",
}


class Connector(Protocol):
    """Opens connections to one local service.

    Attributes:
        port: TCP port of the service; 0 when it has none.
        server_name: Host name for the service's certificate, if it uses TLS.
    """

    port: int
    server_name: str

    async def connect(self, make: MakeProtocol, tls: ssl.SSLContext | None = None) -> asyncio.Transport:
        """Open a connection and pass it to the protocol that `make` returns.

        Raises:
            OSError: The service does not accept the connection.
        """


class TcpConnector:
    """Connects to a host and port by TCP."""

    def __init__(self, host: str, port: int) -> None:
        self.port = port
        self.server_name = host

    async def connect(self, make: MakeProtocol, tls: ssl.SSLContext | None = None) -> asyncio.Transport:
        """Resolve the host, and connect to the first of its addresses that responds."""
        transport, _ = await asyncio.get_running_loop().create_connection(
            make, self.server_name, self.port, ssl=tls, server_hostname=self.server_name if tls else None
        )
        return transport


class UnixConnector:
    """Connects to a unix socket."""

    port = 0
    server_name = "localhost"

    def __init__(self, path: str) -> None:
        self._path = path

    async def connect(self, make: MakeProtocol, tls: ssl.SSLContext | None = None) -> asyncio.Transport:
        """Connect to the socket at the path."""
        transport, _ = await asyncio.get_running_loop().create_unix_connection(
            make, self._path, ssl=tls, server_hostname=self.server_name if tls else None
        )
        return transport


class DirectoryConnector:
    """Connects to a file server that runs in this process and is created when it is first needed."""

    port = 0
    server_name = "localhost"

    def __init__(self, path: str) -> None:
        self._path = path
        self._server: FileServer | None = None

    async def connect(self, make: MakeProtocol, tls: ssl.SSLContext | None = None) -> asyncio.Transport:
        """Connect to the file server.

        Raises:
            OSError: The directory does not exist or is not readable; callers treat this as an unreachable service.
        """
        if number := directory_error(self._path):
            raise OSError(number, os.strerror(number))
        if self._server is None:
            self._server = await asyncio.to_thread(_file_server, self._path)
        return await self._server.connect(make)


def open_connector(address: UpstreamAddress) -> Connector:
    """Return the connector for the service at this address."""
    if address.scheme == "file":
        return DirectoryConnector(address.path)
    return UnixConnector(address.path) if address.path else TcpConnector(address.host, address.port)


def leads_to(transport: asyncio.BaseTransport, listening: tuple[str, int]) -> bool:
    """Return whether a connection was accepted by the socket of this machine that listens at this address.

    The two ends of the connection decide, as a name can resolve to any address.

    Args:
        listening: IP literal and port; the literal may mean all addresses of the machine.
    """
    peer, own = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
    if not isinstance(peer, tuple) or not isinstance(own, tuple) or peer[1] != listening[1]:
        return False
    far, near, listener = map(_plain_ip, (peer[0], own[0], listening[0]))
    return far == listener or (listener.is_unspecified and (far.is_loopback or far == near))


def path_problem(address: UpstreamAddress) -> str:
    """Return why the path of an address cannot be used on this machine; "" when it can, and for hosts and ports.

    A unix socket that does not exist is accepted: the service may be started later.
    """
    if address.scheme == "file":
        number = directory_error(address.path)
        return DIRECTORY_PROBLEMS.get(number, os.strerror(number)) if number else ""
    if not address.path:
        return ""
    if sys.platform == "win32":
        return "unix sockets cannot be used on Windows; name the service by its port"
    if len(os.fsencode(address.path)) > MAX_SOCKET_PATH:
        return f"the path of a unix socket has at most {MAX_SOCKET_PATH} bytes"
    try:
        is_socket = stat.S_ISSOCK(os.stat(address.path).st_mode)
    except OSError:
        return ""
    return "" if is_socket else "it is not a unix socket"


def directory_error(path: str) -> int:
    """Return why a directory cannot be served, as an errno; 0 when it can."""
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        return error.errno or errno.EIO
    if not stat.S_ISDIR(mode):
        return errno.ENOTDIR
    return 0 if os.access(path, os.R_OK | os.X_OK) else errno.EACCES


def _plain_ip(literal: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return an address; an IPv4-mapped IPv6 address as IPv4."""
    address = ipaddress.ip_address(literal.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _file_server(path: str) -> "FileServer":
    """Import and create the file server. Called in a thread, as the import takes a tenth of a second."""
    from tunnelctl.agent.file_server import FileServer

    return FileServer(path)
