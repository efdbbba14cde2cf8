"""Translates between the public address and the app's own one, for apps that get their own Host (`--host-header`).

Django, Jupyter, Streamlit and webpack refuse a request whose Origin is not its Host, and apps redirect to the address
that they know. So Origin and Referer are translated to the app, and redirects to the visitor, and nothing else: another
site's Origin must stay foreign, and a redirect elsewhere must lead there.
"""

import re
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

DEFAULT_PORTS = {"http": 80, "https": 443}
_URL = re.compile(rb"(?:(https?):)?//(\[[0-9a-f:.]+\]|[^/?#\\@:\[\]\s]+)(?::([0-9]{0,5}))?((?:[/?#].*)?)", re.I | re.S)
_REFRESH = re.compile(rb"""([0-9.]*[ \t]*[;,][ \t]*(?:url[ \t]*=[ \t]*)?["']?)([^"']*)(.*)""", re.I | re.S)


@dataclass(frozen=True, slots=True)
class OwnAddress:
    """The address that the app takes for its own.

    Attributes:
        origin: The Origin of a browser that opened the app there.
        hosts: Its host names, lower-case. All names of loopback count too.
        ports: Its ports. A URL without a port is its own, too.
    """

    origin: bytes
    hosts: frozenset[str]
    ports: frozenset[int]

    def to_app(self, value: bytes, public: bytes) -> bytes:
        """An Origin or Referer in the form for the app.

        Args:
            public: The endpoint's origin.
        """
        rest = value[len(public) :]
        return self.origin + rest if value.startswith(public) and rest[:1] in (b"", b"/", b"?", b"#") else value

    def to_visitor(self, url: bytes, public: bytes) -> bytes:
        """A URL that the app sends a visitor to."""
        match = _URL.fullmatch(url)
        if match is None or not self._is_own(match[1], match[2], match[3]):
            return url
        return public + match[4]

    def refresh_to_visitor(self, value: bytes, public: bytes) -> bytes:
        """A Refresh field, whose URL stands behind the seconds."""
        match = _REFRESH.fullmatch(value)
        return value if match is None else match[1] + self.to_visitor(match[2], public) + match[3]

    def _is_own(self, scheme: bytes | None, host: bytes, port: bytes | None) -> bool:
        name = host.decode("latin-1").lower().removesuffix(".")
        if name not in self.hosts and not _is_loopback(name):
            return False
        return not port or int(port) in self.ports or int(port) == DEFAULT_PORTS.get((scheme or b"").lower().decode())


def own_address(host_header: str, upstream: str) -> OwnAddress:
    """Return the address that an app at `upstream` that gets `host_header` as Host takes for its own.

    Args:
        host_header: A host, with or without a port.
        upstream: A URL; "" where it is not known, as for edges.
    """
    try:
        local = urlsplit(upstream)
        port = local.port
    except ValueError:
        local, port = urlsplit(""), None
    scheme = local.scheme if local.scheme in DEFAULT_PORTS else "http"
    name, told_port = split_host(host_header.lower())
    hosts = {name, split_host(local.netloc.rpartition("@")[2].lower())[0]} - {""}
    ports = {port or DEFAULT_PORTS[scheme], told_port or DEFAULT_PORTS[scheme]}
    return OwnAddress(f"{scheme}://{host_header}".encode(), frozenset(hosts), frozenset(ports))


def split_host(text: str) -> tuple[str, int | None]:
    """`host:port` in two. An IPv6 address keeps its brackets."""
    host, colon, port = text.rpartition(":")
    return (host, int(port)) if colon and port.isdigit() and not host.endswith(":") else (text, None)


def _is_loopback(name: str) -> bool:
    """Whether it is this machine, or any address (0.0.0.0), which servers show as theirs."""
    if name == "localhost":
        return True
    try:
        address = ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified
