"""Reads what trusted proxies say of a request: the visitor's address, and whether it came over TLS. Pure.

`X-Forwarded-For` is read in the forms that proxies write (`192.0.2.1`, `192.0.2.1:4711`, `[2001:db8::1]:4711`, quoted),
`Forwarded` as RFC 7239 has it. Where both are there, the first one counts: a proxy that writes only that one passes a
visitor's `Forwarded` on. The visitor is the last hop that is no trusted proxy; entries before it were written by the
visitor and are ignored.
"""

import ipaddress
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tunnelctl.http1.head import RequestHead

MAX_HOPS = 32
"""Hops looked at in one request. More proxies than any route has; a head of 32 KiB has room for 4,000."""
MAX_SHOWN = 120
"""Bytes of a field that cannot be read, for the log."""

_NODE = re.compile(
    r"(?:\[([0-9A-Fa-f:.]+)(?:%[0-9A-Za-z._~-]+)?\]|([0-9.]+))(?::(?:[0-9]{1,5}|_[A-Za-z0-9._-]+))?", re.ASCII
)
"""An address with a port or without: RFC 7239 section 6. The port is of no use here."""
_ELEMENT = re.compile(rb'(?:[^,"]|"(?:[^"\\]|\\.)*"?)+', re.DOTALL)
_PAIR = re.compile(rb'(?:[^;"]|"(?:[^"\\]|\\.)*"?)+', re.DOTALL)
"""Parts of a list, and of one of its elements: what separates them may stand in quotes."""


@dataclass(frozen=True, slots=True)
class Route:
    """The hops of a request, as proxies report them.

    Attributes:
        field: The field that reports them; "" for none.
        hops: What each hop reported of the one before it; the last proxy's entry is last.
        is_secure: Every hop reports TLS.
        shown: The field's value as far as a log should have it.
    """

    field: str
    hops: tuple[bytes, ...]
    is_secure: bool
    shown: str

    def visitor(self, trusts: Callable[[str], bool]) -> str | None:
        """Returns the address of the visitor.

        Returns:
            None when the proxies name none but themselves; "" when the hop that counts cannot be read.
        """
        for hop in reversed(self.hops[-MAX_HOPS:]):
            address = read_address(hop)
            if not address or not trusts(address):
                return address
        return None


def read_route(head: RequestHead) -> Route:
    """The hops in the head's fields. Believe none of it unless its sender is a trusted proxy."""
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
    """Returns the address in one hop's word, IPv4-mapped ones as IPv4; "" when there is none that can be read."""
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
