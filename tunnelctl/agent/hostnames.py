"""Parses public names as users ask for them: one label, a full host name, or a URL."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from tunnelctl.agent.address import AddressInvalid, malformed
from tunnelctl.wire.texts import is_name


@dataclass(frozen=True, slots=True)
class PublicUrl:
    """A public address as the user asked for it.

    Attributes:
        scheme: `http` or `https`; "" for any.
        host: Host name; None for any.
        port: Port; None for any.
    """

    scheme: str = ""
    host: str | None = None
    port: int | None = None


def parse_public_url(text: str) -> PublicUrl:
    """Parse a public address: `https://demo.tun.example`, `demo.tun.example:8443`, or `https://` for any host.

    Raises:
        AddressInvalid: The text is not a public address of an HTTP endpoint.
    """
    if "@" in text:  # not repeated: the text before the @ may contain a password
        raise AddressInvalid("a public address has no user name or password")
    scheme, colon, rest = text.strip().partition("://")
    scheme = scheme.lower() if colon else scheme
    if colon and scheme not in ("http", "https"):
        raise AddressInvalid(f"{text}: only http:// and https:// addresses can be served")
    authority = (rest if colon else scheme).removesuffix("/")
    scheme = scheme if colon else ""
    if not authority:
        return PublicUrl(scheme)
    try:
        parts = urlsplit(f"//{authority}")
        port = parts.port
    except ValueError as error:
        raise AddressInvalid(malformed(text, error)) from None
    if parts.path or parts.query or parts.fragment or "@" in authority:
        raise AddressInvalid(f"{text}: a public address ends after the host")
    return PublicUrl(scheme, host_name(parts.hostname or ""), port)


def misses(scheme: str, port: int | None, url: str) -> str:
    """Return why a public address is not what the user asked for; "" when it is.

    Args:
        scheme, port: Requested scheme and port, as in `PublicUrl`. An https address also satisfies a request for
            `http`.
        url: The address that the relay gave.
    """
    parts = urlsplit(url)
    if scheme == "https" and parts.scheme != "https":
        return f"the relay's addresses are plain http:// (this one is {url}), and https:// was asked for"
    served = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    if port is not None and port != served:
        return f"the relay's addresses have the port {served} (this one is {url}), and {port} was asked for"
    return ""


def host_name(text: str) -> str:
    """Check a full host name and return it in lower case.

    Raises:
        AddressInvalid: The text is not a host name.
    """
    host = text.strip().lower().rstrip(".")
    if not host or len(host) > 253 or not all(map(is_name, host.split("."))):
        raise AddressInvalid(f"{text!r} is not a host name")
    return host


def label(text: str) -> str:
    """Check one label of a host name and return it in lower case.

    Raises:
        AddressInvalid: The text is not a label.
    """
    name = text.strip().lower()
    if not is_name(name):
        raise AddressInvalid(f"{text!r} is not a name of letters, digits and inner hyphens, at most 63 long")
    return name
