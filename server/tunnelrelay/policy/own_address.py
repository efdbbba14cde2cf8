"""The app's own address in place of the public one, for an app that is told its own host (`--host-header`).

Such an app compares more than Host: Django, Jupyter, Streamlit and webpack refuse a request whose Origin is not the
host they were asked for. And it redirects to the address that it knows. So both are translated, each way, and nothing
else is: another site's Origin must still look foreign to the app, and a redirect to elsewhere must lead there.
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
    """Where the app believes to be.

    Attributes:
        origin: What a browser that opened the app there would send as Origin.
        hosts: Its host names, lower-case. The names of loopback are the app's own besides.
        ports: Its ports. A URL without a port is its own, too.
    """

    origin: bytes
    hosts: frozenset[str]
    ports: frozenset[int]

    def to_app(self, value: bytes, public: bytes) -> bytes:
        """An Origin or Referer as the app shall see it.

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
    """Returns what an app at `upstream` that is told `host_header` believes to be its address.

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
