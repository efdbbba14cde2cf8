"""Reads the forwarding fields of trusted proxies: the visitor's address, and whether the visitor came over TLS. Pure.

`X-Forwarded-For` is read in the forms that proxies write (`192.0.2.1`, `192.0.2.1:4711`, `[2001:db8::1]:4711`, quoted),
`Forwarded` as in RFC 7239. When a request has both, `X-Forwarded-For` counts: a proxy that writes only this field
passes a visitor's own `Forwarded` on. The visitor is the last hop that is no trusted proxy; entries before it come from
the visitor and are ignored.
"""

import ipaddress
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tunnelctl.http1.head import RequestHead

MAX_HOPS = 32
"""Hops that are read in one request: more than any real chain of proxies has. A head of 32 KiB has room for 4,000."""
MAX_SHOWN = 120
"""Bytes of an unreadable field that are logged."""

_NODE = re.compile(
    r"(?:\[([0-9A-Fa-f:.]+)(?:%[0-9A-Za-z._~-]+)?\]|([0-9.]+))(?::(?:[0-9]{1,5}|_[A-Za-z0-9._-]+))?", re.ASCII
)
"""Pattern of an address with or without a port (RFC 7239 section 6). The port is not used."""
_ELEMENT = re.compile(rb'(?:[^,"]|"(?:[^"\\]|\\.)*"?)+', re.DOTALL)
_PAIR = re.compile(rb'(?:[^;"]|"(?:[^"\\]|\\.)*"?)+', re.DOTALL)
"""Patterns of one element of a `Forwarded` list, and of one pair in an element; quoted texts may hold separators."""


@dataclass(frozen=True, slots=True)
class Route:
    """The chain of proxies of a request, as the forwarding fields report it.

    Attributes:
        field: Name of the header field that was read; "" for none.
        hops: The addresses that proxies report, each that of the hop before; the last proxy's entry is last.
        is_secure: Whether every hop reports TLS.
        shown: The end of the field's value, for the log.
    """

    field: str
    hops: tuple[bytes, ...]
    is_secure: bool
    shown: str

    def visitor(self, trusts: Callable[[str], bool]) -> str | None:
        """Return the visitor's address, that of the last hop which is no trusted proxy.

        Args:
            trusts: Whether an address is that of a trusted proxy.

        Returns:
            None when all hops are trusted proxies; "" when the hop that counts has no readable address.
        """
        for hop in reversed(self.hops[-MAX_HOPS:]):
            address = read_address(hop)
            if not address or not trusts(address):
                return address
        return None


def read_route(head: RequestHead) -> Route:
    """Read the forwarding fields of a request. The result is only valid when a trusted proxy has sent the request."""
    values = head.get_all(b"x-forwarded-for")
    protocols = [
        part.strip(b" \t").lower() for value in head.get_all(b"x-forwarded-proto") for part in value.split(b",")
    ]
    if values:
        parts = b",".join(values).rsplit(b",", MAX_HOPS)[-MAX_HOPS:]
        hops = tuple(hop for part in parts if (hop := part.strip(b" \t")))
        return Route("X-Forwarded-For", hops, _are_secure(protocols), _shown(values))
    values = head.get_all(b"forwarded")
    elements = [
        dict(_pairs(element)) for value in values for element in _ELEMENT.findall(value) if element.strip(b" \t")
    ]
    hops = tuple(element.get(b"for", b"unknown") for element in elements)
    protocols = protocols or [element.get(b"proto", b"").lower() for element in elements]
    return Route("Forwarded" if values else "", hops, _are_secure(protocols), _shown(values))


def read_address(node: bytes) -> str:
    """Return the IP address in one entry of a forwarding field, IPv4-mapped as IPv4; "" when it has none."""
    text = _unquoted(node.strip(b" \t")).decode("latin-1")
    match = _NODE.fullmatch(text)
    text = match[1] or match[2] if match is not None else text.partition("%")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return ""
    return str(getattr(address, "ipv4_mapped", None) or address)


def _pairs(element: bytes) -> Iterator[tuple[bytes, bytes]]:
    for pair in _PAIR.findall(element):
        name, _, value = pair.partition(b"=")
        yield name.strip(b" \t").lower(), _unquoted(value.strip(b" \t"))


def _unquoted(value: bytes) -> bytes:
    if len(value) < 2 or value[:1] != b'"' or value[-1:] != b'"':
        return value
    return re.sub(rb"\\(.)", rb"\1", value[1:-1], flags=re.DOTALL)


def _are_secure(protocols: list[bytes]) -> bool:
    return bool(protocols) and all(protocol == b"https" for protocol in protocols)


def _shown(values: list[bytes]) -> str:
    return b", ".join(values)[-MAX_SHOWN:].decode("latin-1")
