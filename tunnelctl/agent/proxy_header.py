"""Builds the header of the PROXY protocol, which tells a local service the address of a visitor.

Version 1 is a line of text, version 2 is binary: https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt. The
header is at the very beginning of a connection, before TLS, so each visitor's exchange needs a connection of its own.
"""

import ipaddress
from struct import pack
from typing import Literal

ProxyVersion = Literal[0, 1, 2]
"""Version of the header; 0 for none."""
PEER = b"Peer: "
"""Prefix of the line in the OPEN frame of a TCP connection that contains the visitor's address."""
_FORWARDED_FOR = b"\r\nx-forwarded-for: "
_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_LOCAL, _PROXY = 0x20, 0x21
_TCP4, _TCP6 = 0x11, 0x21

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def proxy_header(version: ProxyVersion, head: bytes, port: int) -> bytes:
    """Return the PROXY header for a visitor's connection.

    Args:
        head: Head in the visitor's OPEN frame.
        port: Port of the service, sent as the port that the visitor connected to.

    Returns:
        The header; one for an unknown visitor if the relay does not send the address. b"" for version 0.
    """
    if not version:
        return b""
    source = visitor_address(head)
    if source is None:
        return local_header(version)
    address, source_port = source
    is_v4 = address.version == 4
    any_address = ipaddress.ip_address("0.0.0.0" if is_v4 else "::")  # noqa: S104  # stands for the relay's own address
    if version == 1:
        family = "TCP4" if is_v4 else "TCP6"
        return f"PROXY {family} {address} {any_address} {source_port} {port}\r\n".encode()
    body = address.packed + any_address.packed + pack(">HH", source_port, port)
    return _SIGNATURE + pack(">BBH", _PROXY, _TCP4 if is_v4 else _TCP6, len(body)) + body


def local_header(version: ProxyVersion) -> bytes:
    """Return the header of a connection that is not a visitor's, such as a check whether the service is running."""
    return {0: b"", 1: b"PROXY UNKNOWN\r\n", 2: _SIGNATURE + pack(">BBH", _LOCAL, 0, 0)}[version]


def visitor_address(head: bytes) -> tuple[Address, int] | None:
    """Return the address and port (0 when unknown) of a visitor, as the relay sent it.

    The relay removes every `X-Forwarded-For` of the visitor, and adds its own as the last one.
    """
    if head.startswith(PEER):
        host, _, port = head[len(PEER) :].partition(b"\r\n")[0].rpartition(b":")
        text, number = host.strip(b"[]"), int(port) if port.isdigit() else 0
    else:
        start = head.lower().rfind(_FORWARDED_FOR)
        if start < 0:
            return None
        line = head[start + len(_FORWARDED_FOR) :].partition(b"\r\n")[0]
        text, number = line.rpartition(b",")[2].strip(), 0
    try:
        address = ipaddress.ip_address(text.decode("ascii"))
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or ipaddress.IPv6Address(address.packed)  # without a zone
    return address, number if number <= 0xFFFF else 0
