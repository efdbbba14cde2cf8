"""Translates URLs between an endpoint's public address and the address that its app believes to have (`--host-header`).

Django, Jupyter, Streamlit and webpack refuse a request whose Origin differs from its Host, and apps redirect to the
address they know. So Origin and Referer are translated for the app, and redirects for the visitor, but only if they
mean the app itself: origins of other sites, and redirects to them, stay unchanged.
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
    """The address that an app believes to be its own.

    Attributes:
        origin: The Origin of a browser that opened the app at that address.
        hosts: Host names of the app in lower case. All names of loopback count too.
        ports: Ports of the app. A URL without a port counts too.
    """

    origin: bytes
    hosts: frozenset[str]
    ports: frozenset[int]

    def to_app(self, value: bytes, public: bytes) -> bytes:
        """Translate an Origin or Referer for the app.

        Args:
            public: The endpoint's origin.
        """
        rest = value[len(public) :]
        return self.origin + rest if value.startswith(public) and rest[:1] in (b"", b"/", b"?", b"#") else value

    def to_visitor(self, url: bytes, public: bytes) -> bytes:
        """Translate a URL to which the app redirects a visitor."""
        match = _URL.fullmatch(url)
        if match is None or not self._is_own(match[1], match[2], match[3]):
            return url
        return public + match[4]

    def refresh_to_visitor(self, value: bytes, public: bytes) -> bytes:
        """Translate the URL in a Refresh field, which follows the number of seconds."""
        match = _REFRESH.fullmatch(value)
        return value if match is None else match[1] + self.to_visitor(match[2], public) + match[3]

    def _is_own(self, scheme: bytes | None, host: bytes, port: bytes | None) -> bool:
        name = host.decode("latin-1").lower().removesuffix(".")
        if name not in self.hosts and not _is_loopback(name):
            return False
        return not port or int(port) in self.ports or int(port) == DEFAULT_PORTS.get((scheme or b"").lower().decode())


def own_address(host_header: str, upstream: str) -> OwnAddress:
    """Return the address that an app at `upstream` believes to be its own when it gets `host_header` as Host.

    Args:
        host_header: Host name, with or without a port.
        upstream: URL of the app; "" where it is unknown, as for edges.
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
    """Split `host:port`. An IPv6 address keeps its brackets."""
    host, colon, port = text.rpartition(":")
    return (host, int(port)) if colon and port.isdigit() and not host.endswith(":") else (text, None)


def _is_loopback(name: str) -> bool:
    """Return whether a host is this machine, or the unspecified address (0.0.0.0), which servers print as theirs."""
    if name == "localhost":
        return True
    try:
        address = ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified
