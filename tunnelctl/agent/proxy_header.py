"""The PROXY protocol's header, which tells a local service where a visitor connects from. Pure.

Version 1 is a line of text, version 2 is binary: https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt. A header
stands at the very beginning of a connection, before TLS: each visitor's exchange has a connection of its own.
"""

import ipaddress
from struct import pack
from typing import Literal

ProxyVersion = Literal[0, 1, 2]
"""0 for no header."""
PEER = b"Peer: "
"""Begins the line of a tcp connection's OPEN that tells where the visitor connects from."""
_FORWARDED_FOR = b"\r\nx-forwarded-for: "
_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_LOCAL, _PROXY = 0x20, 0x21
_TCP4, _TCP6 = 0x11, 0x21

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def proxy_header(version: ProxyVersion, head: bytes, port: int) -> bytes:
    """The header for a visitor's connection.

    Args:
        head: Of the visitor's OPEN.
        port: At which the service listens, told as the port the visitor connected to.

    Returns:
        The header; that of an unknown visitor where the relay does not tell the address. b"" for version 0.
    """
    if not version:
        return b""
    source = visitor_address(head)
    if source is None:
        return local_header(version)
    address, source_port = source
    is_v4 = address.version == 4
    any_address = ipaddress.ip_address("0.0.0.0" if is_v4 else "::")  # noqa: S104  # stands for the relay's own
    if version == 1:
        family = "TCP4" if is_v4 else "TCP6"
        return f"PROXY {family} {address} {any_address} {source_port} {port}\r\n".encode()
    body = address.packed + any_address.packed + pack(">HH", source_port, port)
    return _SIGNATURE + pack(">BBH", _PROXY, _TCP4 if is_v4 else _TCP6, len(body)) + body


def local_header(version: ProxyVersion) -> bytes:
    """The header of a connection that is no visitor's, such as a look whether the service is there."""
    return {0: b"", 1: b"PROXY UNKNOWN\r\n", 2: _SIGNATURE + pack(">BBH", _LOCAL, 0, 0)}[version]


def visitor_address(head: bytes) -> tuple[Address, int] | None:
    """Address and port (0 where it is not known) from which a visitor connects, as the relay tells it.

    The relay takes every `X-Forwarded-For` of the visitor's own out, and writes the last one.
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
